"""How many samples were cut at the token limit, and what came of them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opo_eval.records import Finish, MetricRow, MetricTable, Unit, Verdict
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
from opo_eval.report.views import BenchmarkView, rows_of

TRUNCATED = "truncated"
_BARS_AT_MOST = 40
_EDGE: dict[str, Any] = {"height": 0.7, "edgecolor": "black", "linewidth": 0.4}
_KINDS: dict[str, dict[str, Any]] = {
    "not correct": {"facecolor": WARM_FILL, "hatch": "/////", **_EDGE},
    "correct": {"facecolor": DARK_FILL, **_EDGE},
    "not graded": {"facecolor": PALE_FILL, **_EDGE},
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


def cut_by_outcome(table: MetricTable) -> dict[str, float]:
    """Shares of samples that were cut, by what came of them; they add up to the metric `truncated`.

    As the metric does, it looks at the n compared samples of each problem whose end is known, and every
    problem weighs the same.
    """
    known: Counter[int] = Counter()
    cut: Counter[tuple[str, int]] = Counter()
    for problem, verdict, finish in _compared(table):
        known[problem] += finish is not None
        cut[_kind(verdict), problem] += finish is Finish.LENGTH
    asked = [problem for problem in known if known[problem]]
    kinds = dict.fromkeys(kind for kind, _ in cut)
    return {kind: sum(cut[kind, p] / known[p] for p in asked) / len(asked) for kind in kinds}


def _compared(table: MetricTable) -> Iterator[tuple[int, Verdict | None, Finish | None]]:
    outcomes, seen = table.outcomes, Counter[int]()
    for problem, verdict, finish in zip(outcomes.problem, outcomes.verdict, outcomes.finish, strict=True):
        seen[problem] += 1
        if seen[problem] <= table.n:
            yield problem, verdict, finish


def _kind(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not graded"
    return "correct" if verdict is Verdict.CORRECT else "not correct"


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
