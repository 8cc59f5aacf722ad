"""What a report says of its comparisons: the rules, the pairs behind a sentence, the ranks."""

import numpy as np
import pytest
import scipy.stats
from compared import frame, runs

from aebench import references
from aebench.comparison import boards, claims, ranking
from aebench.comparison.claims import MOST
from aebench.comparison.records import MIN_SEEDS
from aebench.reporting.boards import leaderboard
from aebench.reporting.content import Content, said
from aebench.reporting.sections import rank_sentences, rank_table
from aebench.reporting.strips import strip

BASE = np.array([10.0, 11.0, 9.5, 10.4, 10.9])
LEAD = np.array([1.1, 0.8, 1.3, 1.0, -0.1])


def of(*documents):
    """What a page says of these runs."""
    told = frame(documents)
    found = boards(told)
    content = Content("page", (), "", len(documents), (), boards=tuple(map(leaderboard, found)))
    return content, claims(told, found), found


def test_the_page_tells_the_rules_that_the_numbers_follow():
    content, told, found = of(*runs("ae", "sse", BASE), *runs("deep_ae", "sse", BASE + 1 + 0.1 * LEAD))
    rules = " ".join(Content(**{**vars(content), "claims": said(told, found)}).methods)
    assert "Holm's adjustment over all comparisons that the page looked at (1)" in rules
    assert "Holm's adjustment over all pairs of ranked settings" in rules
    assert "not over test examples" in rules
    assert "P(better)" in rules
    assert "Hedges' effect size" in rules
    words = {3: "three", 4: "four"}
    assert f"from {words[MIN_SEEDS]} pairs of seeds on" in rules
    assert f"at most {words[MOST]} sentences" in rules
    assert "sentence" not in " ".join(content.methods)


def test_a_strip_says_how_often_the_first_is_better_and_by_how_many_deviations():
    """At nine of ten seeds; Wilson's interval is scipy's; g = J d, J = Γ(9/2) / (√(9/2) Γ(4)) = 0.91387."""
    base = 20 + np.arange(10.0)
    more = np.array([3.0, 3.2, 2.9, 3.1, 2.8, 3.3, 3.0, 2.7, 3.2, -0.1])
    _, [claim], _ = of(*runs("ae", "sse", base), *runs("deep_ae", "sse", base + more))
    shown = strip(claim.parts[0], "ae", "deep_ae")
    ends = scipy.stats.binomtest(9, 10).proportion_ci(0.95, "wilson")
    effect = 0.91387 * more.mean() / more.std(ddof=1)
    assert shown.chance == f"P(better) 0.90 [{ends.low:.2f}, {ends.high:.2f}], g {effect:.1f}"
    assert shown.svg.count(shown.chance) == 2  # read aloud, and shown where the pointer rests
    _, [claim], _ = of(*runs("pca", "sse", [1.0] * 5), *runs("wiener", "sse", [2.0] * 5))
    assert strip(claim.parts[0], "pca", "wiener").chance.endswith(", g beyond 99")


def test_the_note_of_the_ranks_names_what_is_one():
    documents = [
        run
        for n, data in enumerate(("digits", "mnist", "moons"))
        for variant, by in (("pca", 9.1), ("ae", 1.0 + (data == "moons")), ("deep_ae", 1.5))
        for run in runs(variant, "sse", by + n + 0.1 * LEAD * (variant != "pca"), data=data)
    ]
    found = ranking(frame(documents), references.read(references.frozen(documents)))
    table = rank_table(found, {})
    assert "1 the stored strong run (ae on digits, mnist; deep_ae on moons)." in table.note
    (pca,) = (row.cells for row in table.rows if row.cells[0] == "pca")
    assert pca[2] == "0"


@pytest.mark.parametrize(("shift", "differs"), [((0.0, 0.0, 0.0), False), ((0.0, 5.0, 9.0), True)])
def test_where_friedman_finds_nothing_no_pair_is_told_apart(shift, differs):
    rng = np.random.default_rng(3)
    documents = [
        run
        for n in range(12)
        for name, by in zip(("ae", "deep_ae", "tied_ae"), shift, strict=True)
        for run in runs(name, "sse", 20 + by + rng.normal(0, 1, 5), data=f"d{n}")
    ]
    found = ranking(frame(documents), references.References(()))
    (line,) = (line for line in rank_sentences(found) if line.startswith("Friedman"))
    assert (found.friedman.p < 0.05) is differs
    assert ("not told apart" in line) is differs
    assert ("finds no difference, and no pair is tested" in line) is not differs
