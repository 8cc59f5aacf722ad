"""What runs must share before they are compared: the budget of training, and the data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from aebench.errors import InputError
from aebench.known import is_closed_form
from aebench.store.documents import Document

Fields = dict[str, Any]


def budget(spec: Mapping[str, Any]) -> Fields:
    """What must be equal in training: steps, batch, optimiser, precision, and which step's weights are kept.

    And, where it was tuned, the number of draws and the metric that chose. Empty for a closed form, which takes no
    step and stands beside any budget. The learning rate and the other floats are hyperparameters, which a variant may
    have its own of.
    """
    train = spec["train"]
    if is_closed_form(spec["variant"]):
        return {}
    optimizer = train.get("optimizer")
    name = optimizer.get("name") if isinstance(optimizer, Mapping) else optimizer
    fields = {key: train.get(key) for key in ("steps", "batch")}
    rest = {key: train.get(key) for key in ("precision", "keep")}
    return {**fields, "optimizer": name, **rest, **_tuning(spec.get("tuning") or {})}


def _tuning(tune: Mapping[str, Any]) -> Fields:
    """Draws, and the metric that chose, of what says how it was tuned; nothing where it was not."""
    return {"tuning draws": tune["draws"], "tuned by": tune["metric"]} if tune else {}


def identity(spec: Mapping[str, Any]) -> Fields:
    """What must be equal of data of one name and the same parameters: version, checksum and split."""
    data = spec["data"]
    split = data.get("split")
    parts = {f"split.{key}": value for key, value in split.items()} if isinstance(split, Mapping) else {"split": split}
    return {**{key: data.get(key) for key in ("version", "checksum")}, **parts}


def latent(spec: Mapping[str, Any]) -> int | None:
    """Units of the code; None where the variant's sizes have none of that name."""
    found = spec["sizes"].get("latent")
    return found if isinstance(found, int) else None


def in_words(fields: Mapping[str, Any]) -> str:
    """A budget in a sentence: `2000 steps of 128, adam, fp32`; what is not usual follows."""
    if not fields:
        return "no training"
    parts = [f"{fields['steps']} steps of {fields['batch']}", str(fields["optimizer"]), str(fields["precision"])]
    parts += ["best_validation kept"] if fields["keep"] == "best_validation" else []
    if draws := fields.get("tuning draws"):
        parts.append("not tuned" if draws == 1 else f"the best of {draws} draws by {fields['tuned by']}")
    return ", ".join(parts)


def refuse_mixed_budgets(
    folders: Mapping[str, Sequence[Document]], tunes: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Raise InputError where folders of results cannot stand on one page; it names folders, field and both values.

    `folders`: the documents of each by its name. `tunes`: the draws that each gave a variant and the metric that chose,
    by the same name; a folder that is not named gave none. On data that two folders share, the budgets of one must be
    among those of the other, and so must what the data are: one folder may hold several, as its own suite asked for
    them, and its boards say so.
    """
    given = tunes or {}
    used = [(name, _used(documents, given.get(name) or {})) for name, documents in folders.items()]
    for (first, ours), (second, theirs) in combinations(used, 2):
        for data, (identities, budgets) in ours.items():
            if data not in theirs:
                continue
            _refuse(_label(data), first, identities, second, theirs[data][0], "are not the same data")
            _refuse(_label(data), first, budgets, second, theirs[data][1], "were not run under the same budget")


Used = dict[tuple[str, str], tuple[dict[str, Fields], dict[str, Fields]]]
"""(name of the data, their parameters) -> identities and budgets, each by its JSON."""


def _used(documents: Iterable[Document], tune: Mapping[str, Any]) -> Used:
    found: Used = {}
    for document in documents:
        spec = document["spec"]
        data = (str(spec["data"].get("name")), _text(spec["data"].get("parameters") or {}))
        identities, budgets = found.setdefault(data, ({}, {}))
        own = identity(spec)
        identities.setdefault(_text(own), own)
        if spent := budget(spec):
            spent |= _tuning(tune)
            budgets.setdefault(_text(spent), spent)
    return found


def _refuse(
    data: str, first: str, ours: Mapping[str, Fields], second: str, theirs: Mapping[str, Fields], why: str
) -> None:
    """Unless one side's are all among the other's: then what is compared is equal."""
    if ours.keys() <= theirs.keys() or theirs.keys() <= ours.keys():
        return
    mine = next(value for text, value in ours.items() if text not in theirs)
    others = [value for text, value in theirs.items() if text not in ours]
    nearest = min(others, key=lambda other: len(list(_differing(mine, other))))
    field = next(_differing(mine, nearest))
    a, b = (_said(field, fields.get(field)) for fields in (mine, nearest))
    raise InputError(f"{first} and {second} {why} on {data}: {field} is {a} in {first} and {b} in {second}")


def _differing(a: Fields, b: Fields) -> Iterator[str]:
    return (key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key))


def _said(field: str, value: Any) -> str:
    if value is None:
        return "none"
    return str(value)[:12] if field == "checksum" else str(value)


def _label(data: tuple[str, str]) -> str:
    name, parameters = data
    return name if parameters == "{}" else f"{name} {parameters}"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
