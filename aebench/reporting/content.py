"""Everything that a report says, in the order of its page: `index.html` and `report.md` show the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aebench.reporting.boards import ARROWS, Leaderboard
from aebench.reporting.figures import LEFT_OUT
from aebench.reporting.records import Again, Row, Table
from aebench.reporting.strips import Strip, strip

if TYPE_CHECKING:
    from aebench.comparison import Board, Claim
    from aebench.reporting.sections import Section

METHODS = (
    "Intervals are 95 % t intervals of the mean over seeds: over initial weights, the order of examples and the noise, "
    "not over test examples. A closed form, which has no seeds, has none. Settings are compared paired by seed, as "
    "runs of one seed share order and noise.",
    "★ has the best mean, over the seeds that all ranked settings share; ≈ is not told from it by a paired t test at "
    "5 %, Holm's adjustment over all pairs of ranked settings. Only settings of one latent size and one budget, with "
    "four seeds or more that all ended well, are ranked; errors rank no two settings that trade error for a latent KL.",
    "Beside a difference: P(better), how often the first is better at one seed (a tie is half; Wilson's interval), and "
    "g, Hedges' effect size: the mean of the paired differences in their standard deviations, positive where the first "
    "is better.",
    "Choices are made on validation, and all numbers here are of the test part, or of the training part where the data "
    "have no other.",
)
"""How the numbers were made, for those who check."""
SENTENCES = (
    "A sentence claims a lead where the board tells both settings apart, where Holm's adjustment over all comparisons "
    "that the page looked at ({}) leaves p at 5 % or less, from four pairs of seeds on, and where its interval holds "
    "no equality: it asks for more than ≈ does. There are at most three sentences."
)
"""How the sentences were made; the number of comparisons is that of the page."""
MAKING = ("system", "aebench", "torch, Python", "made")
"""Facts that say how the results were made, not what was compared."""


@dataclass(frozen=True)
class Said:
    """A sentence that the numbers support, the runs behind it, and each pair of them."""

    text: str
    ids: tuple[str, ...]
    strips: tuple[Strip, ...]
    compared: int
    """Comparisons that the page looked at."""


@dataclass(frozen=True)
class Card:
    """A variant and where its page lies."""

    name: str
    about: str
    page: str


@dataclass(frozen=True)
class Content:
    """What a report says."""

    title: str
    about: Sequence[str]
    counted: str
    good: int
    again: tuple[Again, ...]
    facts: tuple[Row, ...] = ()
    claims: tuple[Said, ...] = ()
    boards: tuple[Leaderboard, ...] = ()
    glossary: Table | None = None
    tables: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    """Label and, for each format, its name and file."""
    sections: tuple[Section, ...] = ()
    cards: tuple[Card, ...] = ()
    failures: Table | None = None
    problems: tuple[str, ...] = ()
    figure_files: bool = True
    """Whether figures also lie beside the page."""
    complete: bool = True
    """Whether all figures are drawn that there are."""

    @property
    def compared(self) -> tuple[Row, ...]:
        """The facts of what was compared."""
        return tuple(fact for fact in self.facts if fact.cells[0] not in MAKING)

    @property
    def making(self) -> tuple[Row, ...]:
        """The facts of how it was made."""
        return tuple(fact for fact in self.facts if fact.cells[0] in MAKING)

    @property
    def methods(self) -> tuple[str, ...]:
        """How the numbers were made; nothing where there are none."""
        left = () if self.complete else (f"Not all figures are drawn: {LEFT_OUT}",)
        told = (SENTENCES.format(claim.compared) for claim in self.claims[:1])
        return (*METHODS[:2], *told, *METHODS[2:], *left) if self.boards else ()

    @property
    def strip_methods(self) -> str:
        """How the intervals of the strips were made; empty where there are none."""
        return "; ".join(dict.fromkeys(strip.method for claim in self.claims for strip in claim.strips))

    @property
    def marked(self) -> bool:
        """Whether any number is marked as the best."""
        return any(board.marked for board in self.boards)

    @property
    def measures(self) -> list[str]:
        """Every measure, in the order of the boards' columns."""
        return list(dict.fromkeys(measure.name for board in self.boards for measure in board.measures))

    @property
    def opens(self) -> set[str]:
        """The measures that boards open with."""
        return {name for board in self.boards for name in board.opens}

    @property
    def pages(self) -> Mapping[str, str]:
        """The page of each variant."""
        return {card.name: card.page for card in self.cards}

    @property
    def contents(self) -> list[tuple[str, str]]:
        """The parts of the page: id and title."""
        parts = [
            ("findings", "What the numbers say", self.claims),
            ("compared", "What was compared", self.facts),
            ("leaderboards", "Leaderboards", self.boards),
            *((section.id, section.title, True) for section in self.sections),
            ("variants", "The variants", self.cards),
            ("failures", "Failures", self.facts),
            ("problems", "Problems", self.problems),
            ("made", "How it was made", True),
        ]
        return [(id, title) for id, title, there in parts if there]


def said(claims: Sequence[Claim], boards: Sequence[Board]) -> tuple[Said, ...]:
    """The sentences, each with a strip for every comparison that it rests on."""
    labels = {entrant.key: entrant.label for board in boards for entrant in board.entrants}
    found: list[Said] = []
    for claim in claims:
        # a sentence about curves names them by their labels
        pairs = [(part, labels.get(part.a, part.a), labels.get(part.b, part.b)) for part in claim.parts]
        found.append(Said(claim.text, claim.ids, tuple(strip(part, a, b) for part, a, b in pairs), claim.compared))
    return tuple(found)


def glossary(boards: Sequence[Board]) -> Table:
    """What each measure is, its unit, which direction is better, and why it ranks nothing, if so."""
    measures = {measure.name: measure for board in boards for measure in board.measures}
    notes: dict[str, list[str]] = {}
    for board in boards:
        for measure in board.measures:
            if measure.note:
                notes.setdefault(measure.name, []).append(measure.note)
    rows = (
        Row((m.name, m.about, m.unit, ARROWS.get(m.better, ""), "; ".join(dict.fromkeys(notes.get(m.name, ())))))
        for m in measures.values()
    )
    return Table("Measures", ("measure", "what it is", "unit", "better", "not ranked"), tuple(rows))


__all__ = ["Card", "Content", "Said", "glossary", "said"]
