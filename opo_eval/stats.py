"""Intervals and paired comparisons for ratios of per-problem sums.

Every metric is Σ numerator / Σ denominator over problems, so one bootstrap and one paired difference
serve all of them, and several metrics of the same problems share their resamples. A problem on which a
metric is undefined has numerator and denominator 0.

Problems are resampled, never the samples within a problem: the answer is about *problems like these*.
"""

from collections.abc import Iterator
from statistics import NormalDist

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
    _refuse_unpaired(num_a, num_b)
    blocks = [
        _resampled_ratios(w, num_b, den_b) - _resampled_ratios(w, num_a, den_a)
        for w in _draws(num_a.shape[-1], n_resamples, rng)
    ]
    return ratio(num_b, den_b) - ratio(num_a, den_a), _percentile_intervals(np.concatenate(blocks), level)


def sign_flip_test(
    a: tuple[ArrayLike, ...],
    b: tuple[ArrayLike, ...],
    *,
    rng: np.random.Generator,
    n_resamples: int = N_RESAMPLES,
) -> Floats:
    """Two-sided p-values of "a and b are the same on these problems": [metrics].

    a, b: (numerators, denominators), [metrics, problems] each, the same problems in the same order. If a
    and b did not differ, each problem's two results could as well have come the other way round; the
    p-value is the share of such swaps with a difference at least as large (Fisher's randomisation test,
    as Dror et al. 2018 recommend for paired scores). All 2^problems swaps where those are no more than
    n_resamples; otherwise random ones, the observed one counted among them (Phipson and Smyth 2010).
    """
    (num_a, den_a), (num_b, den_b) = _checked(*a), _checked(*b)
    _refuse_unpaired(num_a, num_b)
    observed = np.abs(ratio(num_b, den_b) - ratio(num_a, den_a))
    as_large, n_swaps = np.zeros(len(observed)), 0
    for swaps in _swaps(num_a.shape[-1], n_resamples, rng):
        with np.errstate(invalid="ignore", divide="ignore"):
            swapped = [swaps @ (after - before).T for before, after in ((num_a, num_b), (den_a, den_b))]
            value_a = (num_a.sum(axis=-1) + swapped[0]) / (den_a.sum(axis=-1) + swapped[1])
            value_b = (num_b.sum(axis=-1) - swapped[0]) / (den_b.sum(axis=-1) - swapped[1])
        # Rounding must not make an equal difference smaller than the observed one.
        as_large += (np.abs(value_b - value_a) >= observed - 1e-12).sum(axis=0)
        n_swaps += len(swaps)
    exact = 2 ** num_a.shape[-1] <= n_resamples
    return as_large / n_swaps if exact else (1 + as_large) / (1 + n_swaps)


def holm(p_values: ArrayLike) -> Floats:
    """P-values adjusted so that rejecting at 5 % errs anywhere in the family with at most 5 % (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def minimum_detectable_effect(
    a: tuple[ArrayLike, ...], b: tuple[ArrayLike, ...], *, power: float = 0.8, level: float = 0.95
) -> Floats:
    """The true difference that this many problems would tell from 0 with the given power: [metrics].

    a, b: (numerators, denominators), [metrics, problems] each, paired. (z of the level + z of the power)
    standard errors of the paired difference, by linearising the ratio (Bloom 1995).
    """
    normal = NormalDist()
    factor = normal.inv_cdf((1 + level) / 2) + normal.inv_cdf(power)
    return factor * _paired_standard_errors(a, b)


def problems_needed(
    a: tuple[ArrayLike, ...], b: tuple[ArrayLike, ...], *, power: float = 0.8, level: float = 0.95
) -> Floats:
    """How many problems like these would tell the observed difference from 0: [metrics], inf for none."""
    (num_a, den_a), (num_b, den_b) = _checked(*a), _checked(*b)
    delta = np.abs(ratio(num_b, den_b) - ratio(num_a, den_a))
    smallest = minimum_detectable_effect(a, b, power=power, level=level)
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.ceil(num_a.shape[-1] * (smallest / delta) ** 2)
    return np.where(delta > 0, needed, np.inf)


def _paired_standard_errors(a: tuple[ArrayLike, ...], b: tuple[ArrayLike, ...]) -> Floats:
    (num_a, den_a), (num_b, den_b) = _checked(*a), _checked(*b)
    _refuse_unpaired(num_a, num_b)
    m = num_a.shape[-1]
    if m < 2:
        raise InputError(f"a standard error over problems needs at least 2 problems, not {m}")
    influence = _influence(num_b, den_b) - _influence(num_a, den_a)
    return influence.std(axis=-1, ddof=1) / np.sqrt(m)


def _influence(num: Floats, den: Floats) -> Floats:
    """How far each problem pulls its metric's value, [metrics, problems]."""
    residual = num - ratio(num, den)[..., None] * den
    return residual / den.mean(axis=-1, keepdims=True)


def _refuse_unpaired(a: Floats, b: Floats) -> None:
    if a.shape != b.shape:
        raise InputError(f"paired values need the same problems: {a.shape} against {b.shape}")


def _swaps(m: int, n_resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield which problems are swapped, 0 or 1, [swaps, m]: all ways, or as many random ones."""
    if 2**m <= n_resamples:
        yield ((np.arange(2**m)[:, None] >> np.arange(m)) & 1).astype(np.float64)
        return
    rows = max(1, _BLOCK_CELLS // m)
    for start in range(0, n_resamples, rows):
        yield rng.integers(2, size=(min(rows, n_resamples - start), m)).astype(np.float64)


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
