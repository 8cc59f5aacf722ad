"""The words of a report, from documents: what was run and how, what failed, what it cost, how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aebench.clock import STAGES
from aebench.comparison.budgets import budget
from aebench.comparison.budgets import in_words as budget_in_words
from aebench.reporting.records import Again, Row, Table
from aebench.tables.numbers import format_settings

if TYPE_CHECKING:
    from pandas import DataFrame

    from aebench.reporting.gathered import Folder
    from aebench.store.documents import Document

ALL_STAGES = ("set-up", *STAGES, "write", "report", "other")
"""And those of a command: imports and checks before; results, figures and pages after."""
ASKED_FOR = ("train", "likelihood")
"""What a suite is run for; the rest is to stay small beside it."""


def counted(total: int, documents: Iterable[Document]) -> str:
    """How many runs there are and how they ended."""
    statuses = [document["status"] for document in documents]
    good, made = statuses.count("ok"), len(statuses)
    said = f"{good} of {total} runs ended well"
    said += f", {made - good} did not" if made > good else ""
    return said + (f", {total - made} {'is' if total - made == 1 else 'are'} still to be run" if total > made else "")


def facts(documents: Sequence[Document], frame: DataFrame, settings: int) -> tuple[Row, ...]:
    """What was run: data, variants, seeds, budget, and what it was made with; name and text of each.

    `settings`: how many there are over all data sets.
    """
    how = [document.get("made") or {} for document in documents]
    whens = sorted(str(m["when"]) for m in how if m.get("when"))
    rows = [
        ("data", distinct(map(_data, frame["data"], documents))),
        ("variants", distinct(frame["variant"])),
        ("settings", f"{settings}, in {len(documents)} runs"),
        ("networks", distinct(frame["network"])),
        ("seeds", _seeds(sorted({int(seed) for seed in frame["seed"]}))),
        ("training of a run", distinct(budget_in_words(budget(document["spec"])) for document in documents)),
        ("device", distinct(map(_device, how))),
        ("system", distinct(str(m["system"]) for m in how if m.get("system"))),
        ("aebench", distinct(_package(m) for m in how if m)),
        ("torch, Python", distinct(f"{m.get('torch', '?')}, {m.get('python', '?')}" for m in how)),
        ("made", " to ".join(dict.fromkeys([whens[0], whens[-1]])) if whens else "not recorded"),
    ]
    return tuple(Row(row) for row in rows if row[1])


def failures(documents: Sequence[Document], frame: DataFrame) -> Table | None:
    """Every run that did not end well, with its reason; None where there is none."""
    failed = [document for document in documents if document["status"] != "ok"]
    data = dict(zip(frame["id"], frame["data"], strict=True))
    rows = [
        Row((d["id"], data[d["id"]], label(d["spec"]), str(d["spec"]["seed"]), d["status"], reason(d)), (d["id"],))
        for d in failed
    ]
    note = "The whole error of a run stands in its document among the results, by its id."
    columns = ("run", "data", "what", "seed", "status", "reason")
    return Table("Runs that did not end well", columns, tuple(rows), note=note) if rows else None


def cost(documents: Sequence[Document], frame: DataFrame) -> Table:
    """Seconds by stage of each variant on each data set, speed of training, and memory."""
    groups: dict[tuple[str, str], list[Document]] = {}
    for document, data in zip(documents, frame["data"], strict=True):
        groups.setdefault((data, document["spec"]["variant"]), []).append(document)
    rows = [Row((*key, *_spent(held)), tuple(d["id"] for d in held)) for key, held in groups.items()]
    if len(rows) > 1:
        rows.append(Row(("all", "", *_spent(documents))))
    columns = ("data", "variant", "runs", *(f"{stage} [s]" for stage in STAGES), "examples/s", "peak memory [MiB]")
    note = "Runs that trained together share their time, which is counted once; examples/s are those of training."
    return Table("What the runs cost", columns, tuple(rows), numbers=len(columns) - 2, note=note)


def total(commands: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds of some commands by stage, in the order in which they come."""
    seconds: dict[str, float] = {}
    for command in commands:
        for stage, spent in command["seconds"].items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    return {stage: seconds.pop(stage, 0.0) for stage in ALL_STAGES} | seconds


def in_words(seconds: Mapping[str, float]) -> str:
    """Where the time went, in one line: stages of a percent or more, the longest first."""
    whole = sum(seconds.values())
    shares = sorted(((spent / whole, stage) for stage, spent in seconds.items() if whole), reverse=True)
    return f"{whole:.1f} s: {', '.join(f'{stage} {share:.0%}' for share, stage in shares if share >= 0.01)}"


def went(commands: Sequence[Mapping[str, Any]], name: str = "") -> Table | None:
    """The whole time of all commands that trained or measured these results, by stage; None where not known."""
    seconds = total(commands)
    if not (whole := sum(seconds.values())):
        return None
    rows = (
        Row(("seconds", *(f"{spent:.1f}" for spent in seconds.values()), f"{whole:.1f}")),
        Row(("share", *(f"{spent / whole:.1%}" for spent in seconds.values()), "100.0%")),
    )
    rest = 1 - sum(seconds[stage] for stage in ASKED_FOR) / whole
    several = "one command" if len(commands) == 1 else f"{len(commands)} commands"
    said = f"Where the time of {several} went{f' ({name})' if name else ''}"
    said += f"; all but training and likelihood is {rest:.1%} of it"
    return Table(said, ("", *seconds, "all"), rows, numbers=len(seconds) + 1)


def again(folders: Sequence[Folder]) -> tuple[Again, ...]:
    """The commands that make the results of each folder again, and then the page, and the suites."""
    page = shlex.join(["aebench", "report", *(f"results/{folder.name}" for folder in folders)])
    runs = [_run_again(folder) for folder in folders]
    return (*runs[:-1], replace(runs[-1], commands=(*runs[-1].commands, page)))


def _run_again(folder: Folder) -> Again:
    """`manifest["arguments"]`, where it is there, are the words that followed the suite's name on the command line."""
    manifest, name = folder.manifest, folder.name
    text = str(manifest.get("text") or "")
    made = (document.get("made") for document in folder.documents.values())
    using = distinct(f"aebench {_package(how)}" for how in made if how)
    run = shlex.join(["aebench", "run", f"{name}.yaml", *map(str, manifest.get("arguments") or [])])
    said = f"With the suite below saved as {name}.yaml" + (f" and {using}" if using else "")
    if text and "arguments" not in manifest:
        said += " (what else stood on the command line is not recorded)"
    return Again(f"{said}:", (run,), text)


def reason(document: Document) -> str:
    """Why a run did not end well, in its document's words."""
    error = document.get("error") or {}
    return str(error.get("message") or error.get("kind") or "not recorded")


def distinct(values: Iterable[object]) -> str:
    """The values that differ, in order, in one line."""
    return "; ".join(dict.fromkeys(map(str, values)))


def _seeds(seeds: Sequence[int]) -> str:
    """`0, 1, 2`; `0 to 49, 50 of them` where there are many."""
    many = len(seeds) > 12 and seeds[-1] - seeds[0] == len(seeds) - 1
    return f"{seeds[0]} to {seeds[-1]}, {len(seeds)} of them" if many else ", ".join(map(str, seeds))


def _package(how: Mapping[str, Any]) -> str:
    commit = f", commit {how['commit']}" if how.get("commit") else ""
    return f"{how.get('aebench', '?')}{commit}"


def _data(label: str, document: Document) -> str:
    same = document["spec"]["data"].get("split", {}).get("kind") == "none"
    return f"{label} (evaluated on the training part)" if same else label


def _device(how: Mapping[str, Any]) -> str:
    parts = [how.get("device"), how.get("precision")]
    count = how.get("threads")
    parts += [how.get("driver") and f"driver {how['driver']}", count and f"{count} thread{'s' if count != 1 else ''}"]
    parts += [how.get("processes") and f"one of {how['processes']} processes"]
    return ", ".join(str(part) for part in parts if part) or "not recorded"


def label(spec: Mapping[str, Any]) -> str:
    """The variant and its hyperparameters."""
    texts = format_settings(str(value) if isinstance(value, dict) else value for value in spec["hyper"].values())
    return ", ".join([spec["variant"], *(f"{name} {text}" for name, text in zip(spec["hyper"], texts, strict=True))])


def _spent(documents: Sequence[Document]) -> list[str]:
    """Runs, seconds of each stage, examples/s of training and peak memory of some runs, as cells."""
    packs: dict[Any, list[Mapping[str, Any]]] = {}
    for document in documents:
        if costs := document.get("cost"):
            packs.setdefault((costs.get("pack") or {}).get("id", document["id"]), []).append(costs)
    # what is measured again later has a time of its own, so that a pack may hold several
    seconds = {stage: _seconds(packs.values(), f"{stage}_seconds") for stage in STAGES}
    first = [pack[0] for pack in packs.values()]
    examples = sum((costs.get("examples") or 0) * (costs.get("pack") or {}).get("runs", 1) for costs in first)
    peak = max((costs.get("peak_bytes") or 0 for costs in first), default=0)
    rate = f"{examples / seconds['train']:,.0f}" if seconds["train"] else "–"
    return [
        str(len(documents)),
        *("–" if (spent := seconds[stage]) is None else f"{spent:.1f}" for stage in STAGES),
        rate,
        f"{peak / 2**20:,.0f}" if peak else "–",
    ]


def _seconds(packs: Iterable[Sequence[Mapping[str, Any]]], name: str) -> float | None:
    """The sum over packs; None where no document tells it, as one of an older version may not."""
    told = [{costs[name] for costs in pack if costs.get(name) is not None} for pack in packs]
    return sum(map(sum, told)) if any(told) else None
