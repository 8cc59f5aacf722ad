"""aebench beside what one would otherwise run: ratios of speeds, measured in turns within one process.

    python tests/benchmarks/peers/compare.py [--out FILE] [--rounds 7] [--device cpu] [--case mlp] [--quick]

In each round every contender trains the same network on the same data, once for each number of threads; of those the
one counts at which it is faster by median, for each contender its own. A ratio is the median over rounds of its value
in each, with its quartiles. Absolute speeds are of the machine named in the file.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from cases import LEAN, Case, cases
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from task import Contender, Task

from aebench.device import choose, cores, keep_memory, made
from aebench.errors import InputError

PACKAGES = ("aebench", "torch", "pythae", "lightning", "numpy")
ENVIRONMENT = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS")
Samples = dict[str, dict[int, list[float]]]
"""Of each contender and each number of threads, examples/s in every round."""


def thread_counts(device: torch.device) -> list[int]:
    """One and all cores; on a GPU torch's default alone."""
    return sorted({1, cores()}) if device.type == "cpu" else [torch.get_num_threads()]


def speed(contender: Contender, task: Task, threads: int) -> float:
    """Examples a second with so many threads."""
    torch.set_num_threads(threads)
    return contender.examples_per_s(task)


def present(case: Case, threads: list[int]) -> tuple[dict[str, Contender], dict[str, str]]:
    """Those that can do it here, each warmed up by a few steps, and why the others cannot."""
    task = replace(case.task, x=case.task.x[: 4 * case.task.batch], epochs=1, sample=1)
    able: dict[str, Contender] = {}
    absent: dict[str, str] = {}
    for name, contender in case.contenders.items():
        try:
            for count in threads:
                speed(contender, task, count)
            able[name] = contender
        except Exception as error:  # somebody else's, which must not cost what the others give
            absent[name] = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"[:300]
    return able, absent


def measure(task: Task, contenders: dict[str, Contender], threads: list[int], rounds: int) -> Samples:
    """All contenders in turn, round by round; each round starts with another one."""
    names = list(contenders)
    samples: Samples = {name: {count: [] for count in threads} for name in names}
    for i in range(rounds):
        for count in threads:
            for name in names[i % len(names) :] + names[: i % len(names)]:
                samples[name][count].append(speed(contenders[name], task, count))
    return samples


def quartiles(values: list[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "lower_quartile": low, "upper_quartile": high}


def ratios(best: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Everyone against the lean loop, aebench against everyone else, from the same round each."""
    pairs = [(name, base) for name in best for base in best if name != base]
    pairs = [(a, b) for a, b in pairs if b in LEAN or (a.startswith("aebench") and not b.startswith("aebench"))]
    return {f"{a} / {b}": quartiles([x / y for x, y in zip(best[a], best[b], strict=True)]) for a, b in pairs}


def compared(case: Case, threads: list[int], rounds: int) -> dict[str, Any]:
    """What the document says of a case."""
    able, absent = present(case, threads)
    samples = measure(case.task, able, threads, rounds)
    fastest = {name: max(threads, key=lambda count, s=s: statistics.median(s[count])) for name, s in samples.items()}
    best = {name: samples[name][count] for name, count in fastest.items()}
    task = case.task
    return {
        "about": case.about, "data": case.data, "n": len(task.x), "batch": task.batch, "runs": task.runs,
        "steps": task.steps, "rounds": rounds,
        "contenders": {
            name: {
                "about": contender.about,
                "runs_measured": task.runs if contender.together else task.sample,
                "threads": fastest[name],
                **quartiles(best[name]),
                "examples_per_s": samples[name],
            }
            for name, contender in able.items()
        },
        "absent": absent,
        "ratios": ratios(best),
    }  # fmt: skip


def installed(package: str) -> str | None:
    """Its version, or None where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def shown(name: str, found: dict[str, Any]) -> Table:
    """A case as a table."""
    runs = "one run" if found["runs"] == 1 else f"{found['runs']} runs"
    table = Table(
        box=SIMPLE_HEAD, title=f"{name}: {found['about']}, {runs}, batch {found['batch']}, {found['rounds']} rounds"
    )
    table.add_column("contender", no_wrap=True)
    for column in ("threads", "examples/s", "/lean", "quartiles"):
        table.add_column(column, justify="right")
    for contender, row in found["contenders"].items():
        ratio = found["ratios"].get(f"{contender} / lean")
        columns = ("1", "") if ratio is None else (
            f"{ratio['median']:.2f}", f"{ratio['lower_quartile']:.2f}-{ratio['upper_quartile']:.2f}"
        )  # fmt: skip
        table.add_row(contender, str(row["threads"]), f"{row['median']:,.0f}", *columns)
    for contender, why in found["absent"].items():
        table.add_row(contender, "", "absent", "", why)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--case", action="append", help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a few steps and three rounds: a smoke check")
    arguments = parser.parse_args()
    keep_memory()  # as the command line does
    if arguments.rounds < 3:
        parser.error(f"--rounds {arguments.rounds}: quartiles take three or more")
    try:
        device = choose(arguments.device)
    except InputError as error:
        parser.error(str(error))
    console = Console()
    todo = cases(device, arguments.quick)
    if unknown := set(arguments.case or ()) - set(todo):
        parser.error(f"--case {', '.join(sorted(unknown))}: choose from {', '.join(todo)}")
    threads = thread_counts(device)
    found: dict[str, Any] = {
        "made": made(device, "fp32") | {"threads": threads},
        "versions": {package: installed(package) for package in PACKAGES},
        "environment": {name: os.environ.get(name) for name in ENVIRONMENT},
        "cases": {},
    }
    for name in arguments.case or todo:
        found["cases"][name] = compared(todo[name], threads, 3 if arguments.quick else arguments.rounds)
        console.print(shown(name, found["cases"][name]))
        if arguments.out:
            arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    if missing := [package for package, there in found["versions"].items() if there is None]:
        console.print(f"not installed, so not compared: {', '.join(missing)}; see README.md beside this file")


if __name__ == "__main__":
    main()
