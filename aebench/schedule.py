"""A float that may change over training."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Schedule(NamedTuple):
    """A value over the fraction of training done: `points` (fraction, value), rising; held before and after them.

    "linear" interpolates between points, "step" keeps the last point's value until the next.
    """

    points: tuple[tuple[float, float], ...]
    kind: Literal["linear", "step"] = "linear"

    def at(self, fraction: float) -> float:
        """The value at this fraction of training, 0 at the first step."""
        before = [point for point in self.points if point[0] <= fraction]
        after = [point for point in self.points if point[0] > fraction]
        if not before:
            return self.points[0][1]
        if not after or self.kind == "step":
            return before[-1][1]
        (f0, v0), (f1, v1) = before[-1], after[0]
        return v0 + (v1 - v0) * (fraction - f0) / (f1 - f0)


Number = float | Schedule


def at(number: Number, fraction: float) -> float:
    """The value of a float or a schedule at a fraction of training."""
    return number.at(fraction) if isinstance(number, Schedule) else number
