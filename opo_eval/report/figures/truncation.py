"""How many samples were cut at the token limit, and what came of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opo_eval.records import MetricRow, MetricTable, Unit
from opo_eval.report.figures.parts import (
    beside,
    draw_interval,
    drawn_of,
    drawn_tables,
    from_zero,
    interval_lines,
    legend_below,
    name_rows,
    new_figure,
    say_undefined,
)
from opo_eval.report.figures.style import DARK_FILL, PALE_FILL, WARM_FILL, NothingToDraw, figure_style
from opo_eval.report.values import number
from opo_eval.report.views import TRUNCATED, BenchmarkView, rows_of
from opo_eval.truncation import CORRECT, NOT_CORRECT, NOT_GRADED, cut_by_outcome

_BARS_AT_MOST = 40
_EDGE: dict[str, Any] = {"height": 0.7, "edgecolor": "black", "linewidth": 0.4}
_KINDS: dict[str, dict[str, Any]] = {
    NOT_CORRECT: {"facecolor": WARM_FILL, "hatch": "/////", **_EDGE},
    CORRECT: {"facecolor": DARK_FILL, **_EDGE},
    NOT_GRADED: {"facecolor": PALE_FILL, **_EDGE},
}
"""What can have come of a sample, in the order in which it is stacked."""


@figure_style()
def truncation(view: BenchmarkView) -> Figure:
    """Share of samples cut at the token limit with its interval, split by what came of them.

    Raises NothingToDraw where it is known of no sample how it ended.
    """
    drawn, names = drawn_tables(view.tables, _BARS_AT_MOST)
    rows = [row for table in drawn if (row := rows_of(table).get(TRUNCATED))]
    if not rows:
        raise NothingToDraw("it is not known of any sample whether it was cut at the token limit")
    figure = new_figure(view, 0.5 + 0.17 * len(drawn))
    axes = figure.add_subplot()
    _draw_bars(axes, drawn)
    name_rows(axes, names)
    if any(table.counts.get("finish_unknown") for table in drawn):
        beside(axes, "end unknown", {place: _unknown(table) for place, table in enumerate(drawn)})
    from_zero(axes, rows)
    axes.set_xlabel("cut at the token limit (% of samples)", loc="right")
    lines = [
        "of the samples whose end is known",
        *interval_lines("lines", (row.interval for row in rows)),
        *drawn_of(len(drawn), len(view.tables)),
    ]
    legend_below(figure, axes.get_legend_handles_labels()[1], lines, ncols=3)
    return figure


def _unknown(table: MetricTable) -> str:
    share = table.counts.get("finish_unknown", 0) / table.counts["samples"]
    return f"{number(share, Unit.SHARE, 1)} %"


def _draw_bars(axes: Axes, tables: Sequence[MetricTable]) -> None:
    rows: dict[int, MetricRow] = {}
    for place, table in enumerate(tables):
        if row := rows_of(table).get(TRUNCATED):
            rows[place] = row
        else:
            say_undefined(axes, place)
    _stack(axes, {place: cut_by_outcome(tables[place]) for place in rows})
    for place, row in rows.items():
        draw_interval(axes, row, place)


def _stack(axes: Axes, shares: Mapping[int, Mapping[str, float]]) -> None:
    """shares: of each row, by what came of the samples."""
    left = dict.fromkeys(shares, 0.0)
    for kind, look in _KINDS.items():
        if not any(kind in own for own in shares.values()):
            continue
        widths = {place: 100 * own.get(kind, 0.0) for place, own in shares.items()}
        axes.barh(list(left), list(widths.values()), left=list(left.values()), label=kind, **look)
        left = {place: left[place] + widths[place] for place in left}
