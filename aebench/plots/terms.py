"""The terms of the loss that runs log over training: which there are, their means over seeds, their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from aebench import stats
from aebench.groups import Setting
from aebench.plots import style

Floats = NDArray[np.float64]

UNITS = {"kl": "nats per example"}
ERRORS = {"mse": "squared units of the data per example", "mae": "units of the data per example"}
DECADES = 4
"""Powers of ten that a logarithmic axis shows of lines that reach further down."""


@dataclass(frozen=True)
class Logged:
    """What the runs of a setting have logged."""

    label: str
    runs: tuple[Mapping[str, Any], ...]
    """`{"step": [...], term: [...]}` of each."""
    spec: Mapping[str, Any]
    """The specification of one of them."""


def logged(setting: Setting) -> Logged:
    """What a setting has logged, taken from its rows once: pandas copies what it knows of a table each time."""
    return Logged(setting.label, tuple(setting.rows["curves"]), setting.rows["spec"].iloc[0])


def terms_of(settings: Sequence[Logged]) -> list[str]:
    """The terms that some run has logged, in order of appearance."""
    return list(dict.fromkeys(term for own in settings for held in own.runs for term in held if term != "step"))


def over_seeds(own: Logged, term: str) -> tuple[Floats, stats.Intervals] | None:
    """The steps that all runs with this term have, `[points]`, and the term's mean and interval at each.

    None where no run of the setting has the term. A value that was not stored is left out of the mean.
    """
    held = [curve for curve in own.runs if term in curve]
    if not held:
        return None
    steps = sorted(set.intersection(*(set(curve["step"]) for curve in held)))
    at = [dict(zip(curve["step"], curve[term], strict=True)) for curve in held]
    values = np.array([[curve[step] for step in steps] for curve in at], dtype=np.float64)
    return np.array(steps, np.float64), stats.mean_intervals(values.T, missing="drop")


def draw(ax: Axes, own: Logged, term: str, **look: Any) -> Any:
    """A line of means over seeds with its interval as a band; the line, or None where no run has this term."""
    if (found := over_seeds(own, term)) is None:
        return None
    steps, mean = found
    (line,) = ax.plot(steps, mean.mean, **look)
    ax.fill_between(steps, mean.low, mean.high, color=look["color"], alpha=0.2, lw=0)
    return line


def fit(ax: Axes, wide: float) -> None:
    """Fit the vertical axis to the lines: a band of few seeds may leave it.

    Logarithmic where all lines are above 0 and the highest value is more than `wide` times the least.
    """
    y = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in ax.get_lines()])
    y = y[np.isfinite(y)]
    if not y.size:
        return
    low, high = float(y.min()), float(y.max())
    if low > 0 and high > wide * low:
        ax.set_ylim(max(low / 1.5, high / 10**DECADES), high * 1.5)
        style.log_axis(ax.yaxis)
        return
    room, (bottom, top) = 0.5 * (high - low), ax.get_ylim()
    if room:
        ax.set_ylim(max(bottom, low - room), min(top, high + room))


def unit(term: str, settings: Sequence[Logged]) -> str:
    """The unit of a term; that of C depends on the reconstruction loss, and may differ between runs."""
    name = term.rpartition("/")[2]
    kinds = {str(own.spec["sizes"].get("reconstruction", "mse")) for own in settings}
    if name == "reconstruction" and len(kinds) == 1:
        return ERRORS.get(kinds.pop(), "nats per example")
    return UNITS.get(name, "weighted sum of terms, per example" if name == "loss" else "per example")
