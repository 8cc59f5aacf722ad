"""What the machine did while something was timed: clocks, heat, throttling, and the work of others.

Counters of the system are read at both ends; clocks, and what a GPU does, five times a second by a thread. All of it is
Linux's and NVIDIA's own account, and absent where it is not kept.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .gpu import Reader, reasons

EVERY = 0.2
"""Seconds between samples."""
SPARED = 10
"""How many times as long as a sample takes it waits at least: a program that is asked must not be what is timed."""
BUSY = 0.5
"""Processors' worth of other work from which a note says so."""


class Reading(NamedTuple):
    """The system's counters at one moment, None where they are not kept."""

    wall: float
    own: float
    """Seconds of processor time of this process and of those it has waited for."""
    neighbour: float
    """The same of the process with which it takes turns."""
    busy: float | None
    """Seconds that all processors worked, for anyone."""
    steal: float | None
    """Seconds that a virtual machine's processors were ready to work and had to wait."""
    throttled: int | None
    """How often a processor that may be used, or its package, lowered its clock because of heat."""
    quota: float | None
    """Seconds that the control group waited, having used up its share of processor time."""
    switches: int | None
    """How often this process was interrupted for another."""


def read(root: Path = Path("/"), neighbour: int | None = None) -> Reading:
    """The counters now; `root`: where `proc` and `sys` are; `neighbour`: a process id."""
    times = os.times()
    busy, steal = _machine(root / "proc/stat")
    own = times.user + times.system + times.children_user + times.children_system
    return Reading(
        time.perf_counter(), own, _process(root, neighbour), busy, steal, _throttled(root),
        _quota(root / "sys/fs/cgroup/cpu.stat"), _switches(),
    )  # fmt: skip


def _process(root: Path, pid: int | None) -> float:
    """Seconds of processor time of a process and of those it has waited for; proc(5), /proc/pid/stat."""
    try:
        _, _, fields = (root / f"proc/{pid}/stat").read_text().rpartition(")")  # its name may hold anything
        return sum(map(int, fields.split()[11:15])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return 0.0


def _machine(file: Path) -> tuple[float | None, float | None]:
    """Seconds busy and stolen since the start, over all processors; proc(5), /proc/stat."""
    try:
        _, *fields = file.read_text().splitlines()[0].split()
        user, nice, system, _, _, irq, soft, steal = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields[:8])
    except (OSError, ValueError, IndexError):
        return None, None
    return user + nice + system + irq + soft, steal


def _processors() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _throttled(root: Path) -> int | None:
    found = [
        count
        for cpu in _processors()
        for kind in ("core", "package")
        if (count := _number(root / f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle/{kind}_throttle_count"))
        is not None
    ]
    return sum(found) if found else None


def _quota(file: Path) -> float | None:
    try:
        fields = dict(line.split() for line in file.read_text().splitlines())
        return int(fields["throttled_usec"]) / 1e6
    except (OSError, ValueError, KeyError):
        return None


def _switches() -> int | None:
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError:  # Windows
        return None
    return getrusage(RUSAGE_SELF).ru_nivcsw


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def megahertz(root: Path = Path("/")) -> float | None:
    """The mean clock of the processors that may be used (of the first eight), where the system says."""
    cpus = sorted(_processors())[:8]
    files = (root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in cpus)
    found = [kilohertz / 1e3 for file in files if (kilohertz := _number(file)) is not None]
    return sum(found) / len(found) if found else None


def living(root: Path = Path("/")) -> bool:
    """Whether this process has started others that still live, as far as the system says."""
    try:
        return any(file.read_text().split() for file in (root / "proc/self/task").glob("*/children"))
    except OSError:  # a thread that has just ended
        return True


def resident(root: Path = Path("/")) -> int | None:
    """Bytes of this process that lie in memory; None where the system does not say."""
    try:
        return int((root / "proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


class Watch:
    """Watches from `start` to `stop`; `gpu` reads the state of a GPU, where one is used."""

    def __init__(self, gpu: Reader | None = None, root: Path = Path("/"), every: float = EVERY) -> None:
        self.gpu, self.root, self.every = gpu, root, every
        self.neighbour: int | None = None
        """The process with which this one takes turns, whose work is none of others."""
        self.clocks: list[float] = []
        self.states: list[Any] = []
        self.first = self.last = read(root)
        self._over, self._thread = threading.Event(), None

    def start(self) -> None:
        """Begin, and forget what was seen before."""
        self.stop()
        self.clocks, self.states = [], []
        self.first = read(self.root, self.neighbour)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._over,), daemon=True, name="watch")
        self._thread.start()

    def stop(self) -> None:
        """End; a second time does nothing."""
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._thread = None
            self.last = read(self.root, self.neighbour)

    def _run(self, over: threading.Event) -> None:
        while True:
            begin = time.perf_counter()
            _append(self.clocks, lambda: megahertz(self.root))
            if self.gpu is not None:
                _append(self.states, self.gpu)
            took = time.perf_counter() - begin
            if over.wait(max(self.every, SPARED * took)):
                return

    @property
    def summary(self) -> dict[str, float | int]:
        """What was seen, in numbers: shares are of the time watched, "cores" are processors' worth of work."""
        a, b = self.first, self.last
        wall = max(b.wall - a.wall, 1e-9)
        own = (b.own - a.own) / wall
        found: dict[str, float | int | None] = {"seconds": wall, "own_cores": own}
        if a.busy is not None and b.busy is not None:
            neighbour = max(b.neighbour - a.neighbour, 0.0) / wall
            found["other_cores"] = max((b.busy - a.busy) / wall - own - neighbour, 0.0)
        for name, divided in (("steal", wall), ("quota", wall), ("throttled", 1), ("switches", 1)):
            before, after = getattr(a, name), getattr(b, name)
            found[name] = None if before is None or after is None else (after - before) / divided
        if self.clocks:
            found |= {"mhz_least": min(self.clocks), "mhz_mean": sum(self.clocks) / len(self.clocks)}
        if self.states:
            sm = [state.mhz for state in self.states]
            found |= {"gpu_mhz_least": min(sm), "gpu_mhz_mean": sum(sm) / len(sm)}
            found["gpu_celsius_most"] = max(state.celsius for state in self.states)
            found["gpu_other_processes"] = max(state.others for state in self.states)
        return {name: round(value, 6) for name, value in found.items() if value is not None}

    @property
    def invalid(self) -> str:
        """Why a time taken meanwhile is of no worth, "" where it is: throttled hardware, or a shared GPU.

        Other work on the processors is none: sides measured in turns meet the same.
        """
        found: list[str] = []
        throttled = self.summary.get("throttled", 0)
        if throttled:
            found.append(f"the processor was throttled because of heat ({throttled:g} times)")
        found += [f"the GPU was throttled: {reason}" for reason in reasons(state.reasons for state in self.states)]
        others = self.summary.get("gpu_other_processes", 0)
        if others:
            found.append(f"{others:g} other compute processes on the GPU")
        return "; ".join(found)

    @property
    def notes(self) -> list[str]:
        """What a reader should know of the machine, in words that are the same for each sample."""
        seen = self.summary
        told = {
            "other work kept half a processor or more busy during some timings": seen.get("other_cores", 0) >= BUSY,
            "the virtual machine waited for a processor during some timings": seen.get("steal", 0) >= 0.05,
            "the control group used up its share of processor time during some timings": seen.get("quota", 0) >= 0.01,
        }
        return [line for line, so in told.items() if so]


def _append(to: list[Any], call: Callable[[], Any]) -> None:
    value = call()
    if value is not None:
        to.append(value)
