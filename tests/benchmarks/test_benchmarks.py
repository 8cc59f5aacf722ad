"""Benchmarks: `pytest tests/benchmarks --benchmark-only`. Ratios between them are what counts; see training.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import training
from synthetic import study

from aebench import pipeline, suite, tables
from aebench.networks import MLP
from aebench.store import load

STEPS = 64
TOY = """
name: toy
seeds: 3
data: {name: pinwheel, n: 512, split: none}
network: {kind: mlp, hidden: [16]}
train: {steps: 32, batch: 32}
runs: [{variant: vae, sizes: {latent: 2}, sweep: {beta: [1, 0.1]}}]
metrics: [reconstruction, energy]
figures: [beta_sweep]
"""


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def toy(tmp_path):
    todo = pipeline.plan(suite.parse(TOY), tmp_path)
    pipeline.execute(todo)
    return todo.store.folder


@pytest.mark.benchmark(group="64 training steps of the 2-64-64-8 VAE")
def test_lean_loop(benchmark):
    x = training.points()
    benchmark(training.lean, x, MLP((64, 64)), 8, STEPS)


@pytest.mark.benchmark(group="64 training steps of the 2-64-64-8 VAE")
@pytest.mark.parametrize("runs", [1, 8, 35])
def test_pack(benchmark, runs):
    x = training.points()
    benchmark(training.ours, x, MLP((64, 64)), 8, STEPS, runs)


@pytest.mark.benchmark(group="start-up")
@pytest.mark.parametrize(
    "command", [["--help"], ["list"], ["explain", "vae"], ["validate", "beta_sweep"]], ids=" ".join
)
def test_command(benchmark, command):
    benchmark(subprocess.run, [sys.executable, "-m", "aebench", *command], check=True, capture_output=True)


@pytest.mark.benchmark(group="a finished suite")
def test_nothing_to_do(benchmark, toy):
    def again():
        pipeline.execute(pipeline.plan(suite.parse(TOY), toy.parent.parent))

    benchmark(again)


@pytest.mark.benchmark(group="a finished suite")
def test_table(benchmark, toy):
    benchmark(lambda: tables.summary(load(toy)))


@pytest.mark.benchmark(group="a finished suite")
def test_report(benchmark, toy):
    from aebench.reporting import report

    benchmark(report, toy, toy.parent.parent / "page")


@pytest.fixture(scope="session", params=[2, 50], ids=["504 runs", "12600 runs"])
def studied(request, tmp_path_factory):
    """Synthesised results: 252 settings of six variants on seven data sets; a smoke run takes the small one."""
    if request.param > 2 and float(request.config.getoption("benchmark_max_time")) < 1:
        pytest.skip("12,600 runs want a second or more: --benchmark-max-time")
    folder = tmp_path_factory.mktemp("study")
    study(folder, seeds=request.param)
    return folder


@pytest.mark.benchmark(group="thousands of runs")
def test_load(benchmark, studied):
    benchmark(load, studied)


@pytest.mark.benchmark(group="thousands of runs")
def test_table_command(benchmark, studied):
    rows = ("--rows", "variant", "--rows", "kl_weight", "--rows", "lam", "--rows", "sigma")
    command = [sys.executable, "-m", "aebench", "table", str(studied), *rows, "--columns", "data", "--metric", "mse"]
    benchmark(subprocess.run, command, check=True, capture_output=True)


@pytest.mark.benchmark(group="read a suite")
def test_suite(benchmark):
    benchmark(suite.read, "beta_sweep")
