"""Autoencoders with a Gaussian posterior q(z|x) = N(μ, diag σ²) and the prior N(0, I)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from annotated_types import Ge, Gt

from aebench import losses, modules, reconstructions
from aebench.reconstructions import BernoulliLoss, GaussianLoss, LaplaceLoss
from aebench.variant import Network, Noise, Normal, Shape, Variant
from aebench.variants.autoencoder import Sizes

if TYPE_CHECKING:
    from torch import Tensor, nn


class VAEHyper(NamedTuple):
    """`beta`: weight of the KL term; 1 is the VAE. The notes' β is its inverse."""

    beta: Annotated[float, Ge(0)] = 1.0


def build(event_shape: Shape, network: Network, sizes: Sizes) -> nn.Module:
    reconstruction = modules.reconstruction(sizes.reconstruction, event_shape)
    encoder = network.encoder(event_shape, 2 * sizes.latent)
    decoder = network.decoder(sizes.latent, reconstruction.output_shape(event_shape))
    return modules.VariationalAutoencoder(encoder, decoder, reconstruction)


def latent_noise(batch: int, event_shape: Shape, sizes: Any) -> Noise:
    return {"z": Normal((batch, sizes.latent))}


def vae_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: VAEHyper) -> dict[str, Tensor]:
    mu, logvar = net.encode(x)
    z = losses.reparameterise(mu, logvar, noise["z"])
    C = net.error(x, net.decode(z))
    kl = losses.kl_standard_normal(mu, logvar)
    return {"loss": C + hp.beta * kl, "reconstruction": C, "kl": kl}


def lacks(sizes: Sizes) -> set[str]:
    """No likelihood where the reconstruction loss is none; no exact ln p(x) unless the decoder's noise is Gaussian."""
    chosen, options = reconstructions.named(sizes.reconstruction)
    gaussian = chosen.module in ("SquaredError", "Gaussian") and options.get("scale") != "decoder"
    return {"likelihood", "marginal"} if not chosen.likelihood else set() if gaussian else {"marginal"}


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
    log_likelihood=lambda net, x, z, hp: net.log_likelihood(x, net.decode(z)),
    lacks=lacks,
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


def linear_log_marginal(net: Any, x: Tensor, hp: Any) -> Tensor:
    affine, flat = net.decoder[0], x.flatten(1)
    logvar = net.reconstruction.log_variance(x)
    return losses.log_linear_gaussian(flat, affine.weight, affine.bias, logvar.flatten() if logvar.ndim else logvar)


LINEAR_VAE = replace(
    VAE,
    name="linear_vae",
    about="linear encoder and decoder; its optimum is probabilistic PCA",
    source="Tipping and Bishop (1999), Probabilistic PCA; Lucas et al. (2019), Don't blame the ELBO",
    networks=("linear",),
    log_marginal=linear_log_marginal,
)


class EnergyHyper(NamedTuple):
    """`notes_beta`: the β of the energy view, one over the weight of the KL term."""

    notes_beta: Annotated[float, Gt(0)] = 1.0


def energy_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: EnergyHyper) -> dict[str, Tensor]:
    mu, logvar = net.encode(x)
    C = net.error(x, net.decode(losses.reparameterise(mu, logvar, noise["z"])))
    S, U = losses.relative_entropy(logvar), losses.energy(mu)
    return {"loss": C + (S + U) / hp.notes_beta, "reconstruction": C, "S": S, "U": U}


ENERGY_VAE = replace(
    VAE,
    name="energy_vae",
    about="the VAE in the lecture notes' own parameter β, the inverse of the KL weight",
    formula="L = C + (S + U)/β, U = ½ Σ μ², S = ½ Σ (σ² − ln σ² − 1)",
    source="lecture notes, the energy view of the VAE of Kingma and Welling (2014)",
    losses={"": energy_loss},
    hyper=EnergyHyper,
)


class LatentSizes(NamedTuple):
    """`latent`: units of the code."""

    latent: Annotated[int, Ge(1)] = 16


class VarianceHyper(NamedTuple):
    """`variance`: c, that of each element of x given z, in squared units of the data."""

    variance: Annotated[float, Gt(1e-12)] = 0.5


def gaussian_log_likelihood(net: Any, x: Tensor, z: Tensor, hp: Any) -> Tensor:
    return -losses.gaussian_nll(x, net.decode(z), hp.variance.log())


def gaussian_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: VarianceHyper) -> dict[str, Tensor]:
    mu, logvar = net.encode(x)
    z = losses.reparameterise(mu, logvar, noise["z"])
    nll = -gaussian_log_likelihood(net, x, z, hp)
    kl = losses.kl_standard_normal(mu, logvar)
    return {"loss": nll + kl, "reconstruction": nll, "kl": kl}


def build_gaussian(event_shape: Shape, network: Network, sizes: LatentSizes) -> nn.Module:
    return build(event_shape, network, Sizes(sizes.latent))


GAUSSIAN_VAE = replace(
    VAE,
    name="gaussian_vae",
    about="VAE with a Gaussian decoder of fixed variance c: its loss is −ELBO, in nats",
    formula="L = −ln p(x|z) + KL(q(z|x) ‖ N(0, I)), −ln p(x|z) = ‖x − D(z)‖²/(2c) + (D/2) ln 2πc",
    build=build_gaussian,
    losses={"": gaussian_loss},
    hyper=VarianceHyper,
    sizes=LatentSizes,
    log_likelihood=gaussian_log_likelihood,
    lacks=None,
)


class SigmaSizes(NamedTuple):
    """`latent`: units of the code. `reconstruction`: −ln p(x|z); its option `scale` says where σ comes from."""

    latent: Annotated[int, Ge(1)] = 16
    reconstruction: GaussianLoss = {"name": "gaussian_nll", "scale": "shared"}  # noqa: RUF012


SIGMA_VAE = replace(
    VAE,
    name="sigma_vae",
    about="VAE that learns the variance of its Gaussian decoder: one, one a pixel, or one predicted",
    formula="L = −ln p(x|z) + β KL(q(z|x) ‖ N(0, I)), −ln p(x|z) = Σ ½ ln 2πσₓ² + (x − μₓ)²/(2σₓ²)",
    source="Rybkin et al. (2021), Simple and effective VAE training with calibrated decoders",
    sizes=SigmaSizes,
)


class BernoulliSizes(NamedTuple):
    """`latent`: units of the code. `reconstruction`: −ln p(x|z)."""

    latent: Annotated[int, Ge(1)] = 16
    reconstruction: BernoulliLoss = "bce"


BERNOULLI_VAE = replace(
    VAE,
    name="bernoulli_vae",
    about="VAE whose decoder gives the probability that each pixel is 1; a likelihood for binary data",
    formula="L = −ln p(x|z) + β KL(q(z|x) ‖ N(0, I)), −ln p(x|z) = −Σ [x ln x̂ + (1 − x) ln(1 − x̂)]",
    source="Kingma and Welling (2014), Auto-encoding variational Bayes, appendix C.1",
    sizes=BernoulliSizes,
)


class LaplaceSizes(NamedTuple):
    """`latent`: units of the code. `reconstruction`: −ln p(x|z); its option `scale` says where s comes from."""

    latent: Annotated[int, Ge(1)] = 16
    reconstruction: LaplaceLoss = {"name": "laplace_nll", "scale": "shared"}  # noqa: RUF012


LAPLACE_VAE = replace(
    SIGMA_VAE,
    name="laplace_vae",
    about="VAE whose decoder is a Laplace distribution of learnt scale, less moved by outliers",
    formula="L = −ln p(x|z) + β KL(q(z|x) ‖ N(0, I)), −ln p(x|z) = Σ ln 2s + |x − x̂|/s",
    sizes=LaplaceSizes,
)
