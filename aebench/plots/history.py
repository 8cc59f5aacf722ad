"""The trend figure of `aebench history`: a panel for each metric, the commits in order, the steps marked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from aebench.plots import Drawing, file_name, style
from aebench.plots.panels import Page, pages
from aebench.regress.history import Change, Entry, Series, moment
from aebench.tables.numbers import format_number

COLUMNS, PER_PAGE = 2, 16
LABELS = 6
"""Commits named under a panel."""
TITLE = 45
"""Characters that fit above a panel."""
HEADROOM = 0.85
"""The share of a panel's height below what is said of its last step."""
NARROW = 1e-4
"""Values closer together than this share of their size are drawn as differences from the first."""
SCALES = {"s": ((1.0, "s"), (1e3, "ms"), (1e6, "µs"), (1e9, "ns")), "bytes": ((1.0, "bytes"), (1e-6, "MB"))}
"""Unit -> what values of it may be multiplied with, and what that unit is called."""
LOOKS = {
    "worse": (style.PALETTE[1], "v"),
    "better": (style.PALETTE[2], "^"),
    "changed": (style.PALETTE[3], "D"),
}
"""Direction of a step -> colour and marker, so that neither has to be told by the colour alone."""


def figures(machine: str, held: Sequence[Series]) -> Iterator[Drawing]:
    """The metrics of a machine, those of a benchmark side by side, on as many pages as it takes."""
    ordered = sorted(held, key=lambda one: one.measure.benchmark)
    commits = in_order(itertools.chain.from_iterable(one.entries for one in held))
    for page in pages(f"history-{file_name(machine)}", PER_PAGE, ordered):
        yield trends(machine, page, commits)


def in_order(entries: Iterator[Entry]) -> list[str]:
    """The commits of all metrics by date, each once."""
    dates: dict[str, str] = {}
    for entry in entries:
        dates.setdefault(entry.commit, entry.date)
    return sorted(dates, key=lambda commit: moment(dates[commit]))


@style.styled
def trends(machine: str, page: Page[Series], commits: Sequence[str]) -> Drawing:
    """One page; every panel has all commits of the machine, also those at which its metric was not measured."""
    columns = min(COLUMNS, len(page.items))
    rows = -(-len(page.items) // columns)
    width = style.WIDTH if columns > 1 else 0.6 * style.WIDTH
    figure, grid = style.panels(rows, columns, (width, 1.25 + 1.55 * rows), sharex=True)
    axes = [ax for line in grid for ax in line]
    for ax, one in zip(axes, page.items, strict=False):
        _panel(ax, one, commits)
        ax.set_title(_title(one), fontsize=7.5, loc="left")
    for ax in axes[len(page.items) :]:
        ax.set_axis_off()
    for ax in grid[-1]:
        ax.tick_params(axis="x", rotation=90, labelsize=7)
        ax.set_xlabel("commit", fontsize=8)
    figure.suptitle(style.wrap(f"{machine}{page.of}", 50))
    said = {change.direction for one in page.items for change in one.changes}
    handles = [_handle(name) for name in LOOKS if name in said]
    style.legend_below(figure, handles, 3)
    found = [f"{one.measure}: {change.said} at {_short(one, change)}" for one in page.items for change in one.changes]
    caption = (
        f"Measurements on {machine} at {len(commits)} commit{'s' if len(commits) != 1 else ''}, in the order of their "
        "dates: the median of a time over processes, the mean of a quality over seeds. Dashed lines mark steps, level "
        "lines the medians between them. Each panel has a vertical axis of its own, which need not begin at zero."
        f"{page.said}"
    )
    alt = f"A panel for each of {len(page.items)} metrics against the commit. {'; '.join(found) or 'No steps'}."
    return Drawing(page.name, caption, alt, figure)


def _panel(ax: Axes, one: Series, commits: Sequence[str]) -> None:
    places = {commit: i for i, commit in enumerate(commits)}
    x = np.array([places[entry.commit] for entry in one.entries])
    scale, unit = _scale(one)
    y = scale * np.array(one.values)
    if 0 < np.ptp(y) < NARROW * np.abs(y).max():
        y, unit = y - y[0], f"{unit} − {y[0]:.7g}"
    ax.plot(x, y, color=style.PALETTE[0], lw=1, marker="o", ms=3 if len(x) <= 60 else 1, zorder=3)
    low, high = float(y.min()), float(y.max())
    room = 0.12 * (high - low) if high > low else 0.05 * abs(high) or 1.0
    ax.set_ylim(low - room, high + 3 * room)
    ends = [0, *(change.index for change in one.changes), len(x)]
    for start, end in itertools.pairwise(ends) if one.changes else ():
        level = float(np.median(y[start:end]))
        ax.plot([x[start], x[end - 1]], [level, level], color=style.REFERENCE, lw=1.2, zorder=4)
    for change in one.changes:
        colour, marker = LOOKS[change.direction]
        at = (float(x[change.index - 1]) + float(x[change.index])) / 2
        ax.axvline(at, ymax=HEADROOM, color=colour, ls=(0, (4, 2)), lw=1, zorder=2)
        ax.plot(at, 0.05, transform=ax.get_xaxis_transform(), color=colour, marker=marker, ms=4.5, zorder=5)
    if one.changes:
        last = one.changes[-1]
        earlier = f", {len(one.changes) - 1} before" if len(one.changes) > 1 else ""
        said = f"{last.said} at {_short(one, last)}{earlier}"
        ax.text(0.01, 0.99, said, fontsize=6.5, va="top", transform=ax.transAxes)
    ax.set_ylabel(style.wrap(unit.partition(",")[0], 22), fontsize=7)
    ax.tick_params(labelsize=7)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_number(value)))
    named = sorted({round(i) for i in np.linspace(0, len(commits) - 1, min(LABELS, len(commits)))})
    ax.xaxis.set_major_locator(FixedLocator(named))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda i, _: str(commits[round(i)])[:7]))
    ax.set_xlim(-0.7, len(commits) - 0.3)


def _handle(direction: str) -> Line2D:
    colour, marker = LOOKS[direction]
    return Line2D([], [], color=colour, marker=marker, ls=(0, (4, 2)), lw=1, label=f"step: {direction}")


def _scale(one: Series) -> tuple[float, str]:
    """What the values are multiplied with, so that the median has the fewest digits, and the unit that this gives."""
    size = float(np.median(np.abs(one.values)))
    choices = SCALES.get(one.measure.unit, ((1.0, one.measure.unit),))
    fitting = [choice for choice in choices if size * choice[0] >= 1]
    return min(fitting, key=lambda choice: choice[0]) if fitting else choices[0 if size == 0 else -1]


def _title(one: Series) -> str:
    """Benchmark and metric, a line each, the beginning cut off where it is long: a test's own name comes last."""
    lines = (one.measure.benchmark, one.measure.name)
    return "\n".join(line if len(line) <= TITLE else f"…{line[1 - TITLE :]}" for line in lines)


def _short(one: Series, change: Change) -> str:
    return one.entries[change.index].commit[:7]
