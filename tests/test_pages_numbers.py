"""Every number on the pages, recomputed from the documents that the page names, by code of its own and scipy."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from html_tree import Node, parse
from scipy.interpolate import PchipInterpolator
from scipy.stats import gmean, rankdata, t

from aebench.reporting import report
from aebench.store import Store

DATA = ("digits", "mnist")
SEEDS = 5
UNITS = {"C": ("squared units of the data per example", "lower")}
NUMBER = r"[−-]?\d[\d,]*(?:\.\d+)?(?:e[+−-]?\d+)?"
Documents = Mapping[str, Mapping[str, Any]]


def measured(variant: str, data: str, seed: int, beta: float | None) -> dict[str, float]:
    """Values in which settings differ by more than seeds do, so that something can be claimed."""
    rng = np.random.default_rng([len(variant), seed, len(data), int(1000 * (beta or 0))])
    place = {"pca": 12.0, "ae": 6.0, "tied_ae": 9.0, "denoising_ae": 8.0}.get(variant, 7.0 + 0.2 * len(variant))
    sse = place * (1 + (beta or 0)) * math.exp(0.03 * rng.normal())
    found = {"sse": sse, "denoising_gain_db_0.25": 20 - sse + 0.1 * rng.normal(), "parameters": 17736.0}
    if beta is not None:
        found |= {"kl": 20 * math.exp(-beta + 0.02 * rng.normal()), "C": 1.1 * sse, "active_units": float(seed % 2 + 6)}
    return found


def document(variant: str, data: str, seed: int, beta: float | None = None, **more: Any) -> dict[str, Any]:
    hyper = {} if beta is None else {"beta": beta}
    found = synthetic.document(suite="traced", variant=variant, hyper=hyper, data={"name": data}, seed=seed, **more)
    values = measured(variant, data, seed, beta) if found["status"] == "ok" else {}
    found["metrics"] = {
        name: {"value": value, "unit": (synthetic.METRICS | UNITS)[name][0], "version": 1, "options": {},
               "better": (synthetic.METRICS | UNITS)[name][1]}
        for name, value in values.items()
    }  # fmt: skip
    rng = np.random.default_rng(len(variant) + len(data))
    pack = {"id": f"{variant}{data}{beta}", "runs": SEEDS}
    seconds = {f"{s}_seconds": float(rng.uniform(1, 9)) for s in ("data", "compile", "train", "evaluate", "likelihood")}
    found["cost"] = {**seconds, "examples": 38400, "peak_bytes": int(rng.integers(2**21, 2**30)), "pack": pack}
    return found


def suite() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for data in DATA:
        for seed in range(SEEDS):
            found += [document(variant, data, seed) for variant in ("pca", "ae", "tied_ae", "denoising_ae")]
            found += [document(v, data, seed, beta) for v in ("vae", "energy_vae") for beta in (0.1, 0.3, 1.0, 2.0)]
    found.append(document("tied_ae", "digits", SEEDS, status="diverged"))
    return found


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("numbers")
    store, documents = Store(folder / "traced"), suite()
    store.publish_all([(d, {}, None) for d in documents])
    commands = [{"when": "2026-01-01T00:00:00Z", "seconds": {"train": 81.25, "evaluate": 18.75}}]
    ids = [d["id"] for d in documents]
    store.write_manifest({"name": "traced", "about": "a", "figures": [], "ids": ids, "text": "", "commands": commands})
    report(folder / "traced", folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def documents(out: Path) -> Documents:
    """Read as JSON, by nothing of aebench."""
    files = (out.parent / "traced").glob("*.json")
    return {path.stem: json.loads(path.read_text()) for path in files if path.stem != "suite"}


@pytest.fixture(scope="module")
def index(out: Path) -> Node:
    return parse(out / "index.html")


# ---- numbers as text


def numbers(text: str) -> list[str]:
    return re.findall(NUMBER, text)


def says(text: str, value: float) -> bool:
    """Whether a number in print is this value, rounded to the digits in print."""
    plain = text.replace("−", "-").replace(",", "")
    mantissa, _, power = plain.partition("e")
    unit = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    return abs(float(plain) - value) <= 0.5 * unit * (1 + 1e-6) + 1e-12 * abs(value)


def test_printed_numbers_are_told_from_others():
    assert says("1.12", 1.1249)
    assert not says("1.12", 1.1251)
    assert says("−0.20", -0.2049)
    assert says("17,736", 17736.4)
    assert says("2.5e−07", 2.54e-7)
    assert not says("12", 12.6)


def check(text: str, expected: Sequence[float]) -> None:
    found = numbers(text)
    assert len(found) == len(expected), (text, expected)
    assert all(map(says, found, expected)), (text, expected)


# ---- what the numbers should be


COSTS = ("train_seconds", "train_examples_per_s", "peak_bytes", "flops_train_step")
"""Numbers of a whole pack: the same in all its runs, and without an interval."""


def value(document: Mapping[str, Any], measure: str) -> float:
    if document["status"] != "ok":
        return math.nan
    if measure in COSTS:
        return document["cost"].get(measure, math.nan)
    return document["metrics"].get(measure, {"value": math.nan})["value"]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean and its 95 % t interval."""
    x = np.array([v for v in values if not math.isnan(v)])
    half = t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x))
    return float(x.mean()), float(x.mean() - half), float(x.mean() + half)


def cells(row: Node) -> list[Node]:
    return [child for child in row.children if isinstance(child, Node)]


def rows(table: Node) -> list[Node]:
    return list(table.one("tbody").all("tr"))


def behind(row: Node, documents: Documents) -> list[Mapping[str, Any]]:
    return [documents[run] for run in row.attrs["data-runs"].split()]


# ---- leaderboards


def test_every_number_of_a_leaderboard_is_that_of_its_runs(out: Path, documents: Documents):
    seen = 0
    for page in (out / "index.html", *(out / "variants").iterdir()):
        for board in parse(page).all("table", class_="board"):
            measures = [head.attrs.get("data-m") for head in board.one("thead").all("th")]
            for row in rows(board):
                runs = behind(row, documents)
                assert {run["spec"]["data"]["name"] for run in runs} == {board.one("caption").one("bdi").text}
                assert len({json.dumps(run["spec"] | {"seed": 0}) for run in runs}) == 1
                assert row.one("a", class_="name").text.startswith(runs[0]["spec"]["variant"])
                for cell, measure in zip(cells(row), measures, strict=True):
                    if measure is None:
                        continue
                    seen += 1
                    _check_cell(cell, [value(run, measure) for run in runs])
    assert seen > 300


def _check_cell(cell: Node, values: list[float]) -> None:
    there = [v for v in values if not math.isnan(v)]
    if not there:
        assert cell.attrs["data-v"] == ""
        assert cell.text.strip().startswith("–")
        return
    mean, low, high = interval(values)
    notes = "".join(f"{link.text}" for link in cell.all("a"))
    text = cell.text.strip().removesuffix(notes)
    if len(there) < len(values):
        counted = cell.one("span", class_="count").text
        assert counted == f"{len(there)}/{len(values)}"
        text = text.removesuffix(counted)
    assert float(cell.attrs["data-v"]) == pytest.approx(mean, rel=1e-8)
    if "data-l" in cell.attrs:
        assert float(cell.attrs["data-l"]) == pytest.approx(low, rel=1e-8)
        assert float(cell.attrs["data-h"]) == pytest.approx(high, rel=1e-8)
        check(text.replace("★", "").replace("≈", ""), [mean, high - mean])
    else:
        assert len(set(there)) == 1  # counted, not measured
        check(text.replace("★", ""), [mean])


def test_the_best_has_the_best_mean_of_those_without_a_note(index: Node):
    for board in index.all("table", class_="board"):
        heads = list(board.one("thead").all("th"))
        marked = 0
        for at, head in enumerate(heads):
            column = [cells(row)[at] for row in rows(board)]
            best = [cell for cell in column if "best" in cell.attrs["class"].split()]
            if best:
                ranked = [float(c.attrs["data-v"]) for c in column if c.attrs["data-v"] and not list(c.all("a"))]
                extreme = max if head.attrs["data-better"] == "higher" else min
                assert {float(cell.attrs["data-v"]) for cell in best} == {extreme(ranked)}  # equal ones share it
                marked += 1
        assert marked >= 2


# ---- sentences


def test_every_number_of_a_sentence_is_that_of_its_runs(index: Node, documents: Documents):
    claims = list(index.one("ul", class_="claims").all("li"))
    assert len(claims) == 3
    for claim in claims:
        text = claim.first("p").text
        measure = next(name for words, name in MEASURES.items() if words in text)
        runs = behind(claim, documents)
        _check_sentence(text, measure, runs)
        for strip in claim.all("figure", class_="strip"):
            data, a, b = re.fullmatch(r"(\w+): (.+) less (.+)", strip.one("bdi").text).groups()
            difference = interval(np.subtract(*(_values(side, data, measure, runs) for side in (a, b))))
            mean, low, high = difference
            printed = strip.one("b").text
            check(printed, [mean, low, high] if "[" in printed else [mean, high - mean])
            assert len(list(strip.all("circle", class_="dot"))) == SEEDS
            assert printed in strip.one("svg").attrs["aria-label"]


MEASURES = {"squared error": "sse", "gain at": "denoising_gain_db_0.25", "⟨C⟩": "C"}


def _values(setting: str, data: str, measure: str, runs: Sequence[Mapping[str, Any]]) -> list[float]:
    """The values of a setting by seed; of a curve those at the KL in the middle of what all curves cover."""
    own = [run for run in runs if (run["spec"]["variant"], run["spec"]["data"]["name"]) == (setting, data)]
    own = sorted((run for run in own if run["status"] == "ok"), key=lambda run: run["spec"]["seed"])
    if measure != "C":
        return [value(run, measure) for run in own[:SEEDS]]
    both = [run for run in runs if run["spec"]["data"]["name"] == data]
    low, high = _common(both)
    return [float(_curve(own, seed)((low + high) / 2)) for seed in range(SEEDS)]


def _curve(runs: Sequence[Mapping[str, Any]], seed: int) -> PchipInterpolator:
    points = sorted((value(run, "kl"), value(run, "C")) for run in runs if run["spec"]["seed"] == seed)
    return PchipInterpolator(*zip(*points, strict=True))


def _common(runs: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """The range of KL that every curve covers: a curve is a variant at one seed."""
    curves: dict[tuple[str, int], list[float]] = {}
    for run in runs:
        curves.setdefault((run["spec"]["variant"], run["spec"]["seed"]), []).append(value(run, "kl"))
    return max(map(min, curves.values())), min(map(max, curves.values()))


def _check_sentence(text: str, measure: str, runs: Sequence[Mapping[str, Any]]) -> None:
    """Take every statement out of the sentence that the runs bear out: no number may be left."""
    left = text
    for clause in re.findall(r"\bon (\w+) (\w+)(?: reconstructs)?,? ([^;]+)", text):
        data, best, rest = clause
        for found in re.finditer(rf"({NUMBER})( %| dB)? \[({NUMBER}), ({NUMBER})\](?: dB)? better than (\w+)", rest):
            mean, low, high = _lead(measure, best, found[5], data, runs, percent="%" in (found[2] or ""))
            assert says(found[1], mean)
            assert says(found[3], low)
            assert says(found[4], high)
            left = left.replace(found[0], "")
            if measure == "C":
                rate = re.search(rf"at ({NUMBER}) nats", rest)
                assert rate is not None
                assert says(rate[1], sum(_common([r for r in runs if r["spec"]["data"]["name"] == data])) / 2)
                left = left.replace(rate[0], "")
    assert numbers(left.replace("σ = 0.25", "").replace(f"{SEEDS} seeds", "")) == [], left


def _lead(
    measure: str, best: str, other: str, data: str, runs: Sequence[Mapping[str, Any]], percent: bool
) -> tuple[float, float, float]:
    """By how much the one is better than the other, and the interval: of the ratio in per cent, or of the gain."""
    a, b = (np.array(_values(setting, data, measure, runs)) for setting in (best, other))
    if not percent:
        return interval(a - b)
    _, low, high = interval(np.log(a / b))
    return 100 * (1 - gmean(a / b)), 100 * (1 - math.exp(high)), 100 * (1 - math.exp(low))


# ---- other tables


def named(index: Node, caption: str) -> Node:
    return next(table for table in index.all("table") if table.one("caption").text.startswith(caption))


def test_curves_are_compared_as_their_runs_have_it(index: Node, documents: Documents):
    for row in rows(named(index, "Curves against each other")):
        runs = behind(row, documents)
        data, curves, _, over, _, difference, seeds = (cell.text for cell in cells(row))
        low, high = _common(runs)
        check(over, [low, high])
        a, b = ([r for r in runs if r["spec"]["variant"] == name] for name in curves.split(" less "))
        means = [
            (_curve(a, s).integrate(low, high) - _curve(b, s).integrate(low, high)) / (high - low) for s in range(SEEDS)
        ]
        mean, low, high = interval(means)
        check(difference, [mean, high - mean])
        assert (seeds, data) == (str(SEEDS), runs[0]["spec"]["data"]["name"])
    for row in rows(named(index, "Curves at matched places")):
        runs = behind(row, documents)
        _, curves, at, _, difference = (cell.text for cell in cells(row))
        a, b = ([r for r in runs if r["spec"]["variant"] == name] for name in curves.split(" less "))
        low, high = _common(runs)
        place = min(np.linspace(low, high, 5), key=lambda x: abs(x - float(numbers(at)[0])))
        assert says(numbers(at)[0], place)
        mean, _, high = interval([float(_curve(a, s)(place) - _curve(b, s)(place)) for s in range(SEEDS)])
        check(difference, [mean, high - mean])


def test_mean_ranks_are_those_of_the_runs(index: Node, documents: Documents):
    table = rows(named(index, "Settings over the data sets"))
    assert len(table) >= 3
    by_row = [
        [[value(r, "sse") for r in sorted(behind(row, documents), key=lambda r: r["spec"]["seed"])
          if r["spec"]["data"]["name"] == data] for data in DATA]
        for row in table
    ]  # fmt: skip
    ranks = rankdata(np.array(by_row), axis=0).mean(axis=(1, 2))
    for row, rank in zip(table, ranks, strict=True):
        assert says(numbers(cells(row)[1].text)[0], rank)


def test_costs_are_those_of_the_packs(index: Node, documents: Documents):
    total = np.zeros(5)
    *groups, last = rows(named(index, "What the runs cost"))
    for row in groups:
        runs = behind(row, documents)
        packs = {run["cost"]["pack"]["id"]: run["cost"] for run in runs}
        stages = ("data", "compile", "train", "evaluate", "likelihood")
        seconds = np.array([sum(cost[f"{stage}_seconds"] for cost in packs.values()) for stage in stages])
        examples = sum(cost["examples"] * cost["pack"]["runs"] for cost in packs.values())
        peak = max(cost["peak_bytes"] for cost in packs.values()) / 2**20
        _, _, *found = (cell.text for cell in cells(row))
        assert all(map(says, found, [len(runs), *seconds, examples / seconds[2], peak]))
        total += seconds
    assert all(map(says, [cell.text for cell in cells(last)][3:8], total))
    assert cells(last)[2].text == str(len(documents))
    went = named(index, "Where the time of one command went")
    assert "all but training and likelihood is 18.8% of it" in went.one("caption").text
    assert [cell.text for cell in cells(rows(went)[0])[1:] if cell.text != "0.0"] == ["81.2", "18.8", "100.0"]


def test_every_run_stands_on_the_page_of_its_variant(out: Path, documents: Documents):
    seen: list[str] = []
    for page in (out / "variants").iterdir():
        root = parse(page)
        table = root.one("table", id="all-runs")
        heads = [head.text.strip() for head in table.one("thead").all("th")]
        for row in rows(table):
            (run,) = behind(row, documents)
            named = dict(zip(heads, (cell.text.strip() for cell in cells(row)), strict=True))
            assert named["run"] == run["id"]
            assert named["status"] == run["status"]
            assert named["seed"] == str(run["spec"]["seed"])
            assert root.one("h1").text == run["spec"]["variant"]
            for measure in heads[5:]:
                expected = value(run, measure)
                assert named[measure] == "–" if math.isnan(expected) else says(named[measure], expected)
            seen.append(run["id"])
    assert sorted(seen) == sorted(documents)


def test_counts_are_those_of_the_documents(index: Node, documents: Documents):
    good = sum(document["status"] == "ok" for document in documents.values())
    assert f"{good} of {len(documents)} runs ended well, 1 did not" in index.one("p", class_="status").text
    facts = {d.one("dt").text: d.one("dd").text for d in index.one("section", id="compared").all("div")}
    settings = {json.dumps(d["spec"] | {"seed": 0}) for d in documents.values()}
    assert facts["settings"] == f"{len(settings)}, in {len(documents)} runs"
    assert facts["seeds"] == ", ".join(map(str, range(SEEDS + 1)))


# ---- and nothing else


TRACED = {"claims", "board", "facts", "status"}
WORDS = (
    "figcaption",
    "caption",
    "code",
    "summary",
    "h1",
    "h2",
    "h3",
    "script",
    "style",
    "title",
    "label",
    "nav",
    "button",
)


def test_no_number_stands_outside_what_these_tests_recompute(index: Node):
    """Words, and captions of figures, which have tests of their own, aside."""
    stray: list[str] = []
    for node in index.all():
        classes = {name for n in node.above for name in n.attrs.get("class", "").split()}
        own = "".join(child for child in node.children if isinstance(child, str))
        if not re.search(r"\d", own):
            continue
        around = list(node.above)
        if any(
            n.tag in WORDS or "data-runs" in n.attrs or {*n.attrs.get("class", "").split()} & {*TRACED} for n in around
        ):
            continue
        if any(n.attrs.get("id") in ("glossary", "cost-0", "cost-1") for n in around):
            continue
        if {"note", "keys"} & classes or node.tag == "p":
            own = re.sub(r"\b95 %|\b5 %|p(?= |:)|latent size \d+|\(3000 steps of 128, adam, fp32\)|σ = 0\.25", "", own)
        if re.search(r"\d", own):
            stray.append(f"{node.tag}: {' '.join(own.split())}")
    assert [line for line in stray if not any(re.search(known, line) for known in KNOWN)] == []


KNOWN = (
    r"^th: (sse|denoising_gain_db_0\.25)$",
    r"^p: .*Ranked are the \d+ settings of",
    r"^p: Without scores|^p: No (Friedman )?test",
    r"^p: Settings with runs that failed are not ranked.*1 of 6 failed",
    r"^li: : 1 of 6 failed",
    r"^p: By sse, over digits, mnist: .* averaged over 10 pairs",
    r"^p: With the suite below saved as traced\.yaml and aebench 0\.1\.0:$",
    r"^p: Left out: .* more \(\d+ settings\); ",
    r"^p: A sentence claims a lead .*looked at \(\d+\) leaves",
    r"^p: Settings with a latent KL trade error for KL.*denoising_gain_db_0\.25",
)
