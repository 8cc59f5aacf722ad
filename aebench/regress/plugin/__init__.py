"""A pytest plugin: the fixture `gate`, by which a benchmark says more than its time.

    def test_step(benchmark, gate):
        gate.counters(step)
        gate.exact("loss", loss())
        gate(step)

It imports nothing of aebench, and torch only to count: `aebench compare` lays a copy of this folder into environments
that have an older aebench, or none. What it writes goes into pytest-benchmark's `extra_info`: see `regress.reading`.
"""

from __future__ import annotations

import gc
import math
import os
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any, Literal

import pytest

from .garbage import new_only
from .gpu import reader
from .watching import Watch, living, resident

SECONDS = 0.5
"""How long `gate(step)` takes time, about."""
ROUND = 1e-3
"""Seconds that a round takes at least; a shorter step is repeated in it."""
FEWEST = 5
"""Rounds that it takes at least; of fewer the growth of the process says nothing."""
TURNS = "aebench_gate_turns"
"""The plugin of the processes that `aebench compare` starts; see `regress.turns`."""
OTHERS = (5e-3, 3e-3)
"""Seconds, and seconds in a second, that other threads may work before a benchmark needs more than one processor: the
watch is one."""
UNIT = 2**23
"""Bytes in which growth of the process is told: coarse, so that it has no noise."""


class Gate:
    """What a benchmark says of itself."""

    def __init__(self, benchmark: Any, turns: Any = None) -> None:
        self.benchmark, self.extra = benchmark, benchmark.extra_info
        self.watch = Watch()
        self._timed, self._begun = True, _worked()
        self._turns = turns
        """By which this process and that of the other side measure in turns; None where it is alone."""
        if turns is not None:
            self.watch.neighbour = turns.neighbour
            if turns.apart:
                self.note("both sides have their benchmarks in another order: one was measured after the other")

    @property
    def timed(self) -> bool:
        """Whether its time is gated."""
        return self._timed

    @timed.setter
    def timed(self, value: bool) -> None:
        self._timed = value
        if not value:
            self._turn("free")

    def count(self, name: str, value: float) -> None:
        """A number without noise of which less is better: any increase fails. NaN, which is no more, is refused."""
        if math.isnan(value):
            raise ValueError(f"counter {name!r} is nan")
        self._put("counters", name, float(value))

    def exact(self, name: str, value: float) -> None:
        """A number that must be the same to the last bit; one that no float64 holds is refused."""
        if not math.isnan(value) and float(value) != value:
            raise ValueError(f"exact {name!r}: {value} is no float64; give a checksum of 32 bits, as zlib.crc32 does")
        self._put("exact", name, float(value))

    def quality(self, name: str, values: Sequence[float], better: Literal["lower", "higher"] = "lower") -> None:
        """What came out, one value a seed: it must not be worse, by more than a margin."""
        if better not in ("lower", "higher"):
            raise ValueError(f"quality {name!r}: better is {better!r}; choose lower or higher")
        self._put("quality", name, {"better": better, "values": [float(value) for value in values]})

    def note(self, line: str) -> None:
        """What a reader should know."""
        notes = self.extra.setdefault("notes", [])
        if line not in notes:
            notes.append(line)

    def counters(self, step: Callable[[], Any], device: str = "cpu") -> None:
        """Count what one call of `step` does, after one that is not counted, and another where that compiles.

        Operations of torch, FLOPs, synchronisations, bytes at the most and bytes kept; where `torch.compile` is used
        the graphs that the second call made anew, and breaks of both; on CUDA also kernel launches and bytes of the
        device.
        """
        from .counting import compiled, launches

        before = compiled()
        step()
        between = compiled()
        if between != before:
            step()
            after = compiled()
            self.count("recompilations", after[0] - between[0])
            self.count("graph breaks", after[1] - before[1])
        if device.startswith("cuda"):
            self.count("kernel launches", launches(step, device))
        with self.counting(device):
            step()

    @contextmanager
    def counting(self, device: str = "cpu") -> Generator[None]:
        """Count what the block does: what `counters` does for a step that is no function of its own."""
        from .counting import counted

        with counted(device, self.count):
            yield

    def __call__(self, step: Callable[[], Any], *, device: str = "cpu", rounds: int | None = None) -> None:
        """Time `step`: first a call by itself, where it compiles, then `rounds`, or what half a second takes."""
        self._turn("free")
        clock, self._begun = self._clock(device), _worked()
        begin = clock()
        step()
        self.extra["first_call_seconds"] = (second := clock()) - begin
        iterations, number = 1, rounds or 0
        if not rounds:
            step()
            one = max(clock() - second, 1e-9)
            iterations = max(1, math.ceil(ROUND / one))
            if self._turns is not None:
                iterations = self._turns.agree(iterations)
            number = min(max(round(SECONDS / (iterations * one)), FEWEST), 500)

        def run(lap: Callable[[], None]) -> None:
            lap()
            for _ in range(number):
                for _ in range(iterations):
                    step()
                lap()

        self.laps(run, device=device, iterations=iterations)

    def laps(self, run: Callable[[Callable[[], None]], Any], *, device: str = "cpu", iterations: int = 1) -> Any:
        """Time what tells its pieces apart itself: `run(lap)` calls `lap()` before the first and after each.

        What `run` does before its first lap is set-up, and not timed. `iterations`: steps of a piece; times are of one.
        What the process grows by in more than half of the pieces is a counter: it leaks.
        """
        clock, spans, sizes = self._clock(device), list[float](), list[int | None]()
        begun: float | None = None

        def lap() -> None:
            nonlocal begun
            now = clock()
            if begun is None:
                light = self._light()
                self._watched(device)
                self._turn("ready", light)
                rounds.enter_context(new_only())  # what set-up has loaded would be looked at after each round
            else:
                spans.append(now - begun)
                self._turn("swap")
            gc.collect()  # what only a cycle holds is no growth
            sizes.append(resident())
            begun = clock()

        self._turn("free")
        with ExitStack() as rounds:
            result = run(lap)
        self._turn("done")
        self.watch.stop()
        if not spans:
            raise ValueError("laps: fewer than 2 calls of lap(); they tell a piece of work")
        grown = [b - a for a, b in pairwise(sizes) if a is not None and b is not None]
        if len(grown) >= FEWEST:
            rate = max(0.0, statistics.median(grown)) * 50 / iterations
            self.count("resident growth of 50 steps (8 MiB)", rate // UNIT)
        if self._turns is not None and self._turns.neighbour is not None and not self._turns.apart:
            self.extra[self._turns.ENTRY] = [span / iterations for span in spans]
        told = iter([mark for span in spans for mark in (0.0, span)])
        self.benchmark._timer = lambda: next(told)
        self.benchmark.pedantic(lambda: None, rounds=len(spans), iterations=iterations)
        return result

    def _watched(self, device: str) -> None:
        """From here on the watch sees nothing but what is timed."""
        if device.startswith("cuda"):
            from .counting import uuid

            self.watch.gpu = reader(uuid(device), self.watch.neighbour)
        self.watch.start()

    def _light(self) -> bool:
        """Whether the main thread did all the work of this benchmark so far: no other thread, and no other process."""
        wall, all_, main, children = (now - begun for now, begun in zip(_worked(), self._begun, strict=True))
        return all_ - main <= OTHERS[0] + OTHERS[1] * wall and children == 0 and not living()

    def _turn(self, what: str, *more: Any) -> None:
        if self._turns is not None:
            getattr(self._turns, what)(*more)

    def _clock(self, device: str) -> Callable[[], float]:
        if not device.startswith("cuda"):
            return time.perf_counter
        from .counting import DeviceClock

        return DeviceClock(device)

    def _put(self, kind: str, name: str, value: Any) -> None:
        held = self.extra.setdefault(kind, {})
        if name in held:
            raise ValueError(f"{kind}: {name!r} is there already; give each of a benchmark a name of its own")
        held[name] = value

    def close(self) -> None:
        """Write what was seen of the machine."""
        self.watch.stop()
        self.extra["machine"] = self.watch.summary
        if self.watch.invalid:
            self.extra["invalid"] = self.watch.invalid
        for line in self.watch.notes:
            self.note(line)
        if not self.timed:
            self.extra["timed"] = False


def _worked() -> tuple[float, float, float, float]:
    """Seconds passed, and of processor time: of this process, of this thread, and of processes it has waited for."""
    times = os.times()
    return time.perf_counter(), time.process_time(), time.thread_time(), times.children_user + times.children_system


@pytest.fixture
def gate(benchmark: Any, pytestconfig: pytest.Config) -> Generator[Gate]:
    """Counters, exact numbers and qualities beside the time of a benchmark, and what the machine did meanwhile."""
    found = Gate(benchmark, getattr(pytestconfig.pluginmanager.get_plugin(TURNS), "turns", None))
    found.watch.start()
    yield found
    found.close()
