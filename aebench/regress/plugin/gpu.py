"""What an NVIDIA GPU does at a moment: by NVML where its Python package is installed, else by nvidia-smi."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Collection, Iterable
from typing import Any, NamedTuple

THROTTLED = {
    0x8: "its hardware slowed it down",
    0x20: "heat, by its driver",
    0x40: "heat, by its hardware",
    0x80: "its power supply",
}
"""The bits of NVML's clock event reasons that make a time worthless; nvml.h, nvmlClocksEventReason*.

Not among them: the software's cap on power (0x4), under which many GPUs always work when they are busy.
"""
QUERY = ("clocks.sm", "temperature.gpu", "clocks_event_reasons.active")
BEFORE_535 = "clocks_throttle_reasons.active"
"""What drivers before 535 call the last of them."""


class State(NamedTuple):
    """One moment of a GPU."""

    mhz: float
    celsius: float
    reasons: int
    """Why its clock is not the highest: NVML's bits."""
    others: int
    """Compute processes on it that are not this one."""


Reader = Callable[[], State | None]
"""The state now; None where it does not answer."""


def reasons(seen: Iterable[int]) -> list[str]:
    """Why the GPU was throttled, over all moments."""
    bits = 0
    for each in seen:
        bits |= each
    return [words for bit, words in THROTTLED.items() if bits & bit]


def others(pids: Collection[int], own: int, uses: bool, neighbour: int | None = None) -> int:
    """How many of the processes on a GPU are neither this one, of process id `own`, which `uses` it or not, nor that
    with which it takes turns.

    In a container the ids are the host's: there one that is not found is taken for this one, and one for the other.
    """
    mine = {own, neighbour}
    if mine.isdisjoint(pids):
        return max(len(pids) - uses * (1 if neighbour is None else 2), 0)
    return len({*pids} - mine)


def reader(uuid: str, neighbour: int | None = None) -> Reader | None:
    """What reads the GPU of this UUID ("GPU-..."), None where neither NVML nor nvidia-smi answers."""
    for made in (_nvml, _smi):
        found = made(uuid, neighbour)
        if found is not None and found() is not None:
            return found
    return None


def _uses() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _nvml(uuid: str, neighbour: int | None = None) -> Reader | None:
    try:
        with warnings.catch_warnings(action="ignore"):  # the package's former name warns of itself
            import pynvml  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    nvml: Any = pynvml
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
    except nvml.NVMLError:
        return None
    active = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    active = active or nvml.nvmlDeviceGetCurrentClocksThrottleReasons

    def now() -> State | None:
        try:
            pids = {process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)}
            return State(
                nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
                nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
                active(handle),
                others(pids, os.getpid(), _uses(), neighbour),
            )
        except nvml.NVMLError:
            return None

    return now


def _smi(uuid: str, neighbour: int | None = None) -> Reader | None:
    def asked(what: str) -> list[str] | None:
        command = ["nvidia-smi", "-i", uuid, what, "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return [line for line in done.stdout.splitlines() if line.strip()]

    query = f"--query-gpu={','.join(QUERY)}"
    if asked(query) is None:
        query = f"--query-gpu={','.join([*QUERY[:-1], BEFORE_535])}"

    def now() -> State | None:
        rows, running = asked(query), asked("--query-compute-apps=pid")
        try:
            mhz, celsius, bits = (rows or [""])[0].split(",")
            pids = {int(line) for line in running or () if line.strip().isdigit()}
            return State(float(mhz), float(celsius), int(bits, 16), others(pids, os.getpid(), _uses(), neighbour))
        except ValueError:
            return None

    return now
