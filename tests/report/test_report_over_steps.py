"""The figures and tables over steps, from curves by hand."""

from dataclasses import replace

import pytest
from report.drawn import caption, places, view
from report.handmade import step_curve, table

from opo_eval.over_steps import OverSteps
from opo_eval.report.figures.over_steps import over_steps, over_steps_differences
from opo_eval.report.figures.style import NothingToDraw
from opo_eval.report.over_steps import left_to_files, step_grids, step_sentences
from opo_eval.report.views import BenchmarkView

VALUES = {"pass@1": (0.5, 0.4, 0.6), "tokens": (20.0, 18.0, 22.0), "truncated": (0.0,)}


def shown(*curves) -> BenchmarkView:
    tables = [table("early", VALUES), table("late", VALUES)]
    return view(*tables, over_steps=OverSteps(curves=curves))


def still(metric: str):
    made = step_curve(metric=metric)
    return replace(made, points=tuple(replace(p, value=0.0, interval=None) for p in made.points))


def test_values_stand_at_their_steps_with_the_reference_across() -> None:
    figure = over_steps(shown(step_curve(), step_curve("grpo_seed0", steps=(10, 30))))
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "pass@1 (%)"
    lines = places(axes.lines)
    assert lines[0] == ([0, 1], [30, 30])
    assert lines[1] == ([0, 20, 40], pytest.approx([30, 40, 50]))
    assert ([10, 30], pytest.approx([30, 40])) in lines
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["opo_seed0", "grpo_seed0", "reference: early"]
    assert caption(figure) == ["shaded: 95 % over problems like these"]


def test_differences_leave_out_the_reference_and_show_both_kinds_of_interval() -> None:
    figure = over_steps_differences(shown(step_curve()))
    (axes,) = figure.axes
    lines = places(axes.lines)
    assert lines[1] == ([20, 40], pytest.approx([10, 20]))
    assert lines[2:4] == [([20, 40], pytest.approx([2, 12])), ([20, 40], pytest.approx([18, 28]))]
    assert lines[4:] == [([20, 20], pytest.approx([5, 15])), ([40, 40], pytest.approx([15, 25]))]
    assert caption(figure) == [
        "bars: 95 % over problems like these",
        "bands: 95 % over problems like these, all steps at once",
    ]


def test_bars_of_several_runs_stand_side_by_side() -> None:
    figure = over_steps_differences(shown(step_curve(), step_curve("grpo_seed0")))
    bars = {xs[0] for xs, _ in places(figure.axes[0].lines) if len(set(xs)) == 1}
    assert bars == {20 - 0.16, 20 + 0.16, 40 - 0.16, 40 + 0.16}


def test_what_is_never_anything_but_0_is_named_and_not_drawn() -> None:
    figure = over_steps(shown(step_curve(), still("truncated")))
    assert len(figure.axes) == 1
    assert caption(figure)[-1] == "0 at every step, so not drawn: truncated"
    assert len(over_steps(shown(still("truncated"))).axes) == 1


def test_points_without_an_interval_are_not_shaded_over() -> None:
    made = step_curve(steps=(0, 20, 40, 60))
    gap = replace(made, points=(*made.points[:2], replace(made.points[2], interval=None), made.points[3]))
    lines = places(over_steps(shown(gap)).axes[0].lines)
    assert ([60, 60], pytest.approx([50, 70])) in lines
    assert ([0, 20], pytest.approx([20, 30])) in lines


def test_no_steps_or_no_reference_is_nothing_to_draw() -> None:
    with pytest.raises(NothingToDraw, match="no training run has two steps"):
        over_steps(shown())
    bare = step_curve()
    bare = replace(bare, reference=None, points=tuple(replace(p, delta=None) for p in bare.points))
    with pytest.raises(NothingToDraw, match="there is no reference to compare them with"):
        over_steps_differences(shown(bare))


def test_tables_have_a_row_a_step_and_of_very_many_only_the_first_metric() -> None:
    ((title, grid), (tokens, _)) = step_grids(shown(step_curve(), step_curve(metric="tokens")))
    assert (title, tokens) == ("pass@1, %", "tokens, tokens")
    assert grid.rows == (
        ("opo_seed0", "0", "30 [20, 40]", "—", "—"),
        ("opo_seed0", "20", "40.0 [30.0, 50.0]", "+10.0 [+5.0, +15.0]", "[+2.0, +18.0]"),
        ("opo_seed0", "40", "50 [40, 60]", "+20.0 [+15.0, +25.0]", "[+12.0, +28.0]"),
    )
    many = shown(step_curve(steps=range(150)), step_curve(metric="tokens", steps=range(150)))
    assert [title for title, _ in step_grids(many)] == ["pass@1, %"]
    assert left_to_files(many) == "Of the other metrics (tokens) the numbers are in over_steps.csv."
    assert left_to_files(shown(step_curve())) is None


def test_sentences_say_where_training_began_and_over_how_many_problems() -> None:
    first, *_ = step_sentences(shown(step_curve(), step_curve(metric="tokens", n_problems=3)))
    assert first.startswith(
        "The reference is early; training began from it, so it is step 0 of opo_seed0. Differences are "
        "paired over 3 to 4 problems, on which"
    )
    other, *_ = step_sentences(shown(step_curve(steps=(5, 10))))
    assert other.startswith("The reference is early. Differences")
