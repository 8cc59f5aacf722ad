"""Errors of a reconstruction by other measures than the square, and the likelihoods they stand for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

from annotated_types import Gt

from aebench import losses
from aebench.metrics import Metric, Value
from aebench.variant import Model

if TYPE_CHECKING:
    from torch import Tensor

CLAMP = 1e-6
"""A reconstruction counts as a probability from here to 1 − here."""


class Measures(NamedTuple):
    """`epsilon`: what |x| counts as at least in MAPE. `delta`: the error from which on Huber's loss is linear."""

    epsilon: Annotated[float, Gt(0)] = 0.1
    delta: Annotated[float, Gt(0)] = 1.0


def within_unit_interval(x: Tensor) -> Tensor:
    """Whether all elements of an example lie in [0, 1]: `[batch]`."""
    flat = x.flatten(1)
    return (flat.amin(1) >= 0) & (flat.amax(1) <= 1)


def errors(model: Model, x: Tensor, noise: Mapping[str, Tensor], options: Measures) -> dict[str, Tensor]:
    """Means over elements of what separates x̂ = D(E(x)) from x; BCE is NaN for x outside [0, 1]."""
    x_hat, D = model.reconstruct(x), x[0].numel()
    bce = losses.bernoulli_nll(x, x_hat.logit(CLAMP))
    return {
        "mae": losses.absolute_error(x, x_hat) / D,
        "mape": losses.absolute_percentage_error(x, x_hat, options.epsilon) / D,
        "huber": losses.huber(x, x_hat, options.delta) / D,
        "bce": bce.where(within_unit_interval(x), math.nan) / D,
        "mse": losses.squared_error(x, x_hat) / D,
        "elements": bce.new_full((len(x),), D),
    }


def with_likelihoods(means: Mapping[str, float], options: Measures) -> dict[str, float]:
    """−ln p of x under one scale for all, the one that fits the part best; undefined where x̂ = x everywhere.

    Gaussian: σ² = MSE, D/2 (ln 2πσ² + 1). Laplace: s = MAE, D (ln 2s + 1).
    """
    D, mse, mae = (means[name] for name in ("elements", "mse", "mae"))
    kept = {name: means[name] for name in ("mae", "mape", "huber", "bce")}
    return kept | {
        "gaussian_nll": D / 2 * (math.log(2 * math.pi * mse) + 1) if mse > 0 else math.nan,
        "laplace_nll": D * (math.log(2 * mae) + 1) if mae > 0 else math.nan,
    }


ERRORS = Metric(
    name="errors",
    about="errors of x̂ = D(E(x)) through the deterministic code, and −ln p(x) under the scale that fits them best",
    values=lambda options: {
        "mae": Value("units of the data per element", "lower", "mean of |x − x̂| over elements"),
        "mape": Value("fraction", "lower", f"mean of |x − x̂| / max(|x|, ε) over elements, ε = {options.epsilon:g}"),
        "huber": Value(
            "squared units of the data per element",
            "lower",
            f"mean of Huber's loss over elements, δ = {options.delta:g}",
        ),
        "bce": Value(
            "nats per element", "lower", "mean of −x ln x̂ − (1 − x) ln(1 − x̂) over elements, of data in [0, 1]"
        ),
        "gaussian_nll": Value("nats per example", "lower", "D/2 (ln 2πσ² + 1), σ² = MSE of the evaluated part"),
        "laplace_nll": Value("nats per example", "lower", "D (ln 2s + 1), s = MAE of the evaluated part"),
    },
    fn=errors,
    options=Measures,
    finish=with_likelihoods,
)
