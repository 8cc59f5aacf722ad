"""What is compared: the measurements of one side, and what came of the comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["time", "counter", "exact", "quality"]
"""A time is noisy and lower is better; a counter has no noise and lower is better; what is exact must not change at
all; a quality has a value for each seed."""
Verdict = Literal["fail", "inconclusive", "no baseline", "gone", "pass"]
Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Measure:
    """One number of a benchmark."""

    benchmark: str
    name: str
    kind: Kind
    unit: str = ""
    better: Better = "lower"

    def __str__(self) -> str:
        return f"{self.benchmark} · {self.name}"


@dataclass(frozen=True)
class Side:
    """Measurements of one revision, environment or folder, `[repeats]` each, or `[seeds]` of a quality.

    Repeats of both sides are in the order in which they were made, so that the i-th of each are neighbours.
    """

    name: str
    values: Mapping[Measure, tuple[float, ...]]
    machine: Mapping[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict[str, str])
    """Benchmark, or file of benchmarks, or "" for all -> why it could not be measured."""
    seeds: Mapping[Measure, tuple[int, ...]] = field(default_factory=dict[Measure, tuple[int, ...]])
    """Of each value of a quality, where they are known."""

    def failure(self, benchmark: str) -> str | None:
        """Why a benchmark could not be measured; None where it could, or is not known to have been tried."""
        file = benchmark.partition("::")[0]
        return next((self.failures[name] for name in (benchmark, file, "") if name in self.failures), None)


@dataclass(frozen=True)
class Finding:
    """What was found of one measure."""

    measure: Measure
    verdict: Verdict
    said: str
    """One line: the size of the effect with its bounds, and the margin."""
    effect: float = float("nan")
    """By how much the new side is worse, as a share of the base: .1 is a tenth slower; NaN where it is none."""
    lower: float = float("nan")
    upper: float = float("nan")
    margin: float = float("nan")
    n: int = 0
    p: float = float("nan")
    """Of "time" and "quality": against "no worse than the margin", before it is adjusted."""
    crashed: bool = False
    """Whether it fails because only the new side could not run the benchmark."""

    @property
    def line(self) -> str:
        """The finding in one line of plain text."""
        return f"{self.verdict.upper()} {self.measure}: {self.said}"
