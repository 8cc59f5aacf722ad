"""aebench's own `train`, at every precision that its budget knows."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

from task import LR, Task

from aebench.device import exact
from aebench.feed import Examples
from aebench.optim import Descent
from aebench.plugins import resolve
from aebench.train import Budget, Setting, train
from aebench.variants import VARIANTS


def precisions() -> list[str]:
    """Those of a budget that are for speed."""
    return [name for name in get_args(get_type_hints(Budget)["precision"]) if name != "fp64"]


def seconds(task: Task, precision: Any = "fp32") -> float:
    """Of all runs of the task in one pack, each with a seed and a β of its own.

    A step is recorded once before the first; that is compilation, and not counted.
    """
    vae = resolve(VARIANTS, "variants", "vae")
    settings = [Setting(i, {"beta": 1.0 / (i + 1)}, Descent(lr=LR)) for i in range(task.runs)]
    budget = Budget(task.steps, task.batch, precision=precision)
    with exact(task.x.device):
        trained = train(vae, task.network, vae.sizes(latent=task.latent), settings, budget, Examples(task.x))
    return trained.seconds["train"]
