"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from aebench.errors import InputError

STALE_SECONDS = 600


def reason(error: Exception) -> str:
    """Why something failed, in one line, without the path that the caller names."""
    text = error.strerror if isinstance(error, OSError) else None
    return " ".join((text or str(error) or type(error).__name__).split())


def replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a hidden temporary file beside `path`, bring it to the disk, and give it the name.

    Raises InputError where that cannot be done; then `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except FileExistsError as error:
        raise InputError(f"cannot write {path}: {path.parent} is not a folder") from error
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def remove(path: Path) -> None:
    """Remove a file that may be there."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot remove {path}: {reason(error)}") from error


def sync(folders: Iterable[Path]) -> None:
    """Bring the names in these folders to the disk, where the file system can."""
    for folder in folders:
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def sweep(folders: Iterable[Path]) -> None:
    """Remove the temporary files of writers that are gone."""
    for folder in folders:
        for path in folder.glob(".*.tmp"):
            with suppress(OSError):
                if _abandoned(path):
                    path.unlink()


def _abandoned(temporary: Path) -> bool:
    """Whether its writer is gone: ten minutes without a byte, or a process of this machine that has ended."""
    if time.time() - temporary.stat().st_mtime > STALE_SECONDS:
        return True
    name, _, pid = temporary.name.removesuffix(".tmp").rpartition("-")
    if os.name != "posix" or not name.endswith(f".{platform.node()}") or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False
