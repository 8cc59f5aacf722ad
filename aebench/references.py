"""Frozen references that scores are normalised against: PCA at equal latent size is 0, a stored strong run is 1.

They are numbers in a file of the package, not of the pool that is compared, so that a score does not move when a
variant is added. `tests/benchmarks/freeze_references.py` writes them from stored results.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from pandas import DataFrame

from aebench import groups
from aebench.comparison import boards
from aebench.comparison.budgets import budget, identity, in_words, latent
from aebench.comparison.marks import order
from aebench.comparison.records import MIN_SEEDS, Entrant
from aebench.comparison.rules import unranked
from aebench.plots import with_documents
from aebench.store.documents import Document
from aebench.store.frame import from_documents
from aebench.tables.numbers import COUNTED
from aebench.variants import VARIANTS

FILE = "references.json"
ZERO = "pca"
CHOSEN = (
    "0 is the mean of pca over its seeds, 1 that of the strong setting: of the settings of variants that ship with "
    "aebench, stored at the same latent size, that a leaderboard ranks by that measure, the one with the best mean. "
    f"Ranked are settings under one budget all of whose runs ended well, on {MIN_SEEDS} seeds or more; by an error no "
    "two with a latent KL, which trade error for KL. A measure by which none is better than pca has no reference."
)


@dataclass(frozen=True)
class Reference:
    """What is 0 and what is 1 by one measure, at one latent size on one data set."""

    data: Mapping[str, Any]
    latent: int
    measure: str
    zero: float
    one: float
    strong: str
    """The label of the setting that is 1."""


@dataclass(frozen=True)
class References:
    """All of a file."""

    found: tuple[Reference, ...]

    def find(self, spec: Mapping[str, Any], measure: str) -> Reference | None:
        """The reference for runs of this specification's data and latent size; None where there is none."""
        data, size = data_of(spec), latent(spec)
        return next((r for r in self.found if (r.latent, r.measure, r.data) == (size, measure, data)), None)


@cache
def load() -> References:
    """Those that ship with the package."""
    return read(json.loads(files("aebench").joinpath(FILE).read_text(encoding="utf-8")))


def read(tree: Mapping[str, Any]) -> References:
    """From what `frozen` gives."""
    return References(tuple(
        Reference(one["data"], one["latent"], name, measure["zero"], measure["one"], measure["strong"])
        for one in tree["references"].values()
        for name, measure in one["measures"].items()
    ))  # fmt: skip


def data_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same of data for a reference to hold: name, parameters, version, checksum, split."""
    data = spec["data"]
    return {"name": data.get("name"), "parameters": data.get("parameters") or {}, **identity(spec)}


def frozen(documents: Sequence[Document]) -> dict[str, Any]:
    """References from stored runs, as the file has them: JSON's own types, data sets by name."""
    frame = with_documents(from_documents(documents), {document["id"]: document for document in documents})
    about = frame.attrs["values"]
    names = [name for name in about if not unranked(name, about[name]) and not COUNTED.fullmatch(name)]
    found = {
        f"{label}, latent size {one['latent']}": one
        for label, rows in sorted(groups.datasets(frame), key=lambda pair: pair[0])
        for one in _of_data(rows, names, about)
    }
    made = [document.get("made") or {} for document in documents]
    return {
        "about": CHOSEN,
        "made": {
            "suites": sorted(set(frame["suite"])),
            **{key: sorted({str(one[key]) for one in made if one.get(key)}) for key in ("aebench", "commit", "device")},
        },
        "references": found,
    }


def _of_data(rows: DataFrame, names: Sequence[str], about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The references of one data set, latent size by latent size."""
    sizes = np.array([latent(spec) or 0 for spec in rows["spec"]])
    ours = np.array([variant in VARIANTS for variant in rows["variant"]])
    for size in dict.fromkeys(sizes[sizes > 0].tolist()):
        own = rows[ours & (sizes == size)]
        own.attrs = {"values": {name: about[name] for name in names}}
        if own.empty:
            continue
        (board,) = boards(own)
        measures: dict[str, Any] = {}
        used: dict[str, Entrant] = {}
        for measure in board.measures:
            ranked = order(board, measure).entrants
            zero = next((entrant for entrant in ranked if entrant.variant == ZERO), None)
            if zero is None or ranked[0].variant == ZERO:
                continue
            ends = [board.cells[entrant.key, measure.name].interval.mean for entrant in (zero, ranked[0])]
            if (ends[1] < ends[0]) == (measure.better == "lower"):  # over their own seeds, too
                used |= {entrant.label: entrant for entrant in (zero, ranked[0])}
                kept = {"unit": measure.unit, "better": measure.better, "zero": ends[0], "one": ends[1]}
                measures[measure.name] = {**kept, "strong": ranked[0].label}
        if measures:
            stored = {label: _stored(entrant) for label, entrant in used.items()}
            data = data_of(next(iter(used.values())).spec)
            yield {"data": data, "latent": size, "measures": measures, "settings": stored}


def _stored(entrant: Entrant) -> dict[str, Any]:
    """Where the numbers of a setting came from."""
    spent = in_words(budget(entrant.spec))
    return {"variant": entrant.variant, "network": entrant.network, "budget": spent, "ids": list(entrant.ids)}
