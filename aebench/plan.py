"""What running a suite would do now: its runs compared with the results that are there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from aebench.errors import InputError
from aebench.plugins import resolve
from aebench.store import Store
from aebench.suite import Run, Suite, packs, run_id
from aebench.variants import VARIANTS

Document = dict[str, Any]
LONG = ("curves", "metrics", "validation", "cost")
"""Parts of a document that are not looked at again once it is stored."""


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
    replaced: dict[str, Document] = field(default_factory=dict[str, Document])
    """Documents that are there and are to be replaced, as they were when this was planned."""
    allow_code: bool = False
    notes: tuple[str, ...] = ()

    def left(self, pack: Sequence[Run]) -> list[Run]:
        """The runs of a pack that are still to be trained, now; what others have finished since is taken over."""
        found = {run.id: document for run in pack if (document := self.store.read_or_note(run.id)) is not None}
        new = {id: document for id, document in found.items() if document != self.replaced.get(id)}
        done = {id: d for id, d in new.items() if whole(d, self._stored) and complete(d, self.store)}
        self.documents |= done
        self.stale |= {id: names for id, d in done.items() if (names := outdated(d, self.suite, self.allow_code))}
        return [run for run in pack if run.id not in done]

    def lacking(self, run: Run) -> list[str]:
        """The metrics that a finished run lacks, now."""
        document = self.store.read_or_note(run.id)
        if document is None:
            return []
        self.documents[run.id] = document
        return outdated(document, self.suite, self.allow_code)

    def _stored(self, id: str) -> bool:
        document = self.store.read_or_note(id)
        return document is not None and complete(document, self.store)


def slim(document: Document) -> Document:
    """Without what is long: that is on the disk, and need not be held until the last pack is trained."""
    return {key: value for key, value in document.items() if key not in LONG}


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
    held = {document["id"]: document for document in store.documents()}
    changed = [run.id for run in suite.runs if run.id in held and run_id(held[run.id]["spec"]) != run.id]
    stored = {id: document for id, document in held.items() if id not in changed and complete(document, store)}
    notes = tuple(f"{store.folder}/{id}.json: its specification is not that of its id: trained again" for id in changed)
    is_stored = stored.__contains__
    documents = {run.id: stored[run.id] for run in suite.runs if run.id in stored and whole(stored[run.id], is_stored)}
    if retry_failed:
        documents = {id: d for id, d in documents.items() if d["status"] == "ok"}
    stale = {id: names for id, d in documents.items() if (names := outdated(d, suite, allow_code))}
    if retrain:
        gone = {id for id in stale if not readable(store, id)}
        documents = {id: d for id, d in documents.items() if id not in gone}
    todo = [part for pack in packs(suite.runs) if (part := [run for run in pack if run.id not in documents])]
    replaced = {run.id: held[run.id] for pack in todo for run in pack if run.id in held}
    left = {id: names for id, names in stale.items() if id in documents}
    return Plan(suite, store, documents, todo, left, replaced, allow_code, notes)


def complete(document: Document, store: Store) -> bool:
    """Whether the arrays of a run are there, as far as a look at the end of their file can tell.

    They were written before the document; who lacks them has lost or damaged them since.
    """
    path = store.folder / f"{document['id']}.npz"
    return not document.get("arrays") or (path.is_file() and is_zipfile(path))  # a pipe would be waited for


def whole(document: Document, stored: Callable[[str], bool]) -> bool:
    """Whether all runs that were to train together with this one are there; else they are trained again together."""
    ids = document.get("together") or document["cost"].get("pack", {}).get("ids", ())
    return all(isinstance(id, str) and stored(id) for id in ids)


def readable(store: Store, id: str) -> bool:
    """Whether the weights of a run are there, and not broken."""
    try:
        return store.weights(id) is not None
    except InputError:
        return False


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
