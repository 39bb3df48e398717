"""Intervals, paired tests, power: every metric is Σ numerator / Σ denominator, and these serve them all.

Three questions, and each interval says in its `kind` which one it answers:

    these problems                              would the model's answering again change the number?
    problems like these                         would other problems of this kind change it?
    training seeds and problems like these      would training again change it?
"""

from opo_eval.stats.arms import SEEDS_AND_PROBLEMS, ArmDifferences, arm_differences
from opo_eval.stats.bootstrap import (
    N_RESAMPLES,
    PROBLEMS_LIKE_THESE,
    SIMULTANEOUS,
    Resampled,
    all_alike_interval,
    bootstrap_interval,
    bootstrap_intervals,
    like_these,
    paired_difference,
    paired_differences,
)
from opo_eval.stats.paired import (
    FEWEST_TO_REJECT,
    holm,
    minimum_detectable_effect,
    problems_needed,
    sign_flip_test,
)
from opo_eval.stats.ratios import Floats, by_cluster, mean_of_ratios, ratio, same_extents
from opo_eval.stats.sampling import (
    THESE_PROBLEMS,
    sampling_difference_intervals,
    sampling_errors,
    sampling_intervals,
)

__all__ = [
    "FEWEST_TO_REJECT",
    "N_RESAMPLES",
    "PROBLEMS_LIKE_THESE",
    "SEEDS_AND_PROBLEMS",
    "SIMULTANEOUS",
    "THESE_PROBLEMS",
    "ArmDifferences",
    "Floats",
    "Resampled",
    "all_alike_interval",
    "arm_differences",
    "bootstrap_interval",
    "bootstrap_intervals",
    "by_cluster",
    "holm",
    "like_these",
    "mean_of_ratios",
    "minimum_detectable_effect",
    "paired_difference",
    "paired_differences",
    "problems_needed",
    "ratio",
    "same_extents",
    "sampling_difference_intervals",
    "sampling_errors",
    "sampling_intervals",
    "sign_flip_test",
]
