"""Diversity against accuracy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opo_eval.records import MetricRow, MetricTable
from opo_eval.report.figures.parts import (
    interval_lines,
    legend_below,
    metric_axis_label,
    new_figure,
    round_ticks,
    short_names,
    shown_bounds,
)
from opo_eval.report.figures.style import POINTS, NothingToDraw, evenly, figure_style
from opo_eval.report.values import scaled
from opo_eval.report.views import SELF_BLEU, BenchmarkView, rows_of

PASS_AT_1 = "pass@1"


@figure_style()
def diversity_and_accuracy(view: BenchmarkView) -> Figure:
    """Self-BLEU against pass@1, one point a checkpoint, with both intervals; up is more diverse.

    Of many checkpoints eight are named, the others are small circles. Raises NothingToDraw where no
    checkpoint has both.
    """
    points = _points(view.tables)
    named = evenly(list(points), len(POINTS))
    names = short_names(named, 48)
    figure = new_figure(view, 2.1)
    axes = figure.add_subplot()
    _draw_others(axes, [pair for checkpoint, pair in points.items() if checkpoint not in named])
    for checkpoint, name, style in zip(named, names, POINTS, strict=False):
        _draw_cross(axes, *points[checkpoint], style | {"label": name})
    _finish_axes(axes, *points[named[0]])
    legend_below(figure, names, _said_of_points(points, named))
    return figure


def _points(tables: Sequence[MetricTable]) -> dict[str, tuple[MetricRow, MetricRow]]:
    """Checkpoint → pass@1 and Self-BLEU."""
    rows = {table.checkpoint: rows_of(table) for table in tables}
    both = {name: own for name, own in rows.items() if PASS_AT_1 in own and SELF_BLEU in own}
    if not both:
        raise NothingToDraw("no checkpoint has both pass@1 and Self-BLEU")
    return {name: (own[PASS_AT_1], own[SELF_BLEU]) for name, own in both.items()}


def _draw_others(axes: Axes, pairs: Sequence[tuple[MetricRow, MetricRow]]) -> None:
    xs, ys = ([scaled(pair[i].value, pair[i].unit) for pair in pairs] for i in (0, 1))
    axes.plot(xs, ys, linestyle="", marker="o", color="0.5", markerfacecolor="white", markersize=2.5)


def _draw_cross(axes: Axes, x: MetricRow, y: MetricRow, style: Mapping[str, Any]) -> None:
    place = scaled(x.value, x.unit), scaled(y.value, y.unit)
    for ends in ((shown_bounds(x), place[1:] * 2), (place[:1] * 2, shown_bounds(y))):
        axes.plot(*ends, color=style["color"], linewidth=0.8)
    axes.plot(*place, linestyle="", markersize=4.5, **style)


def _finish_axes(axes: Axes, x: MetricRow, y: MetricRow) -> None:
    axes.invert_yaxis()
    axes.margins(0.08)
    axes.xaxis.set_major_locator(round_ticks(6))
    axes.yaxis.set_major_locator(round_ticks(6))
    axes.set_xlabel(metric_axis_label(x))
    axes.set_ylabel(f"{metric_axis_label(y)}\nup: more diverse")


def _said_of_points(points: Mapping[str, tuple[MetricRow, ...]], named: Sequence[str]) -> Iterator[str]:
    yield from interval_lines("lines", (row.interval for pair in points.values() for row in pair))
    if len(named) < len(points):
        yield f"small circles: {len(points) - len(named)} more; all numbers are in the CSV files"
