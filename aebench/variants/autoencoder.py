"""Autoencoders with a deterministic code."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from annotated_types import Ge

from aebench import losses, modules
from aebench.variant import Network, Noise, Normal, Shape, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn


class Sizes(NamedTuple):
    """`latent`: units of the code. `reconstruction`: the loss C that compares x̂ with x."""

    latent: Annotated[int, Ge(1)] = 16
    reconstruction: Literal["mse", "mae", "bce"] = "mse"


class NoHyper(NamedTuple):
    """No hyperparameter."""


def build(event_shape: Shape, network: Network, sizes: Sizes) -> nn.Module:
    encoder = network.encoder(event_shape, sizes.latent)
    decoder = network.decoder(sizes.latent, event_shape)
    return modules.Autoencoder(encoder, decoder, losses.RECONSTRUCTIONS[sizes.reconstruction])


def no_noise(batch: int, event_shape: Shape, sizes: Sizes) -> Noise:
    return {}


def ae_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: NoHyper) -> dict[str, Tensor]:
    x_hat = net.decode(net.encode(x))
    return {"loss": net.error(x, x_hat)}


AE = Variant(
    name="ae",
    about="plain autoencoder: reconstruct the input through a code",
    formula="L = C(x, D(E(x)))",
    source="Hinton and Salakhutdinov (2006), Reducing the dimensionality of data with neural networks",
    build=build,
    losses={"": ae_loss},
    hyper=NoHyper,
    sizes=Sizes,
    noise=no_noise,
    encode=lambda net, x: net.encode(x),
    decode=lambda net, h: net.mean(h),
)

LINEAR_AE = replace(
    AE,
    name="linear_ae",
    about="one affine map each way; its optimum spans the principal subspace",
    formula="L = ‖x − W₂W₁x‖²; at the optimum Σ_{i>d} λᵢ",
    source="Baldi and Hornik (1989), Neural networks and principal component analysis",
    networks=("linear",),
)


class DenoisingHyper(NamedTuple):
    """`sigma`: standard deviation of the Gaussian noise, in units of the data."""

    sigma: Annotated[float, Ge(0)] = 0.25


def pixel_noise(batch: int, event_shape: Shape, sizes: Sizes) -> Noise:
    return {"corruption": Normal((batch, *event_shape))}


def denoising_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: DenoisingHyper) -> dict[str, Tensor]:
    x_tilde = x + hp.sigma * noise["corruption"]
    x_hat = net.decode(net.encode(x_tilde))
    return {"loss": net.error(x, x_hat)}


DENOISING_AE = replace(
    AE,
    name="denoising_ae",
    about="reconstruct the clean input from a noisy one",
    formula="L = C(x, D(E(x + σε))), ε ~ N(0, I)",
    source="Vincent et al. (2008), Extracting and composing robust features with denoising autoencoders",
    losses={"": denoising_loss},
    hyper=DenoisingHyper,
    noise=pixel_noise,
)
