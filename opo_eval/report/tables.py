"""The tables of numbers in a report, as grids of plain text."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from opo_eval.records import Comparison, Interval, MetricRow, Unit
from opo_eval.report.grid import NONE, UNDEFINED, Grid, without_empty_columns
from opo_eval.report.names import one_line
from opo_eval.report.values import (
    DIFFERENCE_UNITS,
    VALUE_UNITS,
    bounds,
    comparison_digits,
    detectable,
    difference_bounds,
    difference_with_interval,
    interval_label,
    number,
    p_text,
    problems_needed,
    reading,
    sides,
    value_digits,
    with_interval,
)
from opo_eval.report.verdicts import main_row, pairs_of
from opo_eval.report.views import (
    ALL,
    TRUNCATED,
    BenchmarkView,
    headline_metrics,
    rows_of,
    shown_metrics,
)

FEWEST_PROBLEMS = 5
"""Fewer problems of one level or subject say nothing of it."""
_CHECKPOINTS_ABREAST = 6


# --- values -----------------------------------------------------------------------------------------


def metric_grids(view: BenchmarkView) -> Iterator[Grid]:
    """One row a metric, one column a checkpoint; many checkpoints make several grids."""
    metrics = shown_metrics(view.tables)
    units = {row.metric: VALUE_UNITS[row.unit] for table in view.tables for row in table.rows}
    for start in range(0, len(view.tables), _CHECKPOINTS_ABREAST):
        tables = view.tables[start : start + _CHECKPOINTS_ABREAST]
        columns = [rows_of(table) for table in tables]
        yield Grid(
            ("metric", "unit", *(view.checkpoints[table.checkpoint] for table in tables)),
            tuple((name, units[name], *(_value(rows.get(name)) for rows in columns)) for name in metrics),
        )


def _value(row: MetricRow | None) -> str:
    return UNDEFINED if row is None else with_interval(row.value, row.interval, row.unit)


# --- headline numbers with every interval -----------------------------------------------------------


class _Intervals(NamedTuple):
    """Those of one number."""

    like_these: Interval | None
    these: Interval | None
    band: Interval | None


class _Number(NamedTuple):
    """A row of the table of headline numbers."""

    metric: str
    unit: str
    of: str
    value: str
    intervals: _Intervals
    shown: Callable[[Interval | None], str]


def headline_grid(view: BenchmarkView) -> Grid:
    """The headline metrics of every checkpoint and every pair, with every interval they have, labelled."""
    numbers = [number for metric in headline_metrics(view.tables) for number in _numbers(view, metric)]
    labels = [interval_label(number.intervals[i] for number in numbers) or NONE for i in range(3)]
    rows = (
        (n.metric, n.unit, n.of, n.value, *(n.shown(interval) for interval in n.intervals)) for n in numbers
    )
    return without_empty_columns(Grid(("metric", "unit", "of", "value", *labels), tuple(rows)))


def _numbers(view: BenchmarkView, metric: str) -> Iterator[_Number]:
    for table in view.tables:
        if row := rows_of(table).get(metric):
            yield _of_checkpoint(row, view.checkpoints[row.checkpoint])
    for comparison in (c for c in view.comparisons if c.metric == metric):
        names = (view.checkpoints[side] for side in (comparison.b, comparison.a))
        yield _of_pair(comparison, " minus ".join(names))


def _of_checkpoint(row: MetricRow, name: str) -> _Number:
    unit = row.unit
    value = number(row.value, unit, value_digits(row.value, row.interval, unit))
    return _Number(row.metric, VALUE_UNITS[unit], name, value, _intervals(row), partial(bounds, unit=unit))


def _of_pair(row: Comparison, names: str) -> _Number:
    unit = row.unit
    value = number(row.delta, unit, comparison_digits(row), signed=True)
    shown = partial(difference_bounds, unit=unit)
    return _Number(row.metric, DIFFERENCE_UNITS[unit], names, value, _intervals(row), shown)


def _intervals(record: MetricRow | Comparison) -> _Intervals:
    return _Intervals(record.interval, record.interval_these, record.band)


# --- differences ------------------------------------------------------------------------------------


_DIFFERENCE_CELLS: dict[str, Callable[[Comparison], str]] = {
    "difference": difference_with_interval,
    "unit": lambda row: DIFFERENCE_UNITS[row.unit],
    "p": lambda row: p_text(row.p_value),
    "adjusted p": lambda row: p_text(row.p_adjusted),
    "reading": reading,
    "detectable": detectable,
    "problems needed": problems_needed,
}
"""Column → its cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """One checkpoint or arm against the baseline; the names are fit to print."""

    name: str
    baseline: str
    tested: Grid
    """The metrics of the family."""
    others: Grid
    missing: tuple[str, ...]
    """Metrics that are shown but undefined on one of the two sides."""


def differences(view: BenchmarkView) -> Iterator[Differences]:
    """For each checkpoint that is compared: one row a metric."""
    yield from _differences(view, view.comparisons, view.checkpoints)


def arm_differences(view: BenchmarkView) -> Iterator[Differences]:
    """For each arm that is compared: one row a metric."""
    yield from _differences(view, view.arm_comparisons, view.arms)


def _differences(
    view: BenchmarkView, comparisons: Sequence[Comparison], names: Mapping[str, str]
) -> Iterator[Differences]:
    metrics = shown_metrics(view.tables)
    for rows in pairs_of(comparisons):
        a, b, pair = rows[0].a, rows[0].b, {row.metric: row for row in rows}
        shown = [pair[name] for name in metrics if name in pair]
        yield Differences(
            name=names[b],
            baseline=names[a],
            tested=_difference_grid([row for row in shown if row.p_adjusted is not None], names[a], names[b]),
            others=_difference_grid([row for row in shown if row.p_adjusted is None], names[a], names[b]),
            missing=tuple(name for name in metrics if name not in pair),
        )


def _difference_grid(rows: Sequence[Comparison], a: str, b: str) -> Grid:
    cells = ((row.metric, *sides(row), *(cell(row) for cell in _DIFFERENCE_CELLS.values())) for row in rows)
    return without_empty_columns(Grid(("metric", a, b, *_DIFFERENCE_CELLS), tuple(cells)))


def pairs_grid(view: BenchmarkView) -> Grid:
    """One row a checkpoint that is compared: what came out on the main metric."""
    rows = [main_row(pair, view) for pair in pairs_of(view.comparisons)]
    cut = {table.checkpoint: rows_of(table).get(TRUNCATED) for table in view.tables}
    cells = (
        (
            view.checkpoints[row.b],
            row.metric,
            *(cell(row) for cell in _DIFFERENCE_CELLS.values()),
            _share(cut[row.b]),
        )
        for row in rows
    )
    columns = ("checkpoint", "metric", *_DIFFERENCE_CELLS, "truncated (%)")
    return without_empty_columns(Grid(columns, tuple(cells)))


def _share(row: MetricRow | None) -> str:
    return NONE if row is None else number(row.value, row.unit, 1)


# --- by tag -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """The headline numbers by the values of a tag; the names are fit to print."""

    tag: str
    grid: Grid
    too_small: tuple[str, ...]
    """Values with fewer than `FEWEST_PROBLEMS` problems."""


def breakdowns(view: BenchmarkView) -> Iterator[Breakdown]:
    """For each tag, such as level: one row for each of its values and each checkpoint."""
    sizes = _subset_sizes(view)
    metrics = headline_metrics(view.tables)
    for tag in dict.fromkeys(_tag(subset) for subset in sizes):
        its_sizes = {subset: size for subset, size in sizes.items() if _tag(subset) == tag}
        enough = [subset for subset, size in its_sizes.items() if size >= FEWEST_PROBLEMS]
        rows = tuple(row for subset in enough for row in _breakdown_rows(view, subset, metrics))
        yield Breakdown(
            tag=one_line(tag),
            grid=Grid((one_line(tag), "checkpoint", "problems", *_with_units(view, metrics)), rows),
            too_small=tuple(_tag_value(subset) for subset in its_sizes if subset not in enough),
        )


def _subset_sizes(view: BenchmarkView) -> dict[str, int]:
    """Subset → its problems, those on which a metric is undefined among them."""
    sizes: dict[str, int] = defaultdict(int)
    for row in (row for table in view.tables for row in table.rows if row.subset != ALL):
        sizes[row.subset] = max(sizes[row.subset], row.n_problems + row.n_problems_left_out)
    return sizes


def _with_units(view: BenchmarkView, metrics: Sequence[str]) -> list[str]:
    units: dict[str, Unit] = {row.metric: row.unit for table in view.tables for row in table.rows}
    return [f"{name} ({VALUE_UNITS[units[name]]})" for name in metrics]


def _breakdown_rows(view: BenchmarkView, subset: str, metrics: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for table in view.tables:
        rows = rows_of(table, subset)
        n_problems = max((row.n_problems + row.n_problems_left_out for row in rows.values()), default=0)
        values = (_value(rows.get(name)) for name in metrics)
        yield _tag_value(subset), view.checkpoints[table.checkpoint], str(n_problems), *values


def _tag(subset: str) -> str:
    return subset.partition("=")[0]


def _tag_value(subset: str) -> str:
    return one_line(subset.partition("=")[2])
