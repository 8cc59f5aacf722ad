"""Comparisons as sentences: plain text, every number from the records that it stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aebench.comparison import rules
from aebench.comparison.marks import seeds_in_words
from aebench.comparison.questions import Question
from aebench.comparison.records import Board, Claim, Entrant, Measure, Part
from aebench.stats import Interval, Paired

RATIO = ("sse", "mse", "mae", "mape", "huber", "C")
"""Errors with a true zero and a free unit: their ratio says something, so that they are compared in per cent."""
SPARSE = 0.9
"""Where fewer of the units are in use, a sentence about errors says how many."""
DATASETS = 4
"""So many data sets stand in one sentence."""


@dataclass(frozen=True)
class Lead:
    """What is best on one board by one number."""

    board: Board
    measure: Measure
    order: tuple[Entrant, ...]
    """The settings that are ranked, best mean first."""
    over_next: Part | None
    """Its lead over the second, where it is told from every other."""
    over_control: Part | None
    """Its lead over the control."""
    tied: tuple[Entrant, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """The comparisons that a sentence about it rests on."""
        return tuple(part for part in (self.over_next, self.over_control) if part is not None)


@dataclass(frozen=True)
class Crossing:
    """Two lines at one rate: the one with the lower error against the other."""

    part: Part
    rate: float
    unit: str
    """Of the rate."""


def of_best(question: Question, leads: Sequence[Lead]) -> Claim:
    """Which setting is best at what, on every data set."""
    shown = leads[:DATASETS]
    measure, parts = shown[0].measure.name, tuple(part for lead in shown for part in lead.parts)
    if len(leads) == 1:
        return Claim(_alone(question, shown[0]), measure, parts)
    clauses = [f"on {lead.board.data} {_clause(lead)}" for lead in shown]
    left = [f"{len(leads) - DATASETS} more data sets stand in the tables"] * (len(leads) > DATASETS)
    head = f"Best {question.about}{_without_kl(shown)} at equal latent size, beside the next"
    head += f" and {control}" if (control := _control(shown)) else ""
    return Claim(f"{head} ({question.said(measure)}, {_seeds(parts)}): {'; '.join(clauses + left)}.", measure, parts)


def of_rates(crossings: Sequence[Crossing]) -> Claim:
    """Which line has the lower error at equal latent KL, on every data set."""
    shown, parts = crossings[:DATASETS], tuple(crossing.part for crossing in crossings[:DATASETS])
    clauses = [
        f"on {c.part.data} {c.part.a} reconstructs {_percent(c.part.paired.ratio)} better than {c.part.b} at "
        f"{c.rate:.3g} {c.unit.partition(' ')[0]}"
        for c in shown
    ]
    return Claim(f"At equal latent KL {'; '.join(clauses)} (⟨C⟩, {_seeds(parts)}).", "C", parts)


def is_shown(paired: Paired, measure: Measure) -> bool:
    """Whether the interval that a sentence prints holds no equality."""
    interval, none = (paired.ratio, 1.0) if _in_percent(paired, measure) else (paired.difference, 0.0)
    return not interval.low <= none <= interval.high and math.isfinite(interval.low) and math.isfinite(interval.high)


def amount(paired: Paired, measure: Measure) -> str:
    """How much better or worse: `4.1 % [3.2, 5.0]` of a ratio, else `12.3 [11.0, 13.6] nats per example`."""
    if _in_percent(paired, measure):
        return _percent(paired.ratio)
    found = paired.difference
    ends = (found.mean, found.low, found.high) if found.mean > 0 else (-found.mean, -found.high, -found.low)
    mean, bounds = bracketed(*ends)
    return f"{mean} {bounds} {measure.unit}"


def bracketed(mean: float, low: float, high: float) -> tuple[str, str]:
    """A positive number and its interval to the digits that the interval leaves: `4.1`, `[3.2, 5.0]`.

    Half its width has two significant digits where it begins with 1, 2 or 3, and else one; a bound that is not zero
    is not written as zero.
    """
    half = max(high - mean, mean - low)
    if not half > 1e-9 * abs(mean):
        return f"{mean:.3g}", f"[{low:.3g}, {high:.3g}]"
    power = math.floor(math.log10(half))
    place = (1 if half / 10**power < 3.95 else 0) - power
    while low and not float(f"{low:.{max(place, 0)}f}"):
        place += 1
    texts = [f"{round(value, place):.{max(place, 0)}f}" for value in (mean, low, high)]
    return texts[0], f"[{texts[1]}, {texts[2]}]"


def _in_percent(paired: Paired, measure: Measure) -> bool:
    return measure.name in RATIO and math.isfinite(paired.ratio.mean)


def _percent(ratio: Interval) -> str:
    """By how many per cent an error is smaller or larger."""
    ends = [100 * abs(1 - value) for value in (ratio.mean, ratio.low, ratio.high)]
    mean, bounds = bracketed(ends[0], min(ends[1:]), max(ends[1:]))
    return f"{mean} % {bounds}"


def _alone(question: Question, lead: Lead) -> str:
    """The sentence about one data set."""
    first, second = lead.order[:2]
    how = f"at equal latent size ({question.said(lead.measure.name)}, {_seeds(lead.parts)})"
    one = lead.over_next
    if one and len(lead.order) == 2:
        a, b, side = (second, first, "worse") if one.a == second.key else (first, second, "better")
        does = f"{question.does} {amount(one.paired, lead.measure)} {side} than"
        return f"On {lead.board.data} {_named(a, lead)} {does} {_named(b, lead)} {how}."
    of = f"the next of {len(lead.order)} settings{_without_kl([lead])}"
    return f"On {lead.board.data} {_named(first, lead)} {question.does} {_leads(lead, of)} {how}."


def _clause(lead: Lead) -> str:
    """What is best on one of several data sets."""
    return f"{_named(lead.order[0], lead)}, {_leads(lead) if lead.parts else _tie(lead)}"


def _leads(lead: Lead, place: str = "") -> str:
    """By how much the best leads: over the next, which has this `place`, and over the control."""
    following = _named(lead.order[1], lead) + (f", {place}," if place else "")
    said = [f"{amount(lead.over_next.paired, lead.measure)} better than {following}"] if lead.over_next else []
    if lead.over_control:
        said.append(f"{amount(lead.over_control.paired, lead.measure)} better than {_control([lead])}")
    if not lead.over_next:
        said.append(_tie(lead))
    return " and ".join(said).removesuffix(",")


def _control(leads: Sequence[Lead]) -> str:
    """The label of the control, where it is beaten; else nothing."""
    keys = {lead.over_control.b for lead in leads if lead.over_control}
    return next((e.label for lead in leads for e in lead.order if e.key in keys), "")


def _tie(lead: Lead) -> str:
    """That the best mean is no lead: the adjustment over the whole page is stricter than that of the marks."""
    return f"no lead claimed over {rules.listed([e.label for e in lead.tied or lead.order[1:2]])}"


def _named(entrant: Entrant, lead: Lead) -> str:
    """A setting's label; in a sentence about errors also how much of its code it uses, where that is little."""
    used = lead.board.cells.get((entrant.key, "l0_fraction"))
    if rules.ERROR.fullmatch(lead.measure.name) and used is not None and used.interval.mean < SPARSE:
        return f"{entrant.label} ({used.interval.mean:.0%} of its units in use)".replace("%", " %")
    return entrant.label


def _without_kl(leads: Sequence[Lead]) -> str:
    """Said where settings with a latent KL were left out."""
    return " without a latent KL" if any(rules.TRADED in lead.measure.note for lead in leads) else ""


def _seeds(parts: Sequence[Part]) -> str:
    return seeds_in_words([part.paired.difference.n for part in parts])
