"""The command line. Results go to stdout, progress and errors to stderr.

Exit codes: 0 done; 1 some runs failed, or a change is worse; 2 bad usage or input, or what the system refuses;
3 inconclusive; 130 interrupted; 141 nobody reads the output; 143 ended from outside.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from contextlib import nullcontext, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from aebench import __version__
from aebench.cli.bench import bench_command
from aebench.cli.compare import compare_command, noise_command
from aebench.cli.data import data_app
from aebench.cli.doctor import doctor_command
from aebench.cli.export import export_command
from aebench.cli.history import history_command
from aebench.cli.printing import err, grid, out, show, show_estimate, show_places
from aebench.cli.results import AllowCode, Device, evaluate_command, report_command, table_command
from aebench.errors import InputError, printable

app = typer.Typer(
    name="aebench", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False,
    help="Every kind of autoencoder, trained under one budget and compared with error bars.",
)  # fmt: skip

SuiteArgument = Annotated[str, typer.Argument(metavar="SUITE", help="a YAML file, or the name of a shipped suite")]
Overrides = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="change the suite: train.steps=500")]
Seeds = Annotated[int | None, typer.Option(min=1, help="so many seeds, for every run")]
Smoke = Annotated[bool, typer.Option("--smoke", help="a few steps and one seed, to see that all works")]
Out = Annotated[Path, typer.Option("--out", help="results/ and reports/ go below this folder")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, for programs")]


CLOSED = 141
"""What a shell gives for a command that a closed pipe has ended."""


def main() -> None:
    """Entry point: an InputError, or what the system refuses, is one line and exit code 2.

    What an output cannot show is shown as `?`. A closed pipe is no error, and needs no word.
    """
    # before torch loads: threads wait for each other by spinning for some microseconds, then they give the core away
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        try:
            app()
        finally:
            print(end="", flush=True)  # noqa: T201  # here, where it is seen if that cannot be written
    except InputError as error:
        _leave(2, str(error))
    except BrokenPipeError:
        _leave(CLOSED)
    except OSError as error:
        _leave(2, _refused(error))
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # of which rich and typer make a 1
            _leave(CLOSED)
        raise


def _refused(error: OSError) -> str:
    """What the system says, and of what."""
    if error.filename is not None:
        return f"{printable(str(error.filename))}: {error.strerror}"
    return printable(f"cannot write the output: {error.strerror}" if error.errno == errno.ENOSPC else str(error))


def _leave(code: int, said: str = "") -> NoReturn:
    """End with this code and a line, where that can be said; what cannot be written is dropped."""
    with suppress(OSError, SystemExit):
        if said:
            err.print(Text(f"error: {said}", style="red"), soft_wrap=True)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)


def _pairs(overrides: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"--set {text}: write KEY=VALUE, such as train.steps=500")
        pairs[key] = value
    return pairs


def _version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print it")] = False,
) -> None:
    """Options of aebench itself."""


@app.command()
def run(
    suite: SuiteArgument,
    out_dir: Out = Path(),
    device: Device = "auto",
    seeds: Seeds = None,
    overrides: Overrides = [],  # noqa: B006
    smoke: Smoke = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="runs, packs, memory and time; nothing is kept")] = False,
    allow_code: AllowCode = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="train runs again that failed")] = False,
    retrain: Annotated[bool, typer.Option("--retrain", help="train again what lacks a metric and its weights")] = False,
    report: Annotated[bool, typer.Option(help="draw the report")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
    engine: Annotated[str, typer.Option(help="auto, eager or graph: how steps are carried out on CUDA")] = "auto",
    processes: Annotated[int, typer.Option(min=1, help="so many that train at the same time, on a CPU's cores")] = 1,
    checkpoint: Annotated[float, typer.Option(min=0, help="seconds between two checkpoints of a long training")] = 300,
    as_json: AsJson = False,
) -> None:
    """Train what is missing of a suite, measure it, print the table and draw the report."""
    from aebench import pipeline
    from aebench.clock import Ledger
    from aebench.progress import Progress
    from aebench.reporting.account import in_words
    from aebench.stopping import Safety, Stop
    from aebench.suite import read

    ledger = Ledger()
    wanted = read(suite, overrides=_pairs(overrides), seeds=seeds, smoke=smoke, allow_code=allow_code)
    todo = pipeline.plan(wanted, out_dir, retry_failed=retry_failed, retrain=retrain, allow_code=allow_code)
    if dry_run:
        show_estimate(todo, device, allow_code, as_json)
        return
    progress, stop = Progress(err, quiet), Stop()
    stop.told = progress.say
    try:
        with stop.listening():
            done = pipeline.execute(
                todo, device=device, allow_code=allow_code, report=False, progress=progress, ledger=ledger,
                engine=engine, safety=Safety(checkpoint, stop), processes=processes,
            )  # fmt: skip
            with ledger.stage("report"):
                show(done, as_json)
            if report:
                with err.status("drawing the report") if not quiet else nullcontext():
                    done.report = pipeline.draw(done, allow_code)
    except KeyboardInterrupt as interrupt:
        kept = len(set(todo.store.ids()) & {run.id for run in wanted.runs})
        err.print(
            f"interrupted: {kept} of {len(wanted.runs)} runs are kept in {todo.store.folder}; "
            f"the same command trains the rest",
            soft_wrap=True,
        )  # fmt: skip
        raise typer.Exit(getattr(interrupt, "code", 130)) from None
    if not quiet and (done.trained or done.measured):
        err.print(in_words(ledger.read()), soft_wrap=True)
    show_places(done, as_json)
    if done.failed:
        raise typer.Exit(1)


@app.command()
def validate(
    suite: SuiteArgument,
    overrides: Overrides = [],  # noqa: B006
    seeds: Seeds = None,
    allow_code: AllowCode = False,
) -> None:
    """Check a suite without training."""
    from aebench.progress import label
    from aebench.suite import packs, read

    wanted = read(suite, overrides=_pairs(overrides), seeds=seeds, allow_code=allow_code)
    groups = packs(wanted.runs)
    table = grid("pack", "runs", "seeds")
    for pack in groups:
        table.add_row(label(pack), str(len(pack)), str(len({run.spec["seed"] for run in pack})))
    out.print(table)
    out.print(f"{wanted.name}: {len(wanted.runs)} runs in {len(groups)} packs; the suite is sound")


class What(StrEnum):
    """What there is a list of."""

    variants = "variants"
    data = "data"
    metrics = "metrics"
    networks = "networks"
    suites = "suites"


@app.command("list")
def list_(
    what: Annotated[What | None, typer.Argument(help="one of them; all by default")] = None, as_json: AsJson = False
) -> None:
    """What there is: variants, data, metrics, networks, suites."""
    from aebench.catalogue import listing

    found = {kind.value: listing(kind.value) for kind in ([what] if what else What)}
    if as_json:
        print(json.dumps(found))  # noqa: T201
        return
    for kind, lines in found.items():
        table = grid(kind, "")
        for name, line in lines.items():
            table.add_row(name, line)
        out.print(table)


@app.command()
def explain(name: Annotated[str, typer.Argument(help="a variant, metric, network, data set or suite")]) -> None:
    """Formula, source, hyperparameters and needs of a variant; what a metric, network or data set is."""
    from aebench.catalogue import explain

    for head, body in explain(name):
        out.print(Text.assemble((f"{head}\n", "bold"), *(f"  {line}\n" for line in body)), end="", soft_wrap=True)


for _name, _command in {
    "doctor": doctor_command, "evaluate": evaluate_command, "table": table_command, "report": report_command,
    "bench": bench_command, "compare": compare_command, "noise": noise_command, "export": export_command,
    "history": history_command,
}.items():  # fmt: skip
    app.command(_name)(_command)
app.add_typer(data_app, name="data")
