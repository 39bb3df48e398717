"""Entropy and KL along the response."""

from collections.abc import Iterable, Iterator, Sequence
from math import nan

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opo_eval.records import MetricRow, MetricTable, Unit
from opo_eval.report.figures.parts import (
    bounds,
    draw_curve,
    drawn_of,
    interval_lines,
    keep_possible,
    legend_below,
    metric_axis_label,
    new_figure,
    scored_lines,
    short_names,
)
from opo_eval.report.figures.style import CURVES, NothingToDraw, evenly, figure_style
from opo_eval.report.token_metrics import ENTROPY, KL, TokenMetric, shared_temperature
from opo_eval.report.values import scaled
from opo_eval.report.views import BenchmarkView, metric_rows, rows_of

N_TENTHS = 10
_PANEL_HEIGHT = 1.35
_MIDDLES = [100 * (tenth + 0.5) / N_TENTHS for tenth in range(N_TENTHS)]
"""Of the tenths, in percent of the response."""

Tenths = list[MetricRow | None]
"""A number over each tenth of the response; None where no response has a token there."""


@figure_style()
def entropy_along_response(view: BenchmarkView) -> Figure:
    """Entropy, and in a second panel KL to the reference, by tenth of the response: a line a checkpoint.

    Raises NothingToDraw where no checkpoint is scored.
    """
    wholes = [of for quantity in (ENTROPY, KL) if (of := _whole(view.tables, quantity))]
    if not wholes:
        raise NothingToDraw("no checkpoint is scored")
    scored = [table for table in view.tables if any(any(_tenths(table, of)) for of in wholes)]
    drawn = evenly(scored, len(CURVES))
    names = short_names((table.checkpoint for table in drawn), 48)
    figure = new_figure(view, _PANEL_HEIGHT * len(wholes) + 0.3)
    panels = figure.subplots(len(wholes), 1, squeeze=False, sharex=True)[:, 0]
    for axes, of in zip(panels, wholes, strict=True):
        row = metric_rows(view)[of.name]
        _draw_panel(axes, [_tenths(table, of) for table in drawn], row.unit)
        axes.set_title(metric_axis_label(row), size=7)
    panels[-1].set_xlabel("place in the response (% of its tokens)")
    handles = [Line2D([], [], linewidth=1, markersize=3, **style) for style in CURVES[: len(drawn)]]
    lines = [
        *_caption(row for of in wholes for table in drawn for row in _tenths(table, of)),
        *drawn_of(len(drawn), len(scored)),
        *scored_lines(view, [table.checkpoint for table in scored]),
    ]
    legend_below(figure, names, lines, handles=handles, handlelength=4)
    return figure


def _whole(tables: Sequence[MetricTable], quantity: str) -> TokenMetric | None:
    """The quantity at the temperature that is drawn; None where no table has it."""
    temperature = shared_temperature(tables, quantity)
    return None if temperature is None else TokenMetric(quantity, temperature=temperature)


def _tenths(table: MetricTable, of: TokenMetric) -> Tenths:
    rows = rows_of(table)
    return [rows.get(of._replace(part=f"tenth_{tenth + 1}").name) for tenth in range(N_TENTHS)]


def _caption(rows: Iterable[MetricRow | None]) -> Iterator[str]:
    yield "means over the tokens of each tenth of the responses"
    yield from interval_lines("shaded", (row.interval for row in rows if row))


def _draw_panel(axes: Axes, lines: Sequence[Tenths], unit: Unit) -> None:
    for line, style in zip(lines, CURVES, strict=False):
        values = [scaled(row.value, row.unit) if row else nan for row in line]
        ends = [bounds(row.interval, row.unit) if row else None for row in line]
        draw_curve(axes, _MIDDLES, values, ends, style)
    axes.set_xlim(0, 100)
    keep_possible(axes, "y", unit, 4)
