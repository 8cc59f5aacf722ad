"""Names beside points, none on another, on a point or outside the axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SIZE = 7
"""Points of the letters."""
MARKER = 4.0
"""Points around a marker that stay free."""
RINGS = (6.0, 14.0, 24.0, 36.0)
"""Points from a marker to its name, nearest first; from the second on a line joins them."""
ANGLES = np.deg2rad([0, 180, 30, 150, 330, 210, 90, 270, 60, 120, 300, 240])


def place(ax: Axes, points: Floats, texts: Sequence[str], avoid: Floats, bold: int = 0) -> list[int]:
    """Write `texts` beside `points` `[n, 2]`, the first ones first; which of them found no room, by index.

    The first `bold` ones are bold.

    `avoid` `[m, 2]`: what no name may cover besides, such as points without a name and the ends of bars. The layout of
    the figure must be final and drawn once, for only then are the places on the page known.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    scale = figure.dpi / 72
    frame = ax.get_window_extent()
    taken = _boxes(ax.transData.transform(np.concatenate([points, avoid])), MARKER * scale)
    left: list[int] = []
    for i, (text, here) in enumerate(zip(texts, ax.transData.transform(points), strict=True)):
        weight = "bold" if i < bold else "normal"
        size = _size(ax, text, weight)
        found = next((way for way in _ways(here, size, scale) if _fits(way[0], taken, frame)), None)
        if found is None:
            left.append(i)
            continue
        box, far = found
        taken = np.concatenate([taken, box[None]])
        _write(ax, text, points[i], here, box, scale, far, weight)
    return left


def _boxes(centres: Floats, reach: float) -> Floats:
    """Boxes `[n, 4]` as left, bottom, right, top around centres `[n, 2]`."""
    return np.concatenate([centres - reach, centres + reach], axis=1)


def _size(ax: Axes, text: str, weight: str) -> tuple[float, float]:
    """Width and height of a text on the page."""
    trial = ax.text(0, 0, text, fontsize=SIZE, fontweight=weight)
    extent = trial.get_window_extent()
    trial.remove()
    return extent.width, extent.height


def _ways(here: Floats, size: tuple[float, float], scale: float) -> Any:
    """Where a name may stand, best first: its box, and whether a line must join it to its point."""
    width, height = size
    for ring in RINGS:
        for angle in ANGLES:
            x, y = here + ring * scale * np.array([np.cos(angle), np.sin(angle)])
            left = x - width * (1 - np.cos(angle)) / 2
            bottom = y - height * (1 - np.sin(angle)) / 2
            yield np.array([left, bottom, left + width, bottom + height]), ring > RINGS[0]


def _fits(box: Floats, taken: Floats, frame: Any) -> bool:
    if box[0] < frame.x0 or box[1] < frame.y0 or box[2] > frame.x1 or box[3] > frame.y1:
        return False
    apart = (box[0] > taken[:, 2]) | (box[2] < taken[:, 0]) | (box[1] > taken[:, 3]) | (box[3] < taken[:, 1])
    return bool(apart.all())


def _write(ax: Axes, text: str, point: Floats, here: Floats, box: Floats, scale: float, far: bool, weight: str) -> None:
    offset = (float(box[0] - here[0]) / scale, float(box[1] - here[1]) / scale)
    look: dict[str, Any] = {
        "fontsize": SIZE,
        "fontweight": weight,
        "ha": "left",
        "va": "bottom",
        "zorder": 4,
        "annotation_clip": False,
    }
    look["path_effects"] = [patheffects.withStroke(linewidth=2.5, foreground="white")]
    note = ax.annotate(text, (float(point[0]), float(point[1])), xytext=offset, textcoords="offset points", **look)
    note.set_in_layout(False)
    if far:
        middle = np.clip(here, box[:2], box[2:])  # the nearest place of the name
        end = (float(middle[0] - here[0]) / scale, float(middle[1] - here[1]) / scale)
        arrow: dict[str, Any] = {"arrowstyle": "-", "color": "0.5", "lw": 0.5, "shrinkA": 0, "shrinkB": 2.5}
        place_: dict[str, Any] = {"xytext": end, "textcoords": "offset points", "annotation_clip": False}
        ax.annotate("", (float(point[0]), float(point[1])), arrowprops=arrow, zorder=2.2, **place_).set_in_layout(False)
