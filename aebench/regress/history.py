"""The history of measurements: `<folder>/<machine key>.jsonl`, append-only, a line a commit and metric."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, get_args

from aebench.errors import InputError
from aebench.regress import commits, machine, sources
from aebench.regress.records import Better, Kind, Measure
from aebench.regress.sources import Source
from aebench.store.atomic import reason

FOLDER = Path("results/history")
LAST = 10
"""Values before the last one, with whose median it is compared."""
RECENT = 30
"""A step is warned of while it is among so many values of its metric: a month of nights."""


@dataclass(frozen=True)
class Entry:
    """A line: one metric at one commit, on the machine that the file is named after."""

    commit: str
    date: str
    """Of the commit, in ISO 8601."""
    machine: str
    benchmark: str
    name: str
    kind: Kind
    unit: str
    better: Better
    value: float
    """See `sources.summary`."""
    n: int
    made: str
    """When it was measured, in ISO 8601."""

    @property
    def measure(self) -> Measure:
        """What was measured."""
        return Measure(self.benchmark, self.name, self.kind, self.unit, self.better)

    @property
    def identity(self) -> tuple[str, str, str, Kind]:
        """What a history has but once on a machine; numbers of several kinds may share a name."""
        return self.commit, self.benchmark, self.name, self.kind


@dataclass(frozen=True)
class Change:
    """A step of a series."""

    index: int
    """Of the first value of the new level."""
    before: float
    after: float
    p: float
    """0 where there is no noise: any change of a counter or an exact number is a step."""
    worse: bool | None
    """None where neither is: an exact number has no direction."""

    @property
    def direction(self) -> str:
        """Worse or better, or changed where neither is."""
        return "changed" if self.worse is None else "worse" if self.worse else "better"

    @property
    def said(self) -> str:
        """By how much, and in which direction: "+12.0% worse"."""
        if self.before and math.isfinite(share := (self.after - self.before) / abs(self.before)):
            size = f"{share:+.1%}" if abs(share) >= 5e-4 else f"{share:+.1e}"
        else:
            size = f"{self.before:.4g} → {self.after:.4g}"
        return f"{size} {self.direction}"


@dataclass(frozen=True)
class Series:
    """A metric on one machine, commit by commit."""

    measure: Measure
    entries: tuple[Entry, ...]
    """In the order of the commits' dates."""
    changes: tuple[Change, ...]

    @property
    def values(self) -> list[float]:
        """The values, in order."""
        return [entry.value for entry in self.entries]

    @property
    def against(self) -> float:
        """The last value against the median of the `LAST` before it, as a share; NaN where there is none."""
        *before, last = self.values
        usual = median(before[-LAST:]) if before else math.nan
        return (last - usual) / abs(usual) if usual else math.nan

    @property
    def recent(self) -> Iterator[Change]:
        """The steps that are worth a warning."""
        return (change for change in self.changes if change.index >= len(self.entries) - RECENT)


def entries(source: Source, revision: str | None = None, repository: str | Path = ".") -> list[Entry]:
    """What a source adds to the history of its machine, for the commit of `revision` or the one that it names.

    Raises InputError where no commit or no machine is known, or none of its values is finite.
    """
    named = source.commit if revision is None else revision
    if named is None:
        raise InputError(f"{source.commitless}; --commit names one")
    if source.placeless or not source.machine:
        raise InputError(f"{source.placeless or source.side.name}: it does not say on which machine it was measured")
    found = commits.commit(named, repository)
    if found is None and revision is not None:
        raise InputError(f"--commit {revision}: no commit of this repository")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    commit, date = (found.hash, found.date) if found else (named, source.date or now)
    key = machine.key(source.machine)
    made = [
        Entry(commit, date, key, m.benchmark, m.name, m.kind, m.unit, m.better, one.value, one.n, source.date or now)
        for m, values in source.side.values.items()
        if (one := sources.summary(m, values)) is not None
    ]
    if not made:
        raise InputError(f"{source.side.name}: it holds no finite value")
    return made


def add(folder: Path, new: Sequence[Entry]) -> tuple[Path, int, list[str]]:
    """Append entries of one machine that are not there yet, in one write: the file, how many, and what is amiss in it.

    A torn last line is left as it is, and ended, so that what is added begins a line. Raises InputError where the
    file cannot be written.
    """
    path = folder / f"{new[0].machine}.jsonl"
    there, problems = read_file(path) if path.exists() else ([], [])
    known = {entry.identity for entry in there}
    added = [entry for entry in new if entry.identity not in known]
    if not added:
        return path, 0, problems
    text = "".join(f"{json.dumps(asdict(entry), ensure_ascii=False, allow_nan=False)}\n" for entry in added).encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size and not _ended(path):
            text = b"\n" + text
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        try:
            written = os.write(descriptor, text)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}") from error
    if written < len(text):
        raise InputError(f"cannot write {path}: {written} of {len(text)} bytes were taken, the last line is torn")
    return path, len(added), problems


def _ended(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def read_file(path: Path) -> tuple[list[Entry], list[str]]:
    """The entries of a file in order, the first of each commit and metric; and a line for each line that is broken."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"cannot read {path}: {reason(error)}") from error
    found: dict[tuple[str, str, str, Kind], Entry] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = _entry(json.loads(line))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            torn = "torn" if number == len(lines) else "broken"
            problems.append(f"{path}, line {number}: {torn}, left as it is: {reason(error)}")
            continue
        found.setdefault(entry.identity, entry)
    return list(found.values()), problems


def _entry(line: Any) -> Entry:
    texts = {key: str(line[key]) for key in ("commit", "date", "machine", "benchmark", "name", "unit", "made")}
    kind, better, value = line["kind"], line["better"], float(line["value"])
    if kind not in get_args(Kind) or better not in get_args(Better) or not math.isfinite(value):
        raise ValueError(f"kind {kind!r}, better {better!r}, value {value!r}")
    return Entry(**texts, kind=kind, better=better, value=value, n=int(line["n"]))


def read(folder: Path) -> tuple[dict[str, list[Series]], list[str]]:
    """Machine key -> its series, in the order in which they began; and a line for each line that is broken.

    Raises InputError where there is no history.
    """
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise InputError(f"{folder}: no history there; aebench history --add SOURCE begins one")
    machines: dict[str, list[Series]] = {}
    problems: list[str] = []
    for path in files:
        found, amiss = read_file(path)
        problems += amiss
        machines[path.stem] = series(found)
    return machines, problems


def series(found: Iterable[Entry]) -> list[Series]:
    """Entries of one machine by metric, each in the order of its commits, with its steps."""
    grouped: dict[tuple[str, str, Kind], list[Entry]] = {}
    for entry in found:
        grouped.setdefault((entry.benchmark, entry.name, entry.kind), []).append(entry)
    lines = [sorted(own, key=lambda entry: moment(entry.date)) for own in grouped.values()]
    return [Series(own[-1].measure, tuple(own), changes(own[-1].measure, [e.value for e in own])) for own in lines]


def changes(measure: Measure, values: Sequence[float]) -> tuple[Change, ...]:
    """The steps of a metric: every change of what has no noise, and what the test by ranks finds in what has."""
    if measure.kind in ("counter", "exact"):
        return tuple(
            Change(i, a, b, 0.0, None if measure.kind == "exact" else _worse(measure, a, b))
            for i, (a, b) in enumerate(pairwise(values), 1)
            if a != b
        )
    from aebench.stats.steps import steps

    return tuple(Change(s.index, s.before, s.after, s.p, _worse(measure, s.before, s.after)) for s in steps(values))


def _worse(measure: Measure, before: float, after: float) -> bool:
    return (after > before) == (measure.better == "lower")


def moment(date: str) -> datetime:
    """A date of an entry, to sort by: commits are made in many time zones; the first of all where it is none."""
    try:
        found = datetime.fromisoformat(date)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
