"""Latent traversals: one code decoded while one of its units moves, the others held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from pandas import DataFrame

from aebench.groups import datasets, evaluated
from aebench.plots import Arrays, Drawing, file_name, mosaic
from aebench.plots.mosaic import Held, Line, is_image
from aebench.plots.panels import Page, Panel, in_words, lowest_seeds, pages, seed_of
from aebench.plots.pictures import listed

NEEDED = {"x", "x_hat", "traversals", "traversed", "traversed_range"}
PLACES = ("most active unit", "second", "third", "fourth")


def traversals(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set a row a run: the first image, what comes back, and its code with one unit moved at a time."""
    for data, rows in datasets(frame):
        images = {run: held for run, held in lowest_seeds(rows, arrays).items() if set(held) >= NEEDED}
        images = {run: held for run, held in images.items() if is_image(held["x"])}
        for page in pages(f"traversals-{file_name(data)}", mosaic.ROWS, listed(rows, images)):
            yield _page(data, rows, page, images)


def _page(data: str, rows: DataFrame, page: Page[Panel], images: Mapping[str, Held]) -> Drawing:
    shown = [images[panel.run] for panel in page.items]
    lines = [Line(panel.lines, _groups(held), _under(held)) for panel, held in zip(page.items, shown, strict=True)]
    limits = mosaic.limits(images.values(), "x_hat")
    heads = ["x, x̂", *PLACES[: max(len(held["traversed"]) for held in shown)]]
    figure = mosaic.draw(f"Traversals: {data}{page.of}", lines, limits, heads)
    steps = shown[0]["traversals"].shape[1]
    random = ["kl_per_dimension" in held for held in shown]
    ways = [
        "Where the code is random these are the units of largest KL (nats in brackets), and the values are in standard "
        "deviations of the prior." if any(random) else "",
        "Where it is not these are the units of largest variance, from the least to the greatest value of the test "
        "codes that are kept, in units of the code." if not all(random) else "",
    ]  # fmt: skip
    caption = (
        f"Left: the first {evaluated(rows).lower()} image of {data} and its reconstruction. Beside it its code decoded "
        f"with one unit moved, the others held: {steps} even steps over the values under the images. "
        f"{' '.join(filter(None, ways))} {seed_of(rows, images).capitalize()}. {mosaic.said(limits)}{page.said}"
    )
    said = in_words(page.items, lambda panel: f" ({'; '.join(_under(images[panel.run])[1:])})")
    return Drawing(page.name, caption, f"Rows of decoded images, for each run and unit moved: {said}.", figure, data)


def _groups(held: Held) -> list[mosaic.Array]:
    pair = np.concatenate([held["x"][:1], held["x_hat"][:1]])
    return [pair, *held["traversals"]]


def _under(held: Held) -> list[str]:
    """Under each group of images the unit, its KL where the code is random, and the values it takes."""
    kl, words = held.get("kl_per_dimension"), [""]
    for unit, (low, high) in zip(held["traversed"].tolist(), held["traversed_range"].tolist(), strict=True):
        nats = "" if kl is None else f" ({kl[unit]:.2g} nats)"
        words.append(f"unit {unit}{nats}: {low:.2g} to {high:.2g}".replace("-", "−"))
    return words
