"""What figure tests share: a view from tables by hand, and what is written in a figure."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from report.handmade import compared

from opo_eval.records import Comparison, MetricTable
from opo_eval.report.views import BenchmarkView, benchmark_views


def view(*tables: MetricTable, comparisons: Sequence[Comparison] = (), **fields: object) -> BenchmarkView:
    """The only benchmark's."""
    (found,) = benchmark_views(compared(tables, comparisons, **fields))
    return found


def caption(figure: Figure) -> list[str]:
    """The lines under the axes: over the legend, or on their own."""
    text = figure.legends[0].get_title().get_text() if figure.legends else figure.get_supxlabel()
    return text.split("\n")


def panels(figure: Figure) -> dict[str, Axes]:
    """By title."""
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def row_names(axes: Axes) -> list[str]:
    """From top to bottom."""
    return [label.get_text() for label in axes.get_yticklabels()]


def points(axes: Axes) -> list[Line2D]:
    """What is drawn as markers without a line."""
    return [line for line in axes.lines if line.get_linestyle() == "None"]


def places(lines: Sequence[Line2D]) -> list[tuple[list[float], list[float]]]:
    """x and y of each."""
    return [(list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in lines]


def texts(axes: Axes) -> Mapping[float, str]:
    """Texts inside and beside the axes by their y."""
    return {text.get_position()[1]: text.get_text() for text in axes.texts}
