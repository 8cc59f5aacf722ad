"""Over many packs a process stays as it is, and what it says of the time left is true."""

from __future__ import annotations

import gc
import io
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch._subclasses.fake_tensor import FakeTensorMode

from aebench import data, pipeline, suite
from aebench.holding import Holding
from aebench.plan import plan
from aebench.progress import Progress
from aebench.suite import Run
from aebench.work import Worker
from aebench.workload import Call, guess

CPU = torch.device("cpu")
ENTRY = "- {{variant: {}, sizes: {{latent: 1}}, train: {{batch: {}, steps: {}}}}}\n"
SUITE = """\
name: long
data: {name: pinwheel, n: 32, n_validation: 16, n_test: 16}
network: {kind: mlp, hidden: [4]}
metrics: [reconstruction]
figures: []
runs:
"""


def held() -> tuple[int, int, int, Counter[str]]:
    """Live tensors, their bytes, open files, and the objects of this package by their type."""
    gc.collect()
    objects = gc.get_objects()
    tensors = [o for o in objects if issubclass(type(o), torch.Tensor)]
    files = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    names = (str(type(o).__module__) + "." + type(o).__name__ for o in objects)
    ours = Counter(name for name in names if name.startswith("aebench."))
    return len(tensors), sum(t.numel() * t.element_size() for t in tensors), files, ours


def test_nothing_grows_from_pack_20_to_pack_60(tmp_path: Path) -> None:
    marks: dict[int, Any] = {}

    class Marking(Progress):
        def leave(self, pack: Any) -> None:
            super().leave(pack)
            number = int(self.runs)
            if number in (20, 60):
                marks[number] = (*held(), len(FakeTensorMode.cache))

    text = SUITE + "".join(ENTRY.format("linear_ae", 2 + n % 10, 2 + n // 10) for n in range(60))
    pipeline.execute(plan(suite.parse(text), tmp_path), device="cpu", report=False, progress=Marking(quiet=True))
    assert marks[20] == marks[60]


def test_data_sets_that_no_later_pack_needs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of two packs each: after each pack those are held that are still to come."""
    seen: list[tuple[int, int]] = []

    class Seeing(Progress):
        def enter(self, pack: Any) -> None:
            super().enter(pack)
            seen.append((len(workers[0].holding.datasets), len(workers[0].holding.resident)))

    workers: list[Worker] = []
    made = Worker.check
    monkeypatch.setattr(Worker, "check", lambda self, pack: (workers.append(self), made(self, pack))[1])
    sets = ", ".join(f"{{name: pinwheel, n: {n}, n_validation: 16, n_test: 16}}" for n in (32, 33, 34))
    text = SUITE.replace("{name: pinwheel, n: 32, n_validation: 16, n_test: 16}", f"[{sets}]")
    text += ENTRY.format("linear_ae", 4, 2) + ENTRY.format("ae", 4, 2)
    pipeline.execute(plan(suite.parse(text), tmp_path), device="cpu", report=False, progress=Seeing(quiet=True))
    assert [number for number, _ in seen] == [3, 3, 3, 3, 2, 1]
    assert max(parts for _, parts in seen) <= 9
    holding = workers[0].holding
    assert (holding.datasets, holding.resident, holding.moments, holding.loading) == ({}, {}, {}, {})


def test_a_data_set_that_went_is_loaded_again() -> None:
    (run,) = suite.parse(SUITE + ENTRY.format("ae", 4, 2)).runs
    holding = Holding(CPU, False, Worker("s", CPU, (), False, False).ledger)
    first = holding.dataset(run.spec)
    holding.examples(first, first.train)
    holding.expect([[run]])
    holding.through([run])
    assert holding.datasets == holding.resident == {}
    again = holding.dataset(run.spec)
    assert again is not first
    assert (again.train.x == first.train.x).all()
    assert data.load(run.spec["data"]).name == again.name


# ---- the time left


class Trained:
    """Packs that take as long as it says, on a clock of its own; hears what is said to be left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def said(self, packs: list[list[Run]], seconds: list[float], weigh: Any) -> list[tuple[float, float]]:
        """(of all the time what has passed, what is said to be left over what is), after each tenth of a pack."""
        begin, whole, said = self.now, sum(seconds), list[tuple[float, float]]()
        progress = Progress(Console(file=io.StringIO(), force_terminal=True, width=200))
        progress.start(packs, weigh)
        for pack, takes in zip(packs, seconds, strict=True):
            progress.enter(pack)
            steps = pack[0].spec["train"]["steps"]
            for tenth in range(1, 11):
                self.now += takes / 10
                progress.point(round(steps * tenth / 10), torch.zeros(len(pack)))
                spent = self.now - begin
                if spent < 0.99 * whole:
                    assert progress.left is not None
                    said.append((spent / whole, progress.left / (whole - spent)))
            progress.leave(pack)
        return said


def packs_of(text: str) -> tuple[list[list[Run]], Worker]:
    packs, worker = suite.packs(suite.parse(text).runs), Worker("s", CPU, (), False, False)
    for pack in packs:
        worker.check(pack)
    return packs, worker


UNLIKE = """\
name: unlike
data: {name: digits}
network: {kind: mlp, hidden: [128]}
train: {batch: 128, steps: 1000}
seeds: 2
runs:
  - {variant: linear_ae, network: linear}
  - {variant: linear_ae, network: linear, sizes: {latent: 2}}
  - {variant: linear_ae, network: linear, sizes: {latent: 3}}
  - {variant: pca, network: linear}
  - {variant: contractive_ae}
  - {variant: contractive_ae, seeds: 4, sizes: {latent: 3}}
  - {variant: contractive_ae, train: {steps: 3000}}
"""


def test_after_a_tenth_the_time_left_is_within_a_factor_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cheap packs first, each pack as long as its work says, give or take a quarter, on a machine of any speed."""
    packs, worker = packs_of(UNLIKE)
    for speed in (0.1, 7.0):
        off = (1.25, 0.8, 1.0, 1.25, 0.8, 1.25, 0.8)
        seconds = [speed * worker.guess(pack) * error for pack, error in zip(packs, off, strict=True)]
        late = [ratio for passed, ratio in Trained(monkeypatch).said(packs, seconds, worker.guess) if passed >= 0.1]
        assert len(late) > 20
        assert 0.5 < min(late) <= max(late) < 2
    by_runs = [ratio for passed, ratio in Trained(monkeypatch).said(packs, seconds, len) if passed >= 0.1]
    assert min(by_runs) < 0.2  # what a bar that counts runs would say


def test_work_is_steps_and_runs_and_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a product of x [batch, 64] with 64 -> 8 -> 64: 2 · 2 · 64 · 8 FLOPs of an example."""
    packs, worker = packs_of(
        UNLIKE.replace("linear_ae, network: linear}", "linear_ae, network: linear, sizes: {latent: 8}}")
    )

    def flops(pack: list[Run]) -> float:
        call = worker.calls[suite.shape_id(pack[0])]
        assert call is not None
        return call.flops

    eight = next(pack for pack in packs if pack[0].spec["sizes"]["latent"] == 8)
    assert flops(eight) == 2 * 2 * 64 * 8
    closed = next(pack for pack in packs if pack[0].spec["variant"] == "pca")
    assert worker.calls[suite.shape_id(closed[0])] is None
    contractive = next(pack for pack in packs if pack[0].spec["variant"] == "contractive_ae")
    assert flops(contractive) > 2 * 64 * 128 * 8  # its Jacobian alone
    train = {"steps": 100, "batch": 10}
    base = guess({"steps": 0, "batch": 10}, 1, Call(5, 1e9), "cpu")
    assert guess(train, 1, None, "cpu") == base
    step = (guess(train, 1, Call(5, 1e9), "cpu") - base) / 100
    more = (guess({"steps": 100, "batch": 20}, 3, Call(5, 1e9), "cpu") - base) / 100
    assert more - step == pytest.approx(5 * (step - (guess(train, 1, Call(5, 0.0), "cpu") - base) / 100))


def test_what_another_process_trained_took_no_time_here(monkeypatch: pytest.MonkeyPatch) -> None:
    packs, worker = packs_of(UNLIKE)
    clock = Trained(monkeypatch)
    progress = Progress(quiet=True)
    progress.start(packs[:3], lambda pack: 10.0)
    progress.skip(packs[0])
    progress.enter(packs[1])
    clock.now += 5
    progress.leave(packs[1])
    assert progress.left == pytest.approx(5.0)
    assert worker.guess(packs[0]) > 0


def test_what_was_trained_before_an_interruption_took_no_time_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine tenths of the first pack come from its checkpoint: the last tenth takes 5 s, so two more packs take 100."""
    packs, _ = packs_of(UNLIKE)
    clock = Trained(monkeypatch)
    progress = Progress(quiet=True)
    progress.start(packs[:3], lambda pack: 10.0)
    progress.enter(packs[0])
    steps = packs[0][0].spec["train"]["steps"]
    progress.resume(steps * 9 // 10)
    clock.now += 2.5
    progress.point(steps * 95 // 100, torch.ones(2))
    assert progress.left == pytest.approx(2.5 + 100)
    clock.now += 2.5
    progress.leave(packs[0])
    assert progress.left == pytest.approx(100)


def test_without_a_terminal_the_time_left_is_a_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    packs, _ = packs_of(UNLIKE)
    clock = Trained(monkeypatch)
    for quiet in (False, True):
        console = Console(record=True, width=200, file=io.StringIO())
        progress = Progress(console, quiet)
        with progress:
            progress.start(packs[:2], lambda pack: 10.0)
            progress.enter(packs[0])
            for step in range(1, 61):  # a point every ten seconds
                clock.now += 10
                progress.point(step * 10, torch.full((2,), 0.5))
        said = console.export_text().splitlines()
        assert len(said) == (0 if quiet else 10)
        if not quiet:  # 60 of 2000 equal steps took a minute
            line = "0/4 runs  linear_ae, linear, on digits: step 60 of 1,000, loss 0.5, 256 examples/s, left 0:32:20"
            assert said[0] == line
