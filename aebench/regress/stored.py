"""Folders of results as sides of a comparison: each metric of each setting is a quality with a value for each seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aebench.errors import InputError
from aebench.regress.records import Better, Kind, Measure, Side

if TYPE_CHECKING:
    from pandas import DataFrame

    from aebench.comparison.records import Board, Entrant
    from aebench.store.documents import Document

Held = Mapping[str, "Document"]
"""The documents of a folder by their ids."""


def is_results(path: str | Path) -> bool:
    """Whether this is a folder of results."""
    return (Path(path) / "suite.json").exists()


def results(*folders: str | Path) -> list[Side]:
    """A side for each folder, the seeds in order; a setting has the same name in all, whatever else is there.

    A setting is what a specification says but for seed and versions, so that code of another version is compared. What
    is counted is a counter. Times are left out: those that results keep were not measured in turns. Raises InputError
    where a folder has no results, or data or budgets differ.
    """
    from aebench.comparison import refuse_mixed_budgets
    from aebench.store import Store

    held: list[Held] = []
    problems: list[list[str]] = []
    for folder in folders:
        store = Store(folder)
        read = (store.read_or_note(id, newer=True) for id in store.ids())
        held.append({document["id"]: document for document in read if document is not None})
        problems.append(list(store.problems))
        if not held[-1]:
            raise InputError(f"{folder}: no results of a suite" + "".join(f"; {line}" for line in problems[-1][:1]))
    refuse_mixed_budgets({str(folder): list(own.values()) for folder, own in zip(folders, held, strict=True)})
    names = _names(held)
    sides = [_side(str(folder), own, names, notes) for folder, own, notes in zip(folders, held, problems, strict=True)]
    measured = {measure for side in sides for measure, values in side.values.items() if not _empty(values)}
    return [_with(side, {m: values for m, values in side.values.items() if m in measured}) for side in sides]


def _with(side: Side, values: Mapping[Measure, tuple[float, ...]]) -> Side:
    return Side(side.name, values, notes=side.notes, seeds={m: side.seeds[m] for m in values})


def _side(name: str, held: Held, names: Mapping[str, str], problems: Sequence[str]) -> Side:
    """A measure without a value is kept where runs failed: the other side may have it."""
    from aebench.comparison.rules import SHARED, TIMED
    from aebench.tables.numbers import COUNTED

    values: dict[Measure, tuple[float, ...]] = {}
    seeds: dict[Measure, tuple[int, ...]] = {}
    lost: list[str] = []
    for board in _boards(held):
        for entrant in board.entrants:
            setting, failed = names[_setting(entrant.spec)], [id for id in entrant.ids if held[id]["status"] != "ok"]
            if failed:
                lost.append(f"{name}: {len(failed)} of {len(entrant.ids)} runs of {setting} did not end well")
            for measure in board.measures:
                cell = board.cells[entrant.key, measure.name]
                if measure.better == "neither" or measure.note in (SHARED, TIMED):
                    continue
                if failed or not _empty(cell.values):
                    kind: Kind = "counter" if COUNTED.fullmatch(measure.name) else "quality"
                    better: Better = "higher" if measure.better == "higher" else "lower"
                    key = Measure(setting, measure.name, kind, measure.unit, better)
                    values[key], seeds[key] = tuple(cell.values), tuple(entrant.seeds)
    return Side(name, values, notes=(*problems, *lost), seeds=seeds)


def _names(held: Sequence[Held]) -> dict[str, str]:
    """Setting -> its name, told apart from all settings of all folders."""
    union: dict[str, Document] = {}
    known: set[str] = set()
    for own in held:
        new = {id: document for id, document in own.items() if _setting(document["spec"]) not in known}
        known |= {_setting(document["spec"]) for document in new.values()}
        union |= new
    entrants: list[Entrant] = [entrant for board in _boards(union) for entrant in board.entrants]
    return {_setting(entrant.spec): f"{entrant.label} on {entrant.data}" for entrant in entrants}


def _setting(spec: Mapping[str, Any]) -> str:
    from aebench.groups import without_seed

    return without_seed({key: value for key, value in spec.items() if key not in ("schema", "version")})


def _boards(held: Held) -> tuple[Board, ...]:
    from aebench.comparison import boards
    from aebench.plots import with_documents
    from aebench.store.frame import from_documents

    frame: DataFrame = with_documents(from_documents(list(held.values())), dict(held))
    return boards(frame)


def _empty(values: Sequence[float]) -> bool:
    return all(map(math.isnan, values))
