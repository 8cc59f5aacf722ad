"""Curves of one point a setting, seed by seed: compared at matched x, by the area between them, and Pareto fronts.

Each seed has its own curve: `x` `[seeds, points]` (such as the rate) and `y` `[seeds, points]` (such as the error),
in any order of points; a point with NaN in x or y is left out. Between its points a curve is the PCHIP interpolant
(Fritsch and Butland, SIAM J. on Scientific and Statistical Computing 1984), monotone where they are and never beyond
them; outside their range it is not continued. Where x spans decades, give its logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aebench.errors import InputError
from aebench.stats.intervals import Floats, Interval, Intervals, upwards
from aebench.stats.paired import paired_differences

if TYPE_CHECKING:
    from scipy.interpolate import PchipInterpolator

POINTS = 5
"""Places at which curves are compared where none are named."""


def at_matched(x: ArrayLike, y: ArrayLike, at: ArrayLike) -> Floats:
    """The curve of each seed at `at` `[k]`: `[seeds, k]`, NaN outside the range of that seed's points.

    Points of equal x count as one with the mean of their y. A seed with fewer than two points is NaN everywhere.
    """
    return _read(_curves(x, y), _places(at))


def common_range(xa: ArrayLike, ya: ArrayLike, xb: ArrayLike, yb: ArrayLike) -> tuple[float, float]:
    """The range of x within the points of every seed's two curves, of the seeds that have both; NaN where none is."""
    return _common(*_pairs(xa, ya, xb, yb))


def matched_difference(
    xa: ArrayLike,
    ya: ArrayLike,
    xb: ArrayLike,
    yb: ArrayLike,
    at: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Floats, Intervals]:
    """Mean of ya - yb at matched x and its interval, paired by seed: the places `[k]`, and intervals `[k]`.

    By default five places evenly over `common_range`, both ends among them; none where there is no such range. A seed
    counts where both of its curves reach, so `n` can fall towards the ends of places that are given. Each interval
    holds at its own place, not for all places together. Intervals as `paired_differences` makes them.
    """
    a, b = _pairs(xa, ya, xb, yb)
    low, high = _common(a, b)
    places = _places(at) if at is not None else np.linspace(low, high, POINTS if low < high else 0)
    return places, paired_differences(_read(a, places).T, _read(b, places).T, level, "drop", seed)


def area_between(
    xa: ArrayLike, ya: ArrayLike, xb: ArrayLike, yb: ArrayLike, level: float = 0.95, seed: int = 0
) -> Interval:
    """Mean of ya - yb over `common_range`, in the unit of y, and its interval, paired by seed.

    The integrals are exact for the interpolants; every seed's is over the same range, which `method` says. Seeds
    without both curves are left out. NaN where no range is common.
    """
    a, b = _pairs(xa, ya, xb, yb)
    low, high = _common(a, b)
    means = np.array([[_mean(curve, low, high) for curve in curves] for curves in (a, b)], np.float64)
    found = paired_differences(means[0], means[1], level, "drop", seed).at()
    return replace(found, method=f"{found.method}, mean over x from {low:.4g} to {high:.4g}")


def pareto(points: ArrayLike, better: Sequence[Literal["lower", "higher"]]) -> NDArray[np.bool_]:
    """Which of `points` `[n, d]` no other dominates: none is as good in every of the d values and better in one.

    `better` says of each value which way. Equal points dominate each other not; a point with NaN is on no front and
    dominates none.
    """
    values = np.asarray(points, np.float64)
    if values.ndim != 2 or values.shape[1] != len(better):
        raise InputError(f"a front needs points [n, {len(better)}], not an array of shape {list(values.shape)}")
    costs = values * [-upwards(side) for side in better]
    known = np.flatnonzero(~np.isnan(costs).any(axis=1))
    different, same = np.unique(costs[known], axis=0, return_inverse=True)
    ahead, n = np.empty_like(different), 0
    on = np.zeros(len(different), np.bool_)
    for place, point in enumerate(different):  # in lexicographic order, where none dominates one before it
        if not (ahead[:n] <= point).all(axis=1).any():
            ahead[n], on[place] = point, True
            n += 1
    front = np.zeros(len(costs), np.bool_)
    front[known] = on[same.reshape(-1)]
    return front


def _curves(x: ArrayLike, y: ArrayLike) -> list[PchipInterpolator | None]:
    """The interpolant of each seed, None where it has fewer than two points."""
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if xs.ndim != 2 or xs.shape != ys.shape:
        raise InputError(f"curves need x and y [seeds, points], not shapes {list(xs.shape)} and {list(ys.shape)}")
    if np.isinf(xs).any() or np.isinf(ys).any():
        raise InputError("a curve holds infinity, through which nothing is drawn")
    return [_curve(*row) for row in zip(xs, ys, strict=True)]


def _curve(x: Floats, y: Floats) -> PchipInterpolator | None:
    return _interpolant(x.tobytes(), y.tobytes())


@lru_cache(maxsize=8192)
def _interpolant(points: bytes, values: bytes) -> PchipInterpolator | None:
    """Kept, as a page compares the same curves at matched places, by their area, and pair by pair."""
    from scipy.interpolate import PchipInterpolator  # dear to import, and tables need none of it

    x, y = np.frombuffer(points), np.frombuffer(values)
    kept = ~(np.isnan(x) | np.isnan(y))
    places, group = np.unique(x[kept], return_inverse=True)
    if places.size < 2:
        return None
    return PchipInterpolator(places, np.bincount(group, y[kept]) / np.bincount(group), extrapolate=False)


def _pairs(
    xa: ArrayLike, ya: ArrayLike, xb: ArrayLike, yb: ArrayLike
) -> tuple[list[PchipInterpolator], list[PchipInterpolator]]:
    """The curves of both sides, in the same order, of the seeds that have both."""
    a, b = _curves(xa, ya), _curves(xb, yb)
    if len(a) != len(b):
        raise InputError(f"curves are paired by seed: as many seeds on each side, not {len(a)} and {len(b)}")
    both = [(one, other) for one, other in zip(a, b, strict=True) if one is not None and other is not None]
    return [one for one, _ in both], [other for _, other in both]


def _common(a: Sequence[PchipInterpolator], b: Sequence[PchipInterpolator]) -> tuple[float, float]:
    ends = [(float(curve.x[0]), float(curve.x[-1])) for curve in (*a, *b)]
    low, high = max((end[0] for end in ends), default=np.nan), min((end[1] for end in ends), default=np.nan)
    return (low, high) if low < high else (float("nan"), float("nan"))


def _read(curves: Sequence[PchipInterpolator | None], places: Floats) -> Floats:
    """Each curve at the places: `[curves, k]`, NaN where there is no curve or it does not reach."""
    found = [np.full(places.size, np.nan) if curve is None else curve(places) for curve in curves]
    return np.asarray(found, np.float64).reshape(len(curves), places.size)


def _places(at: ArrayLike) -> Floats:
    places = np.asarray(at, np.float64)
    if places.ndim != 1:
        raise InputError(f"a curve is read at places [k], not at an array of shape {list(places.shape)}")
    return places


def _mean(curve: PchipInterpolator, low: float, high: float) -> float:
    """The mean of y over a range that the curve covers; NaN where that is none."""
    return float(curve.integrate(low, high)) / (high - low) if low < high else float("nan")
