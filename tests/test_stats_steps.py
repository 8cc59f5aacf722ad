"""Steps: by simulation none where there is none, and what there is found in its place; the statistic against scipy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from aebench.errors import InputError
from aebench.stats.steps import PERMUTATIONS, steps


@pytest.mark.parametrize("draw", ["standard_normal", "standard_cauchy", "coin"])
def test_noise_has_a_step_in_less_than_one_series_of_twenty(draw):
    """Whatever its distribution, ties or not: 300 series of 50, 1 % expected."""
    rng = np.random.default_rng(0)
    series = [rng.integers(0, 2, 50) if draw == "coin" else getattr(rng, draw)(50) for _ in range(300)]
    assert np.mean([len(steps(x)) > 0 for x in series]) <= 0.03


def test_a_step_of_two_standard_deviations_is_found_in_its_place():
    rng = np.random.default_rng(1)
    found = [steps(rng.standard_normal(50) + 2 * (np.arange(50) >= 25)) for _ in range(200)]
    near = [[step for step in one if abs(step.index - 25) <= 3] for one in found]
    assert np.mean([len(one) > 0 for one in near]) >= 0.9
    assert all(step.after > step.before for one in near for step in one)
    assert np.mean([len(one) > 1 for one in found]) <= 0.05


def test_a_step_five_commits_before_the_end_is_found_where_it_is_clear():
    rng = np.random.default_rng(2)
    found = [steps(rng.standard_normal(50) + 4 * (np.arange(50) >= 45)) for _ in range(100)]
    assert np.mean([any(abs(step.index - 45) <= 1 for step in one) for one in found]) >= 0.8


def test_two_steps_are_told_apart_with_the_medians_between_them():
    rng = np.random.default_rng(3)
    x = rng.standard_normal(60) + np.repeat([0, 6, 0], 20)
    first, second = steps(x)
    assert (first.index, second.index) == (20, 40)
    assert first.before == np.median(x[:20])
    assert first.after == second.before == np.median(x[20:40])
    assert second.after == np.median(x[40:])
    assert first.p == pytest.approx(1 / (1 + PERMUTATIONS))


def test_the_place_is_where_the_standardised_rank_sum_is_largest():
    """The rank sum of each split against scipy's Mann-Whitney U and its standard deviation."""
    x = np.random.default_rng(4).standard_normal(30) + 3 * (np.arange(30) >= 12)
    scores = []
    for t in range(1, 30):
        u = scipy_stats.mannwhitneyu(x[:t], x[t:]).statistic
        scores.append(abs(u - t * (30 - t) / 2) / math.sqrt(t * (30 - t) * 31 / 12))
    assert [step.index for step in steps(x)] == [1 + int(np.argmax(scores))]


def test_the_p_value_is_that_of_all_orders():
    """Seven values, every order of them counted."""
    x = np.array([1.0, 2, 3, 10, 11, 12, 13])

    def largest(order):
        return max(
            abs(2 * sum(order[:t]) - t * 8) / math.sqrt(t * (7 - t) * 8 / 3) for t in range(1, 7)
        )  # x is in order, so that its ranks are 1 .. 7

    orders = [largest(order) for order in itertools.permutations(range(1, 8))]
    exact = np.mean(np.array(orders) >= largest(range(1, 8)) - 1e-12)
    (step,) = steps(x, alpha=0.2)[:1]
    assert step.p == pytest.approx(exact, abs=4 * math.sqrt(exact / PERMUTATIONS))


def test_the_same_series_has_the_same_steps():
    x = np.random.default_rng(5).standard_normal(40) + (np.arange(40) >= 20)
    assert steps(x) == steps(x)


@pytest.mark.parametrize("x", [[], [1.0], [2.0] * 30, [1.0, 2, 3]])
def test_what_is_short_or_constant_has_none(x):
    assert steps(x) == ()


def test_bad_input_is_told():
    with pytest.raises(InputError, match="finite"):
        steps([1.0, float("nan")])
    with pytest.raises(InputError, match=r"alpha 1\.5"):
        steps([1.0, 2.0], alpha=1.5)
