"""Differences between two sets of problems that have nothing to do with each other, such as two exams."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from opo_eval.records import Interval
from opo_eval.stats.bootstrap import PROBLEMS_LIKE_THESE
from opo_eval.stats.ratios import Floats
from opo_eval.stats.student import t_quantile

_PERMUTATIONS = 9_999
_ROUNDING = 1e-12
"""Sums of the same numbers in another order differ by less."""


def mean_difference(
    a: ArrayLike, b: ArrayLike, *, rng: np.random.Generator, level: float = 0.95
) -> tuple[Interval | None, float | None]:
    """Interval (Welch 1947) and p-value (permutation of problems, two-sided) of mean(b) − mean(a).

    a, b: a value of each problem, of any lengths. Both are None for fewer than two problems on a side; the
    interval too where no value differs from its own side's mean.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if min(len(x), len(y)) < 2:
        return None, None
    return _welch(x, y, level), _permuted(x, y, rng)


def _welch(x: Floats, y: Floats, level: float) -> Interval | None:
    if np.ptp(x) == 0 and np.ptp(y) == 0:
        return None
    of_x, of_y = (side.var(ddof=1) / len(side) for side in (x, y))
    freedom = (of_x + of_y) ** 2 / (of_x**2 / (len(x) - 1) + of_y**2 / (len(y) - 1))
    reach = float(t_quantile((1 + level) / 2, freedom)) * np.sqrt(of_x + of_y)
    delta = y.mean() - x.mean()
    return _interval(delta - reach, delta + reach, level)


def _permuted(x: Floats, y: Floats, rng: np.random.Generator) -> float:
    """Share of permutations with means as far apart, the one at hand among them."""
    dealt = rng.permuted(np.tile(np.concatenate([x, y]), (_PERMUTATIONS, 1)), axis=1)
    apart = np.abs(dealt[:, len(x) :].mean(axis=1) - dealt[:, : len(x)].mean(axis=1))
    at_hand = abs(y.mean() - x.mean())
    return float((1 + (apart >= at_hand - _ROUNDING).sum()) / (1 + _PERMUTATIONS))


def share_difference(
    hits_a: int, n_a: int, hits_b: int, n_b: int, *, level: float = 0.95
) -> tuple[Interval, float]:
    """Interval and p-value of the difference of two independent shares, b − a.

    Newcombe's interval from Wilson's of both shares (Newcombe 1998, method 10), and Fisher's exact test,
    two-sided. n_a, n_b: at least 1.
    """
    from scipy import stats

    p_a, p_b = hits_a / n_a, hits_b / n_b
    a, b = (
        stats.binomtest(hits, n).proportion_ci(level, method="wilson")
        for hits, n in ((hits_a, n_a), (hits_b, n_b))
    )
    low = p_b - p_a - np.hypot(p_b - b.low, a.high - p_a)
    high = p_b - p_a + np.hypot(b.high - p_b, p_a - a.low)
    table = [[hits_b, n_b - hits_b], [hits_a, n_a - hits_a]]
    test: Any = stats.fisher_exact(table)
    return _interval(low, high, level), float(test.pvalue)


def wilson(hits: int, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's interval of a share of n problems, n at least 1."""
    from scipy import stats

    bounds = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    return _interval(bounds.low, bounds.high, level)


def _interval(low: float, high: float, level: float) -> Interval:
    return Interval(low=float(low), high=float(high), level=level, kind=PROBLEMS_LIKE_THESE)
