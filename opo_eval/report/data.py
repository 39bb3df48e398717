"""The numbers of a report for programs: JSON and CSV, without times and machines."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from math import nan
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import orjson

from opo_eval.over_steps import LastMean, StepCurve, StepPoint
from opo_eval.records import REPORT_SCHEMA, Comparison, Interval, MetricRow, MetricTable
from opo_eval.report.values import reading
from opo_eval.report.views import BenchmarkView

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

_BOUNDS = {
    "interval": ("low", "high", "level", "kind"),
    "interval_these": ("these_low", "these_high"),
    "band": ("band_low", "band_high"),
}
"""Field of a record → its columns; the latter two have the level of the first, and one kind each."""
_INTERVALS = tuple(column for columns in _BOUNDS.values() for column in columns)
METRIC_COLUMNS = (
    "checkpoint", "benchmark", "subset", "metric", "family", "value", *_INTERVALS, "unit", "better", "n",
    "n_problems", "n_samples", "n_problems_left_out", "n_samples_left_out", "signature",
)  # fmt: skip
DIFFERENCE_COLUMNS = (
    "benchmark", "metric", "family", "a", "b", "value_a", "value_b", "delta", *_INTERVALS, "unit", "better",
    "p_value", "p_adjusted", "reading", "mde80", "problems_needed", "n_problems", "n_train_seeds",
    "signature",
)  # fmt: skip
_PER_PROBLEM = (
    "checkpoint", "benchmark", "problem_id", "source_id", "metric", "numerator", "denominator", "n",
    "n_left_out",
)  # fmt: skip
_OVER_STEPS = (
    "benchmark", "training_run", "metric", "step", "checkpoint", "value", "low", "high", "reference",
    "reference_value", "delta", "delta_low", "delta_high", "band_low", "band_high", "level", "kind",
    "n_problems",
)  # fmt: skip
_LAST_MEANS = (
    "benchmark", "training_run", "metric", "steps", "value", "low", "high", "reference", "reference_value",
    "delta", "delta_low", "delta_high", "level", "kind", "p_value", "n_problems",
)  # fmt: skip
_Record = TypeVar("_Record", MetricRow, Comparison)
_OUTCOMES = ("index", "verdict", "finish", "characters", "tokens")
_SAMPLES = ("checkpoint", "benchmark", "problem_id", "source_id", *_OUTCOMES)


def metrics_json(compared: "ComparedRuns") -> bytes:
    """All tables with their per-problem statistics, all comparisons, the arms, the notes."""
    # On one line: most of it is columns of numbers, which indenting makes three times as long.
    return orjson.dumps(
        {
            "schema": REPORT_SCHEMA,
            "notes": compared.notes,
            "tables": compared.tables,
            "comparisons": compared.comparisons,
            "arms": compared.arms,
            "arm_comparisons": compared.arm_comparisons,
            **({"over_steps": compared.over_steps} if compared.over_steps.curves else {}),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def metrics_csv(views: Iterable[BenchmarkView]) -> bytes:
    """Every row of every table; shares are from 0 to 1."""
    return csv_table(METRIC_COLUMNS, metric_cells(table for view in views for table in view.tables))


def differences_csv(views: Iterable[BenchmarkView]) -> bytes:
    """Every difference between checkpoints, `b` minus `a`; shares are from 0 to 1."""
    cells = (row for view in views for row in difference_cells(view.comparisons, view.tables))
    return csv_table(DIFFERENCE_COLUMNS, cells)


def arms_csv(views: Iterable[BenchmarkView]) -> bytes:
    """Every difference between arms, `b` minus `a`; shares are from 0 to 1."""
    cells = (row for view in views for row in difference_cells(view.arm_comparisons, view.tables))
    return csv_table(DIFFERENCE_COLUMNS, cells)


def over_steps_csv(views: Iterable[BenchmarkView]) -> bytes:
    """Every point of every curve over steps; differences are less the reference, shares from 0 to 1."""
    curves = (curve for view in views for curve in view.curves)
    return csv_table(_OVER_STEPS, (_step(curve, point) for curve in curves for point in curve.points))


def last_means_csv(views: Iterable[BenchmarkView]) -> bytes:
    """The means over the last checkpoints of training runs; shares are from 0 to 1."""
    return csv_table(_LAST_MEANS, (_last_mean(mean) for view in views for mean in view.last_means))


def per_problem_csv(views: Iterable[BenchmarkView]) -> bytes:
    """The pair behind every metric on every problem; a denominator of 0 says that it is undefined there."""
    return csv_table(_PER_PROBLEM, (row for view in views for row in _per_problem(view)))


def samples_csv(views: Iterable[BenchmarkView]) -> bytes:
    """What every sample came to, without its text."""
    return csv_table(
        _SAMPLES, (row for view in views for table in view.tables for row in _samples(view, table))
    )


def dump(document: Mapping[str, Any]) -> bytes:
    """Indented JSON with a newline at its end."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def metric_cells(tables: Iterable[MetricTable]) -> Iterator[dict[str, Any]]:
    """A row of metrics.csv for every row of every table, by column."""
    return (_flat(row) | {"n": table.n} for table in tables for row in table.rows)


def difference_cells(
    comparisons: Iterable[Comparison], tables: Iterable[MetricTable]
) -> Iterator[dict[str, Any]]:
    """A row of differences.csv for every comparison of checkpoints or arms of these tables, by column."""
    families = {of.metric: of.family for table in tables for of in table.rows}
    return (_flat(row) | {"family": families.get(row.metric), "reading": reading(row)} for row in comparisons)


def records_of(cls: type[_Record], rows: Iterable[Mapping[str, Any]]) -> list[_Record]:
    """The records behind rows of metrics.csv or differences.csv, however the cells were read.

    A cell that is None was empty. Such a row has the level and kind of its `interval` only: the other two are
    given the same, or without one NaN and no kind.
    """
    hints = get_type_hints(cls)
    return [cls(**{name: _field(name, hint, cells) for name, hint in hints.items()}) for cells in rows]


def _field(name: str, hint: Any, cells: Mapping[str, Any]) -> Any:
    if name in _BOUNDS:
        low, high = _BOUNDS[name][:2]
        return interval_of(cells, low, high)
    # A name may look like a number, and a whole number be read as a fraction.
    kind = next(iter(get_args(hint)), hint)
    return None if cells[name] is None else kind(cells[name])


def interval_of(cells: Mapping[str, Any], low: str, high: str) -> Interval | None:
    """The interval that these columns of a row hold; None where they are empty."""
    if cells[low] is None:
        return None
    return Interval(
        low=float(cells[low]),
        high=float(cells[high]),
        level=nan if cells["level"] is None else float(cells["level"]),
        kind=cells["kind"] or "",
    )


def _flat(row: MetricRow | Comparison) -> dict[str, Any]:
    cells = asdict(row)
    for name, columns in _BOUNDS.items():
        interval = cells.pop(name) or {}
        # The name of a column ends with the field that it holds.
        cells |= {column: interval.get(column.rpartition("_")[2]) for column in columns}
    return cells


def _step(curve: StepCurve, point: StepPoint) -> dict[str, Any]:
    intervals = (("", point.interval), ("delta_", point.difference), ("band_", point.band))
    return {
        "benchmark": curve.benchmark,
        "training_run": curve.series,
        "metric": curve.metric,
        "step": point.step,
        "checkpoint": point.checkpoint,
        "value": point.value,
        **_ends(intervals),
        "reference": curve.reference and curve.reference.checkpoint,
        "reference_value": curve.reference and curve.reference.value,
        "delta": point.delta,
        "n_problems": curve.n_problems,
    }


def _last_mean(mean: LastMean) -> dict[str, Any]:
    compared = mean.difference
    return {
        "benchmark": mean.benchmark,
        "training_run": mean.series,
        "metric": mean.metric,
        "steps": " ".join(map(str, mean.steps)),
        "value": mean.value,
        **_ends((("", mean.interval), ("delta_", compared and compared.interval))),
        "reference": compared and compared.a,
        "reference_value": compared and compared.value_a,
        "delta": compared and compared.delta,
        "p_value": compared and compared.p_value,
        "n_problems": compared and compared.n_problems,
    }


def _ends(intervals: Iterable[tuple[str, Interval | None]]) -> dict[str, Any]:
    """Columns of the intervals, by how their names begin; level and kind of the first that is there."""
    there = [(prefix, interval) for prefix, interval in intervals if interval]
    cells: dict[str, Any] = {}
    for prefix, interval in there:
        cells |= {f"{prefix}low": interval.low, f"{prefix}high": interval.high}
    return cells | ({"level": there[0][1].level, "kind": there[0][1].kind} if there else {})


def _samples(view: BenchmarkView, table: MetricTable) -> Iterator[dict[str, Any]]:
    columns = [getattr(table.outcomes, name) for name in _OUTCOMES]
    for problem, *cells in zip(table.outcomes.problem, *columns, strict=True):
        problem_id = table.problem_ids[problem]
        yield {
            "checkpoint": table.checkpoint,
            "benchmark": table.benchmark,
            "problem_id": problem_id,
            "source_id": view.source_ids.get(problem_id),
            **dict(zip(_OUTCOMES, cells, strict=True)),
        }


def _per_problem(view: BenchmarkView) -> Iterator[dict[str, Any]]:
    for table in view.tables:
        for statistics in table.statistics:
            for i, problem in enumerate(table.problem_ids):
                yield {
                    "checkpoint": table.checkpoint,
                    "benchmark": table.benchmark,
                    "problem_id": problem,
                    "source_id": view.source_ids.get(problem),
                    "metric": statistics.metric,
                    "numerator": statistics.numerators[i],
                    "denominator": statistics.denominators[i],
                    "n": statistics.n_samples[i],
                    "n_left_out": statistics.n_samples_left_out[i],
                }


def csv_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """These columns of the rows as CSV, with a header."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
