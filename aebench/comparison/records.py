"""What a comparison gives: entrants, boards, claims, curves and rankings, as plain frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from aebench.stats import Floats, Friedman, Interval, Intervals, Paired, Refusal, Test

MIN_SEEDS = 4
"""Fewer seeds than these carry no mark and no claim."""
LEVEL = 0.95
"""Of every interval, and 1 − the chance at which a difference counts as one."""


@dataclass(frozen=True)
class Entrant:
    """A setting on one data set: runs that differ in nothing but the seed."""

    key: str
    """Eight hexadecimal digits, of the specification without the seed."""
    data: str
    """The label of the data set, as in the frame."""
    variant: str
    label: str
    """The variant, and what tells it from others of that name on this data set."""
    network: str
    """In words: `mlp 64-64`."""
    ids: tuple[str, ...]
    """The runs by rising seed, whatever their status."""
    seeds: tuple[int, ...]
    spec: Mapping[str, Any]
    """The specification of the run with the lowest seed."""


@dataclass(frozen=True)
class Cell:
    """What one entrant has of one measure."""

    interval: Interval
    """Mean over the entrant's own seeds that have a value; NaN where none has, bounds NaN where there is no spread of a
    sample: one seed, a count, a number that runs share, or one of a closed form, whose runs are copies.
    """
    values: tuple[float, ...]
    """One for each of the entrant's seeds, NaN where it is missing."""
    mark: Literal["best", "tied", ""]
    """`tied`: not distinguishable from the best."""
    note: str
    """Why values are missing, or why a complete cell is not ranked though its measure is; else empty."""


@dataclass(frozen=True)
class Measure:
    """One number that runs have."""

    name: str
    unit: str
    better: Literal["lower", "higher", "neither"]
    about: str
    ranked: bool
    """Whether any two entrants are compared by it, so that there is a best."""
    note: str
    """Why it is not ranked, or which entrants are not; else empty."""


@dataclass(frozen=True)
class Board:
    """The leaderboard of one data set."""

    data: str
    measures: tuple[Measure, ...]
    entrants: tuple[Entrant, ...]
    cells: Mapping[tuple[str, str], Cell]
    """`(entrant.key, measure.name)` -> its cell; there is one for every pair."""
    notes: tuple[str, ...]
    """What a reader must know before comparing: plain sentences."""


@dataclass(frozen=True)
class Part:
    """One comparison that a sentence rests on: entrant `a` against entrant `b` on one data set."""

    data: str
    measure: str
    a: str
    b: str
    paired: Paired
    ids: tuple[str, ...]
    """The runs of both that were paired: those of `a`, then those of `b`."""


@dataclass(frozen=True)
class Claim:
    """A sentence that the numbers support, and the comparisons that it rests on, in the order of its text.

    A sentence that says why nothing is claimed has no parts; `measure`, `data`, `a` and `b` are then empty and `paired`
    is None.
    """

    text: str
    parts: tuple[Part, ...]
    compared: int
    """Over so many comparisons of the page Holm's adjustment was made."""

    @property
    def measure(self) -> str:
        """That of the first comparison."""
        return self.parts[0].measure if self.parts else ""

    @property
    def data(self) -> str:
        """The data set of the first comparison."""
        return self.parts[0].data if self.parts else ""

    @property
    def a(self) -> str:
        """The key of the entrant that the sentence begins with."""
        return self.parts[0].a if self.parts else ""

    @property
    def b(self) -> str:
        """The key of the entrant that it is compared with."""
        return self.parts[0].b if self.parts else ""

    @property
    def paired(self) -> Paired | None:
        """The first comparison."""
        return self.parts[0].paired if self.parts else None

    @property
    def ids(self) -> tuple[str, ...]:
        """Every run behind the sentence."""
        return tuple(dict.fromkeys(run for part in self.parts for run in part.ids))


@dataclass(frozen=True)
class CurveComparison:
    """Two swept lines on one data set, compared where they overlap: `y` of `a` less `y` of `b` at equal `x`."""

    data: str
    kind: Literal["rate-distortion", "sparsity-distortion", "noise"]
    a: str
    b: str
    """The labels of the lines."""
    area: Interval
    """The difference, averaged over the range of x that both cover: in `unit_y`."""
    at: Floats
    """`[k]`, values of x inside the range common to all seeds of both."""
    matched: Intervals
    """`[k]`, the difference at these."""
    unit_x: str
    unit_y: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """Entrants that are the same on several data sets, compared over all of them by one measure."""

    measure: str
    labels: tuple[str, ...]
    """`[variants]`: the settings, as far as they are the same on every data set."""
    keys: tuple[tuple[str, ...], ...]
    """`[variants][datasets]`: the keys of their entrants."""
    data: tuple[str, ...]
    """`[datasets]`: all that are compared by rank."""
    referenced: tuple[str, ...]
    """Those of them with a frozen reference, in order: the data sets of the scores."""
    strong: tuple[str, ...]
    """`[referenced]`: the label of the stored setting that is 1 there."""
    seeds: tuple[int, ...]
    values: Floats
    """`[variants, datasets, seeds]`, in the measure's unit."""
    scores: Floats
    """`[variants, referenced, seeds]`: 0 is PCA, 1 the stored strong run."""
    iqm: Intervals | None
    """`[variants]`: interquartile mean of the scores, without an interval for a closed form, whose runs are copies;
    None where no data set has a reference.
    """
    thresholds: Floats
    profiles: Intervals | None
    """`[variants, thresholds]`: the share of (data set, seed) with at least this score."""
    ranks: Intervals
    """`[variants]`: mean rank over the data sets; 1 is best."""
    control: str
    """The label that the others are tested against."""
    wilcoxon: tuple[Test, ...] | Refusal
    """Of every label but the control, in order."""
    friedman: Friedman | Refusal
    ids: tuple[str, ...]
    notes: tuple[str, ...]
    """What was left out and why: plain sentences."""
