"""One forward pass for all metrics that look at the same examples."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from aebench.variant import Model

if TYPE_CHECKING:
    from torch import Tensor


class Once(Model):
    """A model that encodes and reconstructs the examples of a block once, however many metrics ask."""

    def __init__(self, model: Model, x: Tensor) -> None:
        super().__init__(model.variant, model.net, model.sizes, model.hp)
        self.model, self.x, self.random = model, x, "posterior" in model.variant.offers(model.sizes)

    @cached_property
    def _posterior(self) -> tuple[Tensor, Tensor]:
        return self.model.posterior(self.x)

    @cached_property
    def _code(self) -> Tensor:
        return self._posterior[0] if self.random else self.model.encode(self.x)

    @cached_property
    def _reconstruction(self) -> Tensor:
        return self.model.decode(self._code)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`x -> (μ, ln σ²)` of q(z|x), each `[batch, latent]`."""
        return self._posterior if x is self.x else self.model.posterior(x)

    def encode(self, x: Tensor) -> Tensor:
        """`x [batch, *event] -> h [batch, latent]`; the posterior mean where the code is random."""
        return self._code if x is self.x else self.model.encode(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """`decode(encode(x))`: the reconstruction through the deterministic code."""
        return self._reconstruction if x is self.x else self.model.reconstruct(x)
