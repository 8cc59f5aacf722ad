"""What the loop consumes, chunk by chunk: batches and noise, each drawn once for every distinct seed, and scheduled
hyperparameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from aebench import streams
from aebench.engine import refill
from aebench.schedule import Schedule, at
from aebench.variant import Noise, Uniform, Variant

if TYPE_CHECKING:
    from aebench.train import Setting


def picked(x: Tensor, rows: Tensor | slice) -> Tensor:
    """`x[rows]`, rows counted from the first; each is copied whole, while an index goes element by element on a CPU."""
    return x[rows] if isinstance(rows, slice) else x.index_select(0, rows.flatten()).unflatten(0, rows.shape)


BINARIZE = "data/binarize"
"""The noise that dynamic binarisation adds to a variant's own."""


@dataclass(frozen=True)
class Examples:
    """One part of a data set on the training device.

    `x [n, *event]`: floats, or uint8 that means value/255. `binarize`: x is a probability, and each batch a fresh
    draw of it (dynamic binarisation).
    """

    x: Tensor
    binarize: bool = False

    def noise(self, batch: int, declared: Noise) -> Noise:
        """The declared noise, and the data's own."""
        return {**declared, BINARIZE: Uniform((batch, *self.x.shape[1:]))} if self.binarize else declared

    def take(self, rows: Tensor | slice, dtype: torch.dtype) -> Tensor:
        """`x[rows]` in units of the data."""
        x = picked(self.x, rows)
        return x.to(dtype).div_(255) if x.dtype == torch.uint8 else x.to(dtype)


class Batch(NamedTuple):
    """Examples and noise of one call; the `dim`s say whether they carry a leading `[runs]` axis (0) or not (None)."""

    x: Tensor
    noise: dict[str, Tensor]
    x_dim: int | None
    noise_dim: int | None


def _batch(x: Tensor, noise: dict[str, Tensor], x_dim: int | None, noise_dim: int | None) -> Batch:
    """Apply the data's own noise, and pass the variant's on."""
    if BINARIZE not in noise:
        return Batch(x, noise, x_dim, noise_dim)
    rest = {name: value for name, value in noise.items() if name != BINARIZE}
    return Batch((noise[BINARIZE] < x).to(x.dtype), rest, noise_dim, noise_dim)


KEPT = 2**28
"""Bytes of permutations that are kept from one chunk to the next: drawn anew for each, those of a million examples cost
as much as the chunk's steps."""


class Feed:
    """Batches and noise of every step of a pack, as functions of (seed, step).

    `seeds`: one a run. Runs of one seed see the same; where all do, nothing carries a `[runs]` axis.
    """

    def __init__(self, examples: Examples, batch: int, noise: Noise, seeds: Sequence[int], dtype: torch.dtype) -> None:
        self.examples, self.batch, self.dtype = examples, batch, dtype
        self.specs = examples.noise(batch, noise)
        self.seeds, self.which = distinct(seeds, examples.x.device)
        self.order = torch.empty(0)
        self.noise: dict[str, Tensor] = {}
        self.epochs: dict[int, tuple[int, Tensor]] = {}
        """The last epoch of each seed, and its permutation."""

    def fill(self, chunk: int) -> None:
        """Draw order and noise of the chunk's 32 steps, over those of the last: a CUDA graph reads them there."""
        device, n, size = self.examples.x.device, len(self.examples.x), streams.CHUNK * self.batch
        orders = [streams.order(seed, n, chunk * size, (chunk + 1) * size, self.permutation) for seed in self.seeds]
        order = torch.stack([order.view(streams.CHUNK, self.batch) for order in orders], 1)  # a step's lie side by side
        self.order = refill(self.order, order.pin_memory() if device.type == "cuda" else order, device)
        for name, spec in self.specs.items():
            draws = [streams.noise_chunk(seed, name, chunk, spec, str(device)) for seed in self.seeds]
            self.noise[name] = refill(
                self.noise.get(name, torch.empty(0)), torch.stack(draws, 1).to(self.dtype), device
            )

    def permutation(self, seed: int, n: int, epoch: int) -> Tensor:
        """As `streams.permutation`; drawn once an epoch where there is room for those of all seeds."""
        if seed in self.epochs and self.epochs[seed][0] == epoch:
            return self.epochs[seed][1]
        drawn = streams.permutation(seed, n, epoch)
        if len(self.seeds) * drawn.nbytes <= KEPT:
            self.epochs[seed] = epoch, drawn
        return drawn

    @property
    def bytes(self) -> int:
        """What the next chunk takes while it is drawn, beside the one that lies there: its noise twice."""
        return sum(2 * t.numel() * t.element_size() for t in self.noise.values())

    def step(self, i: int) -> Batch:
        """Batch and noise of the chunk's i-th step."""
        if self.which is None:
            x = self.examples.take(self.order[i, 0], self.dtype)
            return _batch(x, {name: draws[i, 0] for name, draws in self.noise.items()}, None, None)
        x = picked(self.examples.take(self.order[i], self.dtype), self.which)
        return _batch(x, {name: picked(draws[i], self.which) for name, draws in self.noise.items()}, 0, 0)


class Hyper:
    """The hyperparameters of a pack at each moment of training: the variant's NamedTuple of `[runs]` tensors."""

    def __init__(
        self, variant: Variant, settings: Sequence[Setting], stacked: bool, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.type, self.stacked, self.like = variant.hyper, stacked, torch.empty(0, device=device, dtype=dtype)
        self.rows: list[Any] = [variant.hyper(**setting.hyper) for setting in settings]
        self.scheduled = any(isinstance(value, Schedule) for row in self.rows for value in row)
        self.constant = self._resolve(0.0)
        self.table: list[Tensor] = []

    def fill(self, fractions: Sequence[float]) -> None:
        """Resolve the schedules for the next steps, each by the fraction of training done before it."""
        if self.scheduled:
            rows = [[[at(v, f) for v in column] for column in zip(*self.rows, strict=True)] for f in fractions]
            new = [torch.tensor(values, dtype=self.like.dtype) for values in zip(*rows, strict=True)]
            old = self.table or [torch.empty(0)] * len(new)
            self.table = [refill(a, b, self.like.device) for a, b in zip(old, new, strict=True)]

    def step(self, i: int) -> Any:
        """Their values at the i-th of the steps for which `fill` was called; 0-dim for a pack of one."""
        if not self.scheduled:
            return self.constant
        return self.type(*(column[i] if self.stacked else column[i, 0] for column in self.table))

    def at(self, fraction: float) -> Any:
        """Their values at a fraction of training; 0-dim for a pack of one."""
        return self._resolve(fraction) if self.scheduled else self.constant

    @property
    def final(self) -> Any:
        """Their values at the end, `[runs]` each."""
        return self._stacked(1.0)

    def _stacked(self, fraction: float) -> Any:
        columns = ([at(value, fraction) for value in column] for column in zip(*self.rows, strict=True))
        return self.type(*(self.like.new_tensor(column) for column in columns))

    def _resolve(self, fraction: float) -> Any:
        stacked = self._stacked(fraction)
        return stacked if self.stacked else self.type(*(value[0] for value in stacked))


def distinct(seeds: Sequence[int], device: torch.device) -> tuple[list[int], Tensor | slice | None]:
    """The distinct seeds, and what gives each run the values of its own; None where there is only one."""
    unique = list(dict.fromkeys(seeds))
    if len(unique) == len(seeds) > 1:
        return unique, slice(None)  # nothing is copied
    which = torch.tensor([unique.index(seed) for seed in seeds], device=device)
    return unique, which if len(unique) > 1 else None


BLOCK = 500
"""Examples evaluated at once. Part of the definition: the values of evaluation noise depend on it."""


def blocks(
    examples: Examples, declared: Callable[[int], Noise], label: str, seeds: Sequence[int], dtype: torch.dtype
) -> Iterator[Batch]:
    """A whole part, block by block, with noise from each seed's evaluation stream; `label` names its use."""
    device = examples.x.device
    unique, which = distinct(seeds, device)
    for index, start in enumerate(range(0, len(examples.x), BLOCK)):
        x = examples.take(slice(start, start + BLOCK), dtype)
        noise: dict[str, Tensor] = {}
        for name, spec in examples.noise(len(x), declared(len(x))).items():
            # the data's own noise has one label for every use, so all metrics see the same binarisation
            stream = name if name == BINARIZE else f"{label}/{name}"
            sources = [streams.generator(seed, "evaluation", stream, index, str(device)) for seed in unique]
            draws = torch.stack([streams.draw(spec, 1, source)[0] for source in sources]).to(dtype)
            noise[name] = draws[0] if which is None else picked(draws, which)
        yield _batch(x, noise, None, None if which is None else 0)
