"""What figures of training are put together from: each draws into Axes that are there, a user's too."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from opo_eval.records import Interval
from opo_eval.report.figures.parts import round_ticks
from opo_eval.report.figures.style import CURVES
from opo_eval.report.training_data import Curve, Path, Point

Style = Mapping[str, Any]
Styles = Mapping[str, Style]
"""Arm → colour, line style and marker."""
_SHARES = ("groups_equal",)


def styles_of(arms: Sequence[str]) -> Styles:
    """A look for each of the first eight arms, apart in greyscale and for every kind of colour vision."""
    return dict(zip(dict.fromkeys(arms), CURVES, strict=False))


# --- over steps -------------------------------------------------------------------------------------


def draw_curves(axes: Axes, curves: Sequence[Curve], quantity: str, styles: Styles | None = None) -> None:
    """The curves of a quantity over training steps, each with its intervals shaded.

    styles: default `styles_of` the arms of `curves`; an arm without one is not drawn.
    """
    looks = styles_of([curve.arm for curve in curves]) if styles is None else styles
    shown = [curve for curve in curves if curve.quantity == quantity and curve.arm in looks]
    for i, curve in enumerate(shown):
        # Markers side by side: curves that lie on one another are told apart by them.
        draw_curve(axes, curve, looks[curve.arm], aside=(i + 0.5) / len(shown))
        _draw_edges(axes, curve, looks[curve.arm])
    axes.yaxis.set_major_locator(round_ticks(4))
    axes.set_xlim(left=0)
    if quantity == "kl_start":
        axes.set_ylim(bottom=0)


def draw_curve(axes: Axes, curve: Curve, style: Style, *, aside: float = 0.5) -> None:
    """One of them. aside: where its first marker stands, as a share of the way between two."""
    scale = _scale(curve)
    means = [scale * mean for mean in curve.means]
    every = max(len(means) // 5, 1)
    axes.plot(curve.steps, means, markersize=2.5, linewidth=1, markevery=(int(aside * every), every), **style)
    if known := _known(curve):
        steps, lows, highs = zip(*((step, scale * i.low, scale * i.high) for step, i in known), strict=True)
        axes.fill_between(steps, lows, highs, color=style["color"], alpha=0.15, linewidth=0)


def _known(curve: Curve) -> list[tuple[float, Interval]]:
    """The steps that have an interval."""
    return [(step, i) for step, i in zip(curve.steps, curve.intervals, strict=True) if i]


def _scale(curve: Curve) -> int:
    return 100 if curve.quantity in _SHARES else 1


def _draw_edges(axes: Axes, curve: Curve, style: Style) -> None:
    """Shades that overlap are told apart by their edges."""
    scale = _scale(curve)
    ends = [(step, scale * i.low, scale * i.high) for step, i in _known(curve)]
    for edge in (1, 2):
        steps, places = [end[0] for end in ends], [end[edge] for end in ends]
        axes.plot(steps, places, linewidth=0.3, color=style["color"], linestyle=style["linestyle"])


def intervals_of(curves: Sequence[Curve]) -> Iterator[Interval]:
    """Those that are shaded."""
    return (interval for curve in curves for interval in curve.intervals if interval)


# --- KL against pass@1 ------------------------------------------------------------------------------


def draw_paths(axes: Axes, paths: Sequence[Path], styles: Styles | None = None) -> None:
    """pass@1 against KL: every checkpoint a point, the means of an arm's seeds connected.

    styles: default `styles_of` the arms of `paths`; an arm without one is not drawn.
    """
    looks = styles_of([path.arm for path in paths]) if styles is None else styles
    for path in (path for path in paths if path.means and path.arm in looks):
        draw_path(axes, path, looks[path.arm])
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(round_ticks(6))
    axes.yaxis.set_major_locator(round_ticks(6))


def draw_path(axes: Axes, path: Path, style: Style) -> None:
    """One of them."""
    colour = style["color"]
    if len(path.runs) > 1:
        xs, ys = _places([point for run in path.runs for point in run])
        look = {"marker": style["marker"], "markersize": 1.8, "alpha": 0.35, "markeredgewidth": 0}
        axes.plot(xs, ys, linestyle="", color=colour, **look)
    xs, ys = _places(path.means)
    axes.plot(xs, ys, label=path.arm, markersize=3, linewidth=1, **style)


def _places(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    return [point.kl for point in points], [100 * point.pass_at_1 for point in points]
