"""Tests of "these two do not differ" on the same problems, and how small a difference could be seen."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opo_eval.stats.bootstrap import N_RESAMPLES
from opo_eval.stats.ratios import (
    ROUNDING,
    Floats,
    Sums,
    checked_pair,
    difference,
    paired_influence,
    ratio,
    standard_errors,
)
from opo_eval.stats.student import t_quantile

FEWEST_TO_REJECT = 6
"""Problems: of 5, two of the 2^5 swaps are as large as any difference can be, and 2 / 2^5 is above 5 %."""
_BLOCK_CELLS = 4_000_000
_COUNTED_UP_TO = 1e9
"""Problems needed: beyond, one more or less is not looked for."""


def sign_flip_test(a: Sums, b: Sums, *, rng: np.random.Generator, n_resamples: int = N_RESAMPLES) -> Floats:
    """Two-sided p-values of "a and b are the same on these problems": [metrics].

    a, b: (numerators, denominators), [metrics, problems] each, the same problems in the same order. If a
    and b did not differ, each problem's two results could as well have come the other way round; the
    p-value is the share of such swaps with a difference at least as large (Fisher's randomisation test,
    as Dror et al. 2018 recommend for paired scores). All 2^problems swaps where those are no more than
    n_resamples; otherwise random ones, the observed one counted among them (Phipson and Smyth 2010).
    """
    num_a, den_a, num_b, den_b = checked_pair(a, b)
    value_a, value_b = ratio(num_a, den_a), ratio(num_b, den_b)
    observed = np.abs(value_b - value_a)
    # Rounding must not make an equal difference smaller than the observed one.
    enough = observed - ROUNDING * (np.abs(value_a) + np.abs(value_b))
    as_large, n_swaps = np.zeros(len(observed)), 0
    for swaps in _swaps(num_a.shape[-1], n_resamples, rng):
        swapped = np.abs(_swapped_differences(swaps, num_a, den_a, num_b, den_b))
        as_large += (swapped >= enough[:, None]).sum(axis=1)
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


def minimum_detectable_effect(a: Sums, b: Sums, *, power: float = 0.8, level: float = 0.95) -> Floats:
    """The true difference that this many problems would tell from 0 with the given power: [metrics].

    a, b: (numerators, denominators), [metrics, problems] each, paired. (t of the level + t of the power)
    standard errors of the paired difference, by linearising the ratio (Bloom 1995).
    """
    errors = standard_errors(paired_influence(a, b))
    return detectable(errors, np.shape(a[0])[-1] - 1, power=power, level=level)


def detectable(errors: Floats, degrees_of_freedom: ArrayLike, *, power: float, level: float) -> Floats:
    """The effect that a test whose estimate has this standard error detects with the given power."""
    reach = t_quantile((1 + level) / 2, degrees_of_freedom) + t_quantile(power, degrees_of_freedom)
    return reach * errors


def problems_needed(a: Sums, b: Sums, *, power: float = 0.8, level: float = 0.95) -> Floats:
    """How many problems like these would tell the observed difference from 0: [metrics], inf for none.

    The smallest number at which the minimum detectable effect is no more than that difference.
    """
    pull = paired_influence(a, b)
    value_a, value_b = ratio(*a), ratio(*b)
    delta = np.abs(difference(value_b, value_a, of=value_a))
    spread = standard_errors(pull) * np.sqrt(pull.shape[-1])
    needed = np.full(delta.shape, np.inf)
    some = delta > 0
    # With known spread, which is a few problems too few; then one at a time.
    known = detectable(spread, np.inf, power=power, level=level)
    needed[some] = np.maximum(np.ceil((known[some] / delta[some]) ** 2), 2)
    while (short := _too_few(needed, spread, delta, power=power, level=level)).any():
        needed[short] += 1
    return needed


def _too_few(
    needed: Floats, spread: Floats, delta: Floats, *, power: float, level: float
) -> NDArray[np.bool_]:
    errors = spread / np.sqrt(needed)
    return (needed < _COUNTED_UP_TO) & (detectable(errors, needed - 1, power=power, level=level) > delta)


def _swapped_differences(swaps: Floats, num_a: Floats, den_a: Floats, num_b: Floats, den_b: Floats) -> Floats:
    """b minus a with some problems' results the other way round: [metrics, swaps]."""
    found = np.empty((len(num_a), len(swaps)))
    even = (den_a == den_b).all(axis=-1)
    # With equal denominators a swap changes the sign of the problem's difference and nothing else.
    shift = (num_b - num_a)[even] / den_a[even].sum(axis=-1, keepdims=True)
    found[even] = shift @ (1 - 2 * swaps).T
    uneven = [values[~even] for values in (num_a, den_a, num_b, den_b)]
    found[~even] = _swapped_ratios(swaps, *uneven)
    return found


def _swapped_ratios(swaps: Floats, num_a: Floats, den_a: Floats, num_b: Floats, den_b: Floats) -> Floats:
    moved_num, moved_den = (num_b - num_a) @ swaps.T, (den_b - den_a) @ swaps.T
    sums = [values.sum(axis=-1, keepdims=True) for values in (num_a, den_a, num_b, den_b)]
    with np.errstate(invalid="ignore", divide="ignore"):
        value_a = (sums[0] + moved_num) / (sums[1] + moved_den)
        return (sums[2] - moved_num) / (sums[3] - moved_den) - value_a


def _swaps(m: int, n_resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield which problems are swapped, 0 or 1, [swaps, m]: all ways, or as many random ones."""
    if 2**m <= n_resamples:
        yield ((np.arange(2**m)[:, None] >> np.arange(m)) & 1).astype(np.float64)
        return
    rows = max(1, _BLOCK_CELLS // m)
    for start in range(0, n_resamples, rows):
        yield rng.integers(2, size=(min(rows, n_resamples - start), m)).astype(np.float64)
