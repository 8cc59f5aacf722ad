"""The path of a run on CUDA and on MPS, walked on a machine without them, with tensors that only say they lie there.

Every variant and network: examples on the device, the feed, stacked state, losses, the optimiser's step, the engine's
recording, the choice of the best state, metrics and arrays, documents. A tensor left on the CPU, a number read back
inside the loop, a copy from the host where a CUDA graph is recorded, a gradient in a layout that a fused optimiser
would misread, or float64 on MPS fails here.

What cannot be seen so, and is tested in `test_devices.py` wherever there is a GPU: whether the device has a kernel for
an operation and a type, and what it computes; CUDA graphs themselves and fused kernels; the device's own random
generators; autograd on the device (a step is recorded on the meta device in its place); pinned memory, streams, and
in what order the device does things.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_device import CHUNK, GPUS, Device, Refused, fake
from oracles import fitting
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves

from aebench import engine, optim, pace, pipeline, suite
from aebench.feed import Examples
from aebench.metrics import METRICS
from aebench.metrics.arrays import arrays
from aebench.metrics.evaluate import evaluate
from aebench.metrics.moments import Moments
from aebench.networks import MLP, Conv, Linear
from aebench.optim import OPTIMIZERS, Descent
from aebench.plugins import resolve
from aebench.progress import Progress
from aebench.schedule import Schedule
from aebench.train import PRECISIONS, Budget, Setting, Trained, train
from aebench.variants import VARIANTS

NETWORKS = {"mlp": MLP((16,)), "conv": Conv((4, 8))}
FALLING = Schedule(((0.0, 3e-3), (1.0, 1e-3)), "linear")
KNOWN = {name: resolve(VARIANTS, "variants", name) for name in VARIANTS}
CLOSED = [name for name, variant in KNOWN.items() if variant.fit is not None]
OFFERS = {variant.offers(variant.sizes()): name for name, variant in KNOWN.items()}


@pytest.fixture(params=GPUS)
def there(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Generator[Device]:
    with fake(request.param, monkeypatch) as found:
        yield found


def trained(there: Device, name: str = "vae", network: str = "mlp", runs: int = 3, **options: Any) -> Trained:
    """Three runs of two seeds, every number of their own, of which some follow a schedule."""
    variant = KNOWN[name]
    chosen = Linear() if "linear" in variant.networks else NETWORKS[network]
    rising = Schedule(((0.0, 0.1), (1.0, 0.4)), "linear")
    hyper = [dict.fromkeys(variant.hyper._fields, value) for value in (rising, 0.2, 0.3)]
    descents = [Descent(FALLING), Descent(2e-3), Descent(1e-3, clip=FALLING)]
    settings = [Setting(s, h, d) for s, h, d in zip((0, 1, 0), hyper, descents, strict=True)][:runs]
    mode, binarize = options.pop("engine", "eager"), options.pop("binarize", False)
    x = torch.empty(40, 1, 8, 8, dtype=options.pop("stored", torch.uint8), device=there.kind)
    sizes = fitting(variant, x.shape[1:])
    budget = Budget(options.pop("steps", CHUNK + 1), 8, **options)
    examples = Examples(x, binarize)
    return train(variant, chosen, sizes, settings, budget, examples, Examples(x[:9], binarize), engine=mode)


def on(device: Device, held: Any) -> bool:
    """Whether all these tensors lie on the device."""
    return {t.device.type for t in tree_leaves(held) if isinstance(t, Tensor)} <= {device.kind}


def recorder(there: Device, chunks: list[int]) -> Callable[..., Any]:
    """In place of a CUDA graph: the call is looked at, and a replay does nothing."""

    def capture(call: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        before = there.operations
        terms = call()
        chunks.append(there.operations - before)
        return lambda: None, terms

    return lambda device: capture if device.type == "cuda" else None


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains_on_cuda(monkeypatch: pytest.MonkeyPatch, name: str, network: str) -> None:
    """Packed; a chunk step by step, one that is recorded, a replay, and a last one that is short.

    Nothing in a chunk copies from the host or waits, schedules, clipping and all. Back to the host come each term's
    curve and which runs are sound.
    """
    chunks: list[int] = []
    with fake("cuda", monkeypatch) as there:
        monkeypatch.setattr(engine, "capture_on", recorder(there, chunks))
        made = trained(there, name, network, engine="graph", steps=3 * CHUNK + 1)
        assert on(there, (made.runs.state, made.runs.hyper, list(made.runs.net.parameters())))
    if name not in CLOSED:
        assert made.engine["engine"] == "graph"
        assert there.left == len(made.curves)
        assert len(chunks) == 1, "recorded once, then replayed"
        assert chunks[0] > 100


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains_on_mps(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with fake("mps", monkeypatch) as there:
        made = trained(there, name)
        assert on(there, (made.runs.state, made.runs.hyper, list(made.runs.net.parameters())))
    assert name in CLOSED or there.left == len(made.curves)


CASES = [
    {"runs": 1}, {"binarize": True, "stored": torch.float32}, {"keep": "best_validation"}, {"network": "conv"},
    {"name": "contractive_ae", "keep": "best_validation"}, *({"optimizer": name} for name in OPTIMIZERS),
]  # fmt: skip
PRECISE = [
    {"device": device, "precision": precision, "network": network}
    for device in GPUS for precision in PRECISIONS[device] for network in NETWORKS
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(map(str, case.values())))
def test_whatever_the_pack(there: Device, case: dict[str, Any]) -> None:
    assert on(there, trained(there, **case).runs.state)


@pytest.mark.parametrize("case", PRECISE, ids=lambda case: " ".join(case.values()))
def test_precisions(monkeypatch: pytest.MonkeyPatch, case: dict[str, Any]) -> None:
    """Parameters are float32, but in fp64."""
    with fake(case.pop("device"), monkeypatch) as there:
        state = trained(there, **case).runs.state
        assert on(there, state)
    assert {t.dtype for t in state.values()} == {torch.float64 if case["precision"] == "fp64" else torch.float32}


@pytest.mark.parametrize("name", OFFERS.values())
def test_metrics_and_arrays(there: Device, name: str) -> None:
    """Every metric that applies, of one variant for each set of what variants offer."""
    made = trained(there, name, steps=1)
    part, chosen = Examples(torch.empty(30, 1, 8, 8, device=there.kind)), list[Any]()
    for metric in (resolve(METRICS, "metrics", metric) for metric in METRICS):
        options = metric.options(**({"samples": 60, "examples": 20} if metric.name == "nll" else {}))
        chosen.append((metric, options))
    moments = Moments(np.random.default_rng(0).random((40, 1, 8, 8)))
    found = evaluate(made.runs, chosen, part, moments)
    expected = {m.name for m, _ in chosen if m.applies(made.runs.offers, made.runs.latent)}
    assert [{entry["metric"] for entry in entries.values()} for entries in found] == [expected] * 3
    for kept in arrays(made.runs, part, None, chosen=chosen):
        assert kept["x_hat"].shape == (10, 1, 8, 8)
        assert not any(isinstance(array, Tensor) for array in kept.values())


SUITE = """
name: trial
seeds: 2
data: digits
network: {kind: mlp, hidden: [8]}
train: {steps: 5, batch: 16, keep: best_validation}
runs:
  - {variant: pca, sizes: {latent: 3}}
  - {variant: vae, sizes: {latent: 3}, sweep: {beta: [0.1, 1]}}
  - {variant: ae, sizes: {latent: 3}, network: {kind: conv, channels: [4]}}
metrics: [reconstruction, energy, throughput, size]
figures: []
"""


def test_from_a_suite_to_documents(there: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way, pack sizes tried and nets of the next pack built meanwhile; and a metric that is added later."""
    for name, value in {"LEAST": 1, "WORTH": 1e9, "ASKED": CHUNK, "SETTLED": dict.fromkeys(GPUS, CHUNK)}.items():
        monkeypatch.setattr(pace, name, value)
    todo = pipeline.plan(suite.parse(SUITE), tmp_path)
    done = pipeline.execute(todo, device=there.kind, report=False, progress=Progress(quiet=True))
    assert [document["error"] for document in done.failed] == []
    for document in todo.store.documents():
        assert document["made"]["device"] == f"no {there.kind}"
        assert document["metrics"]["sse"]["value"] > 0
        mode = "direct" if document["cost"]["pack"]["runs"] == 1 else "packed"
        assert document["cost"]["pack"]["mode"] == mode
        if document["spec"]["variant"] != "pca":
            assert len(document["cost"]["engine"]["pack_size"]) >= 2
    quiet = Progress(quiet=True)
    assert pipeline.evaluate(todo.store.folder, ["sparsity"], device=there.kind, progress=quiet) == (8, 0)


@pytest.mark.parametrize(
    "step",
    [
        lambda here: here.sum().item(),
        lambda here: here.sum().cpu(),
        lambda here: here + torch.ones(3),
        lambda here: here.copy_(torch.ones(3)),
        lambda here: here[torch.arange(2)],
        lambda here: torch.ops.aten.nonzero(here),
        lambda here: torch.ones(3) * 2,
        lambda here: torch.tensor(2.0, device=here.device) * here,
        lambda here: torch.where(here > 0, torch.tensor(1.0), here),
        lambda here: aten_fused(here, torch.empty(3, 3, device=here.device).T),
    ],
)
def test_what_a_gpu_would_not_do_is_refused(there: Device, step: Callable[[Tensor], Any]) -> None:
    """In a chunk of steps; and what is fine passes."""
    here = torch.empty(3, device=there.kind)
    with there.chunk():
        assert isinstance(here.mul(torch.tensor(2.0)).add(1), FakeTensor), "a number goes as an argument"
        with pytest.raises((Refused, RuntimeError), match=r"chunk of steps|same device|fused"):
            step(here)


def aten_fused(here: Tensor, gradient: Tensor) -> None:
    """A gradient that lies transposed."""
    like = lambda: [torch.empty(3, 3, device=here.device)]  # noqa: E731
    numbers = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0, "eps": 1e-8, "amsgrad": False}
    torch._fused_adam_(like(), [gradient], like(), like(), [], [here[0]], **numbers, maximize=False)


def test_mps_has_no_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake("mps", monkeypatch), pytest.raises(Refused, match="float64"):
        torch.empty(3, device="mps").double()


def test_recording_needs_an_optimiser_that_a_graph_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA adam, adamw and rmsprop."""
    with fake("cuda", monkeypatch):
        weights = [torch.empty(2, 3, device="cuda", requires_grad=True)]
        able = {name for name in OPTIMIZERS if optim.StackedOptimizer(name, weights, [Descent()] * 2).capturable}
    assert able == {"adam", "adamw", "rmsprop"}
