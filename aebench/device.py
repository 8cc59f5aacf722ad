"""Where the work is done: the device, its threads and memory, and what a document says of the machine."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aebench.errors import InputError

if TYPE_CHECKING:
    import torch

CHOICES = ("auto", "cpu", "cuda", "mps")


def check(name: str) -> None:
    """Refuse what is no name of a device: InputError. Whether the machine has it, only torch knows."""
    kind, colon, index = name.partition(":")
    if kind not in CHOICES or (colon and not (kind == "cuda" and index.isdecimal())):
        raise InputError(f"--device {name}: choose from {', '.join(CHOICES)}, or cuda:0, cuda:1, ...")


def choose(name: str = "auto") -> torch.device:
    """The device of that name, or the best there is: CUDA, then MPS, then the CPU.

    Raises InputError for an unknown device, or one that this machine does not have.
    """
    import torch

    check(name)
    kind, _, index = name.partition(":")
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if kind == "auto":
        return torch.device(next(kind for kind, there in has.items() if there))
    if not has[kind]:
        there = ", ".join(kind for kind, available in has.items() if available)
        raise InputError(f"--device {name}: this machine has none; it has {there}")
    if index and int(index) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices")
    return torch.device(name)


@contextmanager
def exact(
    device: torch.device, determinism: str = "usual", say: Callable[[str], None] = lambda line: None
) -> Generator[None]:
    """float32 means float32, and the same run gives the same numbers; torch is left as it was found.

    On CUDA no TF32 and deterministic convolutions. Threads of the CPU are set pack by pack, and from now on the
    process keeps its memory (`keep_memory`). `determinism`, `say`: see `determinism.strict`.
    """
    import torch

    from aebench.arithmetic import arithmetic
    from aebench.determinism import strict

    threads = torch.get_num_threads()
    cudnn: Any = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.benchmark)
    if device.type == "cuda":
        cudnn.deterministic, cudnn.benchmark = True, False
    if device.type == "cpu":
        keep_memory()
    try:
        with strict(device, determinism, say), arithmetic(device, "fp32"):
            yield
    finally:
        torch.set_num_threads(threads)
        cudnn.deterministic, cudnn.benchmark = before


KEPT_BLOCK = 2**25
"""Bytes of the largest block that `keep_memory` can keep: glibc knows no larger limit."""


def keep_memory() -> None:
    """Let the process keep what it has freed, where the C library is glibc: the next step asks for the same again.

    Otherwise each step of a large pack gives its memory back and gets it anew, page by page, which took twice as long
    as the step itself (64 runs of a 784-32-32 net). It holds for the process and cannot be undone; `give_back` gives
    back once what it kept.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, KEPT_BLOCK)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)


def give_back() -> None:
    """Give memory that is kept for later back to the system, where the C library is glibc."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As malloc.h numbers them."""


def cores() -> int:
    """Processors that this process may keep busy: those it may run on, and no more than its control group grants."""
    from joblib import cpu_count

    return cpu_count()


def free_bytes(device: torch.device) -> int | None:
    """Memory that can still be had on a device; None where the system does not say."""
    import torch

    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    info = Path("/proc/meminfo")
    if not info.exists():
        return None
    available = next(line for line in info.read_text().splitlines() if line.startswith("MemAvailable"))
    return min([1024 * int(available.split()[1]), *map(left, memory_groups())])


def memory_groups(root: Path = Path("/sys/fs/cgroup"), listed: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """The control groups (Linux, version 2) of this process that limit memory, from its own up to the root."""
    lines = listed.read_text().splitlines() if listed.exists() else []
    own = next((root / line[3:].strip("/") for line in lines if line.startswith("0::")), root)
    levels = [level for level in (own, *own.parents) if level == root or root in level.parents]
    return [
        level for level in levels if (limit := level / "memory.max").exists() and limit.read_text().strip() != "max"
    ]


def left(group: Path) -> int:
    """Bytes below a control group's limit; what only caches files on a disk counts as free, as it is given back."""
    limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    return max(0, limit - used + int(stat["file"]) - int(stat.get("shmem", 0)))


@cache
def describe(device: torch.device) -> str:
    """A device in words."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor()}, {cores()} cores" if device.type == "cpu" else f"{processor()} ({device.type})"


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def driver(device: torch.device) -> str | None:
    """The GPU driver's version, where there is one and it says."""
    if device.type != "cuda":
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return None


@cache
def commit() -> str | None:
    """The commit of the checkout that aebench runs from, with "+" where files differ; None when installed."""
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    try:
        if not (here.parent / ".git").exists():
            return None
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=20, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip()[:12] + ("+" if changed.stdout.strip() else "")


def made(device: torch.device, precision: str) -> dict[str, Any]:
    """How and where a result was made."""
    import torch

    return {
        "aebench": version("aebench"),
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "system": f"{platform.system()} {platform.machine()}",
        "device": describe(device),
        "driver": driver(device),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }


class PeakMemory:
    """The most memory used since it was made: bytes that torch held on a GPU, else resident bytes of the process."""

    def __init__(self, device: torch.device) -> None:
        import torch

        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif Path("/proc/self/clear_refs").exists():
            try:
                Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
            except OSError:
                return

    def bytes(self) -> int | None:
        """The high-water mark; None where the system keeps none."""
        import torch

        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        status = Path("/proc/self/status")
        if status.exists():
            for line in status.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        if sys.platform == "darwin":
            import resource

            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return None
