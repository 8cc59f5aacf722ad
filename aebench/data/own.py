"""Data of one's own: a `.npy` or `.npz` file. Nothing is unpickled, nor read before its header fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aebench.data import arrays, files
from aebench.data.arrays import DAMAGED, Header
from aebench.data.source import NoParameters, Part, Shape, Source
from aebench.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIXES = (".npy", ".npz")


def is_path(text: str) -> bool:
    """Whether the name of a dataset is the path of a file: it ends in a suffix, or has a slash, and is not code."""
    return text.lower().endswith(SUFFIXES) or (":" not in text and (Path(text).suffix != "" or "/" in text))


def source(text: str) -> Source:
    """The record of a file: its fingerprint as checksum, event shape and sizes from its headers.

    Raises InputError where it is missing, of another kind, damaged, or its arrays do not fit together.
    """
    path = _found(text)
    try:
        headers = arrays.headers(path, _KEYS)
        checksum = files.fingerprint(path)
    except DAMAGED as error:
        raise InputError(f"own data {text!r}: truncated or damaged ({arrays.why(error)})") from error
    try:
        shape, sizes = _outline(headers)
        discrete = any(header.dtype == np.uint8 for name, header in headers.items() if name.startswith("x"))
    except ValueError as error:
        raise InputError(f"own data {text!r}: {error}") from error

    def read(p: NoParameters, seed: int) -> dict[str, Part]:
        return _read(path, sizes)

    values = "discrete" if discrete else "continuous"
    return Source(outline=lambda p: (shape, sizes), read=read, checksum=checksum, values=values)


def _found(text: str) -> Path:
    """The file of this path; InputError where there is none that could hold arrays."""
    try:
        path = Path(text).expanduser()
        if path.suffix.lower() in SUFFIXES and not path.is_file():
            raise InputError(f"own data {text!r}: no such file")
    except (OSError, RuntimeError) as error:  # a name that is too long, a user who is not there
        raise InputError(f"own data {text!r}: {getattr(error, 'strerror', None) or error}") from error
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"own data {text!r}: a file of {' or '.join(SUFFIXES)} is supported")
    return path


_PARTS = ("train", "validation", "test")
_KEYS = {name + part for name in "xy" for part in ("", *(f"_{part}" for part in _PARTS))}


def _outline(headers: Mapping[str, Header]) -> tuple[Shape, dict[str, int]]:
    """The event shape and the examples of each official part; ValueError says what does not fit."""
    if "x" in headers and "x_train" in headers:
        raise ValueError("it has both x and x_train; give one array, or parts")
    official = {"all": "x"} if "x" in headers else {p: f"x_{p}" for p in _PARTS if f"x_{p}" in headers}
    if "all" not in official and not {"train", "test"} <= set(official):
        raise ValueError("it has neither an array x, nor x_train and x_test (and x_validation, if there is one)")
    arrays.fit(headers)
    shapes = {name: _event(name, headers[name]) for name in official.values()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"its parts are of different shapes: {', '.join(f'{n} {s}' for n, s in shapes.items())}")
    for name in official.values():
        _check_labels(name, headers)
    return next(iter(shapes.values())), {part: headers[name].shape[0] for part, name in official.items()}


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
        found = arrays.read(path, _KEYS)
        parts: dict[str, Part] = {}
        for part in sizes:
            end = "" if part == "all" else f"_{part}"
            labels = found[f"y{end}"].astype(np.int64) if f"y{end}" in found else None
            parts[part] = Part(_values(path, f"x{end}", found[f"x{end}"]), labels)
        return parts
    except InputError:
        raise
    except DAMAGED as error:
        raise InputError(f"own data {str(path)!r}: truncated or damaged ({arrays.why(error)})") from error


def _values(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype != np.uint8:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
        if not np.isfinite(array).all():
            where = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
            raise InputError(f"own data {str(path)!r}: {name} has a value that is not finite, first in row {where}")
    array = np.ascontiguousarray(array)
    return array[:, None] if array.ndim == 3 else array
