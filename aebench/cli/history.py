"""`aebench history`: what was measured at each commit, as a table and a figure, and where it changed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from aebench.cli.printing import err, out
from aebench.errors import unknown

if TYPE_CHECKING:
    from aebench.regress.history import Series
    from aebench.regress.records import Measure

HEADS: dict[str, Literal["left", "right"]] = {
    "metric": "left", "last": "right", "unit": "left", "against": "right", "trend": "left", "steps": "left",
}  # fmt: skip
"""Columns of the table and which way they are set; "against" the median of the commits before."""
BARS = "▁▂▃▄▅▆▇█"
SHOWN = 20
"""Commits of a trend in the table."""
UNIT = 16
"""Characters of a unit there."""


def history_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="where the history is kept")] = Path(
        "results/history"
    ),
    source: Annotated[
        str | None, typer.Option("--add", metavar="SOURCE", help="append what aebench export takes as well")
    ] = None,
    commit: Annotated[
        str | None, typer.Option(metavar="REV", help="of which commit SOURCE is, where it does not say")
    ] = None,
    machine: Annotated[str | None, typer.Option(metavar="KEY", help="of this machine alone")] = None,
    figures: Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="write the trend figure here")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, for programs")] = False,
) -> None:
    """Show each metric commit by commit, and warn of steps; or append measurements to the history."""
    from aebench.regress import history

    if source is not None:
        append(folder, source, commit)
        return
    machines, problems = history.read(folder)
    if machine is not None:
        if machine not in machines:
            raise unknown("machine", machine, machines)
        machines = {machine: machines[machine]}
    for line in problems:
        err.print(Text(line), soft_wrap=True)
    if as_json:
        print(json.dumps({key: list(map(as_record, held)) for key, held in machines.items()}, ensure_ascii=False))  # noqa: T201
    for key, held in machines.items():
        if not as_json:
            show(key, held)
        if figures is not None:
            for path in draw(key, held, figures):
                (err if as_json else out).print(Text(str(path)), soft_wrap=True)
    for key, held in machines.items():
        warn(key, held)


def warn(key: str, held: Sequence[Series]) -> None:
    """A line for each step of a machine that is recent: a note where it is better."""
    names = called(held)
    for one in held:
        for change in one.recent:
            entry = one.entries[change.index]
            name = f"{one.measure.benchmark} · {names[one.measure]}"
            line = f"{name}: {change.said} since {entry.commit[:10]} ({entry.date[:10]}) on {key}"
            good = change.direction == "better"
            told = Text(f"note: {line}") if good else Text(f"warning: {line}", style="yellow")
            err.print(told, soft_wrap=True)


def called(held: Sequence[Series]) -> dict[Measure, str]:
    """What the metrics of a machine are called: see `distinct`."""
    from aebench.regress.export import distinct

    return distinct(one.measure for one in held)


def append(folder: Path, source: str, commit: str | None) -> None:
    """Add a source to the history, and say how many lines that were."""
    from aebench.regress import history, sources

    new = history.entries(sources.read(source), commit)
    path, count, problems = history.add(folder, new)
    for line in problems:
        err.print(Text(line), soft_wrap=True)
    known = f", {len(new) - count} were there" if count < len(new) else ""
    out.print(Text(f"{path}: {count} lines added for {new[0].commit[:10]}{known}"), soft_wrap=True)


def show(key: str, held: Sequence[Series]) -> None:
    """A line a metric, below its benchmark; where there is no room the trend is left out, then the unit."""
    from rich.table import Table

    ordered = sorted(held, key=lambda one: one.measure.benchmark)
    names = called(held)
    cells = [texts(one, names[one.measure]) for one in ordered]
    columns = {head: [cell[head] for cell in cells] for head in HEADS}
    for head in ("trend", "unit"):
        if 2 * len(columns) + sum(len(max([name, *own], key=len)) for name, own in columns.items()) > out.width:
            del columns[head]
    count = len({entry.commit for one in held for entry in one.entries})
    out.print(Text(f"{key}: {count} commit{'s' if count != 1 else ''}", style="bold"), soft_wrap=True)

    def lines(rows: Iterable[Iterable[str]], style: str = "") -> Table:
        grid = Table.grid(padding=(0, 2, 0, 0))
        for head, own in columns.items():
            grid.add_column(justify=HEADS[head], width=len(max([head, *own], key=len)) if head != "steps" else None)
        for row in rows:
            grid.add_row(*(Text(text, style=style) for text in row))
        return grid

    out.print(lines([columns], "dim"))
    for benchmark, places in groupby(range(len(ordered)), lambda i: ordered[i].measure.benchmark):
        out.print(Text(benchmark), soft_wrap=True)
        out.print(lines([own[i] for own in columns.values()] for i in places))
    out.print()


def texts(one: Series, name: str) -> dict[str, str]:
    """The cells of a line, by the head of their column."""
    from aebench.tables.numbers import MISSING, format_number

    return {
        "metric": f"  {name}",
        "last": format_number(one.values[-1]),
        "unit": short_unit(one.measure.unit),
        "against": f"{one.against:+.1%}" if math.isfinite(one.against) else MISSING,
        "trend": trend(one.values),
        "steps": last_steps(one),
    }


def short_unit(unit: str) -> str:
    """A unit without what is said of it after a comma, and cut off where it is long still."""
    short = unit.partition(",")[0]
    return short if len(short) <= UNIT else f"{short[: UNIT - 1]}…"


def trend(values: Sequence[float]) -> str:
    """The last `SHOWN` values as bars from the lowest to the highest of them; a level line where all are the same."""
    last = values[-SHOWN:]
    low, high = min(last), max(last)
    if high <= low:
        return BARS[3] * len(last)
    return "".join(BARS[round((value - low) / (high - low) * (len(BARS) - 1))] for value in last)


def last_steps(one: Series) -> str:
    """The last step, and how many came before it."""
    if not one.changes:
        return ""
    last = one.changes[-1]
    earlier = f", {len(one.changes) - 1} before" if len(one.changes) > 1 else ""
    return f"{last.said} at {one.entries[last.index].commit[:7]}{earlier}"


def as_record(one: Series) -> dict[str, object]:
    """A series as JSON has it."""
    changes = [{**asdict(change), "commit": one.entries[change.index].commit} for change in one.changes]
    return {"entries": list(map(asdict, one.entries)), "steps": changes}


def draw(key: str, held: Sequence[Series], folder: Path) -> list[Path]:
    """The trend figure of a machine, as SVG and PNG: the paths."""
    from aebench.plots import style
    from aebench.plots.history import figures

    return [path for drawing in figures(key, held) for path in style.save(drawing.figure, folder, drawing.name)]
