"""Scores over many data sets: against scipy, by counting and by enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from aebench.errors import InputError
from aebench.stats import (
    expected_best,
    interquartile_mean,
    normalised,
    performance_profiles,
    rank_intervals,
    share_interval,
)

RNG = np.random.default_rng(3)
SCORES = RNG.normal(size=(4, 3, 6)) + np.arange(3)[:, None]


def test_references_are_nought_and_one():
    zero, one = np.array([10.0, 5.0]), np.array([4.0, 9.0])  # on one set lower is better, on the other higher
    found = normalised([[[10.0, 4.0], [5.0, 9.0]], [[7.0, 16.0], [7.0, 1.0]]], zero[:, None], one[:, None])
    np.testing.assert_allclose(found, [[[0, 1], [0, 1]], [[0.5, -1], [0.5, -1]]])
    assert np.isnan(normalised(3.0, 2.0, 2.0))


# ---- interquartile mean


@pytest.mark.parametrize("seeds", [3, 4, 5, 6])
def test_interquartile_means_are_scipys(seeds):
    found = interquartile_mean(SCORES[..., :seeds])
    expected = scipy.stats.trim_mean(SCORES[..., :seeds].reshape(4, -1), 0.25, axis=1)
    np.testing.assert_allclose(found.mean, expected, rtol=1e-12)
    np.testing.assert_allclose(found.sd, SCORES[..., :seeds].reshape(4, -1).std(axis=1, ddof=1))
    assert found.n.tolist() == [3 * seeds] * 4
    assert (found.low < found.mean).all()
    assert (found.mean < found.high).all()


def test_of_one_data_set_with_no_run_cut_off_it_is_the_t_interval():
    """Of three runs a quarter is none: the bootknife's error is s / sqrt(n), but for its draws."""
    x = RNG.normal(size=(1, 1, 3))
    found = interquartile_mean(x, draws=100_000).at(0)
    expected = scipy.stats.ttest_1samp(x[0, 0], 0).confidence_interval(0.95)
    width = expected.high - expected.low
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01 * width)


def test_interquartile_means_follow_their_scores():
    found, moved = interquartile_mean(SCORES), interquartile_mean(3 * SCORES - 2)
    np.testing.assert_allclose([moved.low, moved.high], [3 * found.low - 2, 3 * found.high - 2], rtol=1e-12)
    assert (found.seed, found.method) == (0, "t of a stratified bootknife, 2000 resamples")
    assert not np.array_equal(found.low, interquartile_mean(SCORES, seed=1).low)
    np.testing.assert_array_equal(found.low, interquartile_mean(SCORES).low)


def test_missing_runs_are_left_out_of_the_interquartile_mean():
    x = SCORES.copy()
    x[0, 1, 2:4] = np.nan  # four seeds are left
    x[1, 1] = np.nan  # no run of that data set
    x[2, 1, 2:] = np.nan  # two seeds are left: no interval
    x[3] = np.nan
    found = interquartile_mean(x)
    assert found.n.tolist() == [16, 12, 14, 0]
    for row in range(3):
        assert found.mean[row] == pytest.approx(scipy.stats.trim_mean(x[row][~np.isnan(x[row])], 0.25))
    assert np.isnan(found.mean[3])
    assert np.isnan(found.low).tolist() == [False, False, True, True]
    assert found.low[1] == interquartile_mean(SCORES[1:2, ::2]).low[0]


# ---- performance profiles


def test_profiles_count_runs():
    at = [-1.0, 0.0, float(SCORES[2, 1, 3]), 9.0]
    found = performance_profiles(SCORES, at)
    expected = [[np.mean(SCORES[v] >= t) for t in at] for v in range(4)]
    np.testing.assert_allclose(found.mean, expected)
    assert (found.n == 18).all()
    assert (found.low <= found.mean).all()
    assert (found.mean <= found.high).all()
    assert found.high[:, 3].max() < 0.25
    assert found.low[:, 3].tolist() == [0] * 4


def test_on_one_data_set_a_profile_has_wilsons_intervals():
    found = performance_profiles(SCORES[:, :1], [0.0, 0.4])
    for v, t in itertools.product(range(4), range(2)):
        k = int((SCORES[v, 0] >= [0.0, 0.4][t]).sum())
        theirs = scipy.stats.binomtest(k, 6).proportion_ci(0.95, "wilson")
        assert (found.low[v, t], found.high[v, t]) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_what_data_sets_agree_on_is_surer_than_what_they_share():
    """Half of all runs: where every set has half of them, and where two sets have all and two none."""
    even = np.tile([0.0, 1.0], (1, 4, 5))
    split = np.repeat([0.0, 0.0, 1.0, 1.0], 10).reshape(1, 4, 10)
    found = [performance_profiles(x, [0.5]).at(0, 0) for x in (even, split)]
    widths = [interval.high - interval.low for interval in found]
    pooled = share_interval(20, 40)
    assert widths[0] == pytest.approx(pooled.high - pooled.low)
    assert widths[1] < widths[0] / 2


def test_missing_runs_are_left_out_of_profiles():
    x = SCORES.copy()
    x[0, 2] = x[0, 1, :2] = np.nan
    x[1] = np.nan
    found = performance_profiles(x, [0.5])
    assert found.n[:, 0].tolist() == [10, 0, 18, 18]
    assert found.mean[0, 0] == np.mean(x[0][~np.isnan(x[0])] >= 0.5)
    assert np.isnan([found.mean[1, 0], found.low[1, 0], found.high[1, 0]]).all()


# ---- ranks


def test_mean_ranks_are_scipys():
    found = rank_intervals(SCORES, "lower")
    expected = scipy.stats.rankdata(SCORES, axis=0).mean(axis=(1, 2))
    np.testing.assert_allclose(found.mean, expected)
    np.testing.assert_allclose(rank_intervals(SCORES, "higher").mean, 5 - expected)
    assert found.mean.sum() == pytest.approx(10)
    assert (found.n == 18).all()


def test_the_interval_of_a_mean_rank_by_hand():
    # one set, five seeds; the first is at places 1 1 1 2 2: s^2 = 0.3, to which one place in a sixth seed adds
    # 1 / 5 of a change in 5: variance 0.3 / 5 + 1 / 25 = 0.1; freedom 0.1^2 / ((0.06^2 + 0.04^2) / 4) = 7.692
    x = np.array([[[1.0, 1, 1, 3, 3]], [[2.0, 2, 2, 2, 2]], [[4.0, 4, 4, 4, 4]]])
    found = rank_intervals(x, "lower")
    half = scipy.stats.t.ppf(0.975, 0.01 / ((0.06**2 + 0.04**2) / 4)) * np.sqrt(0.1)
    assert (found.low[0], found.mean[0], found.high[0]) == pytest.approx((1, 1.4, 1.4 + half))
    # the last never moves: no variance but the added one, and no place beyond the last
    assert (found.low[2], found.high[2]) == pytest.approx((3 - 2.776445 / 5, 3))


def test_ranks_compare_whole_rounds_only():
    x = SCORES.copy()
    x[1, 0, 4] = np.nan
    x[2, 1] = np.nan
    found = rank_intervals(x, "lower")
    left = rank_intervals(x[:, [0, 2]], "lower")
    assert found.n.tolist() == [11] * 4
    np.testing.assert_array_equal([found.low, found.mean, found.high], [left.low, left.mean, left.high])
    by_set = [scipy.stats.rankdata(x[:, 0, [0, 1, 2, 3, 5]], axis=0), scipy.stats.rankdata(x[:, 2], axis=0)]
    np.testing.assert_allclose(found.mean, np.mean([part.mean(axis=1) for part in by_set], axis=0))


def test_ranks_without_rounds_or_with_few():
    assert np.isnan(rank_intervals(np.full((3, 2, 5), np.nan), "lower").mean).all()
    few = rank_intervals(SCORES[..., :2], "lower")
    assert np.isnan([few.low, few.high]).all()
    assert np.isfinite(few.mean).all()


# ---- draws


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_the_expected_best_by_enumeration(better):
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    best = min if better == "lower" else max
    expected = [np.mean([best(draw) for draw in itertools.product(values, repeat=n)]) for n in range(1, 6)]
    np.testing.assert_allclose(expected_best(values, better), expected, rtol=1e-12)


def test_a_failed_draw_is_as_bad_as_the_worst():
    np.testing.assert_allclose(expected_best([2, np.nan, 1], "lower"), expected_best([2, 2, 1], "lower"))
    np.testing.assert_allclose(expected_best([2, np.nan, 1], "higher"), expected_best([2, 1, 1], "higher"))
    assert np.isnan(expected_best([np.nan, np.nan], "lower")).tolist() == [True, True]
    assert expected_best([], "lower").size == 0


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: interquartile_mean(SCORES[0]), r"\[variants, datasets, seeds\], not an array of shape \[3, 6\]"),
        (lambda: interquartile_mean(SCORES[:0]), r"shape \[0, 3, 6\]"),
        (lambda: interquartile_mean(SCORES, level=95), "level 95"),
        (lambda: interquartile_mean(np.where(SCORES > 2, np.inf, SCORES)), "infinity"),
        (lambda: performance_profiles(SCORES, [[1.0]]), r"shape \[1, 1\]"),
        (lambda: rank_intervals(SCORES, "best"), "'best': choose from lower, higher"),
        (lambda: expected_best([1.0], "neither"), "'neither': choose from lower, higher"),
    ],
)
def test_bad_scores_are_refused(call, line):
    with pytest.raises(InputError, match=line) as caught:
        call()
    assert "\n" not in str(caught.value)
