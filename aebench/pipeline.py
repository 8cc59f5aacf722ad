"""The way through the house: suite -> what is missing -> train and measure -> store -> table and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from aebench import device as device_names
from aebench import manifest
from aebench.errors import InputError
from aebench.manifest import Books
from aebench.metrics import METRICS
from aebench.plan import Document, Plan, plan
from aebench.plugins import resolve
from aebench.progress import Progress
from aebench.store import Store
from aebench.suite import Run, parse, read

if TYPE_CHECKING:
    from pandas import DataFrame

    from aebench.clock import Ledger
    from aebench.variant import Model
    from aebench.work import Worker


@dataclass
class Done:
    """What running a suite did."""

    plan: Plan
    books: Books
    trained: int = 0
    measured: int = 0
    failed: list[Document] = field(default_factory=list[Document])
    """Runs of the suite, new or old, that did not end well."""
    notes: list[str] = field(default_factory=list[str])
    report: Path | None = None

    def keep(self) -> None:
        """Write down what the suite is, and where the time went."""
        self.books.keep(manifest.of(self.plan.suite), worked=bool(self.trained or self.measured))


def execute(
    todo: Plan,
    *,
    device: str = "auto",
    allow_code: bool = False,
    report: bool = True,
    progress: Progress | None = None,
    ledger: Ledger | None = None,
    engine: str = "auto",
) -> Done:
    """Train what is missing, measure what is outdated, draw the report. Each finished pack is kept at once.

    `ledger`: one that was opened before, so that what came before counts as well. `engine`: "auto", "eager" or
    "graph", how steps are carried out on CUDA.
    """
    device_names.check(device)
    done = Done(todo, Books(todo.store, ledger))
    if todo.packs or todo.stale:
        try:
            _work(todo, done, device, allow_code, progress or Progress(), engine)
        except BaseException:
            if done.trained or done.measured:
                done.keep()
            raise
    done.keep()
    ours = [todo.documents[run.id] for run in todo.suite.runs if run.id in todo.documents]
    done.failed = [document for document in ours if document["status"] != "ok" or document["error"]]
    others = len(set(todo.store.ids()) - {run.id for run in todo.suite.runs})
    if others:
        done.notes.append(f"not shown: {others} more runs in {todo.store.folder}, of other settings of this suite")
    if report:
        done.report = draw(done, allow_code)
    return done


def _work(todo: Plan, done: Done, device: str, allow_code: bool, progress: Progress, engine: str) -> None:
    ledger = done.books.ledger
    with ledger.stage("set-up"):
        from aebench.device import choose, exact
        from aebench.work import Worker

        suite, on = todo.suite, choose(device)
        worker = Worker(suite.name, on, suite.metrics, suite.keep_weights, allow_code, ledger, engine, suite.validated)
    with exact(on), progress, worker.ahead:
        with ledger.stage("set-up"):
            _check(todo.packs, worker)
            packs = [part for pack in todo.packs for part in worker.packs(pack)]
        done.keep()
        progress.start(packs)
        for place, pack in enumerate(packs):
            for following in packs[place + 1 : place + 2]:
                worker.look_ahead(following)
            progress.enter(pack)
            _train(pack, worker, done, progress)
            progress.leave(pack)
        _measure(worker, done, progress)


def _check(packs: Sequence[Sequence[Run]], worker: Worker) -> None:
    """Refuse what could only fail, before anything is trained, with its place in the suite."""
    for pack in packs:
        try:
            worker.check(pack)
        except InputError as error:
            raise InputError(f"{pack[0].place}: {error}") from error


def _train(pack: list[Run], worker: Worker, done: Done, progress: Progress) -> None:
    """Train and measure a pack, and keep what came of it."""
    store = done.plan.store
    published = list(worker.train(pack, progress.point))
    with done.books.ledger.stage("write"):
        published = [p for p in published if p[0]["status"] == "ok" or not held(store, p[0]["id"])]
        store.publish_all(published)
        done.plan.documents |= {document["id"]: document for document, _, _ in published}
        done.trained += len(pack)
        done.keep()


def _measure(worker: Worker, done: Done, progress: Progress) -> None:
    """Measure finished runs whose metrics are outdated, from their stored weights."""
    todo, lost = done.plan, 0
    stale = [run for run in todo.suite.runs if run.id in todo.stale]
    for run in progress.each(stale, "measuring"):
        publication = worker.again(run, todo.documents[run.id], todo.store, todo.stale[run.id])
        if publication is None:
            lost += 1
            continue
        with done.books.ledger.stage("write"):
            todo.store.publish(*publication)
        todo.documents |= {run.id: publication[0]}
        done.measured += 1
    if lost:
        done.notes.append(f"{lost} runs lack a metric and their weights were not kept: --retrain trains them again")


def held(store: Store, id: str) -> bool:
    """Whether a good result is stored already, which a failure must not replace."""
    document = store.read(id)
    return document is not None and document["status"] == "ok"


def evaluate(
    results: str | Path,
    metrics: Sequence[str] = (),
    *,
    device: str = "auto",
    allow_code: bool = False,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Measure the finished runs of a folder again from stored weights: the suite's metrics, and these.

    Gives the number of runs measured, and of those without weights. Raises InputError where there are no results.
    """
    store = Store(results)
    made_by, books = store.manifest(), Books(store)
    if made_by is None:
        raise InputError(f"{results}: no results of a suite (no suite.json)")
    words = made_by.get("arguments", [])
    pairs = [word.split("=", 1) for flag, word in pairwise(words) if flag == "--set"]
    suite = parse(made_by["text"], str(results), overrides=dict(pairs), allow_code=allow_code)
    extra = [resolve(METRICS, "metrics", name, allow_code=allow_code) for name in metrics]
    known = {metric.name for metric, _ in suite.metrics}
    chosen = [*suite.metrics, *((metric, metric.options()) for metric in extra if metric.name not in known)]
    with books.ledger.stage("set-up"):
        from aebench.device import choose, exact
        from aebench.work import Worker

        place = choose(device)
        worker = Worker(made_by["name"], place, chosen, False, allow_code, books.ledger, validated=suite.validated)
    finished = [d for d in store.documents() if d["status"] == "ok"]
    measured = 0
    names = {metric.name for metric, _ in chosen}
    try:
        with exact(place), progress or Progress() as shown:
            for document in shown.each(finished, "measuring"):
                publication = worker.again(Run(document["spec"], document["id"]), document, store, names)
                if publication is not None:
                    with books.ledger.stage("write"):
                        store.publish(*publication)
                    measured += 1
    finally:  # an interrupted command has taken its time too
        books.keep(made_by, worked=measured > 0)
    return measured, len(finished) - measured


def draw(done: Done, allow_code: bool = False) -> Path | None:
    """The report of a suite, drawn where results are newer than it; None where there is nothing to report."""
    todo, results, fresh = done.plan, done.plan.store.folder, done.trained or done.measured
    folder = results.parent.parent / "reports" / results.name
    page = folder / "index.html"
    newest = max((path.stat().st_mtime for path in results.glob("*.json")), default=0.0)
    if not fresh and page.exists() and page.stat().st_mtime >= newest:
        return page
    if not todo.documents:
        return None
    with done.books.ledger.stage("report"):
        from aebench.reporting import report

        return report(results, folder, allow_code=allow_code, drawn=done.keep)


def run(
    suite: str | Path,
    *,
    out: str | Path = ".",
    device: str = "auto",
    overrides: Mapping[str, str] = MappingProxyType({}),
    seeds: int | None = None,
    smoke: bool = False,
    allow_code: bool = False,
    report: bool = True,
    engine: str = "auto",
) -> DataFrame:
    """Run a suite, by path or by the name of one that ships with aebench: one row a run, as `aebench.load` gives.

    Results go to `out/results/<suite>/`, the report to `out/reports/<suite>/`; what is there already is not trained
    again. `engine`: as in `execute`. Raises InputError for a faulty suite; a run that fails is a row that says why.
    """
    from aebench.store import load

    wanted = read(suite, overrides=overrides, seeds=seeds, smoke=smoke, allow_code=allow_code)
    todo = plan(wanted, out, allow_code=allow_code)
    execute(todo, device=device, allow_code=allow_code, report=report, engine=engine)
    return load(todo.store.folder)


def load_model(results: str | Path, id: str, *, device: str = "cpu", allow_code: bool = False) -> Model:
    """The trained autoencoder of a run, from its stored weights: encode, decode, reconstruct and sample your own data.

    `results`: the folder of a suite's results. Raises InputError where run or weights are not there.
    """
    from aebench.device import choose
    from aebench.work import Worker

    store = Store(results)
    document, weights = store.read(id), store.weights(id)
    if document is None or weights is None:
        raise InputError(f"{results}: run {id!r} has no {'document' if document is None else 'stored weights'}")
    worker = Worker(document["suite"], choose(device), (), False, allow_code)
    model = worker.revive(document["spec"], weights, tuple(document["event_shape"])).model(0)
    model.net.requires_grad_(False)
    return model
