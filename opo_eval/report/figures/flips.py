"""How many problems flip between the baseline and each other checkpoint, beside what chance would flip."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from opo_eval.flips import Counts, Flips, flips
from opo_eval.records import MetricTable
from opo_eval.report.figures.parts import (
    beside,
    drawn_of,
    graded_tables,
    legend_below,
    name_rows,
    new_figure,
    short_names,
)
from opo_eval.report.figures.style import DARK_FILL, WARM_FILL, NothingToDraw, evenly, figure_style
from opo_eval.report.views import BenchmarkView
from opo_eval.wording import counted

_PASS_AT_1 = "pass@1"
_ROWS_AT_MOST = 20
_LEVEL = 0.95
_EDGE: dict[str, Any] = {"height": 0.6, "edgecolor": "black", "linewidth": 0.4}
_LOST: dict[str, Any] = {"facecolor": WARM_FILL, "hatch": "/////", **_EDGE}
_GAINED: dict[str, Any] = {"facecolor": DARK_FILL, **_EDGE}


@figure_style()
def flipped(view: BenchmarkView) -> Figure:
    """Problems that are solved by more than half of a checkpoint's samples and not of the baseline's, and the
    reverse, with the range that both numbers would have if the samples were dealt out to the two by chance.

    Raises NothingToDraw where there are no two graded checkpoints, or none shares problems with the baseline.
    """
    rows = _rows(view)
    drawn = evenly(list(rows), _ROWS_AT_MOST)
    baseline = short_names([_baseline(view)], 20)[0]
    figure = new_figure(view, 0.5 + 0.2 * len(drawn), f"solved by more than half, against {baseline}")
    axes = figure.add_subplot()
    _draw(axes, [rows[name] for name in drawn])
    name_rows(axes, short_names(drawn))
    beside(axes, "both / neither", {i: _steady(rows[name]) for i, name in enumerate(drawn)})
    lines = [*_caption(list(rows.values())), *drawn_of(len(drawn), len(rows))]
    legend_below(figure, ["lost", "gained"], lines, ncols=2)
    return figure


# --- what is drawn ----------------------------------------------------------------------------------


def _baseline(view: BenchmarkView) -> str:
    return view.comparisons[0].a if view.comparisons else view.tables[0].checkpoint


def _rows(view: BenchmarkView) -> dict[str, Flips]:
    """By checkpoint, in the order of the tables."""
    if len(view.tables) == 1:
        raise NothingToDraw("there is one checkpoint, and nothing to compare it with")
    tables = {table.checkpoint: _samples(table) for table in graded_tables(view, _PASS_AT_1)}
    first = tables.pop(_baseline(view), {})
    rows = {name: _flips(first, own) for name, own in tables.items() if first.keys() & own.keys()}
    if not rows:
        raise NothingToDraw("no graded checkpoint shares problems with the baseline")
    return rows


def _samples(table: MetricTable) -> dict[str, tuple[int, int]]:
    """Correct samples and all samples by problem."""
    own = next(one for one in table.statistics if one.metric == _PASS_AT_1)
    columns = zip(table.problem_ids, own.numerators, own.denominators, own.n_samples, strict=True)
    return {problem: (round(num / den * n), n) for problem, num, den, n in columns if den and n}


def _flips(a: Mapping[str, tuple[int, int]], b: Mapping[str, tuple[int, int]]) -> Flips:
    shared = [problem for problem in a if problem in b]
    columns: list[Counts] = [np.array([own[p][i] for p in shared]) for own in (a, b) for i in (0, 1)]
    return flips(*columns, level=_LEVEL)


def _steady(row: Flips) -> str:
    return f"{row.both} / {row.neither}"


def _caption(rows: Sequence[Flips]) -> Iterator[str]:
    sizes = sorted({row.both + row.neither + row.gained + row.lost for row in rows})
    n_problems = counted(sizes[-1], "problem") if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} problems"
    yield f"{n_problems} that both have samples of"
    yield (
        f"lines: {100 * _LEVEL:g} % of what chance alone would flip, were each problem's samples dealt out "
        "to the two anew"
    )


# --- drawing ----------------------------------------------------------------------------------------


def _draw(axes: Axes, rows: Sequence[Flips]) -> None:
    """Lost problems to the left of 0 and gained ones to the right, each with its range by chance."""
    places = range(len(rows))
    axes.barh(places, [-row.lost for row in rows], label="lost", **_LOST)
    axes.barh(places, [row.gained for row in rows], label="gained", **_GAINED)
    look: dict[str, Any] = {"color": "black", "linewidth": 0.8, "marker": "|", "markersize": 4}
    for place, row in zip(places, rows, strict=True):
        axes.plot(row.gained_by_chance, (place, place), **look)
        axes.plot([-end for end in row.lost_by_chance], (place, place), **look)
    axes.axvline(0, color="black", linewidth=0.6)
    most = max(max(row.gained, row.lost, *row.gained_by_chance, *row.lost_by_chance) for row in rows)
    axes.set_xlim(-1.08 * max(most, 1), 1.08 * max(most, 1))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{abs(x):g}"))
    axes.set_xlabel("problems lost | gained")
