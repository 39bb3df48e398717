"""Figures in a user's Axes: what the report draws, from what a frame says, and nothing else is touched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report.drawn import places, points, row_names, texts, view
from report.handmade import comparison, curve, row, step_curve, table

import opo_eval
from opo_eval.dataframes import differences_frame, metrics_frame
from opo_eval.errors import InputError
from opo_eval.over_steps import OverSteps
from opo_eval.records import Comparison, MetricTable
from opo_eval.report import draw_differences, draw_over_steps, draw_pass_at_k, draw_training
from opo_eval.report.data import over_steps_csv
from opo_eval.report.figures import FIGURES

TABLES = (curve("early", [0.2, 0.3, 0.4, 0.5]), curve("late", [0.4, 0.6, 0.7, 0.8]))
ROWS = [comparison(name, (0.1, 0.02, 0.2), b=b) for name in ("pass@1", "rep_5") for b in ("late", "later")]
STEPS = pd.DataFrame(
    {
        "training_run": run,
        "step": step,
        "entropy": 1 - 0.1 * step + 0.01 * i,
        "kl_start": 0.02 * step if step % 2 else None,
    }
    for i, run in enumerate(("opo", "grpo"))
    for step in (1, 2, 3, 4)
)
PACKAGE = Path(opo_eval.__file__).parent
Drawn = Callable[[Axes], Axes]


def metrics(*tables: MetricTable) -> pd.DataFrame:
    return metrics_frame(tables or TABLES)


def over_steps() -> pd.DataFrame:
    """pass@1 at three steps, 0.3, 0.4 and 0.5."""
    rows = metrics(
        *(table(f"step_{step}", {"pass@1": (0.3 + 0.1 * i, 0.2, 0.6)}) for i, step in enumerate((0, 20, 40)))
    )
    return rows.assign(step=rows.checkpoint.str.removeprefix("step_").astype(int))


DRAWERS: dict[str, Drawn] = {
    "pass@k": lambda axes: draw_pass_at_k(axes, metrics()),
    "differences": lambda axes: draw_differences(axes, differences_frame(ROWS, TABLES)),
    "over steps": lambda axes: draw_over_steps(axes, over_steps(), "pass@1"),
    "training": lambda axes: draw_training(axes, STEPS, "entropy"),
}


@pytest.fixture
def axes() -> Axes:
    return Figure().add_subplot()


def legend(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.legend().get_texts()]


def lines(axes: Axes) -> list[tuple[list[float], list[float]]]:
    """What is drawn with a line of usual width."""
    return [found for line in axes.lines if line.get_linewidth() == 1 for found in places([line]) if found[0]]


# --- a guest in somebody's figure -------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWERS)
def test_draws_into_one_axes_and_leaves_the_rest_alone(name: str) -> None:
    with matplotlib.rc_context({"font.size": 17, "axes.grid": False, "axes.facecolor": "pink"}):
        before = dict(matplotlib.rcParams)
        figure = Figure(layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot([1, 2], [3, 4], label="mine")
        assert DRAWERS[name](right) is right
        figure.draw_without_rendering()
        assert dict(matplotlib.rcParams) == before
    assert figure.axes == [left, right] and not figure.legends and not figure.get_suptitle()
    assert [line.get_label() for line in left.lines] == ["mine"] and left.get_xscale() == "linear"
    assert right.xaxis.label.get_fontsize() == 17 and right.get_facecolor() == left.get_facecolor()


def test_nothing_of_this_package_loads_pyplot() -> None:
    assert not [path for path in PACKAGE.rglob("*.py") if "pyplot" in path.read_text(encoding="utf-8")]


# --- pass@k -----------------------------------------------------------------------------------------


def test_pass_at_k_is_drawn_as_in_the_report(axes: Axes) -> None:
    draw_pass_at_k(axes, metrics())
    (drawn,) = FIGURES["pass_at_k"](view(*TABLES)).axes
    assert places(axes.lines) == places(drawn.lines) and places(axes.lines)[0] == (
        [1, 2, 3, 4],
        [20, 30, 40, 50],
    )
    assert len(axes.collections) == len(drawn.collections) == 2
    assert (axes.get_xlim(), axes.get_ylim(), axes.get_xscale()) == (
        drawn.get_xlim(),
        drawn.get_ylim(),
        "log",
    )
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("k (samples a problem)", "pass@k (%)")
    assert legend(axes) == ["early", "late"]


def test_rows_read_from_a_file_draw_the_same(axes: Axes, tmp_path: Path) -> None:
    numbered = [curve("400", [0.2, 0.3]), curve("500", [0.4, 0.6])]
    metrics(*numbered).to_csv(tmp_path / "metrics.csv", index=False)
    draw_pass_at_k(axes, pd.read_csv(tmp_path / "metrics.csv"))
    assert lines(axes) == [([1, 2], [20, 30]), ([1, 2], [40, 60])] and legend(axes) == ["400", "500"]


def test_bands_that_have_no_interval_beside_them_are_read(axes: Axes) -> None:
    """Where all problems are alike there is no interval over problems, but there is one over samples."""
    rows = metrics().assign(low=np.nan, high=np.nan, level=np.nan, kind=None, these_low=0.1, these_high=0.9)
    draw_pass_at_k(axes, rows)
    assert len(lines(axes)) == 2 and not axes.collections


def test_subsets_and_other_metrics_are_not_drawn(axes: Axes) -> None:
    levels = [row("pass@1", (0.9, 0.8, 1.0), subset="level=1", checkpoint="early")]
    rows = metrics(curve("early", [0.2, 0.3]), table("bare", {"mean@4": (0.5, 0.4, 0.6)}, rows=levels))
    draw_pass_at_k(axes, rows)
    assert lines(axes) == [([1, 2], [20, 30])] and legend(axes) == ["early"]


@pytest.mark.parametrize("name", ["_hidden", "$\\frac$", "a$b$"])
def test_names_are_shown_as_they_are(name: str, axes: Axes) -> None:
    draw_pass_at_k(axes, metrics(curve(name, [0.2, 0.3])))
    axes.legend()
    axes.figure.draw_without_rendering()
    assert [text.replace("\\$", "$").strip() for text in legend(axes)] == [name]


# --- differences ------------------------------------------------------------------------------------


def test_differences_are_drawn_as_in_the_report(axes: Axes) -> None:
    rows = [row for row in ROWS if row.b == "late"]
    draw_differences(axes, differences_frame(rows, TABLES))
    (drawn,) = FIGURES["differences"](view(*TABLES, comparisons=rows)).axes
    assert places(points(axes)[:2]) == places(points(drawn)) == [([10.0], [0.0]), ([10.0], [1.0])]
    assert [line.get_markerfacecolor() for line in points(axes)[:2]] == ["#000000", "#000000"]
    assert row_names(axes) == row_names(drawn) == ["pass@1 →", "Rep-5 ←"]
    assert texts(axes) == texts(drawn) and axes.get_xlabel() == "difference (percentage points)"


def test_several_checkpoints_have_a_marker_and_a_name_each(axes: Axes) -> None:
    draw_differences(axes, differences_frame(ROWS, TABLES))
    assert legend(axes) == ["late", "later"]
    assert len({line.get_marker() for line in points(axes)}) == 2


# --- over steps -------------------------------------------------------------------------------------


def test_a_metric_over_steps_in_their_order(axes: Axes) -> None:
    draw_over_steps(axes, over_steps().iloc[::-1], "pass@1")
    assert lines(axes) == [([0, 20, 40], pytest.approx([30, 40, 50]))] and len(axes.collections) == 1
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("training step", "pass@1 (%)")


def test_the_curves_of_a_report_are_drawn_from_its_file(axes: Axes, tmp_path: Path) -> None:
    curves = (step_curve("opo_seed0"), step_curve("opo_seed1"))
    (tmp_path / "over_steps.csv").write_bytes(
        over_steps_csv([view(*TABLES, over_steps=OverSteps(curves=curves))])
    )
    rows = pd.read_csv(tmp_path / "over_steps.csv")
    with pytest.raises(InputError, match="no column 'unit': name that of pass@1 with unit="):
        draw_over_steps(axes, rows, "pass@1")
    draw_over_steps(axes, rows, "pass@1", unit="share")
    assert lines(axes) == [([0, 20, 40], pytest.approx([30, 40, 50]))] * 2
    assert legend(axes) == ["opo_seed0", "opo_seed1"]


def test_training_draws_what_was_logged_at_the_steps_that_have_it() -> None:
    entropy, kl = Figure().subplots(1, 2)
    draw_training(entropy, STEPS, "entropy")
    draw_training(kl, STEPS, "kl_start")
    assert lines(entropy)[0] == ([1, 2, 3, 4], pytest.approx([0.9, 0.8, 0.7, 0.6]))
    assert lines(kl) == [([1, 3], pytest.approx([0.02, 0.06]))] * 2
    assert (entropy.get_ylabel(), kl.get_ylim()[0]) == ("entropy (nats a token)", 0)
    assert legend(entropy) == ["opo", "grpo"]


# --- refusals ---------------------------------------------------------------------------------------


def two(other: Comparison) -> pd.DataFrame:
    return differences_frame([ROWS[0], other], TABLES)


def many(n: int) -> pd.DataFrame:
    return metrics(*(curve(f"c{i}", [0.2, 0.3]) for i in range(n)))


@pytest.mark.parametrize(
    ("draw", "rows", "said"),
    [
        (draw_pass_at_k, STEPS, "has no column 'checkpoint'"),
        (draw_pass_at_k, metrics(table("a", {"mean@4": (0.5,)})), "no row with pass@k"),
        (draw_pass_at_k, metrics(TABLES[0], curve("a", [0.1], benchmark="b")), "'benchmark' .sums, b"),
        (draw_pass_at_k, many(9), "9 curves or markers, and 8 can be told apart"),
        (draw_differences, differences_frame([], TABLES), "no row with a difference"),
        (draw_differences, two(comparison("self_bleu", (2.0,))), "'unit' .share, percent"),
        (draw_differences, two(comparison("pass@1", (0.1,), a="x")), "'a' .early, x"),
        (draw_differences, two(comparison("rep_5", (0.1, 0, 1), p_adjusted=None)), "p-values that are adj"),
        (draw_over_steps, metrics(), "no column 'step'"),
        (draw_over_steps, over_steps().assign(metric="x"), "no row with pass@1"),
        (draw_over_steps, over_steps().assign(step=20), "several rows of pass@1 at step 20: .*_run'"),
        (draw_over_steps, over_steps().assign(unit="furlongs"), "the unit 'furlongs': name that of pass@1"),
        (draw_training, STEPS[["step"]], "has no column 'entropy'"),
        (draw_training, STEPS.assign(entropy=None), "no row with entropy"),
        (draw_training, STEPS.drop(columns="training_run"), "several rows of entropy at step 1"),
    ],
)  # fmt: skip
def test_a_frame_that_cannot_be_drawn_is_refused_before_anything_is(
    draw: Callable[..., Axes], rows: pd.DataFrame, said: str, axes: Axes
) -> None:
    more: tuple[Any, ...] = {draw_over_steps: ("pass@1",), draw_training: ("entropy",)}.get(draw, ())
    with pytest.raises(InputError, match=said):
        draw(axes, rows, *more)
    assert not axes.lines
