"""The modules that variants build from an encoder, a decoder and a reconstruction loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aebench import losses, reconstructions
from aebench.variant import Shape


class Reconstruction(nn.Module):
    """A reconstruction loss: how a decoder's output is judged and read."""

    outputs = 1
    """Numbers that the decoder gives for each element of x."""

    def output_shape(self, event_shape: Shape) -> Shape:
        """The shape of a decoder's output for events of this shape."""
        return (self.outputs * event_shape[0], *event_shape[1:])

    def loss(self, x: Tensor, output: Tensor) -> Tensor:
        """C of each example, `[batch]`."""
        raise NotImplementedError

    def mean(self, output: Tensor) -> Tensor:
        """x̂ of a decoder's output, in units of the data."""
        return output

    def log_likelihood(self, x: Tensor, output: Tensor) -> Tensor:
        """ln p(x|z) of each example: nats, `[batch]`. As it stands: the loss is −ln p(x|z) itself."""
        return -self.loss(x, output)


class SquaredError(Reconstruction):
    """SSE. As a likelihood: a Gaussian of variance ½, whose −ln p is SSE + (D/2) ln π."""

    def loss(self, x: Tensor, output: Tensor) -> Tensor:
        return losses.squared_error(x, output)

    def log_variance(self, output: Tensor) -> Tensor:
        """ln σ² of the Gaussian: broadcasts against x."""
        return output.new_tensor(math.log(0.5))

    def log_likelihood(self, x: Tensor, output: Tensor) -> Tensor:
        return -losses.gaussian_nll(x, output, self.log_variance(output))


class AbsoluteError(Reconstruction):
    """Σ |x − x̂|. As a likelihood: Laplace of scale 1."""

    def loss(self, x: Tensor, output: Tensor) -> Tensor:
        return losses.absolute_error(x, output)

    def log_likelihood(self, x: Tensor, output: Tensor) -> Tensor:
        return -losses.laplace_nll(x, output, output.new_tensor(0.0))


class PercentageError(Reconstruction):
    """MAPE with the floor ε; no likelihood."""

    def __init__(self, event_shape: Shape, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon

    def loss(self, x: Tensor, output: Tensor) -> Tensor:
        return losses.absolute_percentage_error(x, output, self.epsilon)


class Huber(Reconstruction):
    """Huber's loss with its knee at δ; no likelihood."""

    def __init__(self, event_shape: Shape, delta: float) -> None:
        super().__init__()
        self.delta = delta

    def loss(self, x: Tensor, output: Tensor) -> Tensor:
        return losses.huber(x, output, self.delta)


class Bernoulli(Reconstruction):
    """BCE of x in [0, 1]; the output is a logit."""

    def loss(self, x: Tensor, output: Tensor) -> Tensor:
        return losses.bernoulli_nll(x, output)

    def mean(self, output: Tensor) -> Tensor:
        return output.sigmoid()


LOG_SCALE_FLOOR = -6.0
"""The least ln σ: a pixel that never changes would take it to −∞. Rybkin et al. (2021), Simple and effective VAE
training with calibrated decoders."""


class Learnt(Reconstruction):
    """A location and a learnt scale: one for all elements, one for each, or given by the decoder beside the mean."""

    def __init__(self, event_shape: Shape, scale: str) -> None:
        super().__init__()
        self.outputs = 2 if scale == "decoder" else 1
        if scale != "decoder":
            self.log_scale = nn.Parameter(torch.zeros(1 if scale == "shared" else event_shape))

    def mean(self, output: Tensor) -> Tensor:
        return output.chunk(self.outputs, 1)[0]

    def scale(self, output: Tensor) -> Tensor:
        """ln σ, with a soft floor: broadcasts against x."""
        raw = output.chunk(2, 1)[1] if self.outputs == 2 else self.log_scale
        return LOG_SCALE_FLOOR + F.softplus(raw - LOG_SCALE_FLOOR)

    def raw(self, log_scale: float) -> float:
        """The parameter that gives this ln σ. Raises ValueError below the floor."""
        above = log_scale - LOG_SCALE_FLOOR
        if above <= 0:
            least = math.exp(LOG_SCALE_FLOOR)
            raise ValueError(f"the scale that is left, {math.exp(log_scale):.3g}, underflows: the least is {least:.3g}")
        return LOG_SCALE_FLOOR + above + math.log(-math.expm1(-above))


class Gaussian(Learnt):
    """−ln N(x; x̂, σ²), σ learnt."""

    def loss(self, x: Tensor, output: Tensor) -> Tensor:
        return losses.gaussian_nll(x, self.mean(output), self.log_variance(output))

    def log_variance(self, output: Tensor) -> Tensor:
        """ln σ²: broadcasts against x."""
        return 2 * self.scale(output)


class Laplace(Learnt):
    """−ln Laplace(x; x̂, s), s learnt."""

    def loss(self, x: Tensor, output: Tensor) -> Tensor:
        return losses.laplace_nll(x, self.mean(output), self.scale(output))


def reconstruction(chosen: str | Mapping[str, Any], event_shape: Shape) -> Reconstruction:
    """The module of a reconstruction loss, by name or as `{"name": ..., options}`."""
    known, options = reconstructions.named(chosen)
    kind = globals()[known.module]
    return kind(event_shape, **options) if options else kind()


class Autoencoder(nn.Module):
    """h = E(x), output = D(h); `reconstruction` says how an output is judged and read."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, reconstruction: Reconstruction) -> None:
        super().__init__()
        self.encoder, self.decoder, self.reconstruction = encoder, decoder, reconstruction

    def encode(self, x: Tensor) -> Tensor:
        """`x [batch, *event] -> h [batch, latent]`."""
        return self.encoder(x)

    def decode(self, h: Tensor) -> Tensor:
        """`h [batch, latent] -> output [batch, *event]`, the argument of the reconstruction loss.

        Where the decoder gives the scale too, twice as many channels.
        """
        return self.decoder(h)

    def error(self, x: Tensor, output: Tensor) -> Tensor:
        """C, the reconstruction loss of each example: `[batch]`."""
        return self.reconstruction.loss(x, output)

    def mean(self, h: Tensor) -> Tensor:
        """`h -> x̂`, in the units of the data."""
        return self.reconstruction.mean(self.decode(h))

    def log_likelihood(self, x: Tensor, output: Tensor) -> Tensor:
        """ln p(x|z) of each example: nats, `[batch]`."""
        return self.reconstruction.log_likelihood(x, output)


class VariationalAutoencoder(Autoencoder):
    """An autoencoder whose encoder gives μ and ln σ² of q(z|x)."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`x [batch, *event] -> (μ, ln σ²)`, each `[batch, latent]`."""
        mu, logvar = self.encoder(x).chunk(2, dim=-1)
        return mu, logvar


class TiedAutoencoder(Autoencoder):
    """One matrix for both ways: h = Uᵀ(x − b), x̂ = U h + b; U begins orthonormal.

    `decoder`: its first module is the affine map that holds U `[elements, latent]` and b.
    """

    def __init__(self, decoder: nn.Sequential, reconstruction: Reconstruction) -> None:
        super().__init__(nn.Flatten(), decoder, reconstruction)
        nn.init.orthogonal_(self.affine.weight)

    @property
    def affine(self) -> Any:
        """The module of U and b."""
        return self.decoder[0]  # pyright: ignore[reportIndexIssue]

    def encode(self, x: Tensor) -> Tensor:
        """`x [batch, *event] -> h [batch, latent]`."""
        return (self.encoder(x) - self.affine.bias) @ self.affine.weight


class TopK(nn.Module):
    """Keeps the k units of largest |h|."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, h: Tensor) -> Tensor:
        return losses.top_k(h, self.k)


class SparseKL(nn.Module):
    """Σⱼ KL between coins of probability p and hⱼ = sigmoid(logits): of each example, or of the batch's mean of hⱼ."""

    def __init__(self, direction: str, average: str) -> None:
        super().__init__()
        self.reverse, self.batch = direction == "reverse", average == "batch"

    def forward(self, logits: Tensor, p: Tensor) -> Tensor:
        """`logits [batch, latent]`, p 0-dim -> nats, `[batch]`; the batch's one number is given to each example."""
        each = losses.mean_logits(logits) if self.batch else logits
        kl = losses.kl_logits_bernoulli(each, p) if self.reverse else losses.kl_bernoulli_logits(p, each)
        return kl.sum(1).expand(len(logits))
