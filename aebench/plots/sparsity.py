"""Sparsity against distortion: what each way to a sparse code pays in reconstruction error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from pandas import DataFrame

from aebench.comparison.curves import overlaps
from aebench.groups import Setting, datasets, intervals, number, ordered, seeds, series, value
from aebench.plots import Arrays, Drawing, file_name, lines, style
from aebench.plots.between import Difference, across, caption, differences, height, panel
from aebench.plots.choosing import longest, page_name, pages
from aebench.plots.families import legend_columns, short

ERROR = "sse"
KIND = "sparsity-distortion"
PER_PAGE = 14
"""Lines and single settings in one figure."""
PANELS = {"l0_fraction": "units in use (fraction of |h| above threshold)", "hoyer": "Hoyer sparsity of the code"}


@dataclass(frozen=True)
class Path:
    """Settings of one variant along one field, by rising value; a single setting has no field."""

    label: str
    settings: tuple[Setting, ...]
    field: str = ""

    @property
    def runs(self) -> set[str]:
        """The ids of all its runs."""
        return {str(run) for setting in self.settings for run in setting.rows["id"]}


def sparsity(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the error against the L0 fraction and Hoyer's sparsity: a line for each field swept."""
    for data, rows in datasets(lines.measured(frame, [ERROR, *PANELS])):
        shown = longest(rows)
        variants = dict.fromkeys(shown.rows["variant"])
        found = [path for variant in variants for path in paths(shown.rows[shown.rows["variant"] == variant])]
        if not any(path.field for path in found):
            continue
        compared = [one.comparison for one in overlaps(shown.rows, (KIND,))]
        several = pages(found, PER_PAGE)
        for i, page in enumerate(several):
            apart = differences(compared, KIND, {path.label: path.runs for path in page if path.field})
            name = page_name(f"sparsity-{file_name(data)}", i, len(several))
            runs = set[str]().union(*(path.runs for path in page))
            drawing = _curves(name, data, shown.rows[shown.rows["id"].isin(runs)], page, apart)
            yield replace(drawing, caption=drawing.caption + shown.words)


def paths(rows: DataFrame) -> list[Path]:
    """The sweeps of one variant: for each field the runs that differ in nothing else, longest first.

    A sweep that would show no new setting is left out, so that a grid gives lines in one direction, a cross in both.
    """
    specs = [{**spec["hyper"], **spec["sizes"]} for spec in rows["spec"]]
    every = {name: {spec[name] for spec in specs if isinstance(spec.get(name), int | float)} for name in specs[0]}
    varied = [name for name, values in every.items() if len(values) > 1]
    swept = [(name, line) for name in varied for line in series(rows, (name,)) if line.is_sweep]
    found: list[Path] = []
    drawn: set[str] = set()
    for name, line in sorted(swept, key=lambda pair: -len(pair[1].settings)):
        settings, _ = ordered(line, name)
        own = {setting.first for setting in settings}
        if own - drawn:
            others = ", ".join(lines.said(settings[0], other) for other in varied if other != name)
            reach = f"{lines.said(settings[0], name)} to {number(value(settings[-1], name))}"
            label = f"{rows['variant'].iloc[0]}, {reach}"
            found.append(Path(f"{label} ({others})" if others else label, settings, name))
            drawn |= own
    single = [setting for line in series(rows, ()) for setting in line.settings if setting.first not in drawn]
    return found + [Path(setting.label, (setting,)) for setting in single]


@style.styled
def _curves(name: str, data: str, rows: DataFrame, found: Sequence[Path], apart: Sequence[Difference]) -> Drawing:
    columns = legend_columns([path.label for path in found], 2)
    tall = 3.6 + 0.17 * style.legend_lines(len(found), columns) + height(apart)
    ratios = [1.8, 1] if apart else [1]
    figure, grid = style.panels(len(ratios), 2, (style.WIDTH, tall), height_ratios=ratios)
    axes, handles = grid[0], list[Any]()
    for (column, label), ax in zip(PANELS.items(), axes, strict=True):
        handles = [_path(ax, path, column, i) for i, path in enumerate(found)]
        ax.set_xlabel(label)
    axes[1].sharey(axes[0])
    axes[1].tick_params(labelleft=False)
    used = rows["l0_fraction"]
    if used.min() > 0 and used.max() > 10 * used.min():
        style.log_axis(axes[0].xaxis)
    if rows[ERROR].max() > 5 * rows[ERROR].min():
        style.log_axis(axes[0].yaxis)
    axes[1].set_xlim(max(axes[1].get_xlim()[0], -0.03), min(axes[1].get_xlim()[1], 1.03))
    axes[0].set_ylabel("reconstruction error\n(squared units of the data per example)")
    if apart:
        below = across(grid)
        looks = {path.label: style.series_style(i) for i, path in enumerate(found)}
        handles += panel(below, apart, looks)
        below.set_xlabel(PANELS["l0_fraction"])
        below.set_ylabel("difference of error\nat equal sparsity")
    figure.suptitle(f"Sparsity and distortion: {data}")
    style.legend_below(figure, handles, columns)
    text = (
        f"Squared error against the share of units in use (left; fewer is sparser) and against Hoyer's sparsity, which "
        f"no scale of the code changes (right; 0 all units equal, 1 one alone), on {data}: {seeds(rows)}. Each line "
        "follows the hyperparameter that its name says, from the open marker on."
    ) + caption(apart, "the error at an equal share of units in use", "squared units of the data per example")
    said = "".join(f" At equal sparsity, mean difference of the error, {one.words}." for one in apart)
    return Drawing(name, text, f"Error against sparsity: {'; '.join(map(_said, found))}.{said}", figure, data)


def _path(ax: Axes, path: Path, column: str, index: int) -> Any:
    x, y = intervals(path.settings, column), intervals(path.settings, ERROR)
    look: dict[str, Any] = style.series_style(index) | ({} if path.field else {"linestyle": ""})
    bars = ax.errorbar(x.mean, y.mean, y.errors, x.errors, capsize=2, label=short(path.label, 60), zorder=3, **look)
    if path.field:
        first: dict[str, Any] = look | {"linestyle": "", "mfc": "white", "zorder": 4}
        ax.plot(x.mean[:1], y.mean[:1], **first)
    return bars


def _said(path: Path) -> str:
    used, error = intervals(path.settings, "l0_fraction").mean, intervals(path.settings, ERROR).mean
    points = [f"error {error[i]:.3g} with {used[i]:.2g} of the units" for i in sorted({0, len(used) - 1})]
    return f"{path.label}, {' to '.join(points)}"
