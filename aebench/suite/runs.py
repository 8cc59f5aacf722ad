"""The runs of a suite: what names each, and which of them may train together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aebench.data import ASIDE
from aebench.suite.recipe import SWEPT


@dataclass(frozen=True)
class Run:
    """One training: its canonical specification, and the id that names it (16 hexadecimal digits)."""

    spec: dict[str, Any]
    id: str
    place: str = field(default="", compare=False)
    """Where the suite asks for it: `file:line: runs[0]`."""


def packs(runs: Iterable[Run]) -> list[list[Run]]:
    """Runs that may train together, in order of first appearance: they differ in floats and seeds alone.

    Within a pack equal settings of the optimiser are neighbours, and within those equal seeds.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(_shape(run.spec), []).append(run)
    ordered: list[list[Run]] = []
    for group in groups.values():
        setting = _ranks(_setting(run.spec["train"]) for run in group)
        seed = _ranks(run.spec["seed"] for run in group)
        order = sorted(range(len(group)), key=lambda n, s=setting, r=seed: (s[n], r[n]))
        ordered.append([group[n] for n in order])
    return ordered


def run_id(spec: Mapping[str, Any]) -> str:
    """sha256[:16] of the canonical specification; where a user's own file lies does not belong to it."""
    named = {**spec, "data": {key: value for key, value in spec["data"].items() if key not in ASIDE}}
    return hashlib.sha256(_text(named).encode()).hexdigest()[:16]


def pack_id(pack: Iterable[Run]) -> str:
    """What names the composition of a pack: 16 hexadecimal digits."""
    return hashlib.sha256(" ".join(run.id for run in pack).encode()).hexdigest()[:16]


def shape_id(run: Run) -> str:
    """What names all runs that may train together with this one, of whatever suite: 16 hexadecimal digits."""
    return hashlib.sha256(_shape(run.spec).encode()).hexdigest()[:16]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _ranks(values: Iterable[Hashable]) -> list[int]:
    """For each value the place of its first appearance among the distinct ones."""
    known: dict[Hashable, int] = {}
    return [known.setdefault(value, len(known)) for value in values]


def _setting(train: Mapping[str, Any]) -> str:
    return _text([train.get(name) for name in (*SWEPT, "optimizer")])


def _shape(spec: Mapping[str, Any]) -> str:
    """What the runs of a pack share: all but the seed and the floats (whether there is clipping splits)."""
    train = {key: None if key in SWEPT else value for key, value in spec["train"].items()}
    train["optimizer"] = _without_floats(train["optimizer"])
    return _text({**spec, "train": train, "hyper": None, "seed": None})


def _without_floats(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_floats(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_floats(part) for part in value]
    return None if isinstance(value, float) else value
