"""Faults of training: what counts as out of memory, a limit of time, and in what parts a pack goes on."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import current_thread, main_thread

import torch

from aebench.errors import InputError, words
from aebench.packing import Runs
from aebench.train import TooLarge

EXHAUSTED = re.compile(
    r"DefaultCPUAllocator|can't allocate memory|cannot allocate memory|out of memory|ALLOC_FAILED", re.IGNORECASE
)
"""How torch's RuntimeErrors say that memory is exhausted: the allocators of CPU and MPS, cuBLAS and cuDNN."""


LONGEST = 2.0**31 - 1
"""Seconds that a system's timer takes."""


class TimeLimit(Exception):
    """A pack has taken longer than its runs may."""


@contextmanager
def contained() -> Generator[None]:
    """What goes wrong in somebody's code concerns the runs that it was called for, and no others.

    A call of `sys.exit` is a fault like any other. An interrupt of which such code has made a fault is an interrupt
    still. Derivatives are taken afterwards as before: a signal may come while torch is switching them on again.
    """
    derivatives = torch.is_grad_enabled()
    try:
        yield
    except (SystemExit, Exception) as error:
        for one in origins(error):
            if isinstance(one, KeyboardInterrupt):
                raise one from None
        if isinstance(error, SystemExit):
            raise RuntimeError(f"sys.exit({error.code!r}) was called") from error
        raise
    finally:
        torch.set_grad_enabled(derivatives)


def origins(error: BaseException | None) -> Iterator[BaseException]:
    """An error, those that it came from or holds, and so on; each once, as an error may come from itself."""
    todo, seen = [error], set[int]()
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        held: Sequence[BaseException] = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        todo += [*held, one.__context__, one.__cause__]


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that of a device or host without memory."""
    return any(
        isinstance(one, MemoryError | torch.OutOfMemoryError)
        or (isinstance(one, RuntimeError | OSError) and EXHAUSTED.search(words(one)))
        for one in origins(error)
    )


def parts(runs: int, error: Exception) -> int:
    """Into how many parts a pack goes that failed: as many as fit, or halves, or 1 if that would be of no use."""
    if isinstance(error, TooLarge):
        return -(-runs // error.fitting)
    return 1 if runs == 1 or isinstance(error, TimeLimit | InputError) else 2


def halves(runs: Runs) -> list[Runs]:
    """The first and the second half of trained runs."""
    middle = len(runs.seeds) // 2
    return [
        replace(
            runs,
            seeds=runs.seeds[rows],
            state={name: tensor[rows] for name, tensor in runs.state.items()},
            hyper=type(runs.hyper)(*(value[rows] for value in runs.hyper)),
        )
        for rows in (slice(None, middle), slice(middle, None))
    ]


class Limit:
    """A limit of the seconds that a pack of so many runs may train: each run its own, and so the pack their sum."""

    def __init__(self, seconds: float | None, runs: int) -> None:
        self.seconds, self.runs, self.begin, self.watched = seconds, runs, time.monotonic(), False

    def check(self) -> None:
        """TimeLimit where it has passed."""
        if self.seconds is not None and self._left(self.seconds) < 0:
            self._raise()

    def resumes(self, seconds: float) -> None:
        """So much was spent before the process was interrupted."""
        self.begin -= seconds
        self.check()
        if self.watched and self.seconds is not None:
            self._wind(self.seconds)

    @contextmanager
    def watching(self) -> Generator[None]:
        """Interrupts also a step that never ends, where the system can: in the main thread of a POSIX process."""
        if self.seconds is None or current_thread() is not main_thread() or not hasattr(signal, "setitimer"):
            yield
            return
        before = signal.signal(signal.SIGALRM, lambda number, frame: self._raise())
        self.watched = True
        try:
            self._wind(self.seconds)
            yield
        finally:
            self.watched = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _left(self, seconds: float) -> float:
        return self.begin + seconds * self.runs - time.monotonic()

    def _wind(self, seconds: float) -> None:
        """Set the timer to what is left; zero would stop it."""
        signal.setitimer(signal.ITIMER_REAL, min(max(self._left(seconds), 1e-3), LONGEST))

    def _raise(self) -> None:
        each = f"{self.seconds:g} s of training" + (f" for each of the {self.runs} runs" if self.runs > 1 else "")
        raise TimeLimit(f"time limit: {each} have passed")
