"""How fast settings train, encode and decode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from pandas import DataFrame

from aebench.comparison import Entrant
from aebench.comparison.marks import seeds_in_words
from aebench.groups import datasets
from aebench.plots import Arrays, Drawing, file_name, lines, style
from aebench.plots.choosing import Entered, entered, page_name, pages
from aebench.plots.families import common_latent, label, short
from aebench.plots.timed import Range, on_one_machine, spread

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
    """For each data set the examples per second of each setting in encoding, decoding and training, fastest first.

    Of each rate only what was timed on the machine, and with the number of threads, that most runs have.
    """
    for data, rows in datasets(frame):
        columns = [name for name in RATES if name in rows and rows[name].notna().any()]
        if columns[:1] != [next(iter(RATES))]:
            continue
        measured = [name for name in columns if name != SHARED]
        coded = on_one_machine(rows, measured, "measured_on")
        trained = on_one_machine(coded.rows, [SHARED], "trained_on") if SHARED in columns else coded
        shown = entered(trained.rows, {name: frame.attrs["values"][name] for name in columns})
        where = f"Encoding and decoding on {coded.machine}.{coded.left(shown.board.entrants, 'both')}"
        if SHARED in columns:
            where += f" Training on {trained.machine}.{trained.left(shown.board.entrants, 'training')}"
        speed = {e.key: spread(shown.values(e, columns[0])) for e in shown.entrants}
        counted = seeds_in_words([found.n for found in speed.values()])
        caption = (
            f"Examples per second on {data}, more is better: the median over {counted}, and a line from the slowest to "
            "the fastest; timed one after another, they are no sample, and have no interval. Training is that of all "
            f"runs of a pack together, one value a pack. {where}{shown.words}"
        )
        fastest = sorted(shown.entrants, key=lambda entrant: -speed[entrant.key].median)
        several = pages(fastest, PER_PAGE)
        for i, page in enumerate(several):
            name = page_name(f"throughput-{file_name(data)}", i, len(several))
            yield replace(_bars(name, data, page, shown, columns), caption=caption)


@style.styled
def _bars(name: str, data: str, page: Sequence[Entrant], shown: Entered, columns: Sequence[str]) -> Drawing:
    common = common_latent(entrant.spec for entrant in shown.entrants)
    names = [label(entrant.label, entrant.spec, common) for entrant in page]
    figure, [axes] = style.panels(1, len(columns), (style.WIDTH, 1.4 + 0.19 * len(page)), sharey=True)
    said: list[str] = []
    for ax, column in zip(axes, columns, strict=True):
        values = [shown.values(entrant, column) for entrant in page]
        # of what runs have in common each value counts once
        median = _column(ax, [spread(np.unique(own) if column == SHARED else own) for own in values])
        ax.set_title(RATES[column])
        ends = [int(pick(median)) for pick in (np.nanargmax, np.nanargmin)] if np.isfinite(median).any() else []
        told = ", ".join(f"{names[i]} {lines.in_short(float(median[i]))}" for i in ends)
        said.append(f"{RATES[column].partition(chr(10))[0]}, fastest and slowest: {told or 'not measured'}")
    axes[0].set_yticks(range(len(page)), [short(text, LABEL) for text in names])
    axes[0].set_ylim(len(page) - 0.4, -0.6)
    figure.suptitle(f"Throughput: {data}")
    return Drawing(name, "", f"Examples per second on {data}. {'; '.join(said)}.", figure, data)


def _column(ax: Axes, found: Sequence[Range]) -> NDArray[np.float64]:
    """A bar for each setting with its range and its number; the medians."""
    median, low, high = np.array([(one.median, one.low, one.high) for one in found]).T
    places, ends = np.arange(len(median)), np.nan_to_num(high)
    ax.barh(places, np.nan_to_num(median), height=0.7, color=style.PALETTE[0])
    wide = np.array([one.is_wide for one in found], np.bool_)
    bars: dict[str, Any] = {"ecolor": "0.1", "ls": "", "capsize": 1.5, "elinewidth": 0.9}
    ax.errorbar(median[wide], places[wide], xerr=[(median - low)[wide], (high - median)[wide]], **bars)
    for y, (value, end) in enumerate(zip(median, ends, strict=True)):
        text, beside = (lines.in_short(value), end) if np.isfinite(value) else ("–", 0.0)
        look: dict[str, Any] = {"textcoords": "offset points", "va": "center_baseline", "fontsize": 6.5}
        ax.annotate(text, (beside, y), xytext=(3, 0), **look)
    ax.set_xlim(0, 1.3 * float(ends.max(initial=0)) or 1)
    ax.set_xlabel("examples per s")
    ax.xaxis.set_major_locator(MaxNLocator(3))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: lines.in_short(value)))
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    return median
