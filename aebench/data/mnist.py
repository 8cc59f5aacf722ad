"""MNIST, Fashion-MNIST (idx files) and the fixed binarized MNIST (`.amat` files)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from aebench.data import files
from aebench.data.matlab import matrix
from aebench.data.source import Files, NoParameters, Part, Shape, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE: Shape = (1, 28, 28)
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_MNIST = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_FASHION = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
_BINARIZED = {
    "binarized_mnist_train.amat": "43490d4d6ac9002727af4426d8748609fdb7e4094fa65ad8d681ea60082a7a5a",
    "binarized_mnist_valid.amat": "069b4f0beb389b776478c3e872b4df71c95ac4be64d7cbe6d32e24ebac8e6d5e",
    "binarized_mnist_test.amat": "ca0294c3b8d984c7a1dc891015a8eea6f37bae59a34e35ea0fc8c47110a8dd86",
}


def idx(content: bytes) -> NDArray[np.uint8]:
    """The array of an idx file of unsigned bytes: magic 0, 0, 8, dimensions; big-endian sizes; the values."""
    if content[:3] != b"\0\0\x08" or len(content) < 4:
        raise ValueError("not an idx file of unsigned bytes")
    start = 4 + 4 * content[3]
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], ">u4"))
    return np.frombuffer(bytearray(content[start:]), np.uint8).reshape(shape)


def binary_rows(content: bytes) -> bytes:
    """An `.amat` file -> one byte, 0 or 1, a pixel, row after row: what its declared sha256 is of.

    The published files are text (0 and 1, separated by spaces); the same arrays also circulate as MATLAB 5 files with
    the key X. Their bytes differ, so the checksum is of the values.
    """
    if not content.startswith(b"MATLAB 5"):
        characters = np.frombuffer(content, np.uint8)
        return (characters[~np.isin(characters, list(b" \t\r\n"))] - ord("0")).tobytes()
    with np.errstate(invalid="ignore"):  # what is no number has another checksum anyway
        return np.ascontiguousarray(matrix(content, "X", files.LIMIT)).astype(np.uint8).tobytes()


MNIST_FILES = Files(
    name="mnist",
    sha256=dict(zip(NAMES, _MNIST, strict=True)),
    torchvision="MNIST",
    confused_with=frozenset(_FASHION),
)
FASHION_FILES = Files(
    name="fashion_mnist",
    sha256=dict(zip(NAMES, _FASHION, strict=True)),
    torchvision="FashionMNIST",
    system="/usr/share/datasets/fashion-mnist",
    confused_with=frozenset(_MNIST),
)
BINARIZED_FILES = Files(
    name="binarized_mnist",
    sha256=_BINARIZED,
    canonical=binary_rows,
    url="http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist",
)


def _grey(published: Files) -> Source:
    def read(p: NoParameters, seed: int) -> dict[str, Part]:
        arrays = {name: idx(content) for name, content in files.contents(published).items()}
        part = {
            which: Part(
                arrays[f"{which}-images-idx3-ubyte"].reshape(-1, *IMAGE),
                arrays[f"{which}-labels-idx1-ubyte"].astype(np.int64),
            )
            for which in ("train", "t10k")
        }
        return {"train": part["train"], "test": part["t10k"]}

    return Source(
        outline=lambda p: (IMAGE, {"train": 60_000, "test": 10_000}),
        read=read,
        checksum=_checksum(published),
        files=published,
        validation=10_000,
        stream=published.name,
        values="discrete",
    )


def _read_binarized(p: NoParameters, seed: int) -> dict[str, Part]:
    contents = files.contents(BINARIZED_FILES)
    pixels = [np.frombuffer(contents[name], np.uint8).reshape(-1, *IMAGE) * np.uint8(255) for name in _BINARIZED]
    return {part: Part(x) for part, x in zip(("train", "validation", "test"), pixels, strict=True)}


def _checksum(published: Files) -> str:
    """One checksum of all files: sha256 of their sha256 in the declared order."""
    return hashlib.sha256("".join(published.sha256.values()).encode()).hexdigest()


MNIST = _grey(MNIST_FILES)
FASHION_MNIST = _grey(FASHION_FILES)
DYNAMIC_MNIST = replace(MNIST, binarize=True, values="binary")
BINARIZED_MNIST = Source(
    outline=lambda p: (IMAGE, {"train": 50_000, "validation": 10_000, "test": 10_000}),
    read=_read_binarized,
    checksum=_checksum(BINARIZED_FILES),
    files=BINARIZED_FILES,
    values="binary",
)
