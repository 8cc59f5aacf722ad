"""Splits: official parts stay, data without them are divided by the split seed, generated data are drawn by it.

A split in a specification is one of
`{"kind": "official"}`, `{"kind": "none"}` (train = validation = test = all training points),
`{"kind": "random", "seed": 0, "validation": 0.1, "test": 0.1}` (no "test" where an official one exists; whole numbers
are examples), `{"kind": "draws", "seed": 0}`. A generated dataset keeps its seed under "none" too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aebench.data.source import Part, Source
from aebench.errors import InputError, unknown
from aebench.streams import key

PARTS = ("train", "validation", "test")


def generator(seed: int, name: str) -> np.random.Generator:
    """The start of a stream of the split: numpy's, on the CPU, so that data need no torch."""
    return np.random.Generator(np.random.PCG64(key(seed, "split", name)))


def plan(name: str, source: Source, official: Mapping[str, int], asked: object, seed: int) -> dict[str, Any]:
    """The canonical split that a suite asks for: nothing, "none", or a mapping of sizes."""
    seeded = {"seed": seed}
    if asked == "none":
        return {"kind": "none", **(seeded if source.drawn else {})}
    if asked is not None and not isinstance(asked, Mapping):
        raise InputError(f"{name}: split is 'none' or a mapping of validation and test sizes, not {asked!r}")
    open_parts = _open(official)
    sizes: Mapping[Any, Any] = asked or {}
    if sizes and not open_parts:
        ours = "the parameters n, n_validation and n_test" if source.drawn else "official"
        raise InputError(f"{name}: the sizes of its parts are {ours}; split may only be 'none'")
    if not open_parts:
        return {"kind": "draws", **seeded} if source.drawn else {"kind": "official"}
    for part in sizes:
        if part not in open_parts:
            raise unknown(f"split of {name}", part, open_parts)
    defaults = {"validation": source.validation, "test": source.test}
    chosen = {part: _size(name, part, sizes.get(part, defaults[part])) for part in open_parts}
    return {"kind": "random", **seeded, **chosen}


def lengths(name: str, official: Mapping[str, int], split: Mapping[str, Any]) -> tuple[int, int, int]:
    """Examples of train, validation and test after the split; InputError where none is left to train on."""
    whole = official.get("all", official.get("train", 0))
    if split["kind"] == "none":
        return whole, whole, whole
    if split["kind"] != "random":
        return official["train"], official["validation"], official["test"]
    sizes = {part: _count(split[part], whole) for part in _open(official)}
    train = whole - sum(sizes.values())
    if train < 1:
        asked = ", ".join(f"{part} {split[part]}" for part in sizes)
        raise InputError(f"{name}: {asked} leaves none of its {whole} examples to train on (split: none takes all)")
    return train, sizes["validation"], sizes.get("test", official.get("test", 0))


def apply(name: str, parts: Mapping[str, Part], split: Mapping[str, Any], stream: str) -> tuple[Part, Part, Part]:
    """Train, validation and test of the official parts. Within a part the examples keep their order."""
    if split["kind"] == "none":
        whole = parts["all"] if "all" in parts else parts["train"]
        return whole, whole, whole
    if split["kind"] != "random":
        return parts["train"], parts["validation"], parts["test"]
    official = {part: len(value.x) for part, value in parts.items()}
    train, validation, _ = lengths(name, official, split)
    whole = parts["all"] if "all" in parts else parts["train"]
    index = generator(split["seed"], stream).permutation(len(whole.x))
    pieces = np.split(index, [train, train + validation])
    train_part, validation_part, rest = (whole.take(np.sort(piece)) for piece in pieces)
    return train_part, validation_part, parts.get("test", rest)


def _open(official: Mapping[str, int]) -> tuple[str, ...]:
    """The parts that have to be split off."""
    return tuple(part for part in PARTS[1:] if part not in official)


def _size(name: str, part: str, value: object) -> int | float:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if isinstance(value, float) and 0 < value < 1:
        return value
    raise InputError(f"{name}: split {part} is a number of examples or a fraction between 0 and 1, not {value!r}")


def _count(size: float, n: int) -> int:
    return size if isinstance(size, int) else max(1, round(size * n))
