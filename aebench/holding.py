"""The data sets of the packs to come, on the host and on the device; what no later pack needs is let go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aebench import data
from aebench.clock import Ledger
from aebench.data import Dataset, Part
from aebench.feed import Examples
from aebench.metrics.moments import Moments
from aebench.suite import Run


class Holding:
    """Data sets, loaded once; their parts on the device, and the moments of their training parts."""

    def __init__(self, device: torch.device, allow_code: bool, ledger: Ledger) -> None:
        self.device, self.allow_code, self.ledger = device, allow_code, ledger
        self.datasets: dict[str, Dataset] = {}
        self.loading: dict[str, float] = {}
        """Seconds that loading took; charged to the first pack."""
        self.resident: dict[int, Tensor] = {}
        self.moments: dict[int, Moments] = {}
        self.packs: Counter[str] = Counter()
        """Packs to come, by their data."""

    def dataset(self, spec: Mapping[str, Any]) -> Dataset:
        """The data of a run."""
        key = str(spec["data"])
        if key not in self.datasets:
            before = self.ledger.read()
            with self.ledger.stage("data"):
                self.datasets[key] = data.load(spec["data"], allow_code=self.allow_code)
            self.loading[key] = self.ledger.since(before)["data"]
        return self.datasets[key]

    def examples(self, dataset: Dataset, part: Part) -> Examples:
        """A part on the device; what lies there already is not moved again."""
        if id(part) not in self.resident:
            self.resident[id(part)] = torch.from_numpy(part.x).to(self.device)
        return Examples(self.resident[id(part)], dataset.binarize)

    def moments_of(self, dataset: Dataset) -> Moments:
        """The moments of a training part."""
        training = dataset.train
        return self.moments.setdefault(id(training), Moments(training.x, dataset.binarize))

    def expect(self, packs: Iterable[Sequence[Run]]) -> None:
        """These packs will come, each once."""
        self.packs = Counter(str(pack[0].spec["data"]) for pack in packs)

    def through(self, pack: Sequence[Run]) -> None:
        """A pack that was expected has been."""
        self.packs.subtract([str(pack[0].spec["data"])])
        self.let_go()

    def let_go(self) -> None:
        """Drop data sets that no pack to come needs; they are loaded again if one does."""
        needed = +self.packs
        for key in [key for key in self.datasets if key not in needed]:
            gone = self.datasets.pop(key)
            self.loading.pop(key, None)
            for part in (gone.train, gone.validation, gone.test):
                self.resident.pop(id(part), None)
                self.moments.pop(id(part), None)
