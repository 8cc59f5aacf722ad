"""What running a suite would do now: its runs compared with the results that are there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aebench.plugins import resolve
from aebench.store import Store
from aebench.suite import Run, Suite, packs
from aebench.variants import VARIANTS

Document = dict[str, Any]


@dataclass
class Plan:
    """What running a suite would do now."""

    suite: Suite
    store: Store
    documents: dict[str, Document]
    """Finished runs of the suite, by id."""
    packs: list[list[Run]]
    """To train: of each pack the runs that are missing."""
    stale: dict[str, list[str]]
    """Run id -> the metrics to measure from stored weights: those that the suite asks for and the run lacks."""


def plan(
    suite: Suite,
    out: str | Path = ".",
    *,
    retry_failed: bool = False,
    retrain: bool = False,
    allow_code: bool = False,
) -> Plan:
    """Compare a suite with the results below `out`. Nothing is written, and torch is not imported."""
    store = Store(Path(out) / "results" / suite.name)
    store.missing(run.id for run in suite.runs)  # refuses results of a newer schema
    stored = {document["id"]: document for document in store.documents()}
    documents = {run.id: stored[run.id] for run in suite.runs if run.id in stored and whole(stored[run.id], stored)}
    if retry_failed:
        documents = {id: d for id, d in documents.items() if d["status"] == "ok"}
    stale = {id: names for id, d in documents.items() if (names := outdated(d, suite, allow_code))}
    if retrain:
        gone = {id for id in stale if not store.weights_path(id).exists()}
        documents = {id: d for id, d in documents.items() if id not in gone}
    todo = [part for pack in packs(suite.runs) if (part := [run for run in pack if run.id not in documents])]
    return Plan(suite, store, documents, todo, {id: names for id, names in stale.items() if id in documents})


def whole(document: Document, stored: Mapping[str, Document]) -> bool:
    """Whether all runs that trained together with this one were published; else they are trained again together."""
    return all(id in stored for id in document["cost"].get("pack", {}).get("ids", ()))


def outdated(document: Document, suite: Suite, allow_code: bool = False) -> list[str]:
    """The suite's metrics that a finished run lacks, or has of another version or with other options.

    Of a tuned suite the metric that chooses is wanted on the validation part as well.
    """
    if document["status"] != "ok":
        return []
    variant = resolve(VARIANTS, "variants", document["spec"]["variant"], allow_code=allow_code)
    sizes = variant.sizes(**document["spec"]["sizes"])
    names: list[str] = []
    for metric, options in suite.metrics:
        want = {"version": metric.version, "options": json.loads(json.dumps(options._asdict()))}
        parts = ("metrics", "validation") if metric.name == suite.validated else ("metrics",)
        have = [document.get(part, {}).get(name, {}) for part in parts for name in metric.values(options)]
        if metric.applies(variant.offers(sizes), sizes.latent) and any(
            {key: h.get(key) for key in want} != want for h in have
        ):
            names.append(metric.name)
    return names
