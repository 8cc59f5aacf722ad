"""Sweeps as curves: where two lines overlap, which has the lower error at equal KL or equal sparsity.

This is how settings with a latent KL are compared by their error, and sparse ones at equal sparsity: a single point
of a sweep says where on its line somebody stopped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import groups, stats
from aebench.comparison.budgets import budget, latent
from aebench.comparison.entrants import Field, field, values_of
from aebench.comparison.questions import GAIN
from aebench.comparison.records import LEVEL, CurveComparison, Entrant
from aebench.comparison.rules import Mask, has_latent_kl
from aebench.stats import Floats

Kind = Literal["rate-distortion", "sparsity-distortion", "noise"]
KINDS: tuple[Kind, ...] = ("rate-distortion", "sparsity-distortion", "noise")
LINES = 4
"""Up to so many lines of a kind each is compared with each; more are compared with the first alone."""
SIGMA = "log₁₀ of σ in units of the data"
SPARSE, ERROR, RATE = "l0_fraction", "sse", "kl"
OTHER = ("latent", "sigma", *groups.KL_WEIGHT)
"""Fields that a line of sparsity does not follow: the size must be equal, noise has curves of its own."""
DISTORTION = "C"
"""⟨C⟩, the error with a sampled code: what the rate is paid for."""


@dataclass(frozen=True)
class Line:
    """One line of one data set, a curve a seed."""

    label: str
    x: Floats
    """`[seeds, points]` by the seeds of the data set, NaN where a run is missing."""
    y: Floats
    entrants: tuple[Entrant, ...]
    """Of each point; of a curve over the σ tested, one for all."""

    @property
    def there(self) -> Mask:
        """`[seeds]`: whether it has points enough for a curve."""
        return (~np.isnan(self.x + self.y)).sum(axis=1) > 1

    def alike(self, other: Line) -> bool:
        """Of equal latent size and budget; a closed form stands beside any budget."""
        a, b = self.entrants[0].spec, other.entrants[0].spec
        return latent(a) == latent(b) and (budget(a) == budget(b) or not (budget(a) and budget(b)))


@dataclass(frozen=True)
class Swept:
    """The settings of one data set and their numbers, to draw lines through."""

    field: Field
    networks: Sequence[str]
    """Of each entrant, in words."""
    rows: DataFrame

    def of(self, column: str) -> Floats:
        """A number `[entrants, seeds]`; NaN where it is missing, or no run has it."""
        if column not in self.rows:
            return np.full(self.field.rows.shape, np.nan)
        return self.field.of(values_of(self.rows, [column])[:, 0], np.nan)


def curve_comparisons(frame: DataFrame) -> tuple[CurveComparison, ...]:
    """Every two lines of a data set that overlap in x, paired by seed.

    `frame`: as `boards` takes it. "rate-distortion": ⟨C⟩ at equal latent KL, of lines along the KL weight.
    "sparsity-distortion": the squared error at an equal share of units in use, of lines along any other field of
    settings without a latent KL. "noise": the denoising gain over log₁₀ of the σ tested, of settings trained with a
    σ. Lines differ in neither latent size nor budget. Up to `LINES` of them each is compared with each, else with
    the first.
    """
    return tuple(one.comparison for one in overlaps(frame))


@dataclass(frozen=True)
class Overlap:
    """Two lines of one data set where both are."""

    data: str
    kind: Kind
    lines: tuple[Line, Line]
    seeds: NDArray[np.int64]
    """`[seeds]`: those that both have."""
    curves: tuple[Floats, Floats, Floats, Floats]
    """x and y of the one, x and y of the other, `[seeds, points]`."""
    unit_x: str
    unit_y: str

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The range of x that every curve covers; NaN where there is none."""
        return stats.common_range(*self.curves)

    def at(self, x: float) -> tuple[Floats, Floats]:
        """Both at equal x, by seed: `[seeds]` each."""
        xa, ya, xb, yb = self.curves
        return stats.at_matched(xa, ya, [x])[:, 0], stats.at_matched(xb, yb, [x])[:, 0]

    def turned(self) -> Overlap:
        """The second line first."""
        (a, b), (xa, ya, xb, yb) = self.lines, self.curves
        return replace(self, lines=(b, a), curves=(xb, yb, xa, ya))

    def crosses(self) -> bool:
        """Whether the means over seeds change places somewhere within the range of x."""
        xa, ya, xb, yb = self.curves
        places = np.linspace(*self.ends, stats.POINTS)
        difference = (stats.at_matched(xa, ya, places) - stats.at_matched(xb, yb, places)).mean(axis=0)
        return not (np.sign(difference) == np.sign(difference[0])).all()

    @property
    def ids(self) -> tuple[str, ...]:
        """The runs behind it, those of the first line first."""
        seeds = set(self.seeds.tolist())
        entrants = [entrant for line in self.lines for entrant in line.entrants]
        return tuple(run for e in entrants for seed, run in zip(e.seeds, e.ids, strict=True) if seed in seeds)

    @cached_property
    def comparison(self) -> CurveComparison:
        """How they differ."""
        tested = self.curves[0][0] if self.kind == "noise" else None
        at, matched = stats.matched_difference(*self.curves, tested, LEVEL)
        area, (a, b) = stats.area_between(*self.curves, LEVEL), self.lines
        units = (self.unit_x, self.unit_y)
        return CurveComparison(self.data, self.kind, a.label, b.label, area, at, matched, *units, self.ids)


def overlaps(frame: DataFrame, kinds: Collection[Kind] = KINDS, every: bool = False) -> list[Overlap]:
    """Two lines of some kinds that overlap; `every` two, however many lines there are."""
    values = frame.attrs["values"]
    found: list[Overlap] = []
    for data, rows in groups.datasets(frame):
        settings = field(rows)
        networks = rows["network"].to_numpy(object)[settings.rows.max(axis=1)].tolist()
        swept = Swept(settings, networks, rows)
        for kind in kinds:
            lines, x, y = _lines(kind, swept)
            unit_x = values[x]["unit"] if x in values else SIGMA
            pairs = _pairs(lines, every or len(lines) <= LINES)
            found += [_overlap(data, kind, settings, a, b, unit_x, values[y]["unit"]) for a, b in pairs]
    return [one for one in found if one.kind == "noise" or one.ends[0] < one.ends[1]]


def _lines(kind: Kind, swept: Swept) -> tuple[list[Line], str, str]:
    """The lines of a kind, and the names of their x and y; the x of noise is no number of a run."""
    if kind == "rate-distortion":
        return _rates(swept), RATE, DISTORTION
    if kind == "sparsity-distortion":
        return _sparsities(swept), SPARSE, ERROR
    tested = {name: float(m["sigma"]) for name in map(str, swept.rows.columns) if (m := GAIN.fullmatch(name))}
    names = sorted(tested, key=tested.__getitem__)
    return _noises(swept, names, np.log10([tested[name] for name in names])), "", next(iter(names), "")


def _pairs(lines: Sequence[Line], every: bool) -> Iterator[tuple[Line, Line]]:
    """Lines that may be compared and share a seed: every two, else each and the first."""
    pairs = combinations(lines, 2) if every else ((line, lines[0]) for line in lines[1:])
    return ((a, b) for a, b in pairs if a.alike(b) and (a.there & b.there).any())


def _overlap(data: str, kind: Kind, settings: Field, a: Line, b: Line, unit_x: str, unit_y: str) -> Overlap:
    both = a.there & b.there
    curves = (a.x[both], a.y[both], b.x[both], b.y[both])
    return Overlap(data, kind, (a, b), settings.seeds[both], curves, unit_x, unit_y)


def _rates(swept: Swept) -> list[Line]:
    """Along a constant KL weight above zero."""
    x, y = swept.of(RATE), swept.of(DISTORTION)
    weights = [_weight(entrant.spec) for entrant in swept.field.entrants]
    places = [n for n, weight in enumerate(weights) if weight > 0 and not np.isnan(x[n] + y[n]).all()]
    return _along(swept, places, groups.KL_WEIGHT, x, y)


def _sparsities(swept: Swept) -> list[Line]:
    """Along any other field but these, of settings without a latent KL: each line once, longest first."""
    x, y, entrants = swept.of(SPARSE), swept.of(ERROR), swept.field.entrants
    plain = ~has_latent_kl(entrants, swept.of(RATE)) & ~np.isnan(x + y).all(axis=1)
    found: list[Line] = []
    for variant in dict.fromkeys(entrant.variant for entrant in entrants):
        places = [n for n, entrant in enumerate(entrants) if entrant.variant == variant and plain[n]]
        fields = dict.fromkeys(name for n in places for name in _numbers(entrants[n].spec) if name not in OTHER)
        lines = [(name, line) for name in fields for line in _along(swept, places, (name,), x, y)]
        seen: set[str] = set()
        for name, line in sorted(lines, key=lambda pair: -len(pair[1].entrants)):
            keys = {entrant.key for entrant in line.entrants}
            if keys - seen:
                found.append(replace(line, label=f"{line.label}, along {name}"))
                seen |= keys
    return found


def _noises(swept: Swept, names: Sequence[str], sigmas: Floats) -> list[Line]:
    """A line for each setting trained with a σ, over log₁₀ of the σ tested."""
    if len(names) < 2:
        return []
    gains = np.stack([swept.of(name) for name in names], axis=2)  # [entrants, seeds, σ]
    found: list[Line] = []
    for entrant, own in zip(swept.field.entrants, gains, strict=True):
        trained = _numbers(entrant.spec).get("sigma", 0.0)
        if trained > 0 and not np.isnan(own).any(axis=1).all():
            label = entrant.label if "sigma" in entrant.label else f"{entrant.label}, sigma {groups.number(trained)}"
            found.append(Line(label, np.where(np.isnan(own), np.nan, sigmas), own, (entrant,)))
    return found


def _along(swept: Swept, places: Sequence[int], fields: Collection[str], x: Floats, y: Floats) -> list[Line]:
    """Lines through the settings at `places` that differ in nothing but these fields; none of a single point."""
    entrants, parts = swept.field.entrants, dict[str, list[int]]()
    specs = {n: groups.without_sweep(entrants[n].spec, fields) for n in places}
    for n, spec in specs.items():
        parts.setdefault(groups.without_seed(spec), []).append(n)
    labels = groups.labels([specs[part[0]] for part in parts.values()], [swept.networks[p[0]] for p in parts.values()])
    return [
        Line(label, x[part].T, y[part].T, tuple(entrants[n] for n in part))
        for label, part in zip(labels, parts.values(), strict=True)
        if len(part) > 1
    ]


def _numbers(spec: Mapping[str, Any]) -> dict[str, float]:
    """The hyperparameters and sizes that are numbers."""
    return {k: float(v) for part in ("hyper", "sizes") for k, v in spec[part].items() if isinstance(v, int | float)}


def _weight(spec: Mapping[str, Any]) -> float:
    """The constant KL weight; NaN where there is none."""
    numbers = _numbers(spec)
    return numbers["beta"] if "beta" in numbers else 1 / numbers.get("notes_beta", float("nan"))
