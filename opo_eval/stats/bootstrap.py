"""Intervals over *problems like these*: where a value would lie with other problems of this kind.

Every metric is Σ numerator / Σ denominator over problems, so one bootstrap serves all of them, and several
metrics of the same problems share their resamples. Shares are treated as `opo_eval.stats.shares` says.

Whole problems are resampled, never the samples within a problem. pass@k is not linear in the samples:
drawing a problem's n samples with replacement repeats some and so solves fewer problems than new samples
would, and the resampled curve lies below the true one. Measured over 4,000 simulated runs with the exact
value known (`benchmarks/studies/coverage.py`), nominal 95 % intervals of pass@n/2 cover:

    problems × samples      samples within problems    problems, then samples    problems (this module)
    30 × 16                          72.7 %                    94.7 %                   95.4 %
    500 × 8                           1.2 %                    63.7 %                   95.3 %

The first is asked about these problems, the others about problems like these. The more problems, the
narrower the interval and the less it hides where it lies.
"""

from collections.abc import Iterator, Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opo_eval.errors import InputError
from opo_eval.records import Interval
from opo_eval.stats.ratios import (
    Floats,
    Sums,
    checked,
    checked_pair,
    difference,
    influence,
    paired_influence,
    ratio,
    standard_errors,
)
from opo_eval.stats.shares import all_alike_bounds, with_one_more
from opo_eval.stats.student import t_bounds, t_quantile

PROBLEMS_LIKE_THESE = "problems like these"
SIMULTANEOUS = f"{PROBLEMS_LIKE_THESE}, all k at once"
N_RESAMPLES = 10_000
FEWEST_FOR_BOOTSTRAP = 10
"""Fewer problems have too few distinct resamples: their intervals are Student's t."""
_BLOCK_CELLS = 4_000_000


def bootstrap_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """Interval of Σ num / Σ den when the problems are a sample of problems like these.

    numerators, denominators: [problems], in the metric's unit. On each side it reaches as far as the
    expanded percentile bootstrap or as Student's t for the linearised ratio, whichever is further: the
    one follows a skewed spread, the other allows for problems that weigh heavily and were seldom met.
    Expanded (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", 3.1.1) are the percentiles
    that give Student's t interval for a mean, since a plain percentile interval is narrow by
    sqrt((m - 1) / m) and by the normal quantile in the place of t. With fewer than ten problems it is
    Student's t alone. Raises InputError with fewer than two problems.
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
    return Resampled.values(numerators, denominators, rng=rng, n_resamples=n_resamples).intervals(level)


def paired_difference(
    a: Sums,
    b: Sums,
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
    (num_a, den_a), (num_b, den_b) = ([np.atleast_2d(values) for values in side] for side in (a, b))
    deltas, intervals = paired_differences(
        (num_a, den_a), (num_b, den_b), rng=rng, level=level, n_resamples=n_resamples
    )
    return float(deltas[0]), intervals[0]


def paired_differences(
    a: Sums,
    b: Sums,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    n_resamples: int = N_RESAMPLES,
) -> tuple[Floats, list[Interval]]:
    """`paired_difference` of several metrics on the same problems: [metrics, problems] each."""
    resampled = Resampled.differences(a, b, rng=rng, n_resamples=n_resamples)
    return resampled.estimates, resampled.intervals(level)


class Resampled:
    """Values of several metrics, or their differences, with the same resamples of their problems."""

    def __init__(self, estimates: Floats, resamples: Floats, influences: Floats) -> None:
        self.estimates = estimates
        """[metrics]"""
        self.resamples = resamples
        """[metrics, resamples]; NaN where a resample has no problem on which the metric is defined."""
        self.errors = standard_errors(influences)
        """[metrics]: standard errors of the linearised ratio; 0 where all problems are alike."""
        self.influences = influences
        """[metrics, problems]: how far each problem pulls an estimate."""
        self.n_problems = influences.shape[-1]
        self._centres, self._spreads = estimates.copy(), self.errors.copy()
        self._freedom = np.full(len(estimates), self.n_problems - 1.0)
        self._are_shares = np.zeros(len(estimates), dtype=bool)

    @classmethod
    def values(
        cls,
        numerators: ArrayLike,
        denominators: ArrayLike,
        *,
        rng: np.random.Generator,
        shares: ArrayLike = False,
        n_resamples: int = N_RESAMPLES,
    ) -> "Resampled":
        """Of Σ num / Σ den: [metrics, problems] each. Raises InputError with fewer than two problems.

        shares: which metrics are means over problems of something from 0 to 1, [metrics].
        """
        num, den = checked(numerators, denominators)
        blocks = [_resampled_ratios(w, num, den) for w in _draws(num.shape[-1], n_resamples, rng)]
        found = cls(ratio(num, den), _side_by_side(blocks), influence(num, den))
        found._take_as_shares(np.broadcast_to(shares, len(num)), num, den)
        return found

    @classmethod
    def differences(
        cls, a: Sums, b: Sums, *, rng: np.random.Generator, n_resamples: int = N_RESAMPLES
    ) -> "Resampled":
        """Of `b` minus `a` on the same problems: [metrics, problems] each."""
        num_a, den_a, num_b, den_b = checked_pair(a, b)
        blocks = [
            _resampled_ratios(w, num_b, den_b) - _resampled_ratios(w, num_a, den_a)
            for w in _draws(num_a.shape[-1], n_resamples, rng)
        ]
        estimates = ratio(num_b, den_b) - ratio(num_a, den_a)
        return cls(estimates, _side_by_side(blocks), paired_influence(a, b))

    def combined(self, weights: ArrayLike) -> "Resampled":
        """Weighted sums of the metrics, such as the mean of several less another: [sums, metrics] weights.

        All have the same resamples of the same problems, so that whatever a problem does to several of them
        at once cancels or adds up as it would with other problems.
        """
        weights = np.asarray(weights, dtype=np.float64)
        # What is not in a sum must not make it undefined.
        terms = [(np.flatnonzero(row), row[np.flatnonzero(row), None]) for row in weights]
        resamples = np.stack([(by * self.resamples[of]).sum(axis=0) for of, by in terms])
        pulls = np.stack([(by * self.influences[of]).sum(axis=0) for of, by in terms])
        size = np.abs(weights) @ np.abs(self.estimates)
        estimates = difference(weights @ self.estimates, np.zeros(len(weights)), of=size)
        return Resampled(estimates, resamples, difference(pulls, np.zeros(pulls.shape), of=size[:, None]))

    def _take_as_shares(self, shares: NDArray[np.bool_], num: Floats, den: Floats) -> None:
        self._are_shares = shares
        more = with_one_more(num[shares], den[shares])
        self._centres[shares], self._spreads[shares], self._freedom[shares] = more

    def intervals(self, level: float) -> list[Interval]:
        """One a metric, each on its own; see `bootstrap_interval`."""
        bounds = self._bounds(level, range(len(self.estimates)))
        return [_interval(low, high, level, PROBLEMS_LIKE_THESE) for low, high in bounds.T.tolist()]

    def bands(self, level: float, curve: list[int]) -> list[Interval | None]:
        """One for each metric of `curve`, which together contain the whole true curve with this chance.

        The sup-t band: plus and minus c standard errors, c being the `level` quantile over the resamples of
        the largest standardised deviation (Montiel Olea and Plagborg-Møller 2019), expanded as the intervals
        are, and at least as wide as they are. None where a metric is the same on all problems, and with
        fewer than ten.
        """
        bands: list[Interval | None] = [None] * len(curve)
        moving = [metric for metric in curve if self.errors[metric] > 0]
        if self.n_problems < FEWEST_FOR_BOOTSTRAP or not moving:
            return bands
        half = self._largest_deviation(moving, level) * self._spreads[moving]
        low, high = self._bounds(level, moving)
        low = np.minimum(low, self._centres[moving] - half).tolist()
        high = np.maximum(high, self._centres[moving] + half).tolist()
        ends = zip(low, high, strict=True)
        found = dict(zip(moving, (_interval(*end, level, SIMULTANEOUS) for end in ends), strict=True))
        return [found.get(metric) for metric in curve]

    def _largest_deviation(self, moving: Sequence[int], level: float) -> float:
        """In standard errors: what it stays below with this chance, on all of a curve."""
        deviations = np.abs(self.resamples[moving] - self.estimates[moving, None])
        largest = np.nanmax(deviations / self.errors[moving, None], axis=0)
        wider = _expanded(level, self.n_problems) / NormalDist().inv_cdf((1 + level) / 2)
        return float(wider * np.quantile(largest, level))

    def _bounds(self, level: float, metrics: Sequence[int]) -> Floats:
        """[2, metrics]"""
        chosen = np.array(metrics, dtype=np.intp)
        bounds = t_bounds(self._centres[chosen], self._spreads[chosen], self._freedom[chosen], level)
        others = np.flatnonzero(~self._are_shares[chosen])
        if self.n_problems >= FEWEST_FOR_BOOTSTRAP and len(others):
            low, high = self._percentiles(level, chosen[others])
            bounds[0, others] = np.minimum(bounds[0, others], low)
            bounds[1, others] = np.maximum(bounds[1, others], high)
        return bounds

    def _percentiles(self, level: float, metrics: NDArray[np.intp]) -> Floats:
        tail = NormalDist().cdf(-_expanded(level, self.n_problems))
        resamples = self.resamples[metrics]
        quantile = np.nanquantile if np.isnan(resamples).any() else np.quantile
        return quantile(resamples, [tail, 1 - tail], axis=1)


def like_these(cluster: str | None) -> str:
    """The `kind` of an interval over problems like these, drawn alone or by a tag such as the exam."""
    return PROBLEMS_LIKE_THESE if cluster is None else f"{PROBLEMS_LIKE_THESE}, drawn by {cluster}"


def all_alike_interval(value: float, m: int, level: float) -> Interval | None:
    """Interval of a share that is 0 on all of m problems, or 1 on all; None for any other value."""
    bounds = all_alike_bounds(value, m, level)
    return None if bounds is None else _interval(*bounds, level, PROBLEMS_LIKE_THESE)


def _expanded(level: float, m: int) -> float:
    """How many standard deviations of the resampled values an interval over m problems reaches."""
    return sqrt(m / (m - 1)) * float(t_quantile((1 + level) / 2, m - 1))


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
    """[metrics, resamples]"""
    # Most metrics of a table have the same denominators: 1 for every problem.
    distinct, which = np.unique(den, axis=0, return_inverse=True)
    # A resample may hold only problems on which a metric is undefined: NaN, passed over by the quantiles.
    with np.errstate(invalid="ignore", divide="ignore"):
        return (num @ weights.T) / (distinct @ weights.T)[which]


def _side_by_side(blocks: list[Floats]) -> Floats:
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)


def _interval(low: float, high: float, level: float, kind: str) -> Interval:
    return Interval(low=low, high=high, level=level, kind=kind)
