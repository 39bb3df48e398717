"""The paper's figures from our tables: each is a function from finished numbers to a matplotlib Figure.

Panels stand side by side at full width and one below the other at column width. What bands and points are
is said in the caption that goes with a figure, not in it.
"""

from collections.abc import Callable, Sequence
from math import ceil
from string import ascii_lowercase
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from opo_eval.report.figures.parts import round_ticks, short_names
from opo_eval.report.figures.style import CURVES, NothingToDraw, evenly
from opo_eval.report.paper.data import Followed
from opo_eval.report.paper.style import WIDTHS, paper_style
from opo_eval.report.training_panels import Styles, draw_curves, draw_paths, styles_of

REWARD, KL, ENTROPY = "reward", "kl_start", "entropy"
TRAINING, KL_AND_ENTROPY = (REWARD, KL, ENTROPY), (KL, ENTROPY)
"""What is drawn over steps."""
_LABELS = {REWARD: "training reward", KL: "KL to {origin} (nats)", ENTROPY: "entropy (nats)"}
_PANEL_HEIGHT = {"column": 1.35, "full": 1.6}
_LEGEND_LINE = 0.14
_NAME_LIMIT = 32
_LETTER, _HANDLE = 0.065, 0.55
"""Inches that a letter of the legend takes at most, and what stands before a name."""

Panel = Callable[[Axes, Styles], None]


def training(followed: Followed, width: str) -> Figure:
    """Training reward, KL and entropy over steps (Figures 1 and 3 of the paper), as far as they are known.

    width: a key of `WIDTHS`. Raises NothingToDraw where no training run has records.
    """
    panels = [_over_steps(followed, name) for name in quantities_of(followed, TRAINING)]
    if not panels:
        raise NothingToDraw("the records of no training run are at hand")
    return _figure(panels, drawn(followed), width)


def kl_and_entropy(followed: Followed, width: str) -> Figure:
    """KL against pass@1, and KL and entropy over steps (Figure 2 of the paper), as far as they are known.

    width: a key of `WIDTHS`. Raises NothingToDraw where no checkpoint has both KL and pass@1.
    """
    if not any(path.means for path in followed.paths):
        raise NothingToDraw("no checkpoint has both a KL to where training began and a pass@1")
    panels = [_against_accuracy(followed)]
    panels += [_over_steps(followed, name) for name in quantities_of(followed, KL_AND_ENTROPY)]
    return _figure(panels, drawn(followed), width)


def quantities_of(followed: Followed, wanted: Sequence[str]) -> list[str]:
    """Those of the wanted quantities that have a curve over steps."""
    return [name for name in wanted if any(curve.quantity == name for curve in followed.curves)]


def names_of(followed: Followed) -> list[str]:
    """Everything that has a curve or a path."""
    return list(dict.fromkeys(one.arm for one in (*followed.curves, *followed.paths)))


def drawn(followed: Followed) -> list[str]:
    """Those of them that a figure draws: at most eight, at even steps, the first and the last among them."""
    return list(evenly(names_of(followed), len(CURVES)))


# --- panels -----------------------------------------------------------------------------------------


def _over_steps(followed: Followed, quantity: str) -> Panel:
    def draw(axes: Axes, styles: Styles) -> None:
        draw_curves(axes, followed.curves, quantity, styles)
        if any(curve.steps[0] == 0 for curve in followed.curves):
            _leave_room_at_zero(axes)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 2.5, 5, 10]))
        axes.set_xlabel("training step")
        axes.set_ylabel(_label(followed, quantity))

    return draw


def _against_accuracy(followed: Followed) -> Panel:
    def draw(axes: Axes, styles: Styles) -> None:
        draw_paths(axes, followed.paths, styles)
        axes.xaxis.set_major_locator(round_ticks(4))
        _leave_room_at_zero(axes)
        axes.set_xlabel(_label(followed, KL))
        axes.set_ylabel("pass@1 (%)")

    return draw


def _leave_room_at_zero(axes: Axes) -> None:
    """For a marker that the edge would halve."""
    axes.set_xlim(left=-0.03 * axes.get_xlim()[1])


def _label(followed: Followed, quantity: str) -> str:
    return _LABELS[quantity].format(origin=followed.source.origin)


# --- putting them together --------------------------------------------------------------------------


@paper_style()
def _figure(panels: Sequence[Panel], names: Sequence[str], width: str) -> Figure:
    """Panels under one legend."""
    styles = styles_of(names)
    side_by_side = width == "full"
    n_rows, n_columns = (1, len(panels)) if side_by_side else (len(panels), 1)
    columns = _legend_columns(names, WIDTHS[width])
    height = n_rows * _PANEL_HEIGHT[width] + _LEGEND_LINE * ceil(len(names) / columns)
    figure = Figure(figsize=(WIDTHS[width], height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03)
    places = figure.subplots(n_rows, n_columns, squeeze=False).flat
    for axes, panel, letter in zip(places, panels, ascii_lowercase, strict=False):
        panel(axes, styles)
        axes.set_title(f"({letter})", size=7, pad=2)
    figure.align_ylabels()
    _legend(figure, names, styles, columns)
    return figure


def _legend(figure: Figure, names: Sequence[str], styles: Styles, columns: int) -> None:
    handles = [Line2D([], [], linewidth=1, markersize=3, **styles[name]) for name in names]
    look: dict[str, Any] = {"loc": "outside upper center", "ncols": columns, "handlelength": 3}
    look |= {"borderpad": 0.1, "columnspacing": 1.0, "handletextpad": 0.5, "labelspacing": 0.2}
    figure.legend(handles=handles, labels=short_names(names, _NAME_LIMIT), **look)


def _legend_columns(names: Sequence[str], width: float) -> int:
    longest = max(map(len, short_names(names, _NAME_LIMIT)))
    return min(len(names), max(1, int(width / (_HANDLE + _LETTER * longest))))
