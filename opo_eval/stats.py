"""Intervals and paired comparisons for ratios of per-problem sums.

Every metric is Σ numerator / Σ denominator over problems, so one bootstrap and one paired difference
serve all of them, and several metrics of the same problems share their resamples. A problem on which a
metric is undefined has numerator and denominator 0.

Problems are resampled, never the samples within a problem: the answer is about *problems like these*.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opo_eval.errors import InputError
from opo_eval.records import Interval

PROBLEMS_LIKE_THESE = "problems like these"
N_RESAMPLES = 10_000
_BLOCK_CELLS = 4_000_000

Floats = NDArray[np.float64]


def ratio(numerators: ArrayLike, denominators: ArrayLike) -> Floats:
    """Σ numerators / Σ denominators over the last axis: [..., problems] → [...].

    Raises InputError where there is no problem, a value is not finite, or a metric is undefined on
    every problem (its denominators sum to 0).
    """
    num, den = _checked(numerators, denominators)
    return num.sum(axis=-1) / den.sum(axis=-1)


def bootstrap_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """Interval of Σ num / Σ den when the problems are a sample of problems like these.

    numerators, denominators: [problems], in the metric's unit. The percentile bootstrap over problems
    (Efron and Tibshirani 1993, chapter 13). Raises InputError with fewer than two problems.
    """
    num, den = np.atleast_2d(numerators), np.atleast_2d(denominators)
    return bootstrap_intervals(num, den, rng=rng, level=level, n_resamples=n_resamples)[0]


def bootstrap_intervals(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> list[Interval]:
    """`bootstrap_interval` of several metrics on the same problems: [metrics, problems] each."""
    num, den = _checked(numerators, denominators)
    blocks = [_resampled_ratios(w, num, den) for w in _draws(num.shape[-1], n_resamples, rng)]
    return _percentile_intervals(np.concatenate(blocks), level)


def paired_difference(
    a: tuple[ArrayLike, ArrayLike],
    b: tuple[ArrayLike, ArrayLike],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> tuple[float, Interval]:
    """`b` minus `a`, and its interval over problems like these.

    a, b: (numerators, denominators), [problems] each, the same problems in the same order. The same
    problems are drawn for both in every resample, so that what makes a problem hard for both cancels.
    Raises InputError where the lengths differ or with fewer than two problems.
    """
    rows = [tuple(np.atleast_2d(values) for values in side) for side in (a, b)]
    deltas, intervals = paired_differences(rows[0], rows[1], rng=rng, level=level, n_resamples=n_resamples)
    return float(deltas[0]), intervals[0]


def paired_differences(
    a: tuple[ArrayLike, ...],
    b: tuple[ArrayLike, ...],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> tuple[Floats, list[Interval]]:
    """`paired_difference` of several metrics on the same problems: [metrics, problems] each."""
    (num_a, den_a), (num_b, den_b) = _checked(*a), _checked(*b)
    if num_a.shape != num_b.shape:
        raise InputError(f"paired values need the same problems: {num_a.shape} against {num_b.shape}")
    blocks = [
        _resampled_ratios(w, num_b, den_b) - _resampled_ratios(w, num_a, den_a)
        for w in _draws(num_a.shape[-1], n_resamples, rng)
    ]
    return ratio(num_b, den_b) - ratio(num_a, den_a), _percentile_intervals(np.concatenate(blocks), level)


def _draws(m: int, n_resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield how often each of m problems is drawn, [resamples, m], in blocks of bounded size."""
    if m < 2:
        raise InputError(f"an interval over problems needs at least 2 problems, not {m}")
    rows = max(1, _BLOCK_CELLS // m)
    for start in range(0, n_resamples, rows):
        size = min(rows, n_resamples - start)
        cells = rng.integers(m, size=(size, m)) + m * np.arange(size)[:, None]
        yield np.bincount(cells.ravel(), minlength=size * m).reshape(size, m).astype(np.float64)


def _resampled_ratios(weights: Floats, num: Floats, den: Floats) -> Floats:
    # A resample may hold only problems on which a metric is undefined: NaN, passed over below.
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ num.T) / (weights @ den.T)


def _percentile_intervals(values: Floats, level: float) -> list[Interval]:
    """Central intervals of each column of [resamples, metrics]."""
    tail = 100 * (1 - level) / 2
    bounds = np.nanpercentile(values, [tail, 100 - tail], axis=0)
    return [
        Interval(low=float(low), high=float(high), level=level, kind=PROBLEMS_LIKE_THESE)
        for low, high in bounds.T
    ]


def _checked(numerators: ArrayLike, denominators: ArrayLike) -> tuple[Floats, Floats]:
    num, den = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if num.shape != den.shape or num.ndim < 1:
        raise InputError(f"numerators {num.shape} and denominators {den.shape} must be of the same shape")
    if not num.shape[-1]:
        raise InputError("there is no problem to take a value over")
    if not (np.isfinite(num).all() and np.isfinite(den).all()):
        raise InputError("numerators and denominators must be finite: leave a problem out, with a count")
    if (den.sum(axis=-1) <= 0).any():
        raise InputError("the denominators sum to 0: the metric is undefined on these problems")
    return num, den
