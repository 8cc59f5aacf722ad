"""BCa intervals of the mean, for many sets of values at once, with the correction that few seeds need."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

from aebench.stats.intervals import Floats, Intervals, Missing, checked, mean_intervals

BCA = 10
"""From as many values a BCa interval covers what it claims, and skewed ones better than t does; below, t alone does."""
DRAWS = 4000
_CELLS = 2**22
"""Resampled means held at once, 32 MB."""


def bca_intervals(
    values: ArrayLike,
    level: float = 0.95,
    missing: Missing = "refuse",
    seed: int = 0,
    draws: int = DRAWS,
    expand: bool = True,
) -> Intervals:
    """Mean and bias-corrected, accelerated bootstrap interval over the last axis: `[..., seeds] -> [...]`.

    Efron, "Better bootstrap confidence intervals" (JASA 1987), equation 2.3, with a in closed form as the jackknife
    gives it for a mean. `expand` puts -sqrt(n / (n - 1)) t(n - 1) in the place of the normal quantile, as Hesterberg,
    "What teachers should know about the bootstrap" (The American Statistician 2015), section 4.3, does for the
    percentile interval and his R package resample for BCa: the bootstrap's variance is (n - 1) / n of what it should
    be and its tails are normal. With it a 95 % interval covers, at n = 10, 15, 20 and 30: 95 % for normal values; 94,
    94, 95, 95 % at skewness 1; 93, 94, 94, 94 % at 1.75 (t: 92, 93, 93, 94); 92, 93, 94, 94 % at 2 (t: 90, 91, 92, 93);
    93 % with the tails of t with 5 degrees of freedom (t: 95). Without it, 91, 92, 93 and 94 % for normal values. At
    n = 5 it covers 92 % of normal values even so, where t covers 95.

    All sets of as many values share the same resamples. Fewer than two values have NaN bounds, equal ones an interval
    of no width. NaN and infinite values are treated as in `mean_intervals`.
    """
    x, n = checked(values, level, missing)
    plain = mean_intervals(x, level, missing)
    low, high = np.full(n.size, np.nan), np.full(n.size, np.nan)
    rows, counts, means = x.reshape(-1, x.shape[-1]), n.reshape(-1), plain.mean.reshape(-1)
    for size in np.unique(counts[counts > 1]):
        chosen = np.flatnonzero(counts == size)
        for part in np.array_split(chosen, -(-chosen.size * draws // _CELLS)):
            kept = rows[part][~np.isnan(rows[part])].reshape(part.size, int(size))
            low[part], high[part] = _bca(kept, means[part], level, resamples(int(size), draws, seed), expand)
    bounds = (low.reshape(n.shape), high.reshape(n.shape))
    return Intervals(plain.mean, *bounds, n, plain.sd, f"BCa, {draws} resamples", level, seed)


@functools.lru_cache(maxsize=64)
def resamples(n: int, draws: int, seed: int) -> Floats:
    """How often each of n values is drawn, as shares `[draws, n]`: times the values, the means of the resamples."""
    generator = np.random.Generator(np.random.PCG64([seed, n]))
    return generator.multinomial(n, np.full(n, 1 / n), size=draws) / n


def _bca(x: Floats, mean: Floats, level: float, shares: Floats, expand: bool) -> tuple[Floats, Floats]:
    """Both bounds `[sets]` of values `[sets, n]` with these means, by resamples `[draws, n]`."""
    draws, n = shares.shape
    away = x - mean[:, None]
    means = np.sort(shares @ away.T, axis=0)  # about the mean, where rounding cannot part equal values
    below = ((means < 0).sum(axis=0) + (means <= 0).sum(axis=0)) / 2
    bias = ndtri(np.clip(below / draws, 1 / draws, 1 - 1 / draws))
    spread = (away**2).sum(axis=1)
    skew = np.divide((away**3).sum(axis=1), 6 * spread**1.5, out=np.zeros_like(spread), where=spread > 0)
    z = float(np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + level) / 2) if expand else ndtri((1 + level) / 2))
    bounds = [mean + _quantiles(means, _shifted(side * z, bias, skew)) for side in (-1, 1)]
    return bounds[0], bounds[1]


def _shifted(z: float, bias: Floats, skew: Floats) -> Floats:
    """The share of the resamples below a bound whose normal quantile is z: Efron 1987, equation 2.3."""
    room = 1 - skew * (bias + z)
    return np.where(room > 0, ndtr(bias + (bias + z) / np.where(room > 0, room, 1)), float(z > 0))


def _quantiles(ordered: Floats, shares: Floats) -> Floats:
    """The quantile of each column of `[draws, sets]`, ordered, at its own share `[sets]`; between two by their line."""
    last = ordered.shape[0] - 1
    place = np.clip(shares * (last + 2) - 1, 0, last)
    under = np.floor(place).astype(np.int64)
    column = np.arange(ordered.shape[1])
    low, high = ordered[under, column], ordered[np.minimum(under + 1, last), column]
    return low + (place - under) * (high - low)


@functools.lru_cache(maxsize=256)
def bootknife(n: int, draws: int, seed: int, stratum: int = 0) -> NDArray[np.int64]:
    """Which of n values, two or more, each resample holds: `[draws, n]`. Strata draw independently.

    Hesterberg, "Unbiasing the bootstrap: bootknife sampling vs. smoothing" (Proc. of the Section on Statistics and the
    Environment, ASA 2004): a resample leaves one value out, at random, and draws n from the others, which makes the
    variance of a mean s^2 / n with the divisor n - 1 in s^2, where the plain bootstrap has n.
    """
    generator = np.random.Generator(np.random.PCG64([seed, n, stratum]))
    without = generator.integers(n, size=(draws, 1))
    drawn = generator.integers(n - 1, size=(draws, n))
    return drawn + (drawn >= without)
