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
from aebench.comparison.records import LEVEL, MIN_SEEDS, Entrant
from aebench.comparison.rules import Mask
from aebench.stats import Floats, mean_intervals, t_test

FEW = f"fewer than {MIN_SEEDS} seeds carry no mark and no claim"
NOT_EQUAL = "not ranked: another latent size or budget"
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
    count = len(standing.entrants)
    nothing = Marks(("",) * count, ("",) * count, why)
    if why:
        return nothing
    among, notes = among_whom(name, values, standing)
    if among.sum() < 2:
        return Marks(nothing.marks, nothing.notes, _why(notes))
    first, tied, short = _best(values, among, better)
    marks: list[Mark] = [
        "best" if e == first else "tied" if also else "" for e, also in enumerate((tied & among).tolist())
    ]
    notes[among & short] = "not ranked: too few seeds in common with the best"
    partly = [note for note in dict.fromkeys(notes.tolist()) if note.endswith(rules.REASONS)]
    return Marks(tuple(marks), tuple(notes.tolist()), "; ".join(partly))


def among_whom(name: str, values: Floats, standing: Standing) -> tuple[Mask, NDArray[Any]]:
    """Who is ranked by a number `[entrants]`, and why another that has it is not."""
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
    return among, notes


def _why(notes: NDArray[Any]) -> str:
    """Why a number of which fewer than two settings could be ranked is not: the commonest reason."""
    found = [note.removeprefix("not ranked: ") for note in notes.tolist() if note]
    return max(dict.fromkeys(found), key=found.count) if found else "fewer than two settings have it of every seed"


def _best(values: Floats, among: Mask, better: str) -> tuple[int, Mask, Mask]:
    """The best mean among some, those not told from it, and those without seeds enough in common: `[entrants]`."""
    means = np.where(among, np.nanmean(np.where(among[:, None], values, 0.0), axis=1), np.nan)
    first = int(np.nanargmin(means) if better == "lower" else np.nanargmax(means))
    p = p_values(values, values[first])
    short = np.isnan(p)
    others = among & ~short
    others[first] = False
    tied = np.zeros_like(among)
    tied[others] = stats.holm(p[others]) > 1 - LEVEL
    short[first] = False
    return first, tied, short


def p_values(a: Floats, b: Floats) -> Floats:
    """Two-sided p of the paired t test over the last axis, the seeds: `[..., seeds] -> [...]`.

    A pair counts where both values are there; NaN below four pairs. Differences of rounding alone count as none;
    where all are the same p is 0, and 1 where they are 0.
    """
    differences = a - b
    differences[np.abs(differences) <= 1e-12 * np.maximum(np.abs(a), np.abs(b))] = 0.0
    found = mean_intervals(differences, missing="drop")
    return np.where(found.n < MIN_SEEDS, np.nan, t_test(found.mean, found.sd, found.n))


def seeds_in_words(counts: Sequence[int]) -> str:
    """`5 seeds`, `3 to 10 seeds`."""
    low, high = min(counts), max(counts)
    said = str(low) if low == high else f"{low} to {high}"
    return f"{said} seed{'' if said == '1' else 's'}"
