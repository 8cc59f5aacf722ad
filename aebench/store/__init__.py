"""Results on disk: `<id>.json`, `<id>.npz` and `weights/<id>.safetensors`, each written whole or not at all.

The document is written last, so one that exists has all its companions. A writer that is killed leaves at most
hidden temporary files, which nobody reads and the next writer removes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from aebench.data.arrays import DAMAGED
from aebench.data.arrays import read as read_arrays
from aebench.errors import InputError
from aebench.store import atomic, documents
from aebench.store.atomic import reason
from aebench.store.documents import Document, NewerError, counted, uncollected

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "suite.json"

Arrays = Mapping[str, np.ndarray]
Publication = tuple[Document, Arrays | None, Arrays | None]
"""A document, its arrays and its weights; None leaves what is stored, an empty mapping removes it."""

_ID = re.compile(r"[0-9a-f]{16}")


class Store:
    """The results of one suite: a folder. `problems` collects one line for each document that was skipped."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._folders = (self.folder, self.folder / "weights")
        self.problems: list[str] = []

    def publish(self, document: Document, arrays: Arrays | None, weights: Arrays | None) -> None:
        """Write one run: weights, arrays, and the document last.

        None leaves the stored companion as it is, an empty mapping removes it. Values that are NaN or infinite
        are stored as null. Raises InputError where the folder cannot be written.
        """
        self.publish_all([(document, arrays, weights)])

    def publish_all(self, publications: Iterable[Publication]) -> None:
        """Write the runs of a pack: all companions first, then the documents."""
        publications = list(publications)
        texts: dict[Path, bytes] = {}
        for document, _, _ in publications:
            path = self._path(document["id"])
            texts[path] = documents.text(document)
            documents.check(json.loads(texts[path]), path)
        atomic.sweep(self._folders)
        for document, arrays, weights in publications:
            _write_companion(self.weights_path(document["id"]), weights, _write_safetensors)
            _write_companion(self._path(document["id"], ".npz"), arrays, _write_npz)
        atomic.sync(self._folders)
        for path, text in texts.items():
            atomic.replace(path, lambda file, text=text: file.write(text))
        atomic.sync(self._folders)

    def read(self, id: str) -> Document | None:
        """The document of a run, None where there is none; InputError where it is broken or of a newer schema."""
        path = self._path(id)
        try:
            return documents.read(path)
        except InputError:
            if path.exists():
                raise
            return None

    def ids(self) -> list[str]:
        """The ids of all documents, readable or not, sorted."""
        try:
            names = os.listdir(self.folder) if self.folder.is_dir() else ()
        except OSError as error:
            raise InputError(f"cannot read {self.folder}: {reason(error)}") from error
        stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return sorted(stem for stem in stems if _ID.fullmatch(stem))

    def holds(self) -> bool:
        """Whether there are results: documents, or the manifest of a suite."""
        return (self.folder / MANIFEST).exists() or bool(self.ids())

    def documents(self) -> list[Document]:
        """Every readable document, sorted by id; each other one adds a line to `problems`."""
        with uncollected():
            return [document for id in self.ids() if (document := self.read_or_note(id)) is not None]

    def read_or_note(self, id: str, *, newer: bool = False) -> Document | None:
        """The document of a run, None where there is none or where it adds a line to `problems`.

        With `newer` a document of a newer schema raises NewerError instead.
        """
        try:
            return self.read(id)
        except InputError as error:
            if newer and isinstance(error, NewerError):
                raise
            if str(error) not in self.problems:
                self.problems.append(str(error))
            return None

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Those of the ids without a readable document, whatever its status.

        A broken document counts as missing and adds a line to `problems`; one of a newer schema raises NewerError.
        """
        return [id for id in ids if self.read_or_note(id, newer=True) is None]

    def arrays(self, id: str) -> dict[str, np.ndarray]:
        """The stored arrays of a run, float16 widened to float32; empty where none were stored."""
        path = self._path(id, ".npz")
        if not path.exists():
            return {}
        try:
            _regular(path)
            return {name: _widened(array) for name, array in read_arrays(path).items()}
        except DAMAGED as error:
            raise InputError(f"{path}: broken arrays: {reason(error)}") from error

    def weights_path(self, id: str) -> Path:
        """Where the weights of a run are, if they were kept."""
        return self._path(id, ".safetensors", self.folder / "weights")

    def weights(self, id: str) -> dict[str, np.ndarray] | None:
        """The trained parameters and buffers by name, None where they were not kept."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        path = self.weights_path(id)
        if not path.exists():
            return None
        try:
            _regular(path)
            return {name: array.copy() for name, array in load(path.read_bytes()).items()}
        except (*DAMAGED, SafetensorError) as error:  # a KeyError is a type that numpy has not
            raise InputError(f"{path}: broken weights: {reason(error)}") from error

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write `suite.json`: what the suite is and its run ids in order. Does nothing where it says so already."""
        path, text = self.folder / MANIFEST, documents.text(dict(manifest))
        if path.exists() and path.read_bytes() == text:
            return
        atomic.sweep(self._folders)
        atomic.replace(path, lambda file: file.write(text))
        atomic.sync(self._folders)

    def manifest(self) -> dict[str, Any] | None:
        """What `suite.json` says, None where there is none."""
        path = self.folder / MANIFEST
        if not path.exists():
            return None
        manifest = documents.parse(path)
        documents.check_manifest(manifest, path)
        return manifest

    def manifest_or_note(self) -> dict[str, Any] | None:
        """What `suite.json` says, None where there is none or where it adds a line to `problems`."""
        try:
            return self.manifest()
        except InputError as error:
            if str(error) not in self.problems:
                self.problems.append(str(error))
            return None

    def _path(self, id: str, suffix: str = ".json", folder: Path | None = None) -> Path:
        if not _ID.fullmatch(id):
            raise InputError(f"{id!r} is not a run id: 16 hexadecimal digits")
        return (folder or self.folder) / f"{id}{suffix}"


def load(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], *, all: bool = False) -> pd.DataFrame:
    """One row a run, in the order of the manifest: what it is, its metrics and costs, its error.

    `path` is a folder of results, a folder of such folders, or a list. Without `all`, runs that the manifest does
    not name are left out. A run that several folders hold counts once: the first that ended well is taken, else the
    first. A failed run is a row whose metrics are NaN.

    The table is tidy: a row is a run, a column is one thing in one unit, text or numbers.

    - what a run is: `id`, `suite`, `status` (`ok` or how it failed), `variant`, `data` and `network` (text), `seed`;
    - its settings: hyperparameters and sizes under their own names (`hyper.<name>`, `sizes.<name>` where a name is
      taken), `kl_weight` and its inverse `notes_beta`, `lr`, `steps`, `batch`, and what else differs between runs.
      Missing where a variant has none; a schedule is text, `0→4@0.25 linear`;
    - metric values, float64, NaN where not measured; `validation_<name>` of the validation part, where it was measured;
    - costs, of the whole pack where runs trained together, and `error`, a line or missing.

    `groupby` leaves out runs that lack a setting it groups by, unless told `dropna=False`.
    `attrs["values"][name]` is `{"unit", "better": "lower" | "higher" | "neither", ...}` of each metric value and cost,
    `attrs["problems"]` has a line for each document that could not be used. pandas keeps `attrs` in selections,
    `query`, `assign`, `sort_values`, `merge`, `melt` and grouped means, and drops them in `groupby(...).agg`.

    Raises InputError where there are no results.
    """
    from aebench.store.frame import from_documents

    paths = [Path(p) for p in ([path] if isinstance(path, str | os.PathLike) else path)]
    stores = list({store.folder.resolve(): store for p in paths for store in _stores(p)}.values())
    holders = _holders(stores, all=all)
    with uncollected():
        frame = from_documents(_documents(holders))
    left_out = 0 if len(frame) else sum(len(store.documents()) for store in stores)
    problems = [line for store in stores for line in store.problems]
    if frame.empty:
        hint = "run a suite first" if not problems else problems[0]
        hint = f"{left_out} are not in {MANIFEST}; all=True reads them" if left_out else hint
        raise InputError(f"no results in {', '.join(map(str, paths)) or 'an empty list of folders'}: {hint}")
    if again := sum(len(held) > 1 for held in holders.values()):
        problems.append(f"{again} runs stand in more than one folder and count once: the first that ended well")
    frame.attrs["problems"] = problems + frame.attrs["problems"]
    return frame


def _stores(path: Path) -> list[Store]:
    """The folder's own results, or those of its subfolders."""
    if not path.is_dir():
        raise InputError(f"{path}: {'not a folder' if path.exists() else 'no such folder'} of results")
    own = Store(path)
    stores = [own] if own.holds() else [Store(child) for child in sorted(path.iterdir()) if child.is_dir()]
    return [store for store in stores if store.holds()]


def _holders(stores: Sequence[Store], *, all: bool) -> dict[str, list[Store]]:
    """Which of the folders hold each run: those that the manifests name, in their order; with `all` the others too."""
    holders: dict[str, list[Store]] = {}
    for store in stores:
        for id in _ordered(store, all=all):
            holders.setdefault(id, []).append(store)
    return holders


def _documents(holders: Mapping[str, Sequence[Store]]) -> Iterator[Document]:
    """One document of each run, one at a time: a table needs a hundredth of what thousands of documents hold."""
    for id, stores in holders.items():
        found = [(store, document) for store in stores if (document := store.read_or_note(id)) is not None]
        for _, document in counted(found):
            yield document


def _ordered(store: Store, *, all: bool) -> list[str]:
    """The ids of the documents that the manifest names, in its order, and with `all` the others after them."""
    found, manifest = store.ids(), store.manifest_or_note()
    named: list[str] = found if manifest is None else manifest["ids"]
    there = set(found)
    return [id for id in dict.fromkeys([*named, *found] if all else named) if id in there]


def _regular(path: Path) -> None:
    """Raise OSError where a path is no file: a pipe would be waited for, and a device never ends."""
    if not path.is_file():
        raise OSError("not a regular file")


def _widened(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _write_npz(file: BinaryIO, arrays: Arrays) -> None:
    if objects := [name for name, array in arrays.items() if array.dtype.hasobject]:
        raise TypeError(f"arrays of Python objects cannot be stored: {', '.join(objects)}")
    np.savez_compressed(file, **dict[str, Any](arrays))


def _write_safetensors(file: BinaryIO, weights: Arrays) -> None:
    from safetensors.numpy import save

    # save reads an array's memory as it lies, whatever its strides
    file.write(save({name: np.asarray(array, order="C") for name, array in weights.items()}))


def _write_companion(path: Path, arrays: Arrays | None, write: Callable[[BinaryIO, Arrays], None]) -> None:
    if arrays:
        atomic.replace(path, lambda file: write(file, arrays))
    elif arrays is not None:
        atomic.remove(path)
