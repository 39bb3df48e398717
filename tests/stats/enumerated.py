"""Statistics by walking through every case, and short forms that the tests of statistics share."""

from itertools import combinations_with_replacement, product

import numpy as np
from scipy import stats as scipy_stats

from opo_eval.records import Interval

Pair = tuple[np.ndarray, np.ndarray]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bounds(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high


def means(*values: np.ndarray) -> Pair:
    """Per-problem means of one metric or more, as (numerators, denominators)."""
    return np.atleast_2d(values), np.ones((len(values), len(values[0])))


def expanded_tail(level: float, m: int) -> float:
    """Beyond which percentile a normal reaches as far as Student's t interval of m values' mean."""
    return float(scipy_stats.norm.cdf(-np.sqrt(m / (m - 1)) * scipy_stats.t.ppf((1 + level) / 2, m - 1)))


def every_resample(m: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each of m problems is drawn, [kinds, m], in every kind of resample; how likely each is."""
    drawn = np.array(list(combinations_with_replacement(range(m), m)))
    cells = (drawn + m * np.arange(len(drawn))[:, None]).ravel()
    kinds = np.bincount(cells, minlength=len(drawn) * m).reshape(-1, m)
    return kinds, scipy_stats.multinomial.pmf(kinds, m, np.full(m, 1 / m))


def weighted_quantile(values: np.ndarray, chances: np.ndarray, p: float) -> float:
    order = np.argsort(values)
    return float(values[order][np.searchsorted(np.cumsum(chances[order]), p)])


def every_swap(a: Pair, b: Pair) -> float:
    """The p-value by walking through all ways to swap problems; a, b: [problems] each."""
    observed = abs(b[0].sum() / b[1].sum() - a[0].sum() / a[1].sum())
    as_large = 0
    for swap in product([False, True], repeat=len(a[0])):
        first = [np.where(swap, y, x).sum() for x, y in zip(a, b, strict=True)]
        second = [np.where(swap, x, y).sum() for x, y in zip(a, b, strict=True)]
        as_large += abs(second[0] / second[1] - first[0] / first[1]) >= observed * (1 - 1e-12)
    return as_large / 2 ** len(a[0])
