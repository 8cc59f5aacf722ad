"""Tables as text: for a page, a program or a terminal."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, overload

import pandas as pd

from aebench.errors import InputError, unknown
from aebench.store.documents import plain
from aebench.tables.numbers import MISSING, format_interval, format_number, format_settings

if TYPE_CHECKING:
    from rich.console import Console

Text = Literal["md", "csv", "latex", "json", "text"]
FORMATS = ("md", "csv", "latex", "json", "text", "parquet")
STATISTICS = ("mean", "low", "high", "n")
SHOWN = ("sse", "kl", "active_units", "psnr", "denoising_gain_db_0.25")
"""What a terminal shows of a summary, the first as far as they fit."""
WIDTH = 100
NUMBERS = 48
"""Columns of a terminal that settings leave to numbers, where they can."""
FOLD = 24
"""Width at which a setting in a terminal goes on in the next line."""
_LATEX = {"±": "$\\pm$", MISSING: "--", "↓": "$\\downarrow$", "↑": "$\\uparrow$", "∞": "$\\infty$"}


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


@overload
def render(table: pd.DataFrame, fmt: Text) -> str: ...
@overload
def render(table: pd.DataFrame, fmt: Literal["parquet"]) -> bytes: ...
@overload
def render(table: pd.DataFrame, fmt: str) -> str | bytes: ...
def render(table: pd.DataFrame, fmt: str) -> str | bytes:
    """A frame, summary or pivot in one of `FORMATS`.

    md, latex and text are for readers: intervals in one cell, units in the headers. csv, json and parquet are for
    programs: every column under its own name, all digits; parquet is bytes. Raises InputError for another format.
    """
    if fmt == "csv":
        return table.to_csv(index=False)
    if fmt == "json":
        return _json(table)
    if fmt == "parquet":
        return _parquet(table)
    if fmt in ("md", "latex", "text"):
        return _readable(table, fmt)
    raise unknown("format", fmt, FORMATS)


def to_terminal(table: pd.DataFrame, console: Console) -> None:
    """Print a frame, summary or pivot, at most 100 columns wide; what does not fit is named below it."""
    from rich import box
    from rich.table import Table
    from rich.text import Text as Line

    width = min(console.width, WIDTH)
    columns, left_out = _fitting(table, width)
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for c in columns:
        justify = "right" if c.number else "left"
        grid.add_column(Line(c.head), justify=justify, no_wrap=c.number, overflow="fold", max_width=c.width)
    for row in zip(*(c.texts for c in columns), strict=True):
        grid.add_row(*map(Line, row))
    console.print(grid, width=width)
    console.print()
    notes = _notes(table, [c for c in columns if c.unit])
    for line in [*notes, *([f"not shown: {', '.join(left_out)}"] if left_out else [])]:
        console.print(Line(line, style="dim"), width=width)


@dataclass(frozen=True)
class _Column:
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
        return _wrapped(f"{self.name} {self.arrow}".rstrip(), self.narrow)

    @property
    def narrow(self) -> int:
        """The width of its cells, into which a long name is broken."""
        return max([10, *map(len, self.texts)])

    @property
    def width(self) -> int:
        """Characters that it takes in a terminal."""
        width = max(map(len, [*self.head.split("\n"), *self.texts]))
        return width if self.number else min(width, FOLD)


def _columns(table: pd.DataFrame) -> list[_Column]:
    """The settings and counts, then each metric value in one column."""
    kind, rows, values = (table.attrs.get(key, {}) for key in ("kind", "rows", "values"))
    metrics = _summed(table)
    hidden = {f"{metric}_{statistic}" for metric in metrics for statistic in STATISTICS}
    if metrics and not table["failed"].any():
        hidden.add("failed")
    if metrics and len(set(table["runs"])) == 1:
        hidden.add("runs")
    found: list[_Column] = []
    for name in map(str, table.columns):
        if name not in hidden:
            number = pd.api.types.is_numeric_dtype(table[name]) or (kind == "pivot" and name not in rows)
            fixed = kind == "summary" or (kind == "pivot" and name in rows)
            found.append(_Column(name, _texts(table, name), number, fixed, **_about(values.get(name, {}))))
    return found + [_Column(m, cells(table, m), True, False, **_about(values[m])) for m in metrics]


def _about(value: dict[str, Any]) -> dict[str, str]:
    arrow = {"lower": "↓", "higher": "↑"}.get(value.get("better", ""), "")
    return {"unit": value.get("unit", ""), "arrow": arrow}


def _summed(table: pd.DataFrame) -> list[str]:
    """The metric values of a summary whose four columns are all there."""
    if table.attrs.get("kind") != "summary" or not {"runs", "failed"} <= set(table.columns):
        return []
    return [m for m in table.attrs["metrics"] if {f"{m}_{s}" for s in STATISTICS} <= set(table.columns)]


def _texts(table: pd.DataFrame, name: str) -> list[str]:
    values = _objects(table[name])
    if name in table.attrs.get("values", {}):
        return [MISSING if value is None else format_number(value) for value in values]
    return [" ".join(text.split()) for text in format_settings(values)]


def _objects(column: pd.Series[Any]) -> list[Any]:
    """The values as Python has them, None where one is missing."""
    return column.astype(object).where(column.notna(), None).tolist()


def _fitting(table: pd.DataFrame, width: int) -> tuple[list[_Column], list[str]]:
    """The columns that fit a terminal, the settings first, and the names of the others."""
    columns = {c.name: c for c in _columns(table)}
    others = [c for c in columns.values() if not c.fixed]
    told = _told(table) if others else []
    shown = [c for c in columns.values() if c.fixed]
    if not table.attrs.get("chosen", True):
        others = [columns[name] for name in SHOWN if name in columns] or others
    while told and _width(shown) > width - min(NUMBERS, _width(others) + 2):
        shown = [c for c in shown if c.name != told[-1]]
        told.pop()
    for i, c in enumerate(others):
        if i == 0 or _width([*shown, c]) <= width:  # a table without a number says nothing
            shown.append(c)
    return shown, [name for name, c in columns.items() if c not in shown]


def _width(columns: list[_Column]) -> int:
    return sum(c.width + 2 for c in columns) - 2


def _told(table: pd.DataFrame) -> list[str]:
    """The settings, but for hyperparameters, that are equal in all rows of one variant on one data set."""
    rows = table.attrs.get("rows", [])
    key = [name for name in ("variant", "data") if name in rows]
    if table.attrs.get("kind") != "summary" or not key:
        return []
    hyper = {n for n in rows if pd.api.types.is_float_dtype(table[n]) and n not in {"lr", "weight_decay", "clip"}}
    counts = table.groupby(key, sort=False)[[n for n in rows if n not in {*key, *hyper}]].nunique(dropna=False)
    return [str(name) for name in counts.columns if (counts[name] == 1).all()]


def _wrapped(name: str, width: int) -> str:
    """A name broken after underscores and spaces into lines of this width."""
    lines = [""]
    for part in re.findall(r"[^_ ]*[_ ]*", name):
        if lines[-1] and len(lines[-1] + part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def _notes(table: pd.DataFrame, columns: list[_Column]) -> list[str]:
    """What the numbers are, their units, and the settings that all rows share."""
    attrs = table.attrs
    notes: list[str] = []
    if "level" in attrs:
        what = f"{attrs['metrics'][0]} [{attrs['values'][attrs['metrics'][0]]['unit']}]: "
        seeds = sorted(set(table["runs"])) if "runs" in table else attrs["seeds"]
        over = f"mean ± half-width of the {100 * attrs['level']:g} % t interval over {', '.join(map(str, seeds))} seeds"
        over = "one seed, no interval" if seeds == [1] else over
        notes.append((what if attrs["kind"] == "pivot" else "") + over)
    if columns:
        notes.append("; ".join(f"{c.name}: {c.unit}" for c in columns))
    if attrs.get("constant"):
        notes.append("all runs: " + ", ".join(f"{name} {value}" for name, value in attrs["constant"].items()))
    return notes


def _readable(table: pd.DataFrame, fmt: str) -> str:
    """Through tabulate, the notes below."""
    from tabulate import tabulate

    columns = _columns(table)
    below = [c for c in columns if c.unit and fmt == "md"]  # a page is narrower than units are long
    units = {c.name: f" [{c.unit}]" for c in columns if c.unit and fmt != "md"}
    heads = [f"{c.name}{units.get(c.name, '')} {c.arrow}".rstrip() for c in columns]
    rows = [list(row) for row in zip(*(c.texts for c in columns), strict=True)]
    if fmt == "md":
        heads, rows = [_escaped(head) for head in heads], [[_escaped(text) for text in row] for row in rows]
    style = {"md": "pipe", "latex": "latex_booktabs", "text": "simple"}[fmt]
    align = ["right" if c.number else "left" for c in columns]
    body = tabulate(rows, heads, tablefmt=style, disable_numparse=True, colalign=align if rows else None)
    notes = _notes(table, below)
    if fmt == "latex":
        for character, command in _LATEX.items():
            body = body.replace(character, command)
        return "".join(f"% {note}\n" for note in notes) + f"{body}\n"
    return "\n".join([body, *(f"\n{_escaped(note) if fmt == 'md' else note}" for note in notes)]) + "\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _json(table: pd.DataFrame) -> str:
    columns = {str(name): _objects(table[name]) for name in table.columns}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    about = {key: table.attrs[key] for key in ("level", "values") if key in table.attrs}
    return json.dumps(plain({**about, "rows": rows}), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _parquet(table: pd.DataFrame) -> bytes:
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"parquet needs the package pyarrow: install it, or choose from {', '.join(FORMATS[:-1])}")
    table = table.copy()
    for name in table.columns:
        values = _objects(table[name])
        if len({type(value) for value in values if value is not None}) > 1:
            table[name] = [None if value is None else str(value) for value in values]
    file = BytesIO()
    table.to_parquet(file, index=False, engine="pyarrow")
    return file.getvalue()
