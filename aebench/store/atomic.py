"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from aebench.errors import InputError, printable
from aebench.processes import mark

STALE_SECONDS = 600


def reason(error: Exception) -> str:
    """Why something failed, in one line, without the path that the caller names."""
    text = error.strerror if isinstance(error, OSError) else None
    return printable(text or str(error) or type(error).__name__)


def temporary_of(path: Path) -> Path:
    """Where this process writes what is to be `path`."""
    return path.with_name(f".{path.name}.{mark()}-{os.getpid()}.tmp")


def _make(folder: Path) -> None:
    """Make a folder and those above it, and bring their names to the disk: what lies in one is lost with its name."""
    lacking = list(takewhile(lambda one: not one.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    sync(one.parent for one in reversed(lacking))


@contextmanager
def _written(path: Path, write: Callable[[BinaryIO], object]) -> Generator[Path]:
    """A hidden temporary file beside `path`, brought to the disk; gone after the `with` block, whatever it became."""
    temporary = temporary_of(path)
    try:
        try:
            _make(path.parent)
        except FileExistsError as error:
            raise InputError(f"cannot write {path}: {path.parent} is not a folder") from error
        temporary.unlink(missing_ok=True)  # of a process that had our number; its claim may be the same file
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
            # the name may be ours: on NFS the answer may have been lost, and the question put once more
            return temporary.stat().st_nlink > 1
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


def now(folder: Path) -> float:
    """The time by the clock of the folder's file system, which other machines see too; by our own if it is closed."""
    probe = temporary_of(folder / "now")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()


def sweep(folders: Iterable[Path]) -> None:
    """Remove the temporary files of writers that are gone."""
    for folder in folders:
        with suppress(OSError):  # another process may remove the folder
            for path in list(folder.glob(".*.tmp")):
                with suppress(OSError):
                    if abandoned(path):
                        path.unlink()


def abandoned(temporary: Path) -> bool:
    """Whether its writer is gone: a process of this machine that has ended, or ten minutes without a byte."""
    name, _, pid = temporary.name.removesuffix(".tmp").rpartition("-")
    if os.name == "posix" and name.endswith(f".{mark()}") and pid.isdecimal():
        try:
            os.kill(int(pid), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
    return now(temporary.parent) - temporary.stat().st_mtime > STALE_SECONDS
