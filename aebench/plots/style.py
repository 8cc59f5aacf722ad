"""How figures look: sans-serif 9 pt, the palette of Okabe and Ito, and files that are the same for the same results.

Figures are made without pyplot; settings of matplotlib change only within `styled` and `save`.
"""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from aebench.store import atomic

P = ParamSpec("P")
T = TypeVar("T")

WIDTH = 7.0
"""Inches: a page without margins."""
DPI = 160
CONTROLS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What turns the direction of writing, and has no picture of its own."""

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so that a file is the same on every machine
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "aebench",
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
    "text.parse_math": False,  # names are the users' own and may hold a dollar sign
}

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F5539")
"""Okabe and Ito (2008) without yellow and black, which stand for nothing measured; the last is a dark brown."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
MARKER_AREAS = {"s": 0.8, "*": 2.0, "^": 1.2, "v": 1.2, "<": 1.2, ">": 1.2, "P": 1.2, "X": 1.2}
"""What the area of some markers is multiplied by, so that all look as large."""
DASHES: tuple[Any, ...] = ("-", (0, (6, 1.5, 1, 1.5)), (0, (1, 1)))
REFERENCE = "0.25"
"""The grey of what is known and not measured: closed forms, bounds, printed tables."""


def series_style(index: int) -> dict[str, Any]:
    """Colour, marker and dashes of the i-th series; no two of the first 84 share all three."""
    turn = index // len(PALETTE)
    return {
        "color": PALETTE[index % len(PALETTE)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[turn % len(DASHES)],
    }


def class_looks(classes: Sequence[int]) -> dict[int, tuple[Any, str]]:
    """Colour and marker of each class: Okabe and Ito as long as they last, else the ten of Petroff (2021).

    Both are chosen for readers with colour vision deficiencies; no two of the first 60 classes share colour and marker.
    """
    colours = PALETTE if len(classes) <= len(PALETTE) else mpl.color_sequences["petroff10"]
    return dict(zip(classes, zip(cycle(colours), cycle(MARKERS), strict=False), strict=False))


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Build a figure under aebench's settings; matplotlib's own are as before afterwards."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        with mpl.rc_context(RC):
            return function(*args, **kwargs)

    return wrapper


def panels(
    rows: int, columns: int, size: tuple[float, float], *, square: bool = False, **options: Any
) -> tuple[Figure, list[list[Axes]]]:
    """A figure of `size` inches with a grid of axes, laid out so that nothing overlaps; `square` ones move together."""
    layout = ConstrainedLayoutEngine(compress=square, h_pad=0.07 if square else None)
    figure = Figure(figsize=size, dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [list(row) for row in grid]


def log_axis(axis: Axis) -> None:
    """A logarithmic axis with plain numbers: decades, with steps of 1, 2, 5 or even ones where there are few."""
    ax = axis.axes
    scale = ax.set_xscale if axis is ax.xaxis else ax.set_yscale
    scale("log", nonpositive="clip")
    low, high = axis.get_view_interval()
    if high < 2 * low:  # a single point is no reason to look closer
        low, high = low / 1.4, high * 1.4
        axis.set_view_interval(low, high, ignore=True)
    decades = np.log10(high / low)
    if decades < 0.8:
        axis.set_major_locator(MaxNLocator(4))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0,) if decades > 2 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def legend_below(figure: Figure, handles: Sequence[Any], columns: int) -> None:
    """A legend under all panels, in space of its own, read row by row; none where there is nothing to tell apart."""
    if handles:
        lines = legend_lines(len(handles), columns)
        columns = -(-len(handles) // lines)
        order = [handle for column in range(columns) for handle in handles[column::columns]]  # matplotlib fills columns
        labels = [str(handle.get_label()) for handle in order]
        figure.legend(order, labels, loc="outside lower center", ncols=columns)


def legend_lines(count: int, columns: int) -> int:
    """Lines of a legend with so many entries, at most `columns` in a line."""
    return -(-count // columns)


def wrap(text: str, width: int) -> str:
    """A label in lines of at most so many characters, its own line breaks kept."""
    return "\n".join(line for part in text.split("\n") for line in textwrap.wrap(part, width)) or text


def save(figure: Figure, folder: Path, name: str) -> tuple[Path, Path]:
    """Write `name.svg` and `name.png` into the folder, each whole or not at all.

    Letters are drawn in the order in which they stand, so that controls of the direction of writing go: no font draws
    them.
    Figures of the same data give the same bytes: no dates, no versions, ids by a fixed salt.
    """
    svg, png = folder / f"{name}.svg", folder / f"{name}.png"
    for text in figure.findobj(Text):
        if (plain := CONTROLS.sub("", text.get_text())) != text.get_text():
            text.set_text(plain)
    with mpl.rc_context(RC):
        if (layout := figure.get_layout_engine()) is not None:
            layout.execute(figure)
            figure.set_layout_engine(None)  # else each file would draw the figure once more, to look for the layout
        atomic.replace(png, lambda file: figure.savefig(file, format="png", metadata={"Software": None}))
        atomic.replace(svg, lambda file: figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}))
    return svg, png
