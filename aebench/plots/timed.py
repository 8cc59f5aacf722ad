"""Times: compared only among runs of one machine with one number of threads, as a median and its range.

Runs of different seeds that were timed one after another are no sample of a machine's speed, so that an interval over
them would say nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from pandas import DataFrame

from aebench.comparison import Entrant
from aebench.comparison.rules import listed

NAMED = 8
"""Settings that a caption names."""


@dataclass(frozen=True)
class Range:
    """The median of some values, the lowest and the highest of them; NaN where there are none."""

    median: float
    low: float
    high: float
    n: int

    @property
    def is_wide(self) -> bool:
        """Whether the values differ."""
        return self.high > self.low


@dataclass(frozen=True)
class Timed:
    """The runs of one data set with times of one machine alone."""

    rows: DataFrame
    machine: str
    """In words; empty where nothing was timed."""
    others: Mapping[str, str]
    """Runs that were timed elsewhere, by id, and where."""

    def left(self, entrants: Iterable[Entrant], what: str) -> str:
        """Who was timed elsewhere, as a sentence that begins with a space; empty where nobody was."""
        found: dict[str, list[str]] = {}
        for entrant in entrants:
            for place, count in Counter(self.others[run] for run in entrant.ids if run in self.others).items():
                part = f" ({count} of {len(entrant.ids)} runs)" if count < len(entrant.ids) else ""
                found.setdefault(place, []).append(f"{entrant.label}{part}")
        said = "; ".join(f"on {place} {listed(names, NAMED)}" for place, names in found.items())
        return f" Left out of {what}, as timed elsewhere: {said}." if said else ""


def spread(values: ArrayLike) -> Range:
    """Median and range of values `[n]`, those that are missing aside."""
    x = np.asarray(values, np.float64)
    x = x[~np.isnan(x)]
    if not x.size:
        return Range(np.nan, np.nan, np.nan, 0)
    return Range(float(np.median(x)), float(x.min()), float(x.max()), x.size)


def on_one_machine(rows: DataFrame, columns: Sequence[str], place: str) -> Timed:
    """The runs with some columns emptied where they were timed on another machine than most were.

    `place`: the column that says where (`plots.with_documents`); of machines with as many runs the first is taken.
    """
    there = rows[list(columns)].notna().any(axis=1)
    counts = rows.loc[there, place].value_counts(sort=False)
    if counts.empty:
        return Timed(rows, "", {})
    machine = str(counts.idxmax())
    other = there & rows[place].ne(machine)
    left = dict(zip(rows.loc[other, "id"].map(str), rows.loc[other, place].map(str), strict=True))
    return Timed(rows.assign(**{name: rows[name].mask(other) for name in columns}), machine, left)
