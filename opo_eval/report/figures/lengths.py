"""How long responses are, by verdict."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator
from numpy.typing import NDArray

from opo_eval.records import Finish, MetricTable, Verdict
from opo_eval.report.figures.parts import (
    beside,
    drawn_of,
    drawn_tables,
    name_rows,
    new_figure,
    round_ticks,
    stacked_panels,
    write_below,
)
from opo_eval.report.figures.style import FILL, figure_style
from opo_eval.report.views import BenchmarkView

KINDS: Mapping[str, frozenset[Verdict | None]] = {
    "correct": frozenset({Verdict.CORRECT}),
    "wrong": frozenset({Verdict.WRONG}),
    "no answer": frozenset({Verdict.NO_ANSWER}),
    "limit or error of the grader": frozenset({Verdict.TIMED_OUT, Verdict.GRADER_ERROR}),
    "not graded": frozenset({None}),
}
"""Verdicts that the figure tells apart."""
_CHECKPOINTS_AT_MOST = 10
_FEWEST_FOR_A_BOX = 5
_PERCENTILES = (5, 25, 50, 75, 95)
_WIDE = 10
"""Ratio of the longest to the shortest from which the axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class _Lengths:
    """Of the samples of one checkpoint with verdicts of one kind."""

    every: NDArray[np.float64]
    cut: NDArray[np.float64]
    """Those that ended at the token limit."""


@figure_style()
def lengths(view: BenchmarkView) -> Figure:
    """How long responses are, a panel a verdict, a row a checkpoint, all samples.

    In tokens where those of every sample are known, else in characters.
    """
    unit = _unit(view.tables)
    drawn, names = drawn_tables(view.tables, _CHECKPOINTS_AT_MOST)
    panels = _panels(drawn, unit)
    rows = [row for own in panels.values() for row in own]
    figure = new_figure(view, 0.3 + len(panels) * (0.28 + 0.15 * len(drawn)))
    all_axes = stacked_panels(figure, [len(drawn)] * len(panels), sharex=True)
    for axes, (kind, own) in zip(all_axes, panels.items(), strict=True):
        _draw_panel(axes, kind, own, names)
    _scale(all_axes, rows)
    all_axes[-1].set_xlabel(f"length of a response ({unit})", loc="right")
    write_below(figure, [*_caption(unit, rows), *drawn_of(len(drawn), len(view.tables))])
    return figure


# --- what is drawn ----------------------------------------------------------------------------------


def _unit(tables: Sequence[MetricTable]) -> str:
    known = all(count is not None for table in tables for count in table.outcomes.tokens)
    return "tokens" if known else "characters"


def _panels(tables: Sequence[MetricTable], unit: str) -> dict[str, list[_Lengths]]:
    """By kind of verdict, as far as some sample has it: one entry a checkpoint."""
    panels = {kind: [_lengths(table, verdicts, unit) for table in tables] for kind, verdicts in KINDS.items()}
    return {kind: rows for kind, rows in panels.items() if any(len(row.every) for row in rows)}


def _lengths(table: MetricTable, verdicts: frozenset[Verdict | None], unit: str) -> _Lengths:
    outcomes = table.outcomes
    of_kind = np.array([verdict in verdicts for verdict in outcomes.verdict])
    cut = np.array([finish is Finish.LENGTH for finish in outcomes.finish])
    found = np.array(outcomes.tokens if unit == "tokens" else outcomes.characters, dtype=np.float64)
    return _Lengths(every=found[of_kind], cut=found[of_kind & cut])


def _caption(unit: str, rows: Sequence[_Lengths]) -> Iterator[str]:
    if unit == "characters":
        yield "in characters: not every sample says its number of tokens"
    yield f"boxes: quartiles, median; lines: 5 to 95 %; dots: under {_FEWEST_FOR_A_BOX} samples"
    if any(len(row.cut) for row in rows):
        yield "×: median of those cut at the token limit"


# --- drawing ----------------------------------------------------------------------------------------


def _draw_panel(axes: Axes, kind: str, rows: Sequence[_Lengths], names: Sequence[str]) -> None:
    for place, row in enumerate(rows):
        _draw_lengths(axes, row.every, place)
        if len(row.cut):
            axes.plot([np.median(row.cut)], [place], "xk", markersize=4)
    name_rows(axes, names)
    axes.set_title(kind, size=7, pad=3)
    beside(axes, "samples", {place: _counted(row) for place, row in enumerate(rows)})


def _draw_lengths(axes: Axes, found: NDArray[np.float64], place: float) -> None:
    if len(found) < _FEWEST_FOR_A_BOX:
        axes.plot(found, [place] * len(found), "o", color="black", markersize=2)
        return
    low, first, median, third, high = np.percentile(found, _PERCENTILES)
    axes.plot((low, high), (place, place), color="black", linewidth=0.6)
    axes.barh(place, third - first, left=first, height=0.6, color=FILL, edgecolor="black", linewidth=0.5)
    axes.plot((median, median), (place - 0.3, place + 0.3), color="black", linewidth=1.2)


def _counted(row: _Lengths) -> str:
    return f"{len(row.every)}, {len(row.cut)} cut" if len(row.cut) else str(len(row.every))


def _scale(panels: Sequence[Axes], rows: Sequence[_Lengths]) -> None:
    """One axis for all panels: logarithmic where lengths differ much, and from 0 where they do not."""
    found = np.concatenate([row.every for row in rows])
    first = panels[0]
    for axes in panels:
        axes.use_sticky_edges = False  # a box without a width would lie on the frame
    if not _is_wide(found):
        first.set_xlim(left=0)
        first.xaxis.set_major_locator(round_ticks(5))
    else:
        _log_scale(first, found)
    first.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    first.minorticks_off()


def _is_wide(found: NDArray[np.float64]) -> bool:
    low, high = np.percentile(found, (_PERCENTILES[0], _PERCENTILES[-1]))
    return high >= _WIDE * max(low, 1)


def _log_scale(axes: Axes, found: NDArray[np.float64]) -> None:
    if found.min() > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(
            LogLocator(subs=(1, 3) if found.max() > 1000 * found.min() else (1, 2, 5))
        )
    else:  # an empty response has no logarithm
        axes.set_xscale("symlog", linthresh=1)
