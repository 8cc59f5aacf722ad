"""The protocol: a variant is a formula, and the record that says how to build, feed and ask it.

This file and the variants themselves import torch only when something is computed, so that suites are read,
checked and listed without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

Shape = tuple[int, ...]


def elements(event_shape: Shape) -> int:
    """D, the numbers of one example."""
    return math.prod(event_shape)


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


@dataclass(frozen=True, eq=False)
class Choice:
    """The type of a size that is a name, or `{"name": ..., options}`: name -> the NamedTuple of its options."""

    options: Mapping[str, type[Any]]


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
    unit_interval: bool = False
    """Whether it takes data in [0, 1] alone, whatever the reconstruction loss."""
    check: Callable[[Any, Shape], None] | None = None
    """`(sizes, event_shape)`: raises InputError where these sizes make no sense for such events."""
    fit: Callable[[Any, Tensor, Any], Mapping[str, Tensor]] | None = None
    """`(net, x [n, *event] in float64, hp) -> {parameter: value}`: the closed form; no step is taken."""
    encode: Callable[[Any, Tensor], Tensor] | None = None
    """`(net, x) -> h [batch, latent]`, the deterministic code (the posterior mean, where there is one)."""
    decode: Callable[[Any, Tensor], Tensor] | None = None
    """`(net, h) -> x̂ [batch, *event]`, the decoder's mean in the units of the data."""
    posterior: Callable[[Any, Tensor], tuple[Tensor, Tensor]] | None = None
    """`(net, x) -> (μ, ln σ²)`, each `[batch, latent]`."""
    prior: bool = False
    """Whether h ~ N(0, I) is the model's own prior, so that decoding it is a sample."""
    log_likelihood: Callable[[Any, Tensor, Tensor, Any], Tensor] | None = None
    """`(net, x, z, hp) -> ln p(x|z) [batch]`: nats."""
    log_marginal: Callable[[Any, Tensor, Any], Tensor] | None = None
    """`(net, x, hp) -> ln p(x) [batch]`, exact: nats."""
    lacks: Callable[[Any], Collection[str]] | None = None
    """`sizes -> ` what it does not offer under these sizes: no likelihood where the reconstruction loss is none."""
    after: Callable[..., dict[str, Tensor]] | None = None
    """`(net, x, noise, hp) -> {buffer: new value}` after each step, without gradient."""

    def offers(self, sizes: Any) -> frozenset[str]:
        """What a metric may need and this variant has: encode, decode, posterior, prior, likelihood, marginal."""
        optional = {
            "encode": self.encode,
            "decode": self.decode,
            "posterior": self.posterior,
            "prior": self.prior,
            "likelihood": self.log_likelihood,
            "marginal": self.log_marginal,
        }
        lacking = self.lacks(sizes) if self.lacks else ()
        return frozenset(name for name, value in optional.items() if value and name not in lacking)


class Model:
    """A net seen through its variant: what metrics and users ask of a trained autoencoder.

    `hp`: the hyperparameters that it ended with, 0-dim tensors.
    """

    def __init__(self, variant: Variant, net: Any, sizes: Any, hp: Any) -> None:
        self.variant, self.net, self.sizes, self.hp = variant, net, sizes, hp

    @property
    def latent(self) -> int:
        """Units of the code."""
        return self.sizes.latent

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

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """ln p(x|z) of examples `x [batch, *event]` under codes `z [batch, latent]`: nats, `[batch]`."""
        return self._offered("likelihood")(self.net, x, z, self.hp)

    def log_marginal(self, x: Tensor) -> Tensor:
        """ln p(x), exact: nats, `[batch]`."""
        return self._offered("marginal")(self.net, x, self.hp)

    def _offered(self, name: str) -> Any:
        if name not in self.variant.offers(self.sizes):
            raise TypeError(f"variant {self.variant.name!r} offers no {name}")
        return getattr(self.variant, {"likelihood": "log_likelihood", "marginal": "log_marginal"}.get(name, name))
