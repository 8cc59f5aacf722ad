"""Denoising autoencoders: the input is corrupted, the target is clean."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from annotated_types import Ge, Lt

from aebench.variant import Noise, Shape, Uniform
from aebench.variants.autoencoder import AE, pixel_noise

if TYPE_CHECKING:
    from torch import Tensor


class DenoisingHyper(NamedTuple):
    """`sigma`: standard deviation of the Gaussian noise, in units of the data."""

    sigma: Annotated[float, Ge(0)] = 0.25


def denoising_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: DenoisingHyper) -> dict[str, Tensor]:
    x_tilde = x + hp.sigma * noise["corruption"]
    x_hat = net.decode(net.encode(x_tilde))
    return {"loss": net.error(x, x_hat)}


DENOISING_AE = replace(
    AE,
    name="denoising_ae",
    about="reconstruct the clean input from a noisy one",
    formula="L = C(x, D(E(x + σε))), ε ~ N(0, I)",
    source="Vincent et al. (2010), Stacked denoising autoencoders",
    losses={"": denoising_loss},
    hyper=DenoisingHyper,
    noise=pixel_noise,
)


class ShareHyper(NamedTuple):
    """`p`: probability that an element of the input is corrupted."""

    p: Annotated[float, Ge(0), Lt(1)] = 0.25


def corrupted_elements(batch: int, event_shape: Shape, sizes: Any) -> Noise:
    return {"corruption": Uniform((batch, *event_shape))}


def masking_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: ShareHyper) -> dict[str, Tensor]:
    x_tilde = x * (noise["corruption"] >= hp.p)
    x_hat = net.decode(net.encode(x_tilde))
    return {"loss": net.error(x, x_hat)}


MASKING_DENOISING_AE = replace(
    DENOISING_AE,
    name="masking_denoising_ae",
    about="reconstruct the input from one of which a share p is set to 0",
    formula="L = C(x, D(E(m ⊙ x))), mᵢ = 0 with probability p, else 1",
    source="Vincent et al. (2008), Extracting and composing robust features with denoising autoencoders",
    losses={"": masking_loss},
    hyper=ShareHyper,
    noise=corrupted_elements,
)


def salt_pepper_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: ShareHyper) -> dict[str, Tensor]:
    u = noise["corruption"]
    x_tilde = (u < 0.5 * hp.p) + x * (u >= hp.p)
    x_hat = net.decode(net.encode(x_tilde))
    return {"loss": net.error(x, x_hat)}


SALT_PEPPER_DENOISING_AE = replace(
    MASKING_DENOISING_AE,
    name="salt_pepper_denoising_ae",
    about="reconstruct the input from one of which a share p is set to 0 or 1",
    formula="L = C(x, D(E(x̃))), x̃ᵢ = 1 or 0 with probability p/2 each, else xᵢ",
    source="Vincent et al. (2010), Stacked denoising autoencoders",
    losses={"": salt_pepper_loss},
    unit_interval=True,
)
