"""The terms of the loss over training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from pandas import DataFrame

from aebench.groups import Setting, datasets, number, seeds, series
from aebench.plots import Arrays, Drawing, file_name, style
from aebench.plots.choosing import best, page_name
from aebench.plots.curve_panels import PER_PAGE, panels
from aebench.plots.families import NAMES, family, legend_columns, short
from aebench.plots.terms import Logged, draw, fit, logged, terms_of, unit

OVERLAID = 7
"""Settings whose lines share panels, as many as there are colours; more have a panel each."""
IN_LEGEND = 12
"""KL weights of a sweep that the legend names."""
WIDE = 30.0


def curves(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the terms of the loss: a figure for each sweep of the KL weight, one for all other runs.

    Few other settings share a panel for each term, many have a panel each. What was fitted in one step has no curve.
    """
    for data, rows in datasets(frame):
        shown = best(rows[[len(held.get("step", ())) > 1 for held in rows["curves"]]], "sse")
        lines = series(shown.rows)
        for line in lines:
            if line.is_sweep:
                name = f"curves-{file_name(data)}-{file_name(line.label)}"
                yield _terms(name, data, list(line.settings), shown.words, sweep=line.label)
        others = [setting for line in lines if not line.is_sweep for setting in line.settings]
        if 0 < len(others) <= OVERLAID:
            yield _terms(f"curves-{file_name(data)}", data, others, shown.words)
        elif others:
            yield from _many(data, others, shown.words)


def _many(data: str, settings: list[Setting], words: str) -> Iterator[Drawing]:
    """A panel for each setting, family by family."""
    settings = sorted(
        settings, key=lambda setting: (NAMES.index(family(str(setting.rows["variant"].iloc[0]))), setting.label)
    )
    count = -(-len(settings) // PER_PAGE)
    for i in range(count):
        page = settings[i * PER_PAGE : (i + 1) * PER_PAGE]
        drawing = panels(page_name(f"curves-{file_name(data)}", i, count), data, page, settings)
        yield replace(drawing, caption=drawing.caption + words)


@style.styled
def _terms(name: str, data: str, settings: list[Setting], words: str, *, sweep: str = "") -> Drawing:
    """`sweep` is the label of the one series that these settings are; empty where they are many."""
    title, swept = f"{data}, {sweep}" if sweep else data, bool(sweep)
    held = [logged(setting) for setting in settings]
    terms = terms_of(held)
    columns = min(len(terms), 3)
    rows = -(-len(terms) // columns)
    looks = _looks(settings, swept)
    across = legend_columns([look["label"] for look in looks], 4 if swept else 3)
    height = 0.9 + 0.18 * style.legend_lines(min(len(settings), IN_LEGEND), across) + 2.2 * rows
    figure, grid = style.panels(rows, columns, (style.WIDTH, height))
    axes = [ax for row in grid for ax in row]
    handles: dict[int, Any] = {}
    for ax, term in zip(axes, terms, strict=False):
        for i, (own, look) in enumerate(zip(held, looks, strict=True)):
            if (handle := draw(ax, own, term, lw=1.2, **look)) is not None:
                handles.setdefault(i, handle)
        fit(ax, WIDE)
        ax.set_xlabel("step")
        ax.set_ylabel(style.wrap(unit(term, held), 24))
        ax.set_title(style.wrap("\n".join([term, *_held_by(term, held)]), 78 // columns))
    for ax in axes[len(terms) :]:
        ax.set_axis_off()
    figure.suptitle(f"Training: {title}")
    named = _named([handles[i] for i in sorted(handles)])
    style.legend_below(figure, named, across)
    rows_shown = pd.concat([setting.rows for setting in settings])
    caption = f"Terms of the training loss on {title}, each point a mean over steps: {seeds(rows_shown)}."
    if any(_held_by(term, held) for term in terms):
        caption += " A panel whose title says so shows only the runs that log the term; others may have no such term."
    if len(named) < len(handles):
        caption += f" The legend names {len(named)} of {len(handles)} KL weights, which run from light to dark."
    said = [", ".join([term, *_held_by(term, held)]) for term in terms]
    return Drawing(name, caption + words, f"Panels against the training step: {'; '.join(said)}.", figure, data)


def _held_by(term: str, held: Sequence[Logged]) -> list[str]:
    """Which runs log a term, in words; nothing where all do."""
    labels = [own.label for own in held if any(term in run for run in own.runs)]
    if len(labels) == len(held):
        return []
    return [f"logged by {short(labels[0], 40)} only" if len(labels) == 1 else f"logged by {len(labels)} of {len(held)}"]


def _looks(settings: list[Setting], swept: bool) -> list[dict[str, Any]]:
    """A sweep runs through viridis, by KL weight, with changing dashes; other runs have the styles of series."""
    if not swept:
        own = [{"linestyle": style.DASHES[i % len(style.DASHES)], "marker": ""} for i in range(len(settings))]
        return [style.series_style(i) | own[i] | {"label": short(s.label, 44)} for i, s in enumerate(settings)]
    colours = [mpl.colormaps["viridis"](place) for place in np.linspace(0.8, 0, len(settings))]
    return [
        {"color": colour, "linestyle": style.DASHES[i % len(style.DASHES)], "label": f"KL weight {number(s.kl_weight)}"}
        for i, (colour, s) in enumerate(zip(colours, settings, strict=True))
    ]


def _named(handles: Sequence[Any]) -> list[Any]:
    """Those that the legend names: all, or so many from the first to the last."""
    if len(handles) <= IN_LEGEND:
        return list(handles)
    return [handles[i] for i in np.linspace(0, len(handles) - 1, IN_LEGEND).round().astype(int)]
