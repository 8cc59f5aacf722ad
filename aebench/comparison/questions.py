"""What a reader wants to know of a leaderboard, and by which number it is answered."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aebench.comparison.records import Board, Measure

GAIN = re.compile(r"denoising_gain_db_(?P<sigma>[0-9.e+-]+)")


@dataclass(frozen=True)
class Question:
    """One question, asked of every board."""

    does: str
    """What the best setting does better: `reconstructs`."""
    about: str
    """What it is best in: `reconstruction`."""
    names: Callable[[Board], Sequence[str]]
    """The numbers that answer it, the one that is wanted most first."""
    said: Callable[[str], str]
    """A number's name in words."""

    def asked(self, board: Board) -> list[Measure]:
        """The numbers of the board that could answer it, by how much they are wanted."""
        held = {measure.name: measure for measure in board.measures}
        return [held[name] for name in self.names(board) if name in held]

    def measure(self, board: Board) -> Measure | None:
        """The number that answers it: the first that ranks."""
        return next((measure for measure in self.asked(board) if measure.ranked), None)


def gains(board: Board) -> list[str]:
    """The denoising gains, that at the σ most settings were trained with first, else the middle one of those tested."""
    tested = {float(m["sigma"]): measure.name for measure in board.measures if (m := GAIN.fullmatch(measure.name))}
    if not tested:
        return []
    trained = Counter(sigma for e in board.entrants if (sigma := e.spec["hyper"].get("sigma")) in tested)
    sigmas = sorted(tested)
    first = max(trained, key=lambda sigma: (trained[sigma], -sigma)) if trained else sigmas[(len(sigmas) - 1) // 2]
    return [tested[first], *(tested[sigma] for sigma in sigmas if sigma != first)]


def _gain_in_words(name: str) -> str:
    match = GAIN.fullmatch(name)
    return f"gain at σ = {match['sigma']}" if match else name


WORDS = {"sse": "squared error", "mse": "squared error", "nll_exact": "−ln p(x)", "nll": "−ln p(x)", "elbo": "ELBO"}

QUESTIONS = (
    Question("reconstructs", "reconstruction", lambda board: ("sse", "mse"), WORDS.__getitem__),
    Question("models the data", "likelihood", lambda board: ("nll_exact", "nll", "elbo"), WORDS.__getitem__),
    Question("denoises", "denoising", gains, _gain_in_words),
)
"""Most important first."""
