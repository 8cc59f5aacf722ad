"""The modules that variants build from an encoder, a decoder and a reconstruction loss."""

from __future__ import annotations

from torch import Tensor, nn

from aebench.losses import Reconstruction


class Autoencoder(nn.Module):
    """h = E(x), output = D(h); `reconstruction` says how an output is judged and read."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, reconstruction: Reconstruction) -> None:
        super().__init__()
        self.encoder, self.decoder, self.reconstruction = encoder, decoder, reconstruction

    def encode(self, x: Tensor) -> Tensor:
        """`x [batch, *event] -> h [batch, latent]`."""
        return self.encoder(x)

    def decode(self, h: Tensor) -> Tensor:
        """`h [batch, latent] -> output [batch, *event]`, the argument of the reconstruction loss."""
        return self.decoder(h)

    def error(self, x: Tensor, output: Tensor) -> Tensor:
        """C, the reconstruction loss of each example: `[batch]`."""
        return self.reconstruction.loss(x, output)

    def mean(self, h: Tensor) -> Tensor:
        """`h -> x̂`, in the units of the data."""
        return self.reconstruction.mean(self.decode(h))


class VariationalAutoencoder(Autoencoder):
    """An autoencoder whose encoder gives μ and ln σ² of q(z|x)."""

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """`x [batch, *event] -> (μ, ln σ²)`, each `[batch, latent]`."""
        mu, logvar = self.encoder(x).chunk(2, dim=-1)
        return mu, logvar
