"""What figures share: rows with names, intervals, text beside the axes, captions and legends."""

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from math import ceil, inf
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from opo_eval.records import Interval, MetricRow, MetricTable, Unit
from opo_eval.report.figures.style import POINTS, SMALL, WIDTH, NothingToDraw, drawable, evenly
from opo_eval.report.names import labels
from opo_eval.report.token_metrics import (
    ENTROPY,
    ESTIMATES,
    KL,
    LOG_PERPLEXITY,
    OWN_TEMPERATURE,
    REVERSE_KL,
    TokenMetric,
    token_metric,
)
from opo_eval.report.token_statistics import scored_alike
from opo_eval.report.values import VALUE_UNITS, interval_label, scaled
from opo_eval.report.views import SELF_BLEU, BenchmarkView, rows_of
from opo_eval.wording import some_of

_LINE, _LINE_HEIGHT = 66, 0.115
"""Of a caption: characters that fit into the width of a figure, and inches a line takes."""
_TITLE_LINE = 0.15
_LABEL_LIMIT = 24
Style = Mapping[str, Any]
"""Colour, line style and marker."""
_TOKEN_QUANTITIES = {
    ENTROPY: "entropy",
    KL: "KL to the reference",
    REVERSE_KL: "reverse KL",
    LOG_PERPLEXITY: "log perplexity",
    **{name: name.removeprefix("kl_") for name in ESTIMATES},
}
_SMALLEST = {Unit.LOG_RATIO: -inf}
_LARGEST = {Unit.SHARE: 100.0, Unit.PERCENT: 100.0}
"""As they are shown."""
_UNNAMED: dict[str, Any] = {"linestyle": "", "marker": "o", "color": "0.5", "markersize": 2.5}


def new_figure(view: BenchmarkView, height: float, *more: str) -> Figure:
    """A figure under the benchmark's name and further lines of title; height: in inches, of the axes."""
    title = (drawable(view.label, 46), *more)
    figure = Figure(figsize=(WIDTH, height + 0.1 + _TITLE_LINE * len(title)), layout="constrained")
    figure.suptitle("\n".join(title), x=0.01, ha="left")
    return figure


def stacked_panels(figure: Figure, n_rows: Sequence[float], **options: Any) -> list[Axes]:
    """Panels one below the other, as high as their numbers of rows ask for."""
    # What is written around a panel takes about as much room as a row.
    ratios = {"height_ratios": [n + 0.5 for n in n_rows]}
    return list(figure.subplots(len(n_rows), 1, squeeze=False, gridspec_kw=ratios, **options)[:, 0])


# --- rows and intervals -----------------------------------------------------------------------------


def graded_tables(view: BenchmarkView, metric: str) -> list[MetricTable]:
    """The tables that have the metric. Raises NothingToDraw where none has."""
    found = [table for table in view.tables if metric in rows_of(table)]
    if not found:
        raise NothingToDraw(f"there is no {metric}, because no checkpoint is graded")
    return found


def short_names(checkpoints: Iterable[str], limit: int = _LABEL_LIMIT) -> list[str]:
    """Names that fit beside a row, different for different checkpoints."""
    return list(labels(checkpoints, limit, drawable).values())


def name_rows(axes: Axes, names: Sequence[str], places: Sequence[float] | None = None) -> None:
    """Name the rows, the first on top; places: default 0, 1, 2, ..."""
    axes.set_yticks(range(len(names)) if places is None else places, labels=names)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    if places is None:
        axes.set_ylim(len(names) - 0.4, -0.6)


def beside(axes: Axes, header: str, texts: Mapping[float, str]) -> None:
    """A column of text to the right of the rows, by their places."""
    for place, text in texts.items():
        axes.text(1.02, place, text, transform=axes.get_yaxis_transform(), va="center", size=SMALL)
    axes.text(1.02, 1.0, header, transform=axes.transAxes, va="bottom", size=SMALL, color="0.35")


def shown_bounds(row: MetricRow) -> tuple[float, float]:
    """The interval over problems like these in the unit that is shown; the value twice without one."""
    value = scaled(row.value, row.unit)
    return bounds(row.interval, row.unit) or (value, value)


def bounds(interval: Interval | None, unit: Unit) -> tuple[float, float] | None:
    """The interval in the unit that is shown."""
    return (scaled(interval.low, unit), scaled(interval.high, unit)) if interval else None


def draw_interval(axes: Axes, row: MetricRow, place: float, **style: Any) -> None:
    """A line with ends; nothing where the row has no interval."""
    if row.interval:
        look: dict[str, Any] = {"color": "black", "linewidth": 0.8, "marker": "|", "markersize": 4}
        axes.plot(shown_bounds(row), (place, place), **(look | style))


def draw_band(
    axes: Axes, ends: Mapping[int, tuple[float, float]] | Mapping[float, tuple[float, float]], style: Style
) -> None:
    """Shade between the ends, by place; bands that overlap are told apart by their edges."""
    if not ends:
        return
    lows, highs = zip(*ends.values(), strict=True)
    axes.fill_between(list(ends), lows, highs, color=style["color"], alpha=0.12, linewidth=0)
    for edge in (lows, highs):
        axes.plot(list(ends), edge, linewidth=0.4, color=style["color"], linestyle=style["linestyle"])


def draw_curve(
    axes: Axes,
    places: Sequence[float],
    values: Sequence[float],
    ends: Sequence[tuple[float, float] | None],
    style: Style,
) -> None:
    """A line through the values with what is around them shaded, as far as they have it."""
    axes.plot(places, values, markersize=3, linewidth=1, **style)
    for has_ends, run in groupby(zip(places, ends, strict=True), key=lambda pair: pair[1] is not None):
        shaded = {place: own for place, own in run if own}
        if len(shaded) > 1:
            draw_band(axes, shaded, style)
        elif has_ends:  # a point on its own has no area
            ((place, own),) = shaded.items()
            look = {"color": style["color"], "alpha": 0.25, "linewidth": 4, "solid_capstyle": "butt"}
            axes.plot((place, place), own, **look)


def draw_cross(axes: Axes, x: MetricRow, y: MetricRow, style: Style, **look: Any) -> None:
    """A point of two numbers, with both intervals; look: of the lines."""
    place = scaled(x.value, x.unit), scaled(y.value, y.unit)
    for ends in ((shown_bounds(x), place[1:] * 2), (place[:1] * 2, shown_bounds(y))):
        axes.plot(*ends, **({"color": style["color"], "linewidth": 0.8} | look))
    axes.plot(*place, **({"linestyle": "", "markersize": 4.5} | dict(style)))


def draw_unnamed(axes: Axes, pairs: Iterable[tuple[MetricRow, MetricRow]]) -> None:
    """Small circles at the two numbers of each, for those that the legend does not name."""
    places = [(scaled(x.value, x.unit), scaled(y.value, y.unit)) for x, y in pairs]
    if places:
        axes.plot(*zip(*places, strict=True), markerfacecolor="white", **_UNNAMED)


def unnamed(n: int) -> Iterator[str]:
    """How many these are, where there are any."""
    if n:
        yield f"small circles: {n} more; all numbers are in the CSV files"


def keep_possible(axes: Axes, which: Literal["x", "y"], unit: Unit, at_most: int = 6) -> None:
    """Limits and ticks as data and margins have set them, but not beyond what the unit allows."""
    low, high = getattr(axes, f"get_{which}lim")()
    smallest, largest = _SMALLEST.get(unit, 0.0), _LARGEST.get(unit, inf)
    room = 0.05 * (high - low)  # for markers at the ends
    low, high = max(low, smallest - room), min(high, largest + room)
    ticks = [
        t
        for t in round_ticks(at_most).tick_values(low, high)
        if max(low, smallest) <= t <= min(high, largest)
    ]
    axes.set(**{f"{which}lim": (low, high), f"{which}ticks": ticks})


def from_zero(axes: Axes, rows: Iterable[MetricRow]) -> None:
    """Limits and ticks of bars that start at 0."""
    axes.set_xlim(0, 1.05 * max(max(scaled(row.value, row.unit), shown_bounds(row)[1]) for row in rows) or 1)
    axes.xaxis.set_major_locator(round_ticks(4))


def round_ticks(at_most: int) -> MaxNLocator:
    """Ticks at 1, 2, 2.5 or 5 times a power of ten."""
    return MaxNLocator(at_most, steps=[1, 2, 2.5, 5, 10])


def say_undefined(axes: Axes, place: float) -> None:
    """The word instead of a bar."""
    look = {"textcoords": "offset points", "va": "center", "size": SMALL}
    axes.annotate("undefined", (0, place), xytext=(2, 0), **look)


def metric_axis_label(row: MetricRow) -> str:
    """The metric and its unit."""
    return f"{metric_label(row.metric)} ({VALUE_UNITS[row.unit]})"


def metric_label(metric: str) -> str:
    """The metric as papers write it."""
    if token := token_metric(metric):
        return _token_label(token)
    return "Self-BLEU" if metric == SELF_BLEU else metric.replace("rep_", "Rep-")


def _token_label(token: TokenMetric) -> str:
    words = " ".join((_TOKEN_QUANTITIES[token.quantity], *filter(None, [token.part.replace("_", " ")])))
    return words if token.temperature == OWN_TEMPERATURE else f"{words} at temperature {token.temperature}"


def drawn_tables(tables: Sequence[MetricTable], at_most: int) -> tuple[Sequence[MetricTable], list[str]]:
    """The tables that are drawn, and the names of their checkpoints."""
    drawn = evenly(tables, at_most)
    return drawn, short_names(table.checkpoint for table in drawn)


# --- captions ---------------------------------------------------------------------------------------


def interval_lines(mark: str, intervals: Iterable[Interval | None]) -> Iterator[str]:
    """What the mark stands for, or why there is none."""
    label = interval_label(intervals)
    yield f"{mark}: {label}" if label else "no intervals: too few problems, or all of them are alike"


def drawn_of(n_drawn: int, n_all: int, noun: str = "checkpoints") -> Iterator[str]:
    """That not everything is drawn, where that is so."""
    if n_drawn < n_all:
        yield f"{n_drawn} of {n_all} {noun}; all numbers are in the CSV files"


def scored_lines(view: BenchmarkView, drawn: Collection[str]) -> Iterator[str]:
    """Which checkpoints lack what is drawn, and whether those that have it (`drawn`) are scored alike."""
    lacking = [view.checkpoints[t.checkpoint] for t in view.tables if t.checkpoint not in drawn]
    if lacking:
        yield f"without these numbers, so not drawn: {some_of(lacking)}"
    if not scored_alike([table for table in view.tables if table.checkpoint in drawn]):
        yield "not scored alike, so not comparable: see the report's notes"


def caption(lines: Iterable[str]) -> str:
    """The lines, broken where they are wider than a figure; characters that cannot be drawn are replaced."""
    wrapped = (part for line in lines for part in textwrap.wrap(line, _LINE))
    return "\n".join(drawable(part, _LINE) for part in wrapped)


def write_below(figure: Figure, lines: Iterable[str]) -> None:
    """A caption under a figure that has no legend; the figure grows by its height."""
    text = caption(lines)
    _grow(figure, len(text.splitlines()))
    figure.supxlabel(text, x=0.01, ha="left", size=6.5)


def legend_below(figure: Figure, names: Sequence[str], lines: Iterable[str], **options: Any) -> None:
    """A legend of these names with the caption above it; the figure grows by their height.

    options: of `Figure.legend`, such as the handles where the figure's axes have none with labels.
    """
    text, columns = caption(lines), 2 if max(map(len, names)) <= 18 else 1
    look: dict[str, Any] = {"loc": "outside lower left", "alignment": "left", "ncols": columns}
    named: dict[str, Any] = {"labels": names} if "handles" in options else {}
    _grow(figure, len(text.splitlines()) + 1.2 * ceil(len(names) / columns))
    figure.legend(title=text, **(look | named | options))


def _grow(figure: Figure, n_lines: float) -> None:
    figure.set_figheight(figure.get_figheight() + _LINE_HEIGHT * n_lines)


def point_handles(n: int) -> list[Line2D]:
    """A marker for each of the first n checkpoints."""
    return [Line2D([], [], linestyle="", markersize=3.5, **style) for style in POINTS[:n]]
