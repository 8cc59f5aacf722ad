"""The protocol: a variant is a formula, and the record that says how to build, feed and ask it.

This file and the variants themselves import torch only when something is computed, so that suites are read,
checked and listed without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Normal:
    """Noise of one step, declared and not drawn: independent N(0, 1) of this shape."""

    shape: Shape


@dataclass(frozen=True)
class Uniform:
    """Noise of one step, declared and not drawn: independent U[0, 1) of this shape."""

    shape: Shape


Noise = Mapping[str, Normal | Uniform]
Loss = Callable[..., "dict[str, Tensor]"]
"""`(net, x, noise, hp) -> {"loss": ..., **terms}`: nats per example, each `[batch]` or a scalar.

`net` is the module, `x: [batch, *event]`, `noise: {name: tensor of the declared shape}`, `hp` the variant's
NamedTuple with a 0-dim tensor in each field. The loop takes the mean over examples and logs every term.
"""


class Network(Protocol):
    """What a network kind gives: an encoder and a decoder for one event shape."""

    def encoder(self, event_shape: Shape, outputs: int) -> nn.Module:
        """`[batch, *event] -> [batch, outputs]`."""
        ...

    def decoder(self, latent: int, event_shape: Shape) -> nn.Module:
        """`[batch, latent] -> [batch, *event]`."""
        ...


@dataclass(frozen=True)
class Variant:
    """One kind of autoencoder.

    Required: the formula (`losses`), where it comes from (`source`), the net it is about (`build`), its floats
    (`hyper`, one value a run), its integers and choices (`sizes`, shared by the runs of a pack) and the noise it
    wants at each step. Optional: what metrics may ask of the trained net.
    """

    name: str
    about: str
    formula: str
    source: str
    build: Callable[[Shape, Network, Any], nn.Module]
    """`(event_shape, network, sizes) -> net`."""
    losses: Mapping[str, Loss]
    """The part of the net that a loss trains ("" = all of it) -> the loss; in this order at each step."""
    hyper: type[Any]
    sizes: type[Any]
    noise: Callable[[int, Shape, Any], Noise]
    """`(batch, event_shape, sizes) -> {name: Normal(shape) | Uniform(shape)}`."""
    version: int = 1
    """Raised when the numbers of this variant change."""
    networks: tuple[str, ...] = ()
    """The network kinds it is defined for; empty = any."""
    encode: Callable[[Any, Tensor], Tensor] | None = None
    """`(net, x) -> h [batch, latent]`, the deterministic code (the posterior mean, where there is one)."""
    decode: Callable[[Any, Tensor], Tensor] | None = None
    """`(net, h) -> x̂ [batch, *event]`, the decoder's mean in the units of the data."""
    posterior: Callable[[Any, Tensor], tuple[Tensor, Tensor]] | None = None
    """`(net, x) -> (μ, ln σ²)`, each `[batch, latent]`."""
    prior: bool = False
    """Whether h ~ N(0, I) is the model's own prior, so that decoding it is a sample."""
    after: Callable[..., dict[str, Tensor]] | None = None
    """`(net, x, noise, hp) -> {buffer: new value}` after each step, without gradient."""

    @property
    def offers(self) -> frozenset[str]:
        """What a metric may need and this variant has: encode, decode, posterior, prior."""
        optional = {"encode": self.encode, "decode": self.decode, "posterior": self.posterior, "prior": self.prior}
        return frozenset(name for name, value in optional.items() if value)


class Model:
    """A net seen through its variant: what metrics and users ask of a trained autoencoder."""

    def __init__(self, variant: Variant, net: Any, latent: int) -> None:
        self.variant, self.net, self.latent = variant, net, latent

    def encode(self, x: Tensor) -> Tensor:
        """`x [batch, *event] -> h [batch, latent]`; the posterior mean where the code is random."""
        return self._offered("encode")(self.net, x)

    def decode(self, h: Tensor) -> Tensor:
        """`h [batch, latent] -> x̂ [batch, *event]`, in the units of the data."""
        return self._offered("decode")(self.net, h)

    def reconstruct(self, x: Tensor) -> Tensor:
        """`decode(encode(x))`: the reconstruction through the deterministic code."""
        return self.decode(self.encode(x))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`x -> (μ, ln σ²)` of q(z|x), each `[batch, latent]`."""
        return self._offered("posterior")(self.net, x)

    def sample(self, z: Tensor) -> Tensor:
        """Decode draws `z [n, latent]` of the prior N(0, I)."""
        self._offered("prior")
        return self.decode(z)

    def _offered(self, name: str) -> Any:
        value = getattr(self.variant, name)
        if not value:
            raise TypeError(f"variant {self.variant.name!r} offers no {name}")
        return value
