"""Plain pieces of a report that its page and its Markdown both show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """Cells as text, and the runs that they were made from."""

    cells: tuple[str, ...]
    ids: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    """What the cells of numbers are sorted by, NaN where missing; empty where their texts are plain numbers."""


@dataclass(frozen=True)
class Table:
    """A table of plain cells; the last `numbers` columns hold numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    numbers: int = 0
    note: str = ""


@dataclass(frozen=True)
class Again:
    """How to make the results of one suite again."""

    said: str
    commands: tuple[str, ...]
    text: str
    """The suite; empty where it is not recorded."""
