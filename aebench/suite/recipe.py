"""How a run is trained, as a suite says it: steps, batch, optimiser, schedules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Lt

from aebench.suite.fields import canonical, record
from aebench.suite.tree import Node
from aebench.variant import Choice

SWEPT = ("lr", "weight_decay", "clip")
"""What a sweep may vary; the runs of a pack may differ in it."""

Count = Annotated[int, Ge(1)]
NonNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Decay = Annotated[float, Ge(0), Lt(1)]


class Adam(NamedTuple):
    """Options of torch's Adam and AdamW."""

    betas: tuple[Decay, Decay] = (0.9, 0.999)
    eps: Positive = 1e-8


class SGD(NamedTuple):
    """Options of torch's SGD."""

    momentum: NonNegative = 0.0


class RMSprop(NamedTuple):
    """Options of torch's RMSprop."""

    alpha: NonNegative = 0.99
    eps: Positive = 1e-8
    momentum: NonNegative = 0.0


class Adagrad(NamedTuple):
    """Options of torch's Adagrad."""

    lr_decay: NonNegative = 0.0
    initial_accumulator_value: NonNegative = 0.0
    eps: Positive = 1e-10


OPTIMIZERS: dict[str, type[Any]] = {"adam": Adam, "adamw": Adam, "sgd": SGD, "rmsprop": RMSprop, "adagrad": Adagrad}
"""Optimiser -> its options, named as torch names them."""


class Train(NamedTuple):
    """How a run is trained. `batch` examples a step; `clip` the largest norm of the gradient, None leaves it."""

    steps: Count = 1000
    batch: Count = 128
    lr: NonNegative = 1e-3
    optimizer: Annotated[Any, Choice(OPTIMIZERS)] = "adam"
    weight_decay: NonNegative = 0.0
    clip: Positive | None = None
    precision: Literal["fp32", "tf32", "bf16", "fp64"] = "fp32"
    keep: Literal["last", "best_validation"] = "last"


def train(given: Mapping[str, Node], holder: Node) -> dict[str, Any]:
    """The canonical training of a run from the keys given for it."""
    return canonical(record(Train, given, holder, scheduled=True))
