"""The way through the house: suite -> what is missing -> train and measure -> store -> table and report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from aebench import device as device_names
from aebench import manifest
from aebench.claims import Claims, tidy
from aebench.crew import Crew, Orders, advice, check, for_several
from aebench.errors import DataError, InputError
from aebench.evaluation import evaluate as evaluate
from aebench.evaluation import measured_again
from aebench.manifest import Books
from aebench.plan import Document, Plan, plan, slim
from aebench.progress import Progress
from aebench.stopping import Safety
from aebench.store import Publication, Store
from aebench.suite import Run, pack_id, read

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

    def add(self, documents: Iterable[Document], trained: int) -> None:
        """What was stored of so many runs."""
        self.plan.documents |= {document["id"]: slim(document) for document in documents}
        self.trained += trained
        self.keep()

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
    safety: Safety | None = None,
    processes: int = 1,
) -> Done:
    """Train what is missing, measure what is outdated, draw the report. Each finished pack is kept at once.

    `ledger`: one that was opened before, so that what came before counts as well. `engine`: "auto", "eager" or
    "graph", how steps are carried out on CUDA. `safety`: how often training is kept, and what stops it. `processes`: so
    many that train on the CPU at the same time; see `crew`.
    """
    device_names.check(device)
    done = Done(todo, Books(todo.store, ledger), notes=[*todo.notes])
    if todo.packs or todo.stale:
        try:
            _work(todo, done, device, allow_code, progress or Progress(), engine, safety or Safety(), processes)
        except BaseException:
            if done.trained or done.measured:
                done.keep()
            raise
    done.keep()
    tidy(todo.store.folder, {id for id, document in todo.documents.items() if document["status"] == "ok"})
    ours = [todo.documents[run.id] for run in todo.suite.runs if run.id in todo.documents]
    done.failed = [document for document in ours if document["status"] != "ok" or document["error"]]
    others = len(set(todo.store.ids()) - {run.id for run in todo.suite.runs})
    if others:
        done.notes.append(f"not shown: {others} more runs in {todo.store.folder}, of other settings of this suite")
    if report:
        done.report = draw(done, allow_code)
    return done


def _work(
    todo: Plan, done: Done, device: str, allow_code: bool, progress: Progress, engine: str, safety: Safety,
    processes: int,
) -> None:  # fmt: skip
    ledger = done.books.ledger
    with ledger.stage("set-up"):
        from aebench.device import choose, exact
        from aebench.keeper import Keeper
        from aebench.work import Worker

        suite, on = todo.suite, choose(device)
        check(processes, on.type)
        worker = Worker(
            suite.name, on, suite.metrics, suite.keep_weights, allow_code, ledger, engine, suite.validated,
            suite.determinism,
        )  # fmt: skip
        worker.keeper = Keeper(todo.store.folder, safety, progress.say, suite.time_limit, progress.resume)
    with exact(on, suite.determinism, done.notes.append), progress, worker.ahead:
        with ledger.stage("set-up"):
            without = _check(todo.packs, worker)
            wanted = [part for pack in todo.packs if id(pack) not in without for part in worker.packs(pack)]
            if processes > 1:
                wanted = for_several(wanted, suite.runs, processes, worker.guess)
        done.keep()
        progress.start(wanted, worker.guess)
        if processes == 1 and (advised := advice(wanted, suite.runs, worker.guess, on.type)):
            progress.say(advised)
        for pack in todo.packs:
            if (error := without.get(id(pack))) is not None:
                progress.say(f"{len(pack)} runs fail, the others go on: {error}")
                _keep(worker.failed(pack, error), worker, done)
        names = {pack_id(pack): worker.claimed_as(pack) for pack in wanted}
        following = {pack_id(one): other for one, other in pairwise(wanted)}
        with Claims(todo.store.folder) as claims:
            name, rest = lambda p: names[pack_id(p)], wanted
            if processes > 1 and len(wanted) > 1:
                worker.holding.expect(())
                worker.holding.let_go()
                orders = Orders.of(suite, min(processes, len(wanted)), todo.store.folder, allow_code, safety)
                rest = _by_crew(Crew(orders, progress.say), wanted, name, claims, worker, done, progress)
            worker.holding.expect(rest)
            for pack, left in claims.share(rest, name, todo.left, progress.wait):
                _train(pack, left, following.get(pack_id(pack)), worker, done, progress)
                worker.holding.through(pack)
            _measure(worker, done, progress, claims)


def _check(wanted: Sequence[Sequence[Run]], worker: Worker) -> dict[int, DataError]:
    """Refuse what could only fail, before anything is trained, with its place in the suite.

    Gives the packs (by `id`) whose data cannot be had, where there are others: those are trained all the same.
    """
    without: dict[int, DataError] = {}
    for pack in wanted:
        try:
            worker.check(pack)
        except DataError as error:
            without[id(pack)] = error
            if len(without) == len(wanted):
                raise InputError(f"{pack[0].place}: {error}") from error
        except InputError as error:
            raise InputError(f"{pack[0].place}: {error}") from error
    return without


def _train(
    pack: list[Run], left: list[Run], following: list[Run] | None, worker: Worker, done: Done, progress: Progress
) -> None:
    """Train and measure what is left of a pack, and keep what came of it."""
    if left != pack:
        worker.ahead.forget(pack)
    if not left:
        progress.skip(pack)
        return
    if following is not None:
        worker.look_ahead(following)
    progress.enter(left)
    _keep(list(worker.train(left, progress.point)), worker, done)
    progress.leave(pack)


def _by_crew(
    crew: Crew, wanted: list[list[Run]], name: Callable[[list[Run]], str], claims: Claims, worker: Worker,
    done: Done, progress: Progress,
) -> list[list[Run]]:  # fmt: skip
    """Have packs trained, measured and stored by several processes; those that are left for this one."""
    ledger, store = done.books.ledger, done.plan.store
    progress.gather(crew.size)
    try:
        with ledger.stage("train"), crew:
            for pack, brought in crew.share(wanted, name, done.plan.left, claims):
                if brought is None:
                    progress.skip(pack)
                    continue
                for line in brought.said:
                    progress.say(line)
                with ledger.stage("write"), worker.keeper.stop.later():
                    done.add(filter(None, map(store.read_or_note, brought.stored)), brought.trained)
                progress.bring(pack, sum(brought.seconds.values()))
    finally:
        ledger.divide("train", crew.seconds)
        for key in crew.held:
            claims.release(key)
    return crew.rest


def _keep(published: list[Publication], worker: Worker, done: Done) -> None:
    """Store what came of runs."""
    with done.books.ledger.stage("write"), worker.keeper.stop.later():
        done.add(worker.keeper.publish(published, done.plan.store), len(published))


def _measure(worker: Worker, done: Done, progress: Progress, claims: Claims) -> None:
    """Measure finished runs whose metrics are outdated, from their stored weights."""
    todo, lost = done.plan, 0
    stale = [run for run in todo.suite.runs if run.id in todo.stale]
    shared = progress.each(claims.share(stale, attrgetter("id"), todo.lacking, progress.wait), "measuring", len(stale))
    for id, document in measured_again(shared, worker, todo.store, todo.documents.__getitem__, done.notes.append):
        if document is None:
            lost += 1
        else:
            todo.documents[id] = document
            done.measured += 1
    if lost:
        done.notes.append(f"{lost} runs lack a metric and their weights were not kept: --retrain trains them again")


def draw(done: Done, allow_code: bool = False) -> Path | None:
    """The report of a suite, drawn where results are newer than it; None where there is nothing to report."""
    todo, results = done.plan, done.plan.store.folder
    if not todo.documents:
        return None
    folder = results.parent.parent / "reports" / results.name
    page = folder / "index.html"
    if not _outdated(done, page):
        return page
    with done.books.ledger.stage("report"), Claims(results) as claims, claims.held_alone("report"):
        from aebench.reporting import report

        # another process may have drawn it meanwhile
        return report(results, folder, allow_code=allow_code, drawn=done.keep) if _outdated(done, page) else page


def _outdated(done: Done, page: Path) -> bool:
    """Whether this command has new results, or a page is older than the results."""
    results = done.plan.store.folder
    newest = max((path.stat().st_mtime for path in results.glob("*.json")), default=0.0)
    return bool(done.trained or done.measured) or not page.exists() or page.stat().st_mtime < newest


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
    processes: int = 1,
) -> DataFrame:
    """Run a suite, by path or by the name of one that ships with aebench: one row a run, as `aebench.load` gives.

    Results go to `out/results/<suite>/`, the report to `out/reports/<suite>/`; what is there already is not trained
    again. `engine`, `processes`: as in `execute`; with several processes the script that calls this needs the guard
    `if __name__ == "__main__":`. Raises InputError for a faulty suite; a run that fails is a row that says why.
    """
    from aebench.store import load

    wanted = read(suite, overrides=overrides, seeds=seeds, smoke=smoke, allow_code=allow_code)
    todo = plan(wanted, out, allow_code=allow_code)
    execute(todo, device=device, allow_code=allow_code, report=report, engine=engine, processes=processes)
    return load(todo.store.folder)


def load_model(results: str | Path, id: str, *, device: str = "cpu", allow_code: bool = False) -> Model:
    """The trained autoencoder of a run, from its stored weights: encode, decode, reconstruct and sample your own data.

    `results`: the folder of a suite's results. Raises InputError where run or weights are not there.
    """
    from aebench.device import choose
    from aebench.revival import revive

    store = Store(results)
    document, weights = store.read(id), store.weights(id)
    if document is None or weights is None:
        raise InputError(f"{results}: run {id!r} has no {'document' if document is None else 'stored weights'}")
    model = revive(document["spec"], weights, tuple(document["event_shape"]), choose(device), allow_code).model(0)
    model.net.requires_grad_(False)
    return model
