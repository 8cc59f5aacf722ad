"""What is exported and kept in a history: measurements from a file or a folder, with machine, commit and date."""

from __future__ import annotations

import math
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aebench.regress import documents, machine, reading, written
from aebench.regress.records import Measure, Side
from aebench.regress.written import Comparison
from aebench.stats import mean_interval
from aebench.stats.intervals import vector

NO_COMMIT = ("unversioned", "unknown")
"""What pytest-benchmark calls the commit where there is no repository, or it cannot read it."""


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
    dirty: str = ""
    """A file of it that was measured with uncommitted changes; `commit` is then None."""
    placeless: str = ""
    """A file of it that does not say on which machine it was measured."""

    @property
    def commitless(self) -> str:
        """Why it is of no commit, in a line that names it."""
        if self.dirty:
            return f"{self.dirty}: it was measured with uncommitted changes, which are of no commit"
        return f"{self.side.name}: it does not say of which commit it is"


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
        found = of_comparison(written.parse(document, str(place)))
        return found if found.machine else replace(found, placeless=str(place))
    side = reading.read(place)
    if (path / "suite.json").exists():
        return _of_results(side, path)
    files = [path] if path.is_file() else sorted(path.glob("*.json"))
    return _of_reports(side, {str(file): documents.read(file) for file in files})


def of_comparison(found: Comparison) -> Source:
    """The new side of a comparison."""
    commits = _mapping(found.made.get("commits"))
    return Source(_side(found, 1), found.machine, commits.get("new") or None, str(found.made.get("date") or ""), found)


def base(found: Comparison) -> Source:
    """The other side of a comparison."""
    commits = _mapping(found.made.get("commits"))
    return Source(_side(found, 0), found.machine, commits.get("base") or None, str(found.made.get("date") or ""))


def _side(found: Comparison, which: int) -> Side:
    name = (found.base, found.new)[which]
    return Side(name, {m: sides[which] for m, sides in found.samples.items() if sides[which]}, found.machine)


def _of_reports(side: Side, reports: Mapping[str, Mapping[str, Any]]) -> Source:
    """Of file -> report, each of one process."""
    commits = {file: _mapping(report.get("commit_info")) for file, report in reports.items()}
    machines = {file: _mapping(report.get("machine_info")) for file, report in reports.items()}
    dirty = next((file for file, info in commits.items() if info.get("dirty")), "")
    placeless = next((file for file, info in machines.items() if not info), "")
    commit = None if dirty else _agreed(map(_commit, commits.values()))
    date = max(str(report.get("datetime") or "") for report in reports.values())
    here = _machine(side, list(machines.values())[-1])
    return Source(side, here, commit, date, dirty=dirty, placeless=placeless)


def _commit(info: Mapping[str, Any]) -> str:
    """The commit of a report, "" where it has none."""
    found = info.get("id")
    return found if isinstance(found, str) and found not in NO_COMMIT else ""


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
    commits = [str(one.get("commit") or "") for one in made]
    dirty = str(folder) if any(commit.endswith("+") for commit in commits) else ""  # see `device.commit`
    date = max((str(one.get("when") or "") for one in made), default="")
    return Source(side, about, None if dirty else _agreed(commits), date, dirty=dirty)


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
