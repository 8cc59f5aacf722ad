"""The way through the house: suite -> what is missing -> train and measure -> store -> table and report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from aebench import device as device_names
from aebench.errors import InputError
from aebench.metrics import METRICS
from aebench.plugins import resolve
from aebench.progress import Progress
from aebench.store import Store
from aebench.suite import Run, Suite, packs, parse, read
from aebench.variants import VARIANTS

if TYPE_CHECKING:
    import torch
    from pandas import DataFrame

    from aebench.variant import Model

Document = dict[str, Any]


@dataclass
class Plan:
    """What running a suite would do now."""

    suite: Suite
    store: Store
    documents: dict[str, Document]
    """Finished runs of the suite, by id."""
    packs: list[list[Run]]
    """To train: whole packs of which a run is missing."""
    stale: dict[str, list[str]]
    """Run id -> the metrics to measure from stored weights: those that the suite asks for and the run lacks."""


@dataclass
class Done:
    """What running a suite did."""

    plan: Plan
    trained: int = 0
    measured: int = 0
    failed: list[Document] = field(default_factory=list[Document])
    """Runs of the suite, new or old, that did not end well."""
    notes: list[str] = field(default_factory=list[str])
    report: Path | None = None


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
    """The suite's metrics that a finished run lacks, or has of another version or with other options."""
    if document["status"] != "ok":
        return []
    variant = resolve(VARIANTS, "variants", document["spec"]["variant"], allow_code=allow_code)
    sizes = variant.sizes(**document["spec"]["sizes"])
    names: list[str] = []
    for metric, options in suite.metrics:
        want = {"version": metric.version, "options": json.loads(json.dumps(options._asdict()))}
        have = [document["metrics"].get(name, {}) for name in metric.values(options)]
        if metric.applies(variant.offers(sizes), sizes.latent) and any(
            {key: h.get(key) for key in want} != want for h in have
        ):
            names.append(metric.name)
    return names


def execute(
    todo: Plan, *, device: str = "auto", allow_code: bool = False, report: bool = True, progress: Progress | None = None
) -> Done:
    """Train what is missing, measure what is outdated, draw the report. Each finished pack is kept at once."""
    device_names.check(device)
    done = Done(todo)
    if todo.packs or todo.stale:
        from aebench.device import choose, exact

        place = choose(device)
        with exact(place), progress or Progress() as shown:
            _work(todo, done, place, allow_code, shown)
    todo.store.write_manifest(manifest(todo.suite))
    ours = [todo.documents[run.id] for run in todo.suite.runs if run.id in todo.documents]
    done.failed = [document for document in ours if document["status"] != "ok" or document["error"]]
    others = len(set(todo.store.ids()) - {run.id for run in todo.suite.runs})
    if others:
        done.notes.append(f"not shown: {others} more runs in {todo.store.folder}, of other settings of this suite")
    if report:
        done.report = draw(done, allow_code)
    return done


def _work(todo: Plan, done: Done, device: torch.device, allow_code: bool, progress: Progress) -> None:
    from aebench.work import Worker

    worker = Worker(todo.suite.name, device, todo.suite.metrics, todo.suite.keep_weights, allow_code)
    for pack in todo.packs:
        try:
            worker.check(pack)
        except InputError as error:
            raise InputError(f"{pack[0].place}: {error}") from error
    todo.store.write_manifest(manifest(todo.suite))
    packs = [part for pack in todo.packs for part in worker.packs(pack)]
    progress.start(packs)
    for pack in packs:
        progress.enter(pack)
        published = list(worker.train(pack, progress.point))
        published = [p for p in published if p[0]["status"] == "ok" or not held(todo.store, p[0]["id"])]
        todo.store.publish_all(published)
        todo.documents |= {document["id"]: document for document, _, _ in published}
        done.trained += len(pack)
        progress.leave(pack)
    lost = 0
    stale = [run for run in todo.suite.runs if run.id in todo.stale]
    for run in progress.each(stale, "measuring"):
        publication = worker.again(run, todo.documents[run.id], todo.store, todo.stale[run.id])
        if publication is None:
            lost += 1
            continue
        todo.store.publish(*publication)
        todo.documents[run.id] = publication[0]
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
    from aebench.device import choose, exact
    from aebench.work import Worker

    store = Store(results)
    made_by = store.manifest()
    if made_by is None:
        raise InputError(f"{results}: no results of a suite (no suite.json)")
    words = made_by.get("arguments", [])
    pairs = [word.split("=", 1) for flag, word in pairwise(words) if flag == "--set"]
    asked = parse(made_by["text"], str(results), overrides=dict(pairs), allow_code=allow_code).metrics
    extra = [resolve(METRICS, "metrics", name, allow_code=allow_code) for name in metrics]
    known = {metric.name for metric, _ in asked}
    chosen = [*asked, *((metric, metric.options()) for metric in extra if metric.name not in known)]
    place = choose(device)
    worker = Worker(made_by["name"], place, chosen, False, allow_code)
    finished = [d for d in store.documents() if d["status"] == "ok"]
    measured = 0
    names = {metric.name for metric, _ in chosen}
    with exact(place), progress or Progress() as shown:
        for document in shown.each(finished, "measuring"):
            publication = worker.again(Run(document["spec"], document["id"]), document, store, names)
            if publication is not None:
                store.publish(*publication)
                measured += 1
    return measured, len(finished) - measured


def manifest(suite: Suite) -> dict[str, Any]:
    """What the results say of the suite that made them."""
    return {
        "name": suite.name,
        "about": suite.about,
        "figures": list(suite.figures),
        "metrics": [metric.name for metric, _ in suite.metrics],
        "ids": [run.id for run in suite.runs],
        "arguments": list(suite.arguments),
        "text": suite.text,
    }


def draw(done: Done, allow_code: bool = False) -> Path | None:
    """The report of a suite, drawn where results are newer than it; None where there is nothing to report."""
    todo, results, fresh = done.plan, done.plan.store.folder, done.trained or done.measured
    folder = results.parent.parent / "reports" / results.name
    page = folder / "report.md"
    newest = max((path.stat().st_mtime for path in results.glob("*.json")), default=0.0)
    if not fresh and page.exists() and page.stat().st_mtime >= newest:
        return page
    if not todo.documents:
        return None
    from aebench.reporting import report

    return report(results, folder, allow_code=allow_code)


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
) -> DataFrame:
    """Run a suite, by path or by the name of one that ships with aebench: one row a run, as `aebench.load` gives.

    Results go to `out/results/<suite>/`, the report to `out/reports/<suite>/`; what is there already is not trained
    again. Raises InputError for a faulty suite; a run that fails is a row that says why.
    """
    from aebench.store import load

    wanted = read(suite, overrides=overrides, seeds=seeds, smoke=smoke, allow_code=allow_code)
    todo = plan(wanted, out, allow_code=allow_code)
    execute(todo, device=device, allow_code=allow_code, report=report)
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
