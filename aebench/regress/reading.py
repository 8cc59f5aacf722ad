"""Measurements from files: pytest-benchmark's JSON, and folders of results (see `stored`).

What a benchmark puts into pytest-benchmark's `extra_info` beside its times is read as well: `counters: {name: number}`,
`exact: {name: number}`, `quality: {name: {better: "lower" or "higher", values: [by seed]}}`, `timed: false`,
`invalid: why its time is of no worth` and `notes: [lines]`. The fixture `gate` (see `plugin`) writes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aebench.errors import InputError
from aebench.regress import documents, stored
from aebench.regress.records import Better, Measure, Side

TIME = "min"
"""Which of pytest-benchmark's statistics stands for a process: other work only ever adds to a time."""
PAIRED = "paired"
"""What stands for it instead where two processes had their rounds in turns: see `measuring`."""


def read(path: str | Path) -> Side:
    """A side from a JSON file of pytest-benchmark, a folder of them (repeats, by name), or a folder of results.

    Raises InputError where it is none of these, or the files of a folder are of different machines.
    """
    place = Path(path)
    if place.is_file():
        return benchmarks([_report(place)], str(path))
    if not place.is_dir():
        raise InputError(f"{path}: no such file or folder; give a git revision, an environment or results")
    if stored.is_results(place):
        return stored.results(place)[0]
    files = sorted(place.glob("*.json"))
    if not files:
        raise InputError(f"{path}: holds neither results of a suite nor JSON files of pytest-benchmark")
    return benchmarks([_report(file) for file in files], str(path))


def both(base: str | Path, new: str | Path) -> tuple[Side, Side]:
    """Two sides that are to be compared; settings of results have the same names in both."""
    if stored.is_results(base) and stored.is_results(new):
        first, second = stored.results(base, new)
        return first, second
    return read(base), read(new)


def benchmarks(reports: Iterable[Mapping[str, Any]], name: str) -> Side:
    """Reports of pytest-benchmark, each of one process, as repeats of one side."""
    values: dict[Measure, list[float]] = {}
    seeds: dict[Measure, list[list[float]]] = {}
    machines: list[dict[str, str]] = []
    notes: dict[str, None] = {}
    for repeat, report in enumerate(reports):
        machines += filter(None, [_machine(report.get("machine_info"))])
        for entry in report["benchmarks"]:
            for measure, found in _measures(entry, name):
                if measure.kind == "quality":
                    seeds.setdefault(measure, []).append(found)
                else:
                    own = values.setdefault(measure, [])
                    if measure.kind == "time":  # the i-th samples of both sides are a pair, also where one lacks some
                        own.extend([math.nan] * (repeat - len(own)))
                    own.extend(found)
            notes |= dict.fromkeys(_notes(entry))
    differing = [m for m in machines if m != machines[0]]
    if differing:
        keys = [key for key in machines[0] | differing[0] if differing[0].get(key) != machines[0].get(key)]
        says = "; ".join(f"{key} {machines[0].get(key)!r} and {differing[0].get(key)!r}" for key in keys)
        raise InputError(f"{name}: measured on different machines: {says}")
    # a repeat of a seed is no further seed: the values of each are averaged
    by_seed = {m: [sum(v) / len(v) for v in zip(*repeats, strict=False)] for m, repeats in seeds.items()}
    found = {m: tuple(v) for m, v in (values | by_seed).items()}
    return Side(name, found, machines[0] if machines else {}, tuple(notes))


def _machine(about: Any) -> dict[str, str]:
    """What pytest-benchmark says of a machine under the names of `machine.identity`, its name in a network left out."""
    about = about if isinstance(about, Mapping) else {}
    cpu = found if isinstance(found := about.get("cpu"), Mapping) else {}
    known = {
        "processor": cpu.get("brand_raw") or about.get("processor"),
        "cores": cpu.get("count"),
        "architecture": about.get("machine"),
        "system": about.get("system"),
        "python": ".".join(str(about.get("python_version") or "").split(".")[:2]),
    }
    return {key: str(value) for key, value in known.items() if value}


def _notes(entry: Mapping[str, Any]) -> list[str]:
    extra = entry.get("extra_info") or {}
    invalid = [f"some times do not count: {extra['invalid']}"] if extra.get("invalid") else []
    lines = extra.get("notes") or ()
    return [*invalid, *map(str, lines if isinstance(lines, list | tuple) else [lines])]


def _measures(entry: Mapping[str, Any], side: str) -> Iterable[tuple[Measure, list[float]]]:
    try:
        benchmark, stats = str(entry["fullname"]), entry["stats"]
        extra = entry.get("extra_info") or {}
        if extra.get("timed", True):
            # what was throttled keeps its place, as the i-th samples of both sides are a pair
            time = math.nan if extra.get("invalid") else float(stats.get(PAIRED, stats[TIME]))
            yield Measure(benchmark, "time", "time", "s"), [time]
        for kind, name in (("counter", "counters"), ("exact", "exact")):
            for what, value in (extra.get(name) or {}).items():
                yield Measure(benchmark, what, "counter" if kind == "counter" else "exact"), [float(value)]
        for what, quality in (extra.get("quality") or {}).items():
            better: Better = quality["better"]
            if better not in ("lower", "higher"):
                raise ValueError(f"{what}: better is {better!r}; choose lower or higher")
            yield Measure(benchmark, what, "quality", better=better), [_float(v) for v in quality["values"]]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"{side}: not a report of pytest-benchmark: {said}") from error


def _report(file: Path) -> dict[str, Any]:
    report = documents.read(file)
    if not isinstance(report.get("benchmarks"), list):
        raise InputError(f"{file}: not a report of pytest-benchmark: it has no list of benchmarks")
    return report


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
