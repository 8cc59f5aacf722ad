"""Tuning: what validation says of a draw and what test says, which draw was chosen, and what more draws would give."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame

from aebench.comparison.records import MIN_SEEDS
from aebench.groups import datasets, series
from aebench.plots import Arrays, Drawing, file_name, style
from aebench.plots.choosing import page_name, pages
from aebench.plots.families import legend_columns, short
from aebench.tables.numbers import format_interval
from aebench.tuning import Choice, chosen

PER_PAGE = 7
"""Variants in one figure, as many as there are colours."""
VALIDATION = "validation_"


def tuning(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the mean of every draw on test against validation, and the expected best of n draws.

    What was chosen stands in `attrs["choices"]`; where it does not, the settings of each variant are taken as its
    draws, if their columns `validation_<value>` are there.
    """
    every: Sequence[Choice] = frame.attrs.get("choices") or choices_of(frame)
    tuned = [choice for choice in every if choice.draws > 1 and choice.draw is not None]
    unit = {name: str(about.get("unit", "")) for name, about in frame.attrs.get("values", {}).items()}
    for data, metric in dict.fromkeys((choice.data, choice.metric) for choice in tuned):
        own = [choice for choice in tuned if (choice.data, choice.metric) == (data, metric)]
        alone = len({choice.metric for choice in tuned if choice.data == data}) == 1
        stem = f"tuning-{file_name(data)}{'' if alone else f'-{file_name(metric)}'}"
        several = pages(own, PER_PAGE)
        for i, page in enumerate(several):
            name = page_name(stem, i, len(several))
            yield _draws(name, data, page, unit.get(page[0].metric, ""))


def choices_of(frame: DataFrame) -> tuple[Choice, ...]:
    """What would be chosen on validation, each setting of a variant a draw; none without a column of validation."""
    about: Mapping[str, Mapping[str, Any]] = frame.attrs.get("values", {})
    measured = [name for name in map(str, frame.columns) if name.startswith(VALIDATION) and frame[name].notna().any()]
    metric = measured[0].removeprefix(VALIDATION) if measured else ""
    better = str(about.get(metric, {}).get("better", "neither"))
    if better == "neither":
        return ()
    groups: list[dict[str, Any]] = []
    for _, rows in datasets(frame[frame[measured[0]].notna()]):
        for variant in dict.fromkeys(rows["variant"]):
            settings = [setting for line in series(rows[rows["variant"] == variant], ()) for setting in line.settings]
            draws = [{"ids": s.rows["id"].tolist(), "values": {"setting": s.label}} for s in settings]
            space = {"setting": {"choice": [s.label for s in settings]}}
            groups.append({"variant": variant, "fields": space, "swept": {}, "draws": draws})
    return chosen(frame, {"metric": metric, "better": better, "groups": groups})[1]


@style.styled
def _draws(name: str, data: str, page: Sequence[Choice], unit: str) -> Drawing:
    labels = [short(_label(choice), 34) for choice in page]
    columns, metric = legend_columns(labels, 3), page[0].metric
    height = 3.9 + 0.18 * style.legend_lines(len(page), columns)
    figure, [[scatter, best]] = style.panels(1, 2, (style.WIDTH, height))
    handles = [_scatter(scatter, choice, text, i) for i, (choice, text) in enumerate(zip(page, labels, strict=True))]
    _equal(scatter)
    for i, choice in enumerate(page):
        look: dict[str, Any] = style.series_style(i) | {"linestyle": style.DASHES[i % 3], "ms": 3}
        best.plot(np.arange(1, choice.draws + 1), choice.expected, **look)
    scatter.set_xlabel(style.wrap(f"{metric} on validation ({unit})", 44))
    scatter.set_ylabel(f"{metric} on test")
    scatter.set_title("every draw; ringed: chosen on validation")
    best.set_xlabel(f"draws\n{page[0].better} is better")
    best.set_ylabel(f"{metric} on validation")
    best.set_title("expected best of n random draws")
    best.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(f"Tuning: {data}")
    style.legend_below(figure, handles, columns)
    lost = sum(sum(map(math.isnan, choice.values["validation"])) for choice in page)
    caption = (
        f"Left: {metric} ({unit}) of every draw on {data}, on test against validation, means over {_seeds(page)}; the "
        f"draw chosen on validation is ringed{_bars(page)}; dotted: equal on both. Right: the expected best on "
        "validation of n draws taken at random (Dodge and others 2019), which flatters the best of many a little; test "
        "values choose nothing."
    )
    caption += f" {lost} draws are not shown: a run failed or has no value." if lost else ""
    said = "; ".join(f"{_label(choice)}: {_said(choice)}" for choice in page)
    return Drawing(name, caption, f"Chosen on validation, {metric} on test. {said}.", figure, data)


def _equal(ax: Axes) -> None:
    """A dotted line where both axes have the same value."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    ends = (max(left, bottom), min(right, top))
    if ends[0] < ends[1]:
        ax.plot(ends, ends, color=style.REFERENCE, lw=0.8, ls=":", zorder=1, scalex=False, scaley=False)


def _scatter(ax: Axes, choice: Choice, text: str, index: int) -> Any:
    """The draws of one variant, the chosen one with a ring and the intervals over its seeds."""
    look: dict[str, Any] = style.series_style(index) | {"linestyle": "", "ms": 4}
    (points,) = ax.plot(choice.values["validation"], choice.values["test"], **look, alpha=0.75, label=text, zorder=3)
    x, y = choice.validation, choice.test
    if x.n < MIN_SEEDS:
        x, y = (replace(i, low=math.nan, high=math.nan) for i in (x, y))
    across, along = (np.nan_to_num([[i.mean - i.low], [i.high - i.mean]]) for i in (x, y))
    bars: dict[str, Any] = {"ls": "", "ecolor": look["color"], "elinewidth": 1, "zorder": 2.5}
    ax.errorbar([x.mean], [y.mean], yerr=along, xerr=across, **bars)
    ax.plot([x.mean], [y.mean], "o", ms=9, mfc="none", mec="black", mew=1.1, zorder=4)
    return points


def _label(choice: Choice) -> str:
    swept = ", ".join(f"{name} {value}" for name, value in choice.swept.items())
    return f"{choice.variant}, {swept}" if swept else choice.variant


def _seeds(page: Sequence[Choice]) -> str:
    counts = sorted({len(choice.ids) for choice in page})
    number = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{number} seed{'' if number == '1' else 's'}"


def _bars(page: Sequence[Choice]) -> str:
    if min(len(choice.ids) for choice in page) < MIN_SEEDS:
        return f"; no interval with fewer than {MIN_SEEDS} seeds"
    return ", with the 95 % t intervals of its seeds"


def _said(choice: Choice) -> str:
    test = format_interval(choice.test.mean, choice.test.low, choice.test.high)
    spread = choice.sensitivity("test")
    return f"{test}, of {choice.draws} draws the middle half from {spread.low:.3g} to {spread.high:.3g}"
