"""Every pair behind a sentence as a strip: a dot a seed, their mean and its interval, and where no difference lies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from aebench.reporting.boards import minus
from aebench.tables.numbers import format_interval

if TYPE_CHECKING:
    from aebench.comparison import Part

WIDTH, EDGE = 360, 6
MOST = 99
"""A larger effect size is written as beyond it: the differences are all but the same."""


@dataclass(frozen=True)
class Strip:
    """A drawing of one paired comparison and its words."""

    svg: Markup
    what: str
    """Which two settings, on which data."""
    number: str
    chance: str
    """P(better) of the first and the effect size."""
    method: str
    """How the interval was made."""


def strip(part: Part, a: str, b: str) -> Strip:
    """The comparison of settings that are called `a` and `b`."""
    found = part.paired.difference
    kept = [float(x) for x in part.paired.differences if math.isfinite(x)]
    ends = [x for x in (0.0, found.low, found.high, *kept) if math.isfinite(x)]
    low, high = min(ends), max(ends)

    def at(x: float) -> str:
        return f"{EDGE + (WIDTH - 2 * EDGE) * (x - low) / (high - low or 1):.1f}"

    dots = Markup("").join(Markup('<circle class="dot" cx="{}" cy="21" r="3"/>').format(at(x)) for x in kept)
    shapes = [
        Markup('<line class="axis" x1="0" x2="{}" y1="9" y2="9"/>').format(WIDTH),
        Markup('<line class="zero" x1="{0}" x2="{0}" y1="0" y2="28"/>').format(at(0.0)),
        dots,
    ]
    if math.isfinite(found.low) and math.isfinite(found.high):
        shapes.append(
            Markup('<line class="span" x1="{}" x2="{}" y1="9" y2="9"/>').format(at(found.low), at(found.high))
        )
    if math.isfinite(found.mean):
        shapes.append(Markup('<circle class="mean" cx="{}" cy="9" r="5"/>').format(at(found.mean)))
    what = f"{part.data}: {a} less {b}"
    number = minus(format_interval(found.mean, found.low, found.high))
    method = found.method + (f", seed {found.seed}" if found.seed is not None else "")
    said = f"{what}, {part.measure}: {number}; {_chance(part)}; {found.n} seeds, {method}"
    svg = Markup('<svg viewBox="0 0 {} 28" role="img" aria-label="{}"><title>{}</title>{}</svg>').format(
        WIDTH, said, said, Markup("").join(shapes)
    )
    return Strip(svg, what, number, _chance(part), method)


def _chance(part: Part) -> str:
    """`P(better) 1.00 [0.57, 1.00], g 4.1`: how often the first is better at one seed, and by how many deviations."""
    better, effect = part.paired.better, part.paired.effect
    g = f"{effect:.2g}" if abs(effect) < 10 else f"{effect:.0f}" if abs(effect) < MOST else f"beyond {MOST}"
    return f"P(better) {better.mean:.2f} [{better.low:.2f}, {better.high:.2f}], g {minus(g)}"
