"""Documents of runs -> one table, a row a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

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


def from_documents(documents: Sequence[Document]) -> pd.DataFrame:
    """One row a run: what it is, its metric values, its costs, its error.

    Columns: id, suite, status, variant, data, network, seed, hyperparameters, kl_weight and notes_beta where β is
    one, sizes, lr, steps, batch, further settings that differ between runs, metric values, costs, error.
    `attrs["values"]`: the unit and the better direction of each number. `attrs["problems"]`: numbers that were not
    measured alike.
    """
    specs = [document["spec"] for document in documents]
    metrics = [_measured(document) for document in documents]
    values, problems = _values(documents)
    taken = {*_FIRST, *_TRAIN, *_DERIVED, *values, *COSTS, "error"}
    hyper = _spread([spec["hyper"] for spec in specs], taken, "hyper")
    sizes = _spread([spec["sizes"] for spec in specs], {*taken, *hyper}, "sizes")
    train = [spec["train"] for spec in specs]
    columns: Columns = {name: [document[name] for document in documents] for name in ("id", "suite", "status")}
    columns["variant"] = [spec["variant"] for spec in specs]
    columns["data"] = _labels([spec["data"] for spec in specs], lambda data: str(data.get("name")))
    columns["network"] = _labels([spec["network"] for spec in specs], _network)
    columns["seed"] = [spec["seed"] for spec in specs]
    columns |= hyper | _kl_weights(specs) | sizes
    columns |= {name: [_cell(settings.get(name)) for settings in train] for name in _TRAIN}
    columns |= _spread(_differing(specs), {*columns, *taken}, "train")
    typed = {name: _series(column) for name, column in columns.items()}
    typed["seed"] = typed["seed"].astype("Int64")
    typed |= {name: _floats(found.get(name) for found in metrics) for name in values}
    typed |= {name: _floats(_part(document, "cost").get(name) for document in documents) for name in COSTS}
    typed["error"] = pd.Series([_part(document, "error").get("message") for document in documents], dtype=object)
    frame = pd.DataFrame(typed)
    frame.attrs = {"values": values | COSTS, "problems": problems}
    return frame


def _measured(document: Document) -> dict[str, float | None]:
    """The metric values of a run; none where it failed, whatever it measured before."""
    if document["status"] != "ok":
        return {}
    return {name: metric["value"] for name, metric in document["metrics"].items()}


def _values(documents: Iterable[Document]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What each metric value is, in order of appearance, and a line for each that was not measured alike."""
    found: dict[str, dict[str, Any]] = {}
    ways: dict[str, set[str]] = {}
    for document in documents:
        for name, metric in document["metrics"].items():
            about = {key: metric[key] for key in ("unit", "better", "about") if key in metric}
            found.setdefault(name, {"unit": "", "better": "neither"} | about)
            way = {key: metric.get(key) for key in ("unit", "version", "options")}
            ways.setdefault(name, set()).add(_json(way))
    problems = [
        f"{name} was not measured alike in all runs: {'; '.join(sorted(w))}" for name, w in ways.items() if len(w) > 1
    ]
    return found, problems


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
        return 1 / notes_beta
    return beta if isinstance(beta := hyper.get("beta"), int | float) else None


def _differing(specs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The settings beyond lr, steps and batch that are not the same in all runs."""
    rest = [
        {"version": spec.get("version"), **{k: v for k, v in spec["train"].items() if k not in _TRAIN}}
        for spec in specs
    ]
    names = _unequal(rest)
    return [{name: row.get(name) for name in names} for row in rest]


def _labels(specs: Sequence[dict[str, Any]], short: Callable[[dict[str, Any]], str]) -> list[str]:
    """A short name for each; where two differ under one name, what they differ in is added."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for spec in specs:
        flat = _flat({key: value for key, value in spec.items() if key != "source"})
        groups.setdefault(short(spec), {})[_json(flat)] = flat

    def label(spec: dict[str, Any]) -> str:
        name = short(spec)
        alike = list(groups[name].values())
        if len(alike) == 1:
            return name
        flat = _flat(spec)
        return f"{name} ({', '.join(f'{key}={str(_cell(flat.get(key)))[:12]}' for key in _unequal(alike))})"

    return [label(spec) for spec in specs]


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
    if isinstance(value, dict) and set(value) == {"points", "kind"}:
        return _schedule(value)
    if isinstance(value, dict) and isinstance(name := value.get("name"), str):
        return " ".join([name, *(f"{key} {option}" for key, option in value.items() if key != "name")])
    return _json(value) if isinstance(value, dict | list) else value


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
    return pd.Series([float("nan") if value is None else float(value) for value in values], dtype="float64")
