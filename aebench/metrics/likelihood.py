"""How probable the model finds the data: the bound, its tightening by importance weights, and the exact number."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, NamedTuple

from annotated_types import Ge, Gt

from aebench import losses
from aebench.metrics import Metric, NoOptions, Value
from aebench.metrics.latent import latent_noise
from aebench.variant import Model, Noise, Normal, Shape

if TYPE_CHECKING:
    from torch import Tensor

NEEDS = frozenset({"posterior", "prior", "likelihood"})


def elbo(model: Model, x: Tensor, noise: Mapping[str, Tensor], options: NoOptions) -> dict[str, Tensor]:
    """E_q[ln p(x|z)] − KL(q(z|x) ‖ N(0, I)), with one z ~ q(z|x)."""
    mu, logvar = model.posterior(x)
    z = losses.reparameterise(mu, logvar, noise["z"])
    bound = model.log_likelihood(x, z) - losses.kl_standard_normal(mu, logvar)
    return {"elbo": bound, "bits_per_dim": bits_per_dimension(bound, x[0].numel())}


def bits_per_dimension(log_p: Tensor, elements: int) -> Tensor:
    """−log₂ p(x) / D."""
    return -log_p / (elements * math.log(2))


ELBO = Metric(
    name="elbo",
    about="the evidence lower bound E_q[ln p(x|z)] − KL(q(z|x) ‖ N(0, I)) of the model's own likelihood",
    values=lambda options: {
        "elbo": Value("nats per example", "higher", "lower bound of ln p(x), one z ~ q(z|x)"),
        "bits_per_dim": Value("bits per element", "lower", "−ELBO / (D ln 2)"),
    },
    fn=elbo,
    needs=NEEDS,
    noise=latent_noise,
)


class Samples(NamedTuple):
    """`samples`: importance samples of each example. `examples`: the first so many are evaluated."""

    samples: Annotated[int, Ge(1)] = 500
    examples: Annotated[int, Ge(1)] = 1000


CHUNK = 10
"""Importance samples drawn at once. Part of the definition: the values of the noise depend on it."""


def chunk_noise(batch: int, event_shape: Shape, latent: int, options: Samples) -> Noise:
    """So many ξ an example."""
    return {"z": Normal((CHUNK, batch, latent))}


def log_weight(model: Model, x: Tensor, xi: Tensor) -> Tensor:
    """ln w = ln p(x, z) − ln q(z|x) at z = μ + σ⊙ξ, `xi [batch, latent]`: nats, `[batch]`."""
    mu, logvar = model.posterior(x)
    z = losses.reparameterise(mu, logvar, xi)
    log_q = losses.log_standard_normal(xi) - 0.5 * losses.log_volume(logvar)  # exact where (z − μ)/σ would round
    return model.log_likelihood(x, z) + losses.log_standard_normal(z) - log_q


def log_weights(model: Model, x: Tensor, noise: Mapping[str, Tensor], options: Samples) -> Tensor:
    """A chunk of ln w of each example: `[chunk, batch]`."""
    import torch

    return torch.vmap(partial(log_weight, model, x))(noise["z"])


def negative(bound: Tensor, elements: int) -> dict[str, Tensor]:
    """−L_K, in nats and in bits per dimension."""
    return {"nll": -bound, "nll_bits_per_dim": bits_per_dimension(bound, elements)}


NLL = Metric(
    name="nll",
    about="−ln p(x) from above: −ln (1/K) Σ p(x, zₖ)/q(zₖ|x), z ~ q(z|x); Burda et al. (2016), eq. 8",
    values=lambda options: {
        "nll": Value("nats per example", "lower", f"−ln p(x) by {options.samples} importance samples"),
        "nll_bits_per_dim": Value("bits per element", "lower", "the same / (D ln 2)"),
    },
    fn=log_weights,
    kind="samples",
    needs=NEEDS,
    options=Samples,
    noise=chunk_noise,
    per_example=negative,
    stage="likelihood",
)


class Grid(NamedTuple):
    """`points` on each latent axis from −`reach` to `reach`. `examples`: the first so many are evaluated."""

    points: Annotated[int, Ge(2)] = 200
    reach: Annotated[float, Gt(0)] = 7.0
    examples: Annotated[int, Ge(1)] = 200


AXES = 2
"""Latent units up to which a grid is laid."""
AT_ONCE = 2**22
"""Elements of the pairs of example and grid point that are compared at once."""
BEYOND = 1e-4
"""The share of p(x), in the mean over examples, that may lie on the outermost points of the grid."""
COARSE = 0.25
"""Nats by which a grid of half as many points an axis may differ, in the mean. The step's error falls so fast that the
grid itself is then right to .01: it halves a step at the cost of the fourth power."""


def quadrature(model: Model, x: Tensor, options: Grid) -> tuple[Tensor, Tensor, Tensor]:
    """ln p(x) = ln ∫ p(x|z) p(z) dz on a grid; how far the same by every second point is; what share of it
    lies on the outermost points: each `[batch]`."""
    import torch

    axis = torch.linspace(-options.reach, options.reach, options.points, device=x.device, dtype=x.dtype)
    grid = torch.cartesian_prod(*[axis] * model.latent).view(-1, model.latent)
    step = math.log(2 * options.reach / (options.points - 1))
    log_mass = losses.log_standard_normal(grid) + model.latent * step
    even = torch.arange(options.points, device=x.device) % 2 == 0
    second = torch.cartesian_prod(*[even] * model.latent).view(-1, model.latent).all(1)
    coarse_mass = (log_mass + model.latent * math.log(2)).where(second, -math.inf)
    rim_mass = log_mass.where((grid.abs() == options.reach).any(1), -math.inf)

    def under(z: Tensor) -> Tensor:
        """The grid is decoded once for all examples."""
        return torch.vmap(lambda one: model.log_likelihood(one.expand(len(z), *one.shape), z))(x)

    chunk = max(2, AT_ONCE // x.numel())
    fine: list[Tensor] = []
    coarse: list[Tensor] = []
    rim: list[Tensor] = []
    for z, mass, sparse, outer in zip(*(t.split(chunk) for t in (grid, log_mass, coarse_mass, rim_mass)), strict=True):
        log_p = under(z)
        fine.append((log_p + mass).logsumexp(1))
        coarse.append((log_p + sparse).logsumexp(1))
        rim.append((log_p + outer).logsumexp(1))
    exact = torch.stack(fine).logsumexp(0)
    beyond = (torch.stack(rim).logsumexp(0) - exact).exp()
    return exact, (torch.stack(coarse).logsumexp(0) - exact).abs(), beyond


def marginal(model: Model, x: Tensor, noise: Mapping[str, Tensor], options: Grid) -> dict[str, Tensor]:
    """−ln p(x), and KL(q(z|x) ‖ p(z|x)) = E_q[ln p(x) − ln w] with one z, which is 0 for every z where q is right."""
    if "marginal" in model.variant.offers(model.sizes):
        log_p = model.log_marginal(x)
        doubt = beyond = log_p.new_zeros(log_p.shape)
    else:
        log_p, doubt, beyond = quadrature(model, x, options)
    gap = log_p - log_weight(model, x, noise["z"])
    return {"nll_exact": -log_p, "posterior_gap": gap, "doubt": doubt, "beyond": beyond}


def resolved(means: Mapping[str, float], options: Grid) -> dict[str, float]:
    """Undefined where the grid is too coarse for the posterior, or too small."""
    sound = means["doubt"] <= COARSE and means["beyond"] <= BEYOND
    return {name: means[name] if sound else math.nan for name in ("nll_exact", "posterior_gap")}


def exact_or_flat(offers: Collection[str], latent: int) -> bool:
    """Exact where the variant has a closed form, else by quadrature over at most two latents."""
    return "marginal" in offers or latent <= AXES


MARGINAL = Metric(
    name="marginal",
    about="−ln p(x) exactly where the variant has a closed form, else by quadrature over at most two latent units",
    values=lambda options: {
        "nll_exact": Value(
            "nats per example", "lower", "−ln p(x); none where the posterior is too narrow for the grid"
        ),
        "posterior_gap": Value("nats per example", "lower", "KL(q(z|x) ‖ p(z|x)) = ln p(x) − ELBO"),
    },
    fn=marginal,
    needs=NEEDS,
    options=Grid,
    noise=latent_noise,
    finish=resolved,
    suits=exact_or_flat,
    stage="likelihood",
)
