"""What this machine can do, and what is wrong with a folder of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from aebench.cli.printing import err, grid, out
from aebench.errors import InputError

Folder = Annotated[
    Path | None, typer.Argument(metavar="[RESULTS]", help="a folder of results to check; else this machine")
]
Aside = Annotated[
    bool, typer.Option("--set-aside", help="move what is damaged to RESULTS/set-aside, so that it is trained again")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]


def doctor_command(results: Folder = None, aside: Aside = False, as_json: AsJson = False) -> None:
    """What this machine can do: versions, devices, data sets, suites. Of RESULTS: what is damaged there."""
    if results is not None:
        _results(results, aside, as_json)
        return
    if aside:
        raise InputError("--set-aside wants a folder of results: aebench doctor RESULTS --set-aside")
    from aebench.catalogue import diagnosis

    facts = diagnosis()
    if as_json:
        print(json.dumps(facts))  # noqa: T201
        return
    table = grid("", "")
    for name, value in facts.items():
        table.add_row(name, str(value))
    out.print(table)


def _results(results: Path, aside: bool, as_json: bool) -> None:
    """A line for each fault; exit code 1 where something is bad, also where it was set aside."""
    from aebench.store.checkup import checkup, set_aside

    faults = checkup(results)
    bad = sum(fault.bad for fault in faults)
    moved = set_aside(faults) if aside else []
    if as_json:
        found = [{"fault": f.line, "bad": f.bad, "files": list(map(str, f.files))} for f in faults]
        told = {"faults": found, "set_aside": [[str(before), str(after)] for before, after in moved]}
        print(json.dumps(told))  # noqa: T201
    else:
        for fault in faults:
            out.print(("" if fault.bad else "note: ") + fault.line, soft_wrap=True)
        for before, after in moved:
            out.print(f"{before} -> {after}", soft_wrap=True)
    if not bad:
        err.print(f"{results}: nothing is damaged", soft_wrap=True)
        return
    movable = sum(bool(fault.files) for fault in faults)
    if aside:
        then = f"{len(moved)} files are set aside; the next aebench run trains again what is missing"
    else:
        then = f"--set-aside moves the files of {movable}" if movable else "there is nothing to set aside"
    err.print(f"{results}: {bad} {'fault' if bad == 1 else 'faults'}; {then}", soft_wrap=True)
    raise typer.Exit(1)
