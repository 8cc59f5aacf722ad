"""The terms of the loss over training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import stats
from aebench.groups import Setting, datasets, number, seeds, series
from aebench.plots import Arrays, Drawing, file_name, style

PER_FIGURE = 12
UNITS = {"kl": "nats per example"}
ERRORS = {"mse": "squared units of the data per example", "mae": "units of the data per example"}


def curves(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the terms of the loss: a figure for each sweep of the KL weight, one for all other runs."""
    for data, rows in datasets(frame):
        lines = series(rows[[bool(held.get("step")) for held in rows["curves"]]])
        for line in lines:
            if line.is_sweep:
                name = f"curves-{file_name(data)}-{file_name(line.label)}"
                yield _terms(name, data, list(line.settings), sweep=line.label)
        others = [setting for line in lines if not line.is_sweep for setting in line.settings]
        for first in range(0, len(others), PER_FIGURE):
            page = f"-{1 + first // PER_FIGURE}" if len(others) > PER_FIGURE else ""
            yield _terms(f"curves-{file_name(data)}{page}", data, others[first : first + PER_FIGURE])


@style.styled
def _terms(name: str, data: str, settings: list[Setting], *, sweep: str = "") -> Drawing:
    """`sweep` is the label of the one series that these settings are; empty where they are many."""
    title, swept = f"{data}, {sweep}" if sweep else data, bool(sweep)
    terms = list(dict.fromkeys(term for s in settings for held in s.rows["curves"] for term in held if term != "step"))
    columns = min(len(terms), 3)
    rows = -(-len(terms) // columns)
    looks, across = _looks(settings, swept), 4 if swept else 3
    height = 0.9 + 0.18 * style.legend_lines(len(settings), across) + 2.2 * rows
    figure, grid = style.panels(rows, columns, (style.WIDTH, height))
    axes = [ax for row in grid for ax in row]
    handles: dict[str, Any] = {}
    for ax, term in zip(axes, terms, strict=False):
        for setting, look in zip(settings, looks, strict=True):
            if (handle := _band(ax, setting, term, look)) is not None:
                handles.setdefault(str(handle.get_label()), handle)
        _dress(ax, term, settings)
        ax.set_title(style.wrap("\n".join([term, *_held_by(term, settings)]), 96 // columns))
    for ax in axes[len(terms) :]:
        ax.set_axis_off()
    figure.suptitle(f"Training: {title}")
    style.legend_below(figure, list(handles.values()), across)
    rows_shown = pd.concat([setting.rows for setting in settings])
    caption = f"Terms of the training loss on {title}, each point a mean over steps: {seeds(rows_shown)}."
    if any(_held_by(term, settings) for term in terms):
        caption += " A panel whose title says so shows only the runs that log the term; others may have no such term."
    said = [", ".join([term, *_held_by(term, settings)]) for term in terms]
    return Drawing(name, caption, f"Panels against the training step: {'; '.join(said)}.", figure, data)


def _held_by(term: str, settings: list[Setting]) -> list[str]:
    """Which runs log a term, in words; nothing where all do."""
    own = [s.label for s in settings if any(term in held for held in s.rows["curves"])]
    if len(own) == len(settings):
        return []
    return [f"logged by {own[0]} only" if len(own) == 1 else f"logged by {len(own)} of {len(settings)}"]


def _looks(settings: list[Setting], swept: bool) -> list[dict[str, Any]]:
    """A sweep runs through viridis, by KL weight, with changing dashes; other runs have the styles of series."""
    if not swept:
        own = [{"linestyle": style.DASHES[i % len(style.DASHES)], "marker": ""} for i in range(len(settings))]
        return [style.series_style(i) | own[i] | {"label": s.label} for i, s in enumerate(settings)]
    colours = [mpl.colormaps["viridis"](place) for place in np.linspace(0.8, 0, len(settings))]
    return [
        {"color": colour, "linestyle": style.DASHES[i % len(style.DASHES)], "label": f"KL weight {number(s.kl_weight)}"}
        for i, (colour, s) in enumerate(zip(colours, settings, strict=True))
    ]


def _band(ax: Axes, setting: Setting, term: str, look: dict[str, Any]) -> Any:
    """A line of means over seeds with its interval; None where no run of the setting has this term."""
    held = [curve for curve in setting.rows["curves"] if term in curve]
    if not held:
        return None
    steps, values = _together(held, term)
    found = stats.mean_intervals(values.T, missing="drop")
    (line,) = ax.plot(steps, found.mean, lw=1.2, **look)
    ax.fill_between(steps, found.low, found.high, color=look["color"], alpha=0.2, lw=0)
    return line


def _together(held: list[Mapping[str, Any]], term: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The steps that all runs have, `[points]`, and the term there, `[runs, points]`; NaN where none was stored."""
    steps = sorted(set.intersection(*(set(curve["step"]) for curve in held)))
    at = [dict(zip(curve["step"], curve[term], strict=True)) for curve in held]
    values = np.array([[curve[step] for step in steps] for curve in at], dtype=np.float64)
    return np.array(steps, np.float64), values


def _dress(ax: Axes, term: str, settings: list[Setting]) -> None:
    lines = [np.asarray(line.get_ydata(), np.float64) for line in ax.get_lines()]
    y = np.concatenate(lines)
    y = y[np.isfinite(y)]
    if y.size and y.min() > 0 and y.max() > 30 * y.min():
        ax.set_ylim(max(y.min() / 1.5, y.max() * 1e-4), y.max() * 1.5)
        style.log_axis(ax.yaxis)
    ax.set_xlabel("step")
    ax.set_ylabel(style.wrap(_unit(term, settings), 24))


def _unit(term: str, settings: list[Setting]) -> str:
    """The unit of a term; that of C depends on the reconstruction loss, and may differ between runs."""
    name = term.rpartition("/")[2]
    kinds = {str(spec["sizes"].get("reconstruction", "mse")) for s in settings for spec in s.rows["spec"]}
    if name == "reconstruction" and len(kinds) == 1:
        return ERRORS.get(kinds.pop(), "nats per example")
    return UNITS.get(name, "weighted sum of terms, per example" if name == "loss" else "per example")
