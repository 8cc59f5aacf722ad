"""Reconstruction losses by name: what each is, its options, and what it assumes of the data.

Every variant takes one as its size `reconstruction`, by name or as `{name: ..., options}`. The modules that compute
them are in `aebench.modules`, so that suites are read without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Gt

from aebench.variant import Choice


class NoOptions(NamedTuple):
    """No option."""


class Floor(NamedTuple):
    """`epsilon`: what |x| counts as at least, in units of the data."""

    epsilon: Annotated[float, Gt(1e-6)] = 0.1


class Knee(NamedTuple):
    """`delta`: the error from which on the loss is linear, in units of the data."""

    delta: Annotated[float, Gt(1e-6)] = 1.0


class Scale(NamedTuple):
    """`scale`: where the learnt scale comes from: one for all elements, one for each, or a second decoder output."""

    scale: Literal["shared", "pixel", "decoder"] = "shared"


@dataclass(frozen=True)
class Reconstruction:
    """A reconstruction loss: the module that computes it, and what it needs."""

    module: str
    """A class of `aebench.modules`."""
    about: str
    options: type[Any] = NoOptions
    unit_interval: bool = False
    """Whether the data must lie in [0, 1]."""
    likelihood: bool = True
    """Whether it is −ln p(x|z) of a distribution, up to a constant."""


RECONSTRUCTIONS = {
    "mse": Reconstruction("SquaredError", "Σ (x − x̂)²: Gaussian of variance ½, up to a constant"),
    "mae": Reconstruction("AbsoluteError", "Σ |x − x̂|: Laplace of scale 1, up to a constant"),
    "mape": Reconstruction("PercentageError", "Σ |x − x̂| / max(|x|, ε)", Floor, likelihood=False),
    "bce": Reconstruction("Bernoulli", "−Σ [x ln x̂ + (1 − x) ln(1 − x̂)], x̂ = sigmoid(output)", unit_interval=True),
    "huber": Reconstruction("Huber", "Σ ½r² where |r| ≤ δ, else δ(|r| − δ/2)", Knee, likelihood=False),
    "gaussian_nll": Reconstruction("Gaussian", "Σ ½ ln 2πσ² + (x − x̂)²/(2σ²), σ learnt", Scale),
    "laplace_nll": Reconstruction("Laplace", "Σ ln 2s + |x − x̂|/s, s learnt", Scale),
}

Loss = Annotated[Any, Choice({name: known.options for name, known in RECONSTRUCTIONS.items()})]
"""The type of the size `reconstruction`: a name, or `{"name": ..., options}`."""
GaussianLoss = Annotated[Any, Choice({"gaussian_nll": Scale})]
LaplaceLoss = Annotated[Any, Choice({"laplace_nll": Scale})]
BernoulliLoss = Annotated[Any, Choice({"bce": NoOptions})]
"""Of variants that are about one of them."""


def named(chosen: str | Mapping[str, Any]) -> tuple[Reconstruction, dict[str, Any]]:
    """What a `Loss` stands for, with its options, defaults filled in."""
    given = {"name": chosen} if isinstance(chosen, str) else dict(chosen)
    known = RECONSTRUCTIONS[given.pop("name")]
    return known, known.options(**given)._asdict()
