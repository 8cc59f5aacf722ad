"""Results of airspeed velocity: `<machine>/<commit>-<environment>.json`, with machine.json and benchmarks.json beside.

The files are those of its developer documentation, "Benchmark suite layout and file formats", version 2 of the results.
"""

from __future__ import annotations

import hashlib
import json
import math
from datetime import datetime
from typing import Any

from aebench.errors import InputError
from aebench.regress import commits, machine, sources
from aebench.regress.export import Export, distinct, without
from aebench.regress.records import Measure
from aebench.regress.sources import Source

RESULTS_VERSION, BENCHMARKS_VERSION, MACHINE_VERSION = 2, 2, 1
COLUMNS = ["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "stats_ci_99_b", "stats_q_25",
           "stats_q_75", "stats_number", "stats_repeat", "samples", "profile"]  # fmt: skip


def export(source: Source) -> Export:
    """A folder of results: the commit of a source, both of a comparison, where asv can tell better from worse.

    Raises InputError where no commit is known, after which asv names its files.
    """
    sides = [source] if source.comparison is None else [sources.base(source.comparison), source]
    why = " (measured with uncommitted changes)"
    nameless = [f"{one.side.name}{why if one.dirty else ''}" for one in sides if not one.commit]
    if nameless:
        raise InputError(f"asv files results by commit, and none is known of {', '.join(nameless)}; --commit names one")
    measures = list(dict.fromkeys(measure for one in sides for measure in one.side.values))
    suiting = [measure for measure in measures if measure.better == "lower" and measure.kind != "exact"]
    if not suiting:
        raise InputError(f"{source.side.name}: asv takes lower for better, and that holds for nothing here")
    key = machine.key(source.machine)
    about = {
        "machine": key,
        "os": source.machine.get("system", ""),
        "arch": source.machine.get("architecture", ""),
        "cpu": source.machine.get("processor", ""),
        "num_cpu": source.machine.get("cores", ""),
        "ram": "",
    }
    files: dict[str, dict[str, Any]] = {f"{key}/machine.json": {**about, "version": MACHINE_VERSION}}
    names = _names(suiting)
    for one in sides:
        files |= _results(one, about, names)
    described = {name: _benchmark(measure, name) for measure, name in names.items()}
    files["benchmarks.json"] = {**described, "version": BENCHMARKS_VERSION}
    return Export(
        {name: json.dumps(found, indent=1) + "\n" for name, found in files.items()},
        left_out=without((m for m in measures if m not in suiting), "asv takes lower for better"),
    )


def _results(source: Source, about: dict[str, str], names: dict[Measure, str]) -> dict[str, dict[str, Any]]:
    assert source.commit is not None
    known = commits.commit(source.commit)
    commit, date = (known.hash, known.date) if known else (source.commit, source.date)
    python = source.machine.get("python", "")
    environment = f"aebench-py{python}"
    results = {name: _row(m, source.side.values[m]) for m, name in names.items() if m in source.side.values}
    found = {
        "commit_hash": commit, "env_name": environment, "date": _milliseconds(date),
        "params": {**about, "python": python}, "python": python, "requirements": {}, "env_vars": {},
        "result_columns": COLUMNS, "results": {name: row for name, row in results.items() if row}, "durations": {},
        "version": RESULTS_VERSION,
    }  # fmt: skip
    return {f"{about['machine']}/{_fit(f'{commit[:8]}-{environment}')}.json": found}


def _fit(text: str) -> str:
    """What may stand in the name of a file: a document may say anything of its commit and Python."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in text)


def _row(measure: Measure, values: tuple[float, ...]) -> list[Any]:
    """The columns of a benchmark; those at the end that are empty may be left out."""
    found = sources.summary(measure, values)
    if found is None:
        return []
    row: list[Any] = [[found.value], [], "1", None, None]
    if measure.kind != "time":
        return row
    from scipy.stats import quantile_test  # dear to import

    finite = [value for value in values if math.isfinite(value)]
    middle: Any = quantile_test(finite, p=0.5).confidence_interval(0.99)
    if not math.isfinite(
        middle.high - middle.low
    ):  # so few values have no such interval, and without it asv wants no statistics
        return row
    return [*row, [float(middle.low)], [float(middle.high)], [found.low], [found.high], [1], [found.n]]


def _benchmark(measure: Measure, name: str) -> dict[str, Any]:
    timed = measure.kind == "time"
    return {
        "name": name, "pretty_name": str(measure), "code": "", "params": [], "param_names": [], "version": "1",
        "type": "time" if timed else "track", "unit": "seconds" if timed else measure.unit or "unit", "timeout": 60.0,
        "number": 0, "repeat": 0, "min_run_count": 1, "rounds": 1, "sample_time": 0.01, "warmup_time": -1,
        "setup_cache_key": None,
    }  # fmt: skip


def _names(measures: list[Measure]) -> dict[Measure, str]:
    """What stands for each in asv's addresses, no two the same: of a path neither slash nor colon."""
    names: dict[Measure, str] = {}
    for measure, called in distinct(measures).items():
        text = f"{measure.benchmark}.{called}".replace("/", ".").replace("::", ".")
        name = _fit(text)
        taken = name in names.values()
        whole = f"{measure.benchmark} · {called}"
        names[measure] = f"{name}-{hashlib.sha256(whole.encode()).hexdigest()[:6]}" if taken else name
    return names


def _milliseconds(date: str) -> int:
    """Since 1970, as JavaScript counts; of what is no date 0."""
    try:
        return round(datetime.fromisoformat(date).timestamp() * 1000)
    except ValueError:
        return 0
