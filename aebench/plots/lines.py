"""Lines of means over seeds with their intervals, against a field that was swept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from pandas import DataFrame

from aebench.groups import Series, Setting, intervals, number, ordered, value

SYMBOLS = {"sigma": "σ", "lam": "λ", "beta": "β"}
"""Hyperparameters by the letter that formulas have."""
SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def measured(frame: DataFrame, columns: Sequence[str]) -> DataFrame:
    """The runs that have all of these values; none where a column is missing."""
    if not set(columns) <= set(frame.columns):
        return frame.iloc[:0]
    return frame[frame[list(columns)].notna().all(axis=1).to_numpy(bool)]


def against(ax: Axes, x: ArrayLike, settings: Sequence[Setting], column: str, label: str, **look: Any) -> Any:
    """Draw a column's means over seeds at `x [settings]`, with their 95 % t intervals; the handle for a legend."""
    found = intervals(settings, column)
    return ax.errorbar(x, found.mean, yerr=found.errors, capsize=2, label=label, zorder=3, **look)


def said(setting: Setting, name: str) -> str:
    """A hyperparameter or size of a setting: `σ = 0.25`."""
    return f"{SYMBOLS.get(name, name)} = {number(value(setting, name))}"


def ends(line: Series, name: str, symbol: str, column: str) -> str:
    """The first and last point of a line, in words for those who do not see it."""
    settings, x = ordered(line, name)
    y = intervals(settings, column).mean
    points = [f"{y[i]:.3g} at {symbol} {number(x[i])}" for i in sorted({0, len(x) - 1})]
    return f"{line.label} {' and '.join(points)}"


def in_short(value: float) -> str:
    """A count in three digits: 1.23 M, 45.6 k, 789."""
    scale, unit = next(((scale, unit) for scale, unit in SCALES if value >= scale), (1.0, ""))
    return f"{value / scale:.3g} {unit}".rstrip()
