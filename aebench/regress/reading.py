"""Measurements from files: pytest-benchmark's JSON, and folders of results.

What a benchmark puts into pytest-benchmark's `extra_info` beside its times is read as well: `counters: {name: number}`,
`exact: {name: number}` and `quality: {name: {better, values: [by seed]}}`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aebench.errors import InputError
from aebench.regress.records import Better, Measure, Side

if TYPE_CHECKING:
    from aebench.comparison.records import Entrant

TIME = "min"
"""Which of pytest-benchmark's statistics stands for a process: other work only ever adds to a time."""
MACHINE = ("node", "machine", "processor", "system", "python_version")


def read(path: str | Path) -> Side:
    """A side from a JSON file of pytest-benchmark, a folder of them (repeats, by name), or a folder of results.

    Raises InputError where it is none of these, or the files of a folder are of different machines.
    """
    place = Path(path)
    if place.is_file():
        return benchmarks([_json(place)], str(path))
    if not place.is_dir():
        raise InputError(f"{path}: no such file or folder; give a git revision, an environment or results")
    if (place / "suite.json").exists():
        return results(place)
    files = sorted(place.glob("*.json"))
    if not files:
        raise InputError(f"{path}: holds neither results of a suite nor JSON files of pytest-benchmark")
    return benchmarks([_json(file) for file in files], str(path))


def benchmarks(reports: Iterable[Mapping[str, Any]], name: str) -> Side:
    """Reports of pytest-benchmark, each of one process, as repeats of one side."""
    values: dict[Measure, list[float]] = {}
    machines: list[dict[str, str]] = []
    notes: dict[str, None] = {}
    for report in reports:
        about = report.get("machine_info") or {}
        machines.append({key: str(about[key]) for key in MACHINE if about.get(key)})
        for entry in report["benchmarks"]:
            for measure, found in _measures(entry, name):
                values.setdefault(measure, []).extend(found)
            notes |= dict.fromkeys((entry.get("extra_info") or {}).get("notes", ()))
    differing = [m for m in machines if m != machines[0]]
    if differing:
        keys = [key for key in MACHINE if differing[0].get(key) != machines[0].get(key)]
        says = "; ".join(f"{key} {machines[0].get(key)!r} and {differing[0].get(key)!r}" for key in keys)
        raise InputError(f"{name}: measured on different machines: {says}")
    return Side(name, {m: tuple(v) for m, v in values.items()}, machines[0] if machines else {}, tuple(notes))


def _measures(entry: Mapping[str, Any], side: str) -> Iterable[tuple[Measure, list[float]]]:
    try:
        benchmark, stats = str(entry["fullname"]), entry["stats"]
        extra = entry.get("extra_info") or {}
        if extra.get("timed", True):
            yield Measure(benchmark, "time", "time", "s"), [float(stats[TIME])]
        for kind, name in (("counter", "counters"), ("exact", "exact")):
            for what, value in (extra.get(name) or {}).items():
                yield Measure(benchmark, what, "counter" if kind == "counter" else "exact"), [float(value)]
        for what, quality in (extra.get("quality") or {}).items():
            better: Better = "higher" if quality["better"] == "higher" else "lower"
            yield Measure(benchmark, what, "quality", better=better), [_float(v) for v in quality["values"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{side}: not a report of pytest-benchmark: {type(error).__name__}: {error}") from error


def results(folder: str | Path) -> Side:
    """A folder of results: each metric of each setting is a quality with a value for each seed, in order of seeds."""
    from aebench.comparison import boards
    from aebench.plots import with_documents
    from aebench.store import Store
    from aebench.store.frame import from_documents

    store = Store(folder)
    held = {document["id"]: document for document in store.documents()}
    if not held:
        raise InputError(f"{folder}: no results of a suite")
    frame = with_documents(from_documents(list(held.values())), held)
    values: dict[Measure, tuple[float, ...]] = {}
    for board in boards(frame):
        for measure in board.measures:
            if measure.better == "neither":
                continue
            better: Better = "higher" if measure.better == "higher" else "lower"
            for entrant in board.entrants:
                cell = board.cells.get((entrant.key, measure.name))
                if cell is not None and not all(map(math.isnan, cell.values)):
                    key = Measure(_name(entrant), measure.name, "quality", measure.unit, better)
                    values[key] = tuple(cell.values)
    return Side(str(folder), values)


def _name(entrant: Entrant) -> str:
    return f"{entrant.label} on {entrant.data}"


def _json(file: Path) -> dict[str, Any]:
    try:
        report = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{file}: broken JSON: {error}") from error
    if not isinstance(report, dict) or not isinstance(report.get("benchmarks"), list):
        raise InputError(f"{file}: not a report of pytest-benchmark: it has no list of benchmarks")
    return report


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
