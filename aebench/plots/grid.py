"""Grids of square panels, one a run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aebench.plots import style
from aebench.plots.panels import Panel, folded

ROWS = 6
"""Rows of panels in one figure; more make more figures."""


def draw(rows: list[list[Panel]], paint: Callable[[Axes, str], None], *, room: float = 0) -> Figure:
    """A figure of square panels, `paint`ed by run; `room` inches are left at the bottom.

    Only outer panels have numbers at their axes. Call it within `style.styled`.
    """
    columns = max(map(len, rows))
    side = max(style.WIDTH / max(columns, 4), 1.15)
    characters = int(side * 14)
    lines = sum(max(folded(panel.title, characters).count("\n") for panel in panels) for panels in rows)
    size = (max(columns * side + 0.3, 5), 0.6 + room + len(rows) * side + 0.25 * (len(rows) - 1) + 0.15 * lines)
    figure, grid = style.panels(len(rows), columns, size, square=True)
    for places, panels in zip(grid, rows, strict=True):
        for ax in places[len(panels) :]:
            ax.set_axis_off()
        for i, (ax, panel) in enumerate(zip(places, panels, strict=False)):
            ax.set_title(folded(panel.title, characters), fontsize=8)
            ax.set_box_aspect(1)
            if panel.row and i == 0:
                ax.set_ylabel(folded(panel.row, characters))
            ax.tick_params(labelleft=i == 0, labelbottom=_is_lowest(rows, panels, i))
            paint(ax, panel.run)
    return figure


def usual(distances: NDArray[np.float64]) -> float:
    """The largest distance, so that axes show all points; where one in 200, or one alone, lies far out, the next."""
    near = float(np.quantile(distances, 0.995, method="lower"))
    return float(distances.max()) if distances.max() <= 1.5 * near else near


def _is_lowest(rows: list[list[Panel]], panels: list[Panel], column: int) -> bool:
    below = rows[[row is panels for row in rows].index(True) + 1 :]
    return all(len(row) <= column for row in below)
