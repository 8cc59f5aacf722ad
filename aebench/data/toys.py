"""Two-dimensional toys: every part is a fresh draw.

All are centred and scaled to one total variance, by the mean and the variance of the training part, so that a weight
of the KL term means the same on each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le

from aebench.data.source import Part, Shape, Source
from aebench.data.split import PARTS, generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Points = tuple[NDArray[np.float64], NDArray[np.int64]]

Count = Annotated[int, Ge(2), Le(10_000_000)]
Positive = Annotated[float, Gt(0), Le(1e6)]
Spread = Annotated[float, Gt(0), Le(100)]


class Pinwheel(NamedTuple):
    """`arms` of radial and tangential standard deviation at radius 1, wound by `rate`; `variance`: total, of x."""

    n: Count = 4096
    n_validation: Count = 4096
    n_test: Count = 4096
    arms: Annotated[int, Ge(1), Le(1000)] = 5
    radial: Spread = 0.3
    tangential: Spread = 0.05
    rate: Annotated[float, Ge(-10), Le(10)] = 0.25
    variance: Positive = 0.405


class Moons(NamedTuple):
    """Two interleaved half circles of radius 1; `sd` of the noise on each coordinate; `variance`: total, of x."""

    n: Count = 4096
    n_validation: Count = 4096
    n_test: Count = 4096
    sd: Spread = 0.1
    variance: Positive = 0.405


class EightGaussians(NamedTuple):
    """Eight round Gaussians of standard deviation `sd` on the unit circle; `variance`: total, of x."""

    n: Count = 4096
    n_validation: Count = 4096
    n_test: Count = 4096
    sd: Spread = 0.125
    variance: Positive = 0.405


def _pinwheel(p: Pinwheel, n: int, rng: np.random.Generator) -> Points:
    """Johnson et al. (2016), section 5: arms of stretched Gaussians, turned the further the further out."""
    arm = np.arange(n) % p.arms
    along = 1 + p.radial * rng.standard_normal(n)
    across = p.tangential * rng.standard_normal(n)
    angle = 2 * np.pi * arm / p.arms + p.rate * np.exp(along)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([along * cos + across * sin, across * cos - along * sin], axis=1), arm


def _moons(p: Moons, n: int, rng: np.random.Generator) -> Points:
    moon = np.arange(n) % 2
    angle = np.pi * rng.random(n)
    sign = 1 - 2 * moon
    centre = np.stack([moon, 0.5 * moon], axis=1)
    curve = np.stack([sign * np.cos(angle), sign * np.sin(angle)], axis=1)
    return centre + curve + p.sd * rng.standard_normal((n, 2)), moon


def _eight_gaussians(p: EightGaussians, n: int, rng: np.random.Generator) -> Points:
    mode = np.arange(n) % 8
    angle = 2 * np.pi * mode / 8
    centre = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return centre + p.sd * rng.standard_normal((n, 2)), mode


def _outline(p: Any) -> tuple[Shape, dict[str, int]]:
    return (2,), dict(zip(PARTS, (p.n, p.n_validation, p.n_test), strict=True))


def _toy(name: str, parameters: type[Any], draw: Callable[[Any, int, np.random.Generator], Points]) -> Source:
    def read(p: Any, seed: int) -> dict[str, Part]:
        drawn = {part: draw(p, n, generator(seed, f"{name}/{part}")) for part, n in _outline(p)[1].items()}
        points = drawn["train"][0]
        mean = points.mean(axis=0)
        scale = np.sqrt(p.variance / points.var(axis=0).sum())
        return {part: Part(((x - mean) * scale).astype(np.float32), y) for part, (x, y) in drawn.items()}

    return Source(outline=_outline, read=read, parameters=parameters, drawn=True)


PINWHEEL = _toy("pinwheel", Pinwheel, _pinwheel)
MOONS = _toy("moons", Moons, _moons)
EIGHT_GAUSSIANS = _toy("eight_gaussians", EightGaussians, _eight_gaussians)
