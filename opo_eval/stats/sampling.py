"""Intervals over *these problems*: where a value would lie if the model answered the same problems again.

The problems are fixed; only the n samples of each are drawn anew. A metric that gives this interval says,
for each problem, how much its numerator and denominator vary from one draw of n samples to the next:
their variances and their covariance, estimated from the samples themselves (by their spread where the
metric is a sum over samples, by the jackknife where it is a function of them, as pass@k is). Problems are
sampled independently, so the variances add up.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from opo_eval.records import Interval
from opo_eval.stats.ratios import Floats, Sums, checked, checked_pair, ratio

THESE_PROBLEMS = "these problems"


def sampling_errors(numerators: ArrayLike, denominators: ArrayLike, spreads: ArrayLike) -> Floats:
    """Standard errors of Σ num / Σ den over new samples of the same problems: [metrics].

    numerators, denominators: [metrics, problems]. spreads: [metrics, 3, problems], the variance of a
    problem's numerator, its covariance with the denominator, and the variance of the denominator. By
    linearising the ratio R: Σ Var(num - R den) / (Σ den)².
    """
    num, den = checked(numerators, denominators)
    variance, covariance, variance_den = np.moveaxis(np.asarray(spreads, dtype=np.float64), 1, 0)
    value = ratio(num, den)[:, None]
    residual = variance - 2 * value * covariance + value**2 * variance_den
    # A sum of three terms that cancel may round to just below 0.
    return np.sqrt(np.maximum(residual.sum(axis=-1), 0)) / den.sum(axis=-1)


def sampling_intervals(
    numerators: ArrayLike, denominators: ArrayLike, spreads: ArrayLike, *, level: float = 0.95
) -> list[Interval]:
    """Normal intervals of Σ num / Σ den over new samples; shapes as in `sampling_errors`."""
    values = ratio(numerators, denominators)
    return _intervals(values, sampling_errors(numerators, denominators, spreads), level)


def sampling_difference_intervals(
    a: Sums, b: Sums, spreads: tuple[ArrayLike, ArrayLike], *, level: float = 0.95
) -> list[Interval]:
    """The same of `b` minus `a`, whose samples are drawn independently; spreads: of a and of b."""
    num_a, den_a, num_b, den_b = checked_pair(a, b)
    errors = np.hypot(sampling_errors(num_a, den_a, spreads[0]), sampling_errors(num_b, den_b, spreads[1]))
    return _intervals(ratio(num_b, den_b) - ratio(num_a, den_a), errors, level)


def _intervals(values: Floats, errors: Floats, level: float) -> list[Interval]:
    reach = NormalDist().inv_cdf((1 + level) / 2)
    return [
        Interval(low=float(value - half), high=float(value + half), level=level, kind=THESE_PROBLEMS)
        for value, half in zip(values, reach * errors, strict=True)
    ]
