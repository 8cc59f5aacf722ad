"""What all codes of a part are together: their aggregate against the prior, and how active their units are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

from annotated_types import Ge, Gt

from aebench import losses
from aebench.metrics import Metric, Value
from aebench.metrics.latent import latent_noise

if TYPE_CHECKING:
    from torch import Tensor


class First(NamedTuple):
    """`examples`: q(z) is the mixture over the first so many."""

    examples: Annotated[int, Ge(1)] = 1000


PAIRS = 2**17
"""Pairs of a z and a component of the mixture that are compared at once."""


def log_mixture(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """ln q(z) = ln (1/N) Σₙ q(z|xₙ), all arguments `[N, latent]`: nats, `[N]`."""
    import torch

    parts = z.split(max(1, PAIRS // len(z)))
    return torch.cat([losses.importance_bound(losses.log_normal(part[:, None], mu, logvar)) for part in parts])


def aggregate(codes: Mapping[str, Tensor], options: First) -> dict[str, Tensor]:
    """E KL(q(z|x) ‖ p(z)) = I_q(x; z) + KL(q(z) ‖ p(z)), q(z) the mixture over the examples, one z of each.

    I_q = E[ln q(z|x) − ln q(z)], less the error that the same z make of the KL on the left, which is known exactly
    (a control variate): no error is left where q(z) is the prior, nor where the examples are told apart for certain.
    """
    mu, logvar, xi = codes["h"], codes["logvar"], codes["z"]
    z = losses.reparameterise(mu, logvar, xi)
    log_q = losses.log_standard_normal(xi) - 0.5 * losses.log_volume(logvar)
    told = log_q - log_mixture(z, mu, logvar)
    kl = losses.kl_standard_normal(mu, logvar)
    excess = log_q - losses.log_standard_normal(z) - kl
    slope = (excess * (told - told.mean())).sum() / excess.square().sum().clamp(min=1e-30)
    information = told - slope * excess
    return {"aggregate_kl": kl - information, "mutual_information": information}


AGGREGATE = Metric(
    name="aggregate",
    about="the two parts of E KL(q(z|x) ‖ p(z)), q(z) the mixture over the examples; Hoffman and Johnson (2016)",
    values=lambda options: {
        "aggregate_kl": Value("nats", "lower", f"KL(q(z) ‖ N(0, I)), q(z) over {options.examples} examples"),
        "mutual_information": Value(
            "nats", "neither", f"I_q(x; z), at most ln {options.examples} = {math.log(options.examples):.2f}"
        ),
    },
    fn=aggregate,
    kind="codes",
    needs=frozenset({"posterior", "prior"}),
    options=First,
    noise=latent_noise,
)


class Nearness(NamedTuple):
    """`near`: how close to 0 or 1 counts as near. `threshold`: a unit is dead where |h| never exceeds it."""

    near: Annotated[float, Gt(0)] = 0.1
    threshold: Annotated[float, Ge(0)] = 0.01


def gini(size: Tensor) -> Tensor:
    """Gini coefficient of each row of `size [n, latent]`, none negative: 0 all equal (or all 0), 1 − 1/d one alone.

    Σₖ (2k − d − 1) size₍ₖ₎ / (d Σ size), in ascending order; Hurley and Rickard (2009), Comparing measures of sparsity.
    """
    import torch

    d = size.shape[1]
    ranks = 2 * torch.arange(1, d + 1, device=size.device, dtype=size.dtype) - d - 1
    total = size.sum(1)
    return (size.sort(1).values * ranks).sum(1) / (d * total.where(total > 0, 1.0))


def activity(codes: Mapping[str, Tensor], options: Nearness) -> dict[str, Tensor]:
    """Of each example over units, and the units that are silent for all."""
    h = codes["h"]
    size = h.abs()
    return {
        "gini": gini(size),
        "mean_activation": size.mean(1),
        "near_zero": (size < options.near).to(h.dtype).mean(1),
        "near_one": ((h - 1).abs() < options.near).to(h.dtype).mean(1),
        "dead_units": (size <= options.threshold).all(0).sum(),
    }


ACTIVITY = Metric(
    name="activity",
    about="how large the units of the code are, and how unequal",
    values=lambda options: {
        "gini": Value("0 (all units equal) to 1 − 1/d (one unit)", "neither", "Gini coefficient of |h| over units"),
        "mean_activation": Value("units of the code", "neither", "mean |h| over units"),
        "near_zero": Value("fraction of units", "neither", f"units with |h| < {options.near:g}"),
        "near_one": Value("fraction of units", "neither", f"units with |h − 1| < {options.near:g}"),
        "dead_units": Value("units", "lower", f"units with |h| ≤ {options.threshold:g} for every example"),
    },
    fn=activity,
    kind="codes",
    needs=frozenset({"encode"}),
    options=Nearness,
)
