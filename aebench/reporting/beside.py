"""Work that only leaves files, done by copies of this process: all cores that are free take part in it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import TracebackType

PATIENCE = 60.0
"""Seconds after which a copy is taken to hang."""


class Beside:
    """As many copies of this process as it has cores, each of which does one piece of work and ends; it does the last.

    A copy (`fork`, as torch's loaders of data make them) has all that was made here, such as figures with functions in
    them, which could not be sent to another process. What a copy does not bring to a good and quiet end is done here
    once more, so that errors and warnings are as without it. Where there is one core, where libraries do not outlive a
    fork (outside Linux), and in a process that may have no others, all is done here at once.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = _cores() if most is None else most
        self._running: dict[int, tuple[BaseProcess, Callable[[], object]]] = {}
        self._last: Callable[[], object] | None = None

    def do(self, work: Callable[[], object]) -> None:
        """Do it by the end of the `with` block; its files may not be there before."""
        if self.most < 2 or multiprocessing.current_process().daemon:
            work()
            return
        if self._last is not None:
            self._copy(self._last)
        self._last = work

    def _copy(self, work: Callable[[], object]) -> None:
        while len(self._running) >= self.most:
            self._collect()
        copy = multiprocessing.get_context("fork").Process(target=_quietly, args=(work,), daemon=True)
        try:
            with warnings.catch_warnings():  # threads are not copied, and what they hold no copy waits for
                warnings.filterwarnings("ignore", ".*fork", DeprecationWarning)
                copy.start()
        except OSError:  # no room for a copy, or too many processes
            work()
        else:
            self._running[copy.sentinel] = copy, work

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None and self._last is not None:
                self._last()
            while self._running and kind is None:
                self._collect()
        finally:
            for copy, _ in self._running.values():
                copy.join(PATIENCE)

    def _collect(self) -> None:
        """Wait for those that end next, and do what they could not."""
        ended = wait(self._running, PATIENCE)
        for sentinel in ended or [*self._running][:1]:
            assert isinstance(sentinel, int)
            copy, work = self._running.pop(sentinel)
            copy.join(PATIENCE if ended else 0)
            if copy.exitcode is None:
                copy.kill()
                copy.join()
            if copy.exitcode:
                work()


def _quietly(work: Callable[[], object]) -> None:
    """Work in a copy, which says nothing, and is not interrupted: the process that it was made of waits for it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    warnings.showwarning = _heard
    with open(os.devnull, "w") as nowhere:
        sys.stdout = sys.stderr = nowhere
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)


def _heard(message: Warning | str, *where: object) -> None:
    """A copy is to be quiet: the process does it again, and warns."""
    raise RuntimeError(message)


def _cores() -> int:
    """The cores that this process may use; 1 where it is not to be copied."""
    if sys.platform != "linux":
        return 1
    from joblib import cpu_count

    return cpu_count()
