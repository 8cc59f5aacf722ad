"""Runs -> settings, and their values by seed as one array."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import groups
from aebench.comparison.records import Entrant
from aebench.stats import Floats


@dataclass(frozen=True)
class Field:
    """The settings of one data set and what their runs have, `[entrants, seeds]` by the seeds of all of them."""

    entrants: tuple[Entrant, ...]
    seeds: NDArray[np.int64]
    """`[seeds]`, rising."""
    rows: NDArray[np.int64]
    """`[entrants, seeds]`: the row of the frame, -1 where there is no such run."""

    @property
    def held(self) -> NDArray[np.bool_]:
        """`[entrants, seeds]`: whether there is such a run."""
        return self.rows >= 0

    def of(self, column: NDArray[Any], missing: Any) -> NDArray[Any]:
        """A column of the frame, or several `[rows, ...]`, as `[entrants, seeds, ...]`."""
        found = column[self.rows]
        found[~self.held] = missing
        return found


def field(rows: DataFrame) -> Field:
    """The settings of one data set's runs, in order of appearance; a run that stands there twice counts once."""
    specs: Sequence[Mapping[str, Any]] = rows["spec"].tolist()
    data, ids, networks = str(rows["data"].iloc[0]), rows["id"].tolist(), rows["network"].tolist()
    texts: dict[str, int] = {}
    group = np.array([texts.setdefault(groups.without_seed(spec), len(texts)) for spec in specs], np.int64)
    seeds, place = np.unique(rows["seed"].to_numpy(np.int64), return_inverse=True)
    grid = np.full((len(texts), seeds.size), -1, np.int64)
    grid[group, place] = np.arange(len(specs))
    own = [[(seed, row) for seed, row in zip(seeds.tolist(), line, strict=True) if row >= 0] for line in grid.tolist()]
    firsts = [runs[0][1] for runs in own]
    labels = _told_apart(groups.labels([specs[row] for row in firsts], [networks[row] for row in firsts]))
    entrants = [
        Entrant(
            key=hashlib.sha256(text.encode()).hexdigest()[:8],
            data=data,
            variant=str(specs[first]["variant"]),
            label=label,
            network=networks[first],
            ids=tuple(ids[row] for _, row in runs),
            seeds=tuple(seed for seed, _ in runs),
            spec=specs[first],
        )
        for text, runs, first, label in zip(texts, own, firsts, labels, strict=True)
    ]
    return Field(tuple(entrants), seeds, grid)


def values_of(rows: DataFrame, names: Sequence[str]) -> Floats:
    """Numbers of the frame `[rows, names]`; NaN where a run failed, has none, or none that is finite."""
    found = rows[list(names)].to_numpy(np.float64, na_value=np.nan).copy()
    found[~np.isfinite(found)] = np.nan
    found[rows["status"].ne("ok").to_numpy()] = np.nan
    return found


def _told_apart(labels: Sequence[str]) -> list[str]:
    """Two schedules with the same ends read the same: the second of such labels is numbered, and so on."""
    seen: dict[str, int] = {}
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
    counts: dict[str, int] = {}
    told: list[str] = []
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
        told.append(f"{label} ({counts[label]})" if seen[label] > 1 else label)
    return told
