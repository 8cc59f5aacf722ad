"""Encoders and decoders: records that are read from a suite, and the plain `nn.Sequential` that each builds.

No losses, no BatchNorm (its running statistics would tie the runs of a pack and the examples of a batch together).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from annotated_types import Ge, MinLen

from aebench.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from aebench.variant import Shape

Width = Annotated[int, Ge(1)]
Activation = Literal["relu", "tanh", "sigmoid", "gelu", "silu", "elu", "softplus"]
_MODULES = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "gelu": "GELU", "silu": "SiLU", "elu": "ELU",
            "softplus": "Softplus"}  # fmt: skip

NETWORKS = {
    "linear": ("aebench.networks:Linear", "one affine map each way"),
    "mlp": ("aebench.networks:MLP", "fully connected layers; the decoder mirrors the encoder"),
    "deep": ("aebench.networks:Deep", "the pyramid 1000-500-250 of Hinton and Salakhutdinov (2006); an mlp"),
    "conv": ("aebench.networks:Conv", "strided convolutions, then transposed ones; for images [channels, h, w]"),
}


def _activation(name: Activation) -> nn.Module:
    from torch import nn

    return getattr(nn, _MODULES[name])()


def _layers(widths: list[int], activation: Activation) -> list[nn.Module]:
    """Affine maps through these widths, the activation between them and not after the last."""
    from torch import nn

    layers: list[nn.Module] = []
    for i, o in pairwise(widths):
        layers += [nn.Linear(i, o), _activation(activation)]
    return layers[:-1]


class MLP(NamedTuple):
    """Fully connected: event -> hidden -> code, and back through the same widths reversed."""

    hidden: tuple[Width, ...] = (512, 256)
    activation: Activation = "relu"

    def encoder(self, event_shape: Shape, outputs: int) -> nn.Module:
        """`[batch, *event] -> [batch, outputs]`."""
        from torch import nn

        return nn.Sequential(nn.Flatten(), *_layers([math.prod(event_shape), *self.hidden, outputs], self.activation))

    def decoder(self, latent: int, event_shape: Shape) -> nn.Module:
        """`[batch, latent] -> [batch, *event]`."""
        from torch import nn

        widths = [latent, *reversed(self.hidden), math.prod(event_shape)]
        return nn.Sequential(*_layers(widths, self.activation), nn.Unflatten(1, event_shape))


class Deep(NamedTuple):
    """An MLP of Hinton and Salakhutdinov's widths, which they gave the 784 pixels of MNIST and a code of 30."""

    hidden: tuple[Width, ...] = (1000, 500, 250)
    activation: Activation = "relu"

    def encoder(self, event_shape: Shape, outputs: int) -> nn.Module:
        """`[batch, *event] -> [batch, outputs]`."""
        return MLP(*self).encoder(event_shape, outputs)

    def decoder(self, latent: int, event_shape: Shape) -> nn.Module:
        """`[batch, latent] -> [batch, *event]`."""
        return MLP(*self).decoder(latent, event_shape)


class Linear(NamedTuple):
    """One affine map each way: an MLP without hidden layers."""

    def encoder(self, event_shape: Shape, outputs: int) -> nn.Module:
        """`[batch, *event] -> [batch, outputs]`."""
        return MLP(hidden=()).encoder(event_shape, outputs)

    def decoder(self, latent: int, event_shape: Shape) -> nn.Module:
        """`[batch, latent] -> [batch, *event]`."""
        return MLP(hidden=()).decoder(latent, event_shape)


class Conv(NamedTuple):
    """Convolutions 4 × 4 of stride 2 (each halves the image), fully connected layers, and the mirror image."""

    channels: Annotated[tuple[Width, ...], MinLen(1)] = (32, 64)
    hidden: tuple[Width, ...] = ()
    activation: Activation = "relu"

    def check(self, event_shape: Shape) -> None:
        """Refuse events that are no images, or images too small to halve so often: InputError."""
        self._sides(event_shape)

    def encoder(self, event_shape: Shape, outputs: int) -> nn.Module:
        """`[batch, channels, h, w] -> [batch, outputs]`."""
        from torch import nn

        sides = self._sides(event_shape)
        layers: list[nn.Module] = []
        for i, o in pairwise([event_shape[0], *self.channels]):
            layers += [nn.Conv2d(i, o, kernel_size=4, stride=2, padding=1), _activation(self.activation)]
        widths = [self.channels[-1] * math.prod(sides[-1]), *self.hidden, outputs]
        return nn.Sequential(*layers, nn.Flatten(), *_layers(widths, self.activation))

    def decoder(self, latent: int, event_shape: Shape) -> nn.Module:
        """`[batch, latent] -> [batch, channels, h, w]`."""
        from torch import nn

        sides = self._sides(event_shape)
        widths = [latent, *reversed(self.hidden), self.channels[-1] * math.prod(sides[-1])]
        layers = [*_layers(widths, self.activation), nn.Unflatten(1, (self.channels[-1], *sides[-1]))]
        channels = [*reversed(self.channels), event_shape[0]]
        for (i, o), small, large in zip(pairwise(channels), sides[:0:-1], sides[-2::-1], strict=True):
            odd = (large[0] - 2 * small[0], large[1] - 2 * small[1])
            transposed = nn.ConvTranspose2d(i, o, kernel_size=4, stride=2, padding=1, output_padding=odd)
            layers += [_activation(self.activation), transposed]
        return nn.Sequential(*layers)

    def _sides(self, event_shape: Shape) -> list[tuple[int, int]]:
        """Height and width of the image at each depth, the input first."""
        if len(event_shape) != 3:
            raise InputError(f"network 'conv' takes images [channels, h, w], not events of shape {list(event_shape)}")
        sides = [event_shape[1:]]
        for _ in self.channels:
            sides.append((sides[-1][0] // 2, sides[-1][1] // 2))
        if min(sides[-1]) < 1:
            raise InputError(
                f"network 'conv' with {len(self.channels)} halvings does not fit images {list(event_shape[1:])}"
            )
        return [(h, w) for h, w in sides]
