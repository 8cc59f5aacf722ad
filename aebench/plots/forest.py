"""Paired differences of every setting to a control, as a forest: means, intervals and every seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from pandas import DataFrame

from aebench import stats
from aebench.comparison import Entrant, Measure
from aebench.comparison.marks import adjusted_pairs, order
from aebench.comparison.rules import comparable
from aebench.groups import datasets, evaluated
from aebench.plots import Arrays, Drawing, file_name, style
from aebench.plots.choosing import Entered, entered, page_name, pages
from aebench.plots.families import common_latent, label, short
from aebench.tables.numbers import format_interval

MEASURES = {"sse": "reconstruction error", "nll": "negative log-likelihood"}
"""The columns that are compared, each in figures of its own, and their names."""
BEST = "best"
BY_BEST = " The control is the best by the mean of these same runs, which flatters it a little."
PER_PAGE = 40
"""Settings on one page; more make more pages."""
LABEL = 38
"""Characters of a setting's name."""
CHANCE = 0.05
NOT = "not ranked: "
"""How the note of a cell begins that has its value and no rank."""
FAR = 8.0
"""An axis that would reach so many times the median difference ends at half of that; arrows show what is beyond."""
LOOKS: dict[str, dict[str, Any]] = {
    "better": {"color": style.PALETTE[0], "marker": "o", "label": "better than the control"},
    "worse": {"color": style.PALETTE[1], "marker": "s", "label": "worse than the control"},
    "undecided": {"color": "0.35", "marker": "D", "mfc": "white", "label": "undecided"},
    "unranked": {"color": "0.55", "marker": "^", "mfc": "white", "label": "not ranked"},
    "too few": {"color": "0.35", "marker": "x", "label": "3 seeds or fewer: no interval"},
}
SEED: dict[str, Any] = {"marker": "o", "ms": 2.2, "mew": 0, "color": "0.3", "ls": ""}


@dataclass(frozen=True)
class Against:
    """What the settings of a data set are compared in, and with."""

    data: str
    part: str
    """`Test`, or `Training` where that is what was evaluated."""
    measure: Measure
    control: Entrant
    name: str
    """The label of the control."""

    @property
    def words(self) -> str:
        """The measure in words."""
        return MEASURES[self.measure.name]


@dataclass(frozen=True)
class Row:
    """One setting against the control."""

    label: str
    paired: stats.Paired
    look: str
    """One of `LOOKS`."""
    why: str
    """Why it is not ranked, or empty."""


def comparison(frame: DataFrame, arrays: Arrays, control: str = BEST) -> Iterator[Drawing]:
    """For each data set and measure the difference of each setting to a control: its mean, interval and seeds.

    `control`: a variant, or `best` for the setting that the leaderboard has as the best. A data set without it has no
    figure.
    """
    for column in (name for name in MEASURES if name in frame):
        for data, rows in datasets(frame):
            shown = entered(rows, {column: frame.attrs["values"][column]}, control)
            if (chosen := the_control(shown, column, control)) is None:
                continue
            common = common_latent(entrant.spec for entrant in shown.entrants)
            name = label(chosen.label, chosen.spec, common)
            against = Against(data, evaluated(rows), shown.board.measures[0], chosen, name)
            stem = f"comparison{'' if control == BEST else f'_{file_name(control)}'}-{file_name(data)}-{column}"
            yield from _pages(stem, shown, against, common, BY_BEST if control == BEST else "")


def comparison_pca(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """The same against principal component analysis, the best linear map."""
    yield from comparison(frame, arrays, "pca")


def the_control(shown: Entered, column: str, control: str) -> Entrant | None:
    """The setting that the others are compared with: of this variant, or the best; None where there is none.

    One that the leaderboard ranks; where it ranks none, one of the common latent size and budget without a latent KL
    and with all its values, else any; of these the one with the best mean.
    """
    own = [entrant for entrant in shown.entrants if control in (BEST, entrant.variant)]
    if shown.board.measures[0].ranked:
        fair = [entrant for entrant in own if not shown.board.cells[entrant.key, column].note]
    else:
        alike, _ = comparable(shown.entrants)
        equal = {entrant.key for entrant, same in zip(shown.entrants, alike.tolist(), strict=True) if same}
        fair = [e for e in own if e.key in equal - shown.traded and not shown.lacks(e, column)]
    return next(iter(fair or own), None)


def compare(shown: Entered, against: Against, common: int) -> list[Row]:
    """Every setting that shares a seed with the control, best mean first; the control is not one of them.

    Better or worse is who is so by the interval, and by the paired t test after Holm's adjustment for all pairs of
    ranked settings, as on the leaderboard: the control may have been picked by these same runs.
    """
    column, control, found = against.measure.name, against.control, list[Row]()
    adjusted = _adjusted(shown, against)
    values = dict(zip(control.seeds, shown.values(control, column), strict=True))
    for entrant in shown.entrants:
        pairs = zip(entrant.seeds, shown.values(entrant, column), strict=True)
        both = np.array([(value, values[seed]) for seed, value in pairs if seed in values]).reshape(-1, 2)
        both = both[~np.isnan(both).any(axis=1)]
        if entrant is control or not len(both):
            continue
        paired = stats.paired(both[:, 0], both[:, 1], against.measure.better)
        name = label(entrant.label, entrant.spec, common)
        why = _why(shown, against, entrant, name)
        look = paired.claim if paired.claim == "too few" or not why else "unranked"
        if look in ("better", "worse") and not adjusted.get(entrant.key, 1.0) <= CHANCE:
            look = "undecided"
        found.append(Row(name, paired, look, why))
    sign = -1 if against.measure.better == "higher" else 1
    return sorted(found, key=lambda row: sign * row.paired.difference.mean)


def _adjusted(shown: Entered, against: Against) -> dict[str, float]:
    """The adjusted p of each ranked setting against the control, by its key; of none where that is not ranked."""
    found = order(shown.board, against.measure)
    keys = [entrant.key for entrant in found.entrants]
    if against.control.key not in keys:
        return {}
    return dict(zip(keys, adjusted_pairs(found.values)[keys.index(against.control.key)].tolist(), strict=True))


def _why(shown: Entered, against: Against, entrant: Entrant, name: str) -> str:
    """Why the leaderboard does not rank a setting, or its control; empty where it ranks both."""
    note = shown.board.cells[entrant.key, against.measure.name].note
    of_control = shown.board.cells[against.control.key, against.measure.name].note
    if shown.lacks(entrant, against.measure.name):
        return f"{name} ({note})"
    if not against.measure.ranked:
        return against.measure.note
    return note.removeprefix(NOT) or (of_control and f"the control is not: {of_control.removeprefix(NOT)}")


def _pages(stem: str, shown: Entered, against: Against, common: int, how: str) -> Iterator[Drawing]:
    found = compare(shown, against, common)
    several = pages(found, PER_PAGE) if found else []
    left = len(shown.entrants) - 1 - len(found)
    for i, page in enumerate(several):
        drawing = _forest(page_name(stem, i, len(several)), against, page)
        more = [how, f" {left} share no seed with it." if left else ""]
        more += [f" Page {1 + i} of {len(several)}, each with an axis of its own." if len(several) > 1 else ""]
        yield replace(drawing, caption=f"{drawing.caption}{''.join(more)}{shown.words}")


def _limit(found: Sequence[Row]) -> tuple[float, float]:
    """The ends of the axis: all that is drawn, or less where a few settings are far away from all others."""
    middles = np.array([row.paired.difference.mean for row in found])
    ends = np.concatenate([[0.0], *(np.append(row.paired.differences, _bounds(row)) for row in found)])
    median = float(np.median(np.abs(middles)))
    far = np.inf if not median or np.abs(middles).max() < FAR * median else FAR / 2 * median
    low, high = max(float(np.nanmin(ends)), -far), min(float(np.nanmax(ends)), far)
    margin = 0.04 * (high - low) or 1.0
    return low - margin, high + margin


def _bounds(row: Row) -> tuple[float, float]:
    """The ends of the interval that is drawn; NaN where none is."""
    drawn = row.look != "too few"
    return (row.paired.difference.low, row.paired.difference.high) if drawn else (np.nan, np.nan)


@style.styled
def _forest(name: str, against: Against, page: Sequence[Row]) -> Drawing:
    figure, [[ax]] = style.panels(1, 1, (style.WIDTH, 1.5 + 0.21 * len(page)))
    limit = _limit(page)
    ax.set_xlim(*limit)
    for y, row in enumerate(page):
        _draw(ax, y, row, limit)
    ax.axvline(0, color=style.REFERENCE, lw=1, ls="--", zorder=1)
    ax.set_yticks(range(len(page)), [short(row.label, LABEL) for row in page])
    ax.set_ylim(len(page) - 0.4, -0.7)
    ax.tick_params(axis="y", length=0)
    sides = "← worse     better →" if against.measure.better == "higher" else "← better     worse →"
    control = short(against.name, LABEL)
    ax.set_xlabel(f"{sides}\n{against.words}, less that of {control}\n({against.measure.unit})")
    figure.suptitle(f"{against.words[0].upper()}{against.words[1:]} less that of {control}: {against.data}")
    looks = [look for look in LOOKS if any(row.look == look for row in page)]
    handles = [Line2D([], [], **LOOKS[look], ls="") for look in looks]
    style.legend_below(figure, [*handles, Line2D([], [], **SEED, label="one seed")], 3)
    return Drawing(name, _caption(against, page), _alt(against, page), figure, against.data)


def _draw(ax: Axes, y: int, row: Row, limit: tuple[float, float]) -> None:
    """One line: the mean and its interval, below them every seed, on the right the numbers."""
    found, (low, high) = row.paired.difference, _bounds(row)
    look = {key: value for key, value in LOOKS[row.look].items() if key != "label"}
    if limit[0] <= found.mean <= limit[1]:
        ax.plot([low, high], [y, y], "-", color=look["color"], lw=1.6, solid_capstyle="butt", zorder=2.5)
        ax.plot([found.mean], [y], **look, ls="", zorder=3)
    else:
        beyond, edge = found.mean > limit[1], limit[int(found.mean > limit[1])]
        ax.plot([edge], [y], ls="", marker=">" if beyond else "<", color=look["color"], zorder=3, clip_on=False)
    ax.plot(row.paired.differences, np.full(row.paired.differences.shape, y + 0.27), **SEED, zorder=2)
    text = f"{'+' if found.mean > 0 else ''}{format_interval(found.mean, low, high)}".replace("-", "−")
    ax.text(1.02, y, text, transform=ax.get_yaxis_transform(), va="center_baseline", fontsize=8)


def _caption(against: Against, page: Sequence[Row]) -> str:
    """What is drawn, over how many pairs, how the intervals are made."""
    pairs = sorted(row.paired.difference.n for row in page)
    number = str(pairs[0]) if pairs[0] == pairs[-1] else f"{pairs[0]} to {pairs[-1]}"
    methods = dict.fromkeys(_method(row.paired.difference) for row in page if row.look != "too few")
    looks, why = {row.look for row in page}, dict.fromkeys(row.why for row in page if row.look == "unranked")
    said = [
        f"{against.part} {against.words} of each setting less that of {against.name} on {against.data}, in "
        f"{against.measure.unit}: mean over {number} pair{'' if number == '1' else 's'} of runs that share a seed; "
        "below each mean the difference of every seed."
    ]
    if methods:
        said.append(f"Bars: 95 % intervals ({'; '.join(methods)}), not adjusted for their number.")
    if looks & {"better", "worse"}:
        how = "Holm's adjustment for all pairs of ranked settings"
        said.append(f"Better and worse by interval and by paired t test, with {how}.")
    if "too few" in looks:
        said.append("With 3 seeds or fewer no interval is drawn, and nothing is claimed.")
    if why:
        said.append(f"Not ranked: {'; '.join(why)}.")
    return " ".join(said)


def _method(found: stats.Interval) -> str:
    return found.method if found.seed is None else f"{found.method} from seed {found.seed}"


def _alt(against: Against, page: Sequence[Row]) -> str:
    """Who is better and worse than the control, and by how much."""
    parts: list[str] = []
    for look, what in LOOKS.items():
        own = [row for row in page if row.look == look]
        if own:
            said = ", ".join(f"{row.label} {row.paired.difference.mean:+.3g}" for row in own)
            parts.append(f"{what['label']}: {said}")
    return f"{against.words} less that of {against.name} on {against.data}. {'; '.join(parts)}."
