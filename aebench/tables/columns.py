"""The columns of a table as a reader sees them, and the notes below it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from aebench.tables.numbers import MISSING, format_interval, format_number, format_settings

STATISTICS = ("mean", "low", "high", "n")
FOLD = 24
"""Width at which a setting in a terminal goes on in the next line."""


@dataclass(frozen=True)
class Column:
    """A column as a reader sees it."""

    name: str
    texts: list[str]
    number: bool
    fixed: bool
    """Whether it says what the row is, and is always shown."""
    unit: str = ""
    arrow: str = ""

    @property
    def head(self) -> str:
        """Its name, in as many lines as a terminal needs, and the better direction."""
        return wrapped(f"{self.name} {self.arrow}".rstrip(), self.narrow)

    @property
    def narrow(self) -> int:
        """The width of its cells, into which a long name is broken."""
        return max([10, *map(len, self.texts)])

    @property
    def width(self) -> int:
        """Characters that it takes in a terminal."""
        width = max(map(len, [*self.head.split("\n"), *self.texts]))
        return width if self.number else min(width, FOLD)


def columns_of(table: pd.DataFrame) -> list[Column]:
    """The settings and counts, then each metric value in one column."""
    kind, rows, values = (table.attrs.get(key, {}) for key in ("kind", "rows", "values"))
    metrics = summed(table)
    hidden = {f"{metric}_{statistic}" for metric in metrics for statistic in STATISTICS}
    if metrics and not table["failed"].any():
        hidden.add("failed")
    if metrics and len(set(table["runs"])) == 1:
        hidden.add("runs")
    found: list[Column] = []
    for name in map(str, table.columns):
        if name not in hidden:
            number = pd.api.types.is_numeric_dtype(table[name]) or (kind == "pivot" and name not in rows)
            fixed = kind == "summary" or (kind in ("pivot", "runs") and name in rows)
            found.append(Column(name, _texts(table, name), number, fixed, **_about(values.get(name, {}))))
    return found + [Column(m, cells(table, m), True, False, **_about(values[m])) for m in metrics]


def _about(value: dict[str, Any]) -> dict[str, str]:
    arrow = {"lower": "↓", "higher": "↑"}.get(value.get("better", ""), "")
    return {"unit": value.get("unit", ""), "arrow": arrow}


def summed(table: pd.DataFrame) -> list[str]:
    """The metric values of a summary whose four columns are all there."""
    if table.attrs.get("kind") != "summary" or not {"runs", "failed"} <= set(table.columns):
        return []
    return [m for m in table.attrs["metrics"] if {f"{m}_{s}" for s in STATISTICS} <= set(table.columns)]


def _texts(table: pd.DataFrame, name: str) -> list[str]:
    values = objects(table[name])
    if name in table.attrs.get("values", {}):
        return [MISSING if value is None else format_number(value) for value in values]
    return [" ".join(text.split()) for text in format_settings(values)]


def objects(column: pd.Series[Any]) -> list[Any]:
    """The values as Python has them, None where one is missing."""
    return column.astype(object).where(column.notna(), None).tolist()


def cells(table: pd.DataFrame, metric: str, of: Literal["runs", "finished"] = "finished") -> list[str]:
    """The text of one metric value in each row of a summary: `mean ± half-width`, "–" where there is none.

    `(3/5)` follows where only three of five runs have the value: of all runs, or of those that finished. A value that
    no run has is undefined for the setting and just "–", unless runs failed.
    """
    columns = [table[f"{metric}_{statistic}"] for statistic in STATISTICS]
    texts: list[str] = []
    for mean, low, high, n, runs, failed in zip(*columns, table["runs"], table["failed"], strict=True):
        total = runs if of == "runs" else runs - failed
        complete = n == total or (n == 0 and not (failed and of == "runs"))
        text = format_interval(mean, low, high)
        texts.append(text if complete else f"{text} ({n}/{total})")
    return texts


def wrapped(name: str, width: int) -> str:
    """A name broken after underscores and spaces into lines of this width."""
    lines = [""]
    for part in re.findall(r"[^_ ]*[_ ]*", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def notes(table: pd.DataFrame, columns: list[Column]) -> list[str]:
    """What the numbers are, the units of these columns, and the settings that all rows share; one line each."""
    attrs = table.attrs
    found: list[str] = []
    if "level" in attrs:
        metric = attrs["metrics"][0] if attrs["kind"] == "pivot" else ""
        what = f"{metric} [{attrs['values'][metric]['unit']}]: " if metric else ""
        seeds = sorted(set(table["runs"])) if "runs" in table else attrs["seeds"]
        number = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 2 else " or ".join(map(str, seeds))
        over = f"mean ± half-width of the {100 * attrs['level']:g} % t interval over {number} seeds"
        found.append(what + ("one seed, no interval" if seeds == [1] else over))
    if columns:
        found.append("; ".join(f"{c.name}: {c.unit}" for c in columns))
    if attrs.get("constant"):
        found.append("all runs: " + ", ".join(f"{name} {value}" for name, value in attrs["constant"].items()))
    return [" ".join(line.split()) for line in found]
