"""Finished runs measured again from their stored weights: what a suite lacks of them, or all that a folder holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from aebench.claims import Claims
from aebench.errors import InputError
from aebench.manifest import Books
from aebench.metrics import METRICS
from aebench.plan import Document
from aebench.plugins import resolve
from aebench.progress import Progress
from aebench.store import Store
from aebench.suite import Run, asked_for, parse, run_id

if TYPE_CHECKING:
    from aebench.work import Worker


def measured_again(
    claimed: Iterable[tuple[Run, Sequence[str]]],
    worker: Worker,
    store: Store,
    present: Callable[[str], Document],
    say: Callable[[str], None],
) -> Iterator[tuple[str, Document | None]]:
    """Measure these metrics of each run, which is claimed meanwhile, and store them: its id and its new document.

    `present(id)`: the document as it is now that the run is claimed. None instead of a document where a run has no
    weights; where they are broken `say` hears so. Runs without a metric to measure are passed over.
    """
    for run, names in claimed:
        if not names:
            continue
        try:
            publication = worker.again(run, present(run.id), store, names)
        except InputError as error:
            publication = None
            say(str(error))
        if publication is not None:
            with worker.ledger.stage("write"):
                store.publish(*publication)
        yield run.id, publication and publication[0]


def evaluate(
    results: str | Path,
    metrics: Sequence[str] = (),
    *,
    device: str = "auto",
    allow_code: bool = False,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Measure the finished runs of a folder again from stored weights: the suite's metrics, and these.

    Each run is claimed while it is measured, so that what other commands find at the same time stays. Gives the number
    of runs measured, and of those that could not be: without weights, or with broken ones, or whose specification was
    changed by hand. Raises InputError where there are no results.
    """
    store, shown = Store(results), progress or Progress()
    made_by, books = store.manifest(), Books(store)
    lacks = ["suite.json"] if made_by is None else [k for k in ("text", "name") if not isinstance(made_by.get(k), str)]
    if made_by is None or lacks:
        raise InputError(f"{results}: no results of a suite: {'no' if made_by is None else 'it has no'} {lacks[0]}")
    overrides = asked_for(made_by.get("arguments", []))["overrides"]
    suite = parse(made_by["text"], str(results), overrides=overrides, allow_code=allow_code)
    extra = [resolve(METRICS, "metrics", name, allow_code=allow_code) for name in metrics]
    known = {metric.name for metric, _ in suite.metrics}
    chosen = [*suite.metrics, *((metric, metric.options()) for metric in extra if metric.name not in known)]
    with books.ledger.stage("set-up"):
        from aebench.device import choose, exact
        from aebench.work import Worker

        place = choose(device)
        worker = Worker(
            made_by["name"], place, chosen, False, allow_code, books.ledger, "auto", suite.validated, suite.determinism
        )
    finished = [Run(document["spec"], document["id"]) for document in store.documents() if document["status"] == "ok"]
    changed = {run.id for run in finished if run_id(run.spec) != run.id}
    present = dict[str, Document]()

    def left(run: Run) -> list[str]:
        document = store.read_or_note(run.id)
        if document is None or document["status"] != "ok" or run.id in changed:
            return []
        present[run.id] = document
        return [metric.name for metric, _ in chosen]

    measured = 0
    try:
        with exact(place, suite.determinism), shown, Claims(store.folder) as claims:
            for id in changed:
                shown.say(f"{store.folder}/{id}.json: not measured, as its specification is not that of its id")
            shared = shown.each(claims.share(finished, attrgetter("id"), left, shown.wait), "measuring", len(finished))
            for id, document in measured_again(shared, worker, store, present.__getitem__, shown.say):
                measured += document is not None
                del present[id]
    finally:  # an interrupted command has taken its time too
        books.keep(made_by, worked=measured > 0)
    return measured, len(finished) - measured
