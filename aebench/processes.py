"""Which process this is, and whether another one still runs, as far as that can be told from here."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path


@cache
def machine() -> str:
    """This machine since it was started, as far as process numbers mean the same: containers have their own."""
    parts = [platform.node()]
    with suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return " ".join(parts)


@cache
def mark() -> str:
    """The same in a few letters: containers of one name, whose processes have the same numbers, are told apart."""
    return f"{platform.node()[:64]}-{hashlib.sha256(machine().encode()).hexdigest()[:8]}"


def begun(pid: int) -> str | None:
    """When a process of this machine began, in the system's own words; None where there is no such process.

    Empty where there is one, and the system does not say.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            state, *fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except (OSError, ValueError):
            return "" if _hidden(pid) else None
        return None if state in "ZX" else fields[18]
    try:
        ps = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(ps, capture_output=True, text=True, timeout=20, check=False).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return ""


def lives(pid: int, since: str) -> bool | None:
    """Whether the process of this number that began then still runs; None where the system does not say."""
    now = begun(pid) if since and os.name == "posix" else ""
    return None if now == "" else now == since


def _hidden(pid: int) -> bool:
    """Whether there is such a process of another user, of whom the system shows no more (`hidepid`)."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        pass
    return False
