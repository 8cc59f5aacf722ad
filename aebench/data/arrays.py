"""Arrays of `.npy` and `.npz` files: nothing is unpickled, nothing is extracted, nor read before its header fits.

numpy's own reader of archives hands out members that are no arrays, whatever their size, and goes by what a header says
it wants; here the member whose header was checked is the one that is read, and it has to end where its header says.
"""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Container, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aebench.errors import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMIT = 2**34
"""Bytes of the arrays of one file, uncompressed: 16 GiB."""
DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, IndexError, TypeError, RuntimeError, NotImplementedError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, OverflowError, tokenize.TokenError),
)
"""What reading a damaged or a malicious file may raise."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Header(NamedTuple):
    """What the header of an array says, and the bytes that the file really has for its values."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    available: int

    def bytes(self, name: str) -> int:
        """The bytes of its values; ValueError where they are Python objects, or the file has fewer."""
        if self.dtype.hasobject:
            raise ValueError(f"{name} holds Python objects; store it as an array of floats or uint8")
        expected = math.prod(self.shape) * self.dtype.itemsize
        if min(self.shape, default=1) < 0 or expected > self.available:
            raise ValueError(f"{name} is truncated: {self.available} bytes for {self.shape} {self.dtype}")
        return expected


def headers(path: Path, names: Container[str] | None = None) -> dict[str, Header]:
    """The headers of an archive's arrays, of these names where they are given; of a `.npy` file that of `x`.

    Raises one of `DAMAGED`.
    """
    if path.suffix.lower() == ".npy":
        with path.open("rb") as stream:
            return {"x": _header(stream, path.stat().st_size)}
    with zipfile.ZipFile(path) as archive:
        found: dict[str, Header] = {}
        for name, member in _members(archive, names).items():
            with archive.open(member) as stream:
                found[name] = _header(stream, member.file_size)
        return found


def fit(headers: Mapping[str, Header], limit: int = LIMIT) -> None:
    """Raise ValueError where the arrays are not what the file holds, or have more bytes together than the limit."""
    total = sum(header.bytes(name) for name, header in headers.items())
    if total > limit:
        raise ValueError(f"its arrays have {total} bytes, more than {limit}")


def read(path: Path, names: Container[str] | None = None, limit: int = LIMIT) -> dict[str, NDArray[Any]]:
    """The arrays of a file, as `headers` finds them. Raises one of `DAMAGED`."""
    checked = headers(path, names)
    fit(checked, limit)
    if path.suffix.lower() == ".npy":
        with path.open("rb") as stream:
            return {"x": _array(stream)}
    with zipfile.ZipFile(path) as archive:
        found: dict[str, NDArray[Any]] = {}
        for name, member in _members(archive, names).items():
            # only at its end the sum of a member is compared, so that is where the array has to end
            if checked[name].bytes(name) != checked[name].available:
                raise ValueError(f"{name} has more bytes than its header says")
            with archive.open(member) as stream:
                found[name] = _array(stream)
        return found


def why(error: Exception) -> str:
    """What a reader says of a damaged file, in one line."""
    return printable(str(error)) or type(error).__name__


def _members(archive: zipfile.ZipFile, names: Container[str] | None) -> dict[str, zipfile.ZipInfo]:
    """The archive's arrays by name; a member in a folder is none of them."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name == member.filename or "/" in name or (names is not None and name not in names):
            continue
        if name in found:
            raise ValueError(f"{name} stands twice in it")
        if member.compress_type not in _METHODS:
            raise ValueError(f"{name} is compressed in a way that numpy does not write")
        found[name] = member
    return found


def _header(stream: IO[bytes], size: int) -> Header:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the format holds no plain array")
    shape, _, dtype = readers[version](stream)
    return Header(tuple(shape), dtype, size - stream.tell())


def _array(stream: IO[bytes]) -> NDArray[Any]:
    return np.lib.format.read_array(stream, allow_pickle=False)
