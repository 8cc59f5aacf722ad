"""What is wrong with a folder of results, a line for each fault, and how the damaged files are set aside.

Nothing is deleted: what is set aside is moved to `set-aside/1/` of the folder, the next time to `set-aside/2/`, under
the names that it had. The next `aebench run` then trains again what is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aebench.claims import FOLDER as CLAIMS
from aebench.claims import Claims, of_runs
from aebench.errors import InputError, printable
from aebench.stopping import CHECKPOINTS
from aebench.store import MANIFEST, Store, atomic
from aebench.store.documents import Document, NewerError
from aebench.suite import run_id

ASIDE = "set-aside"
PLACES = ("weights", CHECKPOINTS, CLAIMS)
"""Folders beside the documents, in which writers may leave what they had not finished."""
_RUN = re.compile(r"([0-9a-f]{16})\.(json|npz|safetensors)")


class Fault(NamedTuple):
    """One thing that is wrong, in one line, and the files to set aside for it; none where they should stay."""

    line: str
    files: tuple[Path, ...] = ()
    bad: bool = True
    """Not so of what is only worth knowing."""


def checkup(results: str | os.PathLike[str]) -> list[Fault]:
    """Every fault of a folder of results, or of the folders in it. Raises InputError where there are no results."""
    path = Path(results)
    if not path.is_dir():
        raise InputError(f"{path}: {'not a folder' if path.exists() else 'no such folder'} of results")
    try:
        folders = [path] if _holds(path) else [child for child in sorted(path.iterdir()) if _holds(child)]
        if not folders:
            raise InputError(f"no results in {path}: run a suite first")
        return [fault for folder in folders for fault in _faults(Store(folder))]
    except OSError as error:
        raise InputError(f"cannot read {path}: {atomic.reason(error)}") from error


def set_aside(faults: Iterable[Fault]) -> list[tuple[Path, Path]]:
    """Move the files of these faults into a new numbered folder of their results: (from, to) of each that was moved.

    Raises InputError where that cannot be done; what was moved before stays moved.
    """
    homes: dict[Path, Path] = {}
    moved: list[tuple[Path, Path]] = []
    for file in dict.fromkeys(file for fault in faults for file in fault.files):
        folder = file.parent.parent if file.parent.name in PLACES else file.parent
        try:
            if folder not in homes:
                homes[folder] = _new_folder(folder / ASIDE)
            target = homes[folder] / file.relative_to(folder)
            target.parent.mkdir(exist_ok=True)
            file.rename(target)
        except FileNotFoundError:  # another doctor was faster
            continue
        except OSError as error:
            raise InputError(f"cannot set {file} aside: {atomic.reason(error)}") from error
        moved.append((file, target))
    for folder in homes:
        atomic.sync((folder / ASIDE, *(root / place for root in (homes[folder], folder) for place in ("", *PLACES))))
    return moved


def _new_folder(parent: Path) -> Path:
    """`parent/1`, or the next number that is free: made here, so that nobody else has it."""
    parent.mkdir(exist_ok=True)
    number = 1
    while True:
        try:
            (parent / str(number)).mkdir()
            return parent / str(number)
        except FileExistsError:
            number += 1


def _holds(folder: Path) -> bool:
    """Whether anything of results lies in a folder, whole or not, or was set aside there."""
    return (folder / ASIDE).is_dir() or any(
        _RUN.fullmatch(path.name) or path.name == MANIFEST for path in _files(folder)
    )


def _files(folder: Path, places: Iterable[str] = ("weights",)) -> Iterator[Path]:
    """What lies in a folder of results and in these places of it."""
    for place in (folder, *(folder / name for name in places)):
        if place.is_dir():
            with suppress(FileNotFoundError):  # who is at work may remove it again
                yield from sorted(path for path in place.iterdir() if path.is_symlink() or not path.is_dir())


def _faults(store: Store) -> Iterator[Fault]:
    found: dict[str, dict[str, Path]] = {}
    for path in _files(store.folder):
        if match := _RUN.fullmatch(path.name):
            found.setdefault(match[1], {})[match[2]] = path
    whole: list[str] = []
    for id, files in found.items():
        fault = _fault(store, id, files)
        if fault is None:
            whole.append(id)
        else:
            yield fault
    yield from _of_manifest(store, whole, {id for id, files in found.items() if "json" in files})
    yield from _leftovers(store.folder)


def _leftovers(folder: Path) -> Iterator[Fault]:
    """What killed processes have left that nobody can use."""
    for path in _files(folder, PLACES):
        line = ""
        with suppress(FileNotFoundError):  # it was replaced, or removed, meanwhile
            if path.name.startswith(".") and path.suffix == ".tmp" and atomic.abandoned(path):
                line = f"{path}: left by a process that was ended while it wrote"
            elif path.parent.name == CHECKPOINTS and path.suffix == ".safetensors" and not of_runs(path):
                path.lstat()
                line = f"{path}: a checkpoint that cannot be read"
        if line:
            yield Fault(line, (path,))


def _fault(store: Store, id: str, files: dict[str, Path]) -> Fault | None:
    """What is wrong with one run, if anything: its files belong together, so they are set aside together."""
    together = tuple(files.values())
    if "json" not in files:
        return _orphans(store.folder, together)
    try:
        document = store.read(id)
        if document is None:  # removed since it was listed
            return None
        arrays, weights = store.arrays(id), store.weights(id)
    except NewerError as error:
        return Fault(str(error))
    except InputError as error:
        return Fault(str(error), together)
    line = _unlike_itself(document) or _lacking(document, arrays)
    if not line and document["status"] == "ok":
        line = _not_finite(arrays | (weights or {}))
    return Fault(f"{files['json']}: {line}", together) if line else None


def _orphans(folder: Path, files: tuple[Path, ...]) -> Fault | None:
    """Arrays and weights are written before their document: a run that is under way leaves them alone for a moment."""
    now = atomic.now(folder)
    young = any(now - path.lstat().st_mtime < atomic.STALE_SECONDS for path in files) and Claims(folder).busy()
    line = f"{' and '.join(path.name for path in files)} of {files[0].parent}: without a document"
    return Fault(f"{line}; young enough to be of a run that goes on" if young else line, () if young else files)


def _unlike_itself(document: Document) -> str:
    """What tells that a document was changed by hand, or nothing."""
    try:
        named = run_id(document["spec"])
    except (TypeError, ValueError) as error:
        return f"its specification is not one: {atomic.reason(error)}"
    return "" if named == document["id"] else f"its specification is that of the run {named}: changed by hand?"


def _lacking(document: Document, arrays: dict[str, np.ndarray]) -> str:
    """Which arrays a document names that are not there, or nothing."""
    named = document.get("arrays", [])
    lacking = [name for name in named if name not in arrays] if isinstance(named, list) else ["all of them"]
    return f"it lacks arrays: {printable(', '.join(map(str, lacking)))}" if lacking else ""


def _not_finite(arrays: dict[str, np.ndarray]) -> str:
    """The first array of numbers that are not all finite, or nothing."""
    for name, array in arrays.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).all():
            return f"it ended well, and {name} of its arrays or weights has a number that is not finite"
    return ""


def _of_manifest(store: Store, whole: list[str], found: set[str]) -> Iterator[Fault]:
    """Faults of `suite.json`, and what does not stand in it."""
    try:
        manifest = store.manifest()
    except InputError as error:
        yield Fault(str(error), (store.folder / MANIFEST,))
        return
    path = store.folder / MANIFEST
    if manifest is None:
        yield Fault(f"{path}: is not there; the next aebench run writes it", bad=False)
        return
    ids = set(manifest["ids"])
    for id in sorted(set(whole) - ids):
        yield Fault(f"{store.folder / id}.json: not named by {MANIFEST}: of other settings of this suite", bad=False)
    if lacking := len(ids - found):
        yield Fault(f"{path}: {lacking} of its {len(ids)} runs have no document: aebench run trains them", bad=False)
