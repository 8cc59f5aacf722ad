"""One array of a MATLAB 5 file, from bytes that nobody has checked yet.

A reader of all that MATLAB can store follows nested cells, structures and sizes of up to 4 GiB wherever a file says so.
This one takes a full, real array of numbers, and what it inflates is bounded.
Source: MathWorks, "MAT-File Format", chapter "Level 5 MAT-File Format".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""How numbers are stored, by the code of a data element."""
_MATRIX, _COMPRESSED = 14, 15
_NUMERIC = range(6, 16)
"""Classes of arrays: double, single and the integers."""
_COMPLEX = 0x0800
_START = 128


def matrix(content: bytes, name: str, limit: int) -> NDArray[Any]:
    """The array of this name, of at most `limit` bytes as it is stored.

    Raises ValueError where there is none, it is no full and real array of numbers, or the file is damaged.
    """
    orders = {b"IM": "<", b"MI": ">"}
    order = orders.get(content[126:_START])
    if order is None:
        raise ValueError("not a MATLAB 5 file: no mark of its byte order")
    for kind, payload in _elements(content[_START:], order):
        if kind == _COMPRESSED:
            kind, payload = next(_elements(_inflated(payload, limit), order), (0, b""))
        if kind == _MATRIX:
            parts = list(_elements(payload, order, 4))
            if len(parts) == 4 and parts[2][1] == name.encode():
                return _numbers(name, parts, order)
    raise ValueError(f"not a MATLAB 5 file with an array {name}")


def _elements(data: bytes, order: str, number: int = -1) -> Iterator[tuple[int, bytes]]:
    """The data elements that stand one after another, at most so many: (type, bytes)."""
    at = 0
    while at < len(data) and number != 0:
        if at + 8 > len(data):
            raise ValueError("not a whole MATLAB 5 file: it ends in the middle of a tag")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start = at + 8
        if kind >> 16:  # up to four bytes stand in the tag itself
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            end = at + 8
        else:
            end = start + size if kind == _COMPRESSED else start + -(-size // 8) * 8
        if start + size > min(end, len(data)):
            raise ValueError(f"not a whole MATLAB 5 file: an element of {size} bytes is not there")
        yield kind, data[start : start + size]
        at, number = end, number - 1


def _inflated(payload: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        data = stream.decompress(payload, limit + 1)
    except zlib.error as error:
        raise ValueError(f"not a whole MATLAB 5 file: {error}") from error
    if len(data) > limit:
        raise ValueError(f"a compressed element has more than {limit} bytes")
    if not stream.eof:
        raise ValueError("not a whole MATLAB 5 file: a compressed element is cut off")
    return data


def _numbers(name: str, parts: list[tuple[int, bytes]], order: str) -> NDArray[Any]:
    """The values of an array from its flags, dimensions, name and real part; they lie column by column."""
    (_, flags), (_, sizes), _, (kind, values) = parts
    flag = int.from_bytes(flags[:4], "little" if order == "<" else "big")
    if flag & 0xFF not in _NUMERIC or flag & _COMPLEX or kind not in _NUMBERS:
        raise ValueError(f"{name} is no full, real array of numbers")
    shape = [int(n) for n in np.frombuffer(sizes, f"{order}i4")]
    if min(shape, default=-1) < 0:
        raise ValueError(f"{name} has dimensions {shape}")
    return np.frombuffer(values, f"{order}{_NUMBERS[kind]}").reshape(shape, order="F")
