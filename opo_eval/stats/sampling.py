"""Intervals over *these problems*: where a value would lie if the model answered the same problems again.

The problems are fixed; only the n samples of each are drawn anew. A metric that gives this interval says,
for each problem, how much its numerator and denominator vary from one draw of n samples to the next:
their variances and their covariance, estimated from the samples themselves (by their spread where the
metric is a sum over samples, by the jackknife where it is a function of them, as pass@k is). Problems are
sampled independently, so the variances add up; a sum of estimated variances has the degrees of freedom of
Satterthwaite (1946).
"""

from dataclasses import replace
from math import exp

import numpy as np
from numpy.typing import ArrayLike

from opo_eval.records import Interval
from opo_eval.stats.ratios import Floats, Sums, checked, checked_pair, ratio
from opo_eval.stats.student import t_bounds

THESE_PROBLEMS = "these problems"


def sampling_errors(numerators: ArrayLike, denominators: ArrayLike, spreads: ArrayLike) -> Floats:
    """Standard errors of Σ num / Σ den over new samples of the same problems: [metrics].

    numerators, denominators: [metrics, problems]. spreads: [metrics, 4, problems], the variance of a
    problem's numerator, its covariance with the denominator, the variance of the denominator, and the
    degrees of freedom that they were estimated with. By linearising the ratio R: Σ Var(num - R den) /
    (Σ den)².
    """
    return np.sqrt(_variances(numerators, denominators, spreads).sum(axis=-1))


def sampling_intervals(
    numerators: ArrayLike, denominators: ArrayLike, spreads: ArrayLike, *, level: float = 0.95
) -> list[Interval]:
    """Student's t intervals of Σ num / Σ den over new samples; shapes as in `sampling_errors`.

    Of its logarithm where the denominators vary too, as the lengths of responses do: a ratio of two such
    sums is skewed, and a draw that misses the few heavy samples has a small value and a small error at once.
    Not where a numerator is negative: such a value may be of either sign.
    """
    values = ratio(numerators, denominators)
    variances, given = _variances(numerators, denominators, spreads), np.asarray(spreads, dtype=np.float64)
    found = _intervals(values, variances, given[:, 3], level)
    is_positive = (values > 0) & (np.asarray(numerators) >= 0).all(axis=-1)
    is_ratio = (given[:, 2] > 0).any(axis=-1) & is_positive
    return [
        _around_logarithm(interval, value) if skewed else interval
        for interval, value, skewed in zip(found, values, is_ratio, strict=True)
    ]


def sampling_difference_intervals(
    a: Sums, b: Sums, spreads: tuple[ArrayLike, ArrayLike], *, level: float = 0.95
) -> list[Interval]:
    """Student's t intervals of `b` minus `a`, whose samples are drawn independently; spreads: of a and b."""
    num_a, den_a, num_b, den_b = checked_pair(a, b)
    variances = _variances(num_a, den_a, spreads[0]), _variances(num_b, den_b, spreads[1])
    freedom = [np.asarray(given, dtype=np.float64)[:, 3] for given in spreads]
    deltas = ratio(num_b, den_b) - ratio(num_a, den_a)
    return _intervals(deltas, np.concatenate(variances, axis=-1), np.concatenate(freedom, axis=-1), level)


def _variances(numerators: ArrayLike, denominators: ArrayLike, spreads: ArrayLike) -> Floats:
    """What each problem adds to the variance of the ratio: [metrics, problems]."""
    num, den = checked(numerators, denominators)
    variance, covariance, variance_den, _ = np.moveaxis(np.asarray(spreads, dtype=np.float64), 1, 0)
    value = ratio(num, den)[:, None]
    residual = variance - 2 * value * covariance + value**2 * variance_den
    # A sum of three terms that cancel may round to just below 0.
    return np.maximum(residual, 0) / den.sum(axis=-1, keepdims=True) ** 2


def _intervals(values: Floats, variances: Floats, freedom: Floats, level: float) -> list[Interval]:
    """Of values with the sums of these independent variances: [metrics, variances] each."""
    total = variances.sum(axis=-1)
    doubt = (variances**2 / np.maximum(freedom, 1)).sum(axis=-1)
    # Where nothing varies, the interval has no width whatever the degrees of freedom.
    together = np.divide(total**2, doubt, out=np.ones_like(total), where=doubt > 0)
    bounds = t_bounds(values, np.sqrt(total), together, level)
    return [
        Interval(low=float(low), high=float(high), level=level, kind=THESE_PROBLEMS) for low, high in bounds.T
    ]


def _around_logarithm(interval: Interval, value: float) -> Interval:
    """As many standard errors of log value to either side as the interval has of the value."""
    factor = exp((interval.high - value) / value)
    return replace(interval, low=float(value / factor), high=float(value * factor))
