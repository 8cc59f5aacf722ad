"""aebench's own `train`, at every precision that its budget knows, and by several processes at once."""

from __future__ import annotations

import atexit
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import pairwise
from multiprocessing import get_context
from threading import Barrier
from typing import Any, get_args, get_type_hints

import torch
from task import LR, Task

from aebench.device import exact, keep_memory
from aebench.feed import Examples
from aebench.optim import Descent
from aebench.plugins import resolve
from aebench.train import Budget, Setting, train
from aebench.variants import VARIANTS


def precisions() -> list[str]:
    """Those of a budget that are for speed."""
    return [name for name in get_args(get_type_hints(Budget)["precision"]) if name != "fp64"]


def seconds(task: Task, precision: Any = "fp32", first: int = 0) -> float:
    """Of all runs of the task in one pack, each with a seed and a β of its own.

    A step is recorded once before the first; that is compilation, and not counted.
    """
    vae = resolve(VARIANTS, "variants", "vae")
    settings = [Setting(i, {"beta": 1.0 / (i + 1)}, Descent(lr=LR)) for i in range(first, first + task.runs)]
    budget = Budget(task.steps, task.batch, precision=precision)
    with exact(task.x.device):
        trained = train(vae, task.network, vae.sizes(latent=task.latent), settings, budget, Examples(task.x))
    return trained.seconds["train"]


def by_processes(number: int, task: Task) -> float:
    """The same by so many processes, each with its part of the runs and one thread, as `aebench run --processes` does.

    There are no more of them than runs. From the begin of the first training to the end of the last, by the clock that
    they share.
    """
    pool, ends = processes(number), [task.runs * i // number for i in range(number + 1)]
    parts = [pool.submit(part, replace(task, runs=b - a), a) for a, b in pairwise(ends)]
    times = [future.result() for future in parts]
    return max(end for _, end in times) - min(begin for begin, _ in times)


@cache
def processes(number: int) -> ProcessPoolExecutor:
    """They stay until this process ends."""
    context = get_context("spawn")
    pool = ProcessPoolExecutor(number, context, together, (context.Barrier(number),))
    atexit.register(pool.shutdown)
    return pool


TOGETHER: list[Barrier] = []
"""In one of several processes: where they wait for each other."""


def together(barrier: Barrier) -> None:
    """What such a process does first."""
    torch.set_num_threads(1)
    keep_memory()
    TOGETHER.append(barrier)


def part(task: Task, first: int) -> tuple[float, float]:
    """Begin and end of the training of some runs, once all processes are there."""
    TOGETHER[0].wait(60)
    took = seconds(task, first=first)
    end = time.perf_counter()
    return end - took, end
