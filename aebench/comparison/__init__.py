"""Which variant is better, for what, and how sure that is: results -> boards, claims, curves and rankings."""

from aebench.comparison.boards import boards
from aebench.comparison.budgets import budget, refuse_mixed_budgets
from aebench.comparison.claims import claims
from aebench.comparison.curves import curve_comparisons
from aebench.comparison.ranking import ranking
from aebench.comparison.records import (
    Board,
    Cell,
    Claim,
    CurveComparison,
    Entrant,
    Measure,
    Part,
    Ranking,
)

__all__ = [
    "Board",
    "Cell",
    "Claim",
    "CurveComparison",
    "Entrant",
    "Measure",
    "Part",
    "Ranking",
    "boards",
    "budget",
    "claims",
    "curve_comparisons",
    "ranking",
    "refuse_mixed_budgets",
]
