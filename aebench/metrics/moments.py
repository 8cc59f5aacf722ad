"""Mean and covariance of the training part, computed when a metric asks for them and then kept."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROWS = 4096
"""Examples taken at once."""


class Moments:
    """Of `x [n, *event]`, floats, or uint8 that means value/255; all in float64, units of the data.

    `binarize`: x is a probability, and the data are draws of it.
    """

    def __init__(self, x: NDArray[Any], binarize: bool = False) -> None:
        self.x, self.binarize = x, binarize

    @property
    def elements(self) -> int:
        """Elements of an example, D."""
        return int(np.prod(self.x.shape[1:]))

    def _blocks(self) -> Iterator[Floats]:
        for start in range(0, len(self.x), ROWS):
            block = self.x[start : start + ROWS].reshape(-1, self.elements).astype(np.float64)
            yield block / 255 if self.x.dtype == np.uint8 else block

    @cached_property
    def mean(self) -> Floats:
        """`[*event]`."""
        total = sum((block.sum(0) for block in self._blocks()), np.zeros(self.elements))
        return (total / len(self.x)).reshape(self.x.shape[1:])

    @cached_property
    def spectrum(self) -> tuple[Floats, Floats]:
        """Eigenvalues of the 1/N covariance `[D]`, largest first, and their vectors `[D, D]` in columns."""
        mean, covariance = self.mean.ravel(), np.zeros((self.elements, self.elements))
        for block in self._blocks():
            centred = block - mean
            covariance += centred.T @ centred / len(self.x)
            if self.binarize:  # Var = Var E[x|p] + E Var[x|p]
                covariance += np.diag((block * (1 - block)).sum(0) / len(self.x))
        values, vectors = np.linalg.eigh(covariance)
        return np.maximum(values[::-1], 0), vectors[:, ::-1].copy()
