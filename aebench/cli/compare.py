"""`aebench compare`: whether a change makes something worse; `aebench noise`: what this machine shows of none."""

from __future__ import annotations

import inspect
import json
import math
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_stack
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from aebench.cli.printing import err, grid, out
from aebench.errors import InputError
from aebench.regress import programs
from aebench.stopping import Stop

if TYPE_CHECKING:
    from aebench.regress.records import Finding
    from aebench.regress.written import Comparison

CODES = {"pass": 0, "fail": 1, "inconclusive": 3}
COLOURS = {"fail": "red", "inconclusive": "yellow", "no baseline": "yellow", "gone": "yellow"}

Pairs = Annotated[int, typer.Option(min=1, help="of samples, each of two fresh processes that take turns")]
Alpha = Annotated[float, typer.Option(min=0.001, max=0.4, help="the chance of a false fail of one benchmark")]
Benchmarks = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER", help="for pytest-benchmark; tests/benchmarks of NEW by default: test_gate.py, or all"
    ),
]
Only = Annotated[list[str], typer.Option("--only", metavar="NAME", help="benchmarks with this in the name; again")]
Repository = Annotated[str, typer.Option("--repository", "-C", metavar="FOLDER", help="where revisions are of")]
Keep = Annotated[Path | None, typer.Option(metavar="FOLDER", help="install here, and leave it for the next time")]
Limit = Annotated[
    float, typer.Option("--time-limit", min=1, help="seconds after which a process that measures is taken to hang")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="no progress")]


def compare_command(
    base: Annotated[str, typer.Argument(metavar="BASE", help="a git revision, an environment, or results")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="another of the same kind")],
    pairs: Pairs = 10,
    alpha: Alpha = 0.05,
    benchmarks: Benchmarks = None,
    only: Only = [],  # noqa: B006
    margin: Annotated[
        list[str], typer.Option(metavar="NAME=SHARE", help="how much worse is none: time=0.05, or 5%; again for more")
    ] = [],  # noqa: B006
    noise: Annotated[
        Path | None, typer.Option(metavar="FILE", help="of aebench noise; that of this machine in results/noise")
    ] = None,
    repository: Repository = ".",
    limit: Limit = 900.0,
    keep: Keep = None,
    file: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="write all of it as JSON")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, for programs")] = False,
    quiet: Quiet = False,
) -> None:
    """Say whether NEW is slower, hungrier or worse than BASE: exit code 0 no, 1 yes, 3 it cannot be told.

    Revisions and environments (folders with bin/python) are measured in turns by the benchmarks of NEW; results
    (folders of a suite, JSON of pytest-benchmark, folders of it) are read.
    """
    from aebench.regress import written
    from aebench.regress.comparing import Wanted, compare

    wanted = Wanted(
        pairs, alpha, benchmarks, tuple(only), shares(margin), noise, repository, limit, keep,
    )  # fmt: skip
    with progress(quiet) as told:
        found = compare(base, new, wanted, told)
    if as_json:
        print(json.dumps(written.document(found)))  # noqa: T201
    else:
        show(found)
    if file is not None:  # last: what was measured is shown, wherever it cannot be written
        written.write(found, file)
    raise typer.Exit(CODES[found.verdict])


def noise_command(
    what: Annotated[
        str, typer.Argument(metavar="REVISION", help="a git revision, or an environment; measured against itself")
    ] = "HEAD",
    pairs: Pairs = 10,
    repeats: Annotated[int, typer.Option(min=1, help="of the comparison: the widest of them counts")] = 3,
    alpha: Alpha = 0.05,
    benchmarks: Benchmarks = None,
    only: Only = [],  # noqa: B006
    repository: Repository = ".",
    limit: Limit = 900.0,
    keep: Keep = None,
    file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="results/noise/<this machine>.json by default")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Measure code against itself: `aebench compare` then gives each time twice as much margin as this found."""
    from aebench.regress import commits, margins
    from aebench.regress.comparing import Wanted, noise

    if what == "HEAD" and commits.commit(what, repository) is None:
        what = this_environment()
    wanted = Wanted(pairs, alpha, benchmarks, tuple(only), repository=repository, limit=limit, keep=keep)
    with progress(quiet) as told:
        found = noise(what, wanted, repeats, told)
    place = file or margins.place(found.machine, repository)
    from aebench.regress.gate import MARGIN, NOISE

    table = grid("time", "noise", "margin")
    for name, share in found.shares.items():
        table.add_row(*map(Text, (name, f"{share:.1%}", f"{max(MARGIN, NOISE * share):.1%}")))
    out.print(table)
    margins.write(found, place)
    out.print(Text(f"noise: {place}"), soft_wrap=True)


def this_environment() -> str:
    """The folder of the Python that runs."""
    import sys

    return sys.prefix


def shares(given: Sequence[str]) -> dict[str, float]:
    """`NAME=SHARE` as numbers; InputError for what is none."""
    found: dict[str, float] = {}
    for text in given:
        name, _, share = text.rpartition("=")
        try:
            value = float(share.rstrip("%")) / (100 if share.endswith("%") else 1)
        except ValueError:
            value = math.nan
        if not name or not 0 <= value < math.inf:
            raise InputError(f"--margin {text}: write NAME=SHARE, such as time=0.05 or time=5%")
        found[name] = value
    return found


class Ending(Stop):
    """What ends a measurement: not while a process is started or ended, which would be lost, and live on."""

    def hear(self, number: int, frame: object) -> None:
        """A signal has come; in such a moment it is sent once more, soon after."""
        held, main = inspect.unwrap(programs.started).__code__, threading.main_thread().ident
        frames = walk_stack(frame) if isinstance(frame, FrameType) and os.name == "posix" else ()
        if main and any(one.f_code is held for one, _ in frames):
            threading.Timer(0.01, signal.pthread_kill, (main, number)).start()
        else:
            super().hear(number, frame)


@contextmanager
def progress(quiet: bool) -> Generator[Callable[[str], None]]:
    """What hears of each step, on stderr; an interrupt is one line and exit code 130, an end from outside 143."""
    said: list[str] = []

    def line(text: str) -> None:
        """Where nothing can be written over, one line a stage."""
        if not quiet and text.partition(":")[0] not in said:
            said.append(text.partition(":")[0])
            err.print(Text(text), soft_wrap=True)

    try:
        with Ending().listening():
            if quiet or not err.is_terminal:
                yield line
            else:
                with err.status("preparing") as status:
                    yield lambda text: status.update(Text(text))
    except KeyboardInterrupt as interrupt:
        err.print("interrupted: nothing is kept")
        raise typer.Exit(getattr(interrupt, "code", 130)) from None


def show(found: Comparison) -> None:
    """What is wrong or open, line by line; a table of the rest; the notes; the verdict."""
    order = {verdict: i for i, verdict in enumerate(COLOURS)}
    for finding in sorted((f for f in found.findings if f.verdict in order), key=lambda f: order[f.verdict]):
        out.print(Text(finding.line, style=COLOURS[finding.verdict]), soft_wrap=True)
    passed = [finding for finding in found.findings if finding.verdict == "pass"]
    same = [f for f in passed if f.measure.kind in ("counter", "exact") and f.effect == 0]
    rest = [finding for finding in passed if finding not in same]
    if rest:
        table = grid("benchmark", "metric", "worse by", "at most", "margin", "of")
        named = ""
        for finding in sorted(rest, key=lambda f: f.measure.benchmark):
            benchmark = finding.measure.benchmark
            table.add_row(*map(Text, ("" if benchmark == named else benchmark, *cells(finding))))
            named = benchmark
        out.print(table)
    if same:
        out.print(Text(f"unchanged counters and exact numbers: {len(same)}"))
    for note in found.notes:
        out.print(Text(note, style="dim"), soft_wrap=True)
    count = {verdict: sum(f.verdict == verdict for f in found.findings) for verdict in (*COLOURS, "pass")}
    counted = ", ".join(f"{n} {verdict}" for verdict, n in count.items() if n)
    seconds = found.made.get("seconds", 0)
    line = f"{found.verdict.upper()}: {found.base} → {found.new}: {counted}; {found.repeats}, {seconds:.0f} s"
    out.print(Text(line, style=f"bold {COLOURS.get(found.verdict, 'green')}"), soft_wrap=True)


def cells(finding: Finding) -> tuple[str, ...]:
    """Name, effect, upper bound, margin and number of a measure."""
    measure, unit = finding.measure, {"time": "pairs", "quality": "seeds"}.get(finding.measure.kind, "")
    effect = f"{finding.effect:+.1%}" if math.isfinite(finding.effect) else finding.said
    bound = f"{finding.upper:+.1%}" if unit else ""
    return measure.name, effect, bound, f"{finding.margin:.1%}", f"{finding.n} {unit}" if unit else ""
