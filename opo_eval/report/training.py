"""Figures of training: what changes over steps, and what KL to the start buys in pass@1.

Each is a function from finished numbers to a matplotlib Figure, and writes no file. Beside every figure goes
a CSV file with what is drawn.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opo_eval.report.data import csv_table
from opo_eval.report.figures.parts import interval_lines, legend_below, round_ticks, short_names
from opo_eval.report.figures.style import CURVES, WIDTH, NothingToDraw, drawable, figure_style
from opo_eval.report.training_data import QUANTITIES, Curve, Path
from opo_eval.report.training_panels import draw_curve, draw_path, intervals_of

_PANEL = 1.15
"""Height of a panel, in inches."""
_CURVE_COLUMNS = ("arm", "quantity", "step", "mean", "low", "high", "level", "n_seeds", "block")
_POINT_COLUMNS = ("arm", "run", "step", "kl", "pass@1")


# --- over steps -------------------------------------------------------------------------------------


@figure_style()
def over_steps(title: str, curves: Sequence[Curve], quantities: Sequence[str]) -> Figure:
    """A panel a quantity, a curve an arm: the mean over seeds and the interval over seeds of each block.

    Raises NothingToDraw where there is no curve of any of the quantities.
    """
    shown = [name for name in quantities if any(curve.quantity == name for curve in curves)]
    if not shown:
        raise NothingToDraw(f"no run has measured {' or '.join(quantities)}")
    arms = list(dict.fromkeys(curve.arm for curve in curves))
    styles = dict(zip(arms, CURVES, strict=False))
    figure = _new_figure(title, _PANEL * len(shown) + 0.3)
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, quantity in zip(panels, shown, strict=True):
        for curve in (curve for curve in curves if curve.quantity == quantity):
            draw_curve(axes, curve, styles[curve.arm])
        _finish_panel(axes, quantity)
    panels[-1].set_xlabel("training step (rollouts)")
    handles = [panels[0].plot([], [], markersize=3, linewidth=1, **styles[arm])[0] for arm in arms]
    legend_below(figure, short_names(arms, 48), _said_of(curves), handles=handles, handlelength=4)
    return figure


def _finish_panel(axes: Axes, quantity: str) -> None:
    axes.set_title(QUANTITIES[quantity], fontsize=7)
    axes.yaxis.set_major_locator(round_ticks(4))
    axes.set_xlim(left=0)
    if quantity == "kl_start":
        axes.set_ylim(bottom=0)


def _said_of(curves: Sequence[Curve]) -> Iterator[str]:
    block = max(curve.block for curve in curves)
    each = f"each mean of {block} steps" if block > 1 else "each step"
    seeds = sorted({curve.n_seeds for curve in curves})
    if seeds == [1]:
        yield f"one training seed an arm: these are runs, not methods; {each} on its own"
        return
    yield f"lines: mean over {' or '.join(map(str, seeds))} training seeds"
    yield from interval_lines("bands", intervals_of(curves))
    yield f"{each} on its own (Student's t), not the whole curve at once"


def curves_csv(curves: Sequence[Curve]) -> bytes:
    """What `over_steps` draws, a row a block; shares are from 0 to 1."""
    return csv_table(_CURVE_COLUMNS, (row for curve in curves for row in _curve_rows(curve)))


def _curve_rows(curve: Curve) -> Iterator[dict[str, Any]]:
    for step, mean, interval in zip(curve.steps, curve.means, curve.intervals, strict=True):
        yield {
            "arm": curve.arm,
            "quantity": curve.quantity,
            "step": f"{step:g}",
            "mean": f"{mean:.6g}",
            **({"low": f"{interval.low:.6g}", "high": f"{interval.high:.6g}"} if interval else {}),
            "level": interval.level if interval else None,
            "n_seeds": curve.n_seeds,
            "block": curve.block,
        }


# --- KL against pass@1 ------------------------------------------------------------------------------


@figure_style()
def kl_against_accuracy(title: str, paths: Sequence[Path]) -> Figure:
    """pass@1 on held-out problems against KL to the start: every checkpoint a point, means connected."""
    drawn = [path for path in paths if path.means]
    if not drawn:
        raise NothingToDraw("no checkpoint has both a pass@1 and a KL to the start")
    figure = _new_figure(title, 2.2)
    axes = figure.add_subplot()
    for path, style in zip(drawn, CURVES, strict=False):
        draw_path(axes, path, style)
    axes.set_xlabel(QUANTITIES["kl_start"])
    axes.set_ylabel("pass@1 (%)")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(round_ticks(6))
    axes.yaxis.set_major_locator(round_ticks(6))
    legend_below(figure, short_names((path.arm for path in drawn), 48), _said_of_paths(drawn), handlelength=4)
    return figure


def _said_of_paths(paths: Sequence[Path]) -> Iterator[str]:
    n_points = max(len(path.means) for path in paths)
    n_seeds = max(len(path.runs) for path in paths)
    yield f"from the start, at KL 0, to the last of {n_points - 1} checkpoints"
    if n_seeds > 1:
        yield f"small: single checkpoints of {n_seeds} training seeds; connected: their means, step by step"
    else:
        yield "one training seed an arm: these are runs, not methods"


def paths_csv(paths: Sequence[Path]) -> bytes:
    """What `kl_against_accuracy` draws: a row a checkpoint, and `mean` rows; pass@1 is from 0 to 1."""
    return csv_table(_POINT_COLUMNS, (row for path in paths for row in _path_rows(path)))


def _path_rows(path: Path) -> Iterator[dict[str, Any]]:
    runs = {**{str(i): run for i, run in enumerate(path.runs)}, "mean": path.means}
    for name, points in runs.items():
        for point in points:
            yield {
                "arm": path.arm,
                "run": name,
                "step": point.step,
                "kl": f"{point.kl:.6g}",
                "pass@1": f"{point.pass_at_1:.6g}",
            }


def _new_figure(title: str, height: float) -> Figure:
    figure = Figure(figsize=(WIDTH, height + 0.25), layout="constrained")
    figure.suptitle(drawable(title, 56), x=0.01, ha="left")
    return figure
