"""Tables of results: means and intervals over the seeds of each setting. `render` and `to_terminal` write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from aebench import stats
from aebench.errors import InputError, unknown
from aebench.known import is_closed_form
from aebench.tables.columns import STATISTICS, cells
from aebench.tables.numbers import COUNTED, MISSING, format_interval, format_number, format_settings
from aebench.tables.render import render
from aebench.tables.terminal import to_terminal

__all__ = [
    "format_interval",
    "format_number",
    "pivot",
    "render",
    "runs",
    "settings",
    "summary",
    "to_terminal",
    "varying",
]

_RUN = ("id", "seed", "status", "error")
_DERIVED = ("kl_weight", "notes_beta")


def settings(frame: pd.DataFrame) -> list[str]:
    """The columns that say what a run is, but for its seed: of a frame as `aebench.load` gives it."""
    return [name for name in map(str, frame.columns) if name not in _RUN and name not in _values(frame)]


def varying(frame: pd.DataFrame) -> list[str]:
    """The variant, and the settings that are not the same in all runs: the rows of a table where none are named."""
    names = [name for name in settings(frame) if name not in _DERIVED]
    return [name for name in names if name == "variant" or _varies(frame[name])]


def summary(
    frame: pd.DataFrame,
    rows: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """One row a setting, in order of appearance: `runs`, `failed`, and of each metric value four columns.

    `<name>_mean`, `_low` and `_high` are the mean over seeds and its t interval, `_n` the seeds that have the value;
    failed runs have none. `rows` are the settings to tell apart: by default the variant and all that vary.
    Raises InputError for an unknown name, and where a row would average over different settings.
    """
    rows = varying(frame) if rows is None else _names(frame, rows)
    chosen = metrics is not None
    metrics = _metrics(frame, metrics)
    group = _groups(frame, rows)
    _refuse_mixtures(frame, rows, group)
    failed = frame["status"].ne("ok").to_numpy()
    seeds = _by_seed(frame, metrics, group, failed)
    found = stats.mean_intervals(seeds, level, missing="drop")
    columns: dict[str, Any] = {name: frame[name].groupby(group, sort=False).first(skipna=False) for name in rows}
    copies = frame["variant"].map(is_closed_form).groupby(group).all().to_numpy()  # of a number that no seed moves
    columns["runs"] = np.bincount(group)
    columns["failed"] = np.bincount(group, weights=failed).astype(int)
    for m, name in enumerate(metrics):
        low, high = found.low[:, m], found.high[:, m]
        if _values(frame)[name].get("shared"):  # one number of a pack, not a sample: no interval
            low, high = np.full_like(low, np.nan), np.full_like(high, np.nan)
        elif COUNTED.fullmatch(name):
            low, high = np.where(low == high, np.nan, [low, high])
        else:
            low, high = np.where(copies & (low == high), np.nan, [low, high])
        arrays = (found.mean[:, m], low, high, found.n[:, m])
        columns |= dict(zip((f"{name}_{statistic}" for statistic in STATISTICS), arrays, strict=True))
    table = pd.DataFrame(columns)
    table.attrs = {
        "kind": "summary",
        "rows": rows,
        "metrics": metrics,
        "chosen": chosen,
        "level": level,
        "seeds": sorted({int(n) for n in columns["runs"]}),
        "values": {name: _values(frame)[name] for name in metrics},
        "constant": _constant(frame, rows),
    }
    return table


def runs(
    frame: pd.DataFrame, rows: str | Sequence[str] | None = None, metrics: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """One row a run: its id, the settings `rows` (by default the variant and all that vary), seed, status, values.

    Where runs failed, the last column says why. Raises InputError for an unknown name.
    """
    chosen = metrics is not None
    rows, metrics = varying(frame) if rows is None else _names(frame, rows), _metrics(frame, metrics)
    names = ["id", *rows, "seed", "status"]
    error = ["error"] if frame["status"].ne("ok").any() else []
    table = frame[[*names, *metrics, *error]].copy()
    table.attrs = {
        "kind": "runs",
        "rows": names,
        "metrics": metrics,
        "chosen": chosen,
        "values": {name: _values(frame)[name] for name in metrics},
        "constant": _constant(frame, rows),
    }
    return table


def pivot(
    frame: pd.DataFrame,
    rows: str | Sequence[str] | None,
    columns: str | Sequence[str],
    metric: str,
    level: float = 0.95,
) -> pd.DataFrame:
    """One metric value as text `mean ± half-width`: `rows` down, one column for each setting of `columns`.

    Without `rows`, the variant and all that vary make the rows. Columns come in order of appearance, numbers rise. A
    setting without runs, or without a value, is "–"; `(3/5)` says that three of five runs have the value. A program
    takes its numbers from `summary` with the same rows and columns.
    Raises InputError for an unknown name, and where a cell would average over different settings.
    """
    across = _names(frame, columns)
    down = _names(frame, [n for n in varying(frame) if n not in across] if rows is None else rows)
    if both := [name for name in down if name in across]:
        raise InputError(f"{both[0]!r} cannot be both a row and a column")
    table = summary(frame, [*down, *across], [metric], level)
    texts = cells(table, metric, of="runs")
    row, column = _groups(table, down), _groups(table, across)
    heads = _heads(table, across)
    body = np.full((int(row.max()) + 1, int(column.max()) + 1), MISSING, dtype=object)
    body[row, column] = texts
    first = np.unique(row, return_index=True)[1]
    found = {name: table[name].iloc[first].reset_index(drop=True) for name in down}
    order = np.unique(column, return_index=True)[1]
    if len(across) == 1 and pd.api.types.is_numeric_dtype(table[across[0]]):
        order = order[np.argsort(table[across[0]].to_numpy(np.float64, na_value=np.nan)[order], kind="stable")]
    found |= {heads[at]: pd.Series(body[:, column[at]], dtype=object) for at in order}
    result = pd.DataFrame(found)
    result.attrs = {**table.attrs, "kind": "pivot", "rows": down}
    return result


def _heads(table: pd.DataFrame, across: list[str]) -> list[str]:
    """The column that each row of the summary belongs to: a value as it is where it is text, else `name=value`."""
    parts = [format_settings(table[name]) for name in across]
    named = [
        [
            text if isinstance(value, str) or text == MISSING else f"{name}={text}"
            for text, value in zip(texts, table[name], strict=True)
        ]
        for name, texts in zip(across, parts, strict=True)
    ]
    heads = [", ".join(t for t in row if t != MISSING) or MISSING for row in zip(*named, strict=True)]
    return [" ".join(head.split()) for head in heads]  # a name may have line breaks


def _values(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    try:
        values: dict[str, dict[str, Any]] = frame.attrs["values"]
    except KeyError:
        raise InputError('the frame has no attrs["values"]: take it from aebench.load, or keep its attrs') from None
    return values


def _names(frame: pd.DataFrame, names: str | Sequence[str]) -> list[str]:
    """Settings of the frame by name, or InputError."""
    names = [names] if isinstance(names, str) else list(names)
    known = settings(frame) if "kind" not in frame.attrs else frame.attrs["rows"]
    for name in names:
        if name not in known:
            raise unknown("column", name, known)
    if not names:
        raise InputError(f"name at least one column: choose from {', '.join(known)}")
    return list(dict.fromkeys(names))


def _metrics(frame: pd.DataFrame, names: str | Sequence[str] | None) -> list[str]:
    known = [name for name in _values(frame) if name in frame.columns]
    if names is None:  # what was only looked at to choose by is no result
        return [name for name in known if _values(frame)[name].get("part") != "validation"]
    names = [names] if isinstance(names, str) else list(dict.fromkeys(names))
    for name in names:
        if name not in known:
            raise unknown("metric value", name, known)
    return names


def _constant(frame: pd.DataFrame, rows: list[str]) -> dict[str, str]:
    """The settings that all runs share, as text."""
    shared = [name for name in settings(frame) if name not in (*rows, *_DERIVED) and not _varies(frame[name])]
    return {name: format_settings(frame[name].iloc[:1])[0] for name in shared if frame[name].notna().all()}


def _varies(column: pd.Series[Any]) -> bool:
    return column.drop_duplicates().size > 1


def _groups(frame: pd.DataFrame, names: list[str]) -> np.ndarray:
    """The number of each row's group, `[rows]`, in order of appearance."""
    return frame.groupby(names, dropna=False, sort=False).ngroup().to_numpy(dtype=np.int64)


def _refuse_mixtures(frame: pd.DataFrame, rows: list[str], group: np.ndarray) -> None:
    """An interval over seeds must not hide a difference in settings, nor count a seed twice."""
    others = [name for name in settings(frame) if name not in (*rows, *_DERIVED)]
    mixed = [name for name in others if frame[name].groupby(group).nunique(dropna=False).gt(1).any()]
    if mixed:
        flags = " ".join(f"--rows {name}" for name in mixed)
        raise InputError(
            f"rows by {', '.join(rows)} would average over runs that differ in {', '.join(mixed)}: name these too "
            f"({flags}), or leave the rows out, and all that differ are told apart"
        )
    again = pd.DataFrame({"group": group, "seed": frame["seed"].to_numpy()}).duplicated().to_numpy()
    if again.any():
        raise InputError(
            f"run {frame['id'].to_numpy()[again][0]} stands in the frame twice: its seed would count twice"
        )


def _by_seed(frame: pd.DataFrame, metrics: list[str], group: np.ndarray, failed: np.ndarray) -> np.ndarray:
    """`[groups, metrics, seeds]`, NaN where a run failed, has no value, or the group has fewer runs."""
    values = frame[metrics].to_numpy(dtype=np.float64, na_value=np.nan).copy()
    values[failed] = np.nan
    place = pd.Series(group).groupby(group).cumcount().to_numpy()
    seeds = np.full((int(group.max(initial=-1)) + 1, len(metrics), int(place.max(initial=-1)) + 1), np.nan)
    seeds[group, :, place] = values
    return seeds
