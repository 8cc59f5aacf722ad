"""Numbers as text: how many digits are worth reading."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

MISSING = "–"
COUNTED = re.compile(r"parameters|flops_\w+")
"""Values that are counted, not measured: where all seeds have the same, an interval would say nothing."""
_FIXED = range(-4, 8)
"""Powers of ten that are written without an exponent."""


def format_number(value: float) -> str:
    """A number without an interval: an integer whole, else four significant digits."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) < 10**_FIXED.stop and (value == round(value) or abs(value) >= 1e4):
        return str(round(value))
    return f"{value:.4g}"


def format_interval(mean: float, low: float = math.nan, high: float = math.nan) -> str:
    """`mean ± half-width`, both to the same decimal place.

    The half-width has two significant digits where it begins with 1, 2 or 3 (0.096 is 0.10), and else one.
    `mean [low, high]` where the interval is not symmetric; the mean alone where there is no interval.
    """
    half = max(mean - low, high - mean)
    if not math.isfinite(mean) or not math.isfinite(half):
        return format_number(mean)
    if half <= 1e-12 * abs(mean):
        return f"{format_number(mean)} ± 0"
    power = _power(max(abs(mean), half))
    digits = 2 if f"{half:.1e}"[0] in "123" or f"{half:.0e}"[0] == "1" else 1
    place = digits - 1 - _power(half, 1)
    if power + place > 7:
        return f"{mean:.7g} ± {half:.1g}"
    scale = 0 if power in _FIXED else power
    parts = [_rounded(value, place, scale) for value in (mean, half, low, high)]
    symmetric = abs(mean - low - (high - mean)) <= 0.01 * half
    shown = f"{parts[0]} ± {parts[1]}" if symmetric else f"{parts[0]} [{parts[2]}, {parts[3]}]"
    return f"({shown})e{scale:+03d}" if scale else shown


def format_settings(values: Iterable[Any]) -> list[str]:
    """Settings of runs: numbers as short as keeps them apart, text as it is."""
    values = list(values)
    texts: list[str] = []
    for digits in (4, 6, 12, 17):
        texts = [_setting(value, digits) for value in values]
        if len(set(texts)) == len({_setting(value, 17) for value in values}):
            break
    return texts


def _setting(value: Any, digits: int) -> str:
    if isinstance(value, float):
        return MISSING if math.isnan(value) else "∞" if value == math.inf else f"{value:.{digits}g}"
    return MISSING if value is None else str(value)


def _power(value: float, digits: int = 2) -> int:
    """The power of ten of a positive number, after it is rounded to so many digits."""
    return int(f"{value:.{digits - 1}e}".partition("e")[2])


def _rounded(value: float, place: int, scale: int) -> str:
    """To this decimal place (negative: tens, hundreds), divided by ten to the `scale`."""
    value = round(value, place) / 10.0**scale + 0.0
    return f"{value:.{max(place + scale, 0)}f}"
