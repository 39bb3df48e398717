"""The report's tables for the page: each cell is a text, or a text with the number that it shows.

Numbers are in the unit that is shown, as they are: unrounded.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opo_eval.records import Comparison, MetricRow, MetricTable, Unit
from opo_eval.report.counts import accounting, coverage
from opo_eval.report.grid import NONE, UNDEFINED
from opo_eval.report.names import one_line
from opo_eval.report.token_statistics import is_scored, token_metrics
from opo_eval.report.values import (
    DIFFERENCE_UNITS,
    VALUE_UNITS,
    detectable,
    difference_bounds,
    difference_with_interval,
    p_text,
    problems_needed,
    reading,
    scaled,
    sides,
    with_interval,
)
from opo_eval.report.views import (
    ALL,
    BenchmarkView,
    headline_metrics,
    metric_rows,
    rows_of,
    shown_metrics,
)

Cell = str | tuple[str, float | None]
"""A text, or a text and its number: None where there is none, so that it is sorted last."""
Table = dict[str, Any]
"""id, title, columns, rows and, where there is something to say, a note."""


def main_tables(view: BenchmarkView, place: str) -> Iterator[Table]:
    """Those that a reader sees first. place: what the tables' ids begin with."""
    yield headline_table(view, f"{place}-headline")
    if view.comparisons:
        title = "Differences between checkpoints"
        yield differences_table(
            view.comparisons, view.checkpoints, view, id=f"{place}-differences", title=title
        )
    if view.arm_comparisons:
        yield differences_table(
            view.arm_comparisons, view.arms, view, id=f"{place}-arms", title="Differences between arms"
        )
    if any(map(is_scored, view.tables)):
        yield tokens_table(view, f"{place}-tokens")


def more_tables(view: BenchmarkView, place: str) -> Iterator[Table]:
    """Those that open on demand."""
    if view.curves:
        yield steps_table(view, f"{place}-steps")
    yield metrics_table(view, f"{place}-metrics")
    if any(row.subset != ALL for table in view.tables for row in table.rows):
        yield subsets_table(view, f"{place}-subsets")
    yield counts_table(view, f"{place}-counts")


# --- values -----------------------------------------------------------------------------------------


def headline_table(view: BenchmarkView, id: str) -> Table:
    """A row a checkpoint, a column a headline metric."""
    metrics = headline_metrics(view.tables)
    units = metric_rows(view)
    rows = [
        [view.checkpoints[table.checkpoint], *(_value(rows_of(table).get(name)) for name in metrics)]
        for table in view.tables
    ]
    columns = ["checkpoint", *(f"{name} ({VALUE_UNITS[units[name].unit]})" for name in metrics)]
    return {"id": id, "title": "Headline numbers", "columns": columns, "rows": rows}


def metrics_table(view: BenchmarkView, id: str) -> Table:
    """A row a metric, a column a checkpoint."""
    units = metric_rows(view)
    of_tables = [rows_of(table) for table in view.tables]
    rows = [
        [name, VALUE_UNITS[units[name].unit], *(_value(rows.get(name)) for rows in of_tables)]
        for name in shown_metrics(view.tables)
    ]
    columns = ["metric", "unit", *(view.checkpoints[table.checkpoint] for table in view.tables)]
    return {"id": id, "title": "All metrics", "columns": columns, "rows": rows}


def tokens_table(view: BenchmarkView, id: str) -> Table:
    """A row a checkpoint, a column a number of its token statistics."""
    known = metric_rows(view)
    metrics = [name for name in token_metrics(view.tables) if name in known]
    rows = [[view.checkpoints[t.checkpoint], *_values(rows_of(t), metrics)] for t in view.tables]
    title = "Entropy and KL, in nats, means over tokens"
    return {"id": id, "title": title, "columns": ["checkpoint", *metrics], "rows": rows}


def subsets_table(view: BenchmarkView, id: str) -> Table:
    """A row for each value of a tag and each checkpoint."""
    metrics = headline_metrics(view.tables)
    units = metric_rows(view)
    rows = [
        [*_tag(subset), view.checkpoints[table.checkpoint], _n_problems(own), *_values(own, metrics)]
        for subset in dict.fromkeys(row.subset for table in view.tables for row in table.rows)
        for table in view.tables
        if subset != ALL and (own := rows_of(table, subset))
    ]
    columns = [
        *("tag", "value", "checkpoint", "problems"),
        *(f"{name} ({VALUE_UNITS[units[name].unit]})" for name in metrics),
    ]
    return {"id": id, "title": "By level, subject and other tags", "columns": columns, "rows": rows}


def _value(row: MetricRow | None) -> Cell:
    if row is None:
        return UNDEFINED, None
    return with_interval(row.value, row.interval, row.unit), scaled(row.value, row.unit)


def _values(rows: Mapping[str, MetricRow], metrics: Sequence[str]) -> list[Cell]:
    return [_value(rows.get(name)) for name in metrics]


def _scaled(value: float | None, unit: Unit) -> float | None:
    return None if value is None else scaled(value, unit)


def _tag(subset: str) -> tuple[str, str]:
    tag, _, value = subset.partition("=")
    return one_line(tag), one_line(value)


def _n_problems(rows: Mapping[str, MetricRow]) -> Cell:
    n = max(row.n_problems + row.n_problems_left_out for row in rows.values())
    return str(n), n


# --- differences ------------------------------------------------------------------------------------


def differences_table(
    comparisons: Sequence[Comparison], names: Mapping[str, str], view: BenchmarkView, *, id: str, title: str
) -> Table:
    """A row a pair and metric, those of the family first."""
    shown = set(shown_metrics(view.tables))
    rows = sorted((row for row in comparisons if row.metric in shown), key=lambda row: row.p_adjusted is None)
    pairs = {(names[row.b], names[row.a]) for row in rows}
    cells = [_difference(row, names) for row in rows]
    columns = _OF_DIFFERENCES
    if len(pairs) == 1:  # in the title, not in every row
        title = " minus ".join(*pairs)
        columns, cells = columns[2:], [row[2:] for row in cells]
    return {"id": id, "title": title, "columns": columns, "rows": cells, "note": _ADJUSTED}


_OF_DIFFERENCES = (
    *("of", "against", "metric", "unit", "value", "baseline's", "difference", "p", "adjusted p"),
    *("reading", "detectable", "problems needed"),
)
_ADJUSTED = "Adjusted p: in the family of tests that are counted together. Everything else is unadjusted."


def _difference(row: Comparison, names: Mapping[str, str]) -> list[Cell]:
    before, after = sides(row)
    return [
        *(names[row.b], names[row.a], row.metric, DIFFERENCE_UNITS[row.unit]),
        (after, scaled(row.value_b, row.unit)),
        (before, scaled(row.value_a, row.unit)),
        (difference_with_interval(row), scaled(row.delta, row.unit)),
        (p_text(row.p_value), row.p_value),
        (p_text(row.p_adjusted), row.p_adjusted),
        reading(row),
        (detectable(row), _scaled(row.mde80, row.unit)),
        (problems_needed(row), row.problems_needed),
    ]


# --- over steps -------------------------------------------------------------------------------------


def steps_table(view: BenchmarkView, id: str) -> Table:
    """A row a point of a curve."""
    units = metric_rows(view)
    rows: list[list[Cell]] = []
    for curve in view.curves:
        unit = units[curve.metric].unit
        for point in curve.points:
            rows.append(
                [
                    *(view.runs[curve.series], curve.metric, VALUE_UNITS[unit]),
                    (str(point.step), point.step),
                    (with_interval(point.value, point.interval, unit), scaled(point.value, unit)),
                    (difference_bounds(point.difference, unit), _scaled(point.delta, unit)),
                    difference_bounds(point.band, unit),
                ]
            )
    columns = ["training run", "metric", "unit", "step", "value", "less the reference", "all steps at once"]
    return {"id": id, "title": "Over steps", "columns": columns, "rows": rows}


# --- counts -----------------------------------------------------------------------------------------


def counts_table(view: BenchmarkView, id: str) -> Table:
    """A row a checkpoint: how grading ended, and what a reader should know of the samples."""
    counts = [_counts(table) for table in view.tables]
    names = list(dict.fromkeys(name for own in counts for name in own))
    rows = [
        [view.checkpoints[table.checkpoint], *(_count(own.get(name)) for name in names)]
        for table, own in zip(view.tables, counts, strict=True)
    ]
    return {"id": id, "title": "Counts", "columns": ["checkpoint", *names], "rows": rows}


def _counts(table: MetricTable) -> dict[str, int]:
    return {"samples": table.counts["samples"], **accounting(table), "n compared": table.n, **coverage(table)}


def _count(count: int | None) -> Cell:
    return (NONE, None) if count is None else (f"{count:,}", count)
