"""Over-complete codes: how near a map comes to the identity as its code grows past the width of the data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import closed_forms
from aebench.groups import Series, datasets, ordered, seeds, series, value
from aebench.plots import Arrays, Drawing, file_name, lines, style

Floats = NDArray[np.float64]
PANELS = {
    "identity_on_data": "on the data\nE‖r(x) − x‖² / E‖x − m‖²",
    "identity_off_data": "off the data\nE‖r(x) − x‖² / E‖x − m‖²",
}


def overcomplete(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the distance from the identity, on the data and off them, against the width of the code."""
    for data, rows in datasets(lines.measured(frame, list(PANELS))):
        yield _copies(f"overcomplete-{file_name(data)}", data, rows)


@style.styled
def _copies(name: str, data: str, rows: DataFrame) -> Drawing:
    found = series(rows, ("latent",))
    known = rows["spec"].iloc[0]["data"].get("parameters", {}).get("eigenvalues")
    entries = len(found) + (len(_sigmas(found)) if known else 0) + 1
    figure, [axes] = style.panels(1, 2, (style.WIDTH, 3.3 + 0.17 * style.legend_lines(entries, 2)), sharex=True)
    width, handles = _elements(rows), list[Any]()
    for number, (column, label) in enumerate(PANELS.items()):
        ax, handles = axes[number], []
        for i, line in enumerate(found):
            settings, x = ordered(line, "latent")
            handles.append(lines.against(ax, x, settings, column, _label(line), **_look(i, line)))
        if known:
            handles += _closed(ax, known, _sigmas(found), number)
        _dress(ax, label)
        if width:
            handles.append(ax.axvline(width, color="0.5", lw=1, ls=":", label=f"as wide as the data, D = {width}"))
    figure.suptitle(f"Distance of x → D(E(x)) from the identity: {data}")
    style.legend_below(figure, handles, 2)
    caption = (
        f"E‖r(x) − x‖² as a fraction of E‖x − m‖², r(x) = D(E(x)) and m the mean of the training data, against the "
        f"units of the code on {data}: 0 copies, 1 answers the mean. On test data, and on Gaussian noise around m that "
        f"is as large in every direction: {seeds(rows)}."
    )
    caption += " Grey: the best linear map of that rank, in closed form." if known else ""
    said = [lines.ends(line, "latent", "latent", column) for line in found for column in PANELS]
    return Drawing(name, caption, f"Distance from the identity on and off the data: {'; '.join(said)}.", figure, data)


def _label(line: Series) -> str:
    """The variant with its noise and its penalty, or that it has none."""
    first = line.settings[0]
    fields = [name for name in ("sigma", "lam") if value(first, name) > 0]
    rest = [part for part in line.label.split(", ")[1:] if part.split(" ")[0] not in ("sigma", "lam")]
    label = ", ".join([str(first.rows["variant"].iloc[0]), *rest, *(lines.said(first, name) for name in fields)])
    return label if fields else f"{label}, no noise, no penalty"


def _look(index: int, line: Series) -> dict[str, Any]:
    """Lines may coincide: open markers, larger from line to line, show what lies below."""
    look = style.series_style(index)
    return look | {"mfc": "none", "ms": 4.5 + 1.2 * index, "mew": 1.1}


def _elements(rows: DataFrame) -> int:
    """D, the elements of an example: the summed squared error over the mean one; 0 where these were not measured."""
    both = lines.measured(rows, ["sse", "mse"])
    both = both[both["mse"] > 0] if len(both) else both
    return round(float((both["sse"] / both["mse"]).median())) if len(both) else 0


def _sigmas(found: list[Series]) -> list[float]:
    """The noise that maps without another penalty were trained with."""
    firsts = [line.settings[0] for line in found]
    return sorted({float(np.nan_to_num(value(s, "sigma"))) for s in firsts if not value(s, "lam") > 0})


def _closed(ax: Axes, eigenvalues: list[float], sigmas: list[float], panel: int) -> list[Any]:
    low, high = ax.get_xlim()
    x = np.arange(max(1, int(np.ceil(low))), int(high) + 1)
    handles: list[Any] = []
    for sigma, dashes in zip(sigmas, ("--", "-.", ":", (0, (1, 3))), strict=False):
        y = closed_forms.linear_copy(eigenvalues, x, sigma)[panel]
        label = f"closed form: linear, σ = {sigma:g}" if sigma else "closed form: linear, no noise"
        handles += ax.plot(x, y, ls=dashes, color=style.REFERENCE, lw=1, label=label, zorder=3.5)
    return handles


def _dress(ax: Axes, label: str) -> None:
    """From 0, the identity: what a logarithm would hide."""
    ax.set_ylim(-0.04 * ax.get_ylim()[1], None)
    ax.axhline(0, color="0.6", lw=0.7, zorder=1)
    ax.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    ax.set_xlabel("units of the code")
    ax.set_title(label)
    ax.set_ylabel("fraction of the variance")
