"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from aebench.errors import InputError, printable

STALE_SECONDS = 600


def reason(error: Exception) -> str:
    """Why something failed, in one line, without the path that the caller names."""
    text = error.strerror if isinstance(error, OSError) else None
    return printable(text or str(error) or type(error).__name__)


@contextmanager
def _written(path: Path, write: Callable[[BinaryIO], object]) -> Generator[Path]:
    """A hidden temporary file beside `path`, brought to the disk; gone after the `with` block, whatever it became."""
    temporary = path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise InputError(f"cannot write {path}: {path.parent} is not a folder") from error
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except OSError as error:
        raise InputError(f"cannot write {path}: {reason(error)}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a hidden temporary file beside `path`, bring it to the disk, and give it the name.

    Raises InputError where that cannot be done; then `path` is as it was.
    """
    with _written(path, write) as temporary:
        os.replace(temporary, path)


def create(path: Path, write: Callable[[BinaryIO], object]) -> bool:
    """As `replace`, where there is no such file; of several processes that try, one is told True.

    A second name for one file is given by the file system as one act, on NFS too. File systems without such names can
    refuse to open a file that is there; then one that is killed at once may leave it empty.
    """
    with _written(path, write) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except FileNotFoundError:
            raise
        except OSError:
            try:
                with path.open("xb") as file:
                    write(file)
            except FileExistsError:
                return False
    return True


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
                if abandoned(path):
                    path.unlink()


def abandoned(temporary: Path) -> bool:
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
