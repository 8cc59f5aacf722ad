"""Curves at matched x: against scipy, against integrals worked out by hand, and at the ends of their ranges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import integrate, interpolate

from aebench.errors import InputError
from aebench.stats import area_between, at_matched, common_range, matched_difference, paired_difference, pareto

RNG = np.random.default_rng(5)
X = np.sort(RNG.uniform(0, 10, (6, 7)), axis=1)
Y = RNG.normal(size=(6, 7))


# ---- one curve


def test_curves_are_scipys_in_any_order():
    at = np.linspace(X[:, 0].max(), X[:, -1].min(), 9)
    shuffled = np.array([RNG.permutation(7) for _ in range(6)])
    found = at_matched(np.take_along_axis(X, shuffled, 1), np.take_along_axis(Y, shuffled, 1), at)
    expected = [interpolate.pchip_interpolate(x, y, at) for x, y in zip(X, Y, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_curve_ends_where_its_points_do():
    found = at_matched([[1.0, 2.0, 4.0]], [[5.0, 6.0, 8.0]], [0.999, 1.0, 3.0, 4.0, 4.001])
    np.testing.assert_allclose(found, [[np.nan, 5, 7, 8, np.nan]])


def test_equal_x_count_as_one_point():
    found = at_matched([[1.0, 3.0, 1.0, 3.0]], [[0.0, 2.0, 2.0, 6.0]], [1.0, 2.0, 3.0])
    np.testing.assert_allclose(found, [[1, 2.5, 4]])


@pytest.mark.parametrize(
    ("x", "y"), [([2, 2, 2], [1, 2, 3]), ([1, np.nan, 3], [np.nan, 1, 2]), ([np.nan] * 3, [1, 2, 3])]
)
def test_fewer_than_two_points_make_no_curve(x, y):
    found = at_matched([x, [1.0, 2.0, 3.0]], [y, [1.0, 2.0, 3.0]], [1.0, 2.0])
    np.testing.assert_array_equal(found, [[np.nan, np.nan], [1, 2]])


def test_points_with_nan_are_left_out():
    with_gap = at_matched([[1, 2, np.nan, 4, 7.0]], [[1, 4, 5, np.nan, 9.0]], [3.0])
    np.testing.assert_allclose(with_gap, at_matched([[1, 2, 7.0]], [[1, 4, 9.0]], [3.0]))


def test_falling_points_make_a_falling_curve():
    """And no curve leaves the range of its points."""
    y = -np.sort(RNG.exponential(size=(6, 7)), axis=1)
    for x_, y_ in zip(X, y, strict=True):
        found = at_matched([x_], [y_], np.linspace(x_[0], x_[-1], 500))[0]
        assert (np.diff(found) <= 1e-12).all()
        assert found.min() == pytest.approx(y_.min())
        assert found.max() == pytest.approx(y_.max())


# ---- between two


def test_parallel_curves_lie_their_shift_apart():
    found = area_between(X, Y + 0.3, X, Y)
    assert (found.low, found.mean, found.high) == pytest.approx((0.3, 0.3, 0.3), abs=1e-13)
    assert found.n == 6
    at, matched = matched_difference(X, Y + 0.3, X, Y)
    np.testing.assert_allclose([matched.low, matched.mean, matched.high], 0.3, atol=1e-13)
    assert at.tolist() == pytest.approx(np.linspace(X[:, 0].max(), X[:, -1].min(), 5).tolist())


def test_shifts_by_seed_have_the_interval_of_their_differences():
    shifts = RNG.normal(size=6)
    expected = paired_difference(shifts, np.zeros(6))
    found = area_between(X, Y + shifts[:, None], X, Y)
    assert (found.low, found.mean, found.high) == pytest.approx((expected.low, expected.mean, expected.high))
    assert found.method == f"paired t, mean over x from {X[:, 0].max():.4g} to {X[:, -1].min():.4g}"


def test_areas_by_hand():
    # points (0, 0), (1, 1), (2, 0): slope 2 at 0, 0 at 1, -2 at 2, which is 2 x - x^2; 4 / 3 over [0, 2], mean 2 / 3
    parabola = ([[0.0, 1.0, 2.0]] * 3, [[0.0, 1.0, 0.0]] * 3)
    line = ([[0.0, 2.0]] * 3, [[0.0, 0.0]] * 3)
    assert area_between(*parabola, *line).mean == pytest.approx(2 / 3, rel=1e-14)
    # less y = x over [0.5, 1]: x^2 / 2 - x^3 / 3 from 0.5 to 1 is 1 / 6 - 1 / 12, its mean twice that
    short = ([[0.5, 1.0]] * 3, [[0.5, 1.0]] * 3)
    assert area_between(*parabola, *short).mean == pytest.approx(1 / 6, rel=1e-12)
    # lines y = 3 - x on other points, and y = 1: 2 - x over [1, 4], mean -1 / 2
    bent = ([[0.0, 1.0, 2.5, 5.0]] * 3, [[3.0, 2.0, 0.5, -2.0]] * 3)
    flat = ([[1.0, 3.0, 4.0]] * 3, [[1.0, 1.0, 1.0]] * 3)
    assert area_between(*bent, *flat).mean == pytest.approx(-1 / 2, rel=1e-12)


def test_areas_are_integrals_of_what_is_read():
    other = np.sort(RNG.uniform(0, 10, (6, 4)), axis=1)
    heights = RNG.normal(size=(6, 4))
    low, high = common_range(X, Y, other, heights)
    knots = np.unique(np.concatenate([X.ravel(), other.ravel(), [low, high]]))
    knots = knots[(knots >= low) & (knots <= high)]

    def between(x, seed):
        return float((at_matched(X, Y, [x]) - at_matched(other, heights, [x]))[seed, 0])

    pieces = [
        [integrate.quad(between, a, b, args=(seed,))[0] for a, b in itertools.pairwise(knots)] for seed in range(6)
    ]
    means = np.sum(pieces, axis=1) / (high - low)
    assert area_between(X, Y, other, heights).mean == pytest.approx(means.mean(), rel=1e-9)


def test_only_seeds_with_both_curves_count():
    x, y = X.copy(), Y.copy()
    x[1] = np.nan
    y[4, 1:] = np.nan
    both = [0, 2, 3, 5]
    low, high = common_range(x, Y, X, y)
    assert (low, high) == (X[both, 0].max(), X[both, -1].min())
    found = area_between(x, Y, X, y + 1)
    assert (found.n, found.mean) == (4, pytest.approx(-1))
    assert matched_difference(x, Y, X, y + 1)[1].n.tolist() == [4] * 5


def test_n_falls_where_a_curve_does_not_reach():
    x = [[0.0, 1.0], [0.0, 2.0], [0.0, 2.0], [0.0, 2.0]]
    at, found = matched_difference(x, np.ones((4, 2)), x, np.zeros((4, 2)), at=[0.5, 1.5, 3.0])
    assert at.tolist() == [0.5, 1.5, 3.0]
    assert found.n.tolist() == [4, 3, 0]
    np.testing.assert_array_equal(found.mean, [1, 1, np.nan])


def test_curves_without_a_common_range():
    left, right = ([[0.0, 1.0]] * 4, np.ones((4, 2))), ([[1.0, 2.0]] * 4, np.ones((4, 2)))
    assert np.isnan(common_range(*left, *right)).all()
    found = area_between(*left, *right)
    assert np.isnan([found.mean, found.low, found.high]).all()
    at, matched = matched_difference(*left, *right)
    assert at.size == matched.mean.size == 0
    nothing = np.full((4, 2), np.nan)
    assert np.isnan(area_between(nothing, nothing, *right).mean)


# ---- fronts


def dominated(point, points, better):
    signs = np.array([1 if side == "lower" else -1 for side in better])
    return any((signs * q <= signs * point).all() and (signs * q < signs * point).any() for q in points)


@pytest.mark.parametrize("better", [("lower", "lower"), ("lower", "higher"), ("higher", "lower", "higher"), ("lower",)])
def test_fronts_by_brute_force(better):
    points = RNG.integers(0, 8, (60, len(better))).astype(float)  # with many ties
    expected = [not dominated(point, points, better) for point in points]
    assert pareto(points, better).tolist() == expected
    assert 0 < sum(expected) < 60


def test_nan_is_on_no_front_and_keeps_none_off():
    points = [[1.0, np.nan], [2.0, 2.0], [2.0, 2.0], [np.nan, 0.0], [3.0, 2.0]]
    assert pareto(points, ["lower", "lower"]).tolist() == [False, True, True, False, False]
    assert pareto(np.empty((0, 2)), ["lower", "lower"]).tolist() == []


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: at_matched([1.0, 2.0], [1.0, 2.0], [1.0]), r"\[seeds, points\], not shapes \[2\]"),
        (lambda: at_matched(X, Y[:, :3], [1.0]), r"not shapes \[6, 7\] and \[6, 3\]"),
        (lambda: at_matched(X, Y, 1.0), r"places \[k\]"),
        (lambda: at_matched(X, np.where(Y > 0, np.inf, Y), [1.0]), "infinity"),
        (lambda: area_between(X, Y, X[:4], Y[:4]), "not 6 and 4"),
        (lambda: pareto([1.0, 2.0], ["lower"]), r"points \[n, 1\]"),
        (lambda: pareto([[1.0, 2.0]], ["lower", "best"]), "'best': choose from lower, higher"),
    ],
)
def test_bad_curves_are_refused(call, line):
    with pytest.raises(InputError, match=line) as caught:
        call()
    assert "\n" not in str(caught.value)
