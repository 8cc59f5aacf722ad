"""Rows of small images on a page, one row a run: what is shown as black and white, and where each image stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aebench.plots import style
from aebench.plots.panels import folded

Array = NDArray[Any]
Held = Mapping[str, Array]

ROWS = 12
"""Runs in one figure; more make more figures."""
WRAP, CHARACTER, LINE = 24, 0.07, 0.14
"""Characters in a line of a label, and the inches that a character is wide and a line high."""
TITLE, HEADS, UNDER = 0.32, 0.18, 0.15
"""Inches for the title, for words above the columns, and for those under a row."""


@dataclass(frozen=True)
class Line:
    """A row of images: groups of them with wider gaps between."""

    label: str
    groups: Sequence[Array]
    """Each `[k, h, w]`, `[k, 1, h, w]` or `[k, 3, h, w]`, in units of the data, or uint8 that means value/255."""
    under: Sequence[str] = ()
    """Words under each group."""


def is_image(stack: Array | None) -> bool:
    """Whether these are images: `[k, h, w]`, `[k, 1, h, w]` or `[k, 3, h, w]`."""
    return stack is not None and (stack.ndim == 3 or (stack.ndim == 4 and stack.shape[1] in (1, 3)))


def limits(images: Iterable[Held], made: str) -> tuple[float, float]:
    """The values shown as black and white: 0 and 1 where the originals lie there, else their least and greatest.

    What models make may lie anywhere and must not change the scale; it counts where no originals are stored.
    """
    images = list(images)
    shown = [found["x"] for found in images if "x" in found] or [found[made] for found in images]
    low, high = min(float(stack.min()) for stack in shown), max(float(stack.max()) for stack in shown)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def said(limits: tuple[float, float]) -> str:
    """The values shown, for a caption."""
    return f"Shown from {limits[0]:.3g} to {limits[1]:.3g}; values beyond are cut."


def mosaic(
    rows: Sequence[Sequence[Array]], limits: tuple[float, float] = (0.0, 1.0), apart: int = 0
) -> tuple[Array, list[int], list[int]]:
    """Rows of groups of images with white gaps between them; rows stand at least `apart` pixels from each other.

    Gives the page `[height, width, 3]` in [0, 1], values beyond the limits cut; the top of each row; and the left edge
    of each group, with the right edge of the last.
    """
    grid = [[_channels_last(group) for group in row] for row in rows]
    height, width = grid[0][0].shape[1:3]
    gap, (low, high) = max(1, height // 14), limits
    counts = [max(len(row[i]) for row in grid if i < len(row)) for i in range(max(map(len, grid)))]
    lefts = [sum(counts[:i]) * (width + gap) + i * 2 * gap for i in range(len(counts) + 1)]
    tops = [i * (height + max(gap, apart)) for i in range(len(grid))]
    page = np.ones((tops[-1] + height, lefts[-1] - 3 * gap, 3))
    for top, row in zip(tops, grid, strict=True):
        for start, group in zip(lefts, row, strict=False):
            for j, image in enumerate(group):
                left = start + j * (width + gap)
                page[top : top + height, left : left + width] = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    return page, tops, [*lefts[:-1], page.shape[1]]


def _channels_last(stack: Array) -> Array:
    """Floats `[k, h, w, 3]`."""
    values = np.asarray(stack, np.float64) / (255 if stack.dtype == np.uint8 else 1)
    values = values[:, None] if values.ndim == 3 else values
    return np.moveaxis(np.broadcast_to(values, (len(values), 3, *values.shape[2:])), 1, -1)


@style.styled
def draw(title: str, lines: Sequence[Line], limits: tuple[float, float], heads: Sequence[str] = ()) -> Figure:
    """A figure as wide as a page; `heads` stand above the groups."""
    labels = [folded(line.label, WRAP) for line in lines]
    side = CHARACTER * max(len(text) for label in labels for text in label.split("\n")) + 0.15
    rows, under = [line.groups for line in lines], UNDER if any(line.under for line in lines) else 0.0
    scale = (style.WIDTH - side - 0.05) / mosaic(rows, limits)[0].shape[1]  # inches that a pixel is wide
    tall = rows[0][0].shape[-2] * scale
    needed = max(tall + under, LINE * max(label.count("\n") + 1 for label in labels) + 0.03)
    page, tops, lefts = mosaic(rows, limits, ceil((needed - tall) / scale))
    top, high = TITLE + (HEADS if heads else 0.04), page.shape[0] * scale
    figure, [[ax]] = style.panels(1, 1, (style.WIDTH, top + high + under + 0.05))
    figure.set_layout_engine(None)
    whole = figure.get_figheight()
    place = side / style.WIDTH, 1 - (top + high) / whole, page.shape[1] * scale / style.WIDTH, high / whole
    ax.set_position(place)
    ax.imshow(page, interpolation="nearest", aspect="auto", extent=(0, page.shape[1], page.shape[0], 0))
    ax.set_yticks([start + tall / scale / 2 for start in tops], labels)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    figure.suptitle(title, y=1 - 0.08 / whole, va="top")
    middles = [(left + right) / 2 for left, right in pairwise(lefts)]
    for middle, head in zip(middles, heads, strict=False):
        ax.annotate(head, (middle, 0), (0, 3), textcoords="offset points", ha="center", va="bottom", fontsize=8)
    for start, line in zip(tops, lines, strict=True):
        for middle, text in zip(middles, line.under, strict=False):
            at = middle, start + tall / scale
            ax.annotate(text, at, (0, -1.5), textcoords="offset points", ha="center", va="top", fontsize=6.5)
    return figure
