"""Time taken of the training loop: samples of pack sizes that alternate, and the interval of their median."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import bdtr

from aebench import packing
from aebench.pace import Sample, sample
from aebench.packing import Runs
from aebench.roofline import Floor, Machine, floor, machine
from aebench.specification import budget_of, recipe, setting_of
from aebench.streams import CHUNK
from aebench.suite import Run
from aebench.work import Worker

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


Time = Callable[[Case, int], Sample]
"""(case, runs of the pack) -> one sample, of a training of its own."""


class Median(NamedTuple):
    """The median of `n` values and its interval; NaN bounds where they are too few."""

    median: float
    low: float
    high: float
    n: int


def median_interval(values: ArrayLike, level: float = 0.95) -> Median:
    """The median and the interval between two order statistics that covers it with probability `level` or more.

    It assumes independence alone, as times have a long tail: P(x_(k) < median < x_(n+1-k)) = 1 - 2 P(Bin(n, 1/2) < k).
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

    def __call__(self, case: Case, size: int) -> Sample:
        """One sample of the first `size` runs of a case."""
        self.worker.free_threads()
        dataset, settings = self.worker.holding.dataset(case.spec), [setting_of(run.spec) for run in case.runs[:size]]
        examples = self.worker.holding.examples(dataset, dataset.train)
        return sample(*recipe(case.spec, self.allow_code), settings, budget_of(case.spec), examples)

    def floor(self, case: Case) -> Floor:
        """What a step of one run of a case must do."""
        variant, network, sizes = recipe(case.spec, self.allow_code)
        dataset, setting, budget = self.worker.holding.dataset(case.spec), setting_of(case.spec), budget_of(case.spec)
        net = packing.build(variant, dataset.event_shape, network, sizes, setting.seed).to(self.device)
        runs = Runs(variant, net, sizes, [setting.seed], {}, None)
        return floor(runs, setting, self.worker.holding.examples(dataset, dataset.train), budget)

    def machine(self, case: Case) -> Machine:
        """The machine with as many threads as a case has."""
        self.worker.free_threads()
        threads = torch.get_num_threads()
        if threads not in self.machines:
            self.machines[threads] = machine(self.device, case.spec["train"]["precision"])
        return self.machines[threads]


def interleaved(case: Case, sizes: Sequence[int], repeats: int, time: Time) -> dict[int, list[Sample]]:
    """So many samples of each pack size, in turn, forwards and backwards.

    The i-th samples of two sizes are neighbours in time: pairs.
    """
    found: dict[int, list[Sample]] = {size: [] for size in sizes}
    for i in range(repeats):
        for size in sizes if i % 2 == 0 else reversed(sizes):
            found[size].append(time(case, size))
    return found
