"""Which settings a figure shows where there are too many, and on how many pages."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame

from aebench.comparison import Board, Entrant, boards
from aebench.comparison.rules import has_latent_kl
from aebench.groups import without_seed

KL = "kl"
MOST = 60
"""Settings of one data set in a figure; of more the best are shown, and the caption says so."""

T = TypeVar("T")


@dataclass(frozen=True)
class Chosen:
    """The runs of the settings that a figure shows, of one data set."""

    rows: DataFrame
    words: str
    """What was left out, as a sentence that begins with a space; empty where nothing was."""


def best(rows: DataFrame, column: str) -> Chosen:
    """The runs of the `MOST` settings whose mean of a column is best; settings without the column come last.

    Settings are told apart before anything is built for them, so that thousands cost no more than reading their
    specifications.
    """
    if len(rows) <= MOST:
        return Chosen(rows, "")
    codes, keys = pd.factorize(np.array([without_seed(spec) for spec in rows["spec"]], dtype=object))
    count = len(keys)
    if count <= MOST:
        return Chosen(rows, "")
    values = rows[column].to_numpy(np.float64) if column in rows else np.full(len(rows), np.nan)
    there = ~np.isnan(values)
    measured = np.bincount(codes[there], minlength=count)
    total = np.bincount(codes[there], values[there], minlength=count)
    mean = np.divide(total, measured, out=np.full(count, np.nan), where=measured > 0)
    about = rows.attrs.get("values", {}).get(column, {})
    kept = _first(mean, about.get("better") == "higher")
    which = f"{MOST} best by mean {column}" if there.any() else f"first {MOST}"
    return Chosen(rows[np.isin(codes, kept)], f" Of {count} settings the {which} are shown.")


def longest(rows: DataFrame, swept: Collection[str] = ()) -> Chosen:
    """The runs of the longest lines of one data set, whole, with about `MOST` settings together.

    A line are the settings that differ in nothing but the fields `swept`; in no hyperparameter or size, if none are
    named.
    """
    if len(rows) <= MOST:
        return Chosen(rows, "")
    lines, settings = (pd.factorize(np.array(keys, dtype=object))[0] for keys in _keys(rows["spec"], swept))
    pairs = np.unique(np.stack([lines, settings]), axis=1)
    length = np.bincount(pairs[0])
    order = np.argsort(-length, kind="stable")
    kept = order[: max(int((np.cumsum(length[order]) <= MOST).sum()), 1)]
    if len(kept) == len(length):
        return Chosen(rows, "")
    words = f" Of {len(length)} lines the {len(kept)} longest are shown."
    return Chosen(rows[np.isin(lines, kept)], words)


def _keys(specs: Iterable[Mapping[str, Any]], swept: Collection[str]) -> tuple[list[str], list[str]]:
    """For each run the line and the setting that it belongs to, as texts."""
    lines: list[str] = []
    settings: list[str] = []
    for spec in specs:
        kept = {
            section: {key: value for key, value in spec[section].items() if swept and key not in swept}
            for section in ("hyper", "sizes")
        }
        lines.append(without_seed({**spec, **kept}))
        settings.append(without_seed(spec))
    return lines, settings


@dataclass(frozen=True)
class Entered:
    """The settings of one data set that a figure shows, with the leaderboard that they stand on."""

    board: Board
    entrants: tuple[Entrant, ...]
    """Best mean first."""
    words: str
    """What was left out, as a sentence that begins with a space; empty where nothing was."""

    def values(self, entrant: Entrant, column: str) -> NDArray[np.float64]:
        """The values of a setting, `[seeds]` by its own seeds; NaN where one is missing."""
        cell = self.board.cells.get((entrant.key, column))  # none of a column that no run of the data set has
        return np.full(len(entrant.seeds), np.nan) if cell is None else np.array(cell.values, np.float64)

    def lacks(self, entrant: Entrant, column: str) -> bool:
        """Whether some of its runs have no value, failed ones first of all: a mean of the rest would flatter it."""
        return bool(np.isnan(self.values(entrant, column)).any())

    @property
    def traded(self) -> set[str]:
        """The keys of the settings that trade error for KL: those with a latent KL, where there are several."""
        kl = np.full((len(self.entrants), max((len(e.seeds) for e in self.entrants), default=0)), np.nan)
        for row, entrant in zip(kl, self.entrants, strict=True):
            row[: len(entrant.seeds)] = self.values(entrant, KL)
        have = has_latent_kl(self.entrants, kl)
        return {e.key for e, has in zip(self.entrants, have.tolist(), strict=True) if has} if have.sum() > 1 else set()


def entered(rows: DataFrame, columns: Mapping[str, Mapping[str, Any]], keep: str = "") -> Entered:
    """The settings of one data set that have the first of some columns, and their leaderboard by all of them.

    `rows`: every run of the data set, failed ones too, without which the board would rank what it must not.
    `columns`: name -> `{unit, better}`, as `attrs["values"]` says it. At most `MOST` settings, best by the first
    column; those of the variant `keep` are always among them.
    """
    narrow, column = rows.copy(deep=False), next(iter(columns))
    kl = {KL: rows.attrs["values"][KL]} if KL in rows.attrs["values"] else {}
    narrow.attrs = {"values": {**columns, **kl}, "problems": rows.attrs.get("problems", [])}
    (board,) = boards(narrow)
    # a data set whose runs all lack the column has no cells of it
    held = {e.key: cell for e in board.entrants if (cell := board.cells.get((e.key, column))) is not None}
    have = [e for e in board.entrants if e.key in held and not np.isnan(held[e.key].interval.mean)]
    mean = np.array([held[entrant.key].interval.mean for entrant in have])
    kept = _first(
        mean, columns[column].get("better") == "higher", np.array([e.variant == keep for e in have], np.bool_)
    )
    words = f" Of {len(have)} settings the {MOST} best by mean {column} are shown." if len(have) > MOST else ""
    sign = -1 if columns[column].get("better") == "higher" else 1
    return Entered(board, tuple(have[i] for i in sorted(kept, key=lambda i: sign * mean[i])), words)


def _first(mean: NDArray[np.float64], high: bool, always: NDArray[np.bool_] | None = None) -> list[int]:
    """The indices of the `MOST` best means, those that are `always` kept before all others."""
    wanted = np.zeros(len(mean), np.bool_) if always is None else always
    return np.lexsort((np.arange(len(mean)), -mean if high else mean, ~wanted))[:MOST].tolist()


def pages(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """The items in as few parts of at most `most` as there can be, all about as long, in their order."""
    count = max(-(-len(items) // most), 1)
    ends = [round(len(items) * i / count) for i in range(count + 1)]
    return [items[low:high] for low, high in itertools.pairwise(ends)]


def page_name(stem: str, index: int, count: int) -> str:
    """The name of the i-th of so many pages, from 0: `stem-1`, or the stem where there is one page alone."""
    return f"{stem}-{1 + index}" if count > 1 else stem
