"""What the code is like: the energy view of a VAE, active units, sparsity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

from annotated_types import Ge, Gt

from aebench import losses
from aebench.metrics import Metric, NoOptions, Value
from aebench.variant import Model, Noise, Normal, Shape

if TYPE_CHECKING:
    from torch import Tensor


def latent_noise(batch: int, event_shape: Shape, latent: int, options: NoOptions) -> Noise:
    """One ξ an example."""
    return {"z": Normal((batch, latent))}


def energy(model: Model, x: Tensor, noise: Mapping[str, Tensor], options: NoOptions) -> dict[str, Tensor]:
    """C with one z ~ q(z|x), and the terms of KL = U + S."""
    mu, logvar = model.posterior(x)
    x_hat = model.decode(losses.reparameterise(mu, logvar, noise["z"]))
    U, S = losses.energy(mu), losses.relative_entropy(logvar)
    return {"C": losses.squared_error(x, x_hat), "U": U, "S": S, "V": losses.log_volume(logvar), "kl": U + S}


ENERGY = Metric(
    name="energy",
    about="the energy view of a variational autoencoder, L = C + (U + S)/β in the notes' β",
    values=lambda options: {
        "C": Value("squared units of the data, summed over elements, per example", "lower", "SSE with one z ~ q(z|x)"),
        "U": Value("nats per example", "neither", "½ Σ μ²"),
        "S": Value("nats per example", "neither", "½ Σ (σ² − ln σ² − 1)"),
        "V": Value("nats per example", "neither", "Σ ln σ²"),
        "kl": Value("nats per example", "lower", "KL(q(z|x) ‖ N(0, I)) = U + S"),
    },
    fn=energy,
    needs=frozenset({"posterior", "decode"}),
    noise=latent_noise,
)


class Threshold(NamedTuple):
    """`variance`: a unit is active where Var_x(μᵢ) exceeds it."""

    variance: Annotated[float, Gt(0)] = 0.01


def active_units(codes: Mapping[str, Tensor], options: Threshold) -> dict[str, Tensor]:
    """Units whose mean varies with x: Burda et al. (2016), section 5.2."""
    return {"active_units": (codes["h"].var(0, correction=0) > options.variance).sum()}


ACTIVE_UNITS = Metric(
    name="active_units",
    about="latent units with Var_x(μᵢ) > 0.01 over the evaluated part",
    values=lambda options: {
        "active_units": Value("units", "neither", f"units with Var_x(μᵢ) > {options.variance:g}"),
    },
    fn=active_units,
    kind="codes",
    needs=frozenset({"posterior"}),
    options=Threshold,
)


class Cut(NamedTuple):
    """`threshold`: |h| above it counts as non-zero."""

    threshold: Annotated[float, Ge(0)] = 0.01


def sparsity(model: Model, x: Tensor, noise: Mapping[str, Tensor], options: Cut) -> dict[str, Tensor]:
    """L0 fraction, and Hoyer's (√d − ‖h‖₁/‖h‖₂)/(√d − 1), which is 0 for a constant and for a zero code."""
    h = model.encode(x)
    d, l2 = h.shape[1], h.norm(dim=1)
    flat = (l2 == 0).to(h.dtype)
    ratio = h.abs().sum(1) / (l2 + flat) + math.sqrt(d) * flat
    hoyer = (math.sqrt(d) - ratio) / (math.sqrt(d) - 1) if d > 1 else h.new_full((len(h),), math.nan)
    return {"l0_fraction": (h.abs() > options.threshold).to(h.dtype).mean(1), "hoyer": hoyer}


SPARSITY = Metric(
    name="sparsity",
    about="how few units of the code carry it",
    values=lambda options: {
        "l0_fraction": Value("fraction of units", "neither", f"units with |h| > {options.threshold:g}"),
        "hoyer": Value("0 (all units equal) to 1 (one unit)", "neither", "Hoyer (2004); undefined for one unit"),
    },
    fn=sparsity,
    needs=frozenset({"encode"}),
    options=Cut,
)
