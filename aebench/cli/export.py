"""`aebench export`: measurements and comparisons as other tools read them."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from aebench.cli.printing import err, out
from aebench.errors import InputError

FORMATS_IN_WORDS = "pytest-benchmark, github-action-benchmark, bencher, junit, markdown or asv"


def export_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="JSON of aebench compare or pytest-benchmark, a folder of it, or a folder of results"
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help=FORMATS_IN_WORDS)],
    place: Annotated[
        Path | None, typer.Option("--out", metavar="PATH", help="a file, or a folder; else one file is printed")
    ] = None,
    commit: Annotated[str | None, typer.Option(metavar="REV", help="the commit that was measured")] = None,
) -> None:
    """Write a comparison or measurements in the format of another tool."""
    from aebench.regress import commits, export, sources

    found = sources.read(source)
    if commit is not None:
        if (known := commits.commit(commit)) is None:
            raise InputError(f"--commit {commit}: no commit of this repository")
        found = replace(found, commit=known.hash)
    exported = export.export(found, to)
    for line in exported.left_out:
        err.print(Text(line), soft_wrap=True)
    if place is not None:
        for path in export.write(exported, place):
            out.print(Text(str(path)), soft_wrap=True)
    elif len(exported.files) == 1:
        sys.stdout.write(next(iter(exported.files.values())).encode("utf-8", "replace").decode())
    else:
        raise InputError(f"{to} writes {len(exported.files)} files ({', '.join(exported.files)}); --out names a folder")
    for line in exported.commands:  # beside a summary on stdout they go to stderr, which a runner reads as well
        print(line, file=sys.stdout if place is not None else sys.stderr)
