"""Time taken of the training loop: samples of pack sizes that alternate, and the interval of their median."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import bdtr

from aebench import packing
from aebench.clock import clock
from aebench.packing import Runs
from aebench.roofline import Floor, Machine, floor, machine
from aebench.specification import budget_of, recipe, setting_of
from aebench.streams import CHUNK
from aebench.suite import Run
from aebench.train import train
from aebench.work import Worker

SETTLED = {"cpu": 3 * CHUNK, "mps": CHUNK, "cuda": 4 * CHUNK}
"""Steps of a call before time is taken: memory warms up, and the loop tries what is faster: on a CPU one thread or all,
on CUDA step by step or a graph."""
PER_CALL = 3
"""Samples of a call in a row: recording the step may take as long as they do."""
MOST = 32 * CHUNK
"""Steps of a sample, at most, so that the loop tells of each chunk."""


class Case(NamedTuple):
    """One variant on one network: the runs of its largest pack, which differ in their seed alone."""

    runs: tuple[Run, ...]

    @property
    def spec(self) -> dict[str, Any]:
        """What they share."""
        return self.runs[0].spec

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.spec['variant']} on {network_label(self.spec['network'])}"


class Sample(NamedTuple):
    """Seconds of a run-step (of the pack's step, over its runs), and of recording the step before the first."""

    seconds: float
    compile: float
    engine: str = "eager"
    threads: int = 0


Time = Callable[[Case, int], list[Sample]]
"""(case, runs of the pack) -> `PER_CALL` samples."""


class Median(NamedTuple):
    """The median of `n` values and its interval; NaN bounds where they are too few."""

    median: float
    low: float
    high: float
    n: int


def median_interval(values: ArrayLike, level: float = 0.95) -> Median:
    """The median and the interval between two order statistics that covers it with probability `level` or more.

    It assumes independence alone (of the samples of one call, which are neighbours in time, that is not quite so), as
    times have a long tail: P(x_(k) < median < x_(n+1-k)) = 1 - 2 P(Bin(n, 1/2) < k).
    Six values are the fewest that give 95 %, and then it is their range. David and Nagaraja (2003), Order
    statistics, section 7.1.
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    outside = 2 * bdtr(np.arange(len(x)), len(x), 0.5)  # [k - 1]: P that x_(k) .. x_(n+1-k) misses the median
    k = int((outside <= 1 - level).sum())
    low, high = (float(x[k - 1]), float(x[len(x) - k])) if k else (np.nan, np.nan)
    return Median(float(np.median(x)), low, high, len(x))


def network_label(network: Mapping[str, Any]) -> str:
    """`mlp 64-64`: a kind and its widths."""
    widths = ["-".join(map(str, value)) for value in network.values() if isinstance(value, list) and value]
    return " ".join([network["kind"], *widths])


class Stopwatch:
    """Times the loop on one device. `machines`: what the device reaches, by threads; filled as it is asked for."""

    def __init__(
        self, device: torch.device, allow_code: bool = False, machines: dict[int, Machine] | None = None
    ) -> None:
        self.device, self.allow_code = device, allow_code
        self.worker = Worker("bench", device, (), False, allow_code)
        self.machines = {} if machines is None else machines

    def __call__(self, case: Case, size: int) -> list[Sample]:
        """Train the first `size` runs of a case; a sample is the time between two points of the curve."""
        self.worker.free_threads()
        dataset, budget = self.worker.dataset(case.spec), budget_of(case.spec)
        examples, settled = self.worker.examples(dataset, dataset.train), SETTLED[self.device.type]
        marks: dict[int, float] = {}

        def mark(step: int, loss: torch.Tensor) -> None:
            marks[step] = clock(self.device)

        trained = train(
            *recipe(case.spec, self.allow_code), [setting_of(run.spec) for run in case.runs[:size]],
            replace(budget, steps=settled + PER_CALL * budget.steps), examples, on_point=mark,
        )  # fmt: skip
        times = [marks[settled + i * budget.steps] for i in range(PER_CALL + 1)]
        compile, chosen = trained.seconds["compile"], trained.engine
        how = compile, chosen.get("engine", "eager"), chosen.get("threads", torch.get_num_threads())
        return [Sample((end - begin) / (budget.steps * size), *how) for begin, end in pairwise(times)]

    def floor(self, case: Case) -> Floor:
        """What a step of one run of a case must do."""
        variant, network, sizes = recipe(case.spec, self.allow_code)
        dataset, setting, budget = self.worker.dataset(case.spec), setting_of(case.spec), budget_of(case.spec)
        net = packing.build(variant, dataset.event_shape, network, sizes, setting.seed).to(self.device)
        runs = Runs(variant, net, sizes, [setting.seed], {}, None)
        return floor(runs, setting, self.worker.examples(dataset, dataset.train), budget)

    def machine(self, case: Case) -> Machine:
        """The machine with as many threads as a case has."""
        self.worker.free_threads()
        threads = torch.get_num_threads()
        if threads not in self.machines:
            self.machines[threads] = machine(self.device, case.spec["train"]["precision"])
        return self.machines[threads]


def interleaved(case: Case, sizes: Sequence[int], repeats: int, time: Time) -> dict[int, list[Sample]]:
    """So many samples of each pack size, call by call in turn, forwards and backwards.

    The i-th samples of two sizes are neighbours in time: pairs.
    """
    found: dict[int, list[Sample]] = {size: [] for size in sizes}
    for call in range(-(-repeats // PER_CALL)):
        for size in sizes if call % 2 == 0 else reversed(sizes):
            found[size] += time(case, size)
    return {size: samples[:repeats] for size, samples in found.items()}
