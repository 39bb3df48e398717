"""Self-BLEU and Rep-n of every checkpoint."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opo_eval.records import MetricRow
from opo_eval.report.figures.parts import (
    draw_interval,
    drawn_of,
    drawn_tables,
    from_zero,
    interval_lines,
    metric_axis_label,
    name_rows,
    new_figure,
    say_undefined,
    write_below,
)
from opo_eval.report.figures.style import FILL, NothingToDraw, figure_style
from opo_eval.report.values import scaled
from opo_eval.report.views import BenchmarkView, is_diversity, rows_of, shown_metrics

_BARS_AT_MOST = 40


@figure_style()
def diversity(view: BenchmarkView) -> Figure:
    """Self-BLEU and Rep-n, one bar a checkpoint, with their intervals.

    Raises NothingToDraw where no table has either.
    """
    drawn, names = drawn_tables(view.tables, _BARS_AT_MOST)
    metrics = [name for name in shown_metrics(drawn) if is_diversity(name)]
    if not metrics:
        raise NothingToDraw("no diversity metric is defined: responses are too few or too short")
    figure = new_figure(view, 0.45 + 0.15 * len(drawn))
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    columns = [[rows_of(table).get(metric) for table in drawn] for metric in metrics]
    for axes, rows in zip(panels, columns, strict=True):
        _draw_bars(axes, rows)
    name_rows(panels[0], names)
    intervals = (row.interval for rows in columns for row in rows if row)
    lines = [*interval_lines("lines", intervals), *drawn_of(len(drawn), len(view.tables))]
    write_below(figure, ["lower = more diverse", *lines])
    return figure


def _draw_bars(axes: Axes, rows: Sequence[MetricRow | None]) -> None:
    """One metric; a checkpoint on which it is undefined has a word instead of a bar."""
    defined = {place: row for place, row in enumerate(rows) if row}
    values = [scaled(row.value, row.unit) for row in defined.values()]
    axes.barh(list(defined), values, height=0.7, color=FILL)
    for place, row in enumerate(rows):
        if row is None:
            say_undefined(axes, place)
        else:
            draw_interval(axes, row, place)
    from_zero(axes, list(defined.values()))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(metric_axis_label(next(iter(defined.values()))))
