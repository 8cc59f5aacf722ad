"""The only training loop: a pack of runs that differ in numbers -> their trained, stacked state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from aebench import packing, purity, streams
from aebench.arithmetic import arithmetic
from aebench.checkpoint import Checkpoint
from aebench.clock import clock
from aebench.course import Best, Curve, diverged, kept, restored
from aebench.device import free_bytes
from aebench.engine import Engine, Mode, Terms
from aebench.feed import Batch, Examples, Feed, Hyper, blocks
from aebench.optim import Descent
from aebench.packing import Pack, Runs
from aebench.schedule import Number
from aebench.sharing import numbers_of_threads
from aebench.variant import Network, Variant

Precision = Literal["fp32", "tf32", "bf16", "fp64"]
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.float32, "fp64": torch.float64}
"""The type of parameters, losses and all that is measured."""
PRECISIONS = {"cpu": ("fp32", "bf16", "fp64"), "cuda": ("fp32", "tf32", "bf16", "fp64"), "mps": ("fp32",)}
"""What each kind of device can do."""
PRODUCTS = {"bf16": torch.bfloat16}
"""The type of matrix products and convolutions in training, where it is another; tf32 is a mode of the device."""
Fit = Callable[[Any, Tensor, Any], Mapping[str, Tensor]]
"""`Variant.fit`."""
ROOM = 0.9
"""The share of free memory that a pack may take."""
POINTS = 100
"""Points of a training curve, at most; each the mean over equally many chunks (the last: over what is left)."""


@dataclass(frozen=True)
class Budget:
    """What the runs of a pack share."""

    steps: int
    batch: int = 128
    optimizer: str = "adam"
    precision: Precision = "fp32"
    keep: Literal["last", "best_validation"] = "last"


@dataclass(frozen=True)
class Setting:
    """The numbers of one run."""

    seed: int = 0
    hyper: Mapping[str, Number] = field(default_factory=dict[str, Number])
    descent: Descent = field(default_factory=Descent)


class TooLarge(MemoryError):
    """A pack that would not fit into memory: `needed` and `free` bytes beside its state; nothing was computed yet."""

    def __init__(self, runs: int, needed: int, free: int) -> None:
        super().__init__(f"{runs} runs at once need {needed / 2**20:,.0f} MiB more; {free / 2**20:,.0f} MiB are free")
        self.fitting = max(1, runs * free // needed)
        """Runs that would fit."""


@dataclass
class Trained:
    """What a pack has become: `curves {"step": [points], term: [points, runs]}`."""

    runs: Runs
    curves: dict[str, np.ndarray]
    diverged: list[int | None]
    """For each run the step by which a term of its loss, or a parameter, was no finite number; or None."""
    seconds: dict[str, float]
    engine: dict[str, Any] = field(default_factory=dict[str, Any])
    """Whether steps ran one by one or as a CUDA graph, and what decided."""


def train(
    variant: Variant, network: Network, sizes: Any, settings: Sequence[Setting], budget: Budget, examples: Examples,
    validation: Examples | None = None, on_point: Callable[[int, Tensor], None] = lambda step, loss: None,
    engine: Mode = "auto", nets: dict[int, nn.Module] | None = None, checkpoint: Checkpoint | None = None,
) -> Trained:  # fmt: skip
    """Train a pack on the device where the examples lie.

    A variant with a closed form is fitted instead. A pack of one has no axis of runs; several runs are stacked and
    share each kernel. `on_point(step, loss)` hears of every point of the curve, `loss` `[runs]` on the device.
    `engine`: see `engine.Engine`. `nets`: see `assembled`. `checkpoint`: training goes on from there, and is kept there
    now and then. Raises TooLarge where several runs would not fit into memory at once.
    """
    begin = clock(examples.x.device)
    device, dtype, event_shape = examples.x.device, DTYPES[budget.precision], tuple(examples.x.shape[1:])
    seeds, pack = [s.seed for s in settings], assembled(variant, network, sizes, settings, budget, examples, nets or {})
    hyper = Hyper(variant, settings, pack.stacked, device, dtype)
    if variant.fit is not None:
        return fitted(pack, variant.fit, hyper, sizes, seeds, examples, begin)
    declared = lambda m: variant.noise(m, event_shape, sizes)  # noqa: E731
    feed = Feed(examples, budget.batch, declared(budget.batch), seeds, dtype)
    validated = lambda: blocks(validation or examples, declared, "validation", seeds, dtype)  # noqa: E731
    prepare(pack, feed, hyper, PRODUCTS.get(budget.precision), validated if budget.keep == "best_validation" else None)
    best = Best(pack.state, len(seeds), validation, dtype) if budget.keep == "best_validation" else None
    curve = Curve()
    first, spent = restored(checkpoint, pack, curve, best) if checkpoint is not None else (0, 0.0)
    ready, before = clock(device), {"before": spent} if spent else {}
    chunked, numbers = partial(steps, pack, feed, hyper), numbers_of_threads(pack, feed, hyper)
    loop = Engine(chunked, streams.CHUNK, device, engine, recordable=pack.recordable, threads=numbers)
    stride = -(-(chunks := -(-budget.steps // streams.CHUNK)) // POINTS)
    fill(begun := first // streams.CHUNK, budget.steps, pack, hyper, feed)
    for chunk in range(begun, chunks) if first < budget.steps else ():
        done = chunk * streams.CHUNK
        count = min(streams.CHUNK, budget.steps - done)
        with arithmetic(device, budget.precision, pack.large):
            curve.log.append(loop.run(count))
        if chunk + 1 < chunks:  # while a device is still at work
            fill(chunk + 1, budget.steps, pack, hyper, feed)
        if (chunk + 1) % stride == 0 or chunk == chunks - 1:
            on_point(done + count, curve.point(done + count)[first_loss(variant)])
            if best is not None:
                best.consider(pack, mean_terms(pack, validated(), hyper.at(1.0))["loss"])
        if checkpoint is not None:
            checkpoint.reached(done + count, lambda: spent + clock(device) - ready, lambda: kept(pack, curve, best))
    loop.release()
    curves, state = curve.arrays, pack.state if best is None else best.state
    return Trained(
        runs=Runs(variant, pack.net, sizes, seeds, state, hyper.final),
        curves={"step": np.array(curve.steps), **curves},
        diverged=diverged(curves, curve.steps, pack.state),
        seconds={"compile": ready - begin, "train": spent + clock(device) - ready, **before},
        engine=loop.choice,
    )


def assembled(
    variant: Variant, network: Network, sizes: Any, settings: Sequence[Setting], budget: Budget, examples: Examples,
    nets: dict[int, nn.Module],
) -> Pack:  # fmt: skip
    """The pack before its first step. `nets`: of some seeds, built before; they are taken out, the others are built."""
    device, dtype, event_shape = examples.x.device, DTYPES[budget.precision], tuple(examples.x.shape[1:])
    if variant.check is not None:
        variant.check(sizes, event_shape)
    here: dict[int, nn.Module] = {}
    for seed in dict.fromkeys(setting.seed for setting in settings):
        net = nets.pop(seed) if seed in nets else packing.build(variant, event_shape, network, sizes, seed)
        here[seed] = net.to(device, dtype)
    return Pack(variant, [here[s.seed] for s in settings], [s.descent for s in settings], budget.optimizer)


def fill(chunk: int, total: int, pack: Pack, hyper: Hyper, feed: Feed) -> None:
    """Make ready what the steps of a chunk read, of so many in all; a device reads it after the chunk before."""
    fractions = [step / total for step in range(chunk * streams.CHUNK, (chunk + 1) * streams.CHUNK)]
    pack.fill(fractions)
    hyper.fill(fractions)
    feed.fill(chunk)


def steps(pack: Pack, feed: Feed, hyper: Hyper, count: int) -> Terms:
    """So many steps of the chunk for which they are filled."""
    logged = [pack.step(feed.step(i), hyper.step(i), i) for i in range(count)]
    return {name: torch.stack([terms[name] for terms in logged]) for name in logged[0]}


def prepare(
    pack: Pack, feed: Feed, hyper: Hyper, products: torch.dtype | None,
    validated: Callable[[], Iterable[Batch]] | None = None,
) -> None:  # fmt: skip
    """Check that the losses are pure, record a step, and refuse a pack that would not fit: TooLarge.

    `validated`: the blocks by which it will be validated, if it will. They count beside the memory of a step, as a
    graph does not give that back.
    """
    feed.fill(0)
    batch, hp = feed.step(0), hyper.at(0.0)
    purity.check_pure(pack.variant, pack.net, batch, type(hp)(*(value.reshape(-1)[0] for value in hp)))
    pack.prepare(batch, hp, products)
    free, needed, runs = free_bytes(batch.x.device), pack.bytes + feed.bytes, len(hyper.rows)
    if validated is not None:
        block = next(iter(validated()))
        needed += pack.validating(block, hyper.at(1.0)) + sum(t.nbytes for t in tree_leaves((block.x, block.noise)))
    if runs > 1 and free is not None and needed > ROOM * free:
        raise TooLarge(runs, needed, int(ROOM * free))


def first_loss(variant: Variant) -> str:
    """The name under which the first player's loss is logged."""
    part = next(iter(variant.losses))
    return f"{part}/loss" if part else "loss"


@torch.no_grad()
def mean_terms(pack: Pack, parts: Iterable[Batch], hp: Any) -> dict[str, Tensor]:
    """The first player's loss and its terms over a whole part, each `[runs]`: nats per example."""
    loss, n = next(iter(pack.losses.values())), 0
    sums: dict[str, Tensor] = {}
    for batch in parts:
        count = batch.x.shape[0 if batch.x_dim is None else 1]
        for name, term in pack.call(loss, pack.leaves, batch, hp).items():
            sums[name] = sums.get(name, 0) + term.reshape(-1) * count
        n += count
    return {name: total / n for name, total in sums.items()}


@torch.no_grad()
def fitted(
    pack: Pack, fit: Fit, hyper: Hyper, sizes: Any, seeds: Sequence[int], examples: Examples, begin: float
) -> Trained:
    """What `train` gives for a closed form: no step is taken, and a curve has the one point that was found."""
    variant, device, dtype = pack.variant, examples.x.device, next(pack.net.parameters()).dtype
    event_shape = tuple(examples.x.shape[1:])
    declared = lambda m: variant.noise(m, event_shape, sizes)  # noqa: E731
    ready = clock(device)
    here = Examples(examples.x.cpu(), examples.binarize)  # in float64, which not every device has
    whole = cache(lambda seed: torch.cat([b.x for b in blocks(here, lambda m: {}, "fit", [seed], torch.float64)]))
    for run, seed in enumerate(seeds):
        x = whole(seed if examples.binarize else 0)
        for name, value in fit(pack.net, x, type(hyper.final)(*(value[run] for value in hyper.final))).items():
            pack.parameters[name][run if pack.stacked else ...].copy_(value)
    terms = mean_terms(pack, blocks(examples, declared, "fit", seeds, dtype), hyper.at(1.0))
    curves = {name: term[None].cpu().numpy() for name, term in terms.items()}
    return Trained(
        runs=Runs(variant, pack.net, sizes, list(seeds), pack.state, hyper.final),
        curves={"step": np.array([0]), **curves},
        diverged=diverged(curves, [0], pack.state),
        seconds={"compile": ready - begin, "train": clock(device) - ready},
    )
