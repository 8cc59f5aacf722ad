"""Gaussian data of known eigenvalues, on which every linear autoencoder has a closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Le, Len

from aebench.data.source import Part, Shape, Source
from aebench.data.split import PARTS, generator
from aebench.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMIT = 2**28
"""Numbers in one part: 1 GiB of float32."""
Count = Annotated[int, Ge(2), Le(10_000_000)]


class Gaussian(NamedTuple):
    """N(0, Q diag(eigenvalues) Qᵀ), Q the identity or, if `rotate`, one fixed random rotation of the axes.

    `exact`: each part is whitened first, so that its own mean is 0 and its own 1/N covariance has exactly these
    eigenvalues: closed forms then hold on the sample, to float32.
    """

    eigenvalues: Annotated[tuple[Annotated[float, Gt(0), Le(1e6)], ...], Len(1, 10_000)] = (4.0, 1.0, 0.25)
    n: Count = 4096
    n_validation: Count = 4096
    n_test: Count = 4096
    rotate: bool = False
    exact: bool = True


def rotation(d: int) -> NDArray[np.float64]:
    """The fixed random orthogonal matrix `[d, d]`, the same for every seed."""
    q, r = np.linalg.qr(generator(0, f"gaussian/rotation/{d}").standard_normal((d, d)))
    return q * np.sign(np.diag(r))


def _whiten(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """x with mean 0 and 1/N covariance I: the nearest such sample, by the covariance's inverse square root."""
    x = x - x.mean(axis=0)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    return x @ (vectors / np.sqrt(values)) @ vectors.T


def _outline(p: Gaussian) -> tuple[Shape, dict[str, int]]:
    d, counts = len(p.eigenvalues), (p.n, p.n_validation, p.n_test)
    if p.exact and min(counts) <= d:
        raise InputError(f"gaussian: exact needs more than {d} examples in each part, not {min(counts)}")
    if max(counts) * d > LIMIT:
        raise InputError(f"gaussian: {max(counts)} examples of {d} numbers are more than {LIMIT} numbers")
    return (d,), dict(zip(PARTS, counts, strict=True))


def _read(p: Gaussian, seed: int) -> dict[str, Part]:
    shape, counts = _outline(p)
    axes = np.diag(np.sqrt(p.eigenvalues))
    if p.rotate:
        axes = axes @ rotation(*shape).T
    parts: dict[str, Part] = {}
    for part, n in counts.items():
        z = generator(seed, f"gaussian/{part}").standard_normal((n, *shape))
        parts[part] = Part(((_whiten(z) if p.exact else z) @ axes).astype(np.float32))
    return parts


GAUSSIAN = Source(outline=_outline, read=_read, parameters=Gaussian, drawn=True)
