"""The latent picture: where the codes lie, and how far each posterior reaches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from numpy.typing import NDArray
from pandas import DataFrame

from aebench.plots import Arrays, Drawing, file_name, grid, style
from aebench.plots.groups import Panel, datasets, evaluated, in_words, lowest_seeds, picture_rows

BUBBLES = 60
"""Posteriors drawn in a panel, of the first codes; all would hide one another."""
LEGEND = 24
"""Classes that a legend can name."""
ROOM = 2.0
"""A panel whose codes spread this many times wider than the variational ones has axes of its own."""


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
        """Half the width of axes that show nearly all of it, the unit circle included."""
        return max(1.15, 1.05 * float(np.quantile(np.abs(self.mu).max(1), 0.995)), 1.1 * self._bubbles())

    def _bubbles(self) -> float:
        return 0 if self.sd is None else float(np.quantile((np.abs(self.mu) + self.sd)[:BUBBLES].max(1), 0.98))


def latent(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set a panel a run (the lowest seed of each setting): codes, posteriors and the unit circle."""
    for data, rows in datasets(frame):
        held = ((run, arrays(run)) for _, run in lowest_seeds(rows))
        clouds = {run: _cloud(found) for run, found in held if found.get("codes") is not None}
        found = picture_rows(rows, clouds)
        for name, shown in grid.pages(f"latent-{file_name(data)}", found):
            of = f"{evaluated(rows)} codes on {data}, seed {rows['seed'].min()}"
            yield _clouds(name, data, shown, clouds, of)


def _cloud(held: Any) -> Cloud:
    codes = np.asarray(held["codes"], np.float64)
    sd = held.get("codes_sd")
    if codes.shape[1] == 1:  # one latent: the second axis is empty
        codes = np.concatenate([codes, np.zeros_like(codes)], 1)
        sd = None if sd is None else np.concatenate([sd, np.full_like(sd, 1e-3)], 1)
    top = np.argsort(-codes.var(0), kind="stable")[:2]
    labels = held.get("labels")
    y = np.zeros(len(codes), np.int64) if labels is None else np.asarray(labels, np.int64)
    return Cloud(codes[:, top], None if sd is None else np.asarray(sd, np.float64)[:, top], y)


@style.styled
def _clouds(name: str, data: str, rows: list[list[Panel]], clouds: dict[str, Cloud], of: str) -> Drawing:
    common = _common_reach(list(clouds.values()))
    shown = [panel for row in rows for panel in row]
    classes = np.unique(np.concatenate([cloud.y for cloud in clouds.values()])).tolist()
    looks = dict(zip(classes, zip(style.label_colours(len(classes)), cycle(style.MARKERS)), strict=False))
    figure = grid.draw(rows, lambda ax, run: _paint(ax, clouds[run], common, looks), room=0.6)
    figure.suptitle(
        f"Latent space: {data}\nmost active latent across, second up (prior standard deviations)", fontsize=9
    )
    if 1 < len(classes) <= LEGEND:
        dots = [Line2D([], [], ls="", marker=m, color=c, label=f"class {k}") for k, (c, m) in looks.items()]
        style.legend_below(figure, dots, 6)
    caption = (
        f"{of}, in the two latents of largest variance{', coloured by class' if len(classes) > 1 else ''}. Dotted: the "
        f"unit circle. Ellipses: posteriors of the first {BUBBLES} codes, semi-axes σ. All panels have the same axes, "
        "but those whose title says otherwise; the outermost codes may lie outside."
    )
    return Drawing(name, caption, f"Scatter of codes: {in_words(shown, lambda p: _spread(clouds[p.run]))}.", figure)


def _common_reach(clouds: list[Cloud]) -> float:
    """Half the width of the axes that panels share: of the widest cloud that is not far wider than posteriors are."""
    reaches = [cloud.reach for cloud in clouds]
    random = [cloud.reach for cloud in clouds if cloud.sd is not None]
    limit = ROOM * (max(random) if random else float(np.median(reaches)))
    return max(reach for reach in reaches if reach <= limit)


def _paint(ax: Axes, cloud: Cloud, common: float, looks: dict[int, tuple[Any, str]]) -> None:
    for label, (colour, marker) in looks.items():
        points = cloud.mu[cloud.y == label]
        ax.scatter(*points.T, s=5, color=colour, marker=marker, lw=0, alpha=0.7, rasterized=True, zorder=2)
    if cloud.sd is not None:
        width, height = 2 * cloud.sd[:BUBBLES].T
        edges = [looks[label][0] for label in cloud.y[:BUBBLES].tolist()]
        look: dict[str, Any] = {"facecolors": "none", "edgecolors": edges, "linewidths": 0.6, "alpha": 0.8}
        look |= {"offsets": cloud.mu[:BUBBLES], "offset_transform": ax.transData, "zorder": 3, "rasterized": True}
        ax.add_collection(EllipseCollection(width, height, np.zeros(len(width)), units="xy", **look))
    ax.add_patch(Circle((0, 0), 1, fill=False, ls=":", lw=1, ec="black", zorder=4))
    own = cloud.reach > common
    reach = cloud.reach if own else common
    ax.set_xlim(-reach, reach)
    ax.set_ylim(-reach, reach)
    if own:
        ax.set_title(f"{ax.get_title()}\n(axes to ±{reach:.2g})", fontsize=8)
        ax.tick_params(labelleft=False, labelbottom=False)


def _spread(cloud: Cloud) -> str:
    """What a reader sees of a cloud, in words."""
    width = "" if cloud.sd is None else f", median σ {np.median(cloud.sd):.2g}"
    return f" (spread {cloud.mu[:, 0].std():.2g}{width})"
