"""The terms of the loss over training where settings are many: a panel for each, all terms in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from aebench.groups import Setting, seeds
from aebench.plots import Drawing, style, terms
from aebench.plots.families import legend_columns, short

COLUMNS = 5
PER_PAGE = 30
FIRST = ("loss", "reconstruction", "kl")
"""Terms that look the same in all results."""
WIDE = 20.0
"""A panel whose values differ by more than this factor has a logarithmic axis."""


@style.styled
def panels(name: str, data: str, page: Sequence[Setting], everyone: Sequence[Setting]) -> Drawing:
    """One page; a term looks the same on all pages, as `everyone`, the settings of all of them, says."""
    held = [terms.logged(setting) for setting in page]
    names = sorted(
        terms.terms_of([terms.logged(setting) for setting in everyone]),
        key=lambda term: FIRST.index(term) if term in FIRST else len(FIRST),
    )
    looks = {term: _look(i) for i, term in enumerate(names)}
    rows = -(-len(page) // COLUMNS)
    across = legend_columns(names, 6)
    height = 0.9 + 0.18 * style.legend_lines(len(names), across) + 1.35 * rows
    figure, grid = style.panels(rows, COLUMNS, (style.WIDTH, height))
    axes = [ax for line in grid for ax in line]
    shown: set[str] = set()
    for ax, own in zip(axes, held, strict=False):
        shown |= _panel(ax, own, looks)
    for ax in axes[len(page) :]:
        ax.set_axis_off()
    figure.suptitle(f"Training: {data}")
    for ax in axes[max(len(page) - COLUMNS, 0) : len(page)]:
        ax.set_xlabel("step", fontsize=7, labelpad=1)
    figure.supylabel("terms of the loss per example", fontsize=8)
    handles = [Line2D([], [], **looks[term], label=term) for term in names if term in shown]
    style.legend_below(figure, handles, across)
    units = "; ".join(f"{term}: {unit}" for term in names if term in shown and (unit := _unit(term, held)))
    caption = (
        f"Terms of the training loss of each setting on {data}, each point a mean over steps, each panel with an axis "
        f"of its own: {seeds(pd.concat([setting.rows for setting in page]))}. Per example; {units}; other terms in the "
        "unit of their own formula."
    )
    said = "; ".join(map(_ends, held))
    return Drawing(name, caption, f"A panel for each setting against the training step. {said}.", figure, data)


def _look(index: int) -> dict[str, Any]:
    """The first is dark and whole, the others have colours and changing dashes."""
    if index == 0:
        return {"color": "0.15", "linestyle": "-", "lw": 1.3}
    series = style.series_style(index - 1)
    return {"color": series["color"], "linestyle": style.DASHES[index % len(style.DASHES)], "lw": 1.2}


def _panel(ax: Axes, own: terms.Logged, looks: dict[str, dict[str, Any]]) -> set[str]:
    """Draw what a setting has logged; the terms that it has."""
    shown = {term for term, look in looks.items() if terms.draw(ax, own, term, **look) is not None}
    terms.fit(ax, WIDE)
    if ax.get_yscale() == "linear":
        ax.yaxis.set_major_locator(MaxNLocator(3))
    ax.xaxis.set_major_locator(MaxNLocator(2))
    ax.tick_params(labelsize=6.5, length=2, pad=1.5)
    ax.minorticks_off()
    ax.set_title(short(own.label, 20, 2), fontsize=6.5, pad=3)
    return shown


def _unit(term: str, page: Sequence[terms.Logged]) -> str:
    """The unit of a term, but that it is per example; empty where it has no name."""
    return terms.unit(term, page).removesuffix("per example").rstrip(", ")


def _ends(own: terms.Logged) -> str:
    """The loss at the first and last point, for readers who do not see it."""
    found = terms.over_seeds(own, "loss")
    if found is None:
        return own.label
    return f"{own.label}: loss {found[1].mean[0]:.3g} to {found[1].mean[-1]:.3g}"
