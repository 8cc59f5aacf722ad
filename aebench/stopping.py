"""SIGTERM and Ctrl-C: work that can be gone on with is brought to a point from which it can.

A signal ends what the process is doing at once, but for two things: training, which ends with the chunk of steps that
it is in and leaves a checkpoint, and the writing of results, which comes to its end. A second signal ends these too.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import current_thread, main_thread

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(KeyboardInterrupt):
    """The process was asked to end by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number
        """What a shell expects as the exit code."""


CHECKPOINTS = ".checkpoints"
"""The folder of checkpoints, in that of the results."""
EVERY = 300.0
"""Seconds between two checkpoints of a pack."""


class Stop:
    """Whether the process was asked to end."""

    def __init__(self, told: Callable[[str], None] = lambda line: None) -> None:
        self.told = told
        self.asked = self.waited = 0

    @contextmanager
    def listening(self) -> Generator[None]:
        """Signals end the process as said above while the `with` block runs; only the main thread can hear them."""
        if current_thread() is not main_thread():
            yield
            return
        before = {number: signal.signal(number, self.hear) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def hear(self, number: int, frame: object) -> None:
        """A signal has come."""
        if self.asked or not self.waited:
            raise Stopped(number)
        self.asked = number
        if number == signal.SIGINT:
            with suppress(RuntimeError):  # the signal may have come while a line was being written
                self.told("stopping as soon as what is done is kept; once more stops at once")

    def check(self) -> None:
        """End here, where that was asked for: Stopped."""
        if self.asked:
            raise Stopped(self.asked)

    @contextmanager
    def later(self) -> Generator[None]:
        """The first signal waits for the end of the `with` block, or for a `check` in it."""
        self.waited += 1
        try:
            yield
        finally:
            self.waited -= 1
        if not self.waited:
            self.check()


@dataclass
class Safety:
    """What becomes of a training that is interrupted: the seconds between two checkpoints, and who may ask to end."""

    every: float = EVERY
    stop: Stop = field(default_factory=Stop)
