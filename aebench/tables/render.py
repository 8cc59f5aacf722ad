"""Tables as text: for a page or a program."""

from __future__ import annotations

import importlib.util
import json
import re
from io import BytesIO
from typing import Any, Literal, overload

import pandas as pd

from aebench.errors import InputError, unknown
from aebench.store.documents import plain
from aebench.tables.columns import STATISTICS, columns_of, notes, objects, summed
from aebench.tables.escaping import escape
from aebench.tables.numbers import MISSING

Text = Literal["md", "csv", "latex", "json", "text"]
FORMATS = ("md", "csv", "latex", "json", "text", "parquet")
_MINUS = re.compile(r"(?<=[\s(&{])-(?=\d)")
_LATEX = {
    "±": "$\\pm$", MISSING: "--", "↓": "$\\downarrow$", "↑": "$\\uparrow$", "→": "$\\to$", "∞": "$\\infty$",
}  # fmt: skip


@overload
def render(table: pd.DataFrame, fmt: Text) -> str: ...
@overload
def render(table: pd.DataFrame, fmt: Literal["parquet"]) -> bytes: ...
@overload
def render(table: pd.DataFrame, fmt: str) -> str | bytes: ...
def render(table: pd.DataFrame, fmt: str) -> str | bytes:
    """A frame, summary or pivot in one of `FORMATS`.

    md, latex and text are for readers: intervals in one cell; units in the heads, or below. csv, json and parquet are
    for programs: every column under its own name, all digits. csv has the unit of each mean as a column, json and the
    metadata of parquet have them under "values"; parquet is bytes. Raises InputError for another format.
    """
    if fmt == "csv":
        return _with_units(table).to_csv(index=False)
    if fmt == "json":
        return _json(table)
    if fmt == "parquet":
        return _parquet(table)
    if fmt in ("md", "latex", "text"):
        return _readable(table, fmt)
    raise unknown("format", fmt, FORMATS)


def _readable(table: pd.DataFrame, fmt: str) -> str:
    """Through tabulate, the notes below."""
    from tabulate import tabulate

    columns = columns_of(table)
    below = [c for c in columns if c.unit and fmt != "text"]  # a page is narrower than units are long
    units = {c.name: f" [{c.unit}]" for c in columns if c.unit and fmt == "text"}
    heads = [f"{c.name}{units.get(c.name, '')} {c.arrow}".rstrip() for c in columns]
    rows = [list(row) for row in zip(*(c.texts for c in columns), strict=True)]
    if fmt == "md":
        heads, rows = [escape(head) for head in heads], [[escape(text) for text in row] for row in rows]
    style = {"md": "pipe", "latex": "latex_booktabs", "text": "simple"}[fmt]
    align = ["right" if c.number else "left" for c in columns]
    body = tabulate(rows, heads, tablefmt=style, disable_numparse=True, colalign=align if rows else None)
    words = notes(table, below)
    if fmt == "latex":
        for character, command in _LATEX.items():
            body = body.replace(character, command)
        body = _MINUS.sub("$-$", body)
        return "".join(f"% {note}\n" for note in words) + f"{body}\n"
    return "\n".join([body, *(f"\n{escape(note) if fmt == 'md' else note}" for note in words)]) + "\n"


def _with_units(table: pd.DataFrame) -> pd.DataFrame:
    """A summary with the unit of each metric value as a column after its statistics."""
    last = {f"{metric}_{STATISTICS[-1]}": metric for metric in summed(table)}
    columns: dict[str, Any] = {}
    for name in map(str, table.columns):
        columns[name] = table[name]
        if metric := last.get(name):
            columns[f"{metric}_unit"] = [table.attrs["values"][metric]["unit"]] * len(table)
    return pd.DataFrame(columns)


def _json(table: pd.DataFrame) -> str:
    columns = {str(name): objects(table[name]) for name in table.columns}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    about = {key: table.attrs[key] for key in ("level", "values") if key in table.attrs}
    return json.dumps(plain({**about, "rows": rows}), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _parquet(table: pd.DataFrame) -> bytes:
    if importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"parquet needs the package pyarrow: install it, or choose from {', '.join(FORMATS[:-1])}")
    table = table.copy()
    for name in table.columns:
        values = objects(table[name])
        if len({type(value) for value in values if value is not None}) > 1:
            table[name] = [None if value is None else str(value) for value in values]
    file = BytesIO()
    table.to_parquet(file, index=False, engine="pyarrow")
    return file.getvalue()
