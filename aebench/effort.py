"""What training a pack takes: examples, their rate, and the FLOPs of a step."""

from __future__ import annotations

from typing import Any

import torch

from aebench.feed import Batch, Examples, Feed
from aebench.metrics.cost import flops
from aebench.packing import Pack, Runs
from aebench.train import Budget, Hyper, Setting, Trained
from aebench.variant import Variant


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
