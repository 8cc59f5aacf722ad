"""Where the time goes: the stages of a command add up to its whole time, by a clock that the tests move."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from measured import doubled, measured, numbers
from oracles import metric, pack, variant

from aebench import pipeline, suite
from aebench.clock import Ledger
from aebench.feed import BLOCK, Examples
from aebench.metrics import cost, likelihood, reconstruction
from aebench.metrics.arrays import arrays
from aebench.metrics.evaluate import encode, evaluate
from aebench.networks import MLP
from aebench.packing import build
from aebench.progress import Progress
from aebench.reporting import account, report
from aebench.store import Store

RUNS = """\
  - {variant: ae}
  - {variant: vae, sizes: {latent: 2}, sweep: {beta: [0.1, 1]}}
"""
IN_PACKS = ("data", "compile", "train", "evaluate", "likelihood")


class Clock:
    """It moves a thousandth of a second whenever it is read, and further when it is told to."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        self.time += 1e-3
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(time, "perf_counter", moved)
    return moved


def text(metrics: str = "[reconstruction, throughput]", seeds: int = 2, runs: str = RUNS) -> str:
    return (
        f"name: trial\nseeds: {seeds}\ndata: {{name: pinwheel, n: 256, n_validation: 64, n_test: 64}}\n"
        f"network: {{kind: mlp, hidden: [4]}}\ntrain: {{steps: 32, batch: 32}}\nmetrics: {metrics}\n"
        f"figures: [curves]\nruns:\n{runs}"
    )


def go(folder: Path, content: str, progress: Progress | None = None, ledger: Ledger | None = None) -> pipeline.Done:
    todo = pipeline.plan(suite.parse(content), folder)
    return pipeline.execute(todo, device="cpu", progress=progress or Progress(quiet=True), ledger=ledger)


def commands(folder: Path) -> list[dict[str, Any]]:
    manifest = Store(folder / "results" / "trial").manifest()
    assert manifest is not None
    return manifest.get("commands", [])


def packs(folder: Path) -> dict[str, float]:
    """Seconds of each stage over all packs of the stored documents."""
    costs = {d["cost"]["pack"]["id"]: d["cost"] for d in Store(folder / "results" / "trial").documents()}
    return {stage: sum(c[f"{stage}_seconds"] for c in costs.values()) for stage in IN_PACKS}


def slow(clock: Clock, seconds: float, fn: Callable[..., Any]) -> Callable[..., Any]:
    def slower(*args: Any, **options: Any) -> Any:
        clock.time += seconds
        return fn(*args, **options)

    return slower


# ---- the ledger


def test_an_inner_stage_stops_the_outer_one(monkeypatch: pytest.MonkeyPatch):
    now = [7.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    ledger = Ledger(begin=5.0)
    with ledger.stage("outer"):
        now[0] += 10
        before = ledger.read()
        with contextlib.suppress(ZeroDivisionError), ledger.stage("inner"):
            now[0] += 100
            raise ZeroDivisionError
        now[0] += 1000
    now[0] += 10_000
    assert ledger.read() == {"other": 10_002, "outer": 1010, "inner": 100}
    assert ledger.since(before) == {"other": 10_000, "outer": 1000, "inner": 100}
    assert ledger.since(before)["never"] == 0
    ledger.move(60, "outer", "else")
    assert ledger.read() == {"other": 10_002, "outer": 950, "inner": 100, "else": 60}


# ---- a command


def test_the_stages_add_up_to_the_time_of_the_command(tmp_path: Path, clock: Clock):
    begin = clock.time
    ledger = Ledger(begin=begin - 40)  # the program had been starting for so long
    go(tmp_path, text(), ledger=ledger)
    (command,) = commands(tmp_path)
    seconds = command["seconds"]
    assert set(seconds) - {"likelihood"} == set(account.ALL_STAGES) - {"likelihood"}
    assert all(spent >= 0 for spent in seconds.values())
    # what came after the page's account was written is the page itself
    whole = ledger.read()
    assert sum(whole.values()) == pytest.approx(clock.time - begin + 40)
    assert sum(seconds.values()) == pytest.approx(sum(whole.values()), abs=0.05)
    assert seconds["other"] > 40
    for stage, spent in packs(tmp_path).items():
        assert seconds.get(stage, 0) == pytest.approx(spent, abs=1e-3), stage


def test_each_stage_is_charged_with_its_own(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    from aebench import data, reporting, work

    expected = {"data": 10, "train": 200, "evaluate": 3000, "write": 40_000, "report": 500_000}
    monkeypatch.setattr(data, "load", slow(clock, expected["data"], data.load))
    monkeypatch.setattr(work, "train", slow(clock, expected["train"] / 2, work.train))
    monkeypatch.setattr(work, "arrays", slow(clock, expected["evaluate"] / 2, work.arrays))
    monkeypatch.setattr(Store, "publish_all", slow(clock, expected["write"] / 2, Store.publish_all))
    monkeypatch.setattr(reporting, "_figures", slow(clock, expected["report"], reporting._figures))
    go(tmp_path, text())
    (command,) = commands(tmp_path)
    for stage, spent in expected.items():
        assert command["seconds"][stage] == pytest.approx(spent, rel=0.01), stage
    assert command["seconds"]["other"] + command["seconds"]["set-up"] + command["seconds"]["compile"] < 1


@pytest.mark.parametrize("name", ["nll", "marginal"])
def test_likelihood_is_a_stage_of_its_own(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str):
    dear = getattr(likelihood, name.upper())
    monkeypatch.setattr(likelihood, name.upper(), replace(dear, fn=slow(clock, 1000, dear.fn)))
    go(tmp_path, text(f"[{name}, reconstruction]".replace("nll", "{nll: {samples: 10}}")))
    (command,) = commands(tmp_path)
    assert command["seconds"]["likelihood"] == pytest.approx(1000, abs=1)
    assert command["seconds"]["evaluate"] < 1
    costs = {d["spec"]["variant"]: d["cost"] for d in Store(tmp_path / "results" / "trial").documents()}
    assert costs["vae"]["likelihood_seconds"] == pytest.approx(1000, abs=1)
    assert costs["ae"]["likelihood_seconds"] == 0
    page = (tmp_path / "reports" / "trial" / "report.md").read_text()
    train, whole = command["seconds"]["train"], sum(command["seconds"].values())
    assert f"all but training and likelihood is {1 - (train + command['seconds']['likelihood']) / whole:.1%}" in page


def test_only_what_integrates_over_the_latent_is_likelihood():
    from aebench.metrics import METRICS

    stages = {name: metric(name).stage for name in METRICS}
    assert {name for name, stage in stages.items() if stage == "likelihood"} == {"nll", "marginal"}


# ---- several commands


def test_a_resumed_suite_keeps_the_account_of_all_its_commands(tmp_path: Path, clock: Clock):
    go(tmp_path, text())
    go(tmp_path, text())  # nothing to do: it does not count
    first = commands(tmp_path)
    go(tmp_path, text(seeds=3))
    assert commands(tmp_path)[:1] == first
    assert len(commands(tmp_path)) == 2
    both = account.total(commands(tmp_path))
    for stage, spent in packs(tmp_path).items():
        assert both[stage] == pytest.approx(spent, abs=3e-3), stage
    page = (tmp_path / "reports" / "trial" / "report.md").read_text()
    assert "Where the time of 2 commands went" in page
    assert f"{sum(both.values()):.1f} |" in page


class Interrupting(Progress):
    """Ctrl-C while the second pack trains."""

    def __init__(self) -> None:
        super().__init__(quiet=True)

    def point(self, step: int, loss: Any) -> None:
        if self.before:
            raise KeyboardInterrupt


def test_an_interrupted_command_is_accounted_for(tmp_path: Path, clock: Clock):
    ledger = Ledger()
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, text(), progress=Interrupting(), ledger=ledger)
    (broken,) = commands(tmp_path)
    assert sum(broken["seconds"].values()) == pytest.approx(sum(ledger.read().values()), abs=0.05)
    go(tmp_path, text())
    assert commands(tmp_path)[0] == broken
    both, kept = account.total(commands(tmp_path)), packs(tmp_path)
    assert both["train"] > kept["train"]  # the pack that was given up has left no document
    assert both["evaluate"] == pytest.approx(kept["evaluate"], abs=3e-3)


class Stopping(Progress):
    """Ctrl-C after so many runs have been measured."""

    def __init__(self, after: int) -> None:
        super().__init__(quiet=True)
        self.after = after

    def each(self, items: Iterable[Any], label: str, number: int | None = None) -> Iterator[Any]:
        for i, item in enumerate(items):
            if i == self.after:
                raise KeyboardInterrupt
            yield item


@pytest.mark.parametrize("after", [0, 2])
def test_an_evaluation_that_is_interrupted_is_accounted_for(tmp_path: Path, clock: Clock, after: int):
    """If it has measured anything, whose documents are kept."""
    go(tmp_path, text())
    results = tmp_path / "results" / "trial"
    begin = clock.time
    with pytest.raises(KeyboardInterrupt):
        pipeline.evaluate(results, ["size"], device="cpu", progress=Stopping(after))
    assert sum("parameters" in d["metrics"] for d in Store(results).documents()) == after
    assert len(commands(tmp_path)) == 1 + (after > 0)
    if after:
        seconds = commands(tmp_path)[1]["seconds"]
        assert seconds["evaluate"] > 0
        assert sum(seconds.values()) == pytest.approx(clock.time - begin, abs=0.05)


def test_a_metric_that_is_added_costs_its_own_stage(tmp_path: Path, clock: Clock):
    vae = "  - {variant: vae, sizes: {latent: 2}}\n"
    go(tmp_path, text(seeds=1, runs=vae))
    before = packs(tmp_path)
    go(tmp_path, text("[reconstruction, throughput, marginal]", seeds=1, runs=vae))
    after = packs(tmp_path)
    assert after.pop("likelihood") > before.pop("likelihood") == 0
    assert after == before
    first, second = (command["seconds"] for command in commands(tmp_path))
    assert "likelihood" not in first
    assert "train" not in second
    pipeline.evaluate(tmp_path / "results" / "trial", ["energy"], device="cpu", progress=Progress(quiet=True))
    assert len(commands(tmp_path)) == 3


# ---- the words


def test_the_page_shows_the_shares_and_old_results_have_none(tmp_path: Path):
    import drawn

    spent = {"set-up": 2.0, "train": 60.0, "likelihood": 20.0, "report": 8.0, "mystery": 10.0}
    run = drawn.document(drawn.DIGITS, 1.0, 0)
    drawn.store(tmp_path / "r", [run], commands=[{"when": "", "seconds": spent}])
    page = report(tmp_path / "r", tmp_path / "out").with_name("report.md").read_text()
    assert f"|  | {' | '.join([*account.ALL_STAGES, 'mystery', 'all'])} |" in page
    assert "| seconds | 2.0 | 0.0 | 0.0 | 60.0 | 0.0 | 20.0 | 0.0 | 8.0 | 0.0 | 10.0 | 100.0 |" in page
    assert "| share | 2.0% | 0.0% | 0.0% | 60.0% | 0.0% | 20.0% | 0.0% | 8.0% | 0.0% | 10.0% | 100.0% |" in page
    assert "Where the time of one command went; all but training and likelihood is 20.0% of it:" in page
    assert account.in_words(spent) == "100.0 s: train 60%, likelihood 20%, mystery 10%, report 8%, set-up 2%"
    drawn.store(tmp_path / "old", [run])
    page = report(tmp_path / "old", tmp_path / "out").with_name("report.md").read_text()
    assert "Where the time" not in page
    assert "| digits | vae | 1 | 0.5 | 0.2 | 8.0 | 1.0 | – | 19,200 | 3 |" in page


# ---- what keeps evaluation small


def test_metrics_together_give_what_each_gives_alone_and_encode_once():
    """In float64, bit for bit; reconstruction, sparsity, errors and the energy ask for the same codes."""
    v, x = variant("vae"), np.random.default_rng(0).random((BLOCK + 120, 1, 4, 4))
    sizes = v.sizes(latent=2)
    nets = [doubled(build(v, (1, 4, 4), MLP((5,)), sizes, seed)).double() for seed in range(3)]
    names = ("sparsity", "nll", "reconstruction", "denoising", "energy", "errors", "elbo", "activity", "active_units")
    chosen = [(metric(name), metric(name).options()) for name in names]
    for held in (nets, nets[:1]):
        runs, part = pack(v, held, sizes), Examples(torch.from_numpy(x))
        alone: list[dict[str, Any]] = [{} for _ in held]
        for name in names:
            for entries, new in zip(alone, measured(runs, x, name), strict=True):
                entries |= new
        assert evaluate(runs, chosen, part) == alone
        assert evaluate(runs, chosen, part, codes=encode(runs, part)) == alone
        assert [list(entries) for entries in evaluate(runs, chosen, part)] == [list(entries) for entries in alone]
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    runs.net.encoder.register_forward_hook(count)
    shared = [pair for pair in chosen if pair[0].name in ("sparsity", "reconstruction", "energy", "errors", "elbo")]
    evaluate(runs, shared, part)
    assert calls == 2  # blocks


def test_figures_show_the_same_codes_whoever_encodes():
    v, x = variant("vae"), torch.from_numpy(np.random.default_rng(0).random((BLOCK + 120, 3)))
    runs = pack(v, [build(v, (3,), MLP((5,)), v.sizes(latent=2), seed).double() for seed in range(3)], 2)
    one, two = arrays(runs, Examples(x), None), arrays(runs, Examples(x), None, encode(runs, Examples(x)))
    for a, b in zip(one, two, strict=True):
        assert set(a) == set(b) >= {"codes", "codes_sd", "kl_per_dimension", "samples"}
        for name, array in a.items():
            np.testing.assert_array_equal(array, b[name])


def test_a_slow_net_is_called_a_few_times_and_a_fast_one_as_often_as_asked(clock: Clock):
    for each, calls in ((10.0, cost.LEAST), (1e-6, 25), (cost.ENOUGH / 10, 10)):
        made: list[float] = []

        def call(each: float = each, made: list[float] = made) -> None:
            made.append(each * (1000 if not made else 1 + len(made) % 2))
            clock.time += made[-1]

        clock_reads = 1e-3
        found = cost.seconds(call, torch.zeros(1), repeats=20)
        assert len(made) <= calls
        assert found == pytest.approx(float(np.median(made[-(-len(made) // 5) :])) + clock_reads)


def test_codes_of_many_runs_are_looked_at_in_parts_of_the_pack():
    """Eleven runs, of which eight are compared at once, are those measured one by one."""
    v, x = variant("vae"), np.random.default_rng(0).random((150, 3))
    sizes = v.sizes(latent=2)
    nets = [doubled(build(v, (3,), MLP((5,)), sizes, seed)).double() for seed in range(11)]
    for name in ("aggregate", "activity", "active_units"):
        together = [numbers(entries) for entries in measured(pack(v, nets, sizes), x, name)]
        for seed, net in enumerate(nets):
            (alone,) = measured(pack(v, [net], sizes, seeds=[seed]), x, name)
            assert numbers(alone) == pytest.approx(together[seed], rel=1e-11, abs=1e-12)


def test_a_reconstruction_is_shared_only_for_the_same_examples():
    """Beside others, `denoising` still reconstructs its own noisy inputs."""
    v = variant("ae")
    sizes = v.sizes(latent=2)
    runs, x = pack(v, [doubled(build(v, (3,), MLP((5,)), sizes, 0)).double()], sizes), np.ones((20, 3))
    both = [(m, m.options()) for m in (reconstruction.RECONSTRUCTION, reconstruction.DENOISING)]
    (entries,) = evaluate(runs, both, Examples(torch.from_numpy(x)))
    (alone,) = measured(runs, x, "denoising")
    assert entries["denoising_gain_db_0.5"] == alone["denoising_gain_db_0.5"]
    noisy = 3 * 0.5**2 / 10 ** (alone["denoising_gain_db_0.5"]["value"] / 10)
    assert abs(noisy - entries["sse"]["value"]) > 1e-3
