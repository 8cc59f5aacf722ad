"""The few sentences that the numbers support, and nothing beyond them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pandas import DataFrame

from aebench import stats
from aebench.comparison import rules, sentences
from aebench.comparison.curves import DISTORTION, Overlap, overlaps
from aebench.comparison.marks import FEW, Order, order, p_values, seeds_in_words
from aebench.comparison.questions import QUESTIONS, Question
from aebench.comparison.records import LEVEL, MIN_SEEDS, Board, Claim, Entrant, Measure, Part
from aebench.comparison.sentences import Crossing, Lead
from aebench.comparison.variants import has_posterior
from aebench.stats import Floats

MOST = 3
"""Sentences on a page."""
CONTROL = "pca"
"""The best setting is also compared with this variant, where it is ranked."""


@dataclass(frozen=True)
class Look:
    """What one question looked at on one board."""

    board: Board
    measure: Measure
    order: Order
    p: Floats
    """Of every comparison looked at: the best with each other, then the control with each other; adjusted for all
    comparisons of the page once they are known.
    """

    @property
    def control(self) -> int | None:
        """The place of the control; None where it is not ranked, or is the best."""
        entrants = self.order.entrants
        return next((n for n, entrant in enumerate(entrants) if n and entrant.variant == CONTROL), None)

    def told(self, other: int) -> bool:
        """Whether the best is told from another of the order: over the whole page, and on the board."""
        mark = self.board.cells[self.order.entrants[other].key, self.measure.name].mark
        return mark != "tied" and float(self.p[other - 1]) <= 1 - LEVEL

    @property
    def tied(self) -> tuple[Entrant, ...]:
        """Those that cannot be told from the best."""
        return tuple(entrant for n, entrant in enumerate(self.order.entrants) if n and not self.told(n))

    def against(self, other: int) -> Part | None:
        """The best against another of the order, where its lead is a claim; else None.

        Of two settings alone the one with a latent KL is the one that is spoken of.
        """
        entrants, values = self.order.entrants, self.order.values
        kl = [has_posterior(entrant.variant) for entrant in entrants[:2]]
        turned = len(entrants) == 2 and bool(kl[1]) and not kl[0]
        first, second = (other, 0) if turned else (0, other)
        paired = stats.paired(values[first], values[second], self.measure.better, LEVEL)
        keys = (entrants[first].key, entrants[second].key)
        part = Part(self.board.data, self.measure.name, *keys, paired, self.order.ids(first, second))
        right = paired.claim == ("worse" if turned else "better") and sentences.is_shown(part)
        return part if right and self.told(other) else None


def claims(frame: DataFrame, boards: Sequence[Board]) -> tuple[Claim, ...]:
    """At most `MOST` sentences, most important first; one that says why where nothing can be claimed.

    Questions, in order: which setting reconstructs best, which gives the data the highest likelihood, which denoises
    best, each on every data set and by how much over the next and over PCA; and which variant has the lower error at
    equal latent KL. A lead is claimed where there are more than three pairs, where Holm's adjustment over every
    comparison that the page looked at leaves p <= .05 (paired t test), where the board tells the two apart, and where
    the interval that is printed holds no equality. All of it over the seeds that the ranked settings share. "Best"
    needs that of every other setting that is ranked. The best was picked by the same numbers: therefore all its
    comparisons count as looked at, those of PCA with every other setting, and those of every two lines.
    """
    looks = [(question, look) for question in QUESTIONS for board in boards if (look := _look(question, board))]
    curves = overlaps(frame, ("rate-distortion",), every=True)
    family = [*(look.p for _, look in looks), np.array([p_values(*curve.at(_middle(curve))) for curve in curves])]
    adjusted = np.split(stats.holm(np.concatenate(family)), np.cumsum([len(p) for p in family])[:-1])
    told = [(question, replace(look, p=p)) for (question, look), p in zip(looks, adjusted[:-1], strict=True)]
    leads = {q: [_lead(look) for asked, look in told if asked is q] for q in QUESTIONS}
    compared = sum(map(len, family))
    found = [sentences.of_best(q, own, compared) for q, own in leads.items() if any(lead.parts for lead in own)]
    if crossings := _at_equal_rate(curves, adjusted[-1], boards):
        found.append(sentences.of_rates(crossings, compared))
    return tuple(found[:MOST]) or (Claim(_nothing(boards, [look for _, look in told], compared), (), compared),)


def _look(question: Question, board: Board) -> Look | None:
    """The settings that a question ranks on a board; None where it ranks none there."""
    measure = question.measure(board)
    if measure is None:
        return None
    look = Look(board, measure, order(board, measure), np.empty(0))
    values, control = look.order.values, look.control
    p = [p_values(values[1:], values[0])]
    if control is not None:
        p.append(p_values(np.delete(values, [0, control], axis=0), values[control]))
    return replace(look, p=np.concatenate(p))


def _lead(look: Look) -> Lead:
    """What a sentence may say of it."""
    control = look.control
    first = None if look.tied else look.against(1)
    second = look.against(control) if control is not None and not (first and control == 1) else None
    return Lead(look.board, look.measure, look.order.entrants, first, second, look.tied)


def _at_equal_rate(curves: Sequence[Overlap], p: Floats, boards: Sequence[Board]) -> list[Crossing]:
    """Of each data set the line that beats the most others at equal KL and loses to none, and the nearest of these.

    Lines that cross beat each other not, but the one that is worse in the middle loses.
    """
    common = {board.data: rules.commonest_network(board.entrants) for board in boards}
    won: dict[str, list[Crossing]] = {}
    lost: set[tuple[str, str]] = set()
    for curve, one in zip(curves, p.tolist(), strict=True):
        if not one <= 1 - LEVEL:
            continue
        rate = _middle(curve)
        error, more = curve.at(rate)
        ahead = curve if error.mean() < more.mean() else curve.turned()
        a, b = ahead.lines
        lost.add((ahead.data, b.label))
        paired = stats.paired(*ahead.at(rate), "lower", LEVEL)
        part = Part(ahead.data, DISTORTION, a.label, b.label, paired, ahead.ids)
        if paired.claim == "better" and sentences.is_shown(part) and not ahead.crosses():
            names = [rules.with_network(line.label, line.entrants[0], common[ahead.data]) for line in (a, b)]
            crossing = Crossing(part, rate, ahead.unit_x, ahead.unit_y, (names[0], names[1]))
            won.setdefault(ahead.data, []).append(crossing)
    best: list[Crossing] = []
    for data, crossings in won.items():
        wins = Counter(crossing.part.a for crossing in crossings if (data, crossing.part.a) not in lost)
        if wins:
            own = [crossing for crossing in crossings if crossing.part.a == wins.most_common(1)[0][0]]
            best.append(min(own, key=lambda crossing: abs(crossing.part.paired.difference.mean)))
    return best


def _middle(curve: Overlap) -> float:
    """The middle of the rates that both lines reach."""
    return sum(curve.ends) / 2


def _nothing(boards: Sequence[Board], looks: Sequence[Look], compared: int) -> str:
    """Why no sentence claims anything."""
    if not boards:
        return "Nothing is claimed: there are no runs."
    counts = [len(entrant.seeds) for board in boards for entrant in board.entrants]
    if max(counts) < MIN_SEEDS:
        return f"Nothing is claimed: {seeds_in_words(counts)}, and {FEW}."
    if not looks:
        return f"Nothing is claimed: {_unranked(boards)}."
    over = rules.listed([look.board.data for look in {look.board.data: look for look in looks}.values()])
    return (
        f"Nothing is claimed: on {over} no lead is significant at 5 %, paired by seed, with Holm's adjustment over "
        f"every comparison that was looked at ({compared})."
    )


def _unranked(boards: Sequence[Board]) -> str:
    """Why no question ranks anything: the commonest reason of the numbers that the questions ask for."""
    whys = [measure.note for board in boards for q in QUESTIONS for measure in q.asked(board) if measure.note]
    return max(dict.fromkeys(whys), key=whys.count) if whys else "no two settings have a number in common that ranks"
