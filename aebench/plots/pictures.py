"""What a trained autoencoder makes of examples: reconstructions and samples, as images or as points of the plane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pandas import DataFrame

from aebench.groups import datasets, evaluated
from aebench.plots import Arrays, Drawing, file_name, grid, style
from aebench.plots.panels import Panel, in_words, lowest_seeds, picture_rows

Array = NDArray[Any]
Held = Mapping[str, Array]
Stack = tuple[str, Array]
"""A label and its images."""

ROWS = 12
"""Runs in one figure of images; more make more figures."""
EXAMPLES = 10
SAMPLES = 12


def reconstructions(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the originals and, a row a run, what comes back; points in the plane with their way back."""
    for data, rows in datasets(frame):
        held = {run: arrays(run) for _, run in lowest_seeds(rows)}
        name, title, part = f"reconstructions-{file_name(data)}", f"Reconstructions: {data}", evaluated(rows)
        how = f"through the mean code, seed {rows['seed'].min()}"
        images = {run: found for run, found in held.items() if is_image(found.get("x")) and "x_hat" in found}
        for page, panels in _pages(name, picture_rows(rows, images)):
            stacks = [(panel.lines, images[panel.run]["x_hat"][:EXAMPLES]) for panel in panels]
            stacks = [("original", images[panels[0].run]["x"][:EXAMPLES]), *stacks]
            alt = f"A row of originals, and below it rows of reconstructions: {in_words(panels)}."
            caption, limits = f"{part} examples of {data} and their reconstructions {how}.", _limits(images, "x_hat")
            yield Drawing(page, f"{caption} {_said(limits)}", alt, _mosaic(title, stacks, limits), data)
        points = {run: found for run, found in held.items() if {"points", "points_hat"} <= set(found)}
        for page, panels in grid.pages(name, picture_rows(rows, points)):
            caption = f"{part} points of {data} (grey) joined to their reconstructions (blue) {how}; units of the data."
            yield _planes(page, title, caption, panels, points, "points_hat", data)


def samples(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set decoded draws from the prior, a row or a panel a run; runs without a prior are left out."""
    for data, rows in datasets(frame):
        held = {run: arrays(run) for _, run in lowest_seeds(rows)}
        name, title, part = f"samples-{file_name(data)}", f"Samples: {data}", evaluated(rows).lower()
        how = f"Decoded means of draws z ~ N(0, I), seed {rows['seed'].min()}"
        images = {run: found for run, found in held.items() if is_image(found.get("samples"))}
        for page, panels in _pages(name, picture_rows(rows, images)):
            stacks = [(panel.lines, images[panel.run]["samples"][:SAMPLES]) for panel in panels]
            alt, limits = f"Rows of sampled images: {in_words(panels)}.", _limits(images, "samples")
            yield Drawing(page, f"{how}, trained on {data}. {_said(limits)}", alt, _mosaic(title, stacks, limits), data)
        points = {run: found for run, found in held.items() if found.get("samples", np.empty(0)).shape[1:] == (2,)}
        for page, panels in grid.pages(name, picture_rows(rows, points)):
            caption = f"{how} (blue), over {part} points of {data} (grey); units of the data."
            yield _planes(page, title, caption, panels, points, "samples", data)


def is_image(stack: Array | None) -> bool:
    """Whether these are images: `[k, h, w]`, `[k, 1, h, w]` or `[k, 3, h, w]`."""
    return stack is not None and (stack.ndim == 3 or (stack.ndim == 4 and stack.shape[1] in (1, 3)))


def _limits(images: Mapping[str, Held], made: str) -> tuple[float, float]:
    """The values shown as black and white: 0 and 1 where the originals lie there, else their least and greatest.

    What models make may lie anywhere and must not change the scale; it counts where no originals are stored.
    """
    shown = [found["x"] for found in images.values() if "x" in found] or [found[made] for found in images.values()]
    low, high = min(float(stack.min()) for stack in shown), max(float(stack.max()) for stack in shown)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _said(limits: tuple[float, float]) -> str:
    return f"Shown from {limits[0]:.3g} to {limits[1]:.3g}; values beyond are cut."


def mosaic(stacks: Sequence[Array], limits: tuple[float, float] = (0.0, 1.0)) -> Array:
    """Rows of images with white gaps between them: `[height, width, 3]` in [0, 1]; values beyond the limits are cut."""
    rows = [_channels_last(np.asarray(stack, np.float64)) for stack in stacks]
    low, high = limits
    count, (height, width) = max(map(len, rows)), rows[0].shape[1:3]
    gap = max(1, height // 14)
    page = np.ones((len(rows) * (height + gap) - gap, count * (width + gap) - gap, 3))
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = i * (height + gap), j * (width + gap)
            page[top : top + height, left : left + width] = np.clip((image - low) / max(high - low, 1e-12), 0, 1)
    return page


def _channels_last(stack: Array) -> Array:
    stack = stack[:, None] if stack.ndim == 3 else stack
    return np.moveaxis(np.broadcast_to(stack, (len(stack), 3, *stack.shape[2:])), 1, -1)


def _pages(name: str, rows: list[list[Panel]]) -> Iterator[tuple[str, list[Panel]]]:
    """Runs in pages of equal length, each a row of images there."""
    panels = [panel for row in rows for panel in row]
    count = -(-len(panels) // ROWS)
    for page in range(count):
        first, last = (len(panels) * part // count for part in (page, page + 1))
        yield f"{name}-{page + 1}" if count > 1 else name, panels[first:last]


@style.styled
def _mosaic(title: str, stacks: list[Stack], limits: tuple[float, float]) -> Figure:
    page = mosaic([stack for _, stack in stacks], limits)
    labels = [style.wrap(label, 24) for label, _ in stacks]
    side = max(len(line) for label in labels for line in label.split("\n")) * 0.075 + 0.2
    width = style.WIDTH - side
    figure, [[ax]] = style.panels(1, 1, (style.WIDTH, 0.35 + width * page.shape[0] / page.shape[1]))
    ax.imshow(page, interpolation="nearest", aspect="equal")
    ax.set_anchor("E")
    pitch = (page.shape[0] + 1) / len(stacks)
    ax.set_yticks([pitch * (i + 0.5) - 1 for i in range(len(labels))], labels)
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    figure.suptitle(title)
    return figure


@style.styled
def _planes(
    name: str,
    title: str,
    caption: str,
    rows: list[list[Panel]],
    held: Mapping[str, Held],
    made: str,
    data: str,
) -> Drawing:
    shown = [panel for row in rows for panel in row]
    middle, reach = _window(list(held.values()), made)
    draw = _draw_samples if made == "samples" else _draw_returns

    def paint(ax: Axes, run: str) -> None:
        draw(ax, held[run])
        ax.set_xlim(middle[0] - reach, middle[0] + reach)
        ax.set_ylim(middle[1] - reach, middle[1] + reach)

    figure = grid.draw(rows, paint)
    figure.suptitle(title)
    points = np.concatenate([held[panel.run][made] for panel in shown])
    if outside := int((np.abs(points - middle).max(1) > reach).sum()):
        caption += f" Blue points far outside are not shown: {outside} of {len(points)}."
    return Drawing(name, caption, f"Panels of points in the plane: {in_words(shown)}.", figure, data)


def _window(held: list[Held], made: str) -> tuple[Array, float]:
    """The middle of square axes and half their width: all originals, and what models make up to twice as far out."""
    given = [np.asarray(found["points"], np.float64) for found in held if "points" in found]
    points = np.concatenate([np.asarray(found[made], np.float64) for found in held])
    around = np.concatenate(given or [points])
    middle = (around.min(0) + around.max(0)) / 2
    reach = grid.usual(np.abs(points - middle).max(1))
    if given:  # a wild reconstruction must not shrink the others
        least = float(np.abs(around - middle).max())
        reach = min(max(reach, least), 2 * least)
    return middle, 1.1 * reach or 1.0


def _draw_returns(ax: Axes, held: Held) -> None:
    x, x_hat = np.asarray(held["points"]), np.asarray(held["points_hat"])
    ways = np.stack([x, x_hat], 1)
    ax.add_collection(LineCollection(list(ways), colors="0.8", linewidths=0.4, rasterized=True))
    ax.scatter(*x.T, s=3, c="0.6", lw=0, rasterized=True)
    ax.scatter(*x_hat.T, s=3, c=style.PALETTE[0], lw=0, rasterized=True, zorder=3)


def _draw_samples(ax: Axes, held: Held) -> None:
    if "points" in held:
        ax.scatter(*np.asarray(held["points"]).T, s=3, c="0.8", lw=0, rasterized=True)
    ax.scatter(*np.asarray(held["samples"]).T, s=10, c=style.PALETTE[0], lw=0, zorder=3)
