"""The section on training runs over their steps: sentences and tables."""

from collections.abc import Callable, Iterator, Sequence

from opo_eval.over_steps import LastMean, StepCurve, StepPoint
from opo_eval.records import Comparison, MetricRow
from opo_eval.report.grid import NONE, Grid, without_empty_columns
from opo_eval.report.values import (
    DIFFERENCE_UNITS,
    VALUE_UNITS,
    difference_bounds,
    difference_digits,
    difference_with_interval,
    interval_label,
    number,
    p_text,
    reading,
    with_interval,
)
from opo_eval.report.views import BenchmarkView, metric_rows
from opo_eval.wording import counted

FIGURES = ("over_steps", "over_steps_differences")
_ROWS_AT_MOST = 200
LAST_CAVEAT = (
    "The mean of the last checkpoints averages over steps of one training run: it says nothing of what "
    "another seed would give, and since its checkpoints answer the same problems and follow one another in "
    "training, they are no independent measurements, and its interval, which is over problems, is not "
    "narrower by their number."
)


def step_sentences(view: BenchmarkView) -> Iterator[str]:
    """What the curves are beside, and how their bands are read."""
    for name in dict.fromkeys(c.reference.checkpoint for c in view.curves if c.reference):
        began = _began_there(view, name)
        where = f"; training began from it, so it is step 0 of {', '.join(began)}" if began else ""
        yield (
            f"The reference is {view.checkpoints[name]}{where}. Differences are paired over "
            f"{_problems(view)}, on which the reference and all checkpoints of a curve define the metric."
        )
    if label := interval_label(point.band for point in _points(view)):
        yield (
            f"{label}: a band that holds a whole curve of differences, so that its highest or lowest point "
            "may be picked out; an interval of a single step may not. "
            "Neither is adjusted for the number of metrics and training runs."
        )


def step_grids(view: BenchmarkView) -> Iterator[tuple[str, Grid]]:
    """Metric with its unit → a row a step of each training run; of very many only the first metric."""
    by_metric = {name: [c for c in view.curves if c.metric == name] for name in _metrics(view)}
    n_rows = len(_points(view))
    shown = list(by_metric)[: 1 if n_rows > _ROWS_AT_MOST else None]
    for metric in shown:
        row = metric_rows(view)[metric]
        yield f"{metric}, {VALUE_UNITS[row.unit]}", _steps(view, by_metric[metric], row)


def left_to_files(view: BenchmarkView) -> str | None:
    """Which tables over steps are only in the file for programs; None where all are shown."""
    if len(_points(view)) <= _ROWS_AT_MOST:
        return None
    return f"Of the other metrics ({', '.join(_metrics(view)[1:])}) the numbers are in over_steps.csv."


def last_grid(view: BenchmarkView) -> Grid:
    """A row a training run and metric: the mean of its last checkpoints, and its difference."""
    rows = metric_rows(view)
    cells = (
        (view.runs[mean.series], mean.metric, VALUE_UNITS[rows[mean.metric].unit], *_last(mean, rows))
        for mean in view.last_means
    )
    columns = ("training run", "metric", "unit", "steps", "mean", *_LAST_CELLS)
    return without_empty_columns(Grid(columns, tuple(cells)))


_LAST_CELLS: dict[str, Callable[[Comparison], str]] = {
    "less the reference": difference_with_interval,
    "p": lambda row: p_text(row.p_value),
    "reading": reading,
}
"""Column → its cell."""


def _last(mean: LastMean, rows: dict[str, MetricRow]) -> Iterator[str]:
    yield ", ".join(map(str, mean.steps))
    yield with_interval(mean.value, mean.interval, rows[mean.metric].unit)
    for cell in _LAST_CELLS.values():
        yield NONE if mean.difference is None else cell(mean.difference)


def _began_there(view: BenchmarkView, reference: str) -> list[str]:
    began = (c.series for c in view.curves if c.points[0].checkpoint == reference and c.points[0].step == 0)
    return [view.runs[series] for series in dict.fromkeys(began)]


def _problems(view: BenchmarkView) -> str:
    sizes = {c.n_problems for c in view.curves if any(point.delta is not None for point in c.points)}
    if len(sizes) > 1:
        return f"{min(sizes)} to {max(sizes)} problems"
    return counted(max(sizes, default=0), "problem")


def _metrics(view: BenchmarkView) -> list[str]:
    return list(dict.fromkeys(curve.metric for curve in view.curves))


def _points(view: BenchmarkView) -> list[StepPoint]:
    return [point for curve in view.curves for point in curve.points]


def _steps(view: BenchmarkView, curves: Sequence[StepCurve], row: MetricRow) -> Grid:
    label = interval_label(point.band for curve in curves for point in curve.points) or NONE
    cells = (
        (view.runs[curve.series], str(point.step), *_step(point, row))
        for curve in curves
        for point in curve.points
    )
    less = f"less the reference ({DIFFERENCE_UNITS[row.unit]})"
    return without_empty_columns(Grid(("training run", "step", "value", less, label), tuple(cells)))


def _step(point: StepPoint, row: MetricRow) -> Iterator[str]:
    yield with_interval(point.value, point.interval, row.unit)
    if point.delta is None:
        yield from (NONE, NONE)
        return
    places = difference_digits(point.difference, row.unit, point.delta)
    shown = number(point.delta, row.unit, places, signed=True)
    yield f"{shown} {difference_bounds(point.difference, row.unit)}" if point.difference else shown
    yield difference_bounds(point.band, row.unit)
