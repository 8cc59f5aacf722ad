"""Settings over several data sets: performance profiles; mean ranks, interquartile means and who differs from whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from pandas import DataFrame

from aebench import references
from aebench.comparison import Ranking, ranking
from aebench.comparison.marks import seeds_in_words
from aebench.comparison.rules import listed
from aebench.plots import Arrays, Drawing, style
from aebench.plots.choosing import MOST, page_name, pages
from aebench.plots.families import legend_columns, short
from aebench.plots.forest import MEASURES
from aebench.stats import Friedman, Intervals, Refusal
from aebench.tables.numbers import format_interval

CUT = 5
"""Settings that a caption names of those with runs below the axis."""
COLOURED = 5
"""Profiles in colour with a band; those of other settings are grey."""
PER_PAGE = 40
LABEL = 38
SCORE = "score (0: PCA at equal latent size, 1: the stored strong run)"
LOOKS: dict[str, dict[str, Any]] = {
    "better": {"color": style.PALETTE[0], "marker": "o", "label": "better than the control"},
    "worse": {"color": style.PALETTE[1], "marker": "s", "label": "worse than the control"},
    "undecided": {"color": "0.35", "marker": "D", "mfc": "white", "label": "not told from the control"},
    "control": {"color": "0.15", "marker": "X", "label": "the control"},
    "": {"color": style.PALETTE[0], "marker": "o", "label": ""},
}


def profiles(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """Over all data sets: the share of runs that reach each score, where references are frozen for these data."""
    found = _ranking(frame)
    if found is None or found.iqm is None or found.profiles is None:
        return
    drawing = _profiles(found, found.profiles, np.argsort(-found.iqm.mean, kind="stable")[:MOST].tolist())
    yield replace(drawing, caption=drawing.caption + _left(found, "interquartile mean"))


def ranks(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """Over all data sets: mean ranks, and interquartile means of scores where references are frozen."""
    if (found := _ranking(frame)) is None:
        return
    ranked = found.friedman.ranks if isinstance(found.friedman, Friedman) else found.ranks.mean
    several = pages([int(i) for i in np.argsort(ranked, kind="stable")[:MOST]], PER_PAGE)
    for i, page in enumerate(several):
        drawing = _ranks(page_name("ranks", i, len(several)), found, page)
        yield replace(drawing, caption=drawing.caption + _left(found, "mean rank"))


def _ranking(frame: DataFrame) -> Ranking | None:
    """The ranking that a report has made of these runs already, or one of its own."""
    made = frame.attrs.get("ranking")
    return next(iter(made), None) if made is not None else ranking(frame, references.load())


def _left(found: Ranking, by: str) -> str:
    count = len(found.labels)
    return f" Of {count} settings the {MOST} best by {by} are shown." if count > MOST else ""


@style.styled
def _profiles(found: Ranking, shares: Intervals, order: Sequence[int]) -> Drawing:
    assert found.iqm is not None
    figure, [[ax]] = style.panels(1, 1, (style.WIDTH, 4.0 + 0.18 * style.legend_lines(min(len(order), COLOURED), 2)))
    handles: list[Any] = []
    for place, i in reversed(list(enumerate(order))):
        if place >= COLOURED:
            ax.plot(found.thresholds, shares.mean[i], color="0.75", lw=0.8, zorder=1)
            continue
        look: dict[str, Any] = style.series_style(place) | {"marker": "", "linestyle": style.DASHES[place % 3]}
        handles += ax.plot(found.thresholds, shares.mean[i], label=short(found.labels[i], 44), zorder=3, **look)
        ax.fill_between(found.thresholds, shares.low[i], shares.high[i], color=look["color"], alpha=0.15, lw=0)
    if len(order) > COLOURED:
        handles.insert(0, Line2D([], [], color="0.75", lw=0.8, label=f"{len(order) - COLOURED} others"))
    for at in (0, 1):
        ax.axvline(at, color=style.REFERENCE, lw=0.8, ls=":", zorder=1)
    ax.set_xlim(found.thresholds[0], found.thresholds[-1])
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel(f"at least this {SCORE}")
    ax.set_ylabel("share of runs")
    figure.suptitle(f"Performance profiles by {_measure(found)} over {_many(len(found.referenced), 'data set')}")
    columns = legend_columns([str(handle.get_label()) for handle in handles], 2)
    style.legend_below(figure, handles[::-1], columns)
    caption = (
        f"Share of runs, those of {', '.join(found.referenced)} pooled, whose score by {_measure(found)} is at least "
        f"what the axis says; higher is better. {_seeds(found)} each; bands: 95 % intervals at each score "
        f"({shares.method}). In colour the best by interquartile mean.{_below(found)}"
    )
    said = "; ".join(f"{found.labels[i]} {_said(found.iqm, i)}" for i in order)
    words = f"Performance profiles. Interquartile means of the score: {said}."
    return Drawing("profiles", " ".join([caption, *found.notes]), words, figure)


def _below(found: Ranking) -> str:
    """What the axis cuts off, as a sentence that begins with a space: thresholds begin no lower than some score."""
    measured = ~np.isnan(found.scores)
    worse = measured & (found.scores < found.thresholds[0])
    shares = worse.sum(axis=(1, 2)) / np.maximum(measured.sum(axis=(1, 2)), 1)
    said = [f"{found.labels[i]} ({shares[i]:.0%})" for i in np.argsort(-shares, kind="stable") if shares[i] > 0]
    if not said:
        return ""
    begins = f"{found.thresholds[0]:.2g}".replace("-", "−")
    return f" The axis begins at {begins}, and of some settings runs lie below: {listed(said, CUT)}."


@style.styled
def _ranks(name: str, found: Ranking, page: Sequence[int]) -> Drawing:
    cliques = _cliques(found)
    panels = 1 if found.iqm is None else 2
    figure, [axes] = style.panels(1, panels, (style.WIDTH, 1.6 + 0.2 * len(page)), sharey=True)
    kinds = _kinds(found)
    _dots(axes[0], found.ranks, page, kinds)
    _brackets(axes[0], found, page, cliques)
    axes[0].set_xlabel("mean rank over the data sets\n← better")
    if found.iqm is not None:
        _dots(axes[1], found.iqm, page, kinds)
        for at in (0, 1):
            axes[1].axvline(at, color=style.REFERENCE, lw=0.8, ls=":", zorder=1)
        axes[1].set_xlabel(f"interquartile mean of the\n{style.wrap(SCORE, 36)}\nbetter →")
    axes[0].set_yticks(range(len(page)), [short(found.labels[i], LABEL) for i in page])
    axes[0].set_ylim(len(page) - 0.4, -0.6)
    for ax in axes:
        ax.tick_params(axis="y", length=0)
    figure.suptitle(f"Over {_many(len(found.data), 'data set')}, by {_measure(found)}")
    if isinstance(layout := figure.get_layout_engine(), ConstrainedLayoutEngine):
        layout.set(w_pad=0.1)  # the last number of an axis stands half beyond it
    shown = [kind for kind in LOOKS if kind and kind in {kinds[i] for i in page}]
    handles = [Line2D([], [], **LOOKS[kind], ls="") for kind in shown]
    handles += [Line2D([], [], color="0.15", lw=2.5, label="not told apart")] if cliques else []
    style.legend_below(figure, handles, 4)
    said = "; ".join(f"{found.labels[i]} {_said(found.ranks, i)}" for i in page)
    return Drawing(name, _caption(found), f"Mean ranks by {_measure(found)}, 1 is best: {said}.", figure)


def _cliques(found: Ranking) -> tuple[tuple[int, ...], ...]:
    """Who is not told apart; nothing where Friedman's test finds no difference, for then no pair is tested."""
    tested = found.friedman
    return tested.cliques if isinstance(tested, Friedman) and tested.p < 1 - tested.level else ()


def _kinds(found: Ranking) -> list[str]:
    """How each setting stands to the control; nothing where that was not tested."""
    if isinstance(found.wilcoxon, Refusal):
        return [""] * len(found.labels)
    kinds = ["control" if label == found.control else "undecided" for label in found.labels]
    for test in found.wilcoxon:
        kinds[test.variant] = test.claim
    return kinds


def _dots(ax: Axes, values: Intervals, page: Sequence[int], kinds: Sequence[str]) -> None:
    for y, i in enumerate(page):
        look = {key: value for key, value in LOOKS[kinds[i]].items() if key != "label"}
        ax.plot([values.low[i], values.high[i]], [y, y], "-", color=look["color"], lw=1.4, zorder=2.5)
        ax.plot([values.mean[i]], [y], ls="", **look, zorder=3)


def _brackets(ax: Axes, found: Ranking, page: Sequence[int], cliques: Sequence[Sequence[int]]) -> None:
    """A bar beside the settings of each clique, right of all that is drawn, and the critical difference as a length."""
    right = float(np.nanmax([found.ranks.mean[page], found.ranks.high[page]]))
    step = 0.04 * max(right - 1, 1.0)
    places = {i: y for y, i in enumerate(page)}
    for k, clique in enumerate(cliques):
        rows = [places[i] for i in clique if i in places]
        if len(rows) > 1:
            x = right + (1 + k % 6) * step
            ax.plot([x, x], [min(rows) - 0.25, max(rows) + 0.25], "-", color="0.15", lw=2.5, solid_capstyle="butt")


def _caption(found: Ranking) -> str:
    said = [
        f"Mean rank by {_measure(found)} over {', '.join(found.data)}, 1 is best, of {len(found.labels)} settings; "
        f"{_seeds(found)} each; bars: 95 % intervals ({found.ranks.method})."
    ]
    if found.iqm is not None:
        said.append(f"Interquartile means over {', '.join(found.referenced)}: 95 % intervals ({found.iqm.method}).")
    if isinstance(found.wilcoxon, Refusal):
        said.append(f"No test against {found.control}: {found.wilcoxon.why}.")
    else:
        said.append(f"Better and worse than {found.control}: Wilcoxon's signed-rank test with Holm's adjustment.")
    if isinstance(found.friedman, Refusal):
        said.append(f"No critical difference: {found.friedman.why}.")
    elif found.friedman.p >= 1 - found.friedman.level:
        said.append(
            f"Friedman's test over {_many(found.friedman.n, 'data set')} finds no difference (p = "
            f"{found.friedman.p:.2g}); no pair is tested."
        )
    else:
        said.append(
            f"Vertical bars join settings whose mean ranks differ by no more than Nemenyi's critical difference, "
            f"{found.friedman.critical_difference:.3g} (Friedman's test: p = {found.friedman.p:.2g}, "
            f"{_many(found.friedman.n, 'data set')})."
        )
    return " ".join([*said, *found.notes])


def _measure(found: Ranking) -> str:
    return MEASURES.get(found.measure, found.measure)


def _seeds(found: Ranking) -> str:
    """How many seeds a setting has on a data set: `5 seeds`, `4 to 10 seeds`."""
    counts = (~np.isnan(found.values)).sum(axis=2)
    return seeds_in_words([int(counts.min()), int(counts.max())])


def _said(values: Intervals, i: int) -> str:
    return format_interval(float(values.mean[i]), float(values.low[i]), float(values.high[i]))


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
