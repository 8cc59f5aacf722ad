"""The tables of a report as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from aebench import tables
from aebench.reporting.gathered import SharedDict

if TYPE_CHECKING:
    from pandas import DataFrame

    from aebench.reporting.files import Files

ASIDE = re.compile(r"mse|[USV]|l0_fraction|denoising_gain_db_(?!0\.25).*|parameters|flops_.*|(en|de)code_.*")
"""Values that LaTeX tables leave out: what follows from others, sizes and speeds."""
SHARED = ("train_seconds", "train_examples_per_s", "peak_bytes")
"""What runs have in common that trained together: a spread over them would mean nothing. The cost table has it."""
Links = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
"""Of each table a label, and the name and file of each format."""


def write_tables(frame: DataFrame, files: Files) -> Links:
    """Write the tables; links to them.

    CSV and LaTeX, and Parquet where the package pyarrow is installed.
    """
    if not frame["status"].eq("ok").any():
        return ()
    links = [("every run", _written(frame, None, "runs", files))]
    for data in dict.fromkeys(frame["data"]):
        rows = frame[frame["data"] == data]
        measured = [name for name in frame.attrs["values"] if rows[name].notna().any() and name not in SHARED]
        if not measured:
            continue
        main = [name for name in measured if not ASIDE.fullmatch(name)] or measured
        whole, first = _summary(rows, measured), _summary(rows, main)
        links.append((f"means on {data}", _written(whole, first, f"summary-{data}", files)))
    return tuple(links)


def _summary(rows: DataFrame, metrics: Sequence[str]) -> DataFrame:
    found = tables.summary(rows, metrics=metrics)
    found.attrs = {name: SharedDict(part) if isinstance(part, dict) else part for name, part in found.attrs.items()}
    return found


def _written(table: DataFrame, short: DataFrame | None, name: str, files: Files) -> tuple[tuple[str, str], ...]:
    """Write a table for programs, and its short form for LaTeX; the name and file of each format."""
    formats = {"csv": ("CSV", table), **({"parquet": ("Parquet", table)} if find_spec("pyarrow") else {})}
    formats |= {} if short is None else {"tex": ("LaTeX", short)}
    stem = files.claim("tables", name, *(f".{ending}" for ending in formats))
    for ending, (_, content) in formats.items():
        files.write(f"{stem}.{ending}", tables.render(content, "latex" if ending == "tex" else ending))
    return tuple((label, f"{stem}.{ending}") for ending, (label, _) in formats.items())
