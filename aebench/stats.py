"""Intervals over seeds: arrays in, arrays out. The last axis is always that of the seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from aebench.errors import InputError

Floats = NDArray[np.float64]
Missing = Literal["refuse", "drop"]
PAIRS = 3
"""Fewer pairs than these get no interval."""


@dataclass(frozen=True)
class Interval:
    """A mean over `n` seeds and its interval, in the unit of the values. NaN where `n` is too small to tell."""

    mean: float
    low: float
    high: float
    n: int
    sd: float
    method: str
    level: float


@dataclass(frozen=True)
class Intervals:
    """The same for many sets of values: each field an array without the axis of the seeds."""

    mean: Floats
    low: Floats
    high: Floats
    n: NDArray[np.int64]
    sd: Floats
    method: str
    level: float


def mean_intervals(values: ArrayLike, level: float = 0.95, missing: Missing = "refuse") -> Intervals:
    """Mean and t interval over the last axis: `[..., seeds] -> [...]`.

    Covers the expectation with probability `level` where values are normal and independent. One value gives a mean
    with NaN bounds, none gives NaN. NaN values are refused, or with `missing="drop"` left out and not counted in `n`;
    infinite ones are refused. `sd` is the standard deviation of the values (divisor n - 1).
    """
    x, n = _checked(values, level, missing)
    kept = ~np.isnan(x)
    nothing = np.full(n.shape, np.nan)
    mean = np.divide(x.sum(axis=-1, where=kept), n, out=nothing.copy(), where=n > 0)
    squares = ((x - mean[..., None]) ** 2).sum(axis=-1, where=kept)
    sd = np.sqrt(np.divide(squares, n - 1, out=nothing.copy(), where=n > 1))
    quantile = stdtrit(np.where(n > 1, n - 1, np.nan), (1 + level) / 2)
    half = quantile * sd / np.sqrt(np.maximum(n, 1))
    return Intervals(mean, mean - half, mean + half, n, sd, "t", level)


def mean_interval(values: ArrayLike, level: float = 0.95, missing: Missing = "refuse") -> Interval:
    """Mean and t interval of one set of values `[seeds]`; see `mean_intervals`."""
    return _single(mean_intervals(_vector(values), level, missing))


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95, missing: Missing = "refuse") -> Interval:
    """Mean of a - b and its t interval, `a` and `b` `[seeds]` in the same order of seeds.

    Fewer than three pairs give NaN bounds. With `missing="drop"` a pair counts only where both values are there.
    """
    x, y = _vector(a), _vector(b)
    if x.shape != y.shape:
        raise InputError(f"pairs need as many values on each side, not {x.size} and {y.size}")
    _checked(x, level, missing)
    _checked(y, level, missing)
    found = mean_intervals(x - y, level, missing)
    few = found.n < PAIRS
    low, high = np.where(few, np.nan, found.low), np.where(few, np.nan, found.high)
    return _single(replace(found, low=low, high=high, method="paired t"))


def _checked(values: ArrayLike, level: float, missing: Missing) -> tuple[Floats, NDArray[np.int64]]:
    """The values as float64 and how many of the last axis are there."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim == 0:
        raise InputError("an interval needs an axis of seeds, not a single number")
    if not 0 < level < 1:
        raise InputError(f"level {level!r} is not between 0 and 1")
    if missing not in ("refuse", "drop"):
        raise InputError(f"missing {missing!r}: choose from refuse, drop")
    if np.isinf(x).any():
        raise InputError("values hold infinity, which has no mean")
    if missing == "refuse" and np.isnan(x).any():
        raise InputError(f"values hold {int(np.isnan(x).sum())} NaN of {x.size}; missing='drop' leaves them out")
    return x, (~np.isnan(x)).sum(axis=-1, dtype=np.int64)


def _vector(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise InputError(f"expected values [seeds], not an array of shape {list(x.shape)}")
    return x


def _single(found: Intervals) -> Interval:
    mean, low, high, sd = (float(value) for value in (found.mean, found.low, found.high, found.sd))
    return Interval(mean, low, high, int(found.n), sd, found.method, found.level)
