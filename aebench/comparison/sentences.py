"""Comparisons as sentences: plain text, every number from the records that it stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aebench.comparison import rules
from aebench.comparison.marks import SAME, seeds_in_words
from aebench.comparison.questions import Question
from aebench.comparison.records import Board, Claim, Entrant, Measure, Part

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
    unit_y: str
    """Of the error."""
    names: tuple[str, str]
    """Of both, in a sentence."""


def of_best(question: Question, leads: Sequence[Lead], compared: int) -> Claim:
    """Which setting is best at what, on every data set; first those on which a lead is claimed."""
    shown = sorted(leads, key=lambda lead: not lead.parts)[:DATASETS]
    parts = tuple(part for lead in shown for part in lead.parts)
    if len(leads) == 1:
        return Claim(_alone(question, shown[0]), parts, compared)
    words = [question.said(lead.measure.name) for lead in shown]
    one = len(set(words)) == 1  # of several each clause names its own
    clauses = [
        f"on {lead.board.data} {_clause(lead)}{'' if one else f' ({said})'}"
        for lead, said in zip(shown, words, strict=True)
    ]
    head = f"Best {question.about}{_without_kl(shown)} at equal latent size, beside the next"
    head += f" and {control}" if (control := _control(shown)) else ""
    how = ", ".join([*words[: int(one)], _seeds(parts)])
    return Claim(f"{head} ({how}): {'; '.join([*clauses, *_more(leads)])}.", parts, compared)


def of_rates(crossings: Sequence[Crossing], compared: int) -> Claim:
    """Which line has the lower error at equal latent KL, on every data set."""
    shown, parts = crossings[:DATASETS], tuple(crossing.part for crossing in crossings[:DATASETS])
    clauses = [
        f"on {c.part.data} {c.names[0]} reconstructs {amount(c.part, c.unit_y)} better than {c.names[1]} at "
        f"{c.rate:.3g} {c.unit.partition(' ')[0]}"
        for c in shown
    ]
    text = f"At equal latent KL {'; '.join([*clauses, *_more(crossings)])} (⟨C⟩, {_seeds(parts)})."
    return Claim(text, parts, compared)


def is_shown(part: Part) -> bool:
    """Whether the interval that a sentence prints holds no equality, and no difference as small as rounding."""
    paired = part.paired
    interval, none = (paired.ratio, 1.0) if _in_percent(part) else (paired.difference, 0.0)
    if _in_percent(part) and abs(interval.mean - 1) <= SAME:
        return False
    return not interval.low <= none <= interval.high and math.isfinite(interval.low) and math.isfinite(interval.high)


def amount(part: Part, unit: str) -> str:
    """How much better or worse: `4.1 % [3.2, 5.0]` of a ratio, else `12.3 [11.0, 13.6] nats per example`."""
    ratio, found = part.paired.ratio, part.paired.difference
    if _in_percent(part):
        number, bounds = bracketed(*(100 * (1 - value) for value in (ratio.mean, ratio.high, ratio.low)))
        return f"{number} % {bounds}".rstrip()
    return " ".join(filter(None, [*bracketed(found.mean, found.low, found.high), unit]))


def bracketed(mean: float, low: float, high: float) -> tuple[str, str]:
    """How large a number is and its interval, to the digits that the interval leaves: `4.1`, `[3.2, 5.0]`.

    A negative number is turned round with its interval, which so keeps the other sign where it reaches there.

    Half its width has two significant digits where it begins with 1, 2 or 3, and else one; a bound that is not zero
    is not written as zero. One of no width, between two closed forms, is none.
    """
    mean, low, high = (mean, low, high) if mean > 0 else (-mean, -high, -low)
    half = max(high - mean, mean - low)
    if not half > 1e-9 * abs(mean):
        return f"{mean:.3g}", ""
    power = math.floor(math.log10(half))
    place = (1 if half / 10**power < 3.95 else 0) - power
    while low and not float(f"{low:.{max(place, 0)}f}"):
        place += 1
    texts = [f"{round(value, place):.{max(place, 0)}f}" for value in (mean, low, high)]
    return texts[0], f"[{texts[1]}, {texts[2]}]"


def _in_percent(part: Part) -> bool:
    return part.measure in RATIO and math.isfinite(part.paired.ratio.mean)


def _more(every: Sequence[Lead] | Sequence[Crossing]) -> list[str]:
    """That the sentence does not name all data sets."""
    left = len(every) - DATASETS
    return [f"{left} more data set{' stands' if left == 1 else 's stand'} in the tables"] * (left > 0)


def _alone(question: Question, lead: Lead) -> str:
    """The sentence about one data set."""
    first, second = lead.order[:2]
    how = f"at equal latent size ({question.said(lead.measure.name)}, {_seeds(lead.parts)})"
    one = lead.over_next
    if one and len(lead.order) == 2:
        a, b, side = (second, first, "worse") if one.a == second.key else (first, second, "better")
        does = f"{question.does} {amount(one, lead.measure.unit)} {side} than"
        return f"On {lead.board.data} {_named(a, lead)} {does} {_named(b, lead)} {how}."
    of = f"the next of {len(lead.order)} settings{_without_kl([lead])}"
    return f"On {lead.board.data} {_named(first, lead)} {question.does} {_leads(lead, of)} {how}."


def _clause(lead: Lead) -> str:
    """What is best on one of several data sets."""
    return f"{_named(lead.order[0], lead)}, {_leads(lead) if lead.parts else _tie(lead)}"


def _leads(lead: Lead, place: str = "") -> str:
    """By how much the best leads: over the next, which has this `place`, and over the control."""
    following = _named(lead.order[1], lead) + (f", {place}," if place else "")
    unit = lead.measure.unit
    said = [f"{amount(lead.over_next, unit)} better than {following}"] if lead.over_next else []
    if lead.over_control:
        said.append(f"{amount(lead.over_control, unit)} better than {_control([lead])}")
    if not lead.over_next:
        said.append(_tie(lead))
    return " and ".join(said).removesuffix(",")


def _control(leads: Sequence[Lead]) -> str:
    """The label of the control, where it is beaten; else nothing."""
    keys = {lead.over_control.b for lead in leads if lead.over_control}
    return next((e.label for lead in leads for e in lead.order if e.key in keys), "")


def _tie(lead: Lead) -> str:
    """That the best mean is no lead: the adjustment over the whole page is stricter than that of the marks."""
    return f"no lead claimed over {rules.listed([_told(e, lead) for e in lead.tied or lead.order[1:2]])}"


def _named(entrant: Entrant, lead: Lead) -> str:
    """A setting's label; in a sentence about errors also how much of its code it uses, where that is little."""
    used, label = lead.board.cells.get((entrant.key, "l0_fraction")), _told(entrant, lead)
    if rules.ERROR.fullmatch(lead.measure.name) and used is not None and used.interval.mean < SPARSE:
        return f"{label} ({used.interval.mean:.0%} of its units in use)".replace("%", " %")
    return label


def _told(entrant: Entrant, lead: Lead) -> str:
    return rules.with_network(entrant.label, entrant, rules.commonest_network(lead.board.entrants))


def _without_kl(leads: Sequence[Lead]) -> str:
    """Said where settings with a latent KL were left out."""
    return " without a latent KL" if any(rules.TRADED in lead.measure.note for lead in leads) else ""


def _seeds(parts: Sequence[Part]) -> str:
    return seeds_in_words([part.paired.difference.n for part in parts])
