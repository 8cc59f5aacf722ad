"""What training a pack takes: examples, their rate, and the FLOPs of a step; and what its losses take, before that."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from aebench import packing, purity
from aebench.data import Dataset
from aebench.errors import InputError
from aebench.feed import Batch, Examples, Feed
from aebench.metrics.cost import flops
from aebench.packing import Pack, Runs
from aebench.train import Budget, Hyper, Setting, Trained
from aebench.variant import Network, Variant
from aebench.workload import Call


def effort(trained: Trained, setting: Setting, examples: Examples, budget: Budget) -> dict[str, float]:
    """Examples that each run of a pack saw, the pack's examples/s, FLOPs of a step; a closed form sees each once."""
    closed = trained.runs.variant.fit is not None
    seen = len(examples.x) if closed else budget.steps * budget.batch
    speed = {"examples": seen, "train_examples_per_s": len(trained.runs.seeds) * seen / trained.seconds["train"]}
    flops = {} if closed else {"flops_train_step": step_flops(trained.runs, setting, examples, budget)}
    return speed | flops


def step_flops(runs: Runs, setting: Setting, examples: Examples, budget: Budget) -> float:
    """FLOPs of one training step of one run, forward and backward, by torch's counter on the step as recorded."""
    batch = first_batch(runs.variant, runs.sizes, setting, examples, budget.batch, runs.dtype)
    hp = Hyper(runs.variant, [setting], False, examples.x.device, runs.dtype).at(0.0)
    pack = Pack(runs.variant, [runs.net.requires_grad_(True)], [setting.descent], budget.optimizer)
    pack.prepare(batch, hp)
    with torch.no_grad():
        return flops(lambda: [step(pack.leaves, batch.x, batch.noise, hp) for step in pack.traced.values()])


def first_batch(
    variant: Variant, sizes: Any, setting: Setting, examples: Examples, size: int, dtype: torch.dtype
) -> Batch:
    """What a run gets at its first step."""
    noise = variant.noise(size, tuple(examples.x.shape[1:]), sizes)
    feed = Feed(examples, size, noise, [setting.seed], dtype)
    feed.fill(0)
    return feed.step(0)


def probe(recipe: tuple[Variant, Network, Any], setting: Setting, dataset: Dataset) -> Call | None:
    """Call the losses on two examples, so that one that is not pure is refused before anything is trained: InputError.

    Gives what they took; None for a closed form, or for what will fail.
    """
    variant, network, sizes = recipe
    examples = Examples(torch.from_numpy(dataset.train.x[:2]), dataset.binarize)
    try:
        net = packing.build(variant, dataset.event_shape, network, sizes, setting.seed)
        batch = first_batch(variant, sizes, setting, examples, 2, torch.float32)
        hp = Hyper(variant, [setting], False, examples.x.device, torch.float32).at(0.0)
        purity.check_pure(variant, net, batch, hp)
        if variant.fit is not None:
            return None
        with Counting() as counted:
            purity.check_pure(variant, net, batch, hp)
    except InputError:
        raise
    except (Exception, SystemExit):
        return None  # a fault of another kind is a run's own: it is recorded when the run is trained
    return Call(counted.operations, counted.flops / 4)  # two runs of two examples


class Counting(TorchDispatchMode):
    """Counts operations and their FLOPs; also of derivatives inside a loss, where torch's own counter gives up."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.flops = 0, 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operations += 1
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out
