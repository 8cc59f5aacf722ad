"""What must hold on a GPU: each test runs wherever there is one."""

from __future__ import annotations

import pytest
import torch
from oracles import fitting

from aebench.feed import Examples
from aebench.metrics import METRICS
from aebench.metrics.arrays import arrays
from aebench.metrics.evaluate import evaluate
from aebench.networks import MLP, Conv, Linear
from aebench.optim import Descent
from aebench.plugins import resolve
from aebench.train import Budget, Setting, train
from aebench.variants import VARIANTS

AVAILABLE = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
DEVICES = [
    pytest.param(name, marks=pytest.mark.skipif(not there, reason=f"needs {name}, which this machine does not have"))
    for name, there in AVAILABLE.items()
]


def trained(name, network, device, seeds=(0, 1, 0), precision="fp32", steps=100, engine="auto"):
    variant = resolve(VARIANTS, "variants", name)
    network = Linear() if "linear" in variant.networks else network
    hyper = [dict.fromkeys(variant.hyper._fields, 0.1 * (i + 1)) for i in range(len(seeds))]
    settings = [Setting(s, h, Descent(lr=1e-3 * (i + 1))) for i, (s, h) in enumerate(zip(seeds, hyper, strict=True))]
    x = torch.rand(200, 1, 9, 10, generator=torch.Generator().manual_seed(0)).to(device)
    sizes = fitting(variant, x.shape[1:])
    runs = [train(variant, network, sizes, part, Budget(steps, 32, precision=precision), Examples(x), engine=engine)
            for part in (settings, *([setting] for setting in settings))]  # fmt: skip
    return runs[0], runs[1:], Examples(x)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("network", [MLP((32,)), Conv((4, 8))], ids=["mlp", "conv"])
@pytest.mark.parametrize("name", VARIANTS)
def test_packed_equals_alone(name, network, device):
    precision, tolerance = ("fp32", 2e-4) if device == "mps" else ("fp64", 1e-9)
    pack, alone, _ = trained(name, network, device, precision=precision)
    for run, single in enumerate(alone):
        for parameter, value in pack.runs.state.items():
            torch.testing.assert_close(value[run], single.runs.state[parameter][0], rtol=0, atol=tolerance)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", VARIANTS)
def test_training_twice_gives_the_same(name, device):
    first, second = (trained(name, MLP((32,)), device)[0].runs.state for _ in range(2))
    assert all(torch.equal(value, second[parameter]) for parameter, value in first.items())


@pytest.mark.parametrize("device", [param for param in DEVICES if param.values == ("cuda",)])
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("network", [MLP((32,)), Conv((4, 8))], ids=["mlp", "conv"])
@pytest.mark.parametrize("name", VARIANTS)
def test_graph_equals_eager(name, network, precision, device):
    steps = {"steps": 32 * 4 + 5, "precision": precision}
    graph, eager = (trained(name, network, device, engine=mode, **steps)[0] for mode in ("graph", "eager"))
    if graph.runs.variant.fit is None:
        assert graph.engine["engine"] == "graph"
    assert all(torch.equal(value, eager.runs.state[name]) for name, value in graph.runs.state.items())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_metric_and_array(name, device):
    pack, _, examples = trained(name, MLP((32,)), device, steps=10)
    metrics = [resolve(METRICS, "metrics", metric) for metric in METRICS]
    for values in evaluate(pack.runs, [(metric, metric.options()) for metric in metrics], examples):
        assert values["sse"]["value"] > 0
        assert values["encode_examples_per_s"]["value"] > 0
    for kept in arrays(pack.runs, examples, None):
        assert kept["x_hat"].shape == (10, 1, 9, 10)
