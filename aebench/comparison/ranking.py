"""Settings over several data sets: scores against frozen references, ranks, and tests where they have power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from pandas import DataFrame

from aebench import groups, stats
from aebench.comparison import rules
from aebench.comparison.entrants import Field, field, values_of
from aebench.comparison.marks import SAME, among_whom, standing
from aebench.comparison.records import LEVEL, Entrant, Ranking
from aebench.known import is_closed_form
from aebench.stats import Floats

if TYPE_CHECKING:
    from aebench.references import Reference, References

THRESHOLDS = 101
"""Scores at which performance profiles are computed."""
WORST = -1.0
"""The lowest of these: as far below PCA as the strong run is above."""
ROUNDING = 1e-12
"""A mean score that is smaller is 0: PCA against itself."""
INCOMPLETE = "a run failed, or has no value"
ELSEWHERE = "they are not ranked on every data set"


@dataclass(frozen=True)
class Ranked:
    """The settings that one data set ranks, by what they are without the data."""

    data: str
    found: Field
    values: Floats
    """`[entrants, seeds]`."""
    places: Mapping[str, int]
    """What a setting is, as text -> its place among the entrants."""
    left: Mapping[str, tuple[str, str]]
    """Of those that it does not rank, though they have the number: their labels, and why not."""


def ranking(frame: DataFrame, references: References, measure: str = "sse", control: str = "pca") -> Ranking | None:
    """Settings that are ranked on every data set, over all of these; None below two settings or two data sets.

    `frame`: as `boards` takes it. Who is ranked on a data set is what its board says of the `measure`: of equal
    latent size and budget, whole, with more than three seeds, and by error without a latent KL. While fewer than two
    settings are ranked on all data sets, the data set that ranks the fewest is left out. Scores are of the data sets
    with a reference alone; ranks and tests need none. The tests are over means of the seeds that all these settings
    share on a data set; `control` is the variant that the others are tested against, or, where it is not there, the
    first setting.
    """
    about = frame.attrs["values"].get(measure)
    if about is None or rules.unranked(measure, about):
        return None
    ranked = [_ranked(data, rows, measure) for data, rows in groups.datasets(frame)]
    kept, texts, notes = _shared(ranked)
    if len(kept) < 2 or len(texts) < 2:
        return None
    entrants = [[one.found.entrants[one.places[text]] for one in kept] for text in texts]
    labels, better = _labels(entrants), about["better"]
    values, seeds = _values(kept, texts)
    scores, found, why = _scores(values, entrants, references, measure)
    first = next((n for n, row in enumerate(entrants) if row[0].variant == control), 0)
    means = np.mean(values, axis=2, where=~np.isnan(values).any(axis=0))
    thresholds = _thresholds(scores)
    tests = stats.wilcoxon_holm(means, first, better, LEVEL)
    return Ranking(
        measure=measure,
        labels=tuple(labels),
        keys=tuple(tuple(entrant.key for entrant in row) for row in entrants),
        data=tuple(one.data for one in kept),
        referenced=tuple(found),
        strong=tuple(reference.strong for reference in found.values()),
        seeds=seeds,
        values=values,
        scores=scores,
        iqm=_summed_up(scores, [is_closed_form(row[0].variant) for row in entrants]) if found else None,
        thresholds=thresholds,
        profiles=stats.performance_profiles(scores, thresholds, LEVEL) if found else None,
        ranks=stats.rank_intervals(values, better, LEVEL),
        control=labels[first],
        wilcoxon=tests if isinstance(tests, stats.Refusal) else tuple(tests),
        friedman=stats.friedman(means, LEVEL, better),
        ids=tuple(run for row in entrants for entrant in row for run in entrant.ids),
        notes=(*notes, *why),
    )


def _ranked(data: str, rows: DataFrame, measure: str) -> Ranked:
    found = field(rows)
    values = found.of(values_of(rows, [measure])[:, 0], np.nan)
    among, notes = among_whom(measure, values, standing(found, rows)[0])
    texts = [groups.without_data(entrant.spec) for entrant in found.entrants]
    places = {text: n for n, text in enumerate(texts) if among[n]}
    lacking = np.isnan(values).all(axis=1) | among
    left = {
        texts[n]: (found.entrants[n].label, str(notes[n]).removeprefix("not ranked: ") or INCOMPLETE)
        for n in np.flatnonzero(~lacking).tolist()
    }
    return Ranked(data, found, values, places, left)


def _shared(ranked: Sequence[Ranked]) -> tuple[list[Ranked], list[str], list[str]]:
    """The data sets, the settings that all of them rank, and notes on what was left out."""
    kept, left = [one for one in ranked if one.places], [one.data for one in ranked if not one.places]
    while len(kept) > 2 and len(_common(kept)) < 2:
        fewest = min(kept, key=lambda one: len(one.places))
        kept.remove(fewest)
        left.append(fewest.data)
    common = _common(kept)
    notes = [f"Not compared by rank, as too few settings are ranked on them: {', '.join(left)}."] if left else []
    return kept, common, [*notes, *_left_out(kept, common)]


def _left_out(kept: Sequence[Ranked], common: Sequence[str]) -> list[str]:
    """How many settings are not compared over the data sets, reason by reason: each by the first that it meets."""
    whys: dict[str, tuple[str, str]] = {}
    for one in kept:
        for text, found in one.left.items():
            whys.setdefault(text, found)
    for one in kept:  # ranked on some, and left out of the others for no reason of their own
        for text, place in one.places.items():
            if text not in common:
                whys.setdefault(text, (one.found.entrants[place].label, ELSEWHERE))
    by_reason: dict[str, list[str]] = {}
    for label, why in whys.values():
        by_reason.setdefault(why, []).append(label)
    said: list[str] = []
    for why, names in by_reason.items():
        labels = list(dict.fromkeys(names))  # one of another size on each data set is named once
        said.append(f"Left out: {rules.listed(labels)}{f' ({len(labels)} settings)' * (len(labels) > 3)}; {why}.")
    return said


def _common(ranked: Sequence[Ranked]) -> list[str]:
    return [text for text in ranked[0].places if all(text in one.places for one in ranked)] if ranked else []


def _labels(entrants: Sequence[Sequence[Entrant]]) -> list[str]:
    """What tells the settings apart, which are the same on every data set."""
    return groups.labels([groups.without_drawn(row[0].spec) for row in entrants], [row[0].network for row in entrants])


def _values(kept: Sequence[Ranked], texts: Sequence[str]) -> tuple[Floats, tuple[int, ...]]:
    """`[variants, datasets, seeds]` by the seeds of all, NaN where one is missing."""
    seeds = np.unique(np.concatenate([one.found.seeds for one in kept]))
    values = np.full((len(texts), len(kept), seeds.size), np.nan)
    for d, one in enumerate(kept):
        at = np.searchsorted(seeds, one.found.seeds)
        values[:, d, at] = one.values[[one.places[text] for text in texts]]
    return values, tuple(seeds.tolist())


def _scores(
    values: Floats, entrants: Sequence[Sequence[Entrant]], references: References, measure: str
) -> tuple[Floats, dict[str, Reference], list[str]]:
    """Scores of the data sets that have a reference, these by their labels, and a note on those that have none."""
    found = [references.find(entrant.spec, measure) for entrant in entrants[0]]
    have = [d for d, reference in enumerate(found) if reference is not None]
    ends = np.array([[r.zero, r.one] for r in found if r is not None]).reshape(-1, 2)
    scores = stats.normalised(values[:, have], ends[:, :1], ends[:, 1:])
    labels = [entrant.data for entrant in entrants[0]]
    held = {label: reference for label, reference in zip(labels, found, strict=True) if reference is not None}
    lacking = [label for label in labels if label not in held]
    note = f"Without scores, as no reference is frozen for this latent size: {', '.join(lacking)}."
    return scores, held, [note] if lacking else []


def _summed_up(scores: Floats, copies: Sequence[bool]) -> stats.Intervals:
    """Interquartile means; without an interval where the runs of a closed form are `copies` of each other."""
    found = stats.interquartile_mean(scores, LEVEL)
    bare = np.array(copies) & (found.high - found.low <= SAME)
    mean = np.where(np.abs(found.mean) < ROUNDING, 0.0, found.mean)
    low, high = (np.where(bare, np.nan, side) for side in (found.low, found.high))
    return replace(found, mean=mean, low=low, high=high)


def _thresholds(scores: Floats) -> Floats:
    """Even steps over the scores, from `WORST` at the lowest."""
    if not scores.size or np.isnan(scores).all():
        return np.empty(0)
    return np.linspace(max(float(np.nanmin(scores)), WORST), float(np.nanmax(scores)), THRESHOLDS)
