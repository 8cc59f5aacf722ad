"""The Bernoulli KL of sparse units: both directions, of the batch mean and of each example, against the target p."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from pandas import DataFrame

from aebench.groups import Series, datasets, ordered, seeds, series
from aebench.plots import Arrays, Drawing, file_name, lines, style

MEASURES = {
    "mean_activation": "mean activation of units",
    "near_zero": "units near 0 (fraction)",
    "near_one": "units near 1 (fraction)",
    "sse": "reconstruction error (squared\nunits of the data per example)",
}
P_LABEL = "target p"
TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.997, 0.999)


def kl_direction(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set what units do, and the error, against p: a line for each direction and average."""
    for data, rows in datasets(lines.measured(frame, list(MEASURES))):
        aimed = rows[[{"direction", "average"} <= set(spec["sizes"]) for spec in rows["spec"]]]
        found = [line for line in series(aimed, ("p",)) if len(ordered(line, "p")[0])]
        if found:
            yield _measures(f"kl_direction-{file_name(data)}", data, aimed, found)


@style.styled
def _measures(name: str, data: str, rows: DataFrame, found: list[Series]) -> Drawing:
    figure, grid = style.panels(2, 2, (style.WIDTH, 5.0 + 0.17 * style.legend_lines(len(found), 2)), sharex=True)
    axes = [ax for row in grid for ax in row]
    handles: list[Any] = []
    for (column, label), ax in zip(MEASURES.items(), axes, strict=True):
        handles = []
        for i, line in enumerate(found):
            settings, p = ordered(line, "p")
            handles.append(lines.against(ax, p, settings, column, _label(line), **style.series_style(i)))
        ax.set_ylabel(label)
    for ax in grid[1]:
        ax.set_xlabel(P_LABEL)
    p = np.unique([value for line in found for value in ordered(line, "p")[1]])
    handles += axes[0].plot(p, p, ":", color=style.REFERENCE, lw=1.2, label="mean activation = p")
    _probability_axis(axes[0].yaxis)
    for ax in axes:
        _probability_axis(ax.xaxis)
    for ax in axes[1:3]:
        ax.set_ylim(-0.03, 1.03)
    figure.suptitle(f"Direction of the sparse KL: {data}")
    style.legend_below(figure, handles, 2)
    caption = (
        f"Sigmoid units h on {data} against their target p: mean of h, shares of units near 0 and near 1, and the "
        f"squared error: {seeds(rows)}. Forward: KL(p ‖ h), reverse: KL(h ‖ p); of the mean of h over a batch, or of "
        "each example and then averaged. Dotted: the target itself."
    )
    said = "; ".join(lines.ends(line, "p", "p", "mean_activation") for line in found)
    alt = f"Four panels against p: mean activation, units near 0, units near 1, error. Mean activation: {said}."
    return Drawing(name, caption, alt, figure, data)


def _probability_axis(axis: Axis) -> None:
    """An axis of ln(p/(1 − p)), on which both ends have room, with plain numbers."""
    ax = axis.axes
    scale = ax.set_xscale if axis is ax.xaxis else ax.set_yscale
    scale("logit", nonpositive="clip")
    low, high = axis.get_view_interval()
    ticks = [tick for tick in TICKS if low <= tick <= high]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _label(line: Series) -> str:
    """Direction and average in words, and what else tells this line from others."""
    sizes = line.settings[0].rows["spec"].iloc[0]["sizes"]
    direction, average = sizes["direction"], sizes["average"]
    formula = {"forward": "forward KL(p ‖ h)", "reverse": "reverse KL(h ‖ p)"}.get(direction, str(direction))
    of = {"batch": "of the batch mean", "example": "of each example"}.get(average, str(average))
    known = {f"direction {direction}", f"average {average}", line.label.partition(", ")[0]}
    rest = [part for part in line.label.split(", ") if part not in known]
    return ", ".join([f"{formula} {of}", *rest])
