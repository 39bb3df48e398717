"""Every figure: files that are the same each time, names of any kind, nothing clipped, nothing invented."""

from dataclasses import replace
from functools import cache
from io import BytesIO
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib import image
from matplotlib.figure import Figure
from report.drawn import caption, view
from report.handmade import (
    comparison,
    interval,
    outcomes,
    row,
    statistics,
    step_curve,
    table,
    token_values,
)

from opo_eval.arms import Arm
from opo_eval.over_steps import OverSteps
from opo_eval.records import MetricTable
from opo_eval.report.figures import FIGURES, NothingToDraw, draw, figure_bytes, figure_style
from opo_eval.report.figures.style import drawable, evenly
from opo_eval.report.views import BenchmarkView

OVER_K = {f"pass@{k}": (0.2 + 0.05 * k, 0.1 + 0.05 * k, 0.3 + 0.05 * k) for k in (1, 2, 4, 8)}
COMPARED = OVER_K | {
    "self_bleu": (60.0, 55.0, 66.0),
    "rep_5": (0.12, 0.1, 0.15),
    "truncated": (0.1875, 0.1, 0.3),
}
EVERYTHING = COMPARED | token_values()
HOSTILE = [
    "_hidden",
    "a$b$",
    "$\\frac$",
    "中文\x00\n",
    "&<b>" + "w" * 200 + "1",
    "&<b>" + "w" * 200 + "2",
    "",
]
ARMS = {
    "arms": (Arm(name="grpo", checkpoints=("a", "b")), Arm(name="opo", checkpoints=("c", "d"))),
    "arm_comparisons": tuple(comparison(m, (0.1, 0.02, 0.2), a="grpo", b="opo") for m in ("pass@1", "rep_5")),
}


def _table(checkpoint: str, benchmark: str = "sums", values: dict = EVERYTHING) -> MetricTable:
    named = {"checkpoint": checkpoint, "benchmark": benchmark}
    levels = [row("pass@1", (0.5, 0.4, 0.6), subset=f"level={i}", n_problems=9, **named) for i in range(6)]
    return table(checkpoint, values, benchmark=benchmark, rows=levels)


@cache
def _full(*checkpoints: str, benchmark: str = "sums") -> BenchmarkView:
    """Something to draw for every figure, against the first checkpoint."""
    first, *others = checkpoints
    comparisons = [
        comparison(
            name, (0.1, 0.05, 0.2), a=first, b=other, benchmark=benchmark, interval_these=interval(0, 0.15)
        )
        for other in others
        for name in COMPARED
    ]
    arms = ARMS if benchmark == "sums" else {}
    curves = tuple(
        step_curve(name, metric, benchmark=benchmark)
        for name in checkpoints
        for metric in ("pass@1", "rep_5")
    )
    tables = [_table(checkpoint, benchmark) for checkpoint in checkpoints]
    return view(*tables, comparisons=comparisons, over_steps=OverSteps(curves=curves), **arms)


def _pixels(png: bytes) -> np.ndarray:
    return image.imread(BytesIO(png), format="png")[..., :3]


def _laid_out(figure: Figure) -> Figure:
    with figure_style():
        figure.draw_without_rendering()
    return figure


# --- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_one_column_wide_and_not_blank(name: str) -> None:
    drawing = draw(name, _full("early", "late"))
    assert list(drawing.files) == [f"figures/{name}_sums.png", f"figures/{name}_sums.svg"]
    png, svg = drawing.files.values()
    pixels = _pixels(png)
    assert pixels.shape[1] == 680  # 3.4 in at 200 dots an inch
    assert 0.02 < (pixels.min(axis=-1) < 0.9).mean() < 0.6
    assert ElementTree.fromstring(svg).tag.endswith("svg") and b"<dc:date>" not in svg
    assert b"Software" not in png and b"tIME" not in png


@pytest.mark.parametrize("name", FIGURES)
def test_files_are_the_same_each_time_whatever_the_user_s_settings(name: str) -> None:
    before = draw(name, _full("early", "late")).files
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        assert draw(name, _full("early", "late")).files == before
        assert matplotlib.rcParams["font.size"] == 30


# --- what is written --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("checkpoints", [("early", "late"), tuple(HOSTILE)], ids=["two", "hostile"])
def test_nothing_that_is_written_is_cut_off(name: str, checkpoints: tuple[str, ...]) -> None:
    figure = _laid_out(FIGURES[name](_full(*checkpoints)))
    written = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert written.x0 > -0.01 and written.x1 < width + 0.01
    assert written.y0 > -0.01 and written.y1 < height + 0.01


@pytest.mark.parametrize("name", FIGURES)
def test_forty_checkpoints_do_not_run_into_one_another(name: str) -> None:
    figure = _laid_out(FIGURES[name](_full(*(f"{'x' * 200}_{i}" for i in range(40)))))
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_yticklabels() if label.get_text()]
        boxes.sort(key=lambda box: box.y0)
        assert all(below.y1 <= above.y0 + 1 for below, above in pairwise(boxes))
    assert figure.get_figheight() < 9


@pytest.mark.parametrize(
    ("name", "n"),
    [("pass_at_k", 8), ("solved", 12), ("lengths", 10), ("subsets", 8), ("entropy_along_response", 8)],
)
def test_a_figure_says_how_many_checkpoints_it_leaves_out(name: str, n: int) -> None:
    figure = FIGURES[name](_full(*(f"c{i}" for i in range(40))))
    assert f"{n} of 40 checkpoints; all numbers are in the CSV files" in caption(figure)
    assert not any("of 12 checkpoints" in line for line in caption(FIGURES["diversity"](_full("a", "b"))))


@pytest.mark.parametrize("name", FIGURES)
def test_the_benchmark_is_named_whatever_its_name(name: str) -> None:
    figure = FIGURES[name](replace(_full("early", "late"), label="$a_{b}$ 中"))
    assert figure.get_suptitle().split("\n")[0] == "$a_{b}$ ?"
    assert _pixels(figure_bytes(figure, "png")).std() > 0


def test_names_are_shortened_in_the_middle_and_keep_to_what_the_font_has() -> None:
    assert drawable("_a\n中", 10) == " _a ?"
    assert drawable("x" * 50 + "end", 11) == "xxxxx…xxend"
    wide = drawable("W" * 40 + "1", 24)
    assert 12 < len(wide) < 24 and wide.endswith("W1")  # W is half as wide again as other letters
    assert list(evenly(range(40), 8)) == [0, 6, 11, 17, 22, 28, 33, 39]
    assert list(evenly(range(3), 8)) == [0, 1, 2]


# --- little to draw ---------------------------------------------------------------------------------


def _one_problem(*checkpoints: str) -> BenchmarkView:
    values = {"pass@1": (1.0,), "self_bleu": (60.0,), "rep_5": (0.0,), "truncated": (0.0,)}
    values |= token_values(half=None)
    single = statistics("pass@1", 1.0, numerators=(1.0,), denominators=(1.0,), n_samples=(1,))
    fields = {"n": 1, "problem_ids": ("p0",), "statistics": (single,), "outcomes": outcomes(1, 1)}
    counts = {"problems": 1, "samples": 1, "correct": 1}
    rows = [comparison(name, (0.0,), p_value=None, p_adjusted=None) for name in values]
    tables = [table(checkpoint, values, counts=counts, **fields) for checkpoint in checkpoints]
    return view(*tables, comparisons=rows if len(tables) > 1 else ())


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("checkpoints", [("early",), ("early", "late")])
def test_one_problem_is_drawn_without_intervals(name: str, checkpoints: tuple[str, ...]) -> None:
    drawing = draw(name, _one_problem(*checkpoints))
    assert bool(drawing.files) != bool(drawing.reason)
    if drawing.files and name not in ("solved", "lengths", "flips"):
        said = caption(FIGURES[name](_one_problem(*checkpoints)))
        assert "no intervals: too few problems, or all of them are alike" in said


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pass_at_k", "no checkpoint is graded"),
        ("differences", "there is one checkpoint"),
        ("arm_differences", "two, each trained with several seeds"),
        ("diversity", "no diversity metric is defined"),
        ("diversity_and_accuracy", "no checkpoint has both"),
        ("solved", "no checkpoint is graded"),
        ("flips", "there is one checkpoint"),
        ("subsets", "no checkpoint is graded"),
        ("truncation", "it is not known of any sample"),
        ("kl_against_accuracy", "no checkpoint is scored against a reference"),
        ("entropy_along_response", "no checkpoint is scored"),
    ],
)
def test_where_there_is_nothing_to_draw_the_reason_is_said(name: str, reason: str) -> None:
    nothing = view(table("early", {"tokens": (40.0, 30.0, 50.0)}))
    with pytest.raises(NothingToDraw, match=reason):
        FIGURES[name](nothing)
    drawing = draw(name, nothing)
    assert not drawing.files and reason in drawing.reason


def test_what_only_a_checkpoint_has_that_is_not_drawn_breaks_nothing() -> None:
    """Of 41 checkpoints the 21st is the one that bars leave out."""
    plain = [table(f"c{i}", {"self_bleu": (60.0,)}) for i in range(40)]
    odd = table("odd", {"rep_5": (0.2,), "truncated": (0.1,)})
    found = view(*plain[:20], odd, *plain[20:])
    assert [axes.get_xlabel() for axes in FIGURES["diversity"](found).axes] == ["Self-BLEU (0 to 100)"]
    with pytest.raises(NothingToDraw, match="not known of any sample"):
        FIGURES["truncation"](found)
