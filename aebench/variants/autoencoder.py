"""Autoencoders with a deterministic code: x̂ = D(E(x)), plain, deep, tied, over-complete."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from annotated_types import Ge

from aebench import losses, modules
from aebench.errors import InputError
from aebench.reconstructions import Loss
from aebench.variant import Network, Noise, Normal, Shape, Variant, elements

if TYPE_CHECKING:
    from torch import Tensor, nn


class Sizes(NamedTuple):
    """`latent`: units of the code. `reconstruction`: the loss C that compares x̂ with x."""

    latent: Annotated[int, Ge(1)] = 16
    reconstruction: Loss = "mse"


class NoHyper(NamedTuple):
    """No hyperparameter."""


def build(event_shape: Shape, network: Network, sizes: Any) -> nn.Module:
    reconstruction = modules.reconstruction(sizes.reconstruction, event_shape)
    encoder = network.encoder(event_shape, sizes.latent)
    decoder = network.decoder(sizes.latent, reconstruction.output_shape(event_shape))
    return modules.Autoencoder(encoder, decoder, reconstruction)


def no_noise(batch: int, event_shape: Shape, sizes: Any) -> Noise:
    return {}


def pixel_noise(batch: int, event_shape: Shape, sizes: Any) -> Noise:
    return {"corruption": Normal((batch, *event_shape))}


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

DEEP_AE = replace(
    AE,
    name="deep_ae",
    about="autoencoder of many layers, 1000-500-250 unless the network says otherwise",
    networks=("deep",),
)

LINEAR_AE = replace(
    AE,
    name="linear_ae",
    about="one affine map each way; its optimum spans the principal subspace",
    formula="L = ‖x − W₂W₁x‖²; at the optimum Σ_{i>d} λᵢ",
    source="Baldi and Hornik (1989), Neural networks and principal component analysis",
    networks=("linear",),
)


def build_tied(event_shape: Shape, network: Network, sizes: Sizes) -> nn.Module:
    reconstruction = modules.reconstruction(sizes.reconstruction, event_shape)
    decoder: Any = network.decoder(sizes.latent, reconstruction.output_shape(event_shape))
    return modules.TiedAutoencoder(decoder, reconstruction)


def can_be_tied(sizes: Sizes, event_shape: Shape) -> None:
    """Fewer latent units than elements, or U Uᵀ is the identity; no bce, no scale by a second decoder output."""
    if sizes.latent >= elements(event_shape):
        raise InputError(f"latent {sizes.latent}: U Uᵀ is the identity unless there are fewer than the "
                         f"{elements(event_shape)} elements of the data")  # fmt: skip
    if sizes.reconstruction == "bce":
        raise InputError("reconstruction 'bce': one offset cannot be of the data and of logits; choose mse or mae")
    if isinstance(sizes.reconstruction, dict) and sizes.reconstruction.get("scale") == "decoder":
        raise InputError("scale 'decoder' is nothing that a tied decoder can give: choose from shared, pixel")


TIED_AE = replace(
    LINEAR_AE,
    name="tied_ae",
    about="linear autoencoder whose decoder is the encoder's transpose; its optimum is PCA",
    formula="L = ‖x − x̂‖², x̂ = U Uᵀ(x − b) + b",
    source="Bourlard and Kamp (1988), Auto-association by multilayer perceptrons and singular value decomposition",
    build=build_tied,
    check=can_be_tied,
)


class OvercompleteHyper(NamedTuple):
    """`sigma`: standard deviation of the noise on the input, in units of the data. `lam`: weight λ of the L1 norm."""

    sigma: Annotated[float, Ge(0)] = 0.0
    lam: Annotated[float, Ge(0)] = 0.0


def overcomplete_loss(net: Any, x: Tensor, noise: dict[str, Tensor], hp: OvercompleteHyper) -> dict[str, Tensor]:
    h = net.encode(x + hp.sigma * noise["corruption"])
    C, l1 = net.error(x, net.decode(h)), losses.l1_norm(h)
    return {"loss": C + hp.lam * l1, "reconstruction": C, "l1": l1}


def wider_than_data(sizes: Sizes, event_shape: Shape) -> None:
    """More latent units than elements."""
    if sizes.latent <= elements(event_shape):
        raise InputError(f"latent {sizes.latent}: an over-complete code has more than the {elements(event_shape)} "
                         "elements of the data")  # fmt: skip


OVERCOMPLETE_AE = replace(
    AE,
    name="overcomplete_ae",
    about="more units than inputs: it copies, unless noise on the input or an L1 penalty keeps it from that",
    formula="L = C(x, D(h)) + λ ‖h‖₁, h = E(x + σε), ε ~ N(0, I), d > D; at σ = λ = 0 the trivial solution is D∘E = 1",
    source="Bengio (2009), Learning deep architectures for AI, section 4.6",
    losses={"": overcomplete_loss},
    hyper=OvercompleteHyper,
    noise=pixel_noise,
    check=wider_than_data,
)
