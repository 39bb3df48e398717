"""pass@k over k."""

from collections.abc import Iterable, Iterator, Sequence
from math import ceil, floor
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opo_eval.records import Interval, MetricRow, MetricTable
from opo_eval.report.figures.parts import (
    bounds,
    draw_band,
    drawn_of,
    interval_lines,
    legend_below,
    new_figure,
    short_names,
)
from opo_eval.report.figures.style import CURVES, NothingToDraw, evenly, figure_style
from opo_eval.report.values import scaled
from opo_eval.report.views import BenchmarkView, is_power_of_two, k_of, rows_of

Curve = dict[int, MetricRow]
"""k → pass@k, k ascending."""


@figure_style()
def pass_at_k(view: BenchmarkView) -> Figure:
    """pass@k over k, one curve a checkpoint, shaded where all of it lies at once with 95 % confidence.

    Where a curve has no such simultaneous band, the interval of each k is shaded; the caption says which.
    Raises NothingToDraw where no table has a pass@k, or pass@1 is all that there is.
    """
    curves = _curves(view.tables)
    drawn = evenly(curves, len(CURVES))
    names = short_names((name for name, _ in drawn), 48)
    figure = new_figure(view, 2.0)
    axes = figure.add_subplot()
    draw_curves(axes, [(name, curve) for (_, curve), name in zip(drawn, names, strict=True)])
    rows = [row for _, curve in drawn for row in curve.values()]
    lines = [*_said_of_bands(rows), *drawn_of(len(drawn), len(view.tables))]
    legend_below(figure, names, lines, handlelength=4)
    return figure


def draw_curves(axes: Axes, curves: Sequence[tuple[str, Curve]]) -> None:
    """Label and curve of each, eight at most, with what is known around them shaded."""
    for (label, curve), style in zip(curves, CURVES, strict=False):
        _draw_curve(axes, curve, label, style)
    _finish_axes(axes, [row for _, curve in curves for row in curve.values()])


def curve_of(rows: Iterable[MetricRow]) -> Curve:
    """The pass@k among them."""
    found = {k: row for row in rows if (k := k_of(row.metric))}
    return dict(sorted(found.items()))


def _curves(tables: Sequence[MetricTable]) -> list[tuple[str, Curve]]:
    found = ((table.checkpoint, curve_of(rows_of(table).values())) for table in tables)
    curves = [(name, curve) for name, curve in found if curve]
    if not curves:
        raise NothingToDraw("there is no pass@k, because no checkpoint is graded")
    if all(len(curve) == 1 for _, curve in curves):
        raise NothingToDraw("a curve over k takes two samples a problem or more")
    return curves


def _draw_curve(axes: Axes, curve: Curve, label: str, style: dict[str, Any]) -> None:
    marked = [i for i, k in enumerate(curve) if is_power_of_two(k) or i == len(curve) - 1]
    values = [scaled(row.value, row.unit) for row in curve.values()]
    axes.plot(list(curve), values, label=label, markevery=marked, markersize=3, linewidth=1, **style)
    shaded = {k: found for k, row in curve.items() if (found := bounds(_shaded(row), row.unit))}
    draw_band(axes, shaded, style)


def _shaded(row: MetricRow) -> Interval | None:
    """A band has no width where all problems are alike; the interval of that k still has."""
    return row.band or row.interval


def _said_of_bands(rows: Sequence[MetricRow]) -> Iterator[str]:
    banded = [row for row in rows if row.band]
    yield from interval_lines("bands", map(_shaded, banded or rows))
    if any(row.interval and not row.band for row in rows) and banded:
        yield "where all problems are alike, the interval of that k alone"


# --- axes -------------------------------------------------------------------------------------------


def _finish_axes(axes: Axes, rows: Sequence[MetricRow]) -> None:
    largest = max(k_of(row.metric) or 1 for row in rows)
    axes.set_xscale("log", base=2)
    axes.set_xticks(_ticks(largest), labels=map(str, _ticks(largest)))
    axes.minorticks_off()
    axes.set_xlim(1 / 1.15, largest * 1.15)
    low, high = _percent_limits(rows)
    step = 20 if high - low > 50 else 10
    axes.set_yticks([tick for tick in range(0, 101, step) if low <= tick <= high])
    axes.set_ylim(low - 2, high + 2)  # room for markers at the ends
    axes.set_xlabel("k (samples a problem)")
    axes.set_ylabel("pass@k (%)")


def _ticks(largest: int) -> list[int]:
    """Powers of two, and the largest k; a power that would stand too close to it is left out."""
    return [1 << i for i in range(largest.bit_length()) if 1.5 * (1 << i) <= largest] + [largest]


def _percent_limits(rows: Sequence[MetricRow]) -> tuple[int, int]:
    """Whole tens around all values and bounds, at least 20 apart."""
    seen = [scaled(row.value, row.unit) for row in rows]
    seen += [bound for row in rows for bound in bounds(_shaded(row), row.unit) or ()]
    # Rounded, so that a bound of 100 % and the last bit of a sum is not taken for more than 100.
    low, high = 10 * floor(round(min(seen), 6) / 10), 10 * ceil(round(max(seen), 6) / 10)
    middle = min(max((low + high) // 20 * 10, 10), 90)
    return min(low, middle - 10), max(high, middle + 10)
