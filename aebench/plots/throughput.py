"""How fast settings train, encode and decode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import stats
from aebench.comparison import Entrant
from aebench.groups import datasets, seeds
from aebench.plots import Arrays, Drawing, file_name, lines, style
from aebench.plots.choosing import Entered, entered, page_name, pages
from aebench.plots.families import common_latent, label, short

RATES = {
    "encode_examples_per_s": "encoding",
    "decode_examples_per_s": "decoding",
    "train_examples_per_s": "training\n(all runs of its pack)",
}
SHARED = "train_examples_per_s"
"""What runs that trained together have in common."""
PER_PAGE = 40
LABEL = 34


def throughput(frame: DataFrame, arrays: Arrays) -> Iterator[Drawing]:
    """For each data set the examples per second of each setting in encoding, decoding and training, fastest first."""
    first = next(iter(RATES))
    for data, rows in datasets(lines.measured(frame, [first])):
        columns = [name for name in RATES if name in rows and rows[name].notna().any()]
        shown = entered(rows, {name: frame.attrs["values"][name] for name in columns})
        several = pages(shown.entrants, PER_PAGE)
        for i, page in enumerate(several):
            name = page_name(f"throughput-{file_name(data)}", i, len(several))
            yield _bars(name, data, page, shown, columns, seeds(rows))


@style.styled
def _bars(
    name: str, data: str, page: Sequence[Entrant], shown: Entered, columns: Sequence[str], counted: str
) -> Drawing:
    common = common_latent(entrant.spec for entrant in shown.entrants)
    names = [label(entrant.label, entrant.spec, common) for entrant in page]
    figure, [axes] = style.panels(1, len(columns), (style.WIDTH, 1.4 + 0.19 * len(page)), sharey=True)
    said: list[str] = []
    for ax, column in zip(axes, columns, strict=True):
        mean = _column(ax, [shown.values(entrant, column) for entrant in page], distinct=column == SHARED)
        ax.set_title(RATES[column])
        ends = [int(pick(mean)) for pick in (np.nanargmax, np.nanargmin)] if np.isfinite(mean).any() else []
        told = ", ".join(f"{names[i]} {lines.in_short(float(mean[i]))}" for i in ends)
        said.append(f"{RATES[column].partition(chr(10))[0]}, fastest and slowest: {told or 'not measured'}")
    axes[0].set_yticks(range(len(page)), [short(text, LABEL) for text in names])
    axes[0].set_ylim(len(page) - 0.4, -0.6)
    figure.suptitle(f"Throughput: {data}")
    caption = (
        f"Examples per second on {data}, more is better: {counted}. Training is that of all runs of a pack together, "
        "one value a pack, with an interval only where a setting had several. All were timed on the machine that the "
        f"results name.{shown.words}"
    )
    return Drawing(name, caption, f"Examples per second on {data}. {'; '.join(said)}.", figure, data)


def _column(ax: Axes, values: Sequence[NDArray[np.float64]], *, distinct: bool) -> NDArray[np.float64]:
    """A bar for each setting with its interval and its number; the means.

    `distinct`: of what runs have in common each value counts once.
    """
    found = [stats.mean_interval(np.unique(own) if distinct else own, missing="drop") for own in values]
    mean, low, high = np.array([(i.mean, i.low, i.high) for i in found]).T
    places, ends = np.arange(len(mean)), np.fmax(mean, high)
    ax.barh(places, np.nan_to_num(mean), height=0.7, color=style.PALETTE[0])
    known = np.isfinite(high)
    bars: dict[str, Any] = {"ecolor": "0.1", "ls": "", "capsize": 1.5, "elinewidth": 0.9}
    ax.errorbar(mean[known], places[known], xerr=[(mean - low)[known], (high - mean)[known]], **bars)
    for y, (value, end) in enumerate(zip(mean, ends, strict=True)):
        text, beside = (lines.in_short(value), end) if np.isfinite(value) else ("not measured", 0.0)
        look: dict[str, Any] = {"textcoords": "offset points", "va": "center_baseline", "fontsize": 6.5}
        ax.annotate(text, (beside, y), xytext=(3, 0), **look)
    ax.set_xlim(0, 1.3 * float(np.nanmax(ends, initial=0)) or 1)
    ax.set_xlabel("examples per s")
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: lines.in_short(value)))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    return mean
