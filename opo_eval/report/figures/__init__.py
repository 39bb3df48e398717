"""Figures: each is a function from the view of one benchmark to a matplotlib Figure, and writes no file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from opo_eval.report.figures.accuracy import diversity_and_accuracy
from opo_eval.report.figures.along_response import entropy_along_response
from opo_eval.report.figures.curves import pass_at_k
from opo_eval.report.figures.differences import arm_differences, differences
from opo_eval.report.figures.divergence import kl_against_accuracy
from opo_eval.report.figures.diversity import diversity
from opo_eval.report.figures.flips import flipped
from opo_eval.report.figures.lengths import lengths
from opo_eval.report.figures.over_steps import over_steps, over_steps_differences
from opo_eval.report.figures.solved import solved
from opo_eval.report.figures.style import (
    FORMATS,
    NothingToDraw,
    figure_bytes,
    figure_files,
    figure_style,
)
from opo_eval.report.figures.subsets import subsets
from opo_eval.report.figures.truncation import truncation
from opo_eval.report.names import file_name
from opo_eval.report.views import BenchmarkView

FIGURES: dict[str, Callable[[BenchmarkView], Figure]] = {
    "pass_at_k": pass_at_k,
    "differences": differences,
    "arm_differences": arm_differences,
    "over_steps": over_steps,
    "over_steps_differences": over_steps_differences,
    "kl_against_accuracy": kl_against_accuracy,
    "entropy_along_response": entropy_along_response,
    "diversity": diversity,
    "diversity_and_accuracy": diversity_and_accuracy,
    "solved": solved,
    "flips": flipped,
    "subsets": subsets,
    "lengths": lengths,
    "truncation": truncation,
}
"""Name → figure, in the order in which reports show them; both are in the names of files."""


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


def draw(name: str, view: BenchmarkView) -> Drawing:
    """Draw the figure of this name in every format."""
    stem = f"figures/{name}_{file_name(view.benchmark)}"
    try:
        figure = FIGURES[name](view)
    except NothingToDraw as nothing:
        return Drawing(name=name, benchmark=view.benchmark, stem=stem, files={}, reason=str(nothing))
    return Drawing(name=name, benchmark=view.benchmark, stem=stem, files=figure_files(figure, stem))


__all__ = [
    "FIGURES",
    "FORMATS",
    "Drawing",
    "NothingToDraw",
    "draw",
    "figure_bytes",
    "figure_files",
    "figure_style",
]
