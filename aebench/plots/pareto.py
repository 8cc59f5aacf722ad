"""Error against cost: which settings no other beats in both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import stats
from aebench.comparison.rules import TRADED
from aebench.groups import datasets, evaluated, seeds
from aebench.plots import Arrays, Drawing, file_name, labels, lines, style
from aebench.plots.choosing import Entered, entered
from aebench.plots.families import NAMES, common_latent, family, label, legend_columns, short
from aebench.plots.timed import Range, Timed, on_one_machine, spread
from aebench.stats import Interval

Floats = NDArray[np.float64]

ERROR = "sse"
COSTS = {
    "seconds": "seconds to train a run: those of its pack / runs in it",
    "flops": "FLOPs to encode and decode an example",
    "parameters": "parameters",
}
LABEL = 30
"""Characters of a name beside a point."""
TRADING, LACKING = "with a latent KL", "with runs that failed"
NEVER = (TRADING, LACKING)
"""Kinds that are not on the front, as their means are of no use for it."""
LOOKS: dict[str, dict[str, Any]] = {
    **{name: style.series_style(i) for i, name in enumerate(NAMES)},
    TRADING: {"marker": "v", "color": "0.5", "mfc": "white"},
    LACKING: {"marker": "X", "color": "0.5", "mfc": "white"},
}
FRONT: dict[str, Any] = {"color": style.REFERENCE, "ls": (0, (4, 2)), "lw": 1, "drawstyle": "steps-post"}


@dataclass(frozen=True)
class Point:
    """One setting: its error and what it costs."""

    label: str
    kind: str
    """One of `LOOKS`."""
    error: Interval
    costs: dict[str, Range]
    """Over distinct values: runs that trained together have one in common."""


def pareto(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the error against each cost in which settings differ, and the front of those not dominated.

    Seconds are those of the machine, and the number of threads, that most runs were trained with.
    """
    for data, rows in datasets(frame if ERROR in frame else frame.iloc[:0]):
        timed = on_one_machine(with_costs(rows), ["seconds"], "trained_on")
        shown = entered(timed.rows, {ERROR: frame.attrs["values"][ERROR], **dict.fromkeys(COSTS, ABOUT)})
        points = points_of(shown) if shown.entrants else []
        costs = [cost for cost in COSTS if len({p.costs[cost].median for p in able(points, cost)}) > 1]
        if costs:
            what = f"{evaluated(rows)} squared error on {data}"
            caption = _caption(what, rows, shown, points, timed if "seconds" in costs else None)
            yield _panels(f"pareto-{file_name(data)}", data, points, costs, caption)


ABOUT = {"unit": "", "better": "lower"}


def with_costs(rows: DataFrame) -> DataFrame:
    """The runs with a column for each of `COSTS`; NaN where it was not measured."""
    nothing = np.full(len(rows), np.nan)
    seconds, packs = rows.get("train_seconds", nothing), rows["pack_runs"]
    flops = rows.get("flops_encode", nothing) + rows.get("flops_decode", nothing)
    return rows.assign(seconds=seconds / packs, flops=flops, parameters=rows.get("parameters", nothing))


def points_of(shown: Entered) -> list[Point]:
    """The settings, best error first."""
    found, traded = list[Point](), shown.traded
    common = common_latent(entrant.spec for entrant in shown.entrants)
    for entrant in shown.entrants:
        kind = TRADING if entrant.key in traded else LACKING if shown.lacks(entrant, ERROR) else family(entrant.variant)
        costs = {cost: spread(np.unique(shown.values(entrant, cost))) for cost in COSTS}
        error = shown.board.cells[entrant.key, ERROR].interval
        found.append(Point(label(entrant.label, entrant.spec, common), kind, error, costs))
    return found


def able(points: Sequence[Point], cost: str) -> list[Point]:
    """Those that can be on the front: settings that trade error for a latent KL cannot, nor those with failed runs."""
    return [point for point in points if point.kind not in NEVER and _there(point, cost)]


def front(points: Sequence[Point], cost: str) -> list[Point]:
    """Those that no other beats in error or cost without losing in the other, by rising cost."""
    held = able(points, cost)
    where = np.array([(point.costs[cost].median, point.error.mean) for point in held]).reshape(-1, 2)
    best = [point for point, on in zip(held, stats.pareto(where, ("lower", "lower")), strict=True) if on]
    return sorted(best, key=lambda point: point.costs[cost].median)


def _there(point: Point, cost: str) -> bool:
    return bool(np.isfinite(point.costs[cost].median))


@style.styled
def _panels(name: str, data: str, points: Sequence[Point], costs: Sequence[str], caption: str) -> Drawing:
    kinds = {point.kind for point in points}
    looks: dict[str, dict[str, Any]] = {kind: LOOKS[kind] | {"linestyle": ""} for kind in LOOKS if kind in kinds}
    legend = [Line2D([], [], label=kind, **look) for kind, look in looks.items()]
    legend.append(Line2D([], [], **FRONT, label="Pareto front"))
    across = legend_columns([str(handle.get_label()) for handle in legend], 4)
    height = 0.7 + 0.18 * style.legend_lines(len(legend), across) + 2.8 * len(costs)
    figure, grid = style.panels(len(costs), 1, (style.WIDTH, height), sharey=True)
    for cost, (ax,) in zip(costs, grid, strict=True):
        _panel(ax, points, cost)
    error = np.array([point.error.mean for point in points])
    if error.min() > 0 and error.max() > 3 * error.min():
        style.log_axis(grid[0][0].yaxis)
    figure.suptitle(f"Error against cost: {data}")
    style.legend_below(figure, legend, across)
    if isinstance(layout := figure.get_layout_engine(), ConstrainedLayoutEngine):
        layout.set(h_pad=0.1)  # so that it is plain which panel a label below belongs to
    figure.draw_without_rendering()
    unnamed = sum(len(_names(ax, points, cost)) for cost, (ax,) in zip(costs, grid, strict=True))
    said = [f"{COSTS[cost]}: {', '.join(point.label for point in front(points, cost))}" for cost in costs]
    words = f"On the Pareto front of error and cost on {data}. {'; '.join(said)}."
    more = f" {unnamed} points had no room for a name." if unnamed else ""
    return Drawing(name, caption + more, words, figure, data)


def _panel(ax: Axes, points: Sequence[Point], cost: str) -> None:
    """Means of the error with their intervals, medians of the cost with their ranges, and the front."""
    for point in points:
        price, error = point.costs[cost], point.error
        across = np.nan_to_num([[price.median - price.low], [price.high - price.median]])
        along = np.nan_to_num([[error.mean - error.low], [error.high - error.mean]])
        look: dict[str, Any] = LOOKS[point.kind] | {"linestyle": "", "capsize": 0, "elinewidth": 1, "zorder": 3}
        ax.errorbar([price.median], [error.mean], yerr=along, xerr=across, **look)
    best = front(points, cost)
    ax.plot([p.costs[cost].median for p in best], [p.error.mean for p in best], **FRONT, zorder=2)
    ax.set_xlabel(COSTS[cost])
    ax.set_ylabel("squared error per example")
    ax.margins(0.1, 0.12)
    style.log_axis(ax.xaxis)
    if cost != "seconds":
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: lines.in_short(value)))


def _names(ax: Axes, points: Sequence[Point], cost: str) -> list[int]:
    """Write the names, those on the front first and bold; those without room."""
    best = front(points, cost)
    order = [*best, *(p for p in points if p not in best and _there(p, cost))]
    where = np.array([(p.costs[cost].median, p.error.mean) for p in order])
    ends = [(p.costs[cost].median, y) for p in order for y in (p.error.low, p.error.high)]
    ends += [(x, p.error.mean) for p in order for x in (p.costs[cost].low, p.costs[cost].high)]
    bars = np.array(ends)[np.isfinite(ends).all(axis=1)]
    return labels.place(ax, where, [short(p.label, LABEL) for p in order], bars, bold=len(best))


def _caption(what: str, rows: DataFrame, shown: Entered, points: Sequence[Point], timed: Timed | None) -> str:
    kinds = {point.kind for point in points}
    said = [
        f"{what} (squared units of the data, summed over elements) against cost, lower is better in both: "
        f"{seeds(lines.measured(rows, [ERROR]))}; of costs that differ from pack to pack the median and the range. "
        "Dashed: the Pareto front, the settings that no other beats in one without losing in the other; their names "
        "are bold."
    ]
    if timed:
        said.append(f"Seconds are of {timed.machine}.{timed.left(shown.board.entrants, 'seconds')}")
    if TRADING in kinds:
        said.append(f"{TRADED[0].upper()}{TRADED[1:]}; they are not on the front.")
    if LACKING in kinds:
        said.append("Settings with runs that failed are not on the front: a mean of the rest would flatter them.")
    return " ".join(said) + shown.words
