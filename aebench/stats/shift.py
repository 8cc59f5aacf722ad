"""How far paired measurements lie apart, by ranks: no wild one moves it, and the bounds hold whatever the noise is."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from aebench.errors import InputError
from aebench.stats.intervals import Floats, vector
from aebench.stats.rank_tests import signed_rank_chances


@dataclass(frozen=True)
class Shift:
    """The centre of symmetric differences and one-sided bounds of it, each of which fails with probability `alpha`."""

    estimate: float
    lower: float
    """-inf where so few differences allow no bound at this `alpha`."""
    upper: float
    n: int
    alpha: float


def hodges_lehmann(differences: ArrayLike, alpha: float = 0.05) -> Shift:
    """The median of all means of two (Walsh averages) of `differences` `[n]`, and the bounds of the signed-rank test.

    Hodges and Lehmann, "Estimates of location based on rank tests" (Annals of Mathematical Statistics 1963); the bounds
    are those of Tukey (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd edition, section 3.3), by
    the exact null distribution. They assume independent differences with a symmetric distribution, of any shape.
    """
    x = vector(differences)
    if x.size == 0 or not np.isfinite(x).all():
        raise InputError(f"a shift needs finite differences, one or more, not {x.size} of which some are none")
    if not 0 < alpha < 0.5:
        raise InputError(f"alpha {alpha!r} is not between 0 and 0.5")
    first, second = np.triu_indices(x.size)
    walsh = np.sort((x[first] + x[second]) / 2)
    below = np.flatnonzero(_signed_rank(x.size) <= alpha)
    lower, upper = (walsh[below[-1]], walsh[-1 - below[-1]]) if below.size else (-np.inf, np.inf)
    return Shift(float(np.median(walsh)), float(lower), float(upper), x.size, alpha)


def signed_rank_p(differences: ArrayLike, margin: float = 0.0) -> float:
    """One-sided p against "the shift is at most `margin`": the chance of averages above it as many as these, or more.

    At most alpha exactly where the lower bound of `hodges_lehmann` exceeds the margin. Ties with the margin count
    against it.
    """
    x = vector(differences) - margin
    first, second = np.triu_indices(x.size)
    above = int(((x[first] + x[second]) > 0).sum())
    return float(_signed_rank(x.size)[first.size - above])


@functools.cache
def _signed_rank(n: int) -> Floats:
    """P(T <= t) for t = 0 .. n (n + 1) / 2 of the signed-rank statistic of n differences around zero."""
    return np.cumsum(signed_rank_chances(range(1, n + 1)))
