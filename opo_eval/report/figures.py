"""Figures: each is a function from the tables of one benchmark to a matplotlib Figure, and writes no file.

They are drawn for one column of a paper (3.4 in). Curves differ in colour (Okabe and Ito, 2008), line style
and marker at once, so that they stay apart in greyscale and for every kind of colour vision.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from math import ceil, floor
from typing import Any, TypeVar

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator

from opo_eval.errors import InputError
from opo_eval.records import MetricRow, MetricTable
from opo_eval.report.names import file_name, labels, one_line
from opo_eval.report.values import VALUE_UNITS, interval_label, scaled
from opo_eval.report.views import SELF_BLEU, is_diversity, is_power_of_two, k_of, rows_of, shown_metrics

FORMATS = ("png", "svg")
_WIDTH = 3.4
_CURVES_AT_MOST = 8
_BARS_AT_MOST = 40
_STYLE = {
    "font.family": "DejaVu Sans",  # matplotlib's own: the same on every machine
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "figure.titlesize": 8,
    "axes.labelsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.title_fontsize": 6.5,
    "legend.frameon": False,
    "savefig.dpi": 200,
    "text.parse_math": False,  # a name may hold dollar signs
    "svg.hashsalt": "opo_eval",
    "svg.fonttype": "path",
}
_CURVES = (
    {"color": "#000000", "linestyle": "-", "marker": "o"},
    {"color": "#E69F00", "linestyle": "--", "marker": "s"},
    {"color": "#0072B2", "linestyle": "-.", "marker": "^"},
    {"color": "#009E73", "linestyle": ":", "marker": "D"},
    {"color": "#D55E00", "linestyle": (0, (5, 1)), "marker": "v"},
    {"color": "#56B4E9", "linestyle": (0, (3, 1, 1, 1)), "marker": "P"},
    {"color": "#CC79A7", "linestyle": (0, (1, 1)), "marker": "X"},
    {"color": "#777777", "linestyle": (0, (5, 1, 1, 1, 1, 1)), "marker": "*"},
)
_BAR_COLOUR = "#56B4E9"

Item = TypeVar("Item")


class NothingToDraw(InputError):
    """The tables hold nothing that the figure shows; the message says what is missing."""


@contextmanager
def figure_style() -> Iterator[None]:
    """The style of every figure, whatever the user's own matplotlib settings are."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def figure_bytes(figure: Figure, file_format: str) -> bytes:
    """The figure as a file of this format, the same bytes whenever and wherever it is drawn."""
    metadata = {"Software": None} if file_format == "png" else {"Date": None, "Creator": None}
    buffer = BytesIO()
    with figure_style():
        figure.savefig(buffer, format=file_format, metadata=metadata)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure as files, or the reason why there is none."""

    name: str
    """Of the figure, in `FIGURES`."""
    benchmark: str
    stem: str
    """Path of its files inside the report, without a suffix."""
    files: Mapping[str, bytes]
    """By path; empty where there is nothing to draw."""
    reason: str = ""


def draw(name: str, tables: Sequence[MetricTable]) -> Drawing:
    """Draw the figure of this name in every format."""
    benchmark = tables[0].benchmark
    stem = f"figures/{name}_{file_name(benchmark)}"
    try:
        figure = FIGURES[name](tables)
    except NothingToDraw as nothing:
        return Drawing(name=name, benchmark=benchmark, stem=stem, files={}, reason=str(nothing))
    files = {f"{stem}.{suffix}": figure_bytes(figure, suffix) for suffix in FORMATS}
    return Drawing(name=name, benchmark=benchmark, stem=stem, files=files)


# --- pass@k -----------------------------------------------------------------------------------------


@figure_style()
def pass_at_k(tables: Sequence[MetricTable]) -> Figure:
    """pass@k over k, one curve a checkpoint, with its interval as a band.

    Raises NothingToDraw where no table has a pass@k, or pass@1 is all that there is.
    """
    curves = _curves(tables)
    drawn = _evenly(curves, _CURVES_AT_MOST)
    names = labels((name for name, _ in drawn), 48, _drawable)
    columns = 2 if max(map(len, names.values())) <= 18 else 1
    height = 2.3 + 0.14 * ceil(len(drawn) / columns)
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.add_subplot(title=_drawable(tables[0].benchmark, 48))
    for (name, curve), style in zip(drawn, _CURVES, strict=False):
        _draw_curve(axes, curve, names[name], style)
    rows = [row for _, curve in drawn for row in curve.values()]
    _pass_at_k_axes(axes, rows)
    caption = "\n".join(_caption("bands", rows, len(drawn), len(tables)))
    figure.legend(loc="outside lower left", title=caption, handlelength=4, alignment="left", ncols=columns)
    return figure


def _curves(tables: Sequence[MetricTable]) -> list[tuple[str, dict[int, MetricRow]]]:
    curves = [(table.checkpoint, curve) for table in tables if (curve := _curve(table))]
    if not curves:
        raise NothingToDraw("there is no pass@k, because no checkpoint is graded")
    if all(len(curve) == 1 for _, curve in curves):
        raise NothingToDraw("a curve over k takes two samples a problem or more")
    return curves


def _curve(table: MetricTable) -> dict[int, MetricRow]:
    rows = {k: row for name, row in rows_of(table).items() if (k := k_of(name))}
    return dict(sorted(rows.items()))


def _draw_curve(axes: Axes, curve: dict[int, MetricRow], label: str, style: dict[str, Any]) -> None:
    marked = [i for i, k in enumerate(curve) if is_power_of_two(k) or i == len(curve) - 1]
    values = [scaled(row.value, row.unit) for row in curve.values()]
    axes.plot(list(curve), values, label=label, markevery=marked, markersize=3, linewidth=1, **style)
    bounds = {k: _shown_bounds(row) for k, row in curve.items() if row.interval}
    if bounds:
        lows, highs = zip(*bounds.values(), strict=True)
        axes.fill_between(list(bounds), lows, highs, color=style["color"], alpha=0.12, linewidth=0)
        for edge in (lows, highs):  # bands that overlap are told apart by their edges
            axes.plot(list(bounds), edge, linewidth=0.4, color=style["color"], linestyle=style["linestyle"])


def _pass_at_k_axes(axes: Axes, rows: Sequence[MetricRow]) -> None:
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
    seen = [value for row in rows for value in (scaled(row.value, row.unit), *_shown_bounds(row))]
    # Rounded, so that a bound of 100 % and the last bit of a sum is not taken for more than 100.
    low, high = 10 * floor(round(min(seen), 6) / 10), 10 * ceil(round(max(seen), 6) / 10)
    middle = min(max((low + high) // 20 * 10, 10), 90)
    return min(low, middle - 10), max(high, middle + 10)


# --- diversity --------------------------------------------------------------------------------------


@figure_style()
def diversity(tables: Sequence[MetricTable]) -> Figure:
    """Self-BLEU and Rep-n, one bar a checkpoint, with their intervals.

    Raises NothingToDraw where no table has either.
    """
    metrics = [name for name in shown_metrics(tables) if is_diversity(name)]
    if not metrics:
        raise NothingToDraw("no diversity metric is defined: responses are too few or too short")
    drawn = _evenly(tables, _BARS_AT_MOST)
    figure = Figure(figsize=(_WIDTH, 1.0 + 0.15 * len(drawn)), layout="constrained")
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        _draw_bars(axes, metric, [rows_of(table).get(metric) for table in drawn])
    _name_bars(panels[0], [table.checkpoint for table in drawn])
    figure.suptitle(_drawable(tables[0].benchmark, 48), x=0.01, ha="left")
    rows = [row for table in drawn for name, row in rows_of(table).items() if name in metrics]
    caption = ["lower = more diverse", *_caption("lines", rows, len(drawn), len(tables))]
    figure.supxlabel("\n".join(caption), x=0.01, ha="left", size=6.5)
    return figure


def _name_bars(axes: Axes, checkpoints: Sequence[str]) -> None:
    names = labels(checkpoints, 24, _drawable)
    axes.set_yticks(range(len(names)), labels=names.values())
    axes.set_ylim(len(names) - 0.4, -0.6)  # the first checkpoint on top


def _draw_bars(axes: Axes, metric: str, rows: Sequence[MetricRow | None]) -> None:
    defined = {i: row for i, row in enumerate(rows) if row}
    values = [scaled(row.value, row.unit) for row in defined.values()]
    axes.barh(list(defined), values, height=0.7, color=_BAR_COLOUR)
    for i in range(len(rows)):
        if i not in defined:
            axes.annotate("undefined", (0, i), xytext=(2, 0), textcoords="offset points", va="center", size=6)
        elif defined[i].interval:
            axes.plot(_shown_bounds(defined[i]), (i, i), "-|k", linewidth=0.8, markersize=4)
    axes.set_xlim(0, 1.05 * max([*values, *(_shown_bounds(row)[1] for row in defined.values())]) or 1)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    title = "Self-BLEU" if metric == SELF_BLEU else metric.replace("rep_", "Rep-")
    unit = VALUE_UNITS[next(iter(defined.values())).unit]
    axes.set_xlabel(f"{title} ({unit})")


# --- what figures share -----------------------------------------------------------------------------


def _shown_bounds(row: MetricRow) -> tuple[float, float]:
    """The interval in the unit that is shown; the value twice where there is none."""
    low, high = (row.interval.low, row.interval.high) if row.interval else (row.value, row.value)
    return scaled(low, row.unit), scaled(high, row.unit)


def _caption(mark: str, rows: Sequence[MetricRow], n_drawn: int, n_all: int) -> list[str]:
    label = interval_label(row.interval for row in rows)
    said = [f"{mark}: {label}" if label else "too few problems for intervals"]
    if n_drawn < n_all:
        said.append(f"{n_drawn} of {n_all} checkpoints; all numbers are in metrics.csv")
    return said


def _evenly(items: Sequence[Item], at_most: int) -> Sequence[Item]:
    """All items, or `at_most` of them at even steps, the first and the last among them."""
    if len(items) <= at_most:
        return items
    return [items[round(i * (len(items) - 1) / (at_most - 1))] for i in range(at_most)]


def _drawable(name: str, limit: int) -> str:
    """The name on one line; a character that the font does not have is a question mark."""
    font = get_font(findfont(FontProperties("DejaVu Sans")))
    line = "".join(char if font.get_char_index(ord(char)) else "?" for char in one_line(name, limit))
    # matplotlib keeps labels that begin with an underscore out of legends.
    return f" {line}" if line.startswith("_") else line


FIGURES: dict[str, Callable[[Sequence[MetricTable]], Figure]] = {
    "pass_at_k": pass_at_k,
    "diversity": diversity,
}
"""Name → figure; both are in the names of files."""
