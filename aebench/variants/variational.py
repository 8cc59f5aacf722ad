"""Autoencoders with a Gaussian posterior q(z|x) = N(μ, diag σ²) and the prior N(0, I)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from annotated_types import Ge

from aebench import losses, modules
from aebench.variant import Network, Noise, Normal, Shape, Variant
from aebench.variants.autoencoder import Sizes

if TYPE_CHECKING:
    from torch import Tensor, nn


class VAEHyper(NamedTuple):
    """`beta`: weight of the KL term; 1 is the VAE. The notes' β is its inverse."""

    beta: Annotated[float, Ge(0)] = 1.0


def build(event_shape: Shape, network: Network, sizes: Sizes) -> nn.Module:
    encoder = network.encoder(event_shape, 2 * sizes.latent)
    decoder = network.decoder(sizes.latent, event_shape)
    return modules.VariationalAutoencoder(encoder, decoder, losses.RECONSTRUCTIONS[sizes.reconstruction])


def latent_noise(batch: int, event_shape: Shape, sizes: Sizes) -> Noise:
    return {"z": Normal((batch, sizes.latent))}


def vae_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: VAEHyper) -> dict[str, Tensor]:
    mu, logvar = net.encode(x)
    z = losses.reparameterise(mu, logvar, noise["z"])
    C = net.error(x, net.decode(z))
    kl = losses.kl_standard_normal(mu, logvar)
    return {"loss": C + hp.beta * kl, "reconstruction": C, "kl": kl}


VAE = Variant(
    name="vae",
    about="variational autoencoder with a Gaussian posterior and a standard normal prior",
    formula="L = C(x, D(z)) + β KL(q(z|x) ‖ N(0, I)), z = μ + σ⊙ξ, ξ ~ N(0, I); KL = ½ Σ (μ² + σ² − ln σ² − 1)",
    source="Kingma and Welling (2014), Auto-encoding variational Bayes, eq. 10",
    build=build,
    losses={"": vae_loss},
    hyper=VAEHyper,
    sizes=Sizes,
    noise=latent_noise,
    encode=lambda net, x: net.encode(x)[0],
    decode=lambda net, h: net.mean(h),
    posterior=lambda net, x: net.encode(x),
    prior=True,
)


class BetaVAEHyper(NamedTuple):
    """`beta`: weight of the KL term."""

    beta: Annotated[float, Ge(0)] = 4.0


BETA_VAE = replace(
    VAE,
    name="beta_vae",
    about="VAE whose KL term is weighted by β > 1 for a more factorised code",
    source="Higgins et al. (2017), beta-VAE, eq. 4",
    hyper=BetaVAEHyper,
)

LINEAR_VAE = replace(
    VAE,
    name="linear_vae",
    about="linear encoder and decoder; its optimum is probabilistic PCA",
    source="Tipping and Bishop (1999), Probabilistic PCA; Lucas et al. (2019), Don't blame the ELBO",
    networks=("linear",),
)
