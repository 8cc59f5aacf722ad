"""Tests over data sets by ranks, and refusals where the data sets are too few for any answer (Demsar, JMLR 2006)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from aebench.errors import InputError
from aebench.stats.intervals import Floats, upwards

FEWEST_VARIANTS, FEWEST_DATASETS = 3, 5
"""Friedman's test asks for as many: see `friedman`."""


@dataclass(frozen=True)
class Refusal:
    """No test, and one sentence why."""

    why: str


@dataclass(frozen=True)
class Test:
    """A variant, by index, against the control over `n` data sets on which they differ. See `wilcoxon_holm`."""

    statistic: float
    p: float
    adjusted: float
    significant: bool
    variant: int
    n: int
    claim: Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class Friedman:
    """All variants over `n` data sets that have them all. See `friedman`."""

    statistic: float
    p: float
    ranks: Floats
    critical_difference: float
    cliques: tuple[tuple[int, ...], ...]
    n: int
    level: float


def ranks(values: ArrayLike, better: Literal["lower", "higher"]) -> Floats:
    """The rank of each variant along the first axis, 1 the best; ties share the mean of their ranks. No NaN."""
    from scipy.stats import rankdata  # dear to import, and tables need none of it

    return np.asarray(rankdata(-upwards(better) * np.asarray(values, np.float64), axis=0), np.float64)


def holm(p: ArrayLike) -> Floats:
    """Adjusted p values `[m]` (Holm, Scandinavian J. of Statistics 1979): below 1 - level, the test holds among all m.

    NaN stays NaN and is not counted among the m.
    """
    x = np.asarray(p, np.float64)
    if x.ndim != 1 or ((x < 0) | (x > 1)).any():
        raise InputError(f"Holm's adjustment needs p values [m] from 0 to 1, not {x.tolist()}")
    order = np.argsort(x)[: int((~np.isnan(x)).sum())]  # NaN is last
    adjusted = np.full(x.size, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(x[order] * np.arange(order.size, 0, -1)), 1)
    return adjusted


def wilcoxon_holm(
    values: ArrayLike, control: int, better: Literal["lower", "higher"], level: float = 0.95
) -> list[Test] | Refusal:
    """Wilcoxon's signed-rank test of every other variant against `control`, over `values` `[variants, datasets]`.

    One test a variant but the control, in order. Two-sided and exact at every size, ties among the absolute
    differences shared (the distribution over all signs given the ranks, as scipy's permutations of it); differences
    of 0 are left out, as Wilcoxon did, and so are data sets where one of the two is NaN. `statistic` is the smaller
    sum of ranks. A variant without a difference has p = 1, one without a common data set p = NaN.

    Refused where the smallest p of that many data sets, 2^(1 - n), is not below 1 - level when Holm multiplies it by
    the number of variants: no outcome could count.
    """
    x = _table(values, level)
    if not 0 <= control < len(x):
        raise InputError(f"control {control}: choose from 0 to {len(x) - 1}")
    others = [variant for variant in range(len(x)) if variant != control]
    gains = [upwards(better) * (x[v] - x[control]) for v in others]
    gains = [gain[~np.isnan(gain)] for gain in gains]
    sizes = [gain.size for gain in gains if gain.size]
    if not sizes:
        return Refusal("no variant shares a data set with the control")
    bar = (1 - level) / len(sizes)
    if 2.0 ** (1 - max(sizes)) >= bar:
        needed = 2 + int(np.floor(-np.log2(bar)))
        return Refusal(
            f"{_count(max(sizes), 'data set')} can give no p below {2.0 ** (1 - max(sizes)):.2g}, and Holm's "
            f"adjustment for {_count(len(sizes), 'variant')} asks for one below {bar:.2g}: it takes {needed} data sets"
        )
    found = [_signed_ranks(gain) for gain in gains]
    adjusted = holm([p for _, p, _ in found])
    return [
        Test(smaller, p, float(a), bool(a < 1 - level), v, int((g != 0).sum()), _claim(side, a < 1 - level))
        for (smaller, p, side), a, v, g in zip(found, adjusted, others, gains, strict=True)
    ]


def friedman(
    values: ArrayLike, level: float = 0.95, better: Literal["lower", "higher"] = "lower"
) -> Friedman | Refusal:
    """Friedman's test over `values` `[variants, datasets]`, and Nemenyi's critical difference of mean ranks.

    `statistic` and `p` are scipy's friedmanchisquare, ties corrected; `ranks` the mean ranks, 1 the best;
    `critical_difference` is q sqrt(k (k + 1) / 6N), q the quantile of the studentised range over sqrt(2) (Demsar 2006,
    section 3.2.2). `cliques`: the largest groups, by index in order of rank, within which no two variants differ by
    more; one of all where Friedman's test finds nothing, for then no pair is tested. Data sets where a variant is
    NaN are left out.

    Refused below 3 variants and 5 data sets, and where even the largest difference, k - 1, is not above the critical
    one. At 95 % and from 5 data sets on Friedman's test rejects 3 to 5.8 % of draws in which nothing differs, and
    Nemenyi's finds a difference in 1 to 5.8 % (3 to 60 variants, 5 to 20 data sets); at 4 data sets of 3 variants the
    first rejects 7 %.
    """
    x = _table(values, level)
    places = ranks(x[:, ~np.isnan(x).any(axis=0)], better)
    k, n = places.shape
    if k < FEWEST_VARIANTS:
        return Refusal(f"Friedman's test compares at least {FEWEST_VARIANTS} variants, not {k}")
    if n < FEWEST_DATASETS:
        return Refusal(f"Friedman's test needs at least {FEWEST_DATASETS} data sets that all variants share, not {n}")
    from scipy.stats import studentized_range

    difference = float(studentized_range.isf(1 - level, k, np.inf)) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n))
    if difference >= k - 1:
        return Refusal(
            f"with {n} data sets mean ranks of {k} variants would have to differ by {difference:.3g}, and none can by "
            f"more than {k - 1}"
        )
    mean = places.mean(axis=1)
    spread = ((places - (k + 1) / 2) ** 2).sum() / (n * (k - 1))  # k (k + 1) / 12 where nothing ties
    statistic = float(n * ((mean - (k + 1) / 2) ** 2).sum() / spread) if spread > 0 else 0.0
    p = float(chdtrc(k - 1, statistic))
    cliques = _cliques(mean, difference) if p < 1 - level else (tuple(int(i) for i in np.argsort(mean, kind="stable")),)
    return Friedman(statistic, p, mean, float(difference), cliques, n, level)


def signed_rank_chances(ranks: Iterable[int]) -> Floats:
    """The chance of each sum from 0 on, of the ranks whose sign is positive where either sign is as likely."""
    chances = np.ones(1)
    for rank in map(int, ranks):
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    return chances


def _table(values: ArrayLike, level: float) -> Floats:
    x = np.asarray(values, np.float64)
    if x.ndim != 2:
        raise InputError(f"a test by ranks needs values [variants, datasets], not an array of shape {list(x.shape)}")
    if not 0 < level < 1:
        raise InputError(f"level {level!r} is not between 0 and 1")
    if np.isinf(x).any():
        raise InputError("values hold infinity; give NaN where a value is missing")
    return x


def _signed_ranks(gains: Floats) -> tuple[float, float, int]:
    """The smaller sum of signed ranks, its exact two-sided p, and the side of the larger sum: 1, 0 or -1."""
    from scipy.stats import rankdata

    differ = gains[gains != 0]
    if differ.size == 0:
        return 0.0, 1.0 if gains.size else float("nan"), 0
    twice = np.rint(2 * np.asarray(rankdata(np.abs(differ)))).astype(np.int64)  # whole numbers, ties or not
    chances = signed_rank_chances(twice)
    up = int(twice[differ > 0].sum())
    down = int(twice.sum()) - up
    smaller = min(up, down)
    return smaller / 2, min(1.0, 2 * float(chances[: smaller + 1].sum())), (up > down) - (up < down)


def _claim(side: int, significant: bool) -> Literal["better", "worse", "undecided"]:
    if not significant or side == 0:
        return "undecided"
    return "better" if side > 0 else "worse"


def _cliques(mean: Floats, difference: float) -> tuple[tuple[int, ...], ...]:
    """The largest runs of variants, by mean rank, whose ends differ by no more; those of two and more."""
    order = np.argsort(mean, kind="stable")
    ends = np.searchsorted(mean[order], mean[order] + difference, side="right")
    found: list[tuple[int, ...]] = []
    reached = 0
    for start, end in enumerate(map(int, ends)):
        if end - start > 1 and end > reached:
            found.append(tuple(int(i) for i in order[start:end]))
            reached = end
    return tuple(found)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
