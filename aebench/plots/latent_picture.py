"""The notes' latent picture: the codes of autoencoders of two latents side by side, on the same axes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from pandas import DataFrame

from aebench.groups import Setting, datasets, evaluated, intervals, seeds, series
from aebench.plots import Arrays, Drawing, file_name, style
from aebench.plots.latent import BUBBLES, COLUMNS, MARGIN, Cloud, class_handles, cloud_of, paint, spread, units
from aebench.plots.panels import Page, pages, seed_of

ACROSS, PANELS = 3, 12
"""Panels in a row, and in a figure."""
MARKER = 8
"""Area of a marker, square points: posteriors show between small ones."""
LATENT = 2
"""Units of the codes that are drawn: wider ones would be shadows of themselves."""


def latent_picture(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set a panel for each setting of two latents, of its lowest seed."""
    for data, rows in datasets(frame):
        flat = rows[[spec["sizes"].get("latent") == LATENT for spec in rows["spec"]]]
        settings = [setting for line in series(flat) for setting in line.settings]
        held = {setting.first: arrays(setting.first) for setting in settings}
        clouds = {run: cloud_of(found) for run, found in held.items() if found.get("codes") is not None}
        shown = [setting for setting in settings if setting.first in clouds]
        for page in pages(f"latent_picture-{file_name(data)}", PANELS, shown):
            yield _picture(data, flat, page, clouds)


@style.styled
def _picture(data: str, rows: DataFrame, page: Page[Setting], clouds: dict[str, Cloud]) -> Drawing:
    shown = page.items
    classes = np.unique(np.concatenate([cloud.y for cloud in clouds.values()])).tolist()
    looks = style.class_looks(classes)
    dots = class_handles(looks)
    figure = _panels(shown, clouds, 0.15 + 0.2 * style.legend_lines(len(dots), COLUMNS))
    middle, reach = _window(list(clouds.values()))
    widest = max(cloud.reach for cloud in clouds.values())
    for ax, setting in zip(figure.axes, shown, strict=False):
        paint(ax, clouds[setting.first], widest, looks, MARKER)
        ax.set_xlim(middle[0] - reach, middle[0] + reach)
        ax.set_ylim(middle[1] - reach, middle[1] + reach)
        ax.set_title(_title(setting))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(6, integer=True))
    measure, words = units([clouds[setting.first] for setting in shown])
    figure.suptitle(f"Codes of two latents on the same axes: {data}{page.of}\n({measure})", fontsize=9)
    style.legend_below(figure, dots, COLUMNS)
    how = f"{seed_of(rows, clouds)}{', coloured by class' if dots else ''}"
    caption = f"{evaluated(rows)} codes on {data}, {how}. {words}"
    if "sse" in rows:
        caption += f" SSE over panels: squared units of the data per example, {seeds(rows)}."
    drawn = [clouds[setting.first] for setting in shown]
    if outside := sum(int((np.abs(cloud.mu - middle).max(1) > reach).sum()) for cloud in drawn):
        caption += f" Codes far outside are not shown: {outside} of {sum(len(cloud.mu) for cloud in drawn)}."
    said = "; ".join(f"{setting.label}{spread(clouds[setting.first])}" for setting in shown)
    return Drawing(page.name, caption + page.said, f"Scatters of codes on the same axes: {said}.", figure, data)


def _window(clouds: list[Cloud]) -> tuple[NDArray[np.float64], float]:
    """The middle of square axes and half their width: all codes but wild ones, posteriors, and the unit circle."""
    near = [cloud.mu[np.abs(cloud.mu).max(1) <= cloud.reach] for cloud in clouds]
    ends = [(cloud.mu + sign * cloud.sd)[:BUBBLES] for cloud in clouds if cloud.sd is not None for sign in (-1, 1)]
    points = np.concatenate([*near, *ends, [[-1, -1], [1, 1]]])
    low, high = points.min(0), points.max(0)
    return (low + high) / 2, MARGIN * float((high - low).max()) / 2


def _panels(shown: list[Setting], clouds: dict[str, Cloud], room: float) -> Figure:
    rows, columns = -(-len(shown) // ACROSS), min(len(shown), ACROSS)
    side = style.WIDTH / ACROSS
    size = (max(columns * side, 5.0), 0.75 + room + rows * (side + 0.25))
    figure, grid = style.panels(rows, columns, size, square=True, sharex=True, sharey=True)
    for i, ax in enumerate(ax for row in grid for ax in row):
        ax.set_box_aspect(1)
        if i >= len(shown):
            ax.set_axis_off()
        if i % columns == 0:
            ax.set_ylabel("second latent")
        if i + columns >= len(shown):
            ax.set_xlabel("most active latent")
            ax.tick_params(labelbottom=True)
    return figure


def _title(setting: Setting) -> str:
    """The setting, and its error where that was measured."""
    label = style.wrap(setting.label, 32)
    if "sse" not in setting.rows or setting.rows["sse"].isna().all():
        return label
    found = intervals([setting], "sse")
    half = found.errors[0, 0]
    return f"{label}\nSSE {found.mean[0]:.2f}{f' ± {half:.2f}' if half else ''}"
