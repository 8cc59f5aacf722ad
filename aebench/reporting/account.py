"""The words of a report, from documents: what was run and how, what failed, what it cost, how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aebench.clock import STAGES
from aebench.reporting.markdown import code, escape, folded, table
from aebench.tables.numbers import format_settings

if TYPE_CHECKING:
    from pandas import DataFrame

    from aebench.store.documents import Document

ALL_STAGES = ("set-up", *STAGES, "write", "report", "other")
"""And those of a command: imports and checks before; results, figures and pages after."""
ASKED_FOR = ("train", "likelihood")
"""What a suite is run for; the rest is to stay small beside it."""


def head(manifest: Mapping[str, Any], documents: Sequence[Document]) -> str:
    """Title, aim, and how many runs there are."""
    total, good = len(manifest["ids"]), sum(document["status"] == "ok" for document in documents)
    bad, missing = len(documents) - good, total - len(documents)
    said = f"{good} of {total} runs ended well"
    said += f", {bad} did not (see [Failures](#failures))" if bad else ""
    said += f", {missing} {'is' if missing == 1 else 'are'} still to be run" if missing else ""
    about = [f"{escape(manifest['about'])}\n"] if manifest.get("about") else []
    lines = [f"# {escape(manifest['name'])}\n", *about, f"{said}.\n"]
    if not good:
        lines.append("**There is nothing to show yet: no run has ended well.**\n")
    return "\n".join(lines)


def made(documents: Sequence[Document], frame: DataFrame) -> str:
    """What was run: data, variants, seeds, budget, and what it was made with."""
    train = [document["spec"]["train"] for document in documents]
    how = [document.get("made") or {} for document in documents]
    aebench = (_package(m) for m in how if m)
    whens = sorted(str(m["when"]) for m in how if m.get("when"))
    rows = [
        ("data", _distinct(map(_data, frame["data"], documents))),
        ("variants", _distinct(frame["variant"])),
        ("networks", _distinct(frame["network"])),
        ("seeds", ", ".join(str(seed) for seed in sorted(set(frame["seed"])))),
        ("training of a run", _distinct(f"{t['steps']} steps of {t['batch']} examples" for t in train)),
        ("device", _distinct(map(_device, how))),
        ("aebench", _distinct(aebench)),
        ("torch, Python", _distinct(f"{m.get('torch', '?')}, {m.get('python', '?')}" for m in how)),
        ("made", " to ".join(dict.fromkeys([whens[0], whens[-1]])) if whens else "not recorded"),
    ]
    return f"## What was run\n\n{table(['', ''], rows)}"


def failures(documents: Sequence[Document], frame: DataFrame) -> str:
    """Every run that did not end well, with its reason."""
    failed = [document for document in documents if document["status"] != "ok"]
    if not failed:
        return "## Failures\n\nNone: every run ended well.\n"
    data = dict(zip(frame["id"], frame["data"], strict=True))
    rows = [(d["id"], data[d["id"]], _label(d["spec"]), d["spec"]["seed"], d["status"], _reason(d)) for d in failed]
    grid = table(["run", "data", "what", "seed", "status", "reason"], rows)
    return f"## Failures\n\n{grid}\nThe whole error of a run stands in its document among the results, by its id.\n"


def problems(lines: Sequence[str]) -> str:
    """What could not be read, and what was not measured alike; nothing where all is well."""
    return "".join(["## Problems\n\n", *(f"- {escape(line)}\n" for line in lines)]) if lines else ""


def cost(documents: Sequence[Document], frame: DataFrame, commands: Sequence[Mapping[str, Any]] = ()) -> str:
    """Where the time went: that of the commands by stage, and seconds of each variant on each data set."""
    groups: dict[tuple[str, str], list[Document]] = {}
    for document, data in zip(documents, frame["data"], strict=True):
        groups.setdefault((data, document["spec"]["variant"]), []).append(document)
    rows = [[*key, *_spent(held)] for key, held in groups.items()]
    if len(rows) > 1:
        rows.append(["all", "", *_spent(documents)])
    columns = ["data", "variant", "runs", *(f"{stage} [s]" for stage in STAGES), "examples/s", "peak memory [MiB]"]
    note = "Runs that trained together share their time, which is counted once; examples/s are those of training."
    went = _went(commands)
    return f"## Cost\n\n{went}{table(columns, rows, numbers=len(columns) - 2)}\n{note}\n"


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


def _went(commands: Sequence[Mapping[str, Any]]) -> str:
    """The whole time of all commands that trained or measured these results, by stage; nothing where not known."""
    seconds = total(commands)
    if not (whole := sum(seconds.values())):
        return ""
    rows = [
        ["seconds", *(f"{spent:.1f}" for spent in seconds.values()), f"{whole:.1f}"],
        ["share", *(f"{spent / whole:.1%}" for spent in seconds.values()), "100.0%"],
    ]
    rest = 1 - sum(seconds[stage] for stage in ASKED_FOR) / whole
    several = "one command" if len(commands) == 1 else f"{len(commands)} commands"
    said = f"Where the time of {several} went; all but training and likelihood is {rest:.1%} of it:\n\n"
    return f"{said}{table(['', *seconds, 'all'], rows, numbers=len(seconds) + 1)}\n"


def again(manifest: Mapping[str, Any], documents: Sequence[Document]) -> str:
    """The commands that make these results again, and the suite.

    `manifest["arguments"]`, where it is there, are the words that followed the suite's name on the command line.
    """
    name, text = str(manifest["name"]), str(manifest.get("text") or "")
    using = _distinct(f"aebench {_package(how)}" for document in documents if (how := document.get("made")))
    run = shlex.join(["aebench", "run", f"{name}.yaml", *map(str, manifest.get("arguments") or [])])
    lines = [run, shlex.join(["aebench", "report", f"results/{name}"])]
    said = f"With the suite below saved as {escape(name)}.yaml" + (f" and {escape(using)}" if using else "") + ":"
    if text and "arguments" not in manifest:
        said = f"{said.removesuffix(':')} (what else stood on the command line is not recorded):"
    parts = ["## Make it again\n", f"{said}\n", code("\n".join(lines), "sh")]
    return "\n".join([*parts, *([folded("The suite", code(text, "yaml"))] if text else [])])


def _distinct(values: Iterable[Any]) -> str:
    return "; ".join(dict.fromkeys(str(value) for value in values))


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
    return ", ".join(str(part) for part in parts if part) or "not recorded"


def _label(spec: Mapping[str, Any]) -> str:
    texts = format_settings(str(value) if isinstance(value, dict) else value for value in spec["hyper"].values())
    return ", ".join([spec["variant"], *(f"{name} {text}" for name, text in zip(spec["hyper"], texts, strict=True))])


def _reason(document: Document) -> str:
    error = document.get("error") or {}
    return str(error.get("message") or error.get("kind") or "not recorded")


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
