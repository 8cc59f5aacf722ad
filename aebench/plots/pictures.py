"""What a trained autoencoder makes of examples: reconstructions and samples, as images or as points of the plane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray
from pandas import DataFrame

from aebench.groups import datasets, evaluated
from aebench.plots import Arrays, Drawing, file_name, grid, mosaic, style
from aebench.plots.mosaic import Held, is_image
from aebench.plots.panels import Page, Panel, grids, in_words, lowest_seeds, pages, picture_rows, seed_of

Array = NDArray[Any]

EXAMPLES = 10
SAMPLES = 12


def reconstructions(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the originals and, a row a run, what comes back; points in the plane with their way back."""
    for data, rows in datasets(frame):
        held = lowest_seeds(rows, arrays)
        name, title, part = f"reconstructions-{file_name(data)}", f"Reconstructions: {data}", evaluated(rows)
        images = {run: found for run, found in held.items() if is_image(found.get("x")) and "x_hat" in found}
        for page in pages(name, mosaic.ROWS, listed(rows, images)):
            how, limits = f"through the mean code, {seed_of(rows, images)}", mosaic.limits(images.values(), "x_hat")
            lines = [mosaic.Line(panel.lines, [images[panel.run]["x_hat"][:EXAMPLES]]) for panel in page.items]
            lines = [mosaic.Line("original", [images[page.items[0].run]["x"][:EXAMPLES]]), *lines]
            alt = f"A row of originals, and below it rows of reconstructions: {in_words(page.items)}."
            caption = f"{part} examples of {data} and their reconstructions {how}. {mosaic.said(limits)}{page.said}"
            yield Drawing(page.name, caption, alt, mosaic.draw(f"{title}{page.of}", lines, limits), data)
        points = {run: found for run, found in held.items() if {"points", "points_hat"} <= set(found)}
        for page in pages(name, grid.ROWS, *grids(picture_rows(rows, points))):
            how = f"through the mean code, {seed_of(rows, points)}"
            caption = f"{part} points of {data} (grey) joined to their reconstructions (blue) {how}; units of the data."
            yield _planes(page, title, caption, points, "points_hat", data)


def samples(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set decoded draws from the prior, a row or a panel a run; runs without a prior are left out."""
    for data, rows in datasets(frame):
        held = lowest_seeds(rows, arrays)
        name, title, part = f"samples-{file_name(data)}", f"Samples: {data}", evaluated(rows).lower()
        images = {run: found for run, found in held.items() if is_image(found.get("samples"))}
        for page in pages(name, mosaic.ROWS, listed(rows, images)):
            how = f"Decoded means of draws z ~ N(0, I), the same for all codes of one size, {seed_of(rows, images)}"
            lines = [mosaic.Line(panel.lines, [images[panel.run]["samples"][:SAMPLES]]) for panel in page.items]
            alt, limits = f"Rows of sampled images: {in_words(page.items)}.", mosaic.limits(images.values(), "samples")
            caption = f"{how}, trained on {data}. {mosaic.said(limits)}{page.said}"
            yield Drawing(page.name, caption, alt, mosaic.draw(f"{title}{page.of}", lines, limits), data)
        points = {run: found for run, found in held.items() if found.get("samples", np.empty(0)).shape[1:] == (2,)}
        for page in pages(name, grid.ROWS, *grids(picture_rows(rows, points))):
            how = f"Decoded means of draws z ~ N(0, I), {seed_of(rows, points)}"
            caption = f"{how} (blue), over {part} points of {data} (grey); units of the data."
            yield _planes(page, title, caption, points, "samples", data)


def listed(rows: DataFrame, images: Mapping[str, Held]) -> list[Panel]:
    """The runs that have images, in the order in which they stand below each other."""
    return [panel for row in picture_rows(rows, images) for panel in row]


@style.styled
def _planes(
    page: Page[list[Panel]], title: str, caption: str, held: Mapping[str, Held], made: str, data: str
) -> Drawing:
    shown = [panel for row in page.items for panel in row]
    middle, reach = _window(list(held.values()), made)
    draw = _draw_samples if made == "samples" else _draw_returns

    def paint(ax: Axes, run: str) -> None:
        draw(ax, held[run])
        ax.set_xlim(middle[0] - reach, middle[0] + reach)
        ax.set_ylim(middle[1] - reach, middle[1] + reach)

    figure = grid.draw(page.items, paint)
    figure.suptitle(f"{title}{page.of}")
    points = np.concatenate([held[panel.run][made] for panel in shown])
    if outside := int((np.abs(points - middle).max(1) > reach).sum()):
        caption += f" Blue points far outside are not shown: {outside} of {len(points)}."
    return Drawing(page.name, caption + page.said, f"Panels of points in the plane: {in_words(shown)}.", figure, data)


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
