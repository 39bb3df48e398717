"""Two tables, or two arms of tables, → their differences with intervals, tests and what could be detected."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opo_eval.arms import Arm
from opo_eval.metrics import METRICS
from opo_eval.metrics.intervals import SEED, curve_bands, is_flat
from opo_eval.records import Comparison, Interval, MetricRow, MetricTable
from opo_eval.stats import (
    FEWEST_TO_REJECT,
    Floats,
    Resampled,
    arm_differences,
    by_cluster,
    like_these,
    minimum_detectable_effect,
    problems_needed,
    ratio,
    same_extents,
    sampling_difference_intervals,
    sign_flip_test,
)

LEVEL = 0.95
CURVES = {family for family, metric in METRICS.items() if metric.is_curve}


# --- two checkpoints --------------------------------------------------------------------------------


def compare_tables(a: MetricTable, b: MetricTable) -> list[Comparison]:
    """`b` minus `a` for every metric that both have, over the problems on which both define it.

    A problem on which a metric is undefined on one side says nothing of the difference. p-values are those
    of each test alone: `adjust` needs to be told what a family is.
    """
    shared = SharedProblems([a, b])
    rows = (row for names, kept in shared.extents() for row in _compare(shared, names, kept))
    return sorted(rows, key=lambda row: shared.names.index(row.metric))


class SharedProblems:
    """What several tables say of the problems and the metrics that all of them have."""

    def __init__(self, tables: Sequence[MetricTable]) -> None:
        self.tables, first = tables, tables[0]
        everywhere = set.intersection(*(set(table.problem_ids) for table in tables))
        problems = [problem for problem in first.problem_ids if problem in everywhere]
        self.members = [_places(table, problems) for table in tables]
        self.by_name = [{s.metric: s for s in table.statistics} for table in tables]
        self.rows = {row.metric: row for row in first.rows if row.subset == "all"}
        self.names = [name for name in self.by_name[0] if all(name in own for own in self.by_name)]
        labels = first.clusters or first.problem_ids
        self.labels = [labels[i] for i in self.members[0]]

    def extents(self) -> Iterator[tuple[list[str], list[int]]]:
        """Metrics that all tables define on the same problems, and which problems those are."""
        for metrics, kept in same_extents([self._defined(name) for name in self.names]):
            yield [self.names[i] for i in metrics], kept

    def pairs(self, table: int, names: Sequence[str], kept: list[int]) -> tuple[Floats, Floats]:
        """Numerators and denominators of one table: [metrics, problems] each."""
        places = self.members[table][kept]
        own = self.by_name[table]
        return (
            np.array([own[name].numerators for name in names])[:, places],
            np.array([own[name].denominators for name in names])[:, places],
        )

    def spreads(self, table: int, name: str, kept: list[int]) -> Floats | None:
        """[1, 4, problems]; None where the metric does not give them."""
        spreads = self.by_name[table][name].spreads
        return None if spreads is None else np.array(spreads).T[None][..., self.members[table][kept]]

    def units(self, sums: tuple[Floats, Floats], kept: list[int]) -> tuple[Floats, Floats]:
        """The same by what is drawn independently: problems, or clusters of them."""
        labels = [self.labels[i] for i in kept]
        return by_cluster(sums[0], labels), by_cluster(sums[1], labels)

    def _defined(self, name: str) -> NDArray[np.bool_]:
        sides = zip(self.by_name, self.members, strict=True)
        return np.all([np.array(own[name].denominators)[members] > 0 for own, members in sides], axis=0)


def _places(table: MetricTable, problems: Sequence[str]) -> NDArray[np.intp]:
    position = {problem: i for i, problem in enumerate(table.problem_ids)}
    return np.array([position[problem] for problem in problems], dtype=np.intp)


def _compare(shared: SharedProblems, names: list[str], kept: list[int]) -> Iterator[Comparison]:
    table_a, table_b = shared.tables
    a, b = shared.pairs(0, names, kept), shared.pairs(1, names, kept)
    rows = [shared.rows[name] for name in names]
    tested = _tested(shared.units(a, kept), shared.units(b, kept), rows, table_a.cluster, len(kept))
    for i, (row, value_a, value_b) in enumerate(zip(rows, ratio(*a), ratio(*b), strict=True)):
        these = _these(shared, row.metric, kept, [(side[0][i], side[1][i]) for side in (a, b)])
        yield Comparison(
            a=table_a.checkpoint,
            b=table_b.checkpoint,
            **_described(row, float(value_a), float(value_b), len(kept)),
            interval_these=these,
            **tested[i],
        )


def _described(row: MetricRow, value_a: float, value_b: float, n_problems: int) -> dict[str, Any]:
    return {
        "benchmark": row.benchmark,
        "metric": row.metric,
        "value_a": value_a,
        "value_b": value_b,
        "delta": value_b - value_a,
        "unit": row.unit,
        "better": row.better,
        "n_problems": n_problems,
        "signature": row.signature,
    }


def _tested(
    a: tuple[Floats, Floats],
    b: tuple[Floats, Floats],
    rows: Sequence[MetricRow],
    cluster: str | None,
    n_problems: int,
) -> list[dict[str, Any]]:
    """What problems like these say of each metric: [metrics, problems or clusters] each."""
    n_units = a[0].shape[-1]
    if n_units < 2:
        return [{"interval": None}] * len(rows)
    resampled = Resampled.differences(a, b, rng=np.random.default_rng(SEED))
    curves = [row.family if row.family in CURVES else None for row in rows]
    columns = {
        "interval": [labelled(interval, cluster) for interval in resampled.intervals(LEVEL)],
        "band": curve_bands(resampled, curves, LEVEL),
        "p_value": sign_flip_test(a, b, rng=np.random.default_rng(SEED)).tolist(),
        "mde80": [_detectable(size, n_units) for size in minimum_detectable_effect(a, b).tolist()],
        "problems_needed": [_whole(n, n_problems / n_units) for n in problems_needed(a, b).tolist()],
    }
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]


def labelled(interval: Interval, cluster: str | None) -> Interval | None:
    return None if is_flat(interval) else replace(interval, kind=like_these(cluster))


def _detectable(size: float, n_units: int) -> float | None:
    # The test of fewer cannot reject, however large the difference.
    return size or None if n_units >= FEWEST_TO_REJECT else None


def _whole(n_units: float, problems_each: float) -> int | None:
    """So many problems or clusters in problems."""
    if not np.isfinite(n_units):
        return None
    return int(np.ceil(max(n_units, FEWEST_TO_REJECT) * problems_each))


def _these(
    shared: SharedProblems, metric: str, kept: list[int], pairs: Sequence[tuple[Floats, Floats]]
) -> Interval | None:
    spreads = [shared.spreads(table, metric, kept) for table in (0, 1)]
    if spreads[0] is None or spreads[1] is None:
        return None
    a, b = ((num[None], den[None]) for num, den in pairs)
    interval = sampling_difference_intervals(a, b, (spreads[0], spreads[1]), level=LEVEL)[0]
    return None if is_flat(interval) else interval


# --- two arms ---------------------------------------------------------------------------------------


def compare_arms(
    a: Arm, tables_a: Sequence[MetricTable], b: Arm, tables_b: Sequence[MetricTable]
) -> list[Comparison]:
    """`b` minus `a` for every metric that all tables have, over training seeds and problems."""
    shared = SharedProblems([*tables_a, *tables_b])
    rows = [
        row
        for names, kept in shared.extents()
        if len(set(np.array(shared.labels)[kept])) > 1
        for row in _compare_arms(shared, a, b, names, kept)
    ]
    return sorted(rows, key=lambda row: shared.names.index(row.metric))


def _compare_arms(
    shared: SharedProblems, a: Arm, b: Arm, names: list[str], kept: list[int]
) -> Iterator[Comparison]:
    n_a = len(a.checkpoints)
    seeds = [shared.units(shared.pairs(t, names, kept), kept) for t in range(n_a + len(b.checkpoints))]
    found = arm_differences(_stacked(seeds[:n_a]), _stacked(seeds[n_a:]))
    columns = zip(
        found.values_a, found.values_b, found.intervals(LEVEL), found.p_values(),
        found.minimum_detectable_effects(), strict=True,
    )  # fmt: skip
    for name, (value_a, value_b, interval, p, mde) in zip(names, columns, strict=True):
        yield Comparison(
            a=a.name,
            b=b.name,
            **_described(shared.rows[name], float(value_a), float(value_b), len(kept)),
            interval=None if is_flat(interval) else interval,
            p_value=None if np.isnan(p) else float(p),
            mde80=float(mde) or None,
            n_train_seeds=min(n_a, len(b.checkpoints)),
        )


def _stacked(seeds: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """[seeds, metrics, problems] each."""
    return np.stack([num for num, _ in seeds]), np.stack([den for _, den in seeds])
