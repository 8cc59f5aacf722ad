"""The Hodges-Lehmann shift: by hand, against scipy's signed-rank test, and how often its bounds hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from aebench.errors import InputError
from aebench.stats.shift import hodges_lehmann, signed_rank_p

RNG = np.random.default_rng


def test_the_estimate_is_the_median_of_all_means_of_two():
    found = hodges_lehmann([0.0, 1.0, 5.0])  # 0, .5, 1, 2.5, 3, 5
    assert found.estimate == 1.75
    assert (found.lower, found.upper) == (-np.inf, np.inf)  # three differences never give p <= .05


def test_five_differences_bound_at_their_extremes():
    """The smallest p of five is 1/32."""
    found = hodges_lehmann([3.0, 1.0, 4.0, 1.5, 9.0], alpha=0.04)
    assert (found.lower, found.upper) == (1.0, 9.0)


@pytest.mark.parametrize("n", [5, 10, 20, 40])
def test_p_is_scipys(n):
    x = RNG(n).normal(0.3, 1, n)
    expected = scipy_stats.wilcoxon(x - 0.1, alternative="greater", method="exact").pvalue
    assert signed_rank_p(x, 0.1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(50))
def test_the_lower_bound_exceeds_a_margin_where_the_test_rejects_it(seed):
    rng = RNG(seed)
    x, margin = rng.standard_t(3, 10) + 0.5, rng.uniform(0, 0.6)
    assert (hodges_lehmann(x).lower > margin) == (signed_rank_p(x, margin) <= 0.05)


@pytest.mark.parametrize("noise", ["normal", "standard_cauchy", "uniform"])
@pytest.mark.parametrize("n", [10, 20])
def test_each_bound_fails_as_rarely_as_it_says(n, noise):
    """Its chance is that of the exact distribution, the largest not above .05: .0420 of ten, .0487 of twenty."""
    draws = getattr(RNG(7), noise)(size=(4000, n)) - (0.5 if noise == "uniform" else 0)
    found = [hodges_lehmann(row) for row in draws]
    chance = {10: 43 / 1024, 20: 0.04865}[n]
    for failed in (np.mean([f.lower > 0 for f in found]), np.mean([f.upper < 0 for f in found])):
        assert abs(failed - chance) < 4 * np.sqrt(chance * (1 - chance) / 4000)


def test_it_moves_with_the_data():
    x = RNG(1).normal(size=12)
    one, other = hodges_lehmann(x), hodges_lehmann(3 * x + 2)
    assert [other.estimate, other.lower, other.upper] == pytest.approx(
        [3 * value + 2 for value in (one.estimate, one.lower, one.upper)]
    )


@pytest.mark.parametrize("bad", [[], [1.0, np.nan], [np.inf]])
def test_what_has_no_shift_is_refused(bad):
    with pytest.raises(InputError, match="finite differences"):
        hodges_lehmann(bad)
