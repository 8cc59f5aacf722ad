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
from aebench.comparison.budgets import budget, identity, in_words, latent
from aebench.comparison.entrants import field, values_of
from aebench.comparison.records import MIN_SEEDS, Entrant
from aebench.comparison.rules import COUNTED, unranked
from aebench.plots import with_documents
from aebench.stats import Floats
from aebench.store.documents import Document
from aebench.store.frame import from_documents
from aebench.variants import VARIANTS

FILE = "references.json"
ZERO = "pca"
CHOSEN = (
    "0 is the mean of pca over its seeds, 1 that of the strong setting: of the settings of variants that ship with "
    f"aebench, stored at the same latent size, all of whose runs ended well on {MIN_SEEDS} seeds or more, the one with "
    "the best mean by that measure. A measure by which none is better than pca has no reference."
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
        if one["measures"]
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
    found = field(rows)
    held = found.held[..., None]
    values = np.where(held, found.of(values_of(rows, names), np.nan), 0.0)  # [entrants, seeds, names]
    means = values.sum(axis=1) / held.sum(axis=1)  # NaN where a run failed or lacks the value
    means[[e.variant not in VARIANTS or len(e.seeds) < MIN_SEEDS for e in found.entrants]] = np.nan
    networks = dict(zip(rows["id"], rows["network"], strict=True))
    sizes = [latent(entrant.spec) for entrant in found.entrants]
    for size in dict.fromkeys(sizes):
        own = [n for n, other in enumerate(sizes) if other == size]
        zero = next((n for n in own if found.entrants[n].variant == ZERO), None)
        if zero is None:
            continue
        used: dict[int, None] = {zero: None}
        measures: dict[str, Any] = {}
        for m, name in enumerate(names):
            one = _strong(means[own, m], about[name]["better"])
            sign = 1 if about[name]["better"] == "lower" else -1
            if one is not None and sign * means[own[one], m] < sign * means[zero, m]:
                used[own[one]] = None
                ends = {"zero": float(means[zero, m]), "one": float(means[own[one], m])}
                kept = {key: about[name][key] for key in ("unit", "better")}
                measures[name] = {**kept, **ends, "strong": found.entrants[own[one]].label}
        stored = {found.entrants[n].label: _stored(found.entrants[n], networks) for n in used}
        yield {"data": data_of(found.entrants[zero].spec), "latent": size, "measures": measures, "settings": stored}


def _strong(means: Floats, better: str) -> int | None:
    """The place of the best mean, the first among equals; None where there is none."""
    if np.isnan(means).all():
        return None
    return int(np.nanargmin(means) if better == "lower" else np.nanargmax(means))


def _stored(entrant: Entrant, networks: Mapping[str, str]) -> dict[str, Any]:
    """Where the numbers of a setting came from."""
    network, spent = networks[entrant.ids[0]], in_words(budget(entrant.spec))
    return {"variant": entrant.variant, "network": network, "budget": spent, "ids": list(entrant.ids)}
