"""Tables in a terminal: what fits, what goes on below, what is only named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from aebench.tables.columns import Column, columns_of, notes, wrapped
from aebench.tables.numbers import MISSING

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = ("sse", "kl", "active_units", "psnr", "denoising_gain_db_0.25")
"""What a terminal shows of a summary, the first as far as they fit."""
LINE = 100
"""Width of a terminal up to which the notes below a table are comfortably read."""
NUMBERS = 48
"""Columns of a terminal that settings leave to numbers at least, where they can; half of a wide one."""
SETTINGS = "settings"
"""The column that settings become where they do not fit as columns of their own."""
KEYS = ("suite", "variant", "data")
RUN = ("id", "seed", "status")


def to_terminal(table: pd.DataFrame, console: Console) -> None:
    """Print a frame, a table of runs, a summary or pivot as wide as the terminal.

    Columns that were asked for go on in a further table below where they do not fit; others are then only named.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text as Line

    blocks, left_out = _fitting(table, console.width)
    for columns in blocks:
        grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for c in columns:
            justify = "right" if c.number else "left"
            grid.add_column(Line(c.head), justify=justify, no_wrap=c.number, overflow="fold", max_width=c.width)
        for row in zip(*(c.texts for c in columns), strict=True):
            grid.add_row(*(Line(t if c.number else wrapped(t, c.width)) for c, t in zip(columns, row, strict=True)))
        console.print(grid)
        console.print()
    for line in [*notes(table, [c for block in blocks for c in block if c.unit]), *left_out]:
        console.print(Line(line, style="dim"), width=min(console.width, LINE))


def _fitting(table: pd.DataFrame, width: int) -> tuple[list[list[Column]], list[str]]:
    """Columns of one table or more that fit a terminal, each with the settings first; lines that name the others."""
    columns = {c.name: c for c in columns_of(table)}
    others = [c for c in columns.values() if not c.fixed]
    asked = table.attrs.get("chosen")
    if asked is False:
        others = [columns[name] for name in SHOWN if name in columns] or others
    shown, dropped = _settings([c for c in columns.values() if c.fixed], others, table, width)
    blocks: list[list[Column]] = [[]]
    for c in others:
        if not blocks[-1] or _width([*shown, *blocks[-1], c]) <= width:  # a table without a number says nothing
            blocks[-1].append(c)
        elif asked:
            blocks.append([c])
    placed = {c.name for block in blocks for c in block}
    values = [name for name, c in columns.items() if not c.fixed and name not in placed]
    keys = ", ".join(name for name in KEYS if name in columns)
    lines = [f"not shown, as known from {keys}: {', '.join(dropped)}"] if dropped else []
    lines += [f"not shown: {', '.join(values)}"] if values else []
    return [[*shown, *block] for block in blocks], lines


def _settings(
    fixed: list[Column], others: list[Column], table: pd.DataFrame, width: int
) -> tuple[list[Column], list[str]]:
    """The columns of settings that leave room for numbers, and the names of those that had to go.

    Where not all fits, those that some rows lack become one column. Then those go that suite, variant and data tell,
    first such as some rows lack. What is still too wide becomes one column.
    """
    if not others or _width([*fixed, *others]) <= width:
        return fixed, []
    told, room = _told(table), width - min(max(NUMBERS, width // 2), _width(others) + 2)
    free = [name for name in table.attrs.get("rows", []) if name not in (*KEYS, *RUN)]
    fixed = _merged([c for c in fixed if c.name in free and c.name not in told and MISSING in c.texts], fixed)
    whole = [c for c in fixed if c.name in told and MISSING not in c.texts]
    going = [c for c in fixed if c.name in told and c not in whole] + whole[::-1]
    dropped: list[str] = []
    while going and _width(fixed) > room:
        dropped.append(going[0].name)
        fixed.remove(going.pop(0))
    if _width(fixed) > room:
        fixed = _merged([c for c in fixed if c.name in (*free, SETTINGS)], fixed)
    return fixed, [name for name in told if name in dropped]


def _merged(some: list[Column], fixed: list[Column]) -> list[Column]:
    """`fixed` with some of its columns as one: `lam 0.1, p 0.05`, without those that a row lacks."""
    if len(some) < 2:
        return fixed
    texts = [
        ", ".join(t if c.name == SETTINGS else f"{c.name} {t}" for c, t in zip(some, row, strict=True) if t != MISSING)
        for row in zip(*(c.texts for c in some), strict=True)
    ]
    merged = Column(SETTINGS, [text or MISSING for text in texts], number=False, fixed=True)
    return [merged if c is some[0] else c for c in fixed if c not in some[1:]]


def _width(columns: list[Column]) -> int:
    return sum(c.width + 2 for c in columns) - 2


def _told(table: pd.DataFrame) -> list[str]:
    """The settings, but for hyperparameters, that are equal in all rows of one suite, variant and data set."""
    rows = table.attrs.get("rows", [])
    key = [name for name in KEYS if name in rows]
    if table.attrs.get("kind") not in ("summary", "runs") or not key:
        return []
    kept = {n for n in rows if pd.api.types.is_float_dtype(table[n]) and n not in {"lr", "weight_decay", "clip"}}
    kept |= {*key, *RUN}
    counts = table.groupby(key, sort=False)[[n for n in rows if n not in kept]].nunique(dropna=False)
    return [str(name) for name in counts.columns if (counts[name] == 1).all()]
