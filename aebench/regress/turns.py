"""Two processes that measure two sides at once, of which one at a time works: so both meet the same machine.

On a shared machine times drift by a tenth within seconds, for every benchmark alike. So rounds of both sides
alternate: a round of one, a round of the other. The fixtures of a benchmark, and what comes before its first round
(`Gate` knows it), both do at the same time; all else is for one alone, while the other waits. Two processors differ too
(of a virtual machine one can be slower for a minute), so that where the main thread does all the work of both sides the
rounds are on the same one. Threads that are there already keep the processors that they have.

The two hold the ends of one pair of sockets and tell each other lines of JSON, `[what, benchmark, more]`. One whose
neighbour ends, whatever the reason, goes on alone.

It is a plugin of pytest that is copied beside the measurements, as `events` is: nothing but the standard library here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from socket import socket
from typing import Any

TURNS = "AEBENCH_GATE_TURNS"
"""Names the variable: the descriptor of this process's socket, and 1 for the one that goes first, else 0."""


class Turns:
    """This process's side. Without a socket, and where the neighbour has not the benchmark, nothing waits."""

    ENTRY = "aebench: seconds in turns"
    """Under which name a benchmark's report has its rounds, where they were in turns."""

    def __init__(self, end: socket | None = None, first: bool = True) -> None:
        self.first = first
        self.neighbour: int | None = None
        """Its process id."""
        self.apart = False
        """Whether both have benchmarks in common that come in another order, so that no round is in turn."""
        self._end = end
        self._lines = end.makefile("r", encoding="utf-8") if end is not None else None
        self._shared: set[str] = set()
        self._now: str | None = None
        self._heard: dict[str, Any] = {}
        self._free: set[int] | None = None
        """The processors that the main thread may use but for its rounds, while these are on one."""

    def meet(self, names: Sequence[str]) -> None:
        """Learn which benchmarks both have; where they come in another order, one goes after the other."""
        told = None if self.first else self._read()  # two that both speak first would both wait to be heard
        self._say("has", [os.getpid(), *names])
        told = self._read() if self.first else told
        if told is None:
            return
        self.neighbour, *theirs = told[1]
        self._shared = {*names} & {*theirs}
        if [name for name in names if name in self._shared] != [name for name in theirs if name in self._shared]:
            while not self.first and self._read() is not None:
                pass
            self.apart = True
            self._leave()

    def begin(self, name: str) -> None:
        """A benchmark begins; both may set it up at the same time."""
        self._now, self._heard = name if name in self._shared else None, {}
        self._tell("at")
        self._until("at")

    def alone(self) -> None:
        """Both are set up: what follows is for one alone, so that the second waits until the first lets it in."""
        self._tell("set up")
        self._until("set up")
        if not self.first:
            self._until("free")

    def free(self) -> None:
        """What follows may be done at the same time."""
        if self.first:
            self._tell("free")

    def agree(self, number: int) -> int:
        """The larger of this number and that of the neighbour, who asks in the same place."""
        self.free()
        self._tell("number", number)
        self._until("number")
        return max(number, self._heard.get("number") or number)

    def ready(self, light: bool = False) -> None:
        """The first round is next: wait for the neighbour to be as far, and for this one's turn.

        `light`: the main thread does all the work. Where both say so, both have their rounds on the processor of the
        first.
        """
        self.free()
        own = processors() if light else []
        self._tell("ready", own)
        self._until("ready")
        theirs = self._heard.get("ready") or []
        leading, following = (own, theirs) if self.first else (theirs, own)
        self._keep_to(next((cpu for cpu in leading if cpu in following), None))
        if not self.first:
            self._until("round")

    def swap(self) -> None:
        """A round is over: the neighbour's turn, until it is over too."""
        self._heard.pop("round", None)
        self._tell("round")
        self._until("round")

    def done(self) -> None:
        """No round is left; the neighbour may have some."""
        self._tell("done")
        self._until("done", "left")
        if not self.first:
            self._until("left")
        self._let_loose()

    def end(self) -> None:
        """The benchmark is over, however it ended."""
        self._let_loose()
        self._tell("left")
        self._until("left")
        self._now = None

    def _keep_to(self, cpu: int | None) -> None:
        """This thread, and what it starts, on one processor."""
        if cpu is not None:
            with suppress(OSError):
                self._free = os.sched_getaffinity(0)
                os.sched_setaffinity(0, {cpu})

    def _let_loose(self) -> None:
        if self._free is not None:
            with suppress(OSError):
                os.sched_setaffinity(0, self._free)
            self._free = None

    def _tell(self, what: str, more: object = None) -> None:
        if self._now is not None:
            self._say(what, self._now, more)

    def _until(self, *wanted: str) -> None:
        """Wait until one of these was heard of this benchmark, or nothing more of it will be."""
        wanted = (*wanted, "left") if "round" not in wanted else (*wanted, "done", "left")
        while self._now is not None and not any(what in self._heard for what in wanted):
            told = self._read()
            if told is None:
                self._leave()
            elif told[1] == self._now:
                self._heard[told[0]] = told[2]

    def _say(self, what: str, about: object, more: object = None) -> None:
        if self._end is not None:
            try:
                self._end.sendall((json.dumps([what, about, more]) + "\n").encode())
            except OSError:
                self._leave()

    def _read(self) -> list[Any] | None:
        """The next line; None where the neighbour has ended."""
        try:
            line = self._lines.readline() if self._lines is not None else ""
        except OSError:
            line = ""
        return json.loads(line) if line.endswith("\n") else None  # half a line is one of a process that was ended

    def _leave(self) -> None:
        self._shared, self._now = set(), None


def processors() -> list[int]:
    """Those that this thread may use, the one that it is on first; none where the system does not say."""
    if not hasattr(os, "sched_setaffinity"):
        return []
    usable = sorted(os.sched_getaffinity(0))
    with suppress(OSError, ValueError, IndexError), open("/proc/thread-self/stat", encoding="utf-8") as file:
        now = int(file.read().rpartition(")")[2].split()[36])  # proc(5): the 39th field, of which two come before
        usable.sort(key=lambda cpu: cpu != now)
    return usable


def of_this_process() -> Turns:
    """As the variable says."""
    number, _, first = os.environ.pop(TURNS, "").partition(",")  # for no process but this
    if not number:
        return Turns()
    end = socket(fileno=int(number))
    end.set_inheritable(False)  # what a benchmark starts must not keep it open when this process ends
    os.register_at_fork(after_in_child=lambda: _let_go(int(number)))
    return Turns(end, first == "1")


def _let_go(number: int) -> None:
    """In a forked child: another descriptor takes the place of the socket, which is not to be closed twice."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, number, inheritable=False)
    os.close(null)


turns = of_this_process()


def pytest_collection_finish(session: Any) -> None:
    """Both know what they will run."""
    if not session.config.getoption("collectonly"):
        turns.meet([item.nodeid for item in session.items])


def pytest_runtest_logstart(nodeid: str) -> None:
    """A benchmark begins."""
    turns.begin(nodeid)


def pytest_runtest_call() -> None:
    """Its fixtures are there."""
    turns.alone()


def pytest_runtest_logfinish() -> None:
    """A benchmark is over, whatever came of it."""
    turns.end()
