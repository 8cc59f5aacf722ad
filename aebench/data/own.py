"""Data of one's own: a `.npy` or `.npz` file. Nothing is unpickled, nor read before its header fits."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aebench.data import files
from aebench.data.source import NoParameters, Part, Shape, Source
from aebench.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = (".npy", ".npz")
LIMIT = 2**34
"""Bytes of the arrays of one file, uncompressed: 16 GiB."""
_DAMAGED = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


class Header(NamedTuple):
    """What the header of an array says, and the bytes that the file really has for its values."""

    shape: Shape
    dtype: np.dtype[Any]
    available: int


def is_path(text: str) -> bool:
    """Whether the name of a dataset is the path of a file: it ends in a suffix, or has a slash, and is not code."""
    return text.lower().endswith(SUFFIXES) or (":" not in text and (Path(text).suffix != "" or "/" in text))


def source(text: str) -> Source:
    """The record of a file: its fingerprint as checksum, event shape and sizes from its headers.

    Raises InputError where it is missing, of another kind, damaged, or its arrays do not fit together.
    """
    path = Path(text).expanduser()
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"own data {text!r}: a file of {' or '.join(SUFFIXES)} is supported")
    if not path.is_file():
        raise InputError(f"own data {text!r}: no such file")
    try:
        headers = _headers(path)
        checksum = files.fingerprint(path)
    except _DAMAGED as error:
        raise InputError(f"own data {text!r}: truncated or damaged ({error})") from error
    try:
        shape, sizes = _outline(headers)
        discrete = any(header.dtype == np.uint8 for name, header in headers.items() if name.startswith("x"))
    except ValueError as error:
        raise InputError(f"own data {text!r}: {error}") from error

    def read(p: NoParameters, seed: int) -> dict[str, Part]:
        return _read(path, sizes)

    values = "discrete" if discrete else "continuous"
    return Source(outline=lambda p: (shape, sizes), read=read, checksum=checksum, values=values)


def _headers(path: Path) -> dict[str, Header]:
    if path.suffix.lower() == ".npy":
        with path.open("rb") as stream:
            return {"x": _header(stream, path.stat().st_size)}
    with zipfile.ZipFile(path) as archive:
        members = {Path(info.filename).stem: info for info in archive.infolist() if info.filename.endswith(".npy")}
        headers: dict[str, Header] = {}
        for name, info in members.items():
            if name in _KEYS:
                with archive.open(info) as stream:
                    headers[name] = _header(stream, info.file_size)
        return headers


def _header(stream: IO[bytes], size: int) -> Header:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format holds no plain array")
    shape, _, dtype = readers[version](stream)
    return Header(tuple(shape), dtype, size - stream.tell())


_PARTS = ("train", "validation", "test")
_KEYS = {name + part for name in "xy" for part in ("", *(f"_{part}" for part in _PARTS))}


def _outline(headers: Mapping[str, Header]) -> tuple[Shape, dict[str, int]]:
    """The event shape and the examples of each official part; ValueError says what does not fit."""
    if "x" in headers and "x_train" in headers:
        raise ValueError("it has both x and x_train; give one array, or parts")
    official = {"all": "x"} if "x" in headers else {p: f"x_{p}" for p in _PARTS if f"x_{p}" in headers}
    if "all" not in official and not {"train", "test"} <= set(official):
        raise ValueError("it has neither an array x, nor x_train and x_test (and x_validation, if there is one)")
    total = sum(_bytes(name, header) for name, header in headers.items())
    if total > LIMIT:
        raise ValueError(f"its arrays have {total} bytes, more than {LIMIT}")
    shapes = {name: _event(name, headers[name]) for name in official.values()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"its parts are of different shapes: {', '.join(f'{n} {s}' for n, s in shapes.items())}")
    for name in official.values():
        _check_labels(name, headers)
    return next(iter(shapes.values())), {part: headers[name].shape[0] for part, name in official.items()}


def _bytes(name: str, header: Header) -> int:
    if header.dtype.hasobject:
        raise ValueError(f"{name} holds Python objects; store it as an array of floats or uint8")
    expected = math.prod(header.shape) * header.dtype.itemsize
    if min(header.shape, default=1) < 0 or expected > header.available:
        raise ValueError(f"{name} is truncated: {header.available} bytes for {header.shape} {header.dtype}")
    return expected


def _event(name: str, header: Header) -> Shape:
    shape, dtype = header.shape, header.dtype
    if dtype != np.uint8 and dtype.kind != "f":
        raise ValueError(f"{name} is {dtype}; it must be floats, or uint8 (meaning value/255)")
    if not 2 <= len(shape) <= 4:
        raise ValueError(f"{name} has shape {shape}; it must be [n, d], [n, h, w] or [n, c, h, w]")
    if 0 in shape:
        raise ValueError(f"{name} is empty: shape {shape}")
    return (1, *shape[1:]) if len(shape) == 3 else shape[1:]


def _check_labels(name: str, headers: Mapping[str, Header]) -> None:
    labels, n = name.replace("x", "y", 1), headers[name].shape[0]
    header = headers.get(labels)
    if header is not None and (header.shape != (n,) or header.dtype.kind not in "biu"):
        raise ValueError(f"{labels} is {header.dtype} of shape {header.shape}; labels are {n} integers")


def _read(path: Path, sizes: Mapping[str, int]) -> dict[str, Part]:
    try:
        loaded: Any = np.load(path, allow_pickle=False)
        arrays: Mapping[str, Any] = {"x": loaded} if isinstance(loaded, np.ndarray) else loaded
        parts: dict[str, Part] = {}
        for part in sizes:
            end = "" if part == "all" else f"_{part}"
            labels = np.asarray(arrays[f"y{end}"]).astype(np.int64) if f"y{end}" in arrays else None
            parts[part] = Part(_values(path, f"x{end}", arrays[f"x{end}"]), labels)
        return parts
    except InputError:
        raise
    except (*_DAMAGED, KeyError) as error:
        raise InputError(f"own data {str(path)!r}: truncated or damaged ({error})") from error


def _values(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype != np.uint8:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            where = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
            raise InputError(f"own data {str(path)!r}: {name} has a value that is not finite, first in row {where}")
    array = np.ascontiguousarray(array)
    return array[:, None] if array.ndim == 3 else array
