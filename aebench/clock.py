"""Time as a GPU allows it to be read, and where it went."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def clock(device: torch.device) -> float:
    """Seconds on a wall clock, read once the device has done what it was asked."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


STAGES = ("data", "compile", "train", "evaluate", "likelihood")
"""What the seconds of a pack are spent on."""


class Ledger:
    """Where the time of some work went: seconds by stage.

    A stage that is opened inside another stops the outer one's clock, and "other" has what lies in no stage: so all
    seconds add up to the time since the ledger was opened (`begin`, or now).
    """

    def __init__(self, begin: float | None = None) -> None:
        self.now: Callable[[], float] = time.perf_counter
        """The clock; a device's own, once there is one that has to be waited for."""
        self._seconds: dict[str, float] = {}
        self._open = ["other"]
        self._last = self.now() if begin is None else begin

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """The time of a `with` block is this stage's, also where it ends in an error."""
        self.read()
        self._open.append(name)
        try:
            yield
        finally:
            self.read()
            self._open.pop()

    def read(self) -> dict[str, float]:
        """Seconds of each stage up to now."""
        now = self.now()
        name = self._open[-1]
        self._seconds[name] = self._seconds.get(name, 0.0) + now - self._last
        self._last = now
        return dict(self._seconds)

    def since(self, before: Mapping[str, float]) -> dict[str, float]:
        """Seconds of each stage since this was `read`; 0 for a stage that was never opened."""
        now = self.read()
        return defaultdict(float, {stage: seconds - before.get(stage, 0.0) for stage, seconds in now.items()})

    def move(self, seconds: float, source: str, target: str) -> None:
        """Say that so much of one stage, which is over, was another."""
        self._seconds[source] = self._seconds.get(source, 0.0) - seconds
        self._seconds[target] = self._seconds.get(target, 0.0) + seconds

    def divide(self, source: str, shares: Mapping[str, float]) -> None:
        """Say that all of a stage, which is over, was these, in proportion; nothing where there are none."""
        whole, seconds = sum(shares.values()), self._seconds.get(source, 0.0)
        for stage, share in shares.items() if whole else ():
            self.move(seconds * share / whole, source, stage)
