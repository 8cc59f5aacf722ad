"""Files of data that were damaged or made to harm: arrays of the declared shape, or one line."""

from __future__ import annotations

import gzip
import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import broken_bytes, fuzz, refusal
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from aebench.data import describe, files, load, outline
from aebench.data.matlab import matrix
from aebench.data.mnist import binary_rows, idx
from aebench.data.source import Files

X = np.random.Generator(np.random.PCG64(0)).random((20, 3)).astype(np.float32)
BYTES = (X * 255).astype(np.uint8)
PARTS = {"x_train": X, "x_test": X[:5], "y_train": np.arange(20), "y_test": np.arange(5)}


def written(save: Any, *arguments: Any, **named: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, *arguments, **named)
    return stream.getvalue()


NPY = [written(np.save, X), written(np.save, BYTES), written(np.save, np.asfortranarray(X.astype(">f8")))]
NPZ = [
    written(np.savez, x=X, y=np.arange(20)),
    written(np.savez_compressed, x=BYTES),
    written(np.savez_compressed, **PARTS),
]
IDX = b"\0\0\x08\x03" + np.array([5, 4, 3], ">u4").tobytes() + bytes(range(60))
MAT = [
    written(savemat, {"X": BYTES.T}, do_compression=zipped) for zipped in (False, True)
] + [written(savemat, {"a": 1, "X": X.astype(np.float64), "text": "words"}, do_compression=True)]  # fmt: skip
old_headers = pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "cache", lambda: tmp_path / "cache")
    return tmp_path


def own(path: Path, content: bytes) -> None:
    """Data of one's own are what their description says, or one line."""
    path.write_bytes(content)
    stamp = time.time_ns() - 10**9  # recent, so that no fingerprint is remembered
    os.utime(path, ns=(stamp, stamp))
    if refusal(lambda: load(describe(str(path)))):
        return
    spec = describe(str(path))
    (shape, sizes), dataset = outline(spec), load(spec)
    for part, size in zip((dataset.train, dataset.validation, dataset.test), sizes, strict=True):
        assert part.x.shape == (size, *shape)
        assert part.x.dtype in (np.float32, np.uint8)
        assert np.isfinite(part.x).all()


@old_headers
@fuzz(0.06)
@given(content=broken_bytes(st.sampled_from(NPY)))
def test_broken_npy(place: Path, content: bytes):
    own(place / "x.npy", content)


@old_headers
@fuzz(0.08)
@given(content=broken_bytes(st.sampled_from(NPZ)))
def test_broken_npz(place: Path, content: bytes):
    own(place / "x.npz", content)


@fuzz(0.02)
@given(content=broken_bytes(st.just(IDX)))
def test_broken_idx(content: bytes):
    if not refusal(lambda: idx(content), ValueError):
        found = idx(content)
        assert found.dtype == np.uint8
        assert 4 + 4 * found.ndim + found.size == len(content)


@fuzz(0.03)
@given(content=broken_bytes(st.just(gzip.compress(IDX, mtime=0))))
def test_broken_gz(place: Path, content: bytes):
    """Only the file whose content has the declared checksum is taken."""
    from hashlib import sha256

    published = Files(name="trial", sha256={"values": sha256(IDX).hexdigest()})
    (place / "values.gz").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEBENCH_DATA", str(place))
        if not refusal(lambda: files.contents(published)):
            assert files.contents(published) == {"values": IDX}


@fuzz(0.05)
@given(content=broken_bytes(st.sampled_from(MAT)))
def test_broken_mat(content: bytes):
    refusal(lambda: binary_rows(content), ValueError)
    if not refusal(lambda: matrix(content, "X", 2**20), ValueError):
        assert matrix(content, "X", 2**20).nbytes <= 2**20
