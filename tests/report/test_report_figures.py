"""Figures: what they draw is what the tables say, with units, and nothing is drawn that is not known."""

from io import BytesIO

import matplotlib
import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from report.handmade import curve, row, table

from opo_eval.report.figures import FIGURES, NothingToDraw, diversity, draw, figure_bytes, pass_at_k

EARLY = curve("early", [0.3, 0.5, 0.6, 0.65])
LATE = curve("late", [0.5, 0.6, 0.65, 0.7])
DIVERSE = {"self_bleu": (60.0, 55.0, 66.0), "rep_5": (0.12, 0.1, 0.15)}


def _curves(axes: Axes) -> dict[str, list[float]]:
    """The labelled lines: those of values, not the edges of bands."""
    lines = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    return {str(line.get_label()): list(line.get_ydata()) for line in lines}


def _pixels(png: bytes) -> np.ndarray:
    return image.imread(BytesIO(png), format="png")[..., :3]


# --- pass@k -----------------------------------------------------------------------------------------


def test_curves_and_bands_are_the_tables_in_percent() -> None:
    (axes,) = pass_at_k([EARLY, LATE]).axes
    curves = _curves(axes)
    assert curves["early"] == pytest.approx([30, 50, 60, 65])
    assert curves["late"] == pytest.approx([50, 60, 65, 70])
    low, high = (band.get_paths()[0].vertices[:, 1] for band in axes.collections)
    assert (low.min(), low.max()) == pytest.approx((25, 70))
    assert (high.min(), high.max()) == pytest.approx((45, 75))


def test_axes_say_what_and_in_which_unit() -> None:
    figure = pass_at_k([EARLY])
    (axes,) = figure.axes
    assert axes.get_xlabel() == "k (samples a problem)"
    assert axes.get_ylabel() == "pass@k (%)"
    assert axes.get_title(loc="left") == "sums"
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4"]
    assert figure.legends[0].get_title().get_text() == "bands: 95 % over problems like these"


@pytest.mark.parametrize(
    ("n", "ticks"), [(16, "1 2 4 8 16"), (17, "1 2 4 8 17"), (50, "1 2 4 8 16 32 50"), (3, "1 2 3")]
)
def test_ticks_are_powers_of_two_and_n(n: int, ticks: str) -> None:
    (axes,) = pass_at_k([curve("early", [0.5] * n)]).axes
    assert " ".join(label.get_text() for label in axes.get_xticklabels()) == ticks


def test_curves_differ_in_colour_line_and_marker_at_once() -> None:
    (axes,) = pass_at_k([curve(f"c{i}", [0.1 * i, 0.1 * i]) for i in range(1, 9)]).axes
    lines = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    for style in (
        {to_rgb(line.get_color()) for line in lines},
        {str(line.get_marker()) for line in lines},
        {str(line._dash_pattern) for line in lines},
    ):
        assert len(style) == len(lines) == 8


def test_many_checkpoints_are_capped_and_the_figure_says_so() -> None:
    figure = pass_at_k([curve(f"{'x' * 200}_{i}", [0.1, 0.2]) for i in range(40)])
    (legend,) = figure.legends
    assert "8 of 40 checkpoints; all numbers are in metrics.csv" in legend.get_title().get_text()
    shown = [text.get_text() for text in legend.get_texts()]
    assert len(shown) == len(set(shown)) == 8
    assert shown[0].endswith("_0") and shown[-1].endswith("_39")
    assert max(map(len, shown)) <= 48


@pytest.mark.parametrize("name", ["_hidden", "a$b$", "$\\frac$", "中文", "a\nb", ""])
def test_any_name_gets_its_place_in_the_legend(name: str) -> None:
    figure = pass_at_k([EARLY, curve(name, [0.5, 0.6, 0.7, 0.8])])
    assert len(figure.legends[0].get_texts()) == 2
    assert _pixels(figure_bytes(figure, "png")).std() > 0


def test_all_right_and_all_wrong_stay_inside_the_axes() -> None:
    for value in (0.0, 1.0):
        (axes,) = pass_at_k([curve("early", [value] * 4)]).axes
        low, high = axes.get_ylim()
        assert low < 100 * value < high
        assert all(0 <= tick <= 100 for tick in axes.get_yticks())
        assert high - low >= 20


def test_a_single_problem_gives_a_curve_without_a_band() -> None:
    rows = {"pass@1": (0.5,), "pass@2": (1.0,)}
    figure = pass_at_k([table("early", rows, n=2)])
    assert _curves(figure.axes[0])["early"] == [50, 100]
    assert not figure.axes[0].collections
    assert figure.legends[0].get_title().get_text() == "too few problems for intervals"


def test_without_pass_at_k_nothing_is_drawn() -> None:
    with pytest.raises(NothingToDraw, match="no checkpoint is graded"):
        pass_at_k([table("early", DIVERSE)])
    with pytest.raises(NothingToDraw, match="two samples a problem or more"):
        pass_at_k([curve("early", [0.5])])
    drawing = draw("pass_at_k", [table("early", DIVERSE)])
    assert not drawing.files and "no checkpoint is graded" in drawing.reason


# --- diversity --------------------------------------------------------------------------------------


def test_bars_are_the_tables_with_their_intervals() -> None:
    tables = [table("early", DIVERSE), table("late", {"self_bleu": (70.0, 65.0, 71.0), "rep_5": (0.2,)})]
    figure = diversity(tables)
    bleu, rep = figure.axes
    assert [bar.get_width() for bar in bleu.patches] == [60, 70]
    assert [bar.get_width() for bar in rep.patches] == pytest.approx([12, 20])
    assert [list(line.get_xdata()) for line in bleu.lines] == [[55, 66], [65, 71]]
    assert [list(line.get_xdata()) for line in rep.lines] == [pytest.approx([10, 15])]
    assert (bleu.get_xlabel(), rep.get_xlabel()) == ("Self-BLEU (0 to 100)", "Rep-5 (%)")
    assert [label.get_text() for label in bleu.get_yticklabels()] == ["early", "late"]
    assert bleu.get_xlim()[0] == 0 and bleu.get_ylim()[0] > bleu.get_ylim()[1]
    assert figure.get_supxlabel() == "lower = more diverse\nlines: 95 % over problems like these"


def test_other_orders_and_weightings_do_not_crowd_the_figure() -> None:
    values = {"self_bleu_1": (90.0,), "self_bleu": (60.0,), "rep_3": (0.1,), "rep_3_per_sequence": (0.2,)}
    figure = diversity([table("early", values)])
    assert [axes.get_xlabel() for axes in figure.axes] == ["Self-BLEU (0 to 100)", "Rep-3 (%)"]


def test_an_undefined_bar_is_a_word_and_not_a_zero() -> None:
    figure = diversity([table("early", DIVERSE), table("late", {"rep_5": (0.2,)})])
    bleu, rep = figure.axes
    assert len(bleu.patches) == 1 and len(rep.patches) == 2
    assert [(text.get_text(), text.xy) for text in bleu.texts] == [("undefined", (0, 1))]


def test_an_interval_that_misses_the_value_is_drawn_as_it_is() -> None:
    """A percentile interval may; matplotlib's own error bars would refuse."""
    figure = diversity([table("early", {"rep_5": (0.1, 0.12, 0.15)})])
    assert list(figure.axes[0].lines[0].get_xdata()) == pytest.approx([12, 15])


def test_bars_of_zero_and_forty_checkpoints() -> None:
    figure = diversity([table(f"c{i}", {"rep_5": (0.0, 0.0, 0.0)}) for i in range(40)])
    assert len(figure.axes[0].patches) == 40
    assert figure.axes[0].get_xlim() == (0, 1)
    figure = diversity([table(f"c{i}", DIVERSE) for i in range(41)])
    assert "40 of 41 checkpoints" in figure.get_supxlabel()


def test_without_diversity_nothing_is_drawn() -> None:
    with pytest.raises(NothingToDraw, match="no diversity metric is defined"):
        diversity([EARLY])


# --- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_one_column_wide_and_not_blank(name: str) -> None:
    tables = [table(c, DIVERSE | {f"pass@{k}": (0.5, 0.4, 0.6) for k in (1, 2)}, n=2) for c in "ab"]
    drawing = draw(name, tables)
    assert list(drawing.files) == [f"figures/{name}_sums.png", f"figures/{name}_sums.svg"]
    png, svg = drawing.files.values()
    pixels = _pixels(png)
    assert pixels.shape[1] == 680  # 3.4 in at 200 dots an inch
    assert 0.02 < (pixels.min(axis=-1) < 0.9).mean() < 0.6
    assert svg.startswith(b"<?xml") and b"<dc:date>" not in svg
    assert b"Software" not in png and b"tIME" not in png


def test_a_user_s_own_matplotlib_settings_change_nothing() -> None:
    before = draw("pass_at_k", [EARLY, LATE]).files
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        assert draw("pass_at_k", [EARLY, LATE]).files == before
        assert matplotlib.rcParams["font.size"] == 30


def test_rows_of_subsets_are_not_drawn() -> None:
    level = row("pass@4", (0.1, 0.0, 0.2), subset="level=3")
    (axes,) = pass_at_k([curve("early", [0.3, 0.5, 0.6]), table("late", {}, rows=[level])]).axes
    assert list(_curves(axes)) == ["early"]
