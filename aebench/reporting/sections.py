"""The sections of a report between the leaderboards and the account: figures with the tables that belong to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import TYPE_CHECKING, Any

from aebench.reporting.boards import minus
from aebench.reporting.figures import Figure
from aebench.reporting.records import Row, Table
from aebench.stats import Refusal
from aebench.tables.numbers import MISSING, format_interval, format_number, format_settings

if TYPE_CHECKING:
    from aebench.comparison import CurveComparison, Ranking
    from aebench.stats import Interval
    from aebench.tuning import Choice

SECTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "differences": ("Differences between settings", ("comparison", "comparison_pca", "notes", "losses")),
    "trade-offs": (
        "Trade-offs",
        ("rate_distortion", "sparsity", "denoising", "beta_sweep", "kl_direction", "overcomplete", "pareto"),
    ),
    "over-data": ("Over the data sets", ("profiles", "ranks")),
    "pictures": ("Pictures", ("reconstructions", "denoised", "samples", "traversals")),
    "code": ("The code", ("latent", "latent_picture", "kl_per_dimension")),
    "training": ("Training", ("curves",)),
    "tuning": ("Tuning", ("tuning",)),
    "cost": ("Cost", ("throughput",)),
    "further": ("Further figures", ()),
}
"""Section -> its title and figures; a figure that no section has is a further one."""
KINDS = {
    "rate-distortion": "error at equal KL",
    "sparsity-distortion": "error at equal sparsity",
    "noise": "at equal noise",
}
MATCHED = 3
"""Places at which two curves are compared in the table, of those that the comparison has."""


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    id: str
    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = field(default=())


def sections(
    figures: Sequence[Figure],
    curves: Sequence[CurveComparison],
    ranking: Ranking | None,
    choices: Sequence[Choice],
    costs: Sequence[Table],
    runs: Mapping[str, tuple[str, ...]],
) -> tuple[Section, ...]:
    """The sections that have something to show, in their order; `runs`: the ids of each entrant, by its key."""
    home = {name: id for id, (_, names) in SECTIONS.items() for name in names}
    said = {"over-data": rank_sentences(ranking)}
    tables = {
        "trade-offs": [*filter(None, (curve_table(curves), matched_table(curves)))],
        "over-data": [rank_table(ranking, runs)] if ranking else [],
        "tuning": [table] if (table := tuning_table(choices)) else [],
        "cost": list(costs),
    }
    found = [
        Section(
            id,
            title,
            tuple(said.get(id, ())),
            tuple(tables.get(id, ())),
            tuple(figure for figure in figures if home.get(figure.name, "further") == id),
        )
        for id, (title, _) in SECTIONS.items()
    ]
    return tuple(section for section in found if section.sentences or section.tables or section.figures)


def curve_table(curves: Sequence[CurveComparison]) -> Table | None:
    """The area between two curves of each comparison, with its interval."""
    rows = tuple(
        Row(
            (c.data, f"{c.a} less {c.b}", KINDS[c.kind], _range(c), c.unit_y, _said(c.area), str(c.area.n)),
            c.ids,
            (c.area.mean, c.area.n),
        )
        for c in curves
    )
    columns = ("data", "curves", "compared", "over", "unit", "mean difference", "seeds")
    note = "The difference of the first curve less the second, averaged over the range that both cover, paired by seed."
    return Table("Curves against each other", columns, rows, numbers=2, note=note) if rows else None


def _range(found: CurveComparison) -> str:
    low, high = (minus(format_number(float(found.at[k]))) for k in (0, -1))
    return f"{low} to {high} {found.unit_x}"


def matched_table(curves: Sequence[CurveComparison]) -> Table | None:
    """The difference of two curves at some matched places."""
    rows: list[Row] = []
    for c in curves:
        places = range(len(c.at)) if len(c.at) <= MATCHED else [0, len(c.at) // 2, len(c.at) - 1]
        for k in places:
            at = f"{minus(format_number(float(c.at[k])))} {c.unit_x}"
            found = c.matched.at(k)
            rows.append(Row((c.data, f"{c.a} less {c.b}", at, c.unit_y, _said(found)), c.ids, (found.mean,)))
    columns = ("data", "curves", "at", "unit", "difference")
    return Table("Curves at matched places", columns, tuple(rows), numbers=1) if rows else None


def rank_table(found: Ranking, runs: Mapping[str, tuple[str, ...]]) -> Table:
    """Mean ranks and normalised scores of each setting over the data sets; `runs`: ids by the key of an entrant."""
    tests = {} if isinstance(found.wilcoxon, Refusal) else {test.variant: test for test in found.wilcoxon}
    scored, tested = found.iqm is not None, bool(tests)
    rows: list[Row] = []
    for i in sorted(range(len(found.labels)), key=lambda i: float(found.ranks.mean[i])):
        intervals = [found.ranks.at(i), *([] if found.iqm is None else [found.iqm.at(i)])]
        p = [tests[i].adjusted if i in tests else float("nan")] * tested
        cells = (found.labels[i], *map(_said, intervals), *(MISSING if isnan(x) else f"{x:.3g}" for x in p))
        ids = tuple(run for key in found.keys[i] for run in runs.get(key, ()))
        rows.append(Row(cells, ids, (*(one.mean for one in intervals), *p)))
    columns = ["setting", "mean rank ↓"]
    columns += ["interquartile mean score ↑"] if scored else []
    columns += [f"p against {found.control}"] if tested else []
    note = f"By {found.measure}, over {', '.join(found.data)}: ranks among runs of one seed, averaged over "
    note += f"{int(found.ranks.n.max())} pairs of data set and seed."
    if scored:
        ones: dict[str, list[str]] = {}
        for data, strong in zip(found.referenced, found.strong, strict=True):
            ones.setdefault(strong, []).append(data)
        named = "; ".join(f"{strong} on {', '.join(data)}" for strong, data in ones.items())
        note += f" Scores: 0 is PCA at equal latent size, 1 the stored strong run ({named})."
    note += " p: Wilcoxon's signed-rank test with Holm's adjustment." * tested
    return Table("Settings over the data sets", tuple(columns), tuple(rows), numbers=len(columns) - 1, note=note)


def rank_sentences(found: Ranking | None) -> Iterator[str]:
    """What the rank tests say, or why there are none."""
    if found is None:
        return
    yield from found.notes
    if isinstance(found.wilcoxon, Refusal):
        yield f"No test against {found.control}: {found.wilcoxon.why}."
    if isinstance(found.friedman, Refusal):
        yield f"No Friedman test: {found.friedman.why}."
    else:
        said = f"Friedman's test over {found.friedman.n} data sets: p = {found.friedman.p:.3g}; "
        if found.friedman.p < 1 - found.friedman.level:
            said += f"mean ranks closer than {found.friedman.critical_difference:.3g} are not told apart."
        else:
            said += "it finds no difference, and no pair is tested."
        yield said


def tuning_table(choices: Sequence[Choice]) -> Table | None:
    """What was chosen for each variant, of how many draws, and how sensitive it is to that."""
    rows: list[Row] = []
    for choice in choices:
        spread = choice.sensitivity("test")
        cells = (
            choice.variant + "".join(f", {name} {_setting(value)}" for name, value in choice.swept.items()),
            choice.data,
            ", ".join(f"{name} {_setting(value)}" for name, value in choice.fields.items()) or "nothing to choose",
            "; ".join(choice.notes),
            str(choice.draws),
            _said(choice.validation),
            _said(choice.test),
            MISSING if isnan(spread.low) else minus(f"{format_number(spread.low)} to {format_number(spread.high)}"),
        )
        values = (choice.draws, choice.validation.mean, choice.test.mean, spread.high - spread.low)
        rows.append(Row(cells, choice.ids, values))
    metric = " and ".join(dict.fromkeys(choice.metric for choice in choices))
    columns = ("variant", "data", "chosen", "notes", "draws", "on validation", "on test", "middle half of the draws")
    note = (
        f"By {metric}. Chosen is the draw with the best mean on validation, which flatters it a little: it is the best "
        "of several. The middle half of the draws is on test: a wide one says that the variant depends on its tuning."
    )
    return Table("What was chosen", columns, tuple(rows), numbers=4, note=note) if rows else None


def _setting(value: Any) -> str:
    return format_settings([value])[0]


def _said(found: Interval) -> str:
    return minus(format_interval(found.mean, found.low, found.high))
