"""Files that were made to harm: what they claim to hold is refused before it costs memory, in one line."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from aebench.data import arrays, describe, files, load
from aebench.data.matlab import matrix
from aebench.data.mnist import idx
from aebench.data.source import Files
from aebench.errors import InputError
from aebench.store import Store


@contextmanager
def little_memory(limit: int) -> Iterator[None]:
    """No more than this is allocated at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


# ---- archives of arrays


def archive(path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members:
            file.writestr(zipfile.ZipInfo(name) if method == zipfile.ZIP_STORED else name, content)
    return path


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


X = np.linspace(0, 1, 60, dtype=np.float32).reshape(20, 3)


def test_a_bomb_is_refused_before_it_is_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    zeros = 1 << 26
    path = archive(tmp_path / "x.npz", [("x.npy", header((zeros // 12, 3)) + bytes(zeros))])
    assert path.stat().st_size < zeros // 900
    with little_memory(1 << 21), pytest.raises(ValueError, match="more than 1048576"):
        arrays.read(path, limit=1 << 20)
    monkeypatch.setattr(arrays.fit, "__defaults__", (1 << 20,))
    with little_memory(1 << 22), pytest.raises(InputError, match="more than 1048576"):
        describe(str(path))


def test_a_member_that_is_no_array_is_never_read(tmp_path: Path):
    """numpy hands out the bytes of a member `x` where an archive has `x.npy` too: 64 MiB of zeros, here."""
    path = archive(tmp_path / "x.npz", [("x", bytes(1 << 26)), ("x.npy", npy(X))])
    with little_memory(1 << 22):
        assert (load(describe({"path": str(path), "split": "none"})).train.x == X).all()


@pytest.mark.parametrize("name", ["../x.npy", "/x.npy", "a/x.npy", "..\\x", "x.npy/", "x.NPY"])
def test_members_with_other_names_are_no_arrays_and_no_files(tmp_path: Path, name: str):
    path = archive(tmp_path / "x.npz", [(name, npy(X))])
    with pytest.raises(InputError, match="neither an array x"):
        describe(str(path))
    assert [found.name for found in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path: Path):
    path = archive(tmp_path / "x.npz", [("x.npy", npy(X)), ("x.npy", npy(X + 1))])
    with pytest.raises(InputError, match="x stands twice"):
        describe(str(path))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path: Path, method: int):
    with pytest.raises(InputError, match="compressed in a way that numpy does not write"):
        describe(str(archive(tmp_path / "x.npz", [("x.npy", npy(X))], method)))


@pytest.mark.parametrize(
    "content",
    [header((2**62, 3)), header((2**62, 2**62)), header((-1, 3)) + bytes(99), header((10, 3)) + bytes(119),
     header((20, 3)) + bytes(241), header((5,), "|O") + bytes(99), b"\x93NUMPY\x01\0\xff\xff" + b"(" * 65535,
     b"\x93NUMPY\x01\0\x10\x27" + b"-" * 9999 + b"1", b"\x93NUMPY\x09\0", b"\x93NUMPY\x01\0\x04\0{0: "],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_headers_that_lie_are_one_line(tmp_path: Path, content: bytes, kind: str):
    path = tmp_path / f"x.{kind}"
    if kind == "npy":
        path.write_bytes(content)
    else:
        archive(path, [("x.npy", content)])
    if kind == "npy" and content == header((20, 3)) + bytes(241):
        assert load(describe(str(path))).train.x.shape[1:] == (3,)  # numpy appends arrays to a file: one byte more is
        return
    with little_memory(1 << 23), pytest.raises(InputError) as caught:
        load(describe(str(path)))
    assert str(caught.value).isprintable()


def test_too_little_memory_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.save(tmp_path / "x.npy", X)
    spec = describe(str(tmp_path / "x.npy"))

    def lacking(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array", lacking)
    with pytest.raises(InputError, match="MemoryError"):
        load(spec)


# ---- results of others


@pytest.mark.parametrize(
    "header",
    [b"", b"{", b"[]", json.dumps({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode(),
     json.dumps({"w": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode(),
     json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}).encode(),
     json.dumps({"w": {"dtype": "O", "shape": [1], "data_offsets": [0, 4]}}).encode()],
)  # fmt: skip
@pytest.mark.parametrize("length", [None, 2**63 - 1, 2**64 - 1])
def test_weights_whose_header_lies_are_one_line(tmp_path: Path, header: bytes, length: int | None):
    path = Store(tmp_path).weights_path("0" * 16)
    path.parent.mkdir()
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + bytes(4))
    with little_memory(1 << 22), pytest.raises(InputError, match="broken weights"):
        Store(tmp_path).weights("0" * 16)


def test_arrays_of_results_are_bounded_and_nothing_but_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = archive(tmp_path / f"{'0' * 16}.npz", [("x.npy", npy(X)), ("note", b"text"), ("../y.npy", npy(X))])
    assert list(Store(tmp_path).arrays("0" * 16)) == ["x"]
    monkeypatch.setattr(arrays.read, "__defaults__", (None, 100))
    with pytest.raises(InputError, match="more than 100"):
        Store(tmp_path).arrays("0" * 16)
    archive(path, [("x.npy", npy(np.array([{}], dtype=object)))])
    with pytest.raises(InputError, match="Python objects"):
        Store(tmp_path).arrays("0" * 16)


# ---- published files


def test_a_gz_bomb_is_read_no_further_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = bytes(1 << 26)
    (tmp_path / "values.gz").write_bytes(gzip.compress(content))
    monkeypatch.setenv("AEBENCH_DATA", str(tmp_path))
    monkeypatch.setattr(files, "LIMIT", 1 << 20)
    published = Files(name="trial", sha256={"values": sha256(content).hexdigest()})
    with little_memory(1 << 23), pytest.raises(InputError, match="more than 1048576 bytes"):
        files.contents(published)


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\x08", b"\0\0\x08\x01\0\0", b"\0\0\x08\x01\xff\xff\xff\xff", b"\0\0\x08\x02" + b"\xff" * 8,
     b"\0\0\x08\xff" + bytes(4 * 255), b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", b"\0\0\x08\x01\0\0\0\x02abc"],
)  # fmt: skip
def test_idx_headers_that_lie(content: bytes):
    with little_memory(1 << 20), pytest.raises(ValueError, match=r"idx|reshape|size|dimension|buffer"):
        idx(content)


# ---- MATLAB

KINDS = st.sampled_from(["u1", "i1", "u2", "i2", "i4", "u4", "f4", "f8", "i8", "u8"])


@settings(max_examples=60, deadline=None)
@given(
    kind=KINDS, shape=st.lists(st.integers(0, 4), min_size=2, max_size=3), zipped=st.booleans(), seed=st.integers(0, 99)
)
def test_matlab_arrays_are_those_that_scipy_reads(kind: str, shape: list[int], zipped: bool, seed: int):
    values = np.random.Generator(np.random.PCG64(seed)).integers(0, 100, shape).astype(kind)
    stream = io.BytesIO()
    savemat(stream, {"before": "text", "X": values, "after": np.eye(2)}, do_compression=zipped)
    expected = loadmat(io.BytesIO(stream.getvalue()))["X"]
    found = matrix(stream.getvalue(), "X", 1 << 20)
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


def mat(*elements: tuple[int, bytes]) -> bytes:
    body = b"".join(struct.pack("<II", kind, len(content)) + content for kind, content in elements)
    return b"MATLAB 5.0".ljust(124) + b"\0\1IM" + body


def matrix_of(flags: int, dims: list[int], values: bytes, kind: int = 2, name: bytes = b"X") -> bytes:
    def part(kind: int, content: bytes) -> bytes:
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    sizes = b"".join(struct.pack("<i", n) for n in dims)
    return part(6, struct.pack("<II", flags, 0)) + part(5, sizes) + part(1, name) + part(kind, values)


def test_a_matlab_file_by_hand():
    content = mat((14, matrix_of(9, [2, 3], bytes(range(6)))))
    assert matrix(content, "X", 99).tolist() == [[0, 2, 4], [1, 3, 5]]  # column by column
    assert loadmat(io.BytesIO(content))["X"].tolist() == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mat((15, zlib.compress(bytes(1 << 24)))), "more than 1000 bytes"),
        (mat((15, zlib.compress(bytes(99))[:-6])), "cut off"),
        (mat((15, b"no zlib")), "not a whole"),
        (mat((15, zlib.compress(struct.pack("<II", 15, 4) + b"abcd"))), "with an array X"),
        (mat((14, matrix_of(9, [2**31 - 1, 2**31 - 1], b"abc"))), "reshape"),
        (mat((14, matrix_of(9, [-1, 3], b"abc"))), "dimensions"),
        (mat((14, matrix_of(9, [], b"abc"))), "dimensions"),
        (mat((14, matrix_of(1, [1, 3], b"abc"))), "no full, real array"),
        (mat((14, matrix_of(9 | 0x0800, [1, 3], b"abc"))), "no full, real array"),
        (mat((14, matrix_of(9, [1, 3], b"abc", kind=14))), "no full, real array"),
        (mat((14, matrix_of(9, [1, 3], b"abc", name=b"Y"))), "with an array X"),
        (mat((14, matrix_of(9, [1, 3], b"abc")))[:-9], "is not there"),
        (mat()[:-2] + b"XX", "byte order"),
        (b"", "byte order"),
    ],
)
def test_matlab_files_that_lie(content: bytes, message: str):
    with little_memory(1 << 20), pytest.raises(ValueError, match=message):
        matrix(content, "X", 1000)


def test_of_a_compressed_element_only_the_first_array_is_looked_at():
    """Inflated, it might be millions of empty elements."""
    start = b"MATLAB 5".ljust(124) + b"\x00\x01IM"
    packed = zlib.compress(bytes(2**24))
    with little_memory(2**26), pytest.raises(ValueError, match="not a MATLAB 5 file with an array X"):
        matrix(start + struct.pack("<II", 15, len(packed)) + packed, "X", 2**24)
