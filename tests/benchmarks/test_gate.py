"""The gate's micro-benchmarks, by which `aebench compare` measures both sides.

Beside its time each has counters, numbers that are exact on a CPU with one thread, or qualities. They use what users
use (suites, `load`, `train`), so that they also run on an older revision, and all together take some ten seconds.
"""

from __future__ import annotations

import subprocess
import sys
import zlib
from contextlib import ExitStack

import pytest
import torch

from aebench import data, pipeline, suite, tables
from aebench.feed import Examples
from aebench.networks import MLP, Conv
from aebench.optim import Descent
from aebench.plugins import resolve
from aebench.store import load
from aebench.streams import CHUNK
from aebench.train import Budget, Setting, train
from aebench.variants import VARIANTS

SETTINGS = [
    Setting(0, {"beta": 0.1}, Descent(lr=1e-3)),
    Setting(1, {"beta": 0.02}, Descent(lr=1e-3)),
    Setting(0, {"beta": 0.1}, Descent(lr=4e-3)),
]
"""Runs that differ in all that runs of a pack may differ in; the first and the last in their learning rate alone."""
SUITE = """
name: gate
seeds: 5
data: digits
network: {kind: mlp, hidden: [32]}
train: {steps: 320, batch: 64, lr: 3e-3}
runs: [{variant: gaussian_vae, sizes: {latent: 8}, hyper: {variance: 0.05}}]
metrics: [reconstruction, elbo, energy, {nll: {samples: 64, examples: 64}}]
figures: []
"""

PAGE = """
name: page
seeds: 5
data: {name: gaussian, n: 256}
network: {kind: linear}
train: {steps: 32, batch: 64}
runs: [{variant: linear_ae, sizes: {latent: 2}}]
metrics: [reconstruction]
figures: []
"""
"""Of which a report has one figure: a quarter of a second, so that neighbouring rounds are near each other."""


@pytest.fixture(autouse=True)
def one_thread():
    """So that sums are added up in one order."""
    torch.set_num_threads(1)


def images(n: int, side: int) -> torch.Tensor:
    """Squares of one grey level each, of noise: what a code of a few units can hold."""
    source = torch.Generator().manual_seed(0)
    grey, noise = torch.rand(n, 1, 2, 2, generator=source), torch.rand(n, 1, side, side, generator=source)
    return (0.8 * grey).repeat_interleave(side // 2, 2).repeat_interleave(side // 2, 3) + 0.2 * noise


def trained(name: str, network, settings, x: torch.Tensor, chunks: int, on_point=lambda step, loss: None, **sizes):
    variant = resolve(VARIANTS, "variants", name)
    budget = Budget(chunks * CHUNK, 64)
    return train(variant, network, variant.sizes(latent=8, **sizes), settings, budget, Examples(x), on_point=on_point)


def golden(gate, curves, *terms: str) -> None:
    """The last point of the curve of each run: a mean over steps that came after all others."""
    for term in terms:
        for run, value in enumerate(curves[term][-1]):
            gate.exact(f"{term} of run {run} after {int(curves['step'][-1])} steps", value)


def stepped(gate, network, settings, x, laps: int) -> None:
    """Count the second chunk of a training, time so many from the fourth on, and keep the losses at its end."""
    with ExitStack() as counting:

        def run(lap):
            def on_point(step, loss):
                if step == CHUNK:
                    counting.enter_context(gate.counting())
                elif step == 2 * CHUNK:
                    counting.close()
                elif step > 2 * CHUNK:
                    lap()

            return trained("vae", network, settings, x, 3 + laps, on_point)

        golden(gate, gate.laps(run, iterations=CHUNK).curves, "loss", "kl")


@pytest.mark.benchmark(group="gate: training step")
def test_step_of_a_pack(benchmark, gate):
    stepped(gate, MLP((64, 64)), SETTINGS, images(1024, 8), 16)


@pytest.mark.benchmark(group="gate: training step")
def test_step_of_a_wide_net(benchmark, gate):
    stepped(gate, MLP((256,)), SETTINGS[:1], images(512, 28), 10)


@pytest.mark.benchmark(group="gate: training step")
def test_step_of_a_convolution(benchmark, gate):
    stepped(gate, Conv((4, 8)), SETTINGS[:1], images(512, 8), 10)


@pytest.mark.benchmark(group="gate: losses")
@pytest.mark.parametrize("name", ["denoising_ae", "sparse_kl_ae", "sigma_vae"])
def test_losses(benchmark, gate, name):
    gate.timed = False
    settings = [Setting(seed, {}, Descent(lr=1e-3)) for seed in (0, 1)]
    done = benchmark.pedantic(lambda: trained(name, MLP((16,)), settings, images(256, 8), 1))
    golden(gate, done.curves, *(term for term in done.curves if term != "step"))


def ran(text, folder):
    """The folder of a suite's results."""
    torch.set_num_threads(1)
    todo = pipeline.plan(suite.parse(text), folder)
    pipeline.execute(todo, report=False, device="cpu")
    return todo.store.folder


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Five trained seeds of a VAE on the digits, and their metrics."""
    return ran(SUITE, tmp_path_factory.mktemp("gate"))


@pytest.mark.benchmark(group="gate: quality")
def test_quality(benchmark, gate, results):
    gate.timed = False
    frame = benchmark.pedantic(load, [results]).sort_values("seed")
    gate.quality("sse", frame["sse"].tolist(), "lower")
    gate.quality("elbo", frame["elbo"].tolist(), "higher")
    gate.quality("nll", frame["nll"].tolist(), "lower")


@pytest.mark.benchmark(group="gate: evaluation")
def test_evaluation(benchmark, gate, results):
    def again():
        pipeline.evaluate(results, device="cpu")

    gate(again, rounds=7)
    gate.counters(again)
    measured = load(results).set_index("seed")
    for name in ("sse", "elbo", "kl", "nll"):
        gate.exact(f"{name} of seed 0", measured[name][0])


@pytest.mark.benchmark(group="gate: data")
def test_data(benchmark, gate):
    spec = data.describe("digits")
    gate(lambda: data.load(spec), rounds=20)
    digits = data.load(spec)
    for name in ("train", "validation", "test"):
        part = getattr(digits, name)
        gate.exact(f"examples of {name}", len(part.x))
        gate.exact(f"checksum of {name}", zlib.crc32(part.x.tobytes()))
        gate.exact(f"checksum of the labels of {name}", zlib.crc32(part.y.tobytes()))


@pytest.mark.benchmark(group="gate: results")
def test_table(benchmark, gate, results):
    gate(lambda: tables.summary(load(results)), rounds=20)


@pytest.mark.benchmark(group="gate: results")
def test_report_of_one_figure(benchmark, gate, tmp_path):
    from aebench.reporting import report

    def run(lap):
        results = ran(PAGE, tmp_path)
        report(results, tmp_path / "page")
        lap()
        for _ in range(5):
            report(results, tmp_path / "page")
            lap()

    gate.laps(run)


HEAVY = """
import sys
from aebench.cli import main
sys.argv = ["aebench", "--help"]
try:
    main()
except SystemExit:
    pass
print(*sorted({"torch", "numpy", "pandas", "scipy", "sklearn", "matplotlib"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.benchmark(group="gate: start-up")
def test_help(benchmark, gate):
    command = [sys.executable, "-m", "aebench", "--help"]
    gate(lambda: subprocess.run(command, check=True, capture_output=True), rounds=5)
    done = subprocess.run([sys.executable, "-c", HEAVY], check=True, capture_output=True, text=True)
    gate.count("heavy packages imported", len(done.stderr.split()))
