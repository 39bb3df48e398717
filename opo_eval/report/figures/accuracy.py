"""Diversity against accuracy."""

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opo_eval.records import MetricRow, MetricTable
from opo_eval.report.figures.parts import (
    draw_cross,
    draw_unnamed,
    interval_lines,
    keep_possible,
    legend_below,
    metric_axis_label,
    new_figure,
    short_names,
    unnamed,
)
from opo_eval.report.figures.style import POINTS, NothingToDraw, evenly, figure_style
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
    draw_unnamed(axes, [pair for checkpoint, pair in points.items() if checkpoint not in named])
    for checkpoint, name, style in zip(named, names, POINTS, strict=False):
        draw_cross(axes, *points[checkpoint], style | {"label": name})
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


def _finish_axes(axes: Axes, x: MetricRow, y: MetricRow) -> None:
    axes.margins(0.08)
    keep_possible(axes, "x", x.unit)
    keep_possible(axes, "y", y.unit)
    axes.set_xlabel(metric_axis_label(x))
    axes.set_ylabel(f"{metric_axis_label(y)}\nup: more diverse")
    axes.invert_yaxis()


def _said_of_points(points: Mapping[str, tuple[MetricRow, ...]], named: Sequence[str]) -> Iterator[str]:
    yield from interval_lines("lines", (row.interval for pair in points.values() for row in pair))
    yield from unnamed(len(points) - len(named))
