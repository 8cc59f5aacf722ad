"""The figures of the statistics: what is drawn is what scipy and plain sums say of the same numbers."""

from __future__ import annotations

import copy
import hashlib
import importlib
import itertools
import json
from typing import Any

import drawn
import matplotlib as mpl
import numpy as np
import pytest
from scipy import stats as reference
from scipy.integrate import quad
from scipy.interpolate import PchipInterpolator

from aebench import groups, references
from aebench.plots import FIGURES, NEEDS, between, choosing, file_name, forest, lines, pareto, style, with_documents
from aebench.plots.families import common_latent, family, label, legend_columns, short
from aebench.store.frame import from_documents

OWN = ("comparison", "comparison_pca", "pareto", "throughput", "profiles", "ranks", "tuning", "curves")
ACROSS = ("profiles", "ranks")
ERROR = ("squared units of the data per example", "lower")
ABOUT = {
    "sse": ERROR, "nll": ("nats per example", "lower"), "C": ERROR, "kl": ("nats per example", "lower"),
    "U": ("nats per example", "neither"), "S": ("nats per example", "neither"), "V": ("nats per example", "neither"),
    "l0_fraction": ("fraction of units", "neither"), "hoyer": ("", "neither"), "parameters": ("numbers", "lower"),
    "flops_encode": ("FLOPs per example", "lower"), "flops_decode": ("FLOPs per example", "lower"),
    "encode_examples_per_s": ("examples/s", "higher"), "decode_examples_per_s": ("examples/s", "higher"),
}  # fmt: skip
PLAIN = ("pca", "ae", "tied_ae", "deep_ae")
"""Variants without a latent KL."""


def document(variant: str, seed: int, values: dict[str, float], **how: Any) -> dict[str, Any]:
    """A run with these values. `how`: data, sizes, hyper, cost, curves, and `validation` for values on that part."""
    made = copy.deepcopy(drawn.document(how.get("data", drawn.DIGITS), None, seed, variant=variant))
    made["spec"]["hyper"] = how.get("hyper", {})
    made["spec"]["sizes"] |= how.get("sizes", {})
    made["id"] = hashlib.sha256(json.dumps(made["spec"], sort_keys=True).encode()).hexdigest()[:16]
    measured = lambda held: {n: {"value": float(v), "unit": ABOUT[n][0], "better": ABOUT[n][1], "version": 1}  # noqa: E731
                             for n, v in held.items()}  # fmt: skip
    made["metrics"], made["validation"] = measured(values), measured(how.get("validation", {}))
    made["cost"] |= how.get("cost", {})
    made["curves"] = how.get("curves", made["curves"])
    return made


def runs(variant: str, column: str, values, **how: Any) -> list[dict[str, Any]]:
    """A run for each seed, with the value of that seed."""
    return [document(variant, seed, {column: value}, **how) for seed, value in enumerate(values)]


def frame_of(documents):
    return with_documents(from_documents(documents), {d["id"]: d for d in documents})


def drawings(name: str, documents):
    module, _, attribute = FIGURES[name][0].partition(":")
    return list(getattr(importlib.import_module(module), attribute)(frame_of(documents), lambda run: {}))


def errors(seeds: int = 6, variants=PLAIN) -> dict[str, np.ndarray]:
    """Errors of variants by seed: the runs of a seed have much in common, so that pairs tell more than means."""
    rng = np.random.default_rng(seeds)
    common = rng.normal(0, 0.5, seeds)
    return {v: 5 + 0.1 * i + common + rng.normal(0, 0.05, seeds) for i, v in enumerate(variants)}


def half(x) -> float:
    return reference.t.ppf(0.975, len(x) - 1) * np.std(x, ddof=1) / np.sqrt(len(x))


def rows_of(ax):
    """Of a forest: label -> (mean, bar, seeds, whether the marker is open)."""
    labels = [text.get_text() for text in ax.get_yticklabels()]
    found: dict[str, list[Any]] = {name: [None, None, None, None] for name in labels}
    for line in ax.get_lines():
        x, y = np.asarray(line.get_xdata(orig=False), float), np.asarray(line.get_ydata(orig=False), float)
        if len(x) == 0 or y[0] != y[-1]:  # the line at 0
            continue
        row = found[labels[round(float(y[0]) - 0.1)]]
        if line.get_markersize() == 2.2:
            row[2] = np.sort(x)
        elif len(x) == 1:
            row[0], row[3] = float(x[0]), line.get_mfc() == "white"
        else:
            row[1] = tuple(x)
    return found


# ---- all of them


def every(seeds: int, long: str = "", variants=PLAIN) -> list[dict[str, Any]]:
    """Runs that every figure of `OWN` finds something in; `long` is added to the names of variants."""
    rng = np.random.default_rng(0)
    found = []
    for data, (i, variant), k, seed in itertools.product(range(2), enumerate(variants), range(2), range(seeds)):
        values = {"sse": 1 + i + rng.random(), "parameters": 100 * (1 + i), "encode_examples_per_s": 10.0**i}
        values |= {"flops_encode": 5 * (1 + i), "flops_decode": 7.0, "decode_examples_per_s": 50.0}
        cost = {"train_examples_per_s": 1000.0 * (1 + i), "train_seconds": 8.0 + i}
        how: dict[str, Any] = {"data": drawn.DIGITS | {"name": f"set{data}"}, "hyper": {"lam": k / 2}, "cost": cost}
        name = variant if variant == "pca" else variant + long
        found.append(document(name, seed, values, validation={"sse": 1 + rng.random()}, **how))
    return found


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_every_figure_says_what_it_shows_whatever_the_seeds(name, seeds, frozen):
    documents = every(seeds)
    frozen(documents)
    found = drawings(name, documents)
    if name in ACROSS and seeds < 4:
        assert found == []
        return
    assert found
    assert len({d.name for d in found}) == len(found)
    for drawing in found:
        assert drawing.name == file_name(drawing.name)
        assert drawing.caption.endswith(".")
        assert drawing.alt.endswith(".")
        assert "seed" in drawing.caption
        assert drawing.figure.get_suptitle()
        assert drawing.data in ({""} if name in ACROSS else {"set0", "set1"})


@pytest.mark.parametrize("name", OWN)
def test_nothing_is_drawn_of_nothing_and_the_reason_is_said(name):
    bare = [d | {"metrics": {}, "validation": {}, "curves": {}} for d in every(4)]
    assert drawings(name, bare) == []
    frame = frame_of(every(1)).iloc[:0]
    module, _, attribute = FIGURES[name][0].partition(":")
    assert list(getattr(importlib.import_module(module), attribute)(frame, lambda run: {})) == []
    assert NEEDS[name]


@pytest.mark.parametrize("name", OWN)
def test_long_names_and_markup_stay_inside_and_as_they_are(name, tmp_path, frozen):
    wild = "_$x_{1}$<b>&|%" + 6 * "_and_so_on"
    documents = every(4, long=wild)
    frozen(documents)
    found = drawings(name, documents)
    assert found
    for drawing in found:
        figure = drawing.figure
        figure.draw_without_rendering()
        box, whole = figure.get_tightbbox(), figure.bbox_inches
        assert min(box.x0, box.y0) >= -0.03
        assert box.x1 <= whole.x1 + 0.03
        assert box.y1 <= whole.y1 + 0.03
        for legend in figure.legends:
            assert all(ax.get_tightbbox().y0 >= legend.get_window_extent().y1 - 1 for ax in figure.axes if ax.axison)
        texts = [text.get_text().replace("\n", "") for text in figure.findobj(mpl.text.Text)]
        assert wild in drawing.caption + drawing.alt or any(wild[:10] in text for text in texts)
    svg, _ = style.save(found[0].figure, tmp_path, found[0].name)
    assert svg.stat().st_size > 0


# ---- which settings, and what they are called


def test_names_are_cut_in_the_middle_and_legends_are_as_wide_as_they_fit():
    assert short("abc", 5) == "abc"
    assert short("abcdefghij", 5) == "ab…ij"
    assert short("some words here", 10, 2) == "some words\nhere"
    assert short("x" * 30, 10, 2) == "xxxxxxxxx…\nxxxxxxxxxx"
    assert max(len(line) for line in short("a_long_name" * 9, 20, 2).split("\n")) <= 20
    assert [legend_columns(["x" * n], 4) for n in (5, 30, 80)] == [4, 2, 1]
    assert family("ae") == "plain"
    assert family("sparse_l1_ae") == "sparse, contractive"
    assert family("a_users_own") == "others"
    specs = [{"sizes": {"latent": n}} for n in (8, 16, 16)]
    assert common_latent(specs) == 16
    assert [label(text, specs[0], 16) for text in ("ae", "ae, latent 8")] == ["ae, 8 units", "ae, latent 8"]
    assert label("ae", specs[1], 16) == "ae"
    assert [lines.in_short(x) for x in (789.0, 45_600.0, 1.23e6, 2e9)] == ["789", "45.6 k", "1.23 M", "2 G"]


def test_of_many_settings_the_best_are_shown_and_the_others_counted():
    documents = [d for k in range(70) for d in runs("ae", "sse", [k % 35 + k / 100, k % 35], hyper={"lam": float(k)})]
    frame = frame_of(documents)
    shown = choosing.best(frame, "sse")
    mean = frame.groupby("lam")["sse"].mean().sort_values()
    assert sorted(shown.rows["lam"].unique()) == sorted(mean.index[:60])
    assert shown.words == " Of 70 settings the 60 best by mean sse are shown."
    found = choosing.entered(frame, {"sse": frame.attrs["values"]["sse"]})
    assert [entrant.spec["hyper"]["lam"] for entrant in found.entrants] == list(mean.index[:60])
    assert found.words == shown.words
    assert choosing.best(frame.iloc[:100], "sse").words == ""
    assert len(choosing.best(frame, "not_there").rows) == 120
    pages = drawings("comparison", documents)
    assert [page.name for page in pages] == ["comparison-digits-sse-1", "comparison-digits-sse-2"]
    assert sum(len(page.figure.axes[0].get_yticks()) for page in pages) == 59  # and the control
    assert all("Of 70 settings" in page.caption for page in pages)


def test_a_named_control_is_shown_whatever_its_error():
    documents = [d for k in range(65) for d in runs("ae", "sse", [k, k + 1], hyper={"lam": float(k)})]
    documents += runs("pca", "sse", [1000, 1001])
    found = choosing.entered(frame_of(documents), {"sse": {"better": "lower", "unit": ""}}, keep="pca")
    assert found.entrants[-1].variant == "pca"
    assert len(found.entrants) == 60
    assert len(drawings("comparison_pca", documents)) == 2


def test_lines_are_left_out_whole():
    documents = [d for k in range(12) for s in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)[: 6 - k % 2]
                 for d in runs("ae", "sse", [1.0], hyper={"lam": float(k), "sigma": s})]  # fmt: skip
    shown = choosing.longest(frame_of(documents), ("sigma",))
    counts = shown.rows.groupby("lam")["sigma"].nunique()
    assert list(counts) == [6 if k % 2 == 0 else 5 for k in counts.index]
    assert len(shown.rows) <= 60
    assert set(range(0, 12, 2)) <= set(counts.index)
    assert shown.words == f" Of 12 lines the {len(counts)} longest are shown."


def test_pages_are_even():
    assert [len(page) for page in choosing.pages(range(61), 40)] == [30, 31]
    assert [list(page) for page in choosing.pages([], 40)] == [[]]
    assert (choosing.page_name("a", 0, 1), choosing.page_name("a", 1, 2)) == ("a", "a-2")


# ---- comparison


def test_forest_draws_paired_differences_their_intervals_and_every_seed():
    values = errors()
    (drawing,) = drawings("comparison", [d for v, x in values.items() for d in runs(v, "sse", x)])
    found = rows_of(drawing.figure.axes[0])
    assert list(found) == ["ae", "tied_ae", "deep_ae"]  # the best is the control, the others by their mean
    for name, (mean, bar, seeds, _) in found.items():
        differences = values[name] - values["pca"]
        assert mean == pytest.approx(differences.mean())
        assert bar == pytest.approx((differences.mean() - half(differences), differences.mean() + half(differences)))
        np.testing.assert_allclose(seeds, np.sort(differences))
        assert half(differences) < 0.5 * half(values[name])  # what pairing is for
    ax = drawing.figure.axes[0]
    assert "← better     worse →" in ax.get_xlabel()
    assert ERROR[0] in ax.get_xlabel()
    assert "6 pairs of runs that share a seed" in drawing.caption
    assert "95 % intervals (paired t)" in drawing.caption
    texts = [text.get_text() for text in ax.texts]
    for (mean, bar, *_), text in zip(found.values(), texts, strict=True):
        said, width = text.replace("−", "-").split(" ± ")
        assert float(said) == pytest.approx(mean, abs=0.6 * 10 ** -len(said.partition(".")[2]))
        assert float(width) == pytest.approx((bar[1] - bar[0]) / 2, abs=0.6 * 10 ** -len(width.partition(".")[2]))


def test_forest_fills_the_markers_of_those_that_holms_adjustment_leaves():
    rng = np.random.default_rng(2)
    names = ("pca", "ae", "tied_ae", "deep_ae", "denoising_ae", "topk_ae", "contractive_ae")
    values = {v: 5 + 0.035 * i + rng.normal(0, 0.04, 6) for i, v in enumerate(names)}
    (drawing,) = drawings("comparison_pca", [d for v, x in values.items() for d in runs(v, "sse", x)])
    p = {v: reference.ttest_rel(x, values["pca"]).pvalue for v, x in values.items() if v != "pca"}
    order = sorted(p, key=p.__getitem__)
    pairs = {(v, w): reference.ttest_rel(values[v], values[w]).pvalue for v, w in itertools.combinations(values, 2)}
    every = sorted(pairs, key=pairs.__getitem__)  # the control may have been picked by these runs: all pairs count
    adjusted = np.maximum.accumulate([min(1, pairs[one] * (len(pairs) - i)) for i, one in enumerate(every)])
    open_ = {w for (v, w), q in zip(every, adjusted, strict=True) if v == "pca" and q > 0.05}
    alone = np.maximum.accumulate([min(1, p[v] * (len(p) - i)) for i, v in enumerate(order)])
    assert any(q < 0.05 for v, q in zip(order, alone, strict=True) if v in open_), "that decides at least one"
    assert len(open_) < len(p)
    assert {name for name, row in rows_of(drawing.figure.axes[0]).items() if row[3]} == open_
    assert "Holm" in drawing.caption


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_forest_of_three_seeds_draws_no_interval_and_says_so(seeds):
    values = errors(seeds)
    (drawing,) = drawings("comparison", [d for v, x in values.items() for d in runs(v, "sse", x)])
    control = min(values, key=lambda v: values[v].mean())
    for name, (mean, bar, dots, _) in rows_of(drawing.figure.axes[0]).items():
        np.testing.assert_allclose(dots, np.sort(values[name] - values[control]))
        assert mean == pytest.approx((values[name] - values[control]).mean())
        assert bar is None or np.isnan(bar).all()
    assert "With 3 seeds or fewer no interval is drawn, and nothing is claimed." in drawing.caption
    assert "95 %" not in drawing.caption
    legend = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert legend == ["3 seeds or fewer: no interval", "one seed"]


def test_forest_pairs_by_seed_and_leaves_out_who_shares_none():
    documents = runs("pca", "sse", [1.0, 2.0, 3.0, 4.0, 5.0]) + runs("ae", "sse", [9.0, 8.0, 7.0, 6.0, 5.5])[1:]
    documents += [document("tied_ae", seed, {"sse": 7.0}) for seed in (10, 11, 12, 13)]
    (drawing,) = drawings("comparison", documents)
    (row,) = rows_of(drawing.figure.axes[0]).values()
    np.testing.assert_allclose(row[2], [0.5, 2.0, 4.0, 6.0])
    assert "1 share no seed with it." in drawing.caption
    assert "4 pairs" in drawing.caption


def test_forest_points_to_what_is_far_away():
    values = errors()
    values["topk_ae"] = values["pca"] + 100
    (drawing,) = drawings("comparison", [d for v, x in values.items() for d in runs(v, "sse", x)])
    ax = drawing.figure.axes[0]
    assert ax.get_xlim()[1] < 10
    arrows = [line for line in ax.get_lines() if line.get_marker() == ">"]
    assert [float(arrow.get_xdata()[0]) for arrow in arrows] == [ax.get_xlim()[1]]
    assert "+100" in ax.texts[-1].get_text()


def test_forest_ranks_no_other_code_size_and_no_two_settings_with_a_latent_kl():
    documents = [d for v, x in errors().items() for d in runs(v, "sse", x)]
    documents += runs("topk_ae", "sse", np.full(6, 0.1), sizes={"latent": 64, "k": 3})
    for variant in ("vae", "beta_vae"):
        documents += runs(variant, "sse", np.full(6, 0.2), hyper={"beta": 0.5})
    (drawing,) = drawings("comparison", documents)
    assert drawing.figure.get_suptitle() == "Reconstruction error less that of pca: digits"
    not_ranked = drawing.alt.partition("not ranked: ")[2]
    assert all(name in not_ranked for name in ("topk_ae, 64 units", "vae", "beta_vae"))
    assert not any(name in not_ranked for name in ("tied_ae", "deep_ae"))
    assert "latent size" in drawing.caption
    assert "trade error for KL" in drawing.caption


# ---- cost


def priced() -> dict[str, tuple[float, float]]:
    """Variant -> error and parameters."""
    return {"pca": (5.0, 10), "ae": (2.0, 100), "tied_ae": (4.0, 50), "deep_ae": (3.0, 200), "topk_ae": (2.5, 100)}


def costs(**more: Any) -> list[dict[str, Any]]:
    found = []
    for i, (variant, (error, size)) in enumerate(priced().items()):
        values = {"parameters": size, "flops_encode": 2.0 * size, "flops_decode": 1.0 * size}
        cost = {"train_seconds": 4.0 * (1 + i)} | more
        found += [document(variant, s, {"sse": error + 0.1 * s, **values}, cost=cost) for s in range(4)]
    return found


def test_pareto_draws_means_intervals_and_the_front():
    (drawing,) = drawings("pareto", costs())
    seconds, flops, size = drawing.figure.axes
    errors = {v: np.array([e + 0.1 * s for s in range(4)]) for v, (e, _) in priced().items()}
    for ax, price in (
        (seconds, {v: 1.0 + i for i, v in enumerate(priced())}),  # 4 runs a pack
        (flops, {v: 3 * n for v, (_, n) in priced().items()}),
        (size, {v: n for v, (_, n) in priced().items()}),
    ):
        points = {}
        for bars in ax.containers:
            line, _, collections = bars.lines
            points[float(line.get_xdata()[0]), round(float(line.get_ydata()[0]), 9)] = collections[-1].get_segments()
        for variant, x in errors.items():
            (segment,) = points[price[variant], round(float(x.mean()), 9)]
            np.testing.assert_allclose(segment[:, 1], [x.mean() - half(x), x.mean() + half(x)])
        both = {v: (price[v], priced()[v][0]) for v in price}
        beats = lambda a, b: a != b and a[0] <= b[0] and a[1] <= b[1]  # noqa: E731
        not_beaten = {v for v in both if not any(beats(both[o], both[v]) for o in both)}
        (front,) = [line for line in ax.get_lines() if line.get_drawstyle() == "steps-post"]
        assert {float(x) for x in front.get_xdata()} == {float(price[v]) for v in not_beaten}
        assert list(front.get_xdata()) == sorted(front.get_xdata())
        bold = {text.get_text() for text in ax.texts if text.get_fontweight() == "bold"}
        assert bold == not_beaten
    assert "95 % t intervals" in drawing.caption
    assert "parameters: pca, tied_ae, ae" in drawing.alt


def test_several_packs_give_a_range_of_the_cost_and_one_pack_none():
    documents = costs()
    frame = frame_of(documents)
    for d in documents[:4]:
        d["cost"]["train_seconds"] = 4.0 + d["spec"]["seed"] // 2  # two packs of the first variant
    shown = pareto.with_costs(frame_of(documents))
    values = shown[shown["variant"] == "pca"]["seconds"].unique()
    np.testing.assert_allclose(sorted(values), [1.0, 1.25])
    columns = {"sse": {"better": "lower", "unit": ""}, **dict.fromkeys(pareto.COSTS, pareto.ABOUT)}
    points = {p.label: p for p in pareto.points_of(choosing.entered(shown, columns))}
    found = points["pca"].costs["seconds"]
    assert (found.median, found.low, found.high, found.n) == (1.125, 1.0, 1.25, 2)
    assert not points["ae"].costs["seconds"].is_wide
    assert not points["ae"].costs["parameters"].is_wide
    assert len(frame) == len(shown)


def test_pareto_takes_no_setting_with_a_latent_kl_onto_the_front():
    documents = costs()
    for variant in ("vae", "beta_vae"):
        documents += runs(variant, "sse", [0.1] * 4, hyper={"beta": 0.1}, cost={"train_seconds": 0.1})
    (drawing,) = drawings("pareto", documents)
    assert "vae" not in drawing.alt
    assert "not on the front" in drawing.caption


def test_settings_of_one_cost_are_no_figure_of_cost():
    assert drawings("pareto", [d for v, x in errors().items() for d in runs(v, "sse", x)]) == []


@pytest.mark.parametrize("count", [8, 40])
def test_names_overlap_neither_each_other_nor_points_nor_the_edge(count):
    rng = np.random.default_rng(count)
    documents = [
        document("ae", s, {"sse": float(rng.lognormal(0, 0.4)), "parameters": float(size)}, hyper={"lam": float(k)})
        for k, size in enumerate(rng.choice([100, 200, 210, 400], count))
        for s in range(2)
    ]
    (drawing,) = drawings("pareto", documents)
    drawing.figure.draw_without_rendering()
    (ax,) = drawing.figure.axes
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert len(boxes) >= 8
    for a, b in itertools.combinations(boxes, 2):
        assert not a.overlaps(b)
    frame = ax.get_window_extent()
    markers = np.array([bars.lines[0].get_xydata()[0] for bars in ax.containers])
    places = ax.transData.transform(markers)
    for box in boxes:
        assert frame.x0 <= box.x0 <= box.x1 <= frame.x1
        assert frame.y0 <= box.y0 <= box.y1 <= frame.y1
        assert not any(box.contains(*place) for place in places)
    assert ("had no room" in drawing.caption) == (len(boxes) < count)


def test_throughput_draws_bars_of_medians_and_counts_a_pack_once():
    """With the range of the runs: timed one after another, they are no sample to make an interval of."""
    rng = np.random.default_rng(0)
    speeds = {v: rng.uniform(1e4, 1e6, 4) for v in PLAIN}
    packs = {v: [100.0 * (1 + i), 100.0 * (1 + i) + 50 * (v == "ae")] for i, v in enumerate(PLAIN)}
    documents = [
        document(v, s, {"encode_examples_per_s": x, "decode_examples_per_s": 2 * x},
                 cost={"train_examples_per_s": packs[v][s % 2]})
        for v, values in speeds.items() for s, x in enumerate(values)
    ]  # fmt: skip
    (drawing,) = drawings("throughput", documents)
    encoding, decoding, training = drawing.figure.axes
    order = sorted(PLAIN, key=lambda v: -np.median(speeds[v]))
    assert [text.get_text() for text in encoding.get_yticklabels()] == order
    for ax, factor in ((encoding, 1), (decoding, 2)):
        widths = [bar.get_width() for bar in ax.patches]
        np.testing.assert_allclose(widths, [factor * np.median(speeds[v]) for v in order])
        bars = ax.containers[-1].lines[2][0].get_segments()
        ends = [(factor * speeds[v].min(), factor * speeds[v].max()) for v in order]
        np.testing.assert_allclose([segment[:, 0] for segment in bars], ends)
        assert ax.get_xlim()[0] == 0
    np.testing.assert_allclose([bar.get_width() for bar in training.patches], [np.median(packs[v]) for v in order])
    (only,) = training.containers[-1].lines[2][0].get_segments()  # the one variant with two packs
    np.testing.assert_allclose(only[:, 0], [200, 250])
    assert "95 %" not in drawing.caption


# ---- over data sets


def over(sets: int, variants=PLAIN, seeds: int = 5) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Documents of so many data sets, and their errors `[variants, sets, seeds]`."""
    rng = np.random.default_rng(sets)
    values = rng.normal(0, 0.3, (len(variants), sets, seeds)) + np.arange(len(variants))[:, None, None] + 3
    documents = [
        d
        for i, variant in enumerate(variants)
        for k in range(sets)
        for d in runs(variant, "sse", values[i, k], data=drawn.DIGITS | {"name": f"set{k}"})
    ]
    return documents, values


@pytest.fixture
def frozen(monkeypatch):
    """References: error 4 is PCA, error 2 the strong run."""

    def freeze(documents):
        specs = {json.dumps(references.data_of(d["spec"])): d["spec"] for d in documents}
        found = [references.Reference(references.data_of(s), 3, "sse", 4.0, 2.0, "ae") for s in specs.values()]
        monkeypatch.setattr(references, "load", lambda: references.References(tuple(found)))

    return freeze


def test_profiles_draw_the_share_of_runs_that_reach_each_score(frozen):
    documents, values = over(3)
    frozen(documents)
    (first,) = drawings("profiles", documents)
    (ranks,) = drawings("ranks", documents)
    scores = (4 - values) / 2
    (ax,) = first.figure.axes
    drawn_lines = {line.get_label(): line for line in ax.get_lines() if line.get_label() in PLAIN}
    assert set(drawn_lines) == set(PLAIN)
    for i, variant in enumerate(PLAIN):
        x, y = drawn_lines[variant].get_data()
        np.testing.assert_allclose(y, [(scores[i] >= at).mean() for at in x])
    rank, iqm = ranks.figure.axes
    labels = [text.get_text() for text in rank.get_yticklabels()]
    for ax, truth in (
        (rank, reference.rankdata(values, axis=0).mean(axis=(1, 2))),
        (iqm, [reference.trim_mean(own.ravel(), 0.25) for own in scores]),
    ):
        means = {
            labels[int(line.get_ydata()[0])]: line.get_xdata()[0]
            for line in ax.get_lines()
            if len(line.get_xdata()) == 1
        }
        assert means == pytest.approx(dict(zip(PLAIN, truth, strict=True)))
    assert labels == sorted(PLAIN, key=lambda v: reference.rankdata(values, axis=0).mean(axis=(1, 2))[PLAIN.index(v)])
    assert "No test against pca" in ranks.caption
    assert "needs at least 5 data sets" in ranks.caption
    assert first.data == ranks.data == ""


def test_ranks_need_no_reference_and_bars_join_what_nemenyi_does_not_tell_apart():
    documents, values = over(8)
    assert drawings("profiles", documents) == []
    (drawing,) = drawings("ranks", documents)
    (ax,) = drawing.figure.axes
    labels = [text.get_text() for text in ax.get_yticklabels()]
    mean = dict(zip(PLAIN, reference.rankdata(values.mean(axis=2), axis=0).mean(axis=1), strict=True))
    assert labels == sorted(PLAIN, key=mean.__getitem__)
    k, n = len(PLAIN), 8
    apart = reference.studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))
    bars = [line.get_ydata() for line in ax.get_lines() if line.get_linewidth() == 2.5]
    joined = {frozenset(labels[max(round(low), 0) : round(high) + 1]) for low, high in bars}
    every = [frozenset(v for v in labels if mean[w] <= mean[v] <= mean[w] + apart) for w in labels]
    assert joined == {c for c in every if len(c) > 1 and not any(c < o for o in every)}
    assert f"{apart:.3g}" in drawing.caption
    assert "Without scores" in drawing.caption


def test_one_data_set_gives_no_profiles_and_no_ranks():
    assert drawings("profiles", over(1)[0]) == drawings("ranks", over(1)[0]) == []


# ---- tuning


def test_tuning_draws_every_draw_rings_the_chosen_and_the_expected_best():
    rng = np.random.default_rng(1)
    variants, draws, seeds = ("ae", "denoising_ae"), 5, 4
    test = rng.uniform(1, 2, (2, draws, seeds))
    validation = rng.uniform(1, 2, (2, draws, seeds))
    documents = [
        document(v, s, {"sse": test[i, k, s]}, validation={"sse": validation[i, k, s]}, hyper={"lam": float(k)})
        for i, v in enumerate(variants) for k in range(draws) for s in range(seeds)
    ]  # fmt: skip
    (drawing,) = drawings("tuning", documents)
    scatter, best = drawing.figure.axes
    x, y = validation.mean(axis=2), test.mean(axis=2)
    points = {line.get_label(): line.get_xydata() for line in scatter.get_lines() if line.get_label() in variants}
    rings = [line.get_xydata()[0] for line in scatter.get_lines() if line.get_markersize() == 9]
    for i, variant in enumerate(variants):
        np.testing.assert_allclose(points[variant], np.stack([x[i], y[i]], 1))
        chosen = x[i].argmin()
        np.testing.assert_allclose(rings[i], [x[i, chosen], y[i, chosen]])
        line = best.get_lines()[i]
        for n in (1, 2, 3):
            truth = np.mean([min(drawn_) for drawn_ in itertools.product(x[i], repeat=n)])
            assert line.get_ydata()[n - 1] == pytest.approx(truth)
        bars = scatter.containers[i].lines[2]
        own = test[i, chosen]
        np.testing.assert_allclose(bars[1].get_segments()[0][:, 1], [own.mean() - half(own), own.mean() + half(own)])
    assert "test values choose nothing" in drawing.caption


def test_tuning_takes_the_choices_of_the_suite_where_they_are_known():
    from aebench.tuning import chosen

    documents = [
        document("ae", s, {"sse": 1 + k}, validation={"sse": 5 - k}, hyper={"lam": float(k)})
        for k in range(4) for s in range(2)
    ]  # fmt: skip
    frame = frame_of(documents)
    ids = [[d["id"] for d in documents[2 * k : 2 * k + 2]] for k in range(4)]
    group = {"variant": "ae", "fields": {"lam": {"uniform": [0, 3]}}, "swept": {},
             "draws": [{"ids": own, "values": {"lam": k}} for k, own in enumerate(ids[:3])]}  # fmt: skip
    kept, choices = chosen(frame, {"metric": "sse", "better": "lower", "groups": [group]})
    kept.attrs["choices"] = choices
    module, _, attribute = FIGURES["tuning"][0].partition(":")
    (drawing,) = getattr(importlib.import_module(module), attribute)(kept, lambda run: {})
    (points,) = [line for line in drawing.figure.axes[0].get_lines() if line.get_label() == "ae"]
    np.testing.assert_allclose(points.get_xydata(), [[5, 1], [4, 2], [3, 3]])
    assert "no interval with fewer than 4 seeds" in drawing.caption


# ---- training curves


def test_many_settings_have_a_panel_each_with_all_terms_and_bands():
    rng = np.random.default_rng(0)
    curves = {(k, s): {"step": [10, 20, 30], "loss": [3.0 + rng.random(), 2.0, 1.0],
                       "kl": [0.1, 0.2, 0.3 + rng.random()]}
              for k in range(9) for s in range(5)}  # fmt: skip
    documents = [
        document("ae", s, {"sse": 1.0}, hyper={"lam": float(k)}, curves=held) for (k, s), held in curves.items()
    ]
    documents += [document("pca", s, {"sse": 1.0}, curves={"step": [0], "loss": [99.0]}) for s in range(5)]
    (drawing,) = drawings("curves", documents)
    panels = [ax for ax in drawing.figure.axes if ax.axison]
    assert [ax.get_title() for ax in panels] == [
        f"ae, lam {k}" for k in range(9)
    ]  # and none of what was fitted at once
    for k, ax in enumerate(panels):
        for line, band, term in zip(ax.get_lines(), ax.collections, ("loss", "kl"), strict=True):
            own = np.array([curves[k, s][term] for s in range(5)])
            np.testing.assert_allclose(line.get_ydata(), own.mean(axis=0))
            np.testing.assert_allclose(line.get_xdata(), [10, 20, 30])
            ends = band.get_paths()[0].vertices
            for j, step in enumerate((10, 20, 30)):
                at = ends[ends[:, 0] == step][:, 1]
                assert at.min() == pytest.approx(own[:, j].mean() - half(own[:, j]))
                assert at.max() == pytest.approx(own[:, j].mean() + half(own[:, j]))
    legend = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert legend == ["loss", "kl"]
    assert "loss 3." in drawing.alt


def test_sixty_settings_are_two_pages_in_which_a_term_looks_the_same():
    held = lambda k: {"step": [1, 2], "loss": [2.0, 1.0]} | ({"kl": [0.1, 0.2]} if k >= 30 else {})  # noqa: E731
    documents = [document("ae", 0, {"sse": 1.0}, hyper={"lam": k + 0.5}, curves=held(k)) for k in range(60)]
    first, second = drawings("curves", documents)
    assert [len([ax for ax in d.figure.axes if ax.axison]) for d in (first, second)] == [30, 30]
    colours = {mpl.colors.to_hex(line.get_color()) for d in (first, second) for ax in d.figure.axes
               for line in ax.get_lines()[:1]}  # fmt: skip
    assert len(colours) == 1


def test_a_band_of_two_seeds_does_not_set_the_axis():
    curves = [{"step": [1, 2], "loss": [2.0, 1.0]}, {"step": [1, 2], "loss": [2.2, 1.1]}]
    (drawing,) = drawings("curves", [document("ae", s, {}, curves=held) for s, held in enumerate(curves)])
    low, high = drawing.figure.axes[0].get_ylim()
    assert high - low < 4 * (2.1 - 1.05)


# ---- between curves


def rates(seeds: int = 5) -> tuple[list[dict[str, Any]], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Two variants along the KL weight: documents, and KL and error `[seeds, points]` of each."""
    rng = np.random.default_rng(2)
    weights = (1.0, 0.3, 0.1, 0.03)
    documents, curves = [], {}
    for variant, shift in (("vae", 0.0), ("beta_vae", 0.4)):
        kl = np.array([1.0, 4.0, 9.0, 16.0]) * rng.uniform(0.95, 1.05, (seeds, 4)) + shift
        error = 8 / (1 + kl) + shift + rng.normal(0, 0.02, (seeds, 4))
        curves[variant] = kl, error
        documents += [
            document(variant, s, {"C": error[s, j], "kl": kl[s, j], "U": 0.1, "S": 0.1, "V": -0.2}, hyper={"beta": b})
            for s in range(seeds) for j, b in enumerate(weights)
        ]  # fmt: skip
    return documents, curves


def test_rate_distortion_draws_the_difference_at_equal_kl_and_says_its_mean():
    documents, curves = rates()
    (drawing,) = drawings("rate_distortion", documents)
    whole, below = drawing.figure.axes
    (bars,) = below.containers
    line, _, (collection,) = bars.lines
    places, means = line.get_data()
    read = {v: [PchipInterpolator(*pair) for pair in zip(*both, strict=True)] for v, both in curves.items()}
    for x, y, segment in zip(places, means, collection.get_segments(), strict=True):
        own = np.array([b(x) - a(x) for a, b in zip(read["vae"], read["beta_vae"], strict=True)])
        assert y == pytest.approx(own.mean())
        np.testing.assert_allclose(segment[:, 1], [own.mean() - half(own), own.mean() + half(own)])
    low = max(curve.x[0] for own in read.values() for curve in own)
    high = min(curve.x[-1] for own in read.values() for curve in own)
    area = [quad(lambda x, a=a, b=b: b(x) - a(x), low, high)[0] / (high - low)
            for a, b in zip(read["vae"], read["beta_vae"], strict=True)]  # fmt: skip
    (said,) = [t.get_text() for t in drawing.figure.legends[0].get_texts() if "±" in t.get_text()]
    mean, width = said.partition(": ")[2].split(" ± ")
    assert float(mean) == pytest.approx(np.mean(area), abs=0.6 * 10 ** -len(mean.partition(".")[2]))
    assert float(width) == pytest.approx(half(area), abs=0.6 * 10 ** -len(width.partition(".")[2]))
    assert len(whole.collections) == 2 * 2 + 1  # bars both ways of both, and what lies between
    assert "less that of vae" in below.get_title()
    assert "paired by seed" in drawing.caption


def test_curves_of_three_seeds_are_compared_without_interval():
    (drawing,) = drawings("rate_distortion", rates(3)[0])
    (bars,) = drawing.figure.axes[1].containers
    assert all(np.ptp(segment[:, 1]) == 0 for segment in bars.lines[2][0].get_segments())
    assert "With fewer than 4 seeds no interval is drawn." in drawing.caption


def test_one_curve_is_compared_with_nothing():
    documents = [d for d in rates()[0] if d["spec"]["variant"] == "vae"]
    (drawing,) = drawings("rate_distortion", documents)
    assert len(drawing.figure.axes) == 1
    assert "Below" not in drawing.caption


def test_a_comparison_is_known_by_its_runs_and_turned_round_with_its_interval():
    from aebench.comparison import curve_comparisons

    documents, _ = rates()
    (one,) = [c for c in curve_comparisons(frame_of(documents)) if c.kind == "rate-distortion"]
    ids = {v: {d["id"] for d in documents if d["spec"]["variant"] == v} for v in ("vae", "beta_vae")}
    (ahead,) = between.differences([one], "rate-distortion", {"A": ids["vae"], "B": ids["beta_vae"]})
    (back,) = between.differences([one], "rate-distortion", {"B": ids["beta_vae"], "A": ids["vae"]})
    assert (ahead.curve, ahead.reference, back.curve, back.reference) == ("B", "A", "A", "B")
    np.testing.assert_allclose(ahead.matched, -back.matched[[0, 2, 1]])
    assert (ahead.mean.low, ahead.mean.high) == (-back.mean.high, -back.mean.low)
    assert between.differences([one], "noise", {"A": ids["vae"], "B": ids["beta_vae"]}) == []
    assert between.differences([one], "rate-distortion", {"A": ids["vae"], "B": set()}) == []
    assert between.caption([], "", "") == ""


def test_sparse_lines_are_compared_at_an_equal_share_of_units():
    rng = np.random.default_rng(4)
    curves = {}
    documents = []
    for variant, field, shift in (("sparse_kl_ae", "p", 0.0), ("sparse_l1_ae", "lam", 0.3)):
        used = np.linspace(0.1, 0.7, 4) + rng.normal(0, 0.01, (5, 4))
        error = 2 - used + shift + rng.normal(0, 0.02, (5, 4))
        curves[variant] = used, error
        documents += [
            document(variant, s, {"sse": error[s, j], "l0_fraction": used[s, j], "hoyer": 0.5},
                     hyper={field: 0.1 * (1 + j)})
            for s in range(5) for j in range(4)
        ]  # fmt: skip
    (drawing,) = drawings("sparsity", documents)
    left, right, below = drawing.figure.axes
    assert left.get_ylim() == right.get_ylim()
    line, _, _ = below.containers[0].lines
    read = {v: [PchipInterpolator(*pair) for pair in zip(*both, strict=True)] for v, both in curves.items()}
    for x, y in zip(*line.get_data(), strict=True):
        pairs = zip(read["sparse_kl_ae"], read["sparse_l1_ae"], strict=True)
        assert y == pytest.approx(np.mean([b(x) - a(x) for a, b in pairs]))
    assert y == pytest.approx(0.3, abs=0.05)


def test_the_control_is_the_setting_that_the_leaderboard_has_as_the_best():
    from aebench.comparison import boards

    frame = frame_of([d for v, x in errors().items() for d in runs(v, "sse", x)])
    (board,) = boards(frame)
    best = next(e for e in board.entrants if board.cells[e.key, "sse"].mark == "best")
    shown = choosing.entered(frame, {"sse": frame.attrs["values"]["sse"]})
    assert forest.the_control(shown, "sse", "best") == best
    assert forest.the_control(shown, "sse", "not_there") is None
    assert [s.label for line in groups.series(frame) for s in line.settings if s.first == best.ids[0]] == [best.label]


def test_of_what_was_trained_without_noise_the_best_five_are_named():
    rng = np.random.default_rng(5)
    names = [f"denoising_gain_db_{sigma:g}" for sigma in (0.1, 0.5)]
    ABOUT.update(dict.fromkeys(names, ("dB", "higher")))
    gains = {f"plain_{k}": rng.normal(k, 0.1, (2, 4)) for k in range(8)}
    documents = [document(v, s, dict(zip(names, own[:, s], strict=True))) for v, own in gains.items() for s in range(4)]
    documents += [document("denoising_ae", s, dict.fromkeys(names, 1.0), hyper={"sigma": 0.5}) for s in range(4)]
    (drawing,) = drawings("denoising", documents)
    (ax,) = drawing.figure.axes
    named = {bars.get_label() for bars in ax.containers}
    assert named == {"denoising_ae, σ = 0.5", *(f"plain_{k}" for k in range(3, 8))}
    grey = [line.get_ydata() for line in ax.get_lines() if str(line.get_label()).endswith("others, means")]
    np.testing.assert_allclose(grey, [gains[f"plain_{k}"].mean(axis=1) for k in range(3)])
    assert "best 5 by mean gain" in drawing.caption
