"""Several processes that train packs of one suite at once, each on its part of a CPU's cores.

A step of small nets is too short to be shared by threads, so that one process leaves most of a machine idle. Each
process of a crew trains, measures and stores packs of its own, as one that is alone would; the process that has called
them claims the packs, hands them out, and trains none. What the crew does not bring to an end is left to it.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import NamedTuple, Self

from aebench.claims import Claims
from aebench.clock import Ledger
from aebench.device import cores
from aebench.errors import InputError
from aebench.stopping import Safety, Stop, Stopped
from aebench.store import Store
from aebench.suite import Run, Suite, asked_for, packs, parse, shape_id

LEAST = 8
"""Runs of a pack that is divided between processes: with fewer a run costs more in each than is gained by several."""
PATIENCE = 60.0
"""Seconds for all of them to keep what they have, when they are to end."""
MOST = 61 if sys.platform == "win32" else 2**15
"""Processes that a system can wait for."""
WORTH = 120.0
"""Seconds of work, as `workload` guesses them, from which on several processes are spoken of."""
LOOK = 1.0
"""Seconds between two looks at whether the user wants to end, where a system does not interrupt what waits."""


@dataclass(frozen=True)
class Orders:
    """What each process of a crew is told at its begin; all of it can be sent to another process."""

    processes: int
    folder: Path
    """Of the results."""
    name: str
    text: str
    arguments: tuple[str, ...]
    """The suite: as `Suite` has them."""
    allow_code: bool = False
    every: float = 300.0
    """Seconds between two checkpoints."""

    @classmethod
    def of(cls, suite: Suite, processes: int, folder: Path, allow_code: bool, safety: Safety) -> Self:
        """For the packs of this suite."""
        return cls(processes, folder, suite.name, suite.text, suite.arguments, allow_code, safety.every)


class Brought(NamedTuple):
    """What a process says of a pack that it has trained."""

    trained: int
    """Runs."""
    stored: list[str]
    """The ids of those whose documents it has stored, now."""
    seconds: dict[str, float]
    """By stage, since it said so before."""
    said: list[str]
    """What the user should hear."""


class Crew:
    """The processes, from the one that has called them. A `with` block that ends in an error ends what they do."""

    def __init__(self, orders: Orders, say: Callable[[str], None]) -> None:
        self.size, self.say = min(orders.processes, MOST), say
        self.pool = ProcessPoolExecutor(self.size, get_context("spawn"), _begin, (orders,))
        self.others = set(active_children())
        self.broken = False
        self.rest: list[list[Run]] = []
        """Packs that the crew has not trained: others have claimed them, or it could not."""
        self.held: set[str] = set()
        """What is claimed for the latter. It may be given back when the processes have ended, not before."""
        self.seconds: Counter[str] = Counter()
        """What all of them have spent so far, by stage."""

    def share(
        self, wanted: Sequence[list[Run]], key: Callable[[list[Run]], str], left: Callable[[list[Run]], list[Run]],
        claims: Claims,
    ) -> Iterator[tuple[list[Run], Brought | None]]:  # fmt: skip
        """Each pack as it is brought back; None where nothing was `left` of it once it was claimed under its `key`."""
        todo, at_work = list(wanted), dict[Future[Brought], list[Run]]()
        while todo or at_work:
            while todo and len(at_work) < self.size:
                pack = todo.pop(0)
                busy = self.held | {key(one) for one in at_work.values()}
                if self.broken or not (key(pack) in busy or claims.take(key(pack))):
                    self.rest.append(pack)
                elif runs := left(pack):
                    at_work[self._asked(runs)] = pack
                else:
                    yield pack, None
                    if key(pack) not in busy:
                        claims.release(key(pack))
            for future in wait(at_work, LOOK, FIRST_COMPLETED).done:
                pack, error = at_work.pop(future), future.exception()
                if error is None:
                    brought = future.result()
                    self.seconds.update(brought.seconds)
                    yield pack, brought
                else:
                    self.rest.append(pack)
                    self.held.add(key(pack))
                    self._fails(error)
                if key(pack) not in self.held | {key(one) for one in at_work.values()}:
                    claims.release(key(pack))

    def _asked(self, runs: list[Run]) -> Future[Brought]:
        try:
            return self.pool.submit(_trained, runs)
        except BrokenProcessPool as error:
            failed = Future[Brought]()
            failed.set_exception(error)
            return failed

    def _fails(self, error: BaseException) -> None:
        if not self.broken:
            self.say(f"trained here instead of by a process of the crew: {error or type(error).__name__}")
        self.broken = self.broken or isinstance(error, BrokenProcessPool)

    def __enter__(self) -> Self:
        """All begin now, before anything is claimed: there may be no room for them."""
        try:
            with _interrupts_ignored():
                for _ in range(self.size):
                    self.pool.submit(os.getpid)
        except OSError as error:
            self._fails(BrokenProcessPool(str(error)))
            self._end(0)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            if kind is not None:
                if issubclass(kind, KeyboardInterrupt):
                    self.say("stopping as soon as what is done is kept; once more stops at once")
                self._end(PATIENCE)
        finally:
            if kind is not None:
                self._end(0)
            self.pool.shutdown(cancel_futures=True)

    def _end(self, patience: float) -> None:
        """End the processes: with so many seconds to keep what they have."""
        hands, until = [one for one in active_children() if one not in self.others], time.monotonic() + patience
        for one in hands:
            (one.terminate if patience else one.kill)()
        for one in hands if patience else ():
            one.join(max(0.0, until - time.monotonic()))


@contextmanager
def _interrupts_ignored() -> Generator[None]:
    """By this process for the moment, and by those that begin in it for ever: who has called them passes them on."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def check(processes: int, device: str) -> None:
    """Refuse what cannot be had: InputError."""
    if processes > 1 and device != "cpu":
        raise InputError(f"--processes {processes}: several share the cores of a CPU; the device is {device}")
    if processes > 1 and parent_process() is not None:
        raise InputError(f"processes {processes}: this one was begun by another process, and begins none")


def advice(
    wanted: Sequence[list[Run]], runs: Sequence[Run], guess: Callable[[list[Run]], float], device: str
) -> str | None:
    """What to say to who waits for one process, where several would be much faster; see `for_several`."""
    if device != "cpu" or cores() < 2 or sum(map(guess, wanted)) < WORTH:
        return None
    parts = len(for_several(wanted, runs, cores(), guess))
    several = f"--processes {min(cores(), parts)}"
    return f"one process trains; {several} would share {parts} packs between as many cores" if parts > 1 else None


def for_several(
    wanted: Sequence[list[Run]], runs: Sequence[Run], processes: int, guess: Callable[[list[Run]], float]
) -> list[list[Run]]:
    """Packs as several processes train them: divided where a suite has few, the long ones first.

    Of a pack these are always the same parts, whatever of it is done already: `runs` are all of the suite.
    """
    whole = {shape_id(pack[0]): pack for pack in packs(runs)}
    number = -(-processes // len(whole))
    parts = [part for pack in wanted for part in divided(pack, whole[shape_id(pack[0])], number)]
    return sorted(parts, key=guess, reverse=True)


def divided(pack: list[Run], whole: Sequence[Run], number: int) -> list[list[Run]]:
    """What is wanted of each of so many even parts of a whole pack, or of fewer, as each is to have `LEAST` runs."""
    number, ids = max(1, min(number, len(whole) // LEAST)), {run.id for run in pack}
    ends = [len(whole) * i // number for i in range(number + 1)]
    parts = [[run for run in whole[begin:end] if run.id in ids] for begin, end in pairwise(ends)]
    return [part for part in parts if part]


class Hand:
    """One process of a crew."""

    def __init__(self, orders: Orders) -> None:
        ledger = Ledger()
        with ledger.stage("set-up"):
            import torch

            from aebench.device import exact
            from aebench.keeper import Keeper
            from aebench.work import Worker

            torch.set_num_threads(max(1, min(torch.get_num_threads(), cores()) // orders.processes))
            suite = parse(orders.text, orders.name, allow_code=orders.allow_code, **asked_for(orders.arguments))
            cpu, self.said, self.store, self.stop = torch.device("cpu"), list[str](), Store(orders.folder), Stop()
            self.worker = Worker(
                orders.name, cpu, suite.metrics, suite.keep_weights, orders.allow_code, ledger,
                validated=suite.validated, determinism=suite.determinism, processes=orders.processes,
            )  # fmt: skip
            safety = Safety(orders.every, self.stop)
            self.worker.keeper = Keeper(orders.folder, safety, self.said.append, suite.time_limit)
            until_the_end = ExitStack()
            until_the_end.enter_context(exact(cpu, suite.determinism, self.said.append))
            atexit.register(until_the_end.close)
        self.told: dict[str, float] = {}

    def train(self, pack: list[Run]) -> Brought:
        """Train, measure and store a pack."""
        worker = self.worker
        worker.holding.expect([pack])
        worker.holding.let_go()
        published = list(worker.train(pack, lambda step, loss: None))
        with worker.ledger.stage("write"):
            documents = worker.keeper.publish(published, self.store)
        before, self.told = self.told, worker.ledger.read()
        said = self.said.copy()
        self.said.clear()
        seconds = {stage: s - before.get(stage, 0.0) for stage, s in self.told.items() if stage != "other"}
        return Brought(len(published), [document["id"] for document in documents], seconds, said)

    def hear(self, number: int, frame: object) -> None:
        """A signal has come. While something is being kept, those that follow change nothing."""
        if not self.stop.waited:
            os._exit(128 + number)
        self.stop.asked = number


HERE: list[Hand] = []
"""The one that this process is, if it is one."""


def _begin(orders: Orders) -> None:
    """What a process of a crew does first. It ends with the one that has called it, whatever ends that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_ends_with_caller, name="aebench-crew", daemon=True).start()
    HERE.append(hand := Hand(orders))
    signal.signal(signal.SIGTERM, hand.hear)


def _ends_with_caller() -> None:
    caller = parent_process()
    assert caller is not None
    caller.join()
    os._exit(128 + signal.SIGTERM)


def _trained(pack: list[Run]) -> Brought:
    try:
        return HERE[0].train(pack)
    except Stopped as stopped:
        os._exit(stopped.code)
