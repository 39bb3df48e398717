"""Tables and comparisons by hand: every number in a report test is one that the test wrote down."""

from collections.abc import Mapping, Sequence
from typing import Any

from opo_eval.compare import ComparedRuns
from opo_eval.records import (
    Better,
    Comparison,
    Interval,
    MetricRow,
    MetricTable,
    ProblemStatistics,
    Unit,
)
from opo_eval.stats import PROBLEMS_LIKE_THESE

Bounds = tuple[float, float, float] | tuple[float]
"""(value, low, high), or (value,) without an interval."""

GRADED = {"samples": 32, "correct": 20, "wrong": 7, "no_answer": 3, "timed_out": 1, "grader_error": 1}


def interval(low: float, high: float) -> Interval:
    """A 95 % interval."""
    return Interval(low=low, high=high, level=0.95, kind=PROBLEMS_LIKE_THESE)


def kind_of(metric: str) -> dict[str, Any]:
    """Unit and direction of the metrics that tests use."""
    if metric in ("tokens", "characters"):
        return {"unit": Unit(metric), "better": Better.NEITHER}
    lower = metric.startswith(("self_bleu", "rep_", "no_answer"))
    unit = Unit.PERCENT if metric.startswith("self_bleu") else Unit.SHARE
    return {"unit": unit, "better": Better.LOWER if lower else Better.HIGHER}


def row(metric: str, bounds: Bounds, **fields: Any) -> MetricRow:
    """A row over all of 4 problems with 8 samples each."""
    defaults: dict[str, Any] = {
        "checkpoint": "early",
        "benchmark": "sums",
        "subset": "all",
        "interval": interval(*bounds[1:]) if len(bounds) == 3 else None,
        "n_problems": 4,
        "n_samples": 32,
        "n_problems_left_out": 0,
        "n_samples_left_out": 0,
        "signature": f"{metric}|n:8",
    }
    return MetricRow(metric=metric, value=bounds[0], **(kind_of(metric) | defaults | fields))


def table(
    checkpoint: str = "early",
    values: Mapping[str, Bounds] | None = None,
    *,
    benchmark: str = "sums",
    rows: Sequence[MetricRow] = (),
    **fields: Any,
) -> MetricTable:
    """A table of these values over all problems, and of further rows."""
    found = values if values is not None else {"pass@1": (0.5, 0.4, 0.6)}
    named = {"checkpoint": checkpoint, "benchmark": benchmark}
    defaults: dict[str, Any] = {
        "n": 8,
        "problem_ids": ("p0", "p1", "p2", "p3"),
        "rows": (*(row(metric, bounds, **named) for metric, bounds in found.items()), *rows),
        "statistics": tuple(statistics(metric, bounds[0]) for metric, bounds in found.items()),
        "counts": {"problems": 4, **GRADED},
    }
    return MetricTable(**(named | defaults | fields))


def statistics(metric: str, value: float, **fields: Any) -> ProblemStatistics:
    """The same value on each of 4 problems."""
    defaults: dict[str, Any] = {
        "numerators": (value,) * 4,
        "denominators": (1.0,) * 4,
        "n_samples": (8,) * 4,
        "n_samples_left_out": (0,) * 4,
    }
    return ProblemStatistics(metric=metric, **(defaults | fields))


def comparison(metric: str, bounds: Bounds, **fields: Any) -> Comparison:
    """`late` minus `early`; bounds are the delta and its interval."""
    defaults: dict[str, Any] = {
        "benchmark": "sums",
        "a": "early",
        "b": "late",
        "value_a": 0.5,
        "value_b": 0.5 + bounds[0],
        "interval": interval(*bounds[1:]) if len(bounds) == 3 else None,
        "n_problems": 4,
        "signature": f"{metric}|n:8",
    }
    return Comparison(metric=metric, delta=bounds[0], **(kind_of(metric) | defaults | fields))


def compared(
    tables: Sequence[MetricTable], comparisons: Sequence[Comparison] = (), **fields: Any
) -> ComparedRuns:
    """What a report is drawn from, without run directories unless they are given."""
    defaults: dict[str, Any] = {"runs": (), "notes": ()}
    return ComparedRuns(tables=tuple(tables), comparisons=tuple(comparisons), **(defaults | fields))


def curve(checkpoint: str, values: Sequence[float], **fields: Any) -> MetricTable:
    """pass@1, pass@2, ... with an interval of 5 points to either side."""
    rows = {f"pass@{k}": (v, max(v - 0.05, 0), min(v + 0.05, 1)) for k, v in enumerate(values, start=1)}
    return table(checkpoint, rows, **({"n": len(values)} | fields))
