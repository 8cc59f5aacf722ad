"""How long packs take compared with each other, before any of them is trained: what the bar of progress goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

PACK, OPERATION = 0.2, 1.2e-5
"""Seconds of a pack (its step is recorded, its runs are measured and written) and of an operation, however small."""
RATE = {"cpu": 5e10, "mps": 1e12, "cuda": 1e13}
"""FLOPs a second of a large step, roughly: only how packs compare matters, as the clock says how long one is."""
FORWARD_AND_BACKWARD = 3
"""FLOPs of a step over those of its loss: each product has two more in the backward pass."""


class Call(NamedTuple):
    """The operations of the losses, and the FLOPs of one example in them."""

    operations: float
    flops: float


def guess(train: Mapping[str, Any], runs: int, call: Call | None, device: str) -> float:
    """Seconds that so many runs would take together; `call`: None of a closed form, or of what is not known."""
    if call is None:
        return PACK
    products = FORWARD_AND_BACKWARD * call.flops * runs * train["batch"] / RATE[device]
    return PACK + train["steps"] * (call.operations * OPERATION + products)


def left(elapsed: float, done: float, total: float) -> float | None:
    """Seconds that the rest will take if it goes as the part that is done; None where nothing is."""
    return elapsed * (total - done) / done if done > 0 else None
