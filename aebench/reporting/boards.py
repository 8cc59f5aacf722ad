"""Leaderboards as a page shows them: from the boards of `aebench.comparison`, every number as text and in full."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aebench.comparison.marks import order
from aebench.store.frame import COSTS
from aebench.tables.numbers import format_interval

if TYPE_CHECKING:
    from aebench.comparison import Board, Cell, Entrant, Measure

PRINCIPAL = (
    "sse", "ssim", "nll", "elbo", "kl", "active_units", "l0_fraction", "denoising_gain_db_0.25", "parameters"
)  # fmt: skip
"""Measures that a board opens with; the others are a click away."""
FIRST = 8
"""So many measures a board opens with; where it has fewer of the principal ones, others follow."""
SIGNS = {"best": "★", "tied": "≈"}
ARROWS = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True)
class Number:
    """A cell of a leaderboard."""

    text: str
    """The mean; a dash where there is none."""
    spread: str
    """`± 0.08`, or `[15.9, 16.2]` where the interval is not symmetric; empty where there is none."""
    count: str
    """`9/10` where only so many of the runs have the value; else empty."""
    value: str
    low: str
    high: str
    """In full, for sorting and drawing; empty where there is none."""
    mark: str
    """`best`, `tied` or nothing."""
    notes: tuple[str, ...]
    """Keys into the notes below the board."""


@dataclass(frozen=True)
class Line:
    """A row of a leaderboard: one setting."""

    label: str
    variant: str
    ids: tuple[str, ...]
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Leaderboard:
    """One data set."""

    data: str
    measures: tuple[Measure, ...]
    opens: frozenset[str]
    """The measures that it opens with."""
    lines: tuple[Line, ...]
    keyed: Mapping[str, str]
    """`a` -> why values are missing."""
    notes: tuple[str, ...]
    marked: bool
    """Whether any cell is the best."""
    bare: frozenset[str]
    """The measures whose cells are numbers alone, without an interval."""
    by: str
    """The measure by which the settings are ordered, best first; those that it does not rank come last."""


def leaderboard(board: Board) -> Leaderboard:
    """A board as a page shows it."""
    measures = tuple(sorted(board.measures, key=lambda measure: place(measure.name)))
    keys: dict[str, str] = {}
    by = next((measure for measure in measures if measure.ranked), None)
    lines = tuple(_line(entrant, board, measures, keys) for entrant in _ordered(board, by))
    marked = any(number.mark for line in lines for number in line.numbers)
    keyed = {key: note for note, key in keys.items()}
    spread = {m.name for line in lines for m, number in zip(measures, line.numbers, strict=True) if number.spread}
    bare = frozenset(measure.name for measure in measures) - spread
    return Leaderboard(
        board.data, measures, opening(measures), lines, keyed, board.notes, marked, bare, by.name if by else ""
    )


def _ordered(board: Board, by: Measure | None) -> Sequence[Entrant]:
    if by is None:
        return board.entrants
    ranked = order(board, by).entrants
    return [*ranked, *(entrant for entrant in board.entrants if entrant not in ranked)]


def opening(measures: Sequence[Measure]) -> frozenset[str]:
    """The measures that a board opens with: the principal ones it has, and others up to `FIRST`."""
    names = [measure.name for measure in sorted(measures, key=lambda measure: place(measure.name))]
    few = [name for name in names if name in PRINCIPAL]
    more = [name for name in names if name not in COSTS][:FIRST] or names
    return frozenset(few if len(few) >= min(3, len(more)) else more)


def number(cell: Cell, keys: dict[str, str]) -> Number:
    """A cell as text; its note gets a key, which the same note has in all cells."""
    found = cell.interval
    text, _, spread = minus(format_interval(found.mean, found.low, found.high)).partition(" ")
    there = sum(not math.isnan(value) for value in cell.values)
    count = f"{there}/{len(cell.values)}" if 0 < there < len(cell.values) else ""
    notes = (keys.setdefault(cell.note, letters(len(keys))),) if cell.note else ()
    value, low, high = (full(x) for x in (found.mean, found.low, found.high))
    return Number(text, spread, count, value, low, high, cell.mark, notes)


def minus(text: str) -> str:
    """Numbers with a minus sign where they have a hyphen."""
    return text.replace("-", "−")


def full(value: float) -> str:
    """A number with all the digits that matter; empty where there is none."""
    return f"{value:.9g}" if math.isfinite(value) else ""


def letters(index: int) -> str:
    """a, b, …, z, aa, ab, …"""
    head, tail = divmod(index, 26)
    return (letters(head - 1) if head else "") + chr(ord("a") + tail)


def _line(entrant: Entrant, board: Board, measures: Sequence[Measure], keys: dict[str, str]) -> Line:
    numbers = (number(board.cells[entrant.key, measure.name], keys) for measure in measures)
    return Line(entrant.label, entrant.variant, entrant.ids, tuple(numbers))


def place(name: str) -> int:
    """Where a measure stands: the principal ones first, what training cost last."""
    return PRINCIPAL.index(name) if name in PRINCIPAL else len(PRINCIPAL) + (name in COSTS)
