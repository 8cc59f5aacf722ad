"""Statistics over seeds: arrays in, arrays out. The last axis is that of the seeds unless a function says otherwise."""

from aebench.stats.bootstrap import bca_intervals
from aebench.stats.curves import POINTS, area_between, at_matched, common_range, matched_difference, pareto
from aebench.stats.intervals import Floats, Interval, Intervals, Missing, mean_interval, mean_intervals, t_test
from aebench.stats.many import expected_best, interquartile_mean, normalised, performance_profiles, rank_intervals
from aebench.stats.paired import PAIRS, Paired, paired, paired_difference, paired_differences, share_interval
from aebench.stats.rank_tests import Friedman, Refusal, Test, friedman, holm, ranks, wilcoxon_holm

__all__ = [
    "PAIRS",
    "POINTS",
    "Floats",
    "Friedman",
    "Interval",
    "Intervals",
    "Missing",
    "Paired",
    "Refusal",
    "Test",
    "area_between",
    "at_matched",
    "bca_intervals",
    "common_range",
    "expected_best",
    "friedman",
    "holm",
    "interquartile_mean",
    "matched_difference",
    "mean_interval",
    "mean_intervals",
    "normalised",
    "paired",
    "paired_difference",
    "paired_differences",
    "pareto",
    "performance_profiles",
    "rank_intervals",
    "ranks",
    "share_interval",
    "t_test",
    "wilcoxon_holm",
]
