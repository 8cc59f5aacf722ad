"""Denoising as a picture: test images with more and more noise, and what each autoencoder makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from pandas import DataFrame

from aebench.groups import datasets, evaluated
from aebench.plots import Arrays, Drawing, file_name, mosaic
from aebench.plots.mosaic import Held, Line, is_image
from aebench.plots.panels import Page, Panel, in_words, lowest_seeds, pages, seed_of
from aebench.plots.pictures import listed

NEEDED = {"x", "x_hat", "noise", "denoised", "sigmas"}
OTHER = "other noise"


def denoised(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set, columns by σ: noisy images in the first row, and a row a run with what comes back of them.

    σ = 0 is the originals. Runs that stored other σ have pages of their own.
    """
    for data, rows in datasets(frame):
        images = {run: held for run, held in lowest_seeds(rows, arrays).items() if set(held) >= NEEDED}
        images = {run: held for run, held in images.items() if is_image(held["x"])}
        levels = [tuple(held["sigmas"].tolist()) for held in images.values()]
        for i, sigmas in enumerate(dict.fromkeys(levels)):
            own = {run: held for (run, held), level in zip(images.items(), levels, strict=True) if level == sigmas}
            name = f"denoised-{file_name(data)}{f'-levels-{i + 1}' if i else ''}"
            for page in pages(name, mosaic.ROWS, listed(rows, own)):
                yield _page(data, rows, page, own, sigmas)


def _page(
    data: str, rows: DataFrame, page: Page[Panel], images: Mapping[str, Held], sigmas: tuple[float, ...]
) -> Drawing:
    first = images[page.items[0].run]
    lines = [
        Line("with noise", noisy(first, sigmas)),
        *(_line(panel, images[panel.run], first) for panel in page.items),
    ]
    limits = mosaic.limits(images.values(), "x_hat")
    heads = ["original (σ = 0)", *(f"σ = {sigma:g}" for sigma in sigmas)]
    figure = mosaic.draw(f"Denoised: {data}{page.of}", lines, limits, heads)
    caption = (
        f"First row: {evaluated(rows).lower()} images of {data} and the same with Gaussian noise of standard deviation "
        f"σ (units of the data), one draw for all σ and all runs. Below: what each makes of them through the mean "
        f"code, {seed_of(rows, images)}. {mosaic.said(limits)}"
    )
    if any(OTHER in line.label for line in lines):
        caption += f" Rows marked “{OTHER}” got another draw: their seed or device differs from that of the first row."
    alt = f"A row of images at {', '.join(heads)}, and below it rows of denoised images: {in_words(page.items)}."
    return Drawing(page.name, caption + page.said, alt, figure, data)


def noisy(held: Held, sigmas: tuple[float, ...]) -> list[mosaic.Array]:
    """x, and x + σε for each σ: `[images, *event]` each."""
    noise = np.asarray(held["noise"], np.float64)
    x = np.asarray(held["x"][: len(noise)], np.float64)
    return [x, *(x + sigma * noise for sigma in sigmas)]


def _line(panel: Panel, held: Held, first: Held) -> Line:
    """What comes back of x, and of x with noise of each σ."""
    label = panel.lines if np.array_equal(held["noise"], first["noise"]) else f"{panel.lines}\n{OTHER}"
    return Line(label, [held["x_hat"][: len(held["noise"])], *np.moveaxis(held["denoised"], 1, 0)])
