"""Reconstruction losses: each trained, each measured, as a cross table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import stats
from aebench.groups import Setting, datasets, intervals, seeds, series
from aebench.plots import Arrays, Drawing, file_name, style
from aebench.tables import format_interval

Floats = NDArray[np.float64]
MEASURES = {
    "mse": "MSE\n↓",
    "mae": "MAE\n↓",
    "mape": "MAPE\n↓",
    "bce": "BCE, nats\na pixel ↓",
    "huber": "Huber\n↓",
    "gaussian_nll": "Gaussian\nNLL, nats ↓",
    "laplace_nll": "Laplace\nNLL, nats ↓",
    "ssim": "SSIM\n↑",
}
HIGHER, NATS = {"ssim"}, {"gaussian_nll", "laplace_nll"}
"""Measures of which more is better; measures in nats per example, which may be negative and have no ratio."""
WORST = 10
"""Times worse than the best of a column from which on the colour is the same."""


def losses(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set and variant, where several reconstruction losses were trained, all measures of each."""
    measured = [name for name in MEASURES if name in frame.columns]
    for data, rows in datasets(frame):
        for variant in dict.fromkeys(rows["variant"]):
            own = rows[rows["variant"] == variant]
            columns = [name for name in measured if own[name].notna().any()]
            settings = [setting for line in series(own) for setting in line.settings]
            if len({_trained(setting) for setting in settings}) > 1 and len(columns) > 1:
                name = f"losses-{file_name(data)}-{file_name(str(variant))}"
                yield _table(name, data, own, settings, columns)


def _trained(setting: Setting) -> str:
    """The reconstruction loss and its options."""
    return json.dumps(setting.rows["spec"].iloc[0]["sizes"].get("reconstruction", "mse"), sort_keys=True)


def _label(setting: Setting) -> str:
    chosen = json.loads(_trained(setting))
    if not isinstance(chosen, Mapping):
        return str(chosen)
    options = [f"{key} {value}" for key, value in chosen.items() if key != "name"]
    return "\n".join([str(chosen["name"]), *options])


def worse(values: Floats, column: str, elements: float) -> Floats:
    """How many times worse than the best each value is, `[settings]`: 1 for the best; NaN where none was measured.

    Nats become ratios of likelihoods per element, exp(difference / elements): a scale must not change them.
    """
    if column in NATS:
        return np.exp((values - np.nanmin(values)) / elements)
    return np.nanmax(values) / values if column in HIGHER else values / np.nanmin(values)


def ties(settings: list[Setting], column: str) -> NDArray[np.bool_]:
    """The best, and those whose paired difference from it has 0 in its 95 % interval: `[settings]`."""
    mean = intervals(settings, column).mean
    best = int(np.nanargmax(mean) if column in HIGHER else np.nanargmin(mean))
    held = [setting.rows.set_index("seed")[column] for setting in settings]
    found = np.arange(len(settings)) == best
    for i, own in enumerate(held):
        seeds_ = own.index.intersection(held[best].index)
        if i != best and len(seeds_) >= stats.PAIRS:
            pairs = own.loc[seeds_].to_numpy(np.float64), held[best].loc[seeds_].to_numpy(np.float64)
            interval = stats.paired_difference(*pairs, missing="drop")
            found[i] = interval.low <= 0 <= interval.high
    return found


@style.styled
def _table(name: str, data: str, rows: DataFrame, settings: list[Setting], columns: list[str]) -> Drawing:
    variant = str(rows["variant"].iloc[0])
    height = 1.4 + 0.46 * len(settings)
    figure, [[ax]] = style.panels(1, 1, (style.WIDTH, height))
    elements = _elements(rows)
    ratios = np.stack([worse(intervals(settings, c).mean, c, elements) for c in columns], 1)
    top = float(np.log10(max(2.0, min(float(np.nanmax(ratios)), WORST))))
    norm = Normalize(0, top)
    image = ax.imshow(np.log10(ratios), cmap="viridis_r", norm=norm, aspect="auto")
    for j, column in enumerate(columns):
        _write(ax, settings, column, j, ratios[:, j], norm)
    ax.set_xticks(range(len(columns)), [MEASURES[column] for column in columns])
    ax.set_yticks(range(len(settings)), [_label(setting) for setting in settings])
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.set_xlabel("measured")
    ax.set_ylabel("trained")
    ax.tick_params(length=0)
    ax.grid(visible=False)
    ax.spines[:].set_visible(False)
    steps = [step for step in (1, 1.2, 1.5, 2, 3, 5, 10) if np.log10(step) <= top + 1e-9]
    bar = figure.colorbar(image, ax=ax, ticks=np.log10(steps), pad=0.01, fraction=0.03)
    bar.ax.set_yticklabels([f"{step:g}" for step in steps])
    bar.set_label("times the column's best")
    figure.suptitle(f"Trained with one loss, measured by all: {variant} on {data}")
    said = "; ".join(f"{column}: {_best(settings, column)}" for column in columns)
    caption = (
        f"{variant} trained on {data} with each reconstruction loss (rows) and measured by all (columns): "
        f"{seeds(rows)}, half-widths below the means. Colour: how many times worse than the best of the column, up "
        f"to {WORST}; of the likelihoods, which are in nats per example, the ratio per element. Bold: the best, and "
        "what a paired t interval (95 %) cannot tell from it."
    )
    return Drawing(name, caption, f"A table of losses by measures. Best by {said}.", figure, data)


def _best(settings: list[Setting], column: str) -> str:
    """Those printed bold in a column."""
    return ", ".join(_label(settings[i]).replace("\n", " ") for i in np.flatnonzero(ties(settings, column)))


def _elements(rows: DataFrame) -> float:
    """Elements of an example: the summed squared error over the mean one; 1 where these were not measured."""
    if not {"sse", "mse"} <= set(rows.columns):
        return 1.0
    return float(np.nan_to_num((rows["sse"] / rows["mse"]).median(), nan=1.0))


def _write(ax: Axes, settings: list[Setting], column: str, place: int, ratios: Floats, norm: Normalize) -> None:
    """The mean and the half-width of each cell, bold where it is the best or cannot be told from it."""
    found, tied = intervals(settings, column), ties(settings, column)
    for i, mean in enumerate(found.mean):
        if np.isnan(mean):
            continue
        text = format_interval(mean, found.low[i], found.high[i]).replace(" ± ", "\n± ")
        shade = mpl.colormaps["viridis_r"](norm(np.log10(ratios[i])))
        dark = 0.3 * shade[0] + 0.59 * shade[1] + 0.11 * shade[2] < 0.5
        look: dict[str, Any] = {"color": "white" if dark else "black", "weight": "bold" if tied[i] else "normal"}
        ax.text(place, i, text, ha="center", va="center", fontsize=7, **look)
