"""pass@1 by level, subject and the like."""

from collections.abc import Iterator, Sequence
from itertools import accumulate

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opo_eval.records import MetricTable
from opo_eval.report.figures.parts import (
    beside,
    draw_interval,
    drawn_of,
    graded_tables,
    interval_lines,
    legend_below,
    metric_axis_label,
    name_rows,
    new_figure,
    point_handles,
    short_names,
    stacked_panels,
)
from opo_eval.report.figures.style import POINTS, NothingToDraw, drawable, evenly, figure_style
from opo_eval.report.tables import FEWEST_PROBLEMS
from opo_eval.report.values import scaled
from opo_eval.report.views import ALL, BenchmarkView, rows_of

_METRIC = "pass@1"
_VALUES_AT_MOST = 40
_DOTS_AT_MOST = 60
_DOT = 0.09
"""Height of a checkpoint in a row, in inches."""

Tags = dict[str, list[str]]
"""Tag → its subsets: level → level=3, level=4."""


@figure_style()
def subsets(view: BenchmarkView) -> Figure:
    """pass@1 of each value of each tag with its interval: a panel a tag, a row a value.

    Raises NothingToDraw where nothing is graded, or no tag tells problems apart.
    """
    tables = graded_tables(view, _METRIC)
    tags = _tags(tables)
    shown = _that_fit(tags)
    n_values = [len(own) for own in shown.values()]
    drawn = evenly(tables, min(max(_DOTS_AT_MOST // sum(n_values), 2), len(POINTS)))
    names = short_names((table.checkpoint for table in drawn), 48)
    rows_height = (0.05 + _DOT * len(drawn)) * sum(n_values)
    figure = new_figure(view, 0.3 + 0.3 * len(shown) + rows_height)
    panels = stacked_panels(figure, n_values, sharex=True)
    for axes, (tag, own) in zip(panels, shown.items(), strict=True):
        _draw_tag(axes, tag, own, drawn)
    panels[-1].set_xlabel(metric_axis_label(rows_of(tables[0])[_METRIC]))
    legend_below(figure, names, _caption(tables, drawn, tags, shown), handles=point_handles(len(names)))
    return figure


def _caption(
    tables: Sequence[MetricTable], drawn: Sequence[MetricTable], tags: Tags, shown: Tags
) -> Iterator[str]:
    subsets = {subset for own in shown.values() for subset in own}
    yield f"groups of {FEWEST_PROBLEMS} problems or more"
    rows = (row for table in drawn for row in table.rows if row.subset in subsets and row.metric == _METRIC)
    yield from interval_lines("lines", (row.interval for row in rows))
    yield from drawn_of(len(drawn), len(tables))
    yield from drawn_of(len(shown), len(tags), "tags")


def _tags(tables: Sequence[MetricTable]) -> Tags:
    """Every tag with its subsets that are large enough to say something."""
    found: dict[str, dict[str, None]] = {}
    for row in (row for table in tables for row in table.rows):
        if row.subset != ALL and row.metric == _METRIC and row.n_problems >= FEWEST_PROBLEMS:
            found.setdefault(row.subset.partition("=")[0], {})[row.subset] = None
    if not found:
        raise NothingToDraw(
            f"no tag, such as level or subject, tells groups of {FEWEST_PROBLEMS} problems or more apart"
        )
    return {tag: list(own) for tag, own in found.items()}


def _that_fit(tags: Tags) -> Tags:
    """The first tag, and further ones while there is room."""
    heights = accumulate(len(own) for own in tags.values())
    fitting = sum(height <= _VALUES_AT_MOST for height in heights)
    return dict(list(tags.items())[: max(fitting, 1)])


def _draw_tag(axes: Axes, tag: str, own: Sequence[str], tables: Sequence[MetricTable]) -> None:
    for table, style, aside in zip(tables, POINTS, _asides(len(tables)), strict=False):
        rows = {i: row for i, subset in enumerate(own) if (row := rows_of(table, subset).get(_METRIC))}
        places = [i + aside for i in rows]
        values = [scaled(row.value, row.unit) for row in rows.values()]
        for place, row in zip(places, rows.values(), strict=True):
            draw_interval(axes, row, place, color=style["color"], markersize=3)
        axes.plot(values, places, linestyle="", markersize=3.5, **style)
    name_rows(axes, short_names(subset.partition("=")[2] for subset in own))
    axes.set_title(drawable(tag, 40), size=7, pad=3)
    beside(axes, "problems", {i: str(_n_problems(tables, subset)) for i, subset in enumerate(own)})


def _asides(n: int) -> list[float]:
    """How far above or below the middle of a row each checkpoint stands, in rows."""
    return [0.8 * ((i + 0.5) / n - 0.5) for i in range(n)]


def _n_problems(tables: Sequence[MetricTable], subset: str) -> int:
    found = [row for table in tables if (row := rows_of(table, subset).get(_METRIC))]
    return max((row.n_problems for row in found), default=0)
