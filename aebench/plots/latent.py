"""The latent picture: where the codes lie, and how far each posterior reaches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from pandas import DataFrame

from aebench.groups import datasets, evaluated
from aebench.plots import Arrays, Drawing, file_name, grid, style
from aebench.plots.panels import Page, Panel, grids, in_words, lowest_seeds, pages, picture_rows, seed_of

BUBBLES = 60
"""Posteriors drawn in a panel, of the first codes; all would hide one another."""
LEGEND, COLUMNS = 24, 6
"""Classes that a legend can name, and those in one line of it."""
MARGIN = 1.12
"""Axes are wider than what they show, so that no marker touches their edge."""
ROOM, SMALL = 2.0, 1 / 3
"""A panel whose codes spread this many times wider than the variational ones has axes of its own; so has one that fills
less than this share of the others' axes, where its units are those of no prior."""


class Cloud(NamedTuple):
    """The codes of one run in its two most active dimensions."""

    mu: NDArray[np.float64]
    """`[m, 2]`."""
    sd: NDArray[np.float64] | None
    """`[m, 2]`, the posterior's σ; None where the code is not random."""
    y: NDArray[np.int64]
    """`[m]`, the class that gives the colour; zeros where there is none."""

    @property
    def reach(self) -> float:
        """Half the width of axes that show all but wild codes, off their edges, and the unit circle."""
        extents = [] if self.sd is None else [(np.abs(self.mu) + self.sd)[:BUBBLES].max(1)]
        return max(MARGIN, self.extent, *(MARGIN * grid.usual(extent) for extent in extents))

    @property
    def extent(self) -> float:
        """Half the width of axes that show all but wild codes, off their edges."""
        return MARGIN * grid.usual(np.abs(self.mu).max(1))

    def axes(self, common: float) -> float:
        """Half the width of its axes, where panels share axes to ± `common`."""
        narrow = self.sd is None and 0 < self.extent < SMALL * common
        return self.extent if narrow else max(common, self.reach)


def latent(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set a panel a run (the lowest seed of each setting): codes, posteriors and the unit circle."""
    for data, rows in datasets(frame):
        held = lowest_seeds(rows, arrays)
        clouds = {run: cloud_of(found) for run, found in held.items() if found.get("codes") is not None}
        for page in pages(f"latent-{file_name(data)}", grid.ROWS, *grids(picture_rows(rows, clouds))):
            yield _clouds(data, page, clouds, f"{evaluated(rows)} codes on {data}, {seed_of(rows, clouds)}")


def cloud_of(held: Any) -> Cloud:
    """The stored codes of a run in the two latents of largest variance; one latent has an empty second axis."""
    codes = np.asarray(held["codes"], np.float64)
    sd = held.get("codes_sd")
    if codes.shape[1] == 1:
        codes = np.concatenate([codes, np.zeros_like(codes)], 1)
        sd = None if sd is None else np.concatenate([sd, np.full_like(sd, 1e-3)], 1)
    top = np.argsort(-codes.var(0), kind="stable")[:2]
    labels = held.get("labels")
    y = np.zeros(len(codes), np.int64) if labels is None else np.asarray(labels, np.int64)
    return Cloud(codes[:, top], None if sd is None else np.asarray(sd, np.float64)[:, top], y)


@style.styled
def _clouds(data: str, page: Page[list[Panel]], clouds: dict[str, Cloud], of: str) -> Drawing:
    common = _common_reach(list(clouds.values()))
    shown = [panel for row in page.items for panel in row]
    classes = np.unique(np.concatenate([cloud.y for cloud in clouds.values()])).tolist()
    looks = style.class_looks(classes)
    dots = class_handles(looks)
    room = 0.15 + (0.2 * style.legend_lines(len(dots), COLUMNS) + 0.1 if dots else 0)
    figure = grid.draw(page.items, lambda ax, run: paint(ax, clouds[run], common, looks), room=room)
    drawn = [clouds[panel.run] for panel in shown]
    measure, words = units(drawn)
    across = f"most active latent across, second up ({measure})"
    across = across if len(across) < 13 * figure.get_figwidth() else across.replace(" (", "\n(")
    figure.suptitle(f"Latent space: {data}{page.of}\n{across}", fontsize=9)
    style.legend_below(figure, dots, COLUMNS)
    caption = (
        f"{of}, in the two latents of largest variance{', coloured by class' if len(classes) > 1 else ''}. {words}"
    )
    if any(cloud.axes(common) != common for cloud in drawn):
        caption += " All panels have the same axes, but those whose title says otherwise."
    if outside := sum(int((np.abs(cloud.mu).max(1) > cloud.axes(common)).sum()) for cloud in drawn):
        caption += f" Codes far outside are not shown: {outside} of {sum(len(cloud.mu) for cloud in drawn)}."
    alt = f"Scatter of codes: {in_words(shown, lambda p: spread(clouds[p.run]))}."
    return Drawing(page.name, caption + page.said, alt, figure, data)


def class_handles(looks: dict[int, tuple[Any, str]]) -> list[Line2D]:
    """An entry of a legend for each class; none where there is one class, or more than a legend can name."""
    dots = [Line2D([], [], ls="", marker=m, color=c, label=f"class {k}") for k, (c, m) in looks.items()]
    return dots if 1 < len(dots) <= LEGEND else []


def units(clouds: list[Cloud]) -> tuple[str, str]:
    """The units of the axes for a title, and what the circle and the ellipses are for a caption.

    Without a posterior there is no prior, and the units are those that training happened to find.
    """
    random = [cloud.sd is not None for cloud in clouds]
    if not any(random):
        return "code units", "Dotted: the unit circle, for scale alone; these codes have no posterior."
    ellipses = f"Ellipses: posteriors of the first {BUBBLES} codes, semi-axes σ."
    if all(random):
        return "prior standard deviations", f"Dotted: the unit circle, one standard deviation of the prior. {ellipses}"
    circle = "Dotted: the unit circle, one standard deviation of the prior where ellipses are drawn"
    where = "code units; where ellipses are drawn, prior standard deviations"
    return where, f"{circle}, elsewhere for scale alone. {ellipses}"


def _common_reach(clouds: list[Cloud]) -> float:
    """Half the width of the axes that panels share: of the widest cloud that is not far wider than posteriors are."""
    reaches = [cloud.reach for cloud in clouds]
    random = [cloud.reach for cloud in clouds if cloud.sd is not None]
    limit = ROOM * (max(random) if random else float(np.median(reaches)))
    return max(reach for reach in reaches if reach <= limit)


def paint(ax: Axes, cloud: Cloud, common: float, looks: dict[int, tuple[Any, str]], largest: float = 18) -> None:
    """Codes, posteriors and the unit circle, on axes to ± `common` or, where these do not suit a cloud, on its own.

    `largest`: the area of a marker where codes are few, square points.
    """
    width = ax.get_window_extent().width / style.DPI
    area = float(np.clip(2000 * width / len(cloud.mu), 3.5, largest))  # few can be large, many would hide
    for label, (colour, marker) in looks.items():
        points = cloud.mu[cloud.y == label]
        size = area * style.MARKER_AREAS.get(marker, 1)
        ax.scatter(*points.T, s=size, color=colour, marker=marker, lw=0, alpha=0.8, rasterized=True, zorder=2)
    if cloud.sd is not None:
        width, height = 2 * cloud.sd[:BUBBLES].T
        edges = [looks[label][0] for label in cloud.y[:BUBBLES].tolist()]
        look: dict[str, Any] = {"facecolors": "none", "edgecolors": edges, "linewidths": 0.6, "alpha": 0.8}
        look |= {"offsets": cloud.mu[:BUBBLES], "offset_transform": ax.transData, "zorder": 3, "rasterized": True}
        ax.add_collection(EllipseCollection(width, height, np.zeros(len(width)), units="xy", **look))
    ax.add_patch(Circle((0, 0), 1, fill=False, ls=":", lw=1, ec="black", zorder=4))
    reach = cloud.axes(common)
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    if reach != common:
        ax.set_title(f"{ax.get_title()}\n(axes to ±{reach:.2g})", fontsize=8)
        ax.tick_params(labelleft=False, labelbottom=False)


def spread(cloud: Cloud) -> str:
    """What a reader sees of a cloud, in words."""
    width = "" if cloud.sd is None else f", median σ {np.median(cloud.sd):.2g}"
    return f" (spread {cloud.mu[:, 0].std():.2g}{width})"
