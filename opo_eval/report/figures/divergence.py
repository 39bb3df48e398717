"""KL to the reference against accuracy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from opo_eval.records import MetricRow, MetricTable
from opo_eval.report.figures.parts import (
    draw_cross,
    draw_unnamed,
    interval_lines,
    keep_possible,
    legend_below,
    metric_axis_label,
    new_figure,
    scored_lines,
    unnamed,
)
from opo_eval.report.figures.style import CURVES, SMALL, Item, NothingToDraw, drawable, evenly, figure_style
from opo_eval.report.names import labels
from opo_eval.report.token_metrics import KL, TokenMetric, shared_temperature
from opo_eval.report.values import scaled
from opo_eval.report.views import BenchmarkView, rows_of

PASS_AT_1 = "pass@1"
_NAME_LIMIT, _RUN_LIMIT = 44, 26
_FIRST, _LAST = 2.0, 5.0
"""Sizes of the markers of the first and the last step, in points."""
_ROOM = (0.17, 0.07)
"""That a step's name takes, as shares of the axes' width and height."""
_RUNS_WITH_ENDS = 4
_ASIDE = ((4, -8), (4, 4))
"""Of the names of the first and the last step from their points, in points: training mostly goes up."""
_BESIDE: dict[str, Any] = {"textcoords": "offset points", "size": SMALL}
_OUTLINE = withStroke(linewidth=1.5, foreground="white")

Pair = tuple[MetricRow, MetricRow]
"""KL and pass@1 of a checkpoint."""


@dataclass(frozen=True, slots=True)
class _Path:
    """A training run's checkpoints in order of their steps, or a single checkpoint that is of none."""

    name: str
    steps: tuple[int, ...]
    """Empty for a checkpoint that is of none."""
    pairs: tuple[Pair, ...]


@figure_style()
def kl_against_accuracy(view: BenchmarkView) -> Figure:
    """pass@1 against KL to the reference, one point a checkpoint, with both intervals.

    The steps of a training run are joined by a line along which markers grow, and its first and last step are
    named. Of many, eight training runs and checkpoints are named, the others are small circles. Raises
    NothingToDraw where no checkpoint has both numbers.
    """
    pairs = _pairs(view.tables)
    paths = _paths(view, pairs)
    named = evenly(paths, len(CURVES))
    figure = new_figure(view, 2.2)
    axes = figure.add_subplot()
    others = _checkpoints(paths) - _checkpoints(named)
    draw_unnamed(axes, [pair for checkpoint, pair in pairs.items() if checkpoint in others])
    for path, style in zip(named, CURVES, strict=False):
        _draw_path(axes, path, style)
    _finish_axes(axes, *named[0].pairs[0])
    _name_ends(axes, named)
    lines = [*_caption(pairs, named), *unnamed(len(others)), *scored_lines(view, pairs)]
    handles = [_handle(path, style) for path, style in zip(named, CURVES, strict=False)]
    legend_below(figure, _names(named), lines, handles=handles, handlelength=4)
    return figure


# --- what is drawn ----------------------------------------------------------------------------------


def _pairs(tables: Sequence[MetricTable]) -> dict[str, Pair]:
    """By checkpoint; KL at the temperature at which most have it."""
    temperature = shared_temperature(tables, KL)
    if temperature is None:
        raise NothingToDraw("no checkpoint is scored against a reference")
    kl = TokenMetric(KL, temperature=temperature).name
    rows = {table.checkpoint: rows_of(table) for table in tables}
    both = {name: (own[kl], own[PASS_AT_1]) for name, own in rows.items() if kl in own and PASS_AT_1 in own}
    if not both:
        raise NothingToDraw("no checkpoint has both KL and pass@1")
    return both


def _paths(view: BenchmarkView, pairs: Mapping[str, Pair]) -> list[_Path]:
    """Training runs, then the checkpoints that are of none."""
    paths = [path for run, steps in _steps(view).items() if (path := _path(run, steps, pairs)).pairs]
    alone = pairs.keys() - _checkpoints(paths)
    return paths + [_Path(name, (), (pair,)) for name, pair in pairs.items() if name in alone]


def _steps(view: BenchmarkView) -> dict[str, dict[str, int]]:
    """Training run → checkpoint → step, ascending; the checkpoint that it began from is step 0."""
    found: dict[str, dict[str, int]] = {}
    for curve in view.curves:
        steps = {point.checkpoint: point.step for point in curve.points}
        found[curve.series] = max(found.get(curve.series, {}), steps, key=len)
    return found


def _path(run: str, steps: Mapping[str, int], pairs: Mapping[str, Pair]) -> _Path:
    known = {checkpoint: step for checkpoint, step in steps.items() if checkpoint in pairs}
    return _Path(run, tuple(known.values()), tuple(pairs[checkpoint] for checkpoint in known))


def _checkpoints(paths: Sequence[_Path]) -> set[str]:
    return {pair[0].checkpoint for path in paths for pair in path.pairs}


# --- drawing ----------------------------------------------------------------------------------------


def _draw_path(axes: Axes, path: _Path, style: Mapping[str, Any]) -> None:
    xs, ys = ([scaled(pair[i].value, pair[i].unit) for pair in path.pairs] for i in (0, 1))
    axes.plot(xs, ys, color=style["color"], linestyle=style["linestyle"], linewidth=0.9)
    point = {"color": style["color"], "marker": style["marker"]}
    for pair, size in zip(path.pairs, _sizes(len(path.pairs)), strict=True):
        draw_cross(axes, *pair, point | {"markersize": size}, linewidth=0.6, alpha=0.5)


def _name_ends(axes: Axes, paths: Sequence[_Path]) -> None:
    """The first and the last step beside their points, but for those that would stand on one another.

    Where there are many training runs only the legend names them.
    """
    runs = [path for path in paths if path.steps]
    written: list[NDArray[np.float64]] = []
    for path in runs if len(runs) <= _RUNS_WITH_ENDS else ():
        for pair, step, aside in zip(_ends(path.pairs), _ends(path.steps), _ASIDE, strict=True):
            point = (scaled(pair[0].value, pair[0].unit), scaled(pair[1].value, pair[1].unit))
            place = (axes.transData + axes.transAxes.inverted()).transform(point)
            if all((np.abs(place - other) > _ROOM).any() for other in written):
                written.append(place)
                axes.annotate(f"step {step}", point, aside, path_effects=[_OUTLINE], **_BESIDE)


def _ends(items: Sequence[Item]) -> tuple[Item, Item]:
    return items[0], items[-1]


def _sizes(n: int) -> list[float]:
    return [_LAST - (_LAST - _FIRST) * (n - 1 - i) / max(n - 1, 1) for i in range(n)]


def _finish_axes(axes: Axes, kl: MetricRow, accuracy: MetricRow) -> None:
    axes.margins(0.08)
    keep_possible(axes, "x", kl.unit)
    keep_possible(axes, "y", accuracy.unit)
    axes.set_xlabel(metric_axis_label(kl))
    axes.set_ylabel(metric_axis_label(accuracy))


# --- what is written --------------------------------------------------------------------------------


def _names(paths: Sequence[_Path]) -> list[str]:
    runs = labels((path.name for path in paths if path.steps), _RUN_LIMIT, drawable)
    alone = labels((path.name for path in paths if not path.steps), _NAME_LIMIT, drawable)
    return [_of_steps(runs[path.name], path) if path.steps else alone[path.name] for path in paths]


def _of_steps(run: str, path: _Path) -> str:
    first, last = path.steps[0], path.steps[-1]
    return f"{run}, steps {first} to {last}" if first != last else f"{run}, step {first}"


def _handle(path: _Path, style: Mapping[str, Any]) -> Line2D:
    look: dict[str, Any] = {"linewidth": 0.9, "markersize": 3.5, **style}
    if not path.steps:
        look["linestyle"] = ""
    return Line2D([], [], **look)


def _caption(pairs: Mapping[str, Pair], named: Sequence[_Path]) -> Iterator[str]:
    yield from interval_lines("lines", (row.interval for pair in pairs.values() for row in pair))
    if any(len(path.steps) > 1 for path in named):
        yield "markers grow from the first step of a training run to its last"
