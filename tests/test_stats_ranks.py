"""Tests by ranks: against scipy, the worked example of Demsar (JMLR 2006), enumeration; and when they refuse."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from aebench.errors import InputError
from aebench.stats import Friedman, Refusal, friedman, holm, wilcoxon_holm

RNG = np.random.default_rng(2)

C45 = np.array(
    # the ranks of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets: Demsar 2006, table 6
    [
        [4, 1, 4, 4, 4, 1, 3, 2.5, 4, 2.5, 4, 3, 4, 3],
        [3, 2, 1, 1, 2, 2.5, 2, 2.5, 3, 2.5, 2.5, 2, 1, 1],
        [2, 3, 2, 3, 3, 4, 4, 4, 2, 2.5, 1, 4, 2, 4],
        [1, 4, 3, 2, 1, 2.5, 1, 1, 1, 2.5, 2.5, 1, 3, 2],
    ]
)


# ---- Friedman, Nemenyi


def test_demsars_example():
    found = friedman(C45)
    assert found.ranks.round(3).tolist() == [3.143, 2.0, 2.893, 1.964]
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert friedman(C45, 0.9).critical_difference == pytest.approx(1.12, abs=0.005)
    # 9.28 in the paper, which does not correct for the 20 ranks in ties: sum of squares 66.5 of 70
    assert found.statistic == pytest.approx(9.28 * 70 / ((C45 - 2.5) ** 2).sum(), rel=1e-3)
    # no difference reaches 1.25; at 90 % the best and the worst differ by 1.18, the second and the worst by
    # 1.14, more than 1.12
    assert found.cliques == ((3, 1, 2, 0),)
    assert friedman(C45, 0.9).cliques == ((3, 1, 2), (2, 0))


@pytest.mark.parametrize(
    ("k", "q"), [(3, 2.343), (4, 2.569), (5, 2.728), (6, 2.850), (7, 2.949), (8, 3.031), (9, 3.102), (10, 3.164)]
)
def test_critical_differences_are_of_demsars_table_5(k, q):
    found = friedman(RNG.normal(size=(k, 12)))
    assert found.critical_difference == pytest.approx(q * np.sqrt(k * (k + 1) / 72), abs=5e-4 * np.sqrt(k * (k + 1)))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("better", ["lower", "higher"])
def test_friedman_is_scipys(ties, better):
    x = RNG.integers(0, 4, (5, 11)).astype(float) if ties else RNG.normal(size=(5, 11))
    theirs = scipy.stats.friedmanchisquare(*x)
    found = friedman(x, better=better)
    assert (found.statistic, found.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-9)
    side = 1 if better == "lower" else -1
    np.testing.assert_allclose(found.ranks, scipy.stats.rankdata(side * x, axis=0).mean(axis=1))


def test_cliques_by_hand():
    """Places are fixed on 10 sets, so mean ranks are 1 to 6; the critical difference, 2.38, spans three of them."""
    x = np.tile(np.array([3.0, 1, 2, 6, 5, 4])[:, None], 10)
    found = friedman(x)
    assert found.critical_difference == pytest.approx(2.850 * np.sqrt(42 / 60), abs=1e-3)
    assert found.cliques == ((1, 2, 0), (2, 0, 5), (0, 5, 4), (5, 4, 3))
    assert friedman(x, better="higher").cliques == ((3, 4, 5), (4, 5, 0), (5, 0, 2), (0, 2, 1))


def test_where_friedman_finds_nothing_no_pair_is_parted():
    found = friedman(np.tile(np.ones(4)[:, None], 8))
    assert (found.statistic, found.p, found.cliques) == (0, 1, ((0, 1, 2, 3),))


def test_only_data_sets_with_all_variants_count():
    x = RNG.normal(size=(4, 9))
    y = x.copy()
    y[1, 2] = y[3, 5] = np.nan
    found, expected = friedman(y), friedman(np.delete(x, [2, 5], axis=1))
    assert found.n == 7
    np.testing.assert_array_equal(found.ranks, expected.ranks)
    assert (found.statistic, found.p, found.cliques) == (expected.statistic, expected.p, expected.cliques)


def test_friedman_refuses_what_has_no_power():
    assert friedman(np.ones((2, 20))) == Refusal("Friedman's test compares at least 3 variants, not 2")
    four = friedman(RNG.normal(size=(24, 4)))
    assert four == Refusal("Friedman's test needs at least 5 data sets that all variants share, not 4")
    strict = friedman(RNG.normal(size=(3, 5)), level=0.9999)
    assert isinstance(strict, Refusal)
    assert strict.why == (
        "with 5 data sets mean ranks of 3 variants would have to differ by 2.62, and none can by more than 2"
    )
    assert isinstance(friedman(RNG.normal(size=(3, 5))), Friedman)


def test_friedmans_and_nemenyis_levels():
    """Where nothing differs, five data sets of four variants give a difference in no more than 5 % of draws."""
    found = [friedman(x) for x in np.random.default_rng(0).normal(size=(400, 4, 5))]
    assert 0.01 < np.mean([f.p < 0.05 for f in found]) < 0.06
    assert 0.01 < np.mean([np.ptp(f.ranks) > f.critical_difference for f in found]) < 0.06


# ---- Holm


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.4, 0.9, 0.6]), [1, 1, 1])
    np.testing.assert_allclose(holm([0.02, np.nan, 0.03]), [0.04, np.nan, 0.04])
    assert holm([]).size == 0


def test_holm_keeps_the_chance_of_any_false_claim():
    p = np.random.default_rng(1).uniform(size=(4000, 6))
    assert 0.04 < np.mean([holm(row).min() < 0.05 for row in p]) < 0.06


# ---- Wilcoxon


@pytest.mark.parametrize("n", [8, 13, 25])
def test_wilcoxon_is_scipys(n):
    x = RNG.normal(size=(3, n)) + np.array([[0.0], [0.8], [-0.5]])
    found = wilcoxon_holm(x, 0, "lower")
    for test, v in zip(found, (1, 2), strict=True):
        theirs = scipy.stats.wilcoxon(x[v], x[0], method="exact")
        assert (test.statistic, test.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-9)
        assert (test.variant, test.n) == (v, n)
    np.testing.assert_allclose([t.adjusted for t in found], holm([t.p for t in found]))


def test_ties_and_zeros_by_enumeration():
    """All 2^8 signs of the shared ranks of the differences that are not 0."""
    differences = np.array([1, 1, -1, 2, 2, 2, 0, 3, 0, -3.0])
    (found,) = wilcoxon_holm([np.zeros(10), differences], 0, "higher")
    ranks = scipy.stats.rankdata(np.abs(differences[differences != 0]))
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product([0, 1], repeat=8)])
    smaller = ranks[differences[differences != 0] < 0].sum()
    assert found.statistic == smaller == 2 + 7.5
    assert found.p == pytest.approx(2 * np.mean(sums <= smaller))
    assert found.n == 8


def test_claims_against_the_control():
    control = RNG.normal(size=12)
    low, high = control - RNG.uniform(1, 2, 12), control + RNG.uniform(1, 2, 12)
    near = control + np.tile([0.5, -0.5], 6) * RNG.uniform(0.9, 1.1, 12)
    x = [low, near, control, high]
    found = wilcoxon_holm(x, 2, "lower")
    assert [(t.variant, t.claim, t.significant) for t in found] == [
        (0, "better", True),
        (1, "undecided", False),
        (3, "worse", True),
    ]
    assert [t.claim for t in wilcoxon_holm(x, 2, "higher")] == ["worse", "undecided", "better"]
    assert found[0].p == 2.0**-11
    assert found[0].adjusted == 3 * 2.0**-11


def test_variants_without_differences_or_data():
    x = np.vstack([np.arange(8.0), np.arange(8.0), np.full(8, np.nan), np.arange(8.0) + 1 + np.arange(8) / 9])
    x[3, 0] = np.nan
    same, missing, apart = wilcoxon_holm(x, 0, "lower")
    assert (same.p, same.claim, same.n) == (1, "undecided", 0)
    assert np.isnan([missing.p, missing.adjusted]).all()
    assert (missing.significant, missing.n) == (False, 0)
    assert (apart.p, apart.adjusted, apart.n) == (2.0**-6, 2 * 2.0**-6, 7)


def test_wilcoxon_refuses_what_no_outcome_could_show():
    found = wilcoxon_holm(RNG.normal(size=(3, 4)), 0, "lower")
    assert found == Refusal(
        "4 data sets can give no p below 0.12, and Holm's adjustment for 2 variants asks for one below 0.025: it takes "
        "7 data sets"
    )
    nothing = wilcoxon_holm([[1.0, np.nan], [np.nan, 1.0]], 0, "lower")
    assert nothing == Refusal("no variant shares a data set with the control")


@pytest.mark.parametrize(("variants", "needed"), [(2, 6), (3, 7), (9, 9), (24, 10)])
def test_the_refusal_names_the_fewest_data_sets(variants, needed):
    """With one less no outcome is significant, with as many the extreme one is."""
    extreme = np.arange(variants)[:, None] * np.arange(1.0, needed + 1)
    refused = wilcoxon_holm(extreme[:, :-1], 0, "lower")
    assert isinstance(refused, Refusal)
    assert refused.why.endswith(f"it takes {needed} data sets")
    assert all(test.claim == "worse" for test in wilcoxon_holm(extreme, 0, "lower"))


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: friedman(np.ones(3)), r"\[variants, datasets\], not an array of shape \[3\]"),
        (lambda: friedman(np.ones((3, 6)), level=95), "level 95"),
        (lambda: friedman(RNG.normal(size=(3, 6)), better="neither"), "'neither': choose from lower, higher"),
        (lambda: wilcoxon_holm(np.ones((3, 6)), 3, "lower"), "control 3: choose from 0 to 2"),
        (lambda: wilcoxon_holm(np.ones((3, 6)), 0, "neither"), "'neither': choose from lower, higher"),
        (lambda: wilcoxon_holm(np.full((2, 6), np.inf), 0, "lower"), "infinity"),
        (lambda: holm([0.5, 1.5]), "from 0 to 1"),
        (lambda: holm([[0.5]]), r"p values \[m\]"),
    ],
)
def test_bad_tables_are_refused(call, line):
    with pytest.raises(InputError, match=line) as caught:
        call()
    assert "\n" not in str(caught.value)
