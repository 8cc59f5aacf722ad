import numpy as np
import pytest
import scipy.stats

from aebench.errors import InputError
from aebench.stats import mean_interval, mean_intervals, paired_difference

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_mean_interval_is_scipys(n, level):
    x = RNG.normal(3, 2, n)
    found = mean_interval(x, level)
    expected = scipy.stats.ttest_1samp(x, 0).confidence_interval(level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert (found.mean, found.sd) == pytest.approx((x.mean(), x.std(ddof=1)), rel=1e-12)
    assert (found.n, found.method, found.level) == (n, "t", level)


def test_a_known_interval():
    # 1, 2, 3, 4, 5: mean 3, s = sqrt(2.5), t(.975, 4) = 2.776445
    found = mean_interval([1, 2, 3, 4, 5])
    assert found.mean == 3
    assert found.high - 3 == pytest.approx(2.776445 * np.sqrt(2.5 / 5), rel=1e-6)


def test_paired_difference_is_scipys():
    a, b = RNG.normal(1, 1, 6), RNG.normal(0, 1, 6)
    found = paired_difference(a, b, 0.9)
    expected = scipy.stats.ttest_rel(a, b).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert (found.n, found.method) == (6, "paired t")


def test_pairing_takes_out_what_the_seeds_share():
    shared = RNG.normal(0, 100, 5)
    found = paired_difference(shared + np.array([1.1, 0.9, 1.0, 1.2, 0.8]), shared)
    assert found.mean == pytest.approx(1)
    assert found.high - found.low < 0.5


def test_two_pairs_get_no_interval():
    found = paired_difference([1.0, 2.0], [0.0, 0.0])
    assert found.mean == 1.5
    assert np.isnan([found.low, found.high]).all()


def test_coverage_of_the_t_interval():
    draws = np.random.default_rng(0).normal(2, 3, (10_000, 5))
    found = mean_intervals(draws)
    covered = np.mean((found.low <= 2) & (found.high >= 2))
    assert 0.93 <= covered <= 0.97


def test_many_at_once_are_one_by_one():
    x = RNG.normal(size=(3, 4, 6))
    x[0, 0, :2] = x[1, 2, :] = np.nan
    x[2, 3, 1:] = np.nan
    many = mean_intervals(x, missing="drop")
    for i in np.ndindex(3, 4):
        one = mean_interval(x[i], missing="drop")
        row = [many.mean[i], many.low[i], many.high[i], many.n[i], many.sd[i]]
        np.testing.assert_allclose(row, [one.mean, one.low, one.high, one.n, one.sd], equal_nan=True)
    assert many.n[1, 2] == 0
    assert many.n[2, 3] == 1


def test_one_value_has_no_bounds_and_none_no_mean():
    one, none = mean_interval([4.0]), mean_interval([])
    assert (one.mean, one.n) == (4.0, 1)
    assert np.isnan([one.low, one.high, one.sd, none.mean, none.low, none.high, none.sd]).all()
    assert none.n == 0


def test_equal_values_have_an_interval_of_no_width():
    found = mean_interval([2.0, 2.0, 2.0])
    assert (found.low, found.mean, found.high, found.sd) == (2, 2, 2, 0)


def test_dropped_pairs_go_together():
    found = paired_difference([1, np.nan, 3, 5, 7], [0, 1, np.nan, 1, 2], missing="drop")
    assert found.n == 3
    assert found.mean == pytest.approx((1 + 4 + 5) / 3)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: mean_interval([1.0, np.nan]), "1 NaN of 2"),
        (lambda: mean_interval([1.0, np.inf], missing="drop"), "infinity"),
        (lambda: mean_interval([1.0, 2.0], level=95), "level 95"),
        (lambda: mean_interval([[1.0, 2.0]]), r"shape \[1, 2\]"),
        (lambda: mean_intervals(1.0), "axis of seeds"),
        (lambda: mean_interval([1.0], missing="ignore"), "choose from refuse, drop"),
        (lambda: paired_difference([1.0], [1.0, 2.0]), "not 1 and 2"),
        (lambda: paired_difference([1.0, np.inf], [1.0, np.inf]), "infinity"),
    ],
)
def test_bad_values_are_refused(call, line):
    with pytest.raises(InputError, match=line):
        call()
