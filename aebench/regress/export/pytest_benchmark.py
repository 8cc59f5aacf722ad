"""pytest-benchmark's JSON: what its `compare` reads, and what `aebench compare` reads again.

Fields as pytest-benchmark 5 writes them (its documentation, "Usage", and what a run of it gives).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aebench.errors import InputError
from aebench.regress import sources
from aebench.regress.export import Export, without
from aebench.regress.records import Measure
from aebench.regress.sources import Source


def export(source: Source) -> Export:
    """One file, or of a comparison base.json and new.json: each benchmark that was timed, its rounds the processes.

    Counters, exact numbers and qualities of these benchmarks are in `extra_info`, where `aebench compare` finds them.
    """
    sides = {"pytest-benchmark.json": source}
    if source.comparison is not None:
        sides = {"base.json": sources.base(source.comparison), "new.json": source}
    reports = {name: report(one) for name, one in sides.items()}
    if not any(found["benchmarks"] for found in reports.values()):
        raise InputError(f"{source.side.name}: nothing was timed, and pytest-benchmark's JSON is of times")
    held = {entry["fullname"] for found in reports.values() for entry in found["benchmarks"]}
    untimed = [measure for measure in source.side.values if measure.benchmark not in held]
    return Export(
        {name: json.dumps(found, indent=1) + "\n" for name, found in reports.items()},
        left_out=without(untimed, "the time of their benchmark is not measured"),
    )


def report(source: Source) -> dict[str, Any]:
    """A report, as JSON has it."""
    by_benchmark: dict[str, dict[Measure, tuple[float, ...]]] = {}
    for measure, values in source.side.values.items():
        by_benchmark.setdefault(measure.benchmark, {})[measure] = values
    entries = [_entry(benchmark, found) for benchmark, found in by_benchmark.items()]
    machine = source.machine
    cores = machine.get("cores", "")
    return {
        "machine_info": {
            "node": "",
            "machine": machine.get("architecture", ""),
            "processor": machine.get("processor", ""),
            "system": machine.get("system", ""),
            "python_version": machine.get("python", ""),
            "cpu": {"brand_raw": machine.get("processor", ""), "count": int(cores) if cores.isdecimal() else 0},
        },
        "commit_info": {"id": source.commit},
        "benchmarks": [entry for entry in entries if entry],
        "datetime": source.date,
        "version": "5.0.0",
    }


def _entry(benchmark: str, found: Mapping[Measure, Sequence[float]]) -> dict[str, Any] | None:
    times = next((values for measure, values in found.items() if measure.kind == "time"), ())
    rounds = [value for value in times if np.isfinite(value)]
    if not rounds:
        return None
    extra: dict[str, Any] = {}
    for measure, values in found.items():
        summary = sources.summary(measure, values)
        if measure.kind == "quality":
            given = [value if np.isfinite(value) else None for value in values]
            extra.setdefault("quality", {})[measure.name] = {"better": measure.better, "values": given}
        elif measure.kind != "time" and summary is not None:
            extra.setdefault("counters" if measure.kind == "counter" else "exact", {})[measure.name] = summary.value
    name = benchmark.rpartition("::")[2]
    parameters = name.partition("[")[2].removesuffix("]") or None
    return {
        "group": None, "name": name, "fullname": benchmark, "params": None, "param": parameters, "extra_info": extra,
        "options": {"disable_gc": False, "timer": "perf_counter", "min_rounds": 1, "max_time": 0.0, "min_time": 0.0,
                    "warmup": False},
        "stats": _stats(rounds),
    }  # fmt: skip


def _stats(rounds: Sequence[float]) -> dict[str, Any]:
    """Of the rounds `[n]`, in seconds; outliers as pytest-benchmark counts them: beyond a deviation; beyond 1.5 IQR."""
    x = np.asarray(rounds, np.float64)
    q1, median, q3 = map(float, np.quantile(x, [0.25, 0.5, 0.75]))
    mean, deviation = float(x.mean()), statistics.stdev(rounds) if x.size > 1 else 0.0
    fences = (q1 - 1.5 * (q3 - q1), q3 + 1.5 * (q3 - q1))
    beyond = int((np.abs(x - mean) > deviation).sum()), int(((x < fences[0]) | (x > fences[1])).sum())
    return {
        "min": float(x.min()), "max": float(x.max()), "mean": mean, "stddev": deviation, "rounds": x.size,
        "median": median, "iqr": q3 - q1, "q1": q1, "q3": q3, "iqr_outliers": beyond[1], "stddev_outliers": beyond[0],
        "outliers": f"{beyond[0]};{beyond[1]}", "ld15iqr": float(x[x >= fences[0]].min()),
        "hd15iqr": float(x[x <= fences[1]].max()), "ops": 1 / mean, "total": float(x.sum()), "data": list(rounds),
        "iterations": 1,
    }  # fmt: skip
