"""A suite: the YAML of an experiment -> its runs, checked, canonical and named by what their training depends on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from annotated_types import Gt

from aebench.errors import InputError, unknown
from aebench.metrics import METRICS, Metric
from aebench.plots import FIGURES
from aebench.suite.expansion import MAX_RUNS, Entry, Seed, Shared, data, entry, network, resolve, too_many
from aebench.suite.expansion import seeds as seeds_of
from aebench.suite.fields import checked, record
from aebench.suite.files import find, read_text, shipped
from aebench.suite.recipe import Train, train
from aebench.suite.runs import Run, pack_id, packs, run_id, shape_id
from aebench.suite.search import Tune, asked, tune
from aebench.suite.source import compose
from aebench.suite.tree import Node, one_line, shortened, shown

__all__ = ["Run", "Suite", "asked_for", "pack_id", "packs", "parse", "read", "run_id", "shape_id", "shipped"]

KEYS = (
    "name", "about", "seeds", "split_seed", "data", "network", "train", "tune", "runs", "metrics", "figures",
    "keep_weights", "time_limit", "determinism",
)  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
NO_FOLDER = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?|.*\.", re.IGNORECASE)
"""Names of devices, and endings that are dropped, on Windows: results could not be taken there."""
SMOKE_STEPS = 20
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Suite:
    """A suite as it was read. `metrics`: each with its options, in order; `text`: its YAML, before any override."""

    name: str
    about: str
    text: str
    metrics: tuple[tuple[Metric, Any], ...]
    figures: tuple[str, ...]
    keep_weights: bool
    runs: tuple[Run, ...]
    arguments: tuple[str, ...] = ()
    """What changed it, as words of the command line."""
    tune: Tune | None = None
    time_limit: float | None = None
    """Seconds of training that a run may take, after which it fails."""
    determinism: Literal["usual", "strict"] = "usual"
    """Whether a GPU is to give the same bits again; it names no run, as on a CPU all do."""

    @property
    def validated(self) -> str:
        """The metric that is measured on the validation part as well, as runs are chosen by it; or nothing."""
        return self.tune.measured_by if self.tune else ""


def read(
    path_or_name: str | Path,
    *,
    overrides: Mapping[str, str] = NOTHING,
    seeds: int | None = None,
    smoke: bool = False,
    allow_code: bool = False,
) -> Suite:
    """A suite from its file, or one that ships with aebench by its bare name. Any fault is an InputError of one line.

    `overrides`: dotted key -> YAML (`{"train.steps": "500"}`). `seeds`: that many, for every run. `smoke`: a few
    steps, one seed and two draws, under the name `<name>_smoke`. `allow_code`: the suite may name Python code to run.
    """
    path = find(path_or_name)
    text = read_text(path)
    return parse(text, str(path), overrides=overrides, seeds=seeds, smoke=smoke, allow_code=allow_code)


def parse(
    text: str,
    label: str = "<text>",
    *,
    overrides: Mapping[str, str] = NOTHING,
    seeds: int | None = None,
    smoke: bool = False,
    allow_code: bool = False,
) -> Suite:
    """A suite from its text; as `read`, and `label` is what errors call it."""
    try:
        root = _document(text, label, overrides, seeds)
        keys = root.keys(KEYS)
        name = _name(root, keys)
        entries = [e.limited(SMOKE_STEPS) if smoke else e for e in _entries(root, keys, allow_code, seeds is not None)]
        metrics = _metrics(keys.get("metrics"), allow_code)
        return Suite(
            name=f"{name}_smoke" if smoke else name,
            about=checked(keys["about"], str) if "about" in keys else "",
            text=text,
            metrics=metrics,
            figures=_figures(keys.get("figures")),
            keep_weights=checked(keys["keep_weights"], bool) if "keep_weights" in keys else True,
            runs=_runs(entries, merge=smoke or seeds is not None),
            arguments=_arguments(overrides, seeds, smoke),
            tune=tune(keys["tune"], metrics, entries, run_id, allow_code) if "tune" in keys else None,
            time_limit=checked(keys["time_limit"], Annotated[float, Gt(0)]) if "time_limit" in keys else None,
            determinism=checked(keys["determinism"], Literal["usual", "strict"]) if "determinism" in keys else "usual",
        )
    except InputError:
        raise
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, NameError) as error:
        raise one_line(f"{label}: cannot be read: {type(error).__name__}: {error}") from error


def _arguments(overrides: Mapping[str, str], seeds: int | None, smoke: bool) -> tuple[str, ...]:
    words = [word for key, value in overrides.items() for word in ("--set", f"{key}={value}")]
    return (*words, *(["--seeds", str(seeds)] if seeds is not None else []), *(["--smoke"] if smoke else []))


def asked_for(arguments: Sequence[str]) -> dict[str, Any]:
    """What a suite's `arguments` say, as `parse` and `read` take it."""
    pairs = list(pairwise(arguments))
    overrides = [word.partition("=") for flag, word in pairs if flag == "--set"]
    seeds = [int(word) for flag, word in pairs if flag == "--seeds"]
    return {
        "overrides": {key: value for key, _, value in overrides},
        "seeds": seeds[0] if seeds else None,
        "smoke": "--smoke" in arguments,
    }


def _document(text: str, label: str, overrides: Mapping[str, str], seeds: int | None) -> Node:
    source = compose(text, label)
    for key, value in overrides.items():
        option = f"--set {key}"
        source.override(key, compose(value, option, lines=False).root, option)
    if not isinstance(source.root, dict):
        what = "empty" if source.root is None else shown(source.root)
        raise source.error((), f"a suite is a mapping with name, data and runs, not {what}")
    if seeds is not None:
        source.override("seeds", seeds, "--seeds")
    return Node(source, (), source.root)


def _name(root: Node, keys: Mapping[str, Node]) -> str:
    if "name" not in keys:
        raise root.error("name is missing")
    name = checked(keys["name"], str)
    if not NAME.fullmatch(name):
        raise keys["name"].error(f"{shown(name)} should be letters, digits, _, - and ., not starting with - or .")
    if NO_FOLDER.fullmatch(name):
        raise keys["name"].error(f"{shown(name)} cannot be the name of a folder on Windows: choose another")
    return name


def _entries(root: Node, keys: Mapping[str, Node], allow_code: bool, same_seeds: bool) -> list[Entry]:
    """The items of `runs`, checked and counted."""
    split_seed = checked(keys["split_seed"], Seed) if "split_seed" in keys else 0
    shared = Shared(
        data=data(keys["data"], split_seed, allow_code) if "data" in keys else None,
        network=network(keys["network"], allow_code) if "network" in keys else None,
        train=keys["train"].keys(Train._fields) if "train" in keys else {},
        seeds=seeds_of(keys["seeds"]) if "seeds" in keys else [0],
        same_seeds=same_seeds,
        split_seed=split_seed,
        allow_code=allow_code,
        draws=asked(keys["tune"]).draws if "tune" in keys else None,
    )
    train(shared.train, root)
    if "runs" not in keys:
        raise root.error("runs is missing")
    entries: list[Entry] = []
    total = 0
    for node in keys["runs"].items("runs"):
        one = entry(node, shared)
        total += one.count
        if total > MAX_RUNS:
            raise too_many(node, total)
        entries.append(one)
    return entries


def _runs(entries: Sequence[Entry], merge: bool) -> tuple[Run, ...]:
    """Every run; one that is there twice is refused, or dropped where the user's own option made them equal."""
    runs: dict[str, Run] = {}
    origins: dict[str, Node] = {}
    for one in entries:
        for spec in one.specs():
            run = Run(spec, run_id(spec), str(one.node.error("")).rstrip(": "))
            if run.id in runs and not merge:
                raise one.node.error(f"the same run as {origins[run.id].place()}: {_summary(spec)}")
            runs.setdefault(run.id, run)
            origins.setdefault(run.id, one.node)
    return tuple(runs.values())


def _summary(spec: Mapping[str, Any]) -> str:
    fields = {**spec["hyper"], **spec["sizes"], "data": spec["data"].get("name"), "seed": spec["seed"]}
    return f"{spec['variant']} {shown(fields, 120)}"


def _metrics(node: Node | None, allow_code: bool) -> tuple[tuple[Metric, Any], ...]:
    if node is None:
        return ()
    found: dict[str, tuple[Metric, Any]] = {}
    for item in node.items("metrics"):
        if isinstance(item.value, str):
            entries = {item.value: item.at((), {})}
        else:
            entries = item.keys(what="the name of a metric, or {name: {options}}")
        if len(entries) != 1:
            raise item.error(f"one metric an item, not {len(entries)}: {{name: {{options}}}}")
        ((name, options),) = entries.items()
        metric: Metric = resolve(item.at((), name), METRICS, "metrics", Metric, allow_code)
        if name in found:
            raise item.error(f"the metric {name} is given twice")
        given = options.keys(metric.options._fields)
        found[name] = metric, metric.options(**record(metric.options, given, options))
    return tuple(found.values())


def _figures(node: Node | None) -> tuple[str, ...]:
    names: list[str] = []
    for item in node.items("figures") if node is not None and node.value != [] else []:
        name = checked(item, str)
        if name not in FIGURES:
            raise item.error(str(unknown("figure", shortened(name), FIGURES)))
        if name in names:
            raise item.error(f"the figure {name} is given twice")
        names.append(name)
    return tuple(names)
