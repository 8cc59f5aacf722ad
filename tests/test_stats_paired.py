"""Two variants seed by seed: against scipy, by hand, and by what must not change when sides or units do."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest
import scipy.stats

from aebench.errors import InputError
from aebench.stats import bca_intervals, paired, paired_differences, share_interval
from aebench.stats.bootstrap import BCA, bootknife, resamples

RNG = np.random.default_rng(11)
A, B = RNG.gamma(5, 1, (2, 12))


def bounds(interval):
    return interval.low, interval.mean, interval.high


# ---- the difference


def test_t_below_ten_pairs_and_bca_from_there():
    nine, ten = paired(A[:9], B[:9], "lower").difference, paired(A[:10], B[:10], "lower", seed=3).difference
    expected = scipy.stats.ttest_rel(A[:9], B[:9]).confidence_interval(0.95)
    assert (nine.low, nine.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert (nine.method, nine.seed, nine.n) == ("paired t", None, 9)
    resampled = bca_intervals(A[:10] - B[:10], seed=3)
    assert bounds(ten) == bounds(resampled.at())
    assert (ten.method, ten.seed, ten.n) == ("paired BCa, 4000 resamples", 3, 10)
    assert BCA == 10


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("n", [8, 25])
def test_bca_is_scipys(n, level):
    x = np.random.default_rng(n).gamma(2, 1, n)
    found = bca_intervals(x, level, draws=40_000, expand=False)
    source = "rng" if "rng" in inspect.signature(scipy.stats.bootstrap).parameters else "random_state"
    given = {"n_resamples": 40_000, "confidence_level": level, "method": "BCa", source: np.random.default_rng(1)}
    theirs = scipy.stats.bootstrap((x,), np.mean, **given).confidence_interval
    width = theirs.high - theirs.low
    assert (float(found.low), float(found.high)) == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)


def test_bca_follows_its_values():
    """Another unit moves the bounds with the values; another sign turns them round, the same resamples mirrored."""
    x = RNG.gamma(2, 1, (3, 14))
    found, moved, turned = bca_intervals(x), bca_intervals(5 * x - 7), bca_intervals(-x)
    np.testing.assert_allclose([moved.low, moved.high], [5 * found.low - 7, 5 * found.high - 7], rtol=1e-9)
    np.testing.assert_allclose([turned.low, turned.high], [-found.high, -found.low], rtol=1e-9)


def test_resampling_is_the_seeds():
    x = RNG.normal(size=15)
    assert bounds(bca_intervals(x, seed=1).at()) == bounds(bca_intervals(x, seed=1).at())
    assert bca_intervals(x, seed=1).low != bca_intervals(x, seed=2).low
    assert bca_intervals(x, seed=1).seed == 1
    np.testing.assert_array_equal(resamples(7, 50, 0).sum(axis=1).round(12), 1)


def test_a_skewed_mean_has_a_skewed_interval():
    x = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 10.0])
    found = bca_intervals(x).at()
    assert found.high - found.mean > 1.5 * (found.mean - found.low)


def test_equal_values_and_single_ones_in_bca():
    found = bca_intervals([[0.1] * 12, [0.1] + [np.nan] * 11, [np.nan] * 12], missing="drop")
    assert (found.low[0], found.high[0]) == pytest.approx((0.1, 0.1), rel=1e-15)
    assert np.isnan([found.low[1], found.high[1], found.mean[2]]).all()
    assert found.mean[1] == 0.1
    assert found.n.tolist() == [12, 1, 0]


def test_many_differences_are_one_by_one():
    x, y = RNG.normal(size=(2, 4, 3, 12))
    x[0, 0, :4] = y[1, 1, 5:] = x[2, 2, 1:] = np.nan
    many = paired_differences(x, y, missing="drop")
    for i in np.ndindex(4, 3):
        one = paired_differences(x[i], y[i], missing="drop").at()
        row = [many.low[i], many.mean[i], many.high[i], many.n[i]]
        np.testing.assert_allclose(row, [*bounds(one), one.n], rtol=1e-9, equal_nan=True)
    assert "paired t, from 10 pairs BCa" in many.method


def test_the_bootknife_has_the_right_variance():
    """A mean's variance over resamples is s^2 / n with the divisor n - 1, where the plain bootstrap's is less."""
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    drawn = x[bootknife(5, 200_000, seed=0)]
    assert drawn.mean(axis=1).var() == pytest.approx(x.var(ddof=1) / 5, rel=0.01)
    assert set(np.unique(drawn)) == set(x)
    assert all(len(set(row)) < 5 for row in drawn[:1000])


# ---- ratio, share, effect, p


def test_ratios_are_those_of_the_geometric_means():
    ratio = paired(A[:7], B[:7], "lower").ratio
    logs = scipy.stats.ttest_rel(np.log(A[:7]), np.log(B[:7])).confidence_interval(0.95)
    assert (ratio.low, ratio.high) == pytest.approx((np.exp(logs.low), np.exp(logs.high)), rel=1e-12)
    assert ratio.mean == pytest.approx(scipy.stats.gmean(A[:7]) / scipy.stats.gmean(B[:7]), rel=1e-12)
    assert ratio.method == "paired t, of logarithms"
    assert bounds(paired(1.041 * B, B, "lower").ratio) == pytest.approx((1.041,) * 3, rel=1e-12)


@pytest.mark.parametrize("wrong", [0.0, -1.0])
def test_what_is_not_positive_has_no_ratio(wrong):
    found = paired([1.0, wrong, 2.0, 3.0], [1.0, 2.0, 3.0, 5.0], "lower")
    assert np.isnan(bounds(found.ratio)).all()
    assert np.isfinite(bounds(found.difference)).all()


@pytest.mark.parametrize("n", [1, 4, 5, 10, 30])
def test_wilsons_interval_is_scipys(n):
    for k in range(n + 1):
        theirs = scipy.stats.binomtest(k, n).proportion_ci(0.9, "wilson")
        ours = share_interval(k, n, 0.9)
        assert bounds(ours) == pytest.approx((theirs.low, k / n, theirs.high), rel=1e-12, abs=1e-15)


def test_who_is_better_how_often():
    # better in 3, worse in 1, level in 1 of 5: 3.5 / 5
    found = paired([1, 1, 1, 3, 2.0], [2, 2, 2, 2, 2.0], "lower").better
    assert found.mean == 0.7
    assert (found.n, found.method) == (5, "Wilson")
    assert paired([1, 1, 1, 3, 2.0], [2, 2, 2, 2, 2.0], "higher").better.mean == pytest.approx(0.3)
    # 5 of 5: the lower bound of Wilson is n / (n + z^2)
    everywhere = paired([1, 1, 1, 1, 1.0], [2, 2, 2, 2, 2.0], "lower").better
    assert everywhere.low == pytest.approx(5 / (5 + 1.959964**2), rel=1e-6)
    assert everywhere.high == 1


def test_the_effect_by_hand():
    # differences 1, 2, 3, 4, 5: d_z = 3 / sqrt(2.5), J(4) = Gamma(2) / (sqrt(2) Gamma(3/2)) = 0.797885
    found = paired([1, 2, 3, 4, 5.0], [0, 0, 0, 0, 0.0], "higher")
    assert found.effect == pytest.approx(0.7978846 * 3 / np.sqrt(2.5), rel=1e-6)
    assert found.differences.tolist() == [1, 2, 3, 4, 5]


def test_the_effect_is_unbiased():
    draws = np.random.default_rng(4).normal(0.8, 1, (4000, 5))
    effects = [paired(row, np.zeros(5), "higher").effect for row in draws]
    assert np.mean(effects) == pytest.approx(0.8, abs=3 * np.std(effects) / np.sqrt(4000))


@pytest.mark.parametrize("n", [3, 5, 12])
def test_p_is_scipys(n):
    assert paired(A[:n], B[:n], "lower").p == pytest.approx(scipy.stats.ttest_rel(A[:n], B[:n]).pvalue, rel=1e-10)


def test_differences_that_are_all_the_same():
    apart, none = paired(np.arange(5) + 1.0, np.arange(5.0), "higher"), paired(np.ones(5), np.ones(5), "higher")
    assert (apart.effect, apart.p, apart.claim) == (np.inf, 0, "better")
    assert (none.effect, none.p, none.claim) == (0, 1, "undecided")


# ---- claims


@pytest.mark.parametrize(("better", "claim"), [("lower", "better"), ("higher", "worse"), ("neither", "undecided")])
def test_a_claim_says_which_side(better, claim):
    found = paired([1.0, 1.1, 0.9, 1.0], [2.0, 2.0, 2.1, 1.9], better)
    assert found.claim == claim
    assert found.difference.high < 0


def test_an_interval_around_zero_decides_nothing():
    found = paired([1, -1, 2, -2, 0.5], [0, 0, 0, 0, 0.0], "higher")
    assert found.difference.low < 0 < found.difference.high
    assert found.claim == "undecided"


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_three_seeds_or_fewer_claim_nothing(n):
    """However far apart they are."""
    found = paired(np.arange(n) + 1e9, np.arange(n) * 1.5, "higher")
    assert found.claim == "too few"
    assert np.isnan(found.difference.low) == (n < 3)
    assert np.isnan(found.p) == np.isnan(found.effect) == (n < 3)


def test_dropped_pairs_count_for_nothing():
    a = [1.0, np.nan, 1.1, 0.9, np.nan]
    found = paired(a, [2.0, 2.0, 2.0, 2.0, np.nan], "lower", missing="drop")
    whole = paired([1.0, 1.1, 0.9], [2.0, 2.0, 2.0], "lower")
    assert found.claim == "too few"
    for field in dataclasses.fields(found):
        np.testing.assert_equal(getattr(found, field.name), getattr(whole, field.name))


@pytest.mark.parametrize("n", [6, 12])
def test_the_other_way_round_says_the_same(n):
    one, other = paired(A[:n], B[:n], "lower"), paired(B[:n], A[:n], "lower")
    low, mean, high = bounds(one.difference)
    assert bounds(other.difference) == pytest.approx((-high, -mean, -low), rel=1e-9)
    low, mean, high = bounds(one.ratio)
    assert bounds(other.ratio) == pytest.approx((1 / high, 1 / mean, 1 / low), rel=1e-9)
    low, mean, high = bounds(one.better)
    assert bounds(other.better) == pytest.approx((1 - high, 1 - mean, 1 - low), abs=1e-12)
    assert (other.effect, other.p) == pytest.approx((-one.effect, one.p), rel=1e-9)


def test_with_neither_no_side_is_better():
    found = paired(A[:6] + 1, A[:6] - B[:6] / 100, "neither")
    assert np.isnan(bounds(found.better)).all()
    assert found.effect > 0
    assert found.claim == "undecided"


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: paired([1.0, 2.0], [1.0], "lower"), "as many values on each side, not 2 and 1"),
        (lambda: paired([1.0], [1.0], "best"), "'best': choose from lower, higher, neither"),
        (lambda: paired([1.0, np.nan], [1.0, 2.0], "lower"), "1 NaN of 2"),
        (lambda: paired([1.0, np.inf], [1.0, 2.0], "lower", missing="drop"), "infinity"),
        (lambda: paired([[1.0]], [[1.0]], "lower"), r"shape \[1, 1\]"),
        (lambda: paired([1.0], [1.0], "lower", level=1.0), r"level 1\.0"),
        (lambda: paired_differences(np.zeros((2, 3)), np.zeros((3, 2))), r"not \[2, 3\] and \[3, 2\]"),
    ],
)
def test_bad_pairs_are_refused(call, line):
    with pytest.raises(InputError, match=line) as caught:
        call()
    assert "\n" not in str(caught.value)
