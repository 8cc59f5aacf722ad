"""What a report is about: the runs of one folder of results or more, each run once."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aebench.errors import InputError
from aebench.store import MANIFEST, Store
from aebench.store.documents import counted, uncollected
from aebench.store.frame import from_documents

if TYPE_CHECKING:
    from pandas import DataFrame

    from aebench.store.documents import Document

Manifest = Mapping[str, Any]
"""What `suite.json` says."""
IN_THE_FRAME = ("metrics",)
"""Most of what a document holds: thousands of them would not fit beside their table."""
WHERE = ("device", "threads", "processes")
"""What is kept of how a run was measured: times depend on it."""


class SharedDict(dict[str, Any]):
    """One that copies share: pandas copies the attributes of a frame deeply with every selection."""

    def __deepcopy__(self, memo: object) -> SharedDict:
        return self


class SharedList(list[Any]):
    """One that copies share."""

    def __deepcopy__(self, memo: object) -> SharedList:
        return self


@dataclass
class Folder:
    """The results of one suite."""

    store: Store
    manifest: Manifest
    documents: dict[str, Document] = field(default_factory=dict[str, Any])
    """Of the runs that the manifest names, by id and in its order; without what the frame has."""

    @property
    def name(self) -> str:
        """The suite's name."""
        return str(self.manifest["name"])

    def commands(self) -> Sequence[Mapping[str, Any]]:
        """The commands that worked on these results, as `suite.json` has them now."""
        return (self.store.manifest() or {}).get("commands", [])


@dataclass(frozen=True)
class Gathered:
    """Runs of one or more folders; a run that several hold counts once."""

    folders: tuple[Folder, ...]
    documents: Mapping[str, Document]
    """By id: in the order of the folders and of their manifests; without what the frame has."""
    frame: DataFrame
    """One row a run, in the same order."""
    total: int
    """Runs that the manifests name, whether they were made or not."""
    places: Mapping[str, Folder]
    """Where each run was read."""

    @property
    def name(self) -> str:
        """The suites' names."""
        return " and ".join(dict.fromkeys(folder.name for folder in self.folders))

    @property
    def about(self) -> list[str]:
        """What the suites say that they are about."""
        return list(dict.fromkeys(str(about) for folder in self.folders if (about := folder.manifest.get("about"))))

    @property
    def figures(self) -> list[str]:
        """The figures that the suites name."""
        return list(dict.fromkeys(name for folder in self.folders for name in folder.manifest.get("figures") or []))

    @property
    def problems(self) -> list[str]:
        """A line for each document that could not be read, and each number that was not measured alike."""
        return [line for folder in self.folders for line in folder.store.problems] + self.frame.attrs["problems"]

    def arrays(self, run: str) -> dict[str, Any]:
        """The arrays stored with a run; empty where there are none."""
        return self.places[run].store.arrays(run)


@contextmanager
def settled() -> Generator[None]:
    """What was made before stays to the end of this: the garbage collector does not look at it again and again."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def gather(results: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Gathered:
    """The runs of a folder of results, or of several. Raises InputError where one of them holds none.

    Of a run that several folders hold, the first that ended well is taken, else the first.
    """
    paths = [results] if isinstance(results, str | os.PathLike) else list(results)
    if not paths:
        raise InputError("no results: name at least one folder of results")
    folders = tuple(_folder(Path(path)) for path in paths)
    places: dict[str, Folder] = {}
    with uncollected():
        frame = from_documents(_read(folders, places))
    frame.attrs["values"] = SharedDict(frame.attrs["values"])
    if frame.empty and not any((folder.store.folder / MANIFEST).exists() for folder in folders):
        raise InputError(f"{paths[0]}: no results that can be read: {folders[0].store.problems[0]}")
    documents = {run: folder.documents[run] for run, folder in places.items()}
    named = {run for folder in folders for run in folder.manifest["ids"]}
    return Gathered(folders, documents, frame, len(named), places)


def _folder(path: Path) -> Folder:
    store = Store(path)
    manifest, ids = store.manifest(), store.ids()
    if manifest is None and not ids:
        below = sorted(child.name for child in path.iterdir() if Store(child).holds()) if path.is_dir() else []
        hint = f"name one of its folders: {', '.join(below)}" if below else "run one first"
        raise InputError(f"{path}: no results of a suite; {hint}")
    return Folder(store, manifest or {"name": path.resolve().name, "ids": ids})


def _read(folders: Sequence[Folder], places: dict[str, Folder]) -> Iterator[Document]:
    """The documents, each run once, one at a time; what stays of them is kept in the folders and in `places`."""
    holders: dict[str, list[Folder]] = {}
    for folder in folders:
        for run in dict.fromkeys(folder.manifest["ids"]):
            holders.setdefault(run, []).append(folder)
    for run, held in holders.items():
        found = [(folder, d) for folder in held if (d := folder.store.read_or_note(run)) is not None]
        for folder, document in found:
            kept = {name: part for name, part in document.items() if name not in IN_THE_FRAME}
            if measured := kept.pop("measured", None):
                kept["measured"] = {name: measured.get(name) for name in WHERE}
            folder.documents[run] = kept
        for folder, document in counted(found):
            places[run] = folder
            yield document
