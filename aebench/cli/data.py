"""`aebench data`: where the data sets are, and how to get them."""

from __future__ import annotations

from typing import Annotated

import typer

from aebench.cli.printing import grid, out

data_app = typer.Typer(no_args_is_help=True, help="Where the data sets are, and how to get them.")


@data_app.command("list")
def data_list() -> None:
    """Every data set, its shape and sizes, and whether it is at hand."""
    from aebench.data import listing

    table = grid("data", "event", "train", "validation", "test", "at hand")
    for row in listing():
        shape = "×".join(map(str, row.event_shape)) if row.event_shape else "?"
        sizes = [f"{n:,}" for n in row.sizes] if row.sizes else ["?"] * 3
        table.add_row(row.name, shape, *sizes, {True: "yes", False: "no", None: "?"}[row.available])
    out.print(table)


@data_app.command("where")
def data_where(name: Annotated[str, typer.Argument(help="a data set")]) -> None:
    """The folders where a data set is looked for."""
    from aebench.data import where

    places = where(name)
    for path, there in places:
        out.print(f"{'found   ' if there else 'not here'}  {path}", soft_wrap=True)
    if not places:
        out.print(f"{name} is built in")


@data_app.command("fetch")
def data_fetch(name: Annotated[str, typer.Argument(help="a data set")]) -> None:
    """Download a data set into the cache, where no folder has it, and check it."""
    from aebench.data import fetch

    for path in fetch(name):
        out.print(path, soft_wrap=True)
