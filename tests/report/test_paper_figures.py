"""Figures for a paper: what is drawn, how large its text is, and that it fits into Axes that are there."""

import csv
import io
from dataclasses import replace

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from report.drawn import places, points
from report.paper_material import LONG, curve, followed, path

from opo_eval.report.figures import NothingToDraw
from opo_eval.report.figures.style import CURVES
from opo_eval.report.paper.data import Followed, Source
from opo_eval.report.paper.figures import drawn, kl_and_entropy, training
from opo_eval.report.paper.style import WIDTHS, figure_files
from opo_eval.report.training import curves_csv, paths_csv
from opo_eval.report.training_panels import draw_curves, draw_paths

TWO = followed()


def labels(figure: Figure) -> list[tuple[str, str]]:
    return [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_training_has_reward_kl_and_entropy_over_steps() -> None:
    figure = training(TWO, "full")
    assert labels(figure) == [
        ("training step", "training reward"),
        ("training step", "KL to start (nats)"),
        ("training step", "entropy (nats)"),
    ]
    assert legend(figure) == ["grpo", "opo"]
    lines = [line for line in figure.axes[0].lines if line.get_linewidth() == 1]
    assert places(lines) == [([3.0, 8.0, 13.0], [0.3, 0.5, 0.7])] * 2


def test_kl_against_accuracy_stands_beside_kl_and_entropy() -> None:
    figure = kl_and_entropy(TWO, "full")
    assert [label for _, label in labels(figure)] == ["pass@1 (%)", "KL to start (nats)", "entropy (nats)"]
    assert figure.axes[0].get_xlabel() == "KL to start (nats)"
    assert places(figure.axes[0].lines) == [([0.0, 0.02, 0.05], [30.0, 50.0, 60.0])] * 2
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["(a)", "(b)", "(c)"]


def test_scored_samples_have_a_kl_to_the_reference() -> None:
    figure = kl_and_entropy(replace(TWO, source=Source.SAMPLES), "column")
    assert figure.axes[0].get_xlabel() == "KL to reference (nats)"


@pytest.mark.parametrize("draw", [training, kl_and_entropy])
@pytest.mark.parametrize(("width", "rows", "columns"), [("column", 3, 1), ("full", 1, 3)])
def test_panels_by_width_and_text_from_7_to_9_points(draw, width: str, rows: int, columns: int) -> None:
    figure = draw(TWO, width)
    assert figure.get_figwidth() == WIDTHS[width]
    grid = figure.axes[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == (rows, columns)
    figure.draw_without_rendering()
    sizes = {text.get_fontsize() for text in figure.findobj(Text) if text.get_text() and text.get_visible()}
    assert min(sizes) >= 7 and max(sizes) <= 9


@pytest.mark.parametrize("width", WIDTHS)
def test_labels_neither_leave_the_page_nor_run_into_one_another(width: str) -> None:
    figure = kl_and_entropy(followed([f"arm {i} of several with a name" for i in range(8)]), width)
    figure.draw_without_rendering()
    page = figure.bbox
    boxes = [axes.yaxis.label.get_window_extent() for axes in figure.axes]
    boxes += [axes.xaxis.label.get_window_extent() for axes in figure.axes]
    boxes += [figure.legends[0].get_window_extent()]
    for i, box in enumerate(boxes):
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_without_colour_curves_differ_in_line_and_marker() -> None:
    looks = {(str(style["linestyle"]), style["marker"]) for style in CURVES}
    assert len(looks) == len({line for line, _ in looks}) == len({mark for _, mark in looks}) == 8


def test_files_are_the_same_bytes_and_fonts_are_embedded_outlines() -> None:
    files = figure_files(training(TWO, "column"), "stem")
    assert files == figure_files(training(followed(), "column"), "stem")
    assert list(files) == ["stem.pdf", "stem.svg", "stem.png"]
    pdf = files["stem.pdf"]
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf and b"/CIDFontType2" in pdf
    assert not any(word in pdf for word in (b"/CreationDate", b"/Producer", b"/Creator"))
    assert b"<dc:date>" not in files["stem.svg"] and b"<text" not in files["stem.svg"]


def test_panels_go_into_axes_that_are_there() -> None:
    figure, (left, right) = plt.subplots(1, 2)
    draw_curves(left, TWO.curves, "entropy")
    draw_paths(right, TWO.paths)
    assert len([line for line in left.lines if line.get_linewidth() == 1]) == 2
    assert len(right.lines) == 2
    plt.close(figure)


def test_seeds_of_an_arm_are_small_points_beside_their_mean() -> None:
    one, other = path("opo", (0.0, 0.3), (0.02, 0.5)), path("opo", (0.0, 0.3), (0.04, 0.7))
    both = replace(one, runs=one.runs + other.runs)
    figure = kl_and_entropy(followed(["opo"], paths=(both,)), "column")
    (small,) = points(figure.axes[0])
    assert places([small]) == [([0.0, 0.02, 0.0, 0.04], [30.0, 50.0, 30.0, 70.0])]


# --- bad input --------------------------------------------------------------------------------------


def test_what_is_not_known_has_no_panel() -> None:
    without_kl = followed(curves=(curve("opo", "reward"), curve("opo", "entropy")), paths=())
    assert [label for _, label in labels(training(without_kl, "full"))] == [
        "training reward",
        "entropy (nats)",
    ]
    with pytest.raises(NothingToDraw, match="no checkpoint has both a KL"):
        kl_and_entropy(without_kl, "full")
    with pytest.raises(NothingToDraw, match="records of no training run are at hand"):
        training(Followed(source=Source.ROLLOUTS), "full")


def test_of_forty_runs_eight_are_drawn_and_all_are_in_the_files() -> None:
    many = followed([f"run {i}" for i in range(40)])
    figure = training(many, "column")
    assert len(legend(figure)) == 8 == len(drawn(many))
    assert legend(figure)[0] == "run 0" and legend(figure)[-1] == "run 39"
    rows = csv.DictReader(io.StringIO(curves_csv(many.curves).decode()))
    assert len({row["arm"] for row in rows}) == 40
    rows = csv.DictReader(io.StringIO(paths_csv(many.paths).decode()))
    assert len({row["arm"] for row in rows}) == 40


def test_forty_checkpoints_of_a_run_are_all_on_its_path() -> None:
    long_path = path("opo", *((0.001 * i, 0.3 + 0.01 * i) for i in range(40)))
    figure = kl_and_entropy(followed(["opo"], paths=(long_path,)), "column")
    assert len(figure.axes[0].lines[0].get_xdata()) == 40


@pytest.mark.parametrize("width", WIDTHS)
def test_long_names_are_cut_apart_and_stay_on_the_page(width: str) -> None:
    figure = training(followed([LONG + "a", LONG + "b"]), width)
    figure.draw_without_rendering()
    assert len(set(legend(figure))) == 2
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_right_or_all_wrong_is_a_flat_path(share: float) -> None:
    flat = path("opo", (0.0, share), (0.02, share))
    axes = kl_and_entropy(followed(["opo"], paths=(flat,)), "full").axes[0]
    low, high = axes.get_ylim()
    assert low < 100 * share < high
    assert places(axes.lines) == [([0.0, 0.02], [100 * share] * 2)]


def test_a_single_checkpoint_is_a_point() -> None:
    alone = followed(["opo"], paths=(path("opo", (0.02, 0.5)),), curves=())
    figure = kl_and_entropy(alone, "column")
    assert places(figure.axes[0].lines) == [([0.02], [50.0])]
