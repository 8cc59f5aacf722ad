"""The few sentences that the numbers support, and nothing beyond them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pandas import DataFrame

from aebench import stats
from aebench.comparison import rules, sentences
from aebench.comparison.curves import Overlap, overlaps
from aebench.comparison.marks import FEW, p_values, seeds_in_words
from aebench.comparison.questions import QUESTIONS, Question
from aebench.comparison.records import LEVEL, MIN_SEEDS, Board, Claim, Entrant, Measure, Part
from aebench.comparison.sentences import Crossing, Lead
from aebench.comparison.variants import has_posterior
from aebench.stats import Floats, Paired

MOST = 3
"""Sentences on a page."""
CONTROL = "pca"
"""The best setting is also compared with this variant, where it is ranked."""


@dataclass(frozen=True)
class Look:
    """What one question looked at on one board: the settings that are ranked, best mean first."""

    board: Board
    measure: Measure
    order: tuple[Entrant, ...]
    values: Floats
    """`[order, seeds]`, NaN where there is no such run."""
    p: Floats
    """Of every comparison looked at: the best with each other, then the control with each other; adjusted for all
    comparisons of the page once they are known.
    """

    @property
    def control(self) -> int | None:
        """The place of the control; None where it is not ranked, or is the best."""
        return next((n for n, entrant in enumerate(self.order) if n and entrant.variant == CONTROL), None)

    @property
    def best_stands_out(self) -> bool:
        """Whether no other can be said to be as good."""
        return bool((self.p[: len(self.order) - 1] <= 1 - LEVEL).all())

    @property
    def tied(self) -> list[Entrant]:
        """Those that cannot be told from the best."""
        p = self.p[: len(self.order) - 1]
        return [entrant for entrant, one in zip(self.order[1:], p.tolist(), strict=True) if not one <= 1 - LEVEL]

    def against(self, other: int) -> Part | None:
        """The best against another of the order, where its lead is a claim; else None.

        Of two settings alone the one with a latent KL is the one that is spoken of.
        """
        kl = [has_posterior(entrant.variant) for entrant in self.order[:2]]
        turned = len(self.order) == 2 and bool(kl[1]) and not kl[0]
        first, second = (other, 0) if turned else (0, other)
        a, b = self.order[first], self.order[second]
        if not float(self.p[other - 1]) <= 1 - LEVEL:
            return None
        paired = stats.paired(self.values[first], self.values[second], self.measure.better, LEVEL, missing="drop")
        if paired.claim != ("worse" if turned else "better") or not sentences.is_shown(paired, self.measure):
            return None
        common = set(a.seeds) & set(b.seeds)
        runs = [run for e in (a, b) for seed, run in zip(e.seeds, e.ids, strict=True) if seed in common]
        return Part(self.board.data, a.key, b.key, paired, tuple(runs))


def claims(frame: DataFrame, boards: Sequence[Board]) -> tuple[Claim, ...]:
    """At most `MOST` sentences, most important first; one that says why where nothing can be claimed.

    Questions, in order: which setting reconstructs best, which gives the data the highest likelihood, which denoises
    best, each on every data set and by how much over the next and over PCA; and which variant has the lower error at
    equal latent KL. A lead is claimed where there are more than three pairs, where Holm's adjustment over every
    comparison that the page looked at leaves p <= .05 (paired t test), and where the interval that is printed holds no
    equality. "Best" needs that of every other setting that is ranked. The best was picked by the same numbers:
    therefore all its comparisons count as looked at, and those of PCA with every other setting.
    """
    looks = [(question, look) for question in QUESTIONS for board in boards if (look := _look(question, board))]
    curves = overlaps(frame, ("rate-distortion",))
    middles = [_middle(curve) for curve in curves]
    family = [look.p for _, look in looks] + [np.array([paired.p for _, paired in middles])]
    adjusted = np.split(stats.holm(np.concatenate(family)), np.cumsum([len(p) for p in family])[:-1])
    told = [(question, replace(look, p=p)) for (question, look), p in zip(looks, adjusted[:-1], strict=True)]
    found = [_answer(question, [look for asked, look in told if asked is question]) for question in QUESTIONS]
    found.append(_at_equal_rate(curves, middles, adjusted[-1]))
    said = tuple(claim for claim in found if claim is not None)[:MOST]
    return said or (Claim(_nothing(boards, [look for _, look in told], len(np.concatenate(family))), "", ()),)


def _look(question: Question, board: Board) -> Look | None:
    """The settings that a question ranks on a board; None where it ranks none there."""
    measure = question.measure(board)
    if measure is None:
        return None
    cells = {entrant.key: board.cells[entrant.key, measure.name] for entrant in board.entrants}
    ranked = [e for e in board.entrants if not cells[e.key].note and not np.isnan(cells[e.key].interval.mean)]
    sign = -1 if measure.better == "higher" else 1
    order = sorted(ranked, key=lambda entrant: sign * cells[entrant.key].interval.mean)
    seeds = sorted({seed for entrant in order for seed in entrant.seeds})
    place = {seed: n for n, seed in enumerate(seeds)}
    values = np.full((len(order), len(seeds)), np.nan)
    for row, entrant in enumerate(order):
        values[row, [place[seed] for seed in entrant.seeds]] = cells[entrant.key].values
    look = Look(board, measure, tuple(order), values, np.empty(0))
    p = [p_values(values[1:], values[0])]
    if look.control is not None:
        p.append(p_values(np.delete(values, [0, look.control], axis=0), values[look.control]))
    return replace(look, p=np.concatenate(p))


def _answer(question: Question, looks: Sequence[Look]) -> Claim | None:
    """The sentence of one question; None where no lead on any data set is a claim."""
    leads: list[Lead] = []
    for look in looks:
        control = look.control
        first = look.against(1) if look.best_stands_out else None
        second = look.against(control) if control is not None and not (first and control == 1) else None
        leads.append(Lead(look.board, look.measure, look.order, first, second, tuple(look.tied)))
    return sentences.of_best(question, leads) if any(lead.parts for lead in leads) else None


def _at_equal_rate(curves: Sequence[Overlap], middles: Sequence[tuple[float, Paired]], p: Floats) -> Claim | None:
    """Of each data set the line that beats the most others at equal KL, against the nearest of these."""
    won: dict[str, list[Crossing]] = {}
    for curve, (rate, paired), one in zip(curves, middles, p.tolist(), strict=True):
        found, sides = curve.comparison, np.sign(curve.comparison.matched.mean)
        if one <= 1 - LEVEL and paired.claim in ("better", "worse") and bool((sides == sides[0]).all()):
            labels = (found.a, found.b) if paired.claim == "better" else (found.b, found.a)
            turned = paired if paired.claim == "better" else curve.at(rate, turned=True)
            part = Part(found.data, *labels, turned, found.ids)
            won.setdefault(found.data, []).append(Crossing(part, rate, found.unit_x))
    best: list[Crossing] = []
    for crossings in won.values():
        wins = Counter(crossing.part.a for crossing in crossings)
        first = wins.most_common(1)[0][0]
        own = [crossing for crossing in crossings if crossing.part.a == first]
        best.append(min(own, key=lambda crossing: abs(crossing.part.paired.difference.mean)))
    return sentences.of_rates(best) if best else None


def _middle(curve: Overlap) -> tuple[float, Paired]:
    """The middle of the rates that both lines reach, and the two there."""
    rates = curve.comparison.at
    rate = float(rates[rates.size // 2])
    return rate, curve.at(rate)


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
