"""What lies between two curves: their difference at matched x, with intervals, and its mean."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from aebench.comparison import CurveComparison
from aebench.comparison.records import MIN_SEEDS
from aebench.plots import style
from aebench.plots.families import short
from aebench.stats import Interval
from aebench.tables.numbers import format_interval

Floats = NDArray[np.float64]

MOST = 6
"""Curves that are compared with the first in one figure."""
LABEL = 30
FEW = f" With fewer than {MIN_SEEDS} seeds no interval is drawn."


@dataclass(frozen=True)
class Difference:
    """One curve less the first, where both are."""

    curve: str
    reference: str
    at: Floats
    """`[k]`, values of x."""
    matched: Floats
    """`[3, k]`: mean, low and high of the difference; the bounds NaN with fewer than `MIN_SEEDS` seeds."""
    mean: Interval
    """The difference averaged over the range that both cover."""

    @property
    def words(self) -> str:
        """Curve and reference, and the mean difference."""
        return f"{self.curve} less {self.reference}: {format_interval(self.mean.mean, self.mean.low, self.mean.high)}"


def differences(found: Iterable[CurveComparison], kind: str, curves: Mapping[str, Collection[str]]) -> list[Difference]:
    """Of comparisons of a kind those with the first of `curves` that has any, each less that one; `MOST` at most.

    `curves`: what a curve is called -> the ids of its runs, by which the comparisons are told.
    """
    own = [(one, ends) for one in found if one.kind == kind and (ends := _ends(one, curves))]
    reference = next((curve for curve in curves if any(curve in ends for _, ends in own)), None)
    sides = [_against(one, ends, reference) for one, ends in own if reference in ends]
    names = list(curves)
    return sorted(sides, key=lambda one: names.index(one.curve))[:MOST]


def _ends(one: CurveComparison, curves: Mapping[str, Collection[str]]) -> tuple[str, str] | None:
    """Which curves a comparison is of: its runs are those of the one, then those of the other."""
    first = [name for name, ids in curves.items() if one.ids[0] in ids]
    last = [name for name, ids in curves.items() if one.ids[-1] in ids]
    pairs = ((a, b) for a in first for b in last if a != b and {*one.ids} <= {*curves[a], *curves[b]})
    return next(pairs, None)


def _against(one: CurveComparison, ends: tuple[str, str], reference: str | None) -> Difference:
    """The other curve less the reference, whichever way round the comparison is."""
    a, b = ends
    sign, curve, other = (1, a, b) if b == reference else (-1, b, a)
    matched = sign * np.stack([one.matched.mean, one.matched.low, one.matched.high])
    mean, low, high = sign * one.area.mean, sign * one.area.low, sign * one.area.high
    if sign < 0:
        matched, low, high = matched[[0, 2, 1]], high, low
    matched[1:, one.matched.n < MIN_SEEDS] = np.nan
    if one.area.n < MIN_SEEDS:
        low = high = float("nan")
    return Difference(curve, other, one.at, matched, replace(one.area, mean=mean, low=low, high=high))


def panel(ax: Axes, found: Sequence[Difference], looks: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Draw the differences at matched x and a line at 0; handles for a legend, with the mean differences.

    `looks`: the look of each curve where it is drawn whole.
    """
    ax.set_title(f"less that of {short(found[0].reference, 50)} (below: mean difference)")
    handles: list[Any] = []
    for i, one in enumerate(found):
        mean, low, high = one.matched
        errors = np.nan_to_num(np.stack([mean - low, high - mean]))
        words = f"{short(one.curve, LABEL)}: {format_interval(one.mean.mean, one.mean.low, one.mean.high)}"
        look: dict[str, Any] = {**looks.get(one.curve, style.series_style(1 + i)), "linestyle": ""} | {
            "ms": 4,
            "capsize": 2,
        }
        handles.append(ax.errorbar(one.at, mean, yerr=errors, label=words.replace("-", "−"), zorder=3, **look))
    ax.axhline(0, color=style.REFERENCE, lw=1, ls="--", zorder=1)
    return handles


def across(grid: Sequence[Sequence[Axes]]) -> Axes:
    """One wide panel in the place of the last row of a grid."""
    figure, place = grid[-1][0].get_figure(root=True), grid[-1][0].get_gridspec()
    assert figure is not None
    assert place is not None
    for ax in grid[-1]:
        ax.remove()
    return figure.add_subplot(place[-1, :])


def height(found: Sequence[Difference]) -> float:
    """Inches that the panel and its legend add to a figure."""
    return 1.9 + 0.18 * style.legend_lines(len(found), 2) if found else 0.0


def caption(found: Sequence[Difference], what: str, unit: str) -> str:
    """What the panel shows, as sentences that begin with a space; empty where nothing is compared.

    `what`: the difference of what at equal what; `unit`: of the mean.
    """
    if not found:
        return ""
    how = found[0].mean.method.partition(", mean over")[0]
    said = (
        f" Below: {what} less that of {found[0].reference}, each seed's curve interpolated, paired by seed; the legend "
        f"has the mean over the range that both cover ({unit}), with its 95 % interval ({how})."
    )
    return said + (FEW if min(one.mean.n for one in found) < MIN_SEEDS else "")
