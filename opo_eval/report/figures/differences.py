"""What differs from the baseline, by how much, and what of it is told apart."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opo_eval.family import ALPHA, is_told_apart
from opo_eval.records import Better, Comparison, Unit
from opo_eval.report.figures.parts import (
    beside,
    bounds,
    drawn_of,
    interval_lines,
    legend_below,
    metric_label,
    name_rows,
    new_figure,
    point_handles,
    short_names,
    stacked_panels,
    write_below,
)
from opo_eval.report.figures.style import POINTS, NothingToDraw, evenly, figure_style
from opo_eval.report.values import DIFFERENCE_UNITS, p_text, scaled
from opo_eval.report.views import BenchmarkView, headline_metrics

_ROWS_AT_MOST = 40
_GAP = 0.6
"""Between the rows of one metric and those of the next, in rows."""
_TOWARDS_BETTER = {Better.HIGHER: " →", Better.LOWER: " ←", Better.NEITHER: ""}


@dataclass(frozen=True, slots=True)
class Mark:
    """A difference and where it is drawn."""

    row: Comparison
    place: float
    style: dict[str, Any]


@figure_style()
def differences(view: BenchmarkView) -> Figure:
    """Differences of checkpoints from the baseline with their intervals, a panel a unit.

    Drawn are the metrics of the family, whose p-values are adjusted; without one, the headline metrics.
    Raises NothingToDraw where nothing is compared.
    """
    if len(view.tables) == 1:
        raise NothingToDraw("there is one checkpoint, and nothing to compare it with")
    return _forest(view, _shown(view, view.comparisons), "checkpoints")


@figure_style()
def arm_differences(view: BenchmarkView) -> Figure:
    """The same of arms, whose intervals are over training seeds and problems."""
    if not view.arm_comparisons:
        raise NothingToDraw("no methods are compared: that takes two, each trained with several seeds")
    return _forest(view, _shown(view, view.arm_comparisons), "arms")


def _shown(view: BenchmarkView, comparisons: Sequence[Comparison]) -> list[Comparison]:
    family = [row for row in comparisons if row.p_adjusted is not None]
    headline = headline_metrics(view.tables)
    rows = family or [row for row in comparisons if row.metric in headline]
    if not rows:
        raise NothingToDraw("what is compared has no headline metric in common")
    return rows


def _forest(view: BenchmarkView, rows: Sequence[Comparison], noun: str) -> Figure:
    others = list(dict.fromkeys(row.b for row in rows))
    drawn = evenly(others, _at_most(rows, others))
    panels = panels_of([row for row in rows if row.b in drawn], drawn)
    heights = [marks[-1].place + 1 for marks in panels.values()]
    figure = new_figure(view, 0.14 * sum(heights) + 0.5 * len(panels), _title(rows, drawn))
    for axes, (unit, marks) in zip(stacked_panels(figure, heights), panels.items(), strict=True):
        draw_panel(axes, unit, marks)
    _explain(figure, short_names(drawn), [*_caption(rows), *drawn_of(len(drawn), len(others), noun)])
    return figure


def _at_most(rows: Sequence[Comparison], others: Sequence[str]) -> int:
    """How many checkpoints there is room for."""
    n_metrics = ceil(len(rows) / len(others))
    return min(max(_ROWS_AT_MOST // n_metrics, 2), len(POINTS))


def _title(rows: Sequence[Comparison], drawn: Sequence[str]) -> str:
    names = short_names([rows[0].a, *drawn], 20)
    return f"{names[1]} − {names[0]}" if len(drawn) == 1 else f"difference from {names[0]}"


def panels_of(rows: Sequence[Comparison], drawn: Sequence[str]) -> dict[Unit, list[Mark]]:
    """What is drawn, by unit; the rows of a metric stand together, in the order of the checkpoints.

    drawn: the checkpoints or arms that `rows` compare, eight at most.
    """
    styles = dict(zip(drawn, POINTS, strict=False))
    gap = _GAP if len(drawn) > 1 else 0.0
    panels: dict[Unit, list[Mark]] = {}
    for metric in dict.fromkeys(row.metric for row in rows):
        for i, row in enumerate(row for row in rows if row.metric == metric):
            marks = panels.setdefault(row.unit, [])
            above = marks[-1].place + 1 + (0 if i else gap) if marks else 0.0
            marks.append(Mark(row, above, styles[row.b]))
    return panels


# --- drawing ----------------------------------------------------------------------------------------


def draw_panel(axes: Axes, unit: Unit, marks: Sequence[Mark]) -> None:
    """Differences in one unit with their intervals, and the p-value of each beside it."""
    axes.axvline(0, color="black", linewidth=0.6)
    for mark in marks:
        _draw_mark(axes, mark)
    _name_metrics(axes, marks)
    axes.set_ylim(marks[-1].place + 0.6, -0.6)
    axes.margins(x=0.08)
    axes.set_xlabel(f"difference ({DIFFERENCE_UNITS[unit]})")
    if any(mark.row.p_value is not None for mark in marks):
        beside(axes, "p", {mark.place: p_text(_p(mark.row)) for mark in marks})


def _draw_mark(axes: Axes, mark: Mark) -> None:
    row, colour = mark.row, mark.style["color"]
    ends = (mark.place, mark.place)
    if these := bounds(row.interval_these, row.unit):
        axes.plot(these, ends, color=colour, alpha=0.3, linewidth=4, solid_capstyle="butt")
    if like_these := bounds(row.interval, row.unit):
        axes.plot(like_these, ends, color=colour, linewidth=0.8, marker="|", markersize=4)
    face = colour if is_told_apart(row) else "white"
    point = scaled(row.delta, row.unit)
    axes.plot([point], [mark.place], linestyle="", markersize=3.5, markerfacecolor=face, **mark.style)


def _name_metrics(axes: Axes, marks: Sequence[Mark]) -> None:
    places: dict[str, list[float]] = {}
    for mark in marks:
        label = metric_label(mark.row.metric) + _TOWARDS_BETTER[mark.row.better]
        places.setdefault(label, []).append(mark.place)
    name_rows(axes, list(places), [sum(own) / len(own) for own in places.values()])


def _p(row: Comparison) -> float | None:
    return row.p_value if row.p_adjusted is None else row.p_adjusted


def _caption(rows: Sequence[Comparison]) -> Iterator[str]:
    yield from interval_lines("lines", (row.interval for row in rows))
    if any(row.interval_these for row in rows):
        yield from interval_lines("bars", (row.interval_these for row in rows))
    if any(row.p_value is not None for row in rows):
        adjusted = "adjusted for the family" if rows[0].p_adjusted is not None else "of each test alone"
        yield f"filled: told apart from 0 at {100 * ALPHA:g} %; p: {adjusted}"
    if any(row.better is not Better.NEITHER for row in rows):
        yield "arrows point to better"


def _explain(figure: Figure, names: Sequence[str], lines: Sequence[str]) -> None:
    if len(names) == 1:
        return write_below(figure, lines)
    legend_below(figure, names, lines, handles=point_handles(len(names)))
