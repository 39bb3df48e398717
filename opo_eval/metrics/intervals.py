"""The intervals of a table's rows: over problems like these, over these problems, and bands over k."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from opo_eval.records import Interval, Unit
from opo_eval.stats import (
    PROBLEMS_LIKE_THESE,
    Floats,
    Resampled,
    all_alike_interval,
    by_cluster,
    same_extents,
    sampling_intervals,
)

SEED = 20250529
"""Of the resampling; intervals are the same each time."""
_LARGEST = {Unit.SHARE: 1.0, Unit.PERCENT: 100.0}
_SMALLEST = {Unit.LOG_RATIO: -inf}
_ALIKE = 1e-12


@dataclass(frozen=True, kw_only=True)
class Column:
    """A metric's pairs on the problems of a row."""

    unit: Unit
    pairs: Floats
    """[2, problems]: numerators and denominators."""
    spreads: Floats | None
    """[4, problems]: see `Spread`; None where the metric does not give them."""
    curve: Hashable | None
    """What the points of one curve have in common; None for a number of its own."""

    @property
    def is_mean_share(self) -> bool:
        """Whether it is the mean over problems of something from 0 to 1."""
        return self.unit is Unit.SHARE and bool(np.isin(self.pairs[1], (0.0, 1.0)).all())


@dataclass(frozen=True, kw_only=True)
class RowIntervals:
    """Of one value; None where there is none."""

    like_these: Interval | None
    these: Interval | None
    band: Interval | None


def row_intervals(
    columns: Sequence[Column],
    *,
    clusters: Sequence[Hashable] | None = None,
    kind: str = PROBLEMS_LIKE_THESE,
    level: float = 0.95,
) -> list[RowIntervals]:
    """Those of every column, all over the same problems; each column is defined on one of them or more.

    clusters: of every problem, a label; problems of one label are drawn together, and `kind` says so.
    """
    like_these, bands = _over_problems(columns, clusters, kind, level)
    these = [_these(column, level) for column in columns]
    return [
        RowIntervals(like_these=a, these=b, band=c) for a, b, c in zip(like_these, these, bands, strict=True)
    ]


def curve_bands(
    resampled: Resampled, curves: Sequence[Hashable | None], level: float
) -> list[Interval | None]:
    """Simultaneous bands, all points of one curve together; None for what is on no curve."""
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i, curve in enumerate(curves):
        if curve is not None:
            members[curve].append(i)
    bands: list[Interval | None] = [None] * len(curves)
    for points in members.values():
        for i, band in zip(points, resampled.bands(level, points), strict=True):
            bands[i] = band
    return bands


def is_flat(interval: Interval) -> bool:
    """Whether it has no width: all problems are alike, and say nothing of others."""
    return interval.high - interval.low <= _ALIKE


def _over_problems(
    columns: Sequence[Column], clusters: Sequence[Hashable] | None, kind: str, level: float
) -> tuple[list[Interval | None], list[Interval | None]]:
    """Intervals and bands over problems like these, each column from the problems on which it is defined."""
    intervals: list[Interval | None] = [None] * len(columns)
    bands = list(intervals)
    for members, kept in same_extents([column.pairs[1] > 0 for column in columns]):
        labels = kept if clusters is None else [clusters[i] for i in kept]
        found = _of_same_problems([columns[i] for i in members], kept, labels, level)
        for i, interval, band in zip(members, *found, strict=True):
            intervals[i], bands[i] = interval and replace(interval, kind=kind), band
    return intervals, bands


def _of_same_problems(
    columns: Sequence[Column], kept: list[int], labels: Sequence[Hashable], level: float
) -> tuple[list[Interval | None], list[Interval | None]]:
    """The same of columns that share their resamples, being defined on the same problems."""
    none: list[Interval | None] = [None] * len(columns)
    pairs = by_cluster(np.array([column.pairs[:, kept] for column in columns]), labels)
    if pairs.shape[-1] < 2:
        return none, none
    shares = [column.is_mean_share for column in columns]
    resampled = Resampled.values(*np.moveaxis(pairs, 1, 0), shares=shares, rng=np.random.default_rng(SEED))
    units = [column.unit for column in columns]
    found = zip(resampled.intervals(level), resampled.errors == 0, pairs, units, strict=True)
    bands = curve_bands(resampled, [column.curve for column in columns], level)
    return (
        [_settled(*each) for each in found],
        [_possible(band, unit) for band, unit in zip(bands, units, strict=True)],
    )


def _settled(interval: Interval, alike: bool, pairs: Floats, unit: Unit) -> Interval | None:
    """What is the same on all problems has an interval only at 0 or 1."""
    num, weights = pairs
    if not alike:
        return _possible(interval, unit)
    # With unequal weights the few heavy problems decide, and their number is not that of all.
    if unit is not Unit.SHARE or not np.allclose(weights, weights[0]):
        return None
    return all_alike_interval(num.sum() / weights.sum(), len(weights), interval.level)


def _these(column: Column, level: float) -> Interval | None:
    if column.spreads is None:
        return None
    num, den = column.pairs[:, None]
    interval = sampling_intervals(num, den, column.spreads[None], level=level)[0]
    return None if is_flat(interval) else _possible(interval, column.unit)


def _possible(interval: Interval | None, unit: Unit) -> Interval | None:
    """The part that the unit allows: few are negative, and a share is at most 1."""
    if interval is None:
        return None
    smallest, largest = _SMALLEST.get(unit, 0.0), _LARGEST.get(unit, inf)
    low, high = np.clip([interval.low, interval.high], smallest, largest).tolist()
    return replace(interval, low=low, high=high)
