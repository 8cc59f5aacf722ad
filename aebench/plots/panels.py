"""A grid of pictures: which run stands where, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from itertools import groupby

from pandas import DataFrame

from aebench.groups import kl_weight_in_words, series

COLUMNS = 8
"""Panels in a row of a grid of pictures."""


def lowest_seeds(frame: DataFrame) -> list[tuple[str, str]]:
    """For each setting of one data set its label and the id of the run with the lowest seed."""
    return [(setting.label, setting.first) for line in series(frame) for setting in line.settings]


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
    width = max([4, *map(len, rows)])
    return rows + [others[i : i + width] for i in range(0, len(others), width)]


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
