"""Commands on folders of results: measure again, table, report."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from aebench.cli.printing import err, out
from aebench.errors import InputError

Results = Annotated[Path, typer.Argument(metavar="RESULTS", help="a folder of results, such as results/quickstart")]
AllowCode = Annotated[bool, typer.Option("--allow-code", help="let the suite run Python code that it names")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]


class Format(StrEnum):
    """How a table is written."""

    text = "text"
    md = "md"
    csv = "csv"
    latex = "latex"
    json = "json"
    parquet = "parquet"


def evaluate_command(
    results: Results,
    metric: Annotated[list[str], typer.Option("--metric", help="this one too; again for more")] = [],  # noqa: B006
    device: Device = "auto",
    allow_code: AllowCode = False,
) -> None:
    """Measure finished runs again from their stored weights."""
    from aebench import pipeline
    from aebench.progress import Progress

    measured, lost = pipeline.evaluate(
        results, metric, device=device, allow_code=allow_code, progress=Progress(err)
    )  # fmt: skip
    err.print(f"{measured} runs measured, {lost} without usable weights")
    if lost:
        raise typer.Exit(1)


def table_command(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="folders of results")],
    rows: Annotated[list[str], typer.Option("--rows", help="settings of the rows; else all that vary")] = [],  # noqa: B006
    columns: Annotated[list[str], typer.Option("--columns", help="settings that make the columns")] = [],  # noqa: B006
    metric: Annotated[list[str], typer.Option("--metric", help="values shown, such as sse")] = [],  # noqa: B006
    format: Annotated[Format, typer.Option(help="text, md, latex: to read; csv, json, parquet: numbers")] = Format.text,
    runs: Annotated[bool, typer.Option("--runs", help="one row a run, not means over seeds")] = False,
) -> None:
    """Means over seeds with 95 % intervals, long or pivoted."""
    from aebench import tables
    from aebench.store import load

    frame = load(results)
    for problem in frame.attrs.get("problems", []):
        err.print(problem, soft_wrap=True)
    if columns and (runs or len(metric) != 1):
        raise InputError(f"--columns pivots the means of one value: one --metric, not {len(metric)}, without --runs")
    to_read = format in (Format.text, Format.md, Format.latex)
    if runs:
        chosen = tables.runs(frame, rows or None, metric or None) if to_read or rows or metric else frame
    elif columns and to_read:
        chosen = tables.pivot(frame, rows or None, columns, metric[0])
    else:  # a program pivots for itself
        chosen = tables.summary(frame, [*(rows or tables.varying(frame)), *columns], metric or None)
    if format is Format.text:
        tables.to_terminal(chosen, out)
        return
    written = tables.render(chosen, format.value)
    if isinstance(written, bytes):
        sys.stdout.buffer.write(written)
    else:
        sys.stdout.write(written)


def report_command(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS...", help="folders of results, run under one budget")
    ],
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="folder of the page; reports/<suite> by default")
    ] = None,
    allow_code: AllowCode = False,
    all_figures: Annotated[bool, typer.Option("--all-figures", help="draw all there is of a large comparison")] = False,
    figure_files: Annotated[
        bool, typer.Option("--figure-files/--no-figure-files", help="figures as SVG and PNG too, or in the page alone")
    ] = True,
) -> None:
    """Write the page, the figures and the tables of results: of one folder, or of several side by side."""
    from aebench.reporting import report, usual_place

    page = report(
        results, out_dir or usual_place(results), allow_code=allow_code, all_figures=all_figures,
        figure_files=figure_files,
    )  # fmt: skip
    out.print(page, soft_wrap=True)
