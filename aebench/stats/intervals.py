"""The mean over seeds and its t interval, and the records that every interval comes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit

from aebench.errors import InputError

Floats = NDArray[np.float64]
Missing = Literal["refuse", "drop"]


@dataclass(frozen=True)
class Interval:
    """A mean over `n` seeds and its interval, in the unit of the values. NaN where `n` is too small to tell.

    `seed` is that of the resampling, None where nothing is drawn.
    """

    mean: float
    low: float
    high: float
    n: int
    sd: float
    method: str
    level: float
    seed: int | None = None


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
    seed: int | None = None

    def at(self, *index: int) -> Interval:
        """One of them, such as `at(2)` or `at(0, 3)`; `at()` where there is but one."""
        mean, low, high, sd = (float(value[index]) for value in (self.mean, self.low, self.high, self.sd))
        return Interval(mean, low, high, int(self.n[index]), sd, self.method, self.level, self.seed)


def mean_intervals(values: ArrayLike, level: float = 0.95, missing: Missing = "refuse") -> Intervals:
    """Mean and t interval over the last axis: `[..., seeds] -> [...]`.

    Covers the expectation with probability `level` where values are normal and independent. One value gives a mean
    with NaN bounds, none gives NaN. NaN values are refused, or with `missing="drop"` left out and not counted in `n`;
    infinite ones are refused. `sd` is the standard deviation of the values (divisor n - 1).
    """
    x, n = checked(values, level, missing)
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
    return mean_intervals(vector(values), level, missing).at()


def t_test(mean: ArrayLike, sd: ArrayLike, n: ArrayLike) -> Floats:
    """Two-sided p of the t test of a mean against 0, of the same shape; NaN below two values.

    Where all values are the same p is 0, and 1 where they are 0.
    """
    mean, n = np.asarray(mean, np.float64), np.asarray(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) / (np.asarray(sd, np.float64) / np.sqrt(n))
    p = np.where(mean == 0, 1.0, 2 * stdtr(np.maximum(n - 1, 1), -t))
    return np.where(n > 1, p, np.nan)


def wilson(share: ArrayLike, n: ArrayLike, level: float) -> tuple[Floats, Floats]:
    """Both bounds of Wilson's interval (JASA 1927) of a share among `n`, which need not be whole; NaN stays NaN."""
    p, size = np.asarray(share, np.float64), np.asarray(n, np.float64)
    part = ndtri((1 + level) / 2) ** 2 / size
    half = np.sqrt(part * (p * (1 - p) + part / 4)) / (1 + part)
    middle = (p + part / 2) / (1 + part)
    return np.where(p == 0, 0, middle - half), np.where(p == 1, 1, middle + half)  # where rounding alone parts them


def upwards(better: str) -> int:
    """What values are multiplied with for higher to be better: 1 or -1."""
    if better not in ("lower", "higher"):
        raise InputError(f"better {better!r}: choose from lower, higher")
    return 1 if better == "higher" else -1


def checked(values: ArrayLike, level: float, missing: Missing) -> tuple[Floats, NDArray[np.int64]]:
    """The values as float64 and how many of the last axis are there; InputError for what no interval is made of."""
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


def vector(values: ArrayLike) -> Floats:
    """The values as float64 `[seeds]`; InputError for another shape."""
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1:
        raise InputError(f"expected values [seeds], not an array of shape {list(x.shape)}")
    return x
