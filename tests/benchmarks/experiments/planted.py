"""Does the gate see what it should, and nothing else: unchanged code against itself, and faults that are planted.

    python tests/benchmarks/experiments/planted.py unchanged --times 40
    python tests/benchmarks/experiments/planted.py slower_10 --times 10
    python tests/benchmarks/experiments/planted.py all --pairs 10
    python tests/benchmarks/experiments/planted.py summary

Each time a clone of HEAD is made below the temporary folder, the fault (`faults/<name>.patch`) is committed on top of
it, and `aebench compare` runs the gate of `tests/benchmarks/test_gate.py` on both. What came of it is one line of
`results/<name>.jsonl`: verdict, every finding that is no pass, and the times of every benchmark by pair. Lines are
appended, so that a long experiment can go on another day; `summary` reads them all.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from aebench.regress import written
from aebench.regress.gate import decide
from aebench.regress.pairs import LOOKS
from aebench.regress.records import Side

HERE = Path(__file__).parent
FAULTS = sorted(path.stem for path in (HERE / "faults").glob("*.patch"))
UNCHANGED = "unchanged"
VERDICTS = ("fail", "inconclusive", "no baseline", "gone")
AUTHOR = ("-c", "user.name=experiment", "-c", "user.email=experiment@localhost")


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout.strip()


def planted(name: str, folder: Path) -> Path:
    """A clone of HEAD whose second commit has the fault; unchanged code is a commit that changes nothing."""
    clone = folder / "clone"
    git(HERE, "clone", "-q", git(HERE, "rev-parse", "--show-toplevel"), str(clone))
    if name != UNCHANGED:
        git(clone, "apply", "--index", str(HERE / "faults" / f"{name}.patch"))
    git(clone, *AUTHOR, "commit", "-q", "--allow-empty", "-m", name)
    return clone


def once(name: str, pairs: int, only: Sequence[str], keep: Path | None) -> dict[str, Any]:
    """One gate: what it says, and the times it rests on."""
    with TemporaryDirectory(prefix="planted-") as place:
        folder = Path(place)
        clone = planted(name, folder)
        words = [
            "compare",
            "HEAD~1",
            "HEAD",
            "-C",
            str(clone),
            "--pairs",
            str(pairs),
            "--out",
            str(folder / "out.json"),
        ]
        words += [word for one in only for word in ("--only", one)] + (["--keep", str(keep)] if keep else [])
        load = os.getloadavg()[0]
        done = subprocess.run([sys.executable, "-m", "aebench", *words], capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1, 3):
            raise SystemExit(f"{name}: {done.stderr}")
        found = written.read(folder / "out.json")
        return {
            "fault": name, "commit": git(clone, "rev-parse", "HEAD~1"), "only": list(only), "verdict": found.verdict,
            "pairs": found.pairs, "asked": pairs, "seconds": found.made["seconds"], "date": found.made["date"],
            "machine": dict(found.machine), "load": [load, os.getloadavg()[0]],
            "findings": [f.line for verdict in VERDICTS for f in found.findings if f.verdict == verdict],
            "times": {
                m.benchmark: [[float(f"{v:.6g}") for v in values] for values in pair]
                for m, pair in found.samples.items() if m.kind == "time"
            },
        }  # fmt: skip


def first_look(line: dict[str, Any]) -> str:
    """What the times alone said at the pairs that were asked for first, before any were doubled."""
    sides: list[dict[Any, tuple[float, ...]]] = [{}, {}]
    for benchmark, pair in line["times"].items():
        measure = written.Measure(benchmark, "time", "time", "s")
        for side, values in zip(sides, pair, strict=True):
            side[measure] = tuple(values[: line["asked"]])
    if not sides[0]:
        return "none"
    found = decide(Side("base", sides[0]), Side("new", sides[1]), alpha=0.05 / LOOKS)
    verdicts = Counter(finding.verdict for finding in found)
    return next(v for v in ("fail", "inconclusive", "pass") if verdicts[v] or v == "pass")


def lines() -> Iterator[dict[str, Any]]:
    for file in sorted((HERE / "results").glob("*.jsonl")):
        yield from map(json.loads, file.read_text(encoding="utf-8").splitlines())


def summary() -> None:
    """A line a fault: verdicts, the times' first look, what named it first, how long a gate took."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in lines():
        found.setdefault(line["fault"], []).append(line)
    for name, runs in found.items():
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in Counter(r["verdict"] for r in runs).items())
        first = ", ".join(f"{count} {verdict}" for verdict, count in Counter(map(first_look, runs)).items())
        low, median, high = np.quantile([run["seconds"] for run in runs], [0, 0.5, 1])
        print(f"{name}: {verdicts} of {len(runs)}; first look at the times: {first}")  # noqa: T201
        print(f"    {median:.0f} s a gate [{low:.0f}, {high:.0f}]; noise {noise(runs):.1%}")  # noqa: T201
        for text, count in Counter(text for run in runs for text in run["findings"][:1]).most_common(3):
            print(f"    {count}x {text}")  # noqa: T201


def noise(runs: Sequence[dict[str, Any]]) -> float:
    """The median over benchmarks of the standard deviation of log ratios within a gate."""
    spreads = [
        float(np.std(np.log(np.divide(*pair)), ddof=1))
        for run in runs for pair in run["times"].values() if len(pair[0]) == len(pair[1]) > 1
    ]  # fmt: skip
    return float(np.median(spreads)) if spreads else math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[UNCHANGED, *FAULTS, "all", "summary"])
    parser.add_argument("--times", type=int, default=1, help="so many lines are there at the end")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--only", action="append", default=[], help="benchmarks with this in the name")
    parser.add_argument("--keep", type=Path, help="where environments are installed, and stay")
    chosen = parser.parse_args()
    if chosen.name == "summary":
        summary()
        return
    for name in FAULTS if chosen.name == "all" else [chosen.name]:
        file = HERE / "results" / f"{name}.jsonl"
        file.parent.mkdir(exist_ok=True)
        while len(file.read_text(encoding="utf-8").splitlines() if file.exists() else []) < chosen.times:
            line = once(name, chosen.pairs, chosen.only, chosen.keep)
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
            said = f"{name}: {line['verdict']} after {line['seconds']:.0f} s: {(line['findings'] or ['-'])[0]}"
            print(said, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
