"""Who solved what: the share of correct samples of every problem by every checkpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from opo_eval.records import MetricTable
from opo_eval.report.figures.parts import (
    drawn_of,
    graded_tables,
    name_rows,
    new_figure,
    short_names,
    write_below,
)
from opo_eval.report.figures.style import DARK_FILL, SMALL, WARM_FILL, evenly, figure_style
from opo_eval.report.views import BenchmarkView
from opo_eval.wording import counted

Floats = NDArray[np.float64]

_CHECKPOINTS_AT_MOST = 12
_COLUMNS_A_BAND = 125
_BANDS_AT_MOST = 4
_NAMED_AT_MOST = 30
_ROW, _STRIP, _TICKS, _BAR = 0.13, 0.36, 0.2, 0.55
"""Heights in inches: of a checkpoint, of the strip, of the ticks of a band, and of the colour bar."""


@dataclass(frozen=True, slots=True)
class _Grid:
    """What is drawn: problems from left to right, the hardest first."""

    checkpoints: list[str]
    problems: list[str]
    """Ids, in the order in which they are drawn."""
    shares: Floats
    """[checkpoints, columns], in percent; NaN where a checkpoint has no samples."""
    change: Floats | None
    """[columns], percentage points, of the second checkpoint minus the first where there are two."""
    per_column: int
    """Problems that a column stands for; the last one may have fewer."""


@figure_style()
def solved(view: BenchmarkView) -> Figure:
    """Share of correct samples by problem and checkpoint, the problems in the order of its mean.

    Many problems wrap into several bands; two checkpoints get a strip with their difference. Raises
    NothingToDraw where nothing is graded.
    """
    tables = graded_tables(view, "pass@1")
    grid = _grid(tables)
    heights = [_ROW * len(grid.checkpoints), *([_STRIP] if grid.change is not None else [])]
    bands = _bands(grid)
    named = 0.3 if len(grid.problems) <= _NAMED_AT_MOST else 0.0
    figure = new_figure(view, _BAR + named + len(bands) * (sum(heights) + _TICKS))
    ratios = {"height_ratios": heights * len(bands)}
    panels = figure.subplots(len(ratios["height_ratios"]), 1, squeeze=False, gridspec_kw=ratios)[:, 0]
    by_band = panels.reshape(len(bands), len(heights))
    images = [_draw_band(list(own), grid, band, view) for own, band in zip(by_band, bands, strict=True)]
    figure.set_layout_engine("constrained", h_pad=0.03, hspace=0)
    bar = figure.colorbar(images[0], ax=panels, location="bottom", aspect=40, pad=0.02)
    bar.set_label("samples correct (%)")
    write_below(figure, _caption(grid, len(tables)))
    return figure


# --- what is drawn ----------------------------------------------------------------------------------


def _grid(tables: Sequence[MetricTable]) -> _Grid:
    problems = list(dict.fromkeys(problem for table in tables for problem in table.problem_ids))
    shares = np.array([_shares(table, problems) for table in tables])
    order = np.argsort(np.nanmean(shares, axis=0), kind="stable")
    per_column = ceil(len(problems) / (_COLUMNS_A_BAND * _BANDS_AT_MOST))
    columns = _binned(shares[:, order], per_column)
    drawn = evenly(range(len(tables)), _CHECKPOINTS_AT_MOST)
    return _Grid(
        checkpoints=short_names((tables[i].checkpoint for i in drawn), 16),
        problems=[problems[i] for i in order],
        shares=columns[list(drawn)],
        change=columns[1] - columns[0] if len(tables) == 2 else None,
        per_column=per_column,
    )


def _shares(table: MetricTable, problems: Sequence[str]) -> list[float]:
    """pass@1 of each problem in percent; NaN where the table does not have the problem."""
    pass_at_1 = next(own for own in table.statistics if own.metric == "pass@1")
    pairs = zip(table.problem_ids, pass_at_1.numerators, pass_at_1.denominators, strict=True)
    known = {problem: 100 * num / den for problem, num, den in pairs if den}
    return [known.get(problem, np.nan) for problem in problems]


def _binned(shares: Floats, size: int) -> Floats:
    """Means of `size` neighbours: [checkpoints, problems] to [checkpoints, columns]."""
    starts = np.arange(0, shares.shape[-1], size)
    known = np.add.reduceat(~np.isnan(shares), starts, axis=-1, dtype=np.float64)
    sums = np.add.reduceat(np.nan_to_num(shares), starts, axis=-1)
    return np.divide(sums, known, out=np.full_like(sums, np.nan), where=known > 0)


def _bands(grid: _Grid) -> list[slice]:
    """Columns of each band: as few bands as fit, equally long."""
    n_columns = grid.shares.shape[-1]
    length = ceil(n_columns / ceil(n_columns / _COLUMNS_A_BAND))
    return [slice(start, start + length) for start in range(0, n_columns, length)]


def _caption(grid: _Grid, n_all: int) -> Iterator[str]:
    yield f"{counted(len(grid.problems), 'problem')} from hardest to easiest, by mean over checkpoints"
    if grid.change is not None:
        before, after = grid.checkpoints
        yield f"lower strip: {after} − {before}, percentage points"
    if grid.per_column > 1:
        yield f"a column is the mean of {grid.per_column} problems of like difficulty"
    if np.isnan(grid.shares).any():
        yield "white: no samples"
    yield from drawn_of(len(grid.checkpoints), n_all)


# --- drawing ----------------------------------------------------------------------------------------


def _draw_band(panels: Sequence[Axes], grid: _Grid, band: slice, view: BenchmarkView) -> AxesImage:
    # Places are those of problems, 1 for the hardest, however many a column stands for.
    edges = 0.5 + grid.per_column * np.arange(band.start, band.stop + 1)
    image = _draw_shares(panels[0], grid, band, edges)
    if grid.change is not None:
        _draw_change(panels[1], grid.change, band, edges)
    for axes in panels:
        axes.grid(visible=False)
        axes.set_xlim(edges[0], edges[-1])
        axes.tick_params(length=0, labelbottom=axes is panels[-1])
    _name_problems(panels[-1], grid, view)
    return image


def _draw_shares(axes: Axes, grid: _Grid, band: slice, edges: Floats) -> AxesImage:
    shares = grid.shares[:, band]
    n_rows, n_columns = shares.shape[0], shares.shape[1]
    extent = (edges.item(0), edges.item(n_columns), n_rows - 0.5, -0.5)
    colours: dict[str, Any] = {"cmap": "cividis", "vmin": 0, "vmax": _tens(grid.shares)}
    image = axes.imshow(shares, extent=extent, aspect="auto", interpolation="none", **colours)
    name_rows(axes, grid.checkpoints, range(n_rows))
    return image


def _draw_change(axes: Axes, change: Floats, band: slice, edges: Floats) -> None:
    most, own = _tens(change), np.nan_to_num(change[band])
    for part, colour in ((own.clip(min=0), DARK_FILL), (own.clip(max=0), WARM_FILL)):
        axes.stairs(part, edges[: len(own) + 1], fill=True, color=colour, linewidth=0)
    axes.axhline(0, color="black", linewidth=0.4)
    axes.set_ylim(-1.05 * most, 1.05 * most)
    axes.set_yticks([-most, 0, most], labels=[f"−{most}", "0", f"+{most}"], size=SMALL)


def _name_problems(axes: Axes, grid: _Grid, view: BenchmarkView) -> None:
    """The benchmark's own ids where they fit, else the places in the order of difficulty."""
    n_problems = len(grid.problems)
    if n_problems > _NAMED_AT_MOST:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 2.5, 5, 10]))
        return
    ids = short_names((view.source_ids.get(problem, problem) for problem in grid.problems), 12)
    axes.set_xticks(range(1, n_problems + 1), labels=ids, rotation=90, size=5)


def _tens(values: Floats) -> int:
    """The largest size, rounded up to tens; at least 10."""
    return max(10 * ceil(round(float(np.nanmax(np.abs(values))), 6) / 10), 10)
