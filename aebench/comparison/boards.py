"""The leaderboard of each data set: every setting by every number, what is best, and why a number is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import groups
from aebench.comparison import missing, rules
from aebench.comparison.entrants import Field, field, values_of
from aebench.comparison.marks import FEW, SAME, Marks, Standing, mark, order, seeds_in_words, standing
from aebench.comparison.records import LEVEL, MIN_SEEDS, Board, Cell, Measure
from aebench.known import is_closed_form
from aebench.stats import Floats, Interval, mean_intervals
from aebench.tables.numbers import COUNTED

CHOSEN_ON = "validation_"
"""How the numbers of the validation part begin."""


@dataclass(frozen=True)
class Asked:
    """What a suite measured, over all data sets: suite -> `[names]`, as `names` has them."""

    names: tuple[str, ...]
    by_suite: Mapping[str, NDArray[np.bool_]]


def boards(frame: DataFrame) -> tuple[Board, ...]:
    """One leaderboard a data set, in order of appearance.

    `frame`: a row a run, failed ones too, with the column `spec` (`plots.with_documents`) and
    `attrs["values"]`. A run that stands in it twice counts once. Values of the validation part are left out: choices
    are made on them, and what is reported is of the test part. Marks, over the seeds that all ranked settings share:
    the best mean among them is "best"; those whose difference from it, paired by seed, is not significant (t test,
    Holm over all pairs of ranked settings, level .05) are "tied". Ranked are settings of equal latent size and budget
    (`rules.comparable`) whose runs all ended well, with more than three seeds in common; by error, no two settings
    with a latent KL; by likelihood, those of one kind. Networks may differ, and a note then names them.
    """
    names = tuple(name for name in frame.attrs["values"] if name in frame.columns and not name.startswith(CHOSEN_ON))
    present = ~np.isnan(values_of(frame, names))
    asked = Asked(names, missing.asked(frame["suite"].tolist(), present))
    return tuple(_board(label, rows, frame, asked) for label, rows in groups.datasets(frame))


def _board(data: str, rows: DataFrame, frame: DataFrame, asked: Asked) -> Board:
    found, about = field(rows), frame.attrs["values"]
    every = values_of(rows, asked.names)
    there = np.flatnonzero(~np.isnan(every).all(axis=0))
    there = there if there.size else np.arange(len(asked.names))  # a board where all failed says so of every number
    names = [asked.names[n] for n in there.tolist()]
    values = np.moveaxis(found.of(every[:, there], np.nan), 1, 2)  # [entrants, names, seeds]
    who, note = standing(found, rows)
    marks = [
        mark(name, about[name]["better"], rules.unranked(name, about[name]), values[:, m], who)
        for m, name in enumerate(names)
    ]
    measures = tuple(
        Measure(name, about[name]["unit"], about[name]["better"], about[name].get("about", ""), one.ranked, one.why)
        for name, one in zip(names, marks, strict=True)
    )
    failed = found.of(rows["status"].to_numpy(object), "")
    cells = _cells(found, values, measures, marks, _reasons(found, rows, values, names, asked))
    board = Board(data, measures, found.entrants, cells, ())
    return replace(board, notes=(*_notes(who, measures, failed, note), *_unequal(board)))


def _reasons(
    found: Field, rows: DataFrame, values: Floats, names: Sequence[str], asked: Asked
) -> Mapping[tuple[int, int], str]:
    """`(entrant, number)` -> why values are missing, where any are."""
    held = found.held
    lacking_any = (np.isnan(values) & held[:, None]).any(axis=2)
    status, error = (rows[column].to_numpy(object) for column in ("status", "error"))
    suite, place = rows["suite"].to_numpy(object), {name: n for n, name in enumerate(asked.names)}
    said: dict[tuple[int, int], str] = {}
    failed = [missing.failures([status[row] for row in line[line >= 0]]) for line in found.rows]
    for e, m in np.argwhere(lacking_any).tolist():
        line = found.rows[e][held[e]]
        lacking = [row for row, value in zip(line, values[e, m][held[e]], strict=True) if np.isnan(value)]
        well = [row for row in lacking if status[row] == "ok"]
        parts = [failed[e]] if failed[e] else []
        if well:
            known = asked.by_suite[suite[well[0]]][place[names[m]]]
            met = error[well[0]] if isinstance(error[well[0]], str) else ""
            why = missing.unmeasured(found.entrants[e], names[m], bool(known), met.removeprefix(missing.TRAINED))
            parts.append(why if len(well) == len(line) else f"{len(well)} of {len(line)} {why}")
        said[e, m] = "; ".join(parts)
    return said


def _cells(
    found: Field,
    values: Floats,
    measures: Sequence[Measure],
    marks: Sequence[Marks],
    reasons: Mapping[tuple[int, int], str],
) -> dict[tuple[str, str], Cell]:
    """Every cell of the board, from `values` `[entrants, numbers, seeds]`."""
    of = mean_intervals(values, LEVEL, missing="drop")
    counted = np.array([COUNTED.fullmatch(measure.name) is not None for measure in measures])
    shared = np.array([measure.note in (rules.SHARED, rules.TIMED) for measure in measures])
    copies = np.array([is_closed_form(entrant.variant) for entrant in found.entrants])[:, None]
    # not a sample, so that an interval would say nothing
    bare = shared | (counted & (of.low == of.high)) | (copies & (of.sd <= SAME * np.abs(of.mean)))
    bounds = [np.where(bare, np.nan, side).tolist() for side in (of.low, of.high)]
    mean, n, sd = of.mean.tolist(), of.n.tolist(), of.sd.tolist()
    cells: dict[tuple[str, str], Cell] = {}
    for e, entrant in enumerate(found.entrants):
        own = values[e][:, found.held[e]].tolist()
        for m, measure in enumerate(measures):
            interval = Interval(mean[e][m], bounds[0][e][m], bounds[1][e][m], n[e][m], sd[e][m], of.method, LEVEL)
            note = reasons.get((e, m), marks[m].notes[e])
            cells[entrant.key, measure.name] = Cell(interval, tuple(own[m]), marks[m].marks[e], note)
    return cells


def _notes(who: Standing, measures: Sequence[Measure], statuses: NDArray[Any], note: str) -> tuple[str, ...]:
    """What a reader must know before comparing."""
    notes = [note] if note else []
    counts = who.held.sum(axis=1)
    if counts.max() < MIN_SEEDS:
        notes.append(f"Nothing is marked: {seeds_in_words(counts.tolist())}, and {FEW}.")
    elif few := [e.label for e, n in zip(who.entrants, counts.tolist(), strict=True) if n < MIN_SEEDS]:
        notes.append(f"Not ranked for want of seeds ({FEW}): {rules.listed(few)}.")
    broken = [
        f"{entrant.label} ({missing.failures([status for status in line if status])})"
        for entrant, line in zip(who.entrants, statuses.tolist(), strict=True)
        if any(status not in ("", "ok") for status in line)
    ]
    if broken:
        notes.append(
            "Settings with runs that failed are not ranked, as a mean of the rest would flatter them: "
            f"{rules.listed(broken)}."
        )
    for reason in rules.REASONS:
        whose = [m.name for m in measures if reason in m.note and m.name not in rules.RATE]
        notes += [f"{reason[:1].upper()}{reason[1:]} (not ranked by {rules.listed(whose, 20)})."] * bool(whose)
    return tuple(notes)


def _unequal(board: Board) -> Iterator[str]:
    """Where the settings have other seeds than those that decide the marks, and other networks."""
    alike = len({entrant.seeds for entrant in board.entrants}) == 1
    ranked = [order(board, measure) for measure in board.measures if measure.ranked and not alike]
    own = [len(entrant.seeds) for one in ranked for entrant in one.entrants if entrant.seeds != one.seeds]
    if own:
        shared = [len(one.seeds) for one in ranked if any(entrant.seeds != one.seeds for entrant in one.entrants)]
        yield (
            f"Seeds differ: the best and its marks are decided over the {seeds_in_words(shared)} that all ranked "
            f"settings share; each mean is over the setting's own, here up to {max(own)}."
        )
    common = rules.commonest_network(board.entrants)
    others: dict[str, list[str]] = {}
    for entrant in board.entrants:
        if rules.other_network(entrant, common):
            others.setdefault(entrant.network, []).append(entrant.label)
    if others:
        named = [f"{network} ({rules.listed(labels, 8)})" for network, labels in others.items()]
        yield f"Networks differ: most settings have {common}, others {rules.listed(named, 8)}."
