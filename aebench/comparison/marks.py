"""What is best by one number, and what cannot be told from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import stats
from aebench.comparison import rules
from aebench.comparison.entrants import Field
from aebench.comparison.records import LEVEL, MIN_SEEDS, Board, Entrant, Measure
from aebench.comparison.rules import Mask
from aebench.stats import Floats, mean_intervals, t_test

FEW = f"fewer than {MIN_SEEDS} seeds carry no mark and no claim"
NOT_EQUAL = "not ranked: another latent size or budget"
SHORT = "not ranked: too few seeds in common"
SAME = 1e-6
"""Means that differ by a smaller part of their value are the same: closed forms differ in their rounding."""
Mark = Literal["best", "tied", ""]


@dataclass(frozen=True)
class Standing:
    """What decides who may be ranked, the same for every number of a data set."""

    entrants: tuple[Entrant, ...]
    held: Mask
    """`[entrants, seeds]`: whether there is such a run."""
    equal: Mask
    """`[entrants]`: of equal latent size and budget."""
    latent_kl: Mask
    """`[entrants]`: has a posterior."""


def standing(found: Field, rows: DataFrame) -> tuple[Standing, str]:
    """Of the settings of one data set's runs, and a note where some are of another size or budget."""
    equal, note = rules.comparable(found.entrants)
    kl = rows["kl"].to_numpy(np.float64) if "kl" in rows else np.full(len(rows), np.nan)
    return Standing(found.entrants, found.held, equal, rules.has_latent_kl(found.entrants, found.of(kl, np.nan))), note


@dataclass(frozen=True)
class Marks:
    """One number's marks, and why what is there is not ranked, `[entrants]` each; `why` the number itself is not."""

    marks: tuple[Mark, ...]
    notes: tuple[str, ...]
    why: str

    @property
    def ranked(self) -> bool:
        """Whether there is a best."""
        return "best" in self.marks


def mark(name: str, better: str, why: str, values: Floats, standing: Standing) -> Marks:
    """Marks by one number, `values` `[entrants, seeds]`, NaN where missing; `why` it ranks nothing, if it does not."""
    marks: list[Mark] = [""] * len(standing.entrants)
    if why:
        return Marks(tuple(marks), tuple(marks), why)
    among, notes = among_whom(name, values, standing)
    if among.sum() < 2:
        return Marks(tuple(marks), tuple(marks), _why(notes))
    places = np.flatnonzero(among)
    shared = values[places][:, standing.held[places].all(axis=0)]
    first, tied = _best(shared, better)
    equal = (shared == shared[first]).all(axis=1)  # such as the counts of parameters of two settings
    for n, e in enumerate(places.tolist()):
        marks[e] = "best" if equal[n] else "tied" if tied[n] else ""
    partly = [note for note in dict.fromkeys(notes.tolist()) if note.endswith(rules.REASONS)]
    return Marks(tuple(marks), tuple(notes.tolist()), "; ".join(partly))


def among_whom(name: str, values: Floats, standing: Standing) -> tuple[Mask, NDArray[Any]]:
    """Who is ranked by a number `[entrants]`, and why another that has it is not.

    All who are ranked share `MIN_SEEDS` seeds or more.
    """
    whole = (~np.isnan(values) == standing.held).all(axis=1)
    many = standing.held.sum(axis=1) >= MIN_SEEDS
    notes = np.full(len(standing.entrants), "", dtype=object)
    notes[whole & ~many] = f"not ranked: {FEW}"
    notes[whole & ~standing.equal] = NOT_EQUAL
    among = whole & many & standing.equal
    if name in rules.LIKELIHOOD:
        alike, whys = rules.one_likelihood(standing.entrants, among)
        left = among & ~alike
        notes[left] = [f"not ranked: {why}" for why in whys[left]]
        among = alike
    if rules.ERROR.fullmatch(name) and (among & standing.latent_kl).sum() > 1:
        notes[among & standing.latent_kl] = f"not ranked: {rules.TRADED}"
        among &= ~standing.latent_kl
    sharing = _sharing(standing.held, among)
    notes[among & ~sharing] = SHORT
    return sharing, notes


def _sharing(held: Mask, among: Mask) -> Mask:
    """Those among some who share `MIN_SEEDS` seeds: who has the fewest in common with the others leaves first.

    `held` `[entrants, seeds]`; among equals the last leaves.
    """
    left = among.copy()
    while left.sum() > 1 and held[left].all(axis=0).sum() < MIN_SEEDS:
        in_common = (held * (held[left].sum(axis=0) - 1)).sum(axis=1)[left]
        left[np.flatnonzero(left)[np.flatnonzero(in_common == in_common.min())[-1]]] = False
    return left


def _why(notes: NDArray[Any]) -> str:
    """Why a number of which fewer than two settings could be ranked is not: the commonest reason."""
    found = [note.removeprefix("not ranked: ") for note in notes.tolist() if note]
    return max(dict.fromkeys(found), key=found.count) if found else "fewer than two settings have it of every seed"


def _best(values: Floats, better: str) -> tuple[int, Mask]:
    """The best mean of `values` `[settings, seeds]`, and which are not told from it, `[settings]`."""
    first = int(_by_mean(values, better)[0])
    return first, adjusted_pairs(values)[first] > 1 - LEVEL


def _by_mean(values: Floats, better: str) -> NDArray[np.int64]:
    """The places of `values` `[settings, seeds]` by their mean, best first."""
    means = np.ascontiguousarray(values).mean(axis=1)  # the order of a sum decides its last digits, and so ties
    return np.argsort(-means if better == "higher" else means, kind="stable").astype(np.int64)


def p_values(a: Floats, b: Floats) -> Floats:
    """Two-sided p of the paired t test over the last axis, the seeds: `[..., seeds] -> [...]`.

    A pair counts where both values are there; NaN below four pairs. Means that differ by less than `SAME` of their
    value have p = 1; where all differences are the same beyond that, p is 0.
    """
    found = mean_intervals(a - b, missing="drop")
    largest = np.nansum(np.maximum(np.abs(a), np.abs(b)), axis=-1) / np.maximum(found.n, 1)
    p = np.where(np.abs(found.mean) <= SAME * largest, 1.0, t_test(found.mean, found.sd, found.n))
    return np.where(found.n < MIN_SEEDS, np.nan, p)


def adjusted_pairs(values: Floats) -> Floats:
    """p of every two of `values` `[settings, seeds]`, Holm's adjustment over all pairs: `[settings, settings]`.

    Whoever is picked by these same values, the best among them, is then told from an equal one in 5 % of boards at
    most: its comparisons are among those adjusted for. NaN on the diagonal.
    """
    first, second = np.triu_indices(len(values), 1)
    found = np.full((len(values), len(values)), np.nan)
    found[first, second] = found[second, first] = stats.holm(p_values(values[first], values[second]))
    return found


@dataclass(frozen=True)
class Order:
    """The settings that a board ranks by one number, best first, over the seeds that all of them have."""

    entrants: tuple[Entrant, ...]
    seeds: tuple[int, ...]
    values: Floats
    """`[entrants, seeds]`."""

    def ids(self, *places: int) -> tuple[str, ...]:
        """The runs of some of them that were compared."""
        own = (dict(zip(self.entrants[n].seeds, self.entrants[n].ids, strict=True)) for n in places)
        return tuple(runs[seed] for runs in own for seed in self.seeds)


def order(board: Board, measure: Measure) -> Order:
    """Who is ranked by a number of a board, and what decides it; nobody where it ranks nothing."""
    cells = {entrant.key: board.cells[entrant.key, measure.name] for entrant in board.entrants}
    entrants = [e for e in board.entrants if not cells[e.key].note and not np.isnan(cells[e.key].interval.mean)]
    if not measure.ranked or not entrants:
        return Order((), (), np.empty((0, 0)))
    seeds = sorted(set(entrants[0].seeds).intersection(*(entrant.seeds for entrant in entrants)))
    own = [dict(zip(entrant.seeds, cells[entrant.key].values, strict=True)) for entrant in entrants]
    values = np.array([[of[seed] for seed in seeds] for of in own], np.float64)
    places = _by_mean(values, measure.better)
    return Order(tuple(entrants[n] for n in places.tolist()), tuple(seeds), values[places])


def seeds_in_words(counts: Sequence[int]) -> str:
    """`5 seeds`, `3 to 10 seeds`."""
    low, high = min(counts), max(counts)
    said = str(low) if low == high else f"{low} to {high}"
    return f"{said} seed{'' if said == '1' else 's'}"
