"""How fast the loop goes on this machine, and how many runs are to train at once."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aebench.clock import clock
from aebench.device import KEPT_BLOCK
from aebench.engine import Mode
from aebench.errors import InputError
from aebench.faults import contained
from aebench.feed import Examples, Hyper
from aebench.streams import CHUNK
from aebench.train import DTYPES, Budget, Setting, TooLarge, train
from aebench.variant import Network, Shape, Variant

SETTLED = {"cpu": 3 * CHUNK, "mps": CHUNK, "cuda": 4 * CHUNK}
"""Steps of a call before time is taken: memory warms up, and the loop tries what is faster: on a CPU one thread or all,
on CUDA step by step or a graph."""
ASKED = 2 * CHUNK
"""Steps that are timed to choose a size."""
LEAST = 16
"""Runs of the smallest pack that is tried."""
GAIN = 0.05
"""How much cheaper a run has to get for the pack to be twice as large."""
WORTH = 0.02
"""Of the time that training will take, what may be spent on the choice."""

PACKED = {"connected": 1_000_000, "convolutional": 30_000}
"""Parameters up to which a net is trained in a pack on a CPU.

Measured by tests/benchmarks/training.py, four runs packed against one by one, each at its best number of threads:
fully connected nets gain 2.5 at 10 thousand parameters, 1.72 at 238 thousand, 1.59 [1.34, 1.70] at 540 thousand and
nothing certain at 1.3 million (1.11 [.87, 1.30]); eight of 0.82 million take 4.6 steps of the lean loop, one by one
5.9. Convolutional ones gain 1.83 at 24 thousand and lose .90 at 56 thousand.
"""
ONE_THREAD = {"connected": 100_000, "convolutional": 30_000}
"""Parameters up to which a net is measured with one thread."""


class Sample(NamedTuple):
    """Seconds of a run-step (of the pack's step, over its runs), and of recording the step before the first."""

    seconds: float
    compile: float
    engine: str = "eager"
    threads: int = 0


def sample(
    variant: Variant, network: Network, sizes: Any, settings: Sequence[Setting], budget: Budget, examples: Examples,
    engine: Mode = "auto",
) -> Sample:  # fmt: skip
    """Train a pack and time `budget.steps` steps, `SETTLED` ones having gone before; what it learnt is lost.

    A chunk comes after them, as the last draws no batches for another.

    One sample a training: neighbours in one share what its memory and threads happened to be, so that they would say
    less than as many samples should.
    """
    settled, marks = SETTLED[examples.x.device.type], dict[int, float]()

    def mark(step: int, loss: torch.Tensor) -> None:
        marks[step] = clock(examples.x.device)

    longer = replace(budget, steps=settled + budget.steps + CHUNK, keep="last")
    trained = train(variant, network, sizes, settings, longer, examples, on_point=mark, engine=engine)
    took, chosen = marks[settled + budget.steps] - marks[settled], trained.engine
    return Sample(
        took / (budget.steps * len(settings)), trained.seconds["compile"],
        chosen.get("engine", "eager"), chosen.get("threads", torch.get_num_threads()),
    )  # fmt: skip


def splits(runs: int) -> dict[int, int]:
    """`{runs of the largest part: parts}` as so many runs are halved again and again, the smallest first."""
    numbers = [2**i for i in range(runs.bit_length()) if -(-runs // 2**i) >= LEAST]
    return {-(-runs // number): number for number in reversed(numbers)}


def parts(runs: int, steps: int, settled: int, sampled: Callable[[int], Sample]) -> tuple[int, dict[int, Sample]]:
    """Into how many even parts to split so many runs that will make `steps` steps, and what was measured by size.

    Sizes double for as long as a run gets `GAIN` cheaper: its steps, and its part of recording them; a size that does
    not fit into memory ends that too. Where asking would cost more than `WORTH` of the training, all stay together.
    """
    numbers, found = splits(runs), dict[int, Sample]()
    if len(numbers) < 2 or (settled + ASKED) * min(numbers) > WORTH * runs * steps:  # the first would cost too much
        return 1, found
    cost: dict[int, float] = {}
    for size in numbers:
        try:
            one = found[size] = sampled(size)
        except (TooLarge, torch.OutOfMemoryError):
            break
        cost[size] = one.compile / size + steps * one.seconds
        best, *before = sorted(cost, reverse=True)
        if before and cost[best] > (1 - GAIN) * cost[before[0]]:
            return numbers[before[0]], found
        asking = sum(one.compile + (settled + ASKED) * later * one.seconds for later in numbers if later > size)
        if asking > WORTH * runs * steps * one.seconds:
            return 1, found
    return numbers[max(cost)] if cost else 1, found


def together(
    recipe: tuple[Variant, Network, Any], settings: Sequence[Setting], budget: Budget, examples: Examples, engine: Mode
) -> tuple[int, Mapping[str, Any]]:
    """`parts` of a real pack, measured on the device of the examples; and what a document says of it.

    On a CPU nothing is measured, and what trains together depends on the suite alone: as many runs as leave each tensor
    of a step within a block of memory that the process keeps. Within it a run costs the same in packs of 16 to 64
    (0.52, 0.50 and 0.52 ms a step of 784-32-32), of 256 beyond it 1.7 times as much as of 128
    (tests/benchmarks/pack_size.py).
    """
    device = examples.x.device
    if recipe[0].fit is not None:
        return 1, {}
    if device.type == "cpu":
        block = (
            largest(*recipe, settings[0], budget.batch, tuple(examples.x.shape[1:])) * DTYPES[budget.precision].itemsize
        )
        return min(len(settings), -(-len(settings) * block // KEPT_BLOCK)), {}
    asked = replace(budget, steps=ASKED)
    time = lambda size: sample(*recipe, settings[:size], asked, examples, engine)  # noqa: E731
    try:
        with contained():
            number, found = parts(len(settings), budget.steps, SETTLED[device.type], time)
    except InputError:
        raise
    except Exception:  # a run's own fault, which is met again, and recorded, where it is trained
        return 1, {}
    said = {str(size): {"seconds": one.seconds, "compile": one.compile} for size, one in found.items()}
    return number, {"pack_size": said} if said else {}


def largest(variant: Variant, network: Network, sizes: Any, setting: Setting, batch: int, event_shape: Shape) -> int:
    """Numbers in the largest tensor of a run's step: a parameter, the batch, or what a loss computes from it."""
    meta, numbers = torch.device("meta"), [batch * math.prod(event_shape)]
    with contextlib.suppress(Exception, SystemExit):  # which is met again, and recorded, where the run is trained
        with meta:
            net = variant.build(event_shape, network, sizes)
        numbers += [parameter.numel() for parameter in net.parameters()]
        noise = variant.noise(batch, event_shape, sizes)
        draws = {name: torch.empty(spec.shape, device=meta) for name, spec in noise.items()}
        hp = Hyper(variant, [setting], False, meta, torch.float32).at(0.0)
        with ResultSizes(numbers), meta:
            for loss in variant.losses.values():
                loss(net, torch.empty(batch, *event_shape, device=meta), draws, hp)
    return max(numbers)


class ResultSizes(TorchDispatchMode):
    """Notes how many numbers each result of an operation has."""

    def __init__(self, numbers: list[int]) -> None:
        super().__init__()
        self.numbers = numbers

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.numbers += [leaf.numel() for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)]
        return found


def small(variant: Variant, network: Network, sizes: Any, event_shape: Shape, limits: Mapping[str, int]) -> bool:
    """Whether a net has no more parameters than the limit of its kind, such as `PACKED`."""
    try:
        with torch.device("meta"):
            parameters = list(variant.build(event_shape, network, sizes).parameters())
    except (Exception, SystemExit):
        return False  # what cannot be built fails when it is trained, alone and on record
    kind = "connected" if all(p.ndim <= 2 for p in parameters) else "convolutional"
    return sum(p.numel() for p in parameters) <= limits[kind]
