"""The random streams of a seed: every draw is a function of (seed, purpose, name, index) and of nothing else.

A stream has no variant, no hyperparameter and no place in a pack in its key, so runs of one seed share the order
of the examples and the noise: comparisons between them are paired (common random numbers). No generator state is
kept; step t can be drawn again from t alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from aebench.variant import Normal, Uniform

Purpose = Literal["split", "init", "order", "noise", "evaluation"]
CHUNK = 32
"""Steps of noise drawn at once. Part of the definition: the values that `randn` gives depend on the shape."""


def key(seed: int, purpose: Purpose, name: str = "", index: int = 0) -> int:
    """The 56-bit key of a stream."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{name}/{index}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def generator(seed: int, purpose: Purpose, name: str = "", index: int = 0, device: str = "cpu") -> Generator:
    """A fresh generator at the start of a stream."""
    import torch

    return torch.Generator(device).manual_seed(key(seed, purpose, name, index))


def permutation(seed: int, n: int, epoch: int) -> Tensor:
    """The order of `n` examples in one epoch, int64, on the CPU."""
    import torch

    return torch.randperm(n, generator=generator(seed, "order", index=epoch), device="cpu")


def order(
    seed: int, n: int, start: int, stop: int, permuted: Callable[[int, int, int], Tensor] = permutation
) -> Tensor:
    """Positions `start` to `stop` of the endless concatenation of permutations of `n` examples, int64, on the CPU.

    No tail is dropped, and a batch may exceed the data. `permuted` gives what `permutation` does.
    """
    import torch

    epochs = range(start // n, -(-stop // n))
    parts = [permuted(seed, n, epoch)[max(start - epoch * n, 0) : stop - epoch * n] for epoch in epochs]
    return torch.cat(parts)


def draw(spec: Normal | Uniform, count: int, source: Generator) -> Tensor:
    """`[count, *spec.shape]` float32 draws of a declared noise, on the generator's device."""
    import torch

    from aebench.variant import Normal

    sampler = torch.randn if isinstance(spec, Normal) else torch.rand
    return sampler((count, *spec.shape), generator=source, device=source.device, dtype=torch.float32)


def noise_chunk(seed: int, name: str, chunk: int, spec: Normal | Uniform, device: str = "cpu") -> Tensor:
    """The noise of steps `32·chunk` to `32·chunk + 31`: `[32, *spec.shape]`, drawn on the training device."""
    return draw(spec, CHUNK, generator(seed, "noise", name, chunk, device))
