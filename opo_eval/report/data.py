"""The numbers of a report for programs: JSON and CSV, without times and machines."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson

from opo_eval.records import Comparison, MetricRow
from opo_eval.report.values import reading
from opo_eval.report.views import BenchmarkView

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

SCHEMA = "opo_eval.report/1"
_INTERVAL = ("low", "high", "level", "kind")
_METRICS = (
    "checkpoint", "benchmark", "subset", "metric", "value", *_INTERVAL, "unit", "better", "n", "n_problems",
    "n_samples", "n_problems_left_out", "n_samples_left_out", "signature",
)  # fmt: skip
_DIFFERENCES = (
    "benchmark", "metric", "a", "b", "value_a", "value_b", "delta", *_INTERVAL, "unit", "better", "reading",
    "n_problems", "signature",
)  # fmt: skip
_PER_PROBLEM = (
    "checkpoint", "benchmark", "problem_id", "source_id", "metric", "numerator", "denominator", "n",
    "n_left_out",
)  # fmt: skip


def metrics_json(compared: "ComparedRuns") -> bytes:
    """All tables with their per-problem statistics, all comparisons, the notes."""
    return dump(
        {
            "schema": SCHEMA,
            "notes": compared.notes,
            "tables": compared.tables,
            "comparisons": compared.comparisons,
        }
    )


def metrics_csv(views: Iterable[BenchmarkView]) -> bytes:
    """Every row of every table; shares are from 0 to 1."""
    rows = (_flat(row) | {"n": table.n} for view in views for table in view.tables for row in table.rows)
    return _csv(_METRICS, rows)


def differences_csv(views: Iterable[BenchmarkView]) -> bytes:
    """Every difference, `b` minus `a`; shares are from 0 to 1."""
    rows = (_flat(row) | {"reading": reading(row)} for view in views for row in view.comparisons)
    return _csv(_DIFFERENCES, rows)


def per_problem_csv(views: Iterable[BenchmarkView]) -> bytes:
    """The pair behind every metric on every problem; a denominator of 0 says that it is undefined there."""
    return _csv(_PER_PROBLEM, (row for view in views for row in _per_problem(view)))


def dump(document: Mapping[str, Any]) -> bytes:
    """Indented JSON with a newline at its end."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _flat(row: MetricRow | Comparison) -> dict[str, Any]:
    cells = asdict(row)
    interval = cells.pop("interval") or dict.fromkeys(_INTERVAL)
    return cells | interval


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


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
