"""Published files: where they are looked for, how they are checked, and where they are fetched from.

Folders, in this order: each FOLDER of AEBENCH_DATA (FOLDER/<name>, FOLDER/<torchvision's name>/raw, FOLDER itself), the
user's cache, the place of a distribution's package. The first folder that holds all files of a dataset is taken, and
what it holds must be right: a damaged file is an error, not a reason to look further.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
import time
import zlib
from http.client import HTTPException
from pathlib import Path

from platformdirs import user_cache_dir

from aebench.data.source import Files
from aebench.errors import InputError, printable

LIMIT = 2**28
"""Bytes that a published file may have, uncompressed."""


def cache() -> Path:
    """The folder of this user's downloaded data. It may not exist, and may be unwritable."""
    return Path(user_cache_dir("aebench")) / "data"


def folders(published: Files) -> list[Path]:
    """Where the files of a dataset are looked for."""
    found: list[Path] = []
    for root in _roots():
        laid = [root / published.torchvision / "raw"] if published.torchvision else []
        found += [root / published.name, *laid, root]
    system = [Path(published.system)] if published.system else []
    return [*found, cache() / published.name, *system]


def lacking(folder: Path, published: Files) -> list[str]:
    """The files of a dataset that a folder does not hold, with or without `.gz`."""
    return [name for name in published.sha256 if _locate(folder, name) is None]


def contents(published: Files) -> dict[str, bytes]:
    """The canonical content of every file, checked; downloaded where no folder holds them.

    Raises InputError, one line: which file is damaged; or where it looked and how to get them.
    """
    return _held(published)[1]


def fetch(published: Files) -> list[Path]:
    """The paths of the checked files of a dataset, downloaded if need be."""
    folder, _ = _held(published)
    return _paths(folder, published)


def download(published: Files) -> None:
    """Fetch the files of a dataset into the user's cache: checked first, then moved there."""
    target = cache() / published.name
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            if published.torchvision:
                folder = _by_torchvision(published, Path(temporary))
            else:
                folder = _by_url(published, Path(temporary))
            if _checked(folder, published) is None:
                raise OSError(f"the download lacks {', '.join(lacking(folder, published))}")
            for path in _paths(folder, published):
                os.replace(path, target / path.name)
    except (OSError, RuntimeError, ValueError, ImportError, HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{published.name}: {_looked(published)}; not downloaded ({reason}); {_how(published)}"
        ) from error


def fingerprint(path: Path) -> str:
    """sha256 of a file, remembered in the user's cache (if writable) by path, size and time of change."""
    status = path.stat()
    known = [str(path.resolve()), status.st_size, status.st_mtime_ns]
    memory = cache() / "fingerprints" / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:24]}.json"
    try:
        remembered = json.loads(memory.read_text())
        if remembered["file"] == known:
            return str(remembered["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if time.time_ns() - status.st_mtime_ns > 2_000_000_000:
        _remember(memory, json.dumps({"file": known, "sha256": digest}))
    return digest


def _held(published: Files) -> tuple[Path, dict[str, bytes]]:
    """The folder that holds a dataset, and its checked content; downloaded where none does."""
    for folder in folders(published):
        content = _checked(folder, published)
        if content is not None:
            return folder, content
    download(published)
    folder = cache() / published.name
    content = _checked(folder, published)
    if content is None:
        raise InputError(f"{published.name}: downloaded, but no longer in {folder}")
    return folder, content


def _remember(path: Path, text: str) -> None:
    """Write a note into the cache, whole or not at all; a cache that cannot be written is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as stream:
            stream.write(text)
        os.replace(stream.name, path)
    except OSError:
        pass


def _roots() -> list[Path]:
    return [Path(root).expanduser() for root in os.environ.get("AEBENCH_DATA", "").split(os.pathsep) if root]


def _locate(folder: Path, name: str) -> Path | None:
    paths = (folder / name, folder / f"{name}.gz")
    return next((path for path in paths if os.path.isfile(path)), None)


def _paths(folder: Path, published: Files) -> list[Path]:
    return [path for name in published.sha256 if (path := _locate(folder, name)) is not None]


def _checked(folder: Path, published: Files) -> dict[str, bytes] | None:
    """What a folder holds of a dataset; None where a file lacks, or is another dataset's of the same name."""
    if lacking(folder, published):
        return None
    content: dict[str, bytes] = {}
    for path, (name, expected) in zip(_paths(folder, published), published.sha256.items(), strict=True):
        content[name], digest = _canonical(path, published)
        if digest in published.confused_with and folder in _roots():
            return None
        if digest != expected:
            raise InputError(f"{path}: not the file {name} of {published.name}, or damaged (sha256 {digest})")
    return content


def _canonical(path: Path, published: Files) -> tuple[bytes, str]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            raw = stream.read(LIMIT + 1)
        if len(raw) > LIMIT:
            raise ValueError(f"more than {LIMIT} bytes")
        content = published.canonical(raw)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InputError(f"{path}: truncated or damaged ({printable(str(error))})") from error
    return content, hashlib.sha256(content).hexdigest()


def _by_torchvision(published: Files, folder: Path) -> Path:
    from torchvision import datasets

    getattr(datasets, published.torchvision)(str(folder), download=True)
    return folder / published.torchvision / "raw"


def _by_url(published: Files, folder: Path) -> Path:
    from urllib.request import urlopen

    for name in published.sha256:
        with urlopen(f"{published.url}/{name}", timeout=30) as answer:
            (folder / name).write_bytes(answer.read(LIMIT + 1))
    return folder


def _looked(published: Files) -> str:
    places: list[str] = []
    for folder in folders(published):
        missing = lacking(folder, published)
        partly = 0 < len(missing) < len(published.sha256)
        places.append(f"{folder} (lacks {', '.join(missing)})" if partly else str(folder))
    return f"not found in {', '.join(places)}"


def _how(published: Files) -> str:
    origin = f" from {published.url}" if published.url else ""
    return (
        f"get {', '.join(published.sha256)}{origin} and name their folder in AEBENCH_DATA, "
        f"or run 'aebench data fetch {published.name}' where there is a network"
    )
