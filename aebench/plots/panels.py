"""A grid of pictures: which run stands where, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Generic, TypeVar

from pandas import DataFrame

from aebench.groups import kl_weight_in_words, series
from aebench.plots import Arrays, style

T = TypeVar("T")

COLUMNS, FEW = 8, 4
"""Panels in a row of a grid of pictures, at most and where nothing asks for more."""


def lowest_seeds(frame: DataFrame, arrays: Arrays) -> dict[str, Mapping[str, Any]]:
    """For each setting of one data set the id of the run with the lowest seed, and what that run has stored."""
    return {setting.first: arrays(setting.first) for line in series(frame) for setting in line.settings}


def seed_of(frame: DataFrame, runs: Collection[str]) -> str:
    """The seed of these runs, for a caption."""
    seeds = sorted(set(frame.loc[frame["id"].isin(list(runs)), "seed"]))
    ended = f"of each the lowest seed that ended well ({seeds[0]} to {seeds[-1]})"
    return ended if len(seeds) > 1 else f"seed {seeds[0]}"


@dataclass(frozen=True)
class Page(Generic[T]):
    """A part of what one figure would be too small for."""

    name: str
    """Of the figure."""
    items: list[T]
    number: int
    count: int

    @property
    def of(self) -> str:
        """For a title: which page of how many; nothing where it is the only one."""
        return f" ({self.number} of {self.count})" if self.count > 1 else ""

    @property
    def said(self) -> str:
        """For a caption, likewise."""
        return f" Page {self.number} of {self.count}." if self.count > 1 else ""


def pages(name: str, size: int, *groups: Sequence[T]) -> Iterator[Page[T]]:
    """Pages of at most `size` items, as even as can be; groups share none."""
    parts = [part for group in groups for part in _evenly(group, size)]
    for i, part in enumerate(parts):
        yield Page(f"{name}-{i + 1}" if len(parts) > 1 else name, list(part), i + 1, len(parts))


def _evenly(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    count = -(-len(items) // size)
    for part in range(count):
        yield items[len(items) * part // count : len(items) * (part + 1) // count]


@dataclass(frozen=True)
class Panel:
    """A place in a grid of pictures: one run."""

    row: str
    """The sweep that it is part of; empty where it is none."""
    title: str
    run: str

    @property
    def lines(self) -> str:
        """Row and title, a line each."""
        return f"{self.row}\n{self.title}" if self.row else self.title


def picture_rows(frame: DataFrame, runs: Container[str]) -> list[list[Panel]]:
    """Rows of panels for one data set: one for each sweep of the KL weight, then those of all other settings.

    `runs`: the ids that have something to show; of each setting the lowest seed is asked.
    """
    rows: list[list[Panel]] = []
    others: list[Panel] = []
    for line in series(frame):
        shown = [setting for setting in line.settings if setting.first in runs]
        if line.is_sweep:
            panels = [Panel(line.label, kl_weight_in_words(s.kl_weight), s.first) for s in shown]
            rows += [panels[i : i + COLUMNS] for i in range(0, len(panels), COLUMNS)]
        else:
            others += [
                Panel("", "\n".join(filter(None, (line.label, kl_weight_in_words(s.kl_weight)))), s.first)
                for s in shown
            ]
    width = max([FEW, *map(len, rows)])
    width = width if len(others) <= width else FEW
    return rows + [others[i : i + width] for i in range(0, len(others), width)]


def grids(rows: list[list[Panel]]) -> list[list[list[Panel]]]:
    """The rows of a grid, in one group or two: long sweeps apart from many other settings, which then are larger."""
    sweeps = [row for row in rows if row[0].row]
    others = [row for row in rows if not row[0].row]
    return [sweeps, others] if len(others) > 1 and max(map(len, sweeps), default=0) > FEW else [rows]


def folded(label: str, width: int) -> str:
    """A label in lines of at most so many characters, broken after commas where one would be longer."""
    lines = [line if len(line) <= width else line.replace(", ", "\n") for line in label.split("\n")]
    return style.wrap("\n".join(lines), width)


def in_words(panels: Sequence[Panel], each: Callable[[Panel], str] = lambda panel: "") -> str:
    """The panels of a figure in a line: of each sweep the first and the last; `each` may add to a panel's name."""
    said: list[str] = []
    for row, held in groupby(panels, key=lambda panel: panel.row):
        first, *rest = (f"{panel.title}{each(panel)}".replace("\n", ", ") for panel in held)
        if row:
            said.append(f"{row}, {first}{f' to {rest[-1]}' if rest else ''}")
        else:
            said += [first, *rest]
    return "; ".join(said)
