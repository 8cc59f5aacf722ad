"""What commands print: results to stdout, words about them to stderr."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console

out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)


NUMBERS = {"runs", "seeds", "parameters a run", "training s", "peak memory MiB", "train", "validation", "test"}
"""Heads of columns that are set flush right."""


def show(done: Any, as_json: bool) -> None:
    """The table, and what was done."""
    if as_json:
        return
    folder = done.plan.store.folder
    from aebench import tables, tuning
    from aebench.store import load

    frame = load(folder)
    chosen, choices = tuning.chosen(frame, tune) if (tune := done.plan.store.manifest().get("tune")) else (frame, ())
    tables.to_terminal(tables.summary(chosen), out)
    for choice in choices:
        out.print(tuning.in_words(choice), soft_wrap=True)
    for problem in [*frame.attrs.get("problems", []), *done.notes]:
        err.print(problem, soft_wrap=True)
    for document in done.failed:
        spec = document["spec"]
        which = f"{spec['variant']} on {spec['data']['name']}, seed {spec['seed']} ({document['id']})"
        err.print(f"{document['status']}: {which}: {document['error']['message']}", soft_wrap=True)
    total, again = len(frame), done.trained + done.measured
    new = f"{done.trained} trained, {done.measured} measured again" if again else "nothing left to do"
    err.print(f"{total} runs: {new}, {len(done.failed)} failed")


def show_places(done: Any, as_json: bool) -> None:
    """Where results and report are; or all of it for a program."""
    folder = done.plan.store.folder
    if as_json:
        failed = [{"id": d["id"], "status": d["status"], "error": d["error"]["message"]} for d in done.failed]
        summary = {"results": str(folder), "report": done.report and str(done.report), "trained": done.trained}
        print(json.dumps(summary | {"measured": done.measured, "failed": failed, "notes": done.notes}))  # noqa: T201
        return
    out.print(f"results: {folder}", soft_wrap=True)
    if done.report:
        out.print(f"report:  {done.report}", soft_wrap=True)


def show_estimate(todo: Any, device: str, allow_code: bool, as_json: bool) -> None:
    """What training would take, from a few steps of each pack."""
    from aebench.estimate import estimate

    rows = estimate(todo, device, allow_code)
    seconds, peak = sum(row["seconds"] for row in rows), max((row["bytes"] or 0 for row in rows), default=0)
    if as_json:
        print(json.dumps({"packs": rows, "seconds": seconds, "bytes": peak}))  # noqa: T201
        return
    table = grid("pack", "runs", "mode", "parameters a run", "training s", "peak memory MiB")
    for row in rows:
        cells = (row["mode"], f"{row['parameters']:,}", f"{row['seconds']:.1f}", f"{(row['bytes'] or 0) / 2**20:.0f}")
        table.add_row(row["label"], str(row["runs"]), *cells)
    out.print(table)
    finished, stale = len(todo.documents), len(todo.stale)
    out.print(f"{len(todo.suite.runs)} runs: {finished} finished, {stale} to measure again")
    out.print(
        f"about {seconds:.0f} s of training on this machine, from a few steps of each pack; evaluation comes on top"
    )


def grid(*heads: str) -> Any:
    """An empty rich table with these heads; none, where all are empty."""
    from rich import box
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", show_header=any(heads))
    for i, head in enumerate(heads):
        grid.add_column(head, no_wrap=i == 0, justify="right" if head in NUMBERS else "left")
    return grid
