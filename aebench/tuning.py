"""What a tuned suite chose: of each variant the draw that is best on validation, its test values, and how sensitive
the variant is to the draw.

Test values never enter the choice. The validation mean of a chosen draw is the best of several and so flatters it
(Cawley and Talbot, JMLR 2010); its test mean does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame

from aebench import stats
from aebench.stats import Interval
from aebench.stats.many import expected_best
from aebench.tables.numbers import format_interval, format_number, format_settings

Part = Literal["validation", "test"]
Scores = dict[str, float]
"""Run id -> its value; NaN where it failed or was not measured."""
PARTS: tuple[Part, ...] = ("validation", "test")
END = 0.05
"""The share of a range, on its own scale, that counts as its end."""


@dataclass(frozen=True)
class Sensitivity:
    """How much the means over seeds vary from draw to draw, on one part of the data; NaN with fewer than two draws."""

    low: float
    """The lower quartile."""
    median: float
    high: float
    """The upper quartile."""
    best: float
    """Of all draws: on the test part what a choice with open eyes would have reached."""
    relative: float
    """The interquartile range as a share of the chosen draw's mean, without sign."""


@dataclass(frozen=True)
class Choice:
    """What was chosen for one variant on one data set, at one value of what its entry sweeps."""

    variant: str
    data: str
    """The data set's label in the frame."""
    metric: str
    better: Literal["lower", "higher"]
    fields: Mapping[str, Any]
    """The chosen value of each field that was tuned; empty where none was, or where no draw could be chosen."""
    swept: Mapping[str, Any]
    space: Mapping[str, Mapping[str, Sequence[Any]]]
    """Field -> `{kind: values}`: what was drawn from; empty for a variant that has one draw by nature."""
    draw: int | None
    """The index of the chosen draw; None where no draw was eligible."""
    draws: int
    """The tuning budget; 1 where nothing was tuned."""
    ids: tuple[str, ...]
    """The runs of the chosen draw by seed; where none was eligible, the failed ones of the first draw with any."""
    validation: Interval
    test: Interval
    drawn: tuple[Mapping[str, Any], ...]
    """The fields of each draw."""
    values: Mapping[Part, tuple[float, ...]]
    """The mean over seeds of each draw; NaN where a run of the draw failed or has no value."""
    notes: tuple[str, ...] = ()

    @property
    def expected(self) -> tuple[float, ...]:
        """The expected best validation mean of n draws taken at random, n = 1 to `draws`; see `stats.many`."""
        return tuple(map(float, expected_best(self.values["validation"], self.better)))

    def sensitivity(self, part: Part) -> Sensitivity:
        """How much the score depends on the draw, on this part."""
        known = np.array([value for value in self.values[part] if not math.isnan(value)])
        if len(known) < 2 or self.draw is None:
            return Sensitivity(*[math.nan] * 5)
        low, median, high = (float(value) for value in np.quantile(known, [0.25, 0.5, 0.75]))
        best, reached = float(known.min() if self.better == "lower" else known.max()), self.values[part][self.draw]
        return Sensitivity(low, median, high, best, (high - low) / abs(reached) if reached else math.nan)


def chosen(frame: DataFrame, tune: Mapping[str, Any]) -> tuple[DataFrame, tuple[Choice, ...]]:
    """The frame with the chosen draws alone, and what was chosen, in the suite's order.

    `frame`: the runs of one folder, as `aebench.load` gives them; `tune`: what its `suite.json` says under that name.
    A draw is eligible where every seed ended well and has the value on validation; equal means go to the earlier
    draw. Runs that are no draw of the suite stay. A group none of whose runs are in the frame gives no choice.
    """
    metric, ok = str(tune["metric"]), frame["status"].eq("ok")
    scores: dict[Part, Scores] = {}
    for part, column in zip(PARTS, (f"validation_{metric}", metric), strict=True):
        found = frame[column].where(ok) if column in frame else pd.Series(math.nan, frame.index)
        scores[part] = dict(zip(frame["id"], map(float, found), strict=True))
    labels = dict(zip(frame["id"], frame["data"], strict=True))
    bad = set(frame["id"][~ok])
    present = [group for group in tune["groups"] if any(id in labels for draw in group["draws"] for id in draw["ids"])]
    choices = tuple(_choice(group, tune, scores, labels, bad) for group in present)
    tuned = {id for group in present for draw in group["draws"] for id in draw["ids"]}
    kept = {id for choice in choices for id in choice.ids}
    rows = frame[[id in kept or id not in tuned for id in frame["id"]]]
    rows.attrs = dict(frame.attrs)
    return rows, choices


def _choice(
    group: Mapping[str, Any],
    tune: Mapping[str, Any],
    scores: Mapping[Part, Scores],
    labels: Mapping[str, str],
    bad: set[str],
) -> Choice:
    draws: list[dict[str, Any]] = group["draws"]
    space: Mapping[str, Any] = group["fields"]
    ids = [tuple(draw["ids"]) for draw in draws]
    values: dict[Part, tuple[float, ...]] = {part: tuple(_mean(scores[part], runs) for runs in ids) for part in PARTS}
    draw = _best(values["validation"], tune["better"]) if space else 0
    failing = next((runs for runs in ids if bad & {*runs}), ())
    shown = tuple(id for id in failing if id in bad) if draw is None else ids[draw]
    of_chosen = {part: [] if draw is None else _known(scores[part], ids[draw]) for part in PARTS}
    fields: Mapping[str, Any] = {} if draw is None else draws[draw]["values"]
    return Choice(
        variant=group["variant"],
        data=next(labels[id] for runs in ids for id in runs if id in labels),
        metric=tune["metric"],
        better=tune["better"],
        fields=fields,
        swept=group["swept"],
        space=space,
        draw=draw,
        draws=len(draws),
        ids=shown,
        validation=stats.mean_interval(of_chosen["validation"]),
        test=stats.mean_interval(of_chosen["test"]),
        drawn=tuple(one["values"] for one in draws),
        values=values,
        notes=tuple(_notes(values["validation"], space, fields)),
    )


def _mean(scores: Scores, ids: Sequence[str]) -> float:
    """The mean over the seeds of a draw; NaN where one has no value, as the others alone would flatter it."""
    return float(np.mean([scores.get(id, math.nan) for id in ids]))


def _known(scores: Scores, ids: Sequence[str]) -> NDArray[np.float64]:
    values = np.array([scores.get(id, math.nan) for id in ids])
    return values[~np.isnan(values)]


def _best(means: Sequence[float], better: str) -> int | None:
    """The first draw with the best mean; None where none has one."""
    if all(map(math.isnan, means)):
        return None
    return int(np.nanargmin(means) if better == "lower" else np.nanargmax(means))


def _notes(means: Sequence[float], space: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[str]:
    """What a reader should know of a choice, a sentence each."""
    lost = sum(map(math.isnan, means)) if space else 0
    if lost:
        which = "no draw is eligible" if lost == len(means) else f"{lost} of {len(means)} draws are not eligible"
        yield f"{which}: a run failed, is missing or has no value on validation"
    for name, value in fields.items():
        ((kind, limits),) = space[name].items()
        if kind == "choice":
            continue
        scale: Callable[[float], float] = math.log if kind == "loguniform" else float
        low, high = map(scale, limits)
        at = (scale(value) - low) / (high - low)
        if min(at, 1 - at) < END:
            which = "lower" if at < END else "upper"
            yield f"{name} {value:.3g} is at the {which} end of what was drawn from: better values may lie beyond"


def told_apart(told: DataFrame, choices: Sequence[Choice]) -> DataFrame:
    """`told` (see `plots.with_documents`) with what comparisons must know of the choices.

    `spec["tuning"]` of a chosen run: its `draws`, the `metric` that chose, the `fields` that were drawn. Draws are
    part of the budget, and the metric that chose is the only one by which chosen draws are ranked: the records of the
    others in `attrs["values"]` name it as `chosen_by`.
    """
    if not choices:
        return told
    known = {
        run: {"draws": one.draws, "metric": one.metric, "fields": sorted(one.space)}
        for one in choices
        for run in one.ids
    }
    pairs = zip(told["id"], told["spec"], strict=True)
    specs: list[Any] = [{**spec, "tuning": known[run]} if run in known else spec for run, spec in pairs]
    marked = told.assign(spec=specs)
    metrics = sorted({choice.metric for choice in choices})
    values = {
        name: about if name in metrics else {**about, "chosen_by": " or ".join(metrics)}
        for name, about in told.attrs["values"].items()
    }
    marked.attrs = {**told.attrs, "values": values}
    return marked


def in_words(choice: Choice) -> str:
    """A choice in a few sentences: the budget, what was chosen, its scores, how sensitive the variant is."""
    at = f" ({_said(choice.swept)})" if choice.swept else ""
    test, notes = choice.test, "".join(f" {note[0].upper()}{note[1:]}." for note in choice.notes)
    reached = f"{choice.metric} {format_interval(test.mean, test.low, test.high)} on test"
    head = f"{choice.variant}{at} on {choice.data}:"
    if not choice.space:
        return f"{head} nothing to tune, a tuning budget of 1; {reached}.{notes}"
    if choice.draw is None:
        return f"{head} nothing chosen of {choice.draws} draws.{notes}"
    picked = f"of {choice.draws} draws the best on validation has {_said(choice.fields)}; {reached}."
    spread, expected = choice.sensitivity("test"), choice.expected
    if math.isnan(spread.median):
        return f"{head} {picked}{notes}"
    low, high, first, last = map(format_number, (spread.low, spread.high, expected[0], expected[-1]))
    share = "" if math.isnan(spread.relative) else f" ({100 * spread.relative:.0f} % of the chosen draw's mean)"
    return (
        f"{head} {picked} The middle half of all draws lies from {low} to {high}{share} on test; on validation one "
        f"draw is expected to reach {first}, the best of {len(expected)} {last}.{notes}"
    )


def _said(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {format_settings([value])[0]}" for name, value in fields.items())
