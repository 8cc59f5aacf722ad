"""Benchmarks run by the environments of two sides, in fresh processes that take turns."""

from __future__ import annotations

import ast
import json
import math
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from aebench.errors import InputError
from aebench.regress import events, programs, reading, turns
from aebench.regress.environments import Environment

BENCHMARKS = "tests/benchmarks"
"""Where a project keeps them, unless told otherwise."""
GATE = "test_gate.py"
"""Those of them that `aebench compare` runs where none is named: a gate is to be quick, other benchmarks need not."""
PLUGINS = {"aebench_gate_turns": "turns.py", "aebench_gate_events": "events.py", "aebench_gate_plugin": "plugin"}
"""What the measured process loads, and what of this folder it is: the measured side may have no aebench."""
LIMIT = 900.0
"""Seconds after which a process is taken to hang."""
NOTHING = 5
"""The exit code of pytest where it ran nothing, since nothing was chosen of what it found."""

Report = dict[str, Any]


def measure(
    sides: Sequence[Environment], benchmarks: Path, folder: Path, only: Sequence[str] = (), limit: float = LIMIT
) -> list[Report]:
    """A report of pytest-benchmark for each environment: the benchmarks of a folder in a fresh process of it.

    Two environments take turns, round by round, where the system can hand on a socket (see `turns`), and else
    come one after the other; what was in turns has a time by `_pair`. `only`: names of benchmarks as reports have them
    (`file.py::test`), all where it is empty; a side that has none of them gives an empty report. A report gets two
    entries more: `torch`, its version or "", and `failures: {benchmark or file: why}`, what failed to run; a benchmark
    that ends its process, or is at work after `limit` seconds of it, is among them, and the others are measured
    without it; "" where all of it ended by a signal. Where one hung, `notes` says that they were not in turns. Raises
    InputError where pytest could not be run.
    """
    if len(sides) == 1 or os.name != "posix":
        return [_alone(side, benchmarks, folder, only, limit, {}) for side in sides]
    with ExitStack() as stack:
        ends = [stack.enter_context(end) for end in socket.socketpair()]
        places = [Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="sample-"))) for _ in sides]
        running = [
            stack.enter_context(_pytest(side, benchmarks, place, only, {}, end=end, first=i == 0))
            for i, (side, place, end) in enumerate(zip(sides, places, ends, strict=True))
        ]
        for end in ends:
            end.close()
        until = time.monotonic() + limit
        codes = [_ended(process, until) for process in running]
        if None in codes:  # one hangs, and so the other waits for it
            stack.close()
            alone = [_alone(side, benchmarks, folder, only, limit, {}) for side in sides]
            note = f"no end after {limit:g} s in turns: one side was measured after the other"
            return [{**report, "notes": [note]} for report in alone]
        found = [_report(side, place, code or 0) for side, place, code in zip(sides, places, codes, strict=True)]
    if any(isinstance(one, Died) for one in found):  # both alike: not in turns
        died = [one if isinstance(one, Died) else {} for one in found]
        return [_alone(side, benchmarks, folder, only, limit, own) for side, own in zip(sides, died, strict=True)]
    reports = [one for one in found if not isinstance(one, Died)]
    _pair(*reports)
    return reports


def _pair(first: Report, second: Report) -> None:
    """Give both sides of a benchmark that had rounds in turns a time, by which they differ as neighbouring rounds do.

    Of two neighbours the one is of one side, the other of the other, and both met the same machine. Their level is that
    of the shortest rounds.
    """
    of_first, of_second = (_in_turns(report) for report in (first, second))
    for name, (entry, ours) in of_first.items():
        other, theirs = of_second.get(name, (entry, []))
        half = [(math.log(b) - math.log(a)) / 2 for a, b in zip(ours, theirs, strict=False)]
        if half:
            level = (math.log(min(ours)) + math.log(min(theirs))) / 2
            entry["stats"][reading.PAIRED] = math.exp(level - median(half))
            other["stats"][reading.PAIRED] = math.exp(level + median(half))


def _in_turns(report: Report) -> dict[str, tuple[dict[str, Any], list[float]]]:
    """Benchmark -> its entry, and its rounds that were in turns, which go out of the report."""
    rounds = ((entry, entry["extra_info"].pop(turns.Turns.ENTRY, [])) for entry in report["benchmarks"])
    return {entry["fullname"]: (entry, own) for entry, own in rounds if own and min(own) > 0}


def collect(environment: Environment, benchmarks: Path, folder: Path, limit: float = LIMIT) -> list[str]:
    """The names of all benchmarks of a folder, found within `limit` seconds."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="sample-") as place:
        with _pytest(environment, benchmarks, Path(place), (), {}, "--collect-only") as process:
            if _ended(process, time.monotonic() + limit) is None:
                raise InputError(f"{environment.name}: benchmarks are looked for, without an end after {limit:g} s")
        found = [name for name, _ in _happened(Path(place))["found"]]
        if not found:
            raise InputError(f"{environment.name}: no benchmark could be found: {programs.said(Path(place))}")
    return found


def defined(folder: Path) -> set[str]:
    """The benchmarks of a folder as its files have them, which are not run: parameters and classes are left out."""
    found: set[str] = set()
    for file in {*folder.rglob("test_*.py"), *folder.rglob("*_test.py")}:
        try:
            nodes = [*ast.walk(ast.parse(file.read_bytes()))]
        except (SyntaxError, ValueError):  # that is told where it is run
            continue
        tests = (node for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test"))
        asking = (test.name for test in tests if "benchmark" in {one.arg for one in test.args.args})
        found |= {f"{file.relative_to(folder).as_posix()}::{name}" for name in asking}
    return found


class Died(dict[str, str]):
    """Benchmarks that ended their process, and how: the others are to be measured without them."""


def _alone(
    environment: Environment, benchmarks: Path, folder: Path, only: Sequence[str], limit: float, died: Mapping[str, str]
) -> Report:
    """As often as a benchmark ends the process, without all that did."""
    while True:
        with tempfile.TemporaryDirectory(dir=folder, prefix="sample-") as place:
            with _pytest(environment, benchmarks, Path(place), only, died) as process:
                code = _ended(process, time.monotonic() + limit)
            found = _report(environment, Path(place), code, died, limit)
        if not isinstance(found, Died):
            return found
        died = found


def _report(
    environment: Environment, place: Path, code: int | None, died: Mapping[str, str] = {}, limit: float = 0.0
) -> Report | Died:
    """What a process left that ended with `code`, None where it was ended after `limit` seconds."""
    ending = f"no end after {limit:g} s" if code is None else f"its process ended with {programs.ending(code)}"
    report, happened = _json(place / "report.json"), _happened(place)
    failed = dict(happened["failed"])
    unfinished = [name for name, _ in happened["began"] if name not in dict(happened["ended"])]
    if report is None and unfinished and unfinished[-1] not in died:
        return Died({**died, unfinished[-1]: ending})
    if report is None and not failed and not died and not (code == NOTHING and _chosen(place)["only"]):
        if code is not None and code >= 0:
            raise InputError(f"{environment.name}: no benchmark could be run: {programs.said(place)}")
        failed = {"": ending}
    for entry in (report or {}).get("benchmarks", ()):
        entry["stats"].pop("data", None)  # every round: megabytes that nobody reads
    torch = "".join(version for _, version in happened["torch"])
    return {"benchmarks": [], **(report or {}), "failures": {**died, **failed}, "torch": torch}


def _ended(process: subprocess.Popen[bytes], until: float) -> int | None:
    """Its exit code; None where it runs on."""
    try:
        return process.wait(max(until - time.monotonic(), 0.01))
    except subprocess.TimeoutExpired:
        return None


def _pytest(
    environment: Environment, benchmarks: Path, place: Path, only: Sequence[str], without: Mapping[str, str],
    *more: str, end: socket.socket | None = None, first: bool = True,
) -> AbstractContextManager[subprocess.Popen[bytes]]:  # fmt: skip
    """Run the benchmarks as `environment` has the package, whatever lies beside them; `end`: to take turns by.

    Their own revision's settings (`pythonpath = src`, say) and packages around them would bring the new side's code
    to both, so pytest gets an empty configuration, no conftest.py from above the folder of the benchmarks, and nothing
    but that folder goes on the path. Of plugins only those that measure are loaded: a second less in each process; a
    conftest.py of the benchmarks can ask for others (`pytest_plugins`).
    """
    (place / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    chosen = {"only": list(only), "without": list(without)}
    (place / "chosen.json").write_text(json.dumps(chosen), encoding="utf-8")
    files = dict.fromkeys(name.partition("::")[0] for name in only or ("",))
    for name, what in PLUGINS.items():
        source = Path(__file__).with_name(what)
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, place / f"{name}.py")
    command = [
        str(environment.python), "-m", "pytest", *(f"{benchmarks}{os.sep}{file}" for file in files),
        "-q", f"--rootdir={benchmarks}", f"-c={place / 'pytest.ini'}", f"--confcutdir={benchmarks}",
        f"--basetemp={place / 'tmp'}",
        "--import-mode=importlib", "--continue-on-collection-errors", "--benchmark-only",
        f"--benchmark-json={place / 'report.json'}", "-p", "no:cacheprovider", "-p", "pytest_benchmark.plugin",
        *(word for name in PLUGINS for word in ("-p", name)), *more,
    ]  # fmt: skip
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    paths = [place, benchmarks] if not (benchmarks / "__init__.py").exists() else [place]
    variables = {
        **own, "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", events.FILE: str(place / "events"),
        events.CHOSEN: str(place / "chosen.json"),
        "PYTHONPATH": os.pathsep.join(map(str, paths)), "TMPDIR": str(place.parent),
        "PATH": os.pathsep.join([str(environment.python.parent), os.environ.get("PATH", "")]),
        turns.TURNS: f"{end.fileno()},{int(first)}" if end is not None else "",
    }  # fmt: skip
    return programs.started(command, place, place, variables, () if end is None else (end.fileno(),))


def _json(file: Path) -> dict[str, Any] | None:
    """What a process reported; None where it did not come so far."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None


def _chosen(place: Path) -> dict[str, list[str]]:
    """What a process was asked for."""
    return json.loads((place / "chosen.json").read_text(encoding="utf-8"))


def _happened(place: Path) -> dict[str, list[tuple[str, str]]]:
    """What `events` noted, by the kind of event: (benchmark, why) in order."""
    found: dict[str, list[tuple[str, str]]] = {kind: [] for kind in ("torch", "found", "began", "failed", "ended")}
    file = place / "events"
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        event, benchmark, why = json.loads(line)
        found[event].append((benchmark, why))
    return found
