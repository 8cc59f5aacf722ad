"""Whether a 95 % interval covers what it should in 93 to 97 % of draws, at the numbers of seeds it is used for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from aebench.stats import (
    area_between,
    bca_intervals,
    interquartile_mean,
    mean_intervals,
    paired_differences,
    performance_profiles,
    rank_intervals,
    share_interval,
)

DRAWS = {
    # one difference a seed, with mean 0: normal; skewness 1; heavy tails; and two skewed variants of unlike spread
    "normal": lambda source, shape: source.normal(size=shape),
    "skewed": lambda source, shape: source.gamma(4, size=shape) - 4,
    "heavy": lambda source, shape: source.standard_t(5, size=shape),
    "unlike": lambda source, shape: source.gamma(2, size=shape) - source.gamma(1, size=shape) * 2,
}


def generator(*key):
    return np.random.default_rng(list(key))


def covered(found, truth, atol=0.0):
    return float(np.mean((found.low <= truth + atol) & (truth - atol <= found.high)))


# ---- differences


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("n", [3, 4, 5, 7, 9])
def test_paired_t(n, kind):
    x = DRAWS[kind](generator(n), (40_000, n))
    found = paired_differences(x, np.zeros_like(x))
    assert "BCa" not in found.method
    assert 0.93 <= covered(found, 0) <= 0.97


@pytest.mark.parametrize(("kind", "least"), [("normal", 0.93), ("skewed", 0.93), ("heavy", 0.915), ("unlike", 0.915)])
@pytest.mark.parametrize("n", [10, 12, 15, 20, 30])
def test_paired_bca(n, kind, least):
    """With heavy tails it falls short by one in a hundred, as its docstring says."""
    x = DRAWS[kind](generator(n), (6000, n))
    found = paired_differences(x, np.zeros_like(x), draws=2000)
    assert "BCa" in found.method
    assert least <= covered(found, 0) <= 0.97


def test_why_bca_is_expanded_and_not_used_below_ten():
    x = {n: generator(n).normal(size=(6000, n)) for n in (5, 10)}
    assert covered(bca_intervals(x[10], expand=False, draws=1000), 0) < 0.91
    assert covered(bca_intervals(x[5], draws=1000), 0) < 0.92


def test_why_bca_is_used_from_ten():
    """Where differences are more skewed: an exponential's skewness is 2."""
    for n in (10, 15, 30):
        x = generator(n).exponential(size=(6000, n))
        assert covered(bca_intervals(x, draws=1000), 1) > covered(mean_intervals(x), 1) + 0.01


@pytest.mark.parametrize("n", [3, 4, 5, 7, 10, 15, 20, 30])
def test_shares_on_the_average(n):
    """Exactly, over all outcomes; no interval of a share can do it at every share."""
    truths = np.linspace(0.01, 0.99, 197)
    found = [share_interval(k, n) for k in range(n + 1)]
    low, high = (np.array([getattr(interval, side) for interval in found]) for side in ("low", "high"))
    chances = scipy.stats.binom.pmf(np.arange(n + 1), n, truths[:, None])
    at = (chances * ((low <= truths[:, None]) & (truths[:, None] <= high))).sum(axis=1)
    assert 0.93 <= at.mean() <= 0.97
    assert at.min() > 0.83


# ---- many data sets: a replication of the simulation takes the place of a variant


LEVELS = {
    # how far data sets lie apart, and the spread of each
    "alike": (np.zeros(4), np.ones(4)),
    "near": (np.arange(4) * 0.5, np.ones(4)),
    "apart": (np.arange(4) * 10.0, np.ones(4)),
    "unlike": (np.arange(4) * 0.5, 0.5 ** np.arange(4)),
}


def scores(generator, levels, kind, replications, seeds):
    level, spread = LEVELS[levels]
    return DRAWS[kind](generator, (replications, 4, seeds)) * spread[:, None] + level[:, None]


@pytest.mark.parametrize(("levels", "kind"), [*((levels, "normal") for levels in LEVELS), ("near", "skewed")])
@pytest.mark.parametrize("n", [5, 10])
def test_interquartile_means(n, levels, kind):
    population = np.sort(scores(generator(0), levels, kind, 10_000, 20).ravel())
    truth = population[len(population) // 4 : -(len(population) // 4)].mean()
    found = interquartile_mean(scores(generator(n), levels, kind, 2000, n), draws=300)
    assert 0.93 <= covered(found, truth) <= 0.97


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("n", [5, 10])
def test_profiles_on_the_average(n, levels):
    population = np.sort(scores(generator(0), levels, "normal", 10_000, 20).ravel())
    shares = np.linspace(0.02, 0.98, 49)
    at = population[np.floor((1 - shares) * population.size).astype(int)]
    found = performance_profiles(scores(generator(n), levels, "normal", 4000, n), at)
    assert 0.93 <= covered(found, (population >= at[:, None]).mean(axis=1)) <= 0.97


@pytest.mark.parametrize("apart", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [5, 10])
def test_mean_ranks(n, apart):
    """Eight variants whose seeds share noise, on four data sets, up to one deviation from each to the next."""

    def values(generator, seeds):
        own, shared = generator.normal(size=(8, 4, seeds)), generator.normal(size=(4, seeds))
        return own + 0.7 * shared + apart * np.arange(8)[:, None, None]

    truth = rank_intervals(values(generator(0), 60_000), "lower").mean
    source = generator(n)
    found = [rank_intervals(values(source, n), "lower") for _ in range(500)]
    at = np.array([(f.low <= truth) & (truth <= f.high) for f in found]).mean()
    assert 0.93 <= at <= 0.97


def test_a_place_that_hardly_changes_is_not_certain():
    """Two variants of which one is better at 97 % of seeds: in most draws at all of 5, and its mean rank is 1.03."""
    source, means = generator(1), np.array([[[0.0]], [[2.66]]])
    found = [rank_intervals(source.normal(size=(2, 1, 5)) + means, "lower") for _ in range(1000)]
    assert np.mean([(f.low[0] <= 1.03) & (f.high[0] >= 1.03) for f in found]) > 0.93


# ---- curves


def test_areas_between_curves():
    """Two rate-distortion curves with noise in both axes, in part the seed's own; the truth from many seeds."""

    def curves(source, seeds):
        shared = source.normal(size=(seeds, 1))
        sides = []
        for height in (1.0, 1.2):
            rate = np.exp(np.linspace(0, 3, 6)) + 0.1 * source.normal(size=(seeds, 6))
            # both ends are held, for the range that all seeds share would be another in each draw
            sides += [np.clip(rate, 1.5, 19), height / rate + 0.05 * (shared + source.normal(size=(seeds, 6)))]
        return sides

    truth = area_between(*curves(generator(0), 1500)).mean
    source = generator(1)
    found = [area_between(*curves(source, 5)) for _ in range(250)]
    assert 0.92 <= np.mean([f.low <= truth <= f.high for f in found]) <= 0.98
