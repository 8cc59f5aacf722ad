"""Figures beside the leaderboard: who is not ranked there leads nowhere; times of two machines share no axis."""

from __future__ import annotations

import importlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared import frame, runs
from matplotlib.figure import Figure
from matplotlib.text import Text

from aebench import references, stats
from aebench.comparison import boards, ranking
from aebench.plots import FIGURES, style
from aebench.plots.families import short

SEEDS = 8
BASE = 10 + np.random.default_rng(3).normal(0, 0.3, SEEDS)
NOISE = np.random.default_rng(4).normal(0, 0.05, (4, SEEDS))


def drawings(name: str, documents: list[dict[str, Any]]):
    module, _, attribute = FIGURES[name][0].partition(":")
    return list(getattr(importlib.import_module(module), attribute)(frame(documents), lambda run: {}))


def costing(documents: list[dict[str, Any]], size: float, seconds: float, **made: Any) -> list[dict[str, Any]]:
    """These runs with a size, the seconds of their training, and what they were made on."""
    for document in documents:
        document["metrics"]["parameters"] = {"value": size, "unit": "numbers", "better": "lower", "version": 1}
        document["cost"] = {"train_seconds": seconds}
        document["made"] = {"device": "cpu", "threads": 1} | made
    return documents


def failing(kind: str) -> list[dict[str, Any]]:
    """On two data sets `ae` is the best of those that are whole; `tied_ae` is lower by far, but three runs lack it."""
    found: list[dict[str, Any]] = []
    for data in ("digits", "mnist"):
        found += costing(runs("ae", "sse", BASE, data=data), 300, 3)
        found += costing(runs("deep_ae", "sse", BASE + 1 + NOISE[0], data=data), 400, 2)
        found += costing(runs("pca", "sse", BASE + 3 + NOISE[2], data=data), 50, 1)
        bad = costing(runs("tied_ae", "sse", BASE - 4 + NOISE[1], data=data), 20, 0.5)
        for document in bad[:3]:
            if kind == "failed":
                document |= {"status": "diverged", "error": {"kind": "diverged", "message": "loss is nan"}}
            else:
                document["metrics"]["sse"]["value"] = None
        found += bad
    return found


@pytest.mark.parametrize("kind", ["failed", "no value"])
def test_no_figure_leads_with_a_setting_whose_other_runs_failed(kind: str):
    documents = failing(kind)
    board = boards(frame(documents))[0]
    best = [e.label for e in board.entrants if board.cells[e.key, "sse"].mark == "best"]
    assert best == ["ae"]
    for drawing in drawings("comparison", documents):
        assert drawing.alt.startswith("reconstruction error less that of ae on ")
        assert "not ranked: tied_ae" in drawing.alt
        assert f"tied_ae (3 of 8 {'failed: diverged' if kind == 'failed' else 'no finite value'})" in drawing.caption
        assert "worse than the control: deep_ae" in drawing.alt
    assert [d.name for d in drawings("comparison", documents)] == ["comparison-digits-sse", "comparison-mnist-sse"]
    for drawing in drawings("pareto", documents):
        assert "tied_ae" not in drawing.alt
        assert "parameters: pca, ae" in drawing.alt
        assert "Settings with runs that failed are not on the front" in drawing.caption
        assert "5 to 8 seeds" in drawing.caption
    (drawing,) = drawings("ranks", documents)
    labels = [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()]
    assert labels == list(np.array(ranking(frame(documents), references.References(())).labels)[[0, 1, 2]])
    assert "tied_ae" not in labels


def test_a_report_gives_figures_the_runs_that_failed(tmp_path: Path):
    """So that they rank whom its boards rank."""
    from aebench.reporting import report
    from aebench.store import Store

    documents = failing("failed")
    store = Store(tmp_path / "r")
    store.publish_all([(document, {}, None) for document in documents])
    store.write_manifest({"name": "r", "about": "", "figures": [], "ids": [d["id"] for d in documents], "text": ""})
    report(tmp_path / "r", tmp_path / "out")
    text = (tmp_path / "out/report.md").read_text(encoding="utf-8")
    assert "each setting less that of ae on digits" in text
    assert "less that of tied_ae" not in text
    assert "1 is best, of 3 settings" in text


def test_equal_settings_are_rarely_told_from_the_best_of_them():
    """The control is picked by the same runs: with an adjustment for the others alone one is told from it in 18 %."""
    from aebench.plots import choosing, forest

    rng, told, draws = np.random.default_rng(5), 0, 100
    for _ in range(draws):
        found = frame([r for k in range(14) for r in runs(f"m.py:V{k}", "sse", 5 + rng.normal(0, 1, 10))])
        shown = choosing.entered(found, {"sse": found.attrs["values"]["sse"]})
        control = forest.the_control(shown, "sse", "best")
        assert control is not None
        against = forest.Against("digits", "Test", shown.board.measures[0], control, control.label)
        told += any(row.look in ("better", "worse") for row in forest.compare(shown, against, 8))
    assert told / draws < 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)


# ---- times


def timed(**where: dict[str, Any]) -> list[dict[str, Any]]:
    """Three settings with sizes, seconds and rates; `where`: what a variant was made and measured on."""
    found: list[dict[str, Any]] = []
    for k, variant in enumerate(("ae", "tied_ae", "deep_ae")):
        rates = {"encode_examples_per_s": 1e5 * (1 + k) + 1e3 * np.arange(4), "decode_examples_per_s": np.full(4, 1e6)}
        own = runs(variant, {"sse": 5.0 - k + 0.1 * np.arange(4)} | {n: np.array(x) for n, x in rates.items()})
        costing(own, 100 * (1 + k), 10.0 * (1 + k), **where.get(variant, {}))
        for document in own:
            document["cost"]["train_examples_per_s"] = 1e4 / (1 + k)
            document["measured"] = {"device": "cpu", "threads": 1} | where.get(f"{variant}_measured", {})
        found += own
    return found


def bars(drawing: Any) -> list[dict[str, float]]:
    """Of each panel the bars, by name."""
    names = [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()]
    return [
        {names[round(bar.get_y() + 0.35)]: bar.get_width() for bar in ax.patches if bar.get_width()}
        for ax in drawing.figure.axes
    ]


def test_rates_of_another_machine_or_with_other_threads_are_left_out_by_name():
    (drawing,) = drawings("throughput", timed())
    assert [{*panel} for panel in bars(drawing)] == [{"ae", "tied_ae", "deep_ae"}] * 3
    assert "elsewhere" not in drawing.caption
    assert "Training on cpu, 1 thread." in drawing.caption
    gpu = {"device": "NVIDIA H100"}
    (drawing,) = drawings("throughput", timed(deep_ae=gpu, deep_ae_measured=gpu))
    assert [{*panel} for panel in bars(drawing)] == [{"ae", "tied_ae"}] * 3
    assert "Encoding and decoding on cpu, 1 thread." in drawing.caption
    assert "Left out of both, as timed elsewhere: on NVIDIA H100, 1 thread deep_ae." in drawing.caption
    (drawing,) = drawings("throughput", timed(deep_ae={"threads": 2}))
    assert [{*panel} for panel in bars(drawing)] == [{"ae", "tied_ae", "deep_ae"}] * 2 + [{"ae", "tied_ae"}]
    assert "Left out of training, as timed elsewhere: on cpu, 2 threads deep_ae." in drawing.caption


def test_the_front_of_error_and_seconds_has_one_machine():
    (drawing,) = drawings("pareto", timed())
    assert "seconds to train a run: those of its pack / runs in it: ae, tied_ae, deep_ae" in drawing.alt
    assert "Seconds are of cpu, 1 thread." in drawing.caption
    (drawing,) = drawings("pareto", timed(tied_ae={"device": "NVIDIA H100"}))
    assert "runs in it: ae, deep_ae;" in drawing.alt
    assert "parameters: ae, tied_ae, deep_ae" in drawing.alt  # what is counted is the same anywhere
    assert "Left out of seconds, as timed elsewhere: on NVIDIA H100, 1 thread tied_ae." in drawing.caption


def test_runs_of_one_setting_on_two_machines_are_counted():
    documents = timed()
    for document in documents[:1]:
        document["made"]["threads"] = 2
    (drawing,) = drawings("pareto", documents)
    assert "on cpu, 2 threads ae (1 of 4 runs)." in drawing.caption


# ---- ranks over data sets


def over(sets: int, spread: float, seeds: int = 5, **more: int) -> list[dict[str, Any]]:
    """Settings that differ by a step, over so many data sets, each with a level of its own; `more`: seeds of some."""
    rng = np.random.default_rng(1)
    return [
        run for n in range(sets) for k, variant in enumerate(("pca", "ae", "deep_ae", "tied_ae"))
        for run in runs(variant, "sse", 10 + spread * k + rng.normal(0, 1, more.get(variant, seeds)), data=f"d{n}")
    ]  # fmt: skip


def joining(drawing: Any) -> list[Any]:
    return [line for line in drawing.figure.axes[0].get_lines() if line.get_linewidth() == 2.5]


def test_where_friedman_finds_nothing_no_pair_is_tested():
    documents = over(8, 0.0)
    found = ranking(frame(documents), references.References(()))
    assert found is not None
    assert isinstance(found.friedman, stats.Friedman)
    assert found.friedman.p > 0.05
    assert found.friedman.cliques
    (drawing,) = drawings("ranks", documents)
    assert joining(drawing) == []
    assert "finds no difference (p = " in drawing.caption
    assert "; no pair is tested." in drawing.caption
    assert "critical difference" not in drawing.caption
    assert not [text for legend in drawing.figure.legends for text in legend.get_texts() if "told apart" in str(text)]
    (drawing,) = drawings("ranks", over(8, 1.0))
    assert joining(drawing)
    assert "Nemenyi's critical difference" in drawing.caption


def test_seeds_are_counted_from_least_to_most():
    (drawing,) = drawings("ranks", over(2, 1.0, seeds=8, tied_ae=5))
    assert "5 to 8 seeds each" in drawing.caption


def test_what_the_axis_of_scores_cuts_off_is_said(monkeypatch: pytest.MonkeyPatch):
    documents = over(2, 1.0) + [r for n in range(2) for r in runs("linear_ae", "sse", [30.0] * 5, data=f"d{n}")]
    specs = {document["spec"]["data"]["name"]: document["spec"] for document in documents}
    made = [references.Reference(references.data_of(spec), 8, "sse", 14.0, 10.0, "ae") for spec in specs.values()]
    monkeypatch.setattr(references, "load", lambda: references.References(tuple(made)))
    (drawing,) = drawings("profiles", documents)
    assert drawing.figure.axes[0].get_xlim()[0] == -1
    assert "The axis begins at −1, and of some settings runs lie below: linear_ae (100%)" in drawing.caption


# ---- names


def test_a_line_break_in_a_name_spoils_no_figure():
    assert short("two\nlines\t here", 40) == "two lines here"
    documents = [r for k, v in enumerate(("m.py:a\nb", "ae", "tied\u2028ae")) for r in runs(v, "sse", BASE + k)]
    (drawing,) = drawings("comparison", documents)
    assert [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()] == ["ae", "tied ae"]
    assert "m.py:a b" in drawing.figure.get_suptitle()
    assert "\n" not in drawing.figure.get_suptitle()


def test_controls_of_the_direction_of_writing_are_not_drawn(tmp_path: Path):
    figure = Figure()
    figure.suptitle("set\u202eB\u2066\u200f: 10")
    figure.subplots().set_ylabel("\u05d0\u05d1")
    style.save(figure, tmp_path, "a")
    assert {"set" + "B: 10", "\u05d0\u05d1"} <= {text.get_text() for text in figure.findobj(Text)}


def test_every_pair_of_boards_and_figures_is_named_alike():
    """Labels tell settings apart among all of a data set, whether a figure shows all of them or not."""
    documents = [r for beta, k in itertools.product((0.1, 1.0), range(2))
                 for r in runs(("vae", "beta_vae")[k], {"sse": BASE[:4] + beta + k, "kl": BASE[:4]},
                               hyper={"beta": beta})]  # fmt: skip
    for document in documents[-4:]:
        document |= {"status": "failed", "metrics": {}}
    (board,) = boards(frame(documents))
    (drawing,) = drawings("comparison", documents)
    labels = {text.get_text() for text in drawing.figure.axes[0].get_yticklabels()}
    assert labels < {entrant.label for entrant in board.entrants}
    assert "beta_vae, beta 0.1" in labels | {drawing.figure.get_suptitle().partition("that of ")[2].partition(":")[0]}
