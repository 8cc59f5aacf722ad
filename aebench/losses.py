"""Every closed form, once. Sums over elements (pixels, units), one value an example, natural logarithms.

x: data, x̂: reconstruction, h: code, μ and ln σ²: the moments of q(z|x). A mean over examples is taken by the
training loop and by the evaluator, never here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

PerExample = Float[Tensor, "batch"]
Events = Float[Tensor, "batch *event"]
Codes = Float[Tensor, "batch latent"]


def squared_error(x: Events, x_hat: Events) -> PerExample:
    """SSE, C = Σ (x − x̂)²: squared units of the data per example. With c = ½ it is Gaussian NLL up to a constant."""
    return (x - x_hat).square().flatten(1).sum(1)


def absolute_error(x: Events, x_hat: Events) -> PerExample:
    """Σ |x − x̂|: units of the data per example."""
    return (x - x_hat).abs().flatten(1).sum(1)


def bernoulli_nll(x: Events, logits: Events) -> PerExample:
    """BCE, −Σ [x ln x̂ + (1 − x) ln(1 − x̂)] with x̂ = sigmoid(logits), x in [0, 1]: nats per example."""
    return F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)


def energy(mu: Codes) -> PerExample:
    """U = ½ Σ μ², the expected energy of the mean: nats per example."""
    return 0.5 * mu.square().sum(1)


def relative_entropy(logvar: Codes) -> PerExample:
    """S = ½ Σ (σ² − ln σ² − 1), the KL that the width of q alone costs: nats per example."""
    return 0.5 * (logvar.exp() - logvar - 1).sum(1)


def log_volume(logvar: Codes) -> PerExample:
    """V = Σ ln σ²: nats per example, twice the logarithm of the posterior's volume."""
    return logvar.sum(1)


def kl_standard_normal(mu: Codes, logvar: Codes) -> PerExample:
    """KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ (μ² + σ² − ln σ² − 1) = U + S: nats per example.

    Kingma and Welling (2014), appendix B.
    """
    return energy(mu) + relative_entropy(logvar)


def reparameterise(mu: Codes, logvar: Codes, xi: Codes) -> Codes:
    """z = μ + σ ⊙ ξ, ξ ~ N(0, I). Kingma and Welling (2014), section 2.4."""
    return mu + (0.5 * logvar).exp() * xi


def _same(output: Tensor) -> Tensor:
    return output


@dataclass(frozen=True)
class Reconstruction:
    """A reconstruction loss, and how the decoder's output becomes a reconstruction under it."""

    loss: Callable[[Tensor, Tensor], Tensor]
    """`(x, output) -> [batch]`."""
    mean: Callable[[Tensor], Tensor] = _same
    """`output -> x̂`, in the units of the data."""
    unit_interval: bool = False
    """Whether the data must lie in [0, 1]."""


RECONSTRUCTIONS = {
    "mse": Reconstruction(squared_error),
    "mae": Reconstruction(absolute_error),
    "bce": Reconstruction(bernoulli_nll, torch.sigmoid, unit_interval=True),
}
