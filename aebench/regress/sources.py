"""What is exported and kept in a history: measurements from a file or a folder, with machine, commit and date."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aebench.regress import documents, machine, reading, written
from aebench.regress.records import Measure, Side
from aebench.regress.written import Comparison
from aebench.stats import mean_interval
from aebench.stats.intervals import vector


@dataclass(frozen=True)
class Source:
    """The measurements of one side, and the comparison that they were made for, where there is one."""

    side: Side
    """Of a comparison the new one."""
    machine: Mapping[str, str] = field(default_factory=dict[str, str])
    """See `machine.identity`, as far as it is known."""
    commit: str | None = None
    date: str = ""
    """When it was measured, in ISO 8601; empty where that is not known."""
    comparison: Comparison | None = None


class Summary(NamedTuple):
    """One number for many, and how far they spread."""

    value: float
    low: float
    """NaN, as is `high`, where there are too few values for an interval."""
    high: float
    n: int


def read(place: str | Path) -> Source:
    """A source from the JSON of a comparison, that of pytest-benchmark (or a folder of it), or a folder of results.

    Raises InputError where it is none of these.
    """
    path = Path(place)
    if path.is_file() and (document := documents.read(path)).get("kind") == "comparison":
        return of_comparison(written.parse(document, str(place)))
    side = reading.read(place)
    if (path / "suite.json").exists():
        return _of_results(side, path)
    return _of_reports(
        side, [documents.read(file) for file in ([path] if path.is_file() else sorted(path.glob("*.json")))]
    )


def of_comparison(found: Comparison) -> Source:
    """The new side of a comparison."""
    commits = _mapping(found.made.get("commits"))
    return Source(_side(found, 1), found.machine, commits.get("new"), str(found.made.get("date") or ""), found)


def base(found: Comparison) -> Source:
    """The other side of a comparison."""
    commits = _mapping(found.made.get("commits"))
    return Source(_side(found, 0), found.machine, commits.get("base"), str(found.made.get("date") or ""))


def _side(found: Comparison, which: int) -> Side:
    name = (found.base, found.new)[which]
    return Side(name, {m: sides[which] for m, sides in found.samples.items() if sides[which]}, found.machine)


def _of_reports(side: Side, reports: Sequence[Mapping[str, Any]]) -> Source:
    commits = [str(_mapping(report.get("commit_info")).get("id") or "") for report in reports]
    dates = [str(report.get("datetime") or "") for report in reports]
    return Source(side, _machine(side, _mapping(reports[-1].get("machine_info"))), _agreed(commits), max(dates))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _machine(side: Side, info: Mapping[str, Any]) -> Mapping[str, str]:
    """What a report says of its machine; all that is known of this one, where that is the one."""
    here = (info.get("node"), info.get("python_version")) == (platform.node(), platform.python_version())
    return machine.identity() if here else side.machine


def _of_results(side: Side, folder: Path) -> Source:
    from aebench.store import Store

    made: list[Mapping[str, Any]] = [document.get("made") or {} for document in Store(folder).documents()]
    device, system, python, torch = (
        _agreed(str(one.get(name) or "") for one in made) or "" for name in ("device", "system", "python", "torch")
    )
    processor = re.fullmatch(r"(?P<processor>.*), (?P<cores>\d+) cores?", device)  # as results of a CPU name it
    about = {
        **(processor.groupdict() if processor else {"gpu": device}),
        "architecture": system.partition(" ")[2],
        "system": system.partition(" ")[0],
        "python": _minor(python),
        "torch": torch,
    }
    about = {key: value for key, value in about.items() if value}
    commit = _agreed(str(one.get("commit") or "") for one in made)
    return Source(side, about, commit, max((str(one.get("when") or "") for one in made), default=""))


def summary(measure: Measure, values: Iterable[float]) -> Summary | None:
    """The median and quartiles of a time, the mean and its 95 % interval of a quality, the most of a counter.

    What is exact is its first value. Values that are not finite are left out; None where none is left.
    """
    x = vector([value for value in values if math.isfinite(value)])
    if x.size == 0:
        return None
    if measure.kind == "quality":
        mean = mean_interval(x)
        return Summary(float(mean.mean), float(mean.low), float(mean.high), x.size)
    if measure.kind == "exact":
        return Summary(float(x[0]), math.nan, math.nan, x.size)
    if measure.kind == "counter":
        return Summary(float(x.max()), float(x.min()), float(x.max()), x.size)
    low, middle, high = map(float, np.quantile(x, [0.25, 0.5, 0.75])) if x.size > 1 else (math.nan, x[0], math.nan)
    return Summary(float(middle), low, high, x.size)


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _agreed(values: Iterable[str]) -> str | None:
    """What all say, None where they do not agree or say nothing."""
    found = set(values)
    return (found.pop() or None) if len(found) == 1 else None
