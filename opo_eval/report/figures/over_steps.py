"""Metrics over the steps of training runs: their values, and their differences from the reference."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from opo_eval.over_steps import StepCurve
from opo_eval.records import MetricRow, Unit
from opo_eval.report.figures.parts import (
    bounds,
    draw_curve,
    drawn_of,
    interval_lines,
    legend_below,
    metric_label,
    new_figure,
    round_ticks,
    short_names,
)
from opo_eval.report.figures.style import CURVES, NothingToDraw, evenly, figure_style
from opo_eval.report.values import DIFFERENCE_UNITS, VALUE_UNITS, scaled
from opo_eval.report.views import BenchmarkView, metric_rows

_PANEL_HEIGHT = 0.95
_PANELS_AT_MOST = 6.4
"""Inches of all panels: with the legend they fit on a page."""
_REFERENCE: dict[str, Any] = {"color": "0.45", "linestyle": (0, (2, 1)), "linewidth": 0.9}
_NAME_LIMIT = 40
_BARS_APART = 0.008
"""Of the range of steps."""
Drawn = Sequence[tuple[str, dict[str, Any]]]
"""Training runs and how each is drawn."""


@figure_style()
def over_steps(view: BenchmarkView) -> Figure:
    """Values over steps, a panel a metric, a curve a training run, each point's interval shaded.

    The reference is a line across with its interval shaded; where training began from it, also the point at
    step 0. Raises NothingToDraw where no training run has two steps.
    """
    if not view.curves:
        raise NothingToDraw("no training run has two steps that are compared")
    figure, drawn, lines = _panels(view, view.curves, _draw_values)
    shaded = [point.interval for curve in view.curves for point in curve.points]
    lines = [*interval_lines("shaded", shaded), *lines]
    references = {curve.reference.checkpoint for curve in view.curves if curve.reference}
    names = [f"reference: {name}" for name in short_names(references, _NAME_LIMIT)]
    return _finished(figure, drawn, lines, names)


@figure_style()
def over_steps_differences(view: BenchmarkView) -> Figure:
    """Differences from the reference over steps: each step's interval, and a band for all steps at once.

    Both are paired over problems. Raises NothingToDraw where nothing has a difference.
    """
    compared = [curve for curve in view.curves if any(point.delta is not None for point in curve.points)]
    if not compared:
        raise NothingToDraw("no training run has two steps, or there is no reference to compare them with")
    figure, drawn, lines = _panels(view, compared, _draw_differences)
    points = [point for curve in compared for point in curve.points]
    said = [
        *interval_lines("bars", (point.difference for point in points)),
        *interval_lines("bands", (point.band for point in points)),
    ]
    return _finished(figure, drawn, [*said, *lines], [])


def _panels(
    view: BenchmarkView,
    curves: Sequence[StepCurve],
    draw: Callable[[Axes, Sequence[StepCurve], Drawn, BenchmarkView], None],
) -> tuple[Figure, Drawn, list[str]]:
    """A panel a metric; the training runs that are drawn, and what is said of what is not."""
    runs = list(dict.fromkeys(curve.series for curve in curves))
    shown = evenly(runs, len(CURVES))
    drawn = list(zip(shown, CURVES, strict=False))
    metrics = list(dict.fromkeys(curve.metric for curve in curves))
    metrics, still = _that_move(curves, metrics)
    figure = new_figure(view, min(_PANEL_HEIGHT * len(metrics), _PANELS_AT_MOST) + 0.3)
    panels = figure.subplots(len(metrics), 1, squeeze=False, sharex=True)[:, 0]
    for axes, metric in zip(panels, metrics, strict=True):
        draw(axes, [curve for curve in curves if curve.metric == metric], drawn, view)
        axes.yaxis.set_major_locator(round_ticks(4))
        axes.margins(x=0.03)
    name_steps(panels[-1])
    said = [f"0 at every step, so not drawn: {', '.join(map(metric_label, still))}"] if still else []
    return figure, drawn, [*said, *drawn_of(len(shown), len(runs), "training runs")]


def name_steps(axes: Axes) -> None:
    """The axis of steps: whole numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlabel("training step")


def _that_move(curves: Sequence[StepCurve], metrics: Sequence[str]) -> tuple[list[str], list[str]]:
    """The metrics that are drawn, and those that are 0 at every step of every training run."""
    moving = {c.metric for c in curves if any(point.value for point in c.points)}
    still = [metric for metric in metrics if metric not in moving]
    return ([metric for metric in metrics if metric in moving], still) if moving else (list(metrics), [])


def _finished(figure: Figure, drawn: Drawn, lines: Sequence[str], references: Sequence[str]) -> Figure:
    names = short_names((run for run, _ in drawn), _NAME_LIMIT)
    handles = [Line2D([], [], linewidth=1, markersize=3, **style) for _, style in drawn]
    handles += [Line2D([], [], **_REFERENCE) for _ in references]
    legend_below(figure, [*names, *references], lines, handles=handles, handlelength=4)
    return figure


# --- values -----------------------------------------------------------------------------------------


def _draw_values(axes: Axes, curves: Sequence[StepCurve], drawn: Drawn, view: BenchmarkView) -> None:
    row = metric_rows(view)[curves[0].metric]
    axes.set_title(metric_title(row.metric, VALUE_UNITS[row.unit]), size=7)
    draw_values(axes, row.unit, curves, drawn)


def draw_values(axes: Axes, unit: Unit, curves: Sequence[StepCurve], drawn: Drawn) -> None:
    """The curves of one metric with their intervals, and the reference where there is one."""
    reference = next((curve.reference for curve in curves if curve.reference), None)
    if reference:
        _draw_reference(axes, reference)
    for curve, style in _with_style(curves, drawn):
        ends = [bounds(point.interval, unit) for point in curve.points]
        values = [scaled(point.value, unit) for point in curve.points]
        draw_curve(axes, [point.step for point in curve.points], values, ends, style)


def _draw_reference(axes: Axes, row: MetricRow) -> None:
    if ends := bounds(row.interval, row.unit):
        axes.axhspan(*ends, color="0.88", linewidth=0)
    axes.axhline(scaled(row.value, row.unit), **_REFERENCE)


# --- differences ------------------------------------------------------------------------------------


def _draw_differences(axes: Axes, curves: Sequence[StepCurve], drawn: Drawn, view: BenchmarkView) -> None:
    unit = metric_rows(view)[curves[0].metric].unit
    axes.set_title(metric_title(curves[0].metric, DIFFERENCE_UNITS[unit]), size=7)
    axes.axhline(0, **_REFERENCE)
    beside = _beside(curves, drawn)
    for curve, style in _with_style(curves, drawn):
        points = [point for point in curve.points if point.delta is not None]
        deltas = [scaled(point.delta, unit) for point in points if point.delta is not None]
        bands = [bounds(point.band, unit) for point in points]
        draw_curve(axes, [point.step for point in points], deltas, bands, style)
        for point in points:
            _draw_bar(axes, point.step + beside[curve.series], bounds(point.difference, unit), style["color"])


def _beside(curves: Sequence[StepCurve], drawn: Drawn) -> dict[str, float]:
    """How far from its step the bars of each training run stand, in steps: side by side."""
    steps = [point.step for curve in curves for point in curve.points]
    apart = _BARS_APART * (max(steps) - min(steps))
    return {run: apart * (i - (len(drawn) - 1) / 2) for i, (run, _) in enumerate(drawn)}


def _draw_bar(axes: Axes, step: float, ends: tuple[float, float] | None, colour: str) -> None:
    if ends:
        axes.plot((step, step), ends, color=colour, linewidth=0.8, marker="_", markersize=3)


# --- both -------------------------------------------------------------------------------------------


def metric_title(metric: str, unit: str) -> str:
    """The metric and the unit that is shown."""
    return f"length ({unit})" if metric == unit else f"{metric_label(metric)} ({unit})"


def _with_style(curves: Sequence[StepCurve], drawn: Drawn) -> Iterator[tuple[StepCurve, dict[str, Any]]]:
    styles = dict(drawn)
    return ((curve, styles[curve.series]) for curve in curves if curve.series in styles)
