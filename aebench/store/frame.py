"""Documents of runs -> one table, a row a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from aebench.data import ASIDE
from aebench.errors import printable
from aebench.known import is_closed_form
from aebench.store.documents import Document

Columns = dict[str, list[Any]]

COSTS: dict[str, dict[str, Any]] = {
    "train_seconds": {"unit": "s of its whole pack", "better": "lower", "shared": True},
    "train_examples_per_s": {"unit": "examples/s of its whole pack", "better": "higher", "shared": True},
    "peak_bytes": {"unit": "bytes of its pack on a GPU, else of the process", "better": "lower", "shared": True},
    "flops_train_step": {"unit": "FLOPs per step of one run", "better": "lower"},
}
_FIRST = ("id", "suite", "status", "variant", "data", "network", "seed")
_TRAIN = ("lr", "steps", "batch")
_DERIVED = ("kl_weight", "notes_beta")


class _Measures:
    """What the metric values of many documents are, and which were not measured alike."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        """In order of appearance: the unit, the better direction, and what it is."""
        self._ways: dict[str, list[tuple[Any, ...]]] = {}

    def note(self, metrics: Mapping[str, Mapping[str, Any]]) -> None:
        """Those of one document."""
        for name, metric in metrics.items():
            way = metric.get("unit"), metric.get("version"), metric.get("options")
            known = self._ways.setdefault(name, [])
            if way not in known:
                known.append(way)
                about = {key: metric[key] for key in ("unit", "better", "about", "part") if key in metric}
                self.values.setdefault(name, {"unit": "", "better": "neither"} | about)
            if len(known) > 1:
                self.values[name]["alike"] = False

    @property
    def problems(self) -> list[str]:
        """A line for each value that was not measured alike."""
        said = {
            name: sorted(_json(dict(zip(("unit", "version", "options"), way, strict=True))) for way in ways)
            for name, ways in self._ways.items()
            if len(ways) > 1
        }
        return [
            printable(f"{name} was not measured alike in all runs: {'; '.join(ways)}", 600)
            for name, ways in said.items()
        ]


def from_documents(documents: Iterable[Document]) -> pd.DataFrame:
    """One row a run: what it is, its metric values, its costs, its error.

    Columns: id, suite, status, variant, data, network, seed, hyperparameters, kl_weight and notes_beta where β is
    one, sizes, lr, steps, batch (not of a closed form, which takes no step), further settings that differ between runs,
    metric values, costs, error.
    `attrs["values"]`: the unit and the better direction of each number, and `alike: False` of one that was not measured
    alike in all runs, which has a line in `attrs["problems"]`. Of each document only that is kept, so an iterator needs
    no more memory than its largest one.
    Where a suite is tuned, `validation_<value>` is a value on the validation part, and its record says so (`part`).
    """
    measures, parts = _Measures(), dict[str, Any]()
    runs = [_run(document, measures, parts) for document in documents]
    values, specs = measures.values, [run["spec"] for run in runs]
    taken = {*_FIRST, *_TRAIN, *_DERIVED, *values, *COSTS, "error"}
    hyper = _spread([spec["hyper"] for spec in specs], taken, "hyper")
    sizes = _spread([spec["sizes"] for spec in specs], {*taken, *hyper}, "sizes")
    columns: Columns = {name: [run[name] for run in runs] for name in ("id", "suite", "status")}
    columns["variant"] = [spec["variant"] for spec in specs]
    columns["data"] = _labels([spec["data"] for spec in specs], lambda data: str(data.get("name")))
    columns["network"] = _labels([spec["network"] for spec in specs], _network)
    columns["seed"] = [spec["seed"] for spec in specs]
    columns |= hyper | _kl_weights(specs) | sizes
    taught = [{} if is_closed_form(spec["variant"]) else spec["train"] for spec in specs]
    columns |= {name: [_cell(train.get(name)) for train in taught] for name in _TRAIN}
    columns |= _spread(_differing(specs), {*columns, *taken}, "train")
    typed = {name: _series(column) for name, column in columns.items()}
    typed["seed"] = typed["seed"].astype("Int64")
    typed |= {name: _floats(run["measured"].get(name) for run in runs) for name in values}
    typed |= {name: _floats(run["cost"].get(name) for run in runs) for name in COSTS}
    typed["error"] = pd.Series([run["error"].get("message") for run in runs], dtype=object)
    frame = pd.DataFrame(typed)
    frame.attrs = {"values": values | COSTS, "problems": measures.problems}
    return frame


def _run(document: Document, measures: _Measures, parts: dict[str, Any]) -> dict[str, Any]:
    """What the table takes of a document; no metric values where the run failed, whatever it measured before.

    `parts` are those of specifications before it: thousands of runs have a few data sets, networks and trainings.
    """
    metrics, spec = document["metrics"], document["spec"]
    for name, metric in _part(document, "validation").items():
        metrics = metrics | {f"validation_{name}": metric | {"part": "validation"}}
    measures.note(metrics)
    return {
        "id": document["id"],
        "suite": document["suite"],
        "status": document["status"],
        "spec": {k: parts.setdefault(repr(v), v) if isinstance(v, dict) else v for k, v in spec.items()},
        "measured": {name: m["value"] for name, m in metrics.items()} if document["status"] == "ok" else {},
        "cost": {name: value for name, value in _part(document, "cost").items() if name in COSTS},
        "error": _part(document, "error"),
    }


def _spread(rows: Sequence[Mapping[str, Any]], taken: set[str], kind: str) -> Columns:
    """A column for each name of the rows; one whose name is taken is called `kind.name`."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {f"{kind}.{n}" if n in taken else n: [_cell(row.get(n)) for row in rows] for n in names}


def _kl_weights(specs: Sequence[dict[str, Any]]) -> Columns:
    """β as the weight of the KL term, and the notes' β, its inverse; none where it follows a schedule."""
    weights = [_kl_weight(spec["hyper"]) for spec in specs]
    if not any({"beta", "notes_beta"} & set(spec["hyper"]) for spec in specs):
        return {}
    inverse = [None if w is None else 1 / w if w else float("inf") for w in weights]
    return {"kl_weight": weights, "notes_beta": inverse}


def _kl_weight(hyper: Mapping[str, Any]) -> float | None:
    if isinstance(notes_beta := hyper.get("notes_beta"), int | float):
        return 1 / notes_beta if notes_beta else float("inf")
    return beta if isinstance(beta := hyper.get("beta"), int | float) else None


def _differing(specs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The settings beyond lr, steps and batch that are not the same in all runs."""
    keys = [(repr(spec.get("version")), id(spec["train"])) for spec in specs]
    rest = {
        key: {"version": spec.get("version"), **{k: v for k, v in spec["train"].items() if k not in _TRAIN}}
        for key, spec in zip(keys, specs, strict=True)
    }
    names = _unequal(list(rest.values()))
    return [{name: rest[key].get(name) for name in names} for key in keys]


def _labels(specs: Sequence[dict[str, Any]], short: Callable[[dict[str, Any]], str]) -> list[str]:
    """A short name for each; where two differ under one name, what they differ in is added."""
    keys = list(map(id, specs))  # a few are told apart, not each of thousands
    distinct = dict(zip(keys, specs, strict=True))
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for spec in distinct.values():
        flat = _flat({key: value for key, value in spec.items() if key not in ASIDE})
        groups.setdefault(short(spec), {})[_json(flat)] = flat

    def label(spec: dict[str, Any]) -> str:
        name = short(spec)
        alike = list(groups[name].values())
        if len(alike) == 1:
            return name
        flat = _flat(spec)
        return f"{name} ({', '.join(f'{key}={str(_cell(flat.get(key)))[:12]}' for key in _unequal(alike))})"

    labels = {key: label(spec) for key, spec in distinct.items()}
    return [labels[key] for key in keys]


def _network(spec: dict[str, Any]) -> str:
    """`mlp 64-64`; an activation other than relu, and what else it has, follow."""
    parts = [str(spec.get("kind"))]
    for name, value in spec.items():
        if name == "kind" or value in ([], "relu"):
            continue
        if isinstance(value, list):
            parts.append("-".join(map(str, value)))
        else:
            parts.append(value if isinstance(value, str) else f"{name}={_cell(value)}")
    return " ".join(parts)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of a tree, named by their path below the first level."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        path = name if name == "parameters" and not prefix else f"{prefix}{name}"
        below = "" if path == "parameters" else f"{path}."
        leaves |= _flat(value, below) if isinstance(value, dict) else {path: value}
    return leaves


def _unequal(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if len({_json(row.get(name)) for row in rows}) > 1]


def _cell(value: Any) -> Any:
    """A schedule in short, a choice as its name and options, another tree as its JSON text."""
    if isinstance(value, dict) and _is_schedule(value):
        return _schedule(value)
    if isinstance(value, dict) and isinstance(name := value.get("name"), str):
        return " ".join([name, *(f"{key} {option}" for key, option in value.items() if key != "name")])
    return _json(value) if isinstance(value, dict | list) else value


def _is_schedule(value: Mapping[str, Any]) -> bool:
    """Whether it is one as a suite's canonical specification has it, and not what somebody else made of it."""
    if set(value) != {"points", "kind"} or not isinstance(value["points"], list):
        return False
    pairs = [point for point in value["points"] if isinstance(point, list) and len(point) == 2]
    numbers = all(isinstance(number, int | float) for pair in pairs for number in pair)
    return numbers and len(pairs) == len(value["points"])


def _schedule(value: Mapping[str, Any]) -> str:
    """`0.001→0.0001@0.8 step`: each value with the fraction of training at which it holds, 0 left out."""
    points = [f"{v:.12g}" + (f"@{f:.12g}" if f else "") for f, v in value["points"]]
    return f"{'→'.join(points)} {value['kind']}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=False, ensure_ascii=False)


def _part(document: Document, name: str) -> dict[str, Any]:
    part = document.get(name)
    return part if isinstance(part, dict) else {}


def _series(values: list[Any]) -> pd.Series[Any]:
    """Integers stay integers where some are missing; numbers are floats; the rest is text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return pd.Series(values, dtype="Int64" if None in values else "int64")
    if kinds <= {int, float}:
        return _floats(values)
    return pd.Series(values, dtype="str" if kinds == {str} and None not in values else object)


def _floats(values: Iterable[Any]) -> pd.Series[Any]:
    return pd.Series(np.array(list(values), dtype=np.float64))  # None is NaN
