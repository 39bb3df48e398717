"""Figures of token statistics: KL against accuracy, and entropy and KL along the response."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from report.drawn import caption, places, points, view
from report.handmade import SCORER, scored_table, step_curve, table, token_values

from opo_eval.over_steps import OverSteps, StepCurve
from opo_eval.records import MetricTable, Unit
from opo_eval.report.figures import FIGURES, NothingToDraw
from opo_eval.report.figures.along_response import entropy_along_response
from opo_eval.report.figures.divergence import kl_against_accuracy
from opo_eval.report.figures.parts import keep_possible, metric_label
from opo_eval.report.views import BenchmarkView

LABELS = {
    "kl": "KL to the reference",
    "kl_t0.6": "KL to the reference at temperature 0.6",
    "reverse_kl": "reverse KL",
    "entropy_correct": "entropy correct",
    "kl_k3": "k3",
    "rep_5": "Rep-5",
}
MIDDLES = [5.0, 15.0, 25.0, 35.0, 45.0, 55.0, 65.0, 75.0, 85.0, 95.0]


def at(checkpoint: str, kl: float, pass_at_1: float, **fields: object) -> MetricTable:
    values = token_values(0.5, kl, **fields) | {"pass@1": (pass_at_1, pass_at_1 - 0.1, pass_at_1 + 0.1)}
    return scored_table(checkpoint, values)


def sweep(run: str = "opo", steps: tuple[int, ...] = (10, 20)) -> tuple[list[MetricTable], StepCurve]:
    """Further from the start and better at every step, beside the start at KL 0."""
    tables = [at(f"{run}_step{step}", 0.001 * step, 0.3 + 0.01 * step) for step in steps]
    names = ["start", *(table.checkpoint for table in tables)]
    curve = step_curve(run, steps=(0, *steps))
    named = zip(curve.points, names, strict=True)
    return tables, replace(curve, points=tuple(replace(point, checkpoint=name) for point, name in named))


def swept(*curves: StepCurve, tables: list[MetricTable]) -> BenchmarkView:
    return view(at("start", 0.0, 0.3), *tables, over_steps=OverSteps(curves=curves))


def names(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines_of(axes: Axes, style: str) -> list[tuple[list[float], list[float]]]:
    """The curves of this line style that have markers at ten places."""
    found = [line for line in axes.lines if len(line.get_xdata()) == 10 and line.get_marker() != "None"]
    return places([line for line in found if line.get_linestyle() == style])


# --- KL against accuracy ----------------------------------------------------------------------------


def test_each_checkpoint_is_a_point_with_both_intervals() -> None:
    figure = kl_against_accuracy(view(at("early", 0.02, 0.5), at("late", 0.04, 0.7)))
    (axes,) = figure.axes
    assert places(points(axes)) == [([0.02], [50.0]), ([0.04], [70.0])]
    crosses = [ends for ends in places(axes.lines) if len(ends[0]) == 2]
    assert crosses == [
        (pytest.approx([0.018, 0.022]), [50, 50]),
        ([0.02, 0.02], pytest.approx([40, 60])),
        (pytest.approx([0.036, 0.044]), [70, 70]),
        ([0.04, 0.04], pytest.approx([60, 80])),
    ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("KL to the reference (nats)", "pass@1 (%)")
    assert names(figure) == ["early", "late"]
    assert caption(figure) == ["lines: 95 % over problems like these"]


def test_steps_of_a_training_run_are_joined_from_the_start_with_growing_markers() -> None:
    tables, curve = sweep(steps=(10, 20, 30))
    figure = kl_against_accuracy(swept(curve, tables=[*tables, at("sft", 0.05, 0.4)]))
    (axes,) = figure.axes
    xs, ys = [0.0, 0.01, 0.02, 0.03], [30.0, 40.0, 50.0, 60.0]
    assert (pytest.approx(xs), pytest.approx(ys)) in places(axes.lines)
    sizes = [line.get_markersize() for line in points(axes)]
    assert sizes[:4] == sorted(sizes[:4]) and sizes[0] < sizes[3]
    assert [text.get_text() for text in axes.texts] == ["step 0", "step 30"]
    assert names(figure) == ["opo, steps 0 to 30", "sft"]
    assert [handle.get_linestyle() for handle in figure.legends[0].legend_handles] == ["-", "None"]
    assert caption(figure)[1] == "markers grow from the first step of a training run to its last"


def test_ends_that_would_stand_on_one_another_are_named_once() -> None:
    (a, of_a), (b, of_b) = sweep("a"), sweep("b")
    (axes,) = kl_against_accuracy(swept(of_a, of_b, tables=[*a, *b])).axes
    assert [text.get_text() for text in axes.texts] == ["step 0", "step 20"]
    runs = [sweep(f"run{i}", (10 * i, 20 * i)) for i in range(1, 7)]
    many = swept(*(curve for _, curve in runs), tables=[table for tables, _ in runs for table in tables])
    figure = kl_against_accuracy(many)
    assert not figure.axes[0].texts
    assert names(figure)[-1] == "run6, steps 0 to 120"


def test_a_step_that_is_not_scored_is_left_out_of_the_line_and_said() -> None:
    (first, second), curve = sweep()
    bare = table(second.checkpoint, {"pass@1": (0.5, 0.4, 0.6)})
    figure = kl_against_accuracy(swept(curve, tables=[first, bare]))
    assert names(figure) == ["opo, steps 0 to 10"]
    assert caption(figure)[-1] == "without these numbers, so not drawn: opo_step20"
    alone = kl_against_accuracy(view(first, bare, over_steps=OverSteps(curves=(curve,))))
    assert names(alone) == ["opo, step 10"]


def test_a_run_and_a_checkpoint_may_have_one_name() -> None:
    tables, curve = sweep()
    figure = kl_against_accuracy(swept(curve, tables=[*tables, at("opo", 0.05, 0.4)]))
    assert names(figure) == ["opo, steps 0 to 20", "opo"]


def test_of_forty_checkpoints_eight_are_named_and_all_are_drawn() -> None:
    figure = kl_against_accuracy(view(*(at(f"c{i}", 0.001 * i, 0.3 + 0.01 * i) for i in range(40))))
    assert names(figure) == [f"c{i}" for i in (0, 6, 11, 17, 22, 28, 33, 39)]
    circles = next(line for line in points(figure.axes[0]) if len(line.get_xdata()) > 1)
    assert len(circles.get_xdata()) == 32
    assert caption(figure)[-1] == "small circles: 32 more; all numbers are in the CSV files"


def test_a_kl_of_0_everywhere_has_an_axis_that_begins_at_0() -> None:
    (axes,) = kl_against_accuracy(view(at("start", 0.0, 0.5), at("same", 0.0, 1.0))).axes
    assert min(axes.get_xticks()) == 0 and -0.01 < axes.get_xlim()[0] < 0 < axes.get_xlim()[1]
    assert max(axes.get_yticks()) <= 100 and 100 < axes.get_ylim()[1] < 105


def test_one_temperature_is_drawn_the_one_that_most_have() -> None:
    cold = [at(name, 0.02, 0.5, temperature="0.6") for name in "ab"]
    figure = kl_against_accuracy(view(*cold, at("warm", 0.04, 0.5)))
    assert figure.axes[0].get_xlabel() == "KL to the reference at temperature 0.6 (nats)"
    assert caption(figure)[-1] == "without these numbers, so not drawn: warm"


@pytest.mark.parametrize("name", ["kl_against_accuracy", "entropy_along_response"])
def test_another_reference_is_said_in_the_figure(name: str) -> None:
    other = scored_table("late", scorer=SCORER.replace("start@22222222", "base@33333333"))
    said = caption(FIGURES[name](view(scored_table("early"), other)))
    assert said[-1] == "not scored alike, so not comparable: see the report's notes"
    own = caption(FIGURES[name](view(scored_table("early"), scored_table("late"))))
    assert not any("alike" in line for line in own)


def test_ungraded_or_without_a_reference_there_is_nothing_to_draw() -> None:
    ungraded = scored_table()
    rows = [row for row in ungraded.rows if row.metric != "pass@1"]
    with pytest.raises(NothingToDraw, match=r"no checkpoint has both KL and pass@1"):
        kl_against_accuracy(view(replace(ungraded, rows=tuple(rows))))
    with pytest.raises(NothingToDraw, match="no checkpoint is scored against a reference"):
        kl_against_accuracy(view(scored_table(values=token_values(kl=None))))


# --- along the response -----------------------------------------------------------------------------


def test_entropy_and_kl_stand_at_the_middles_of_the_tenths() -> None:
    figure = entropy_along_response(view(at("early", 0.02, 0.5), at("late", 0.04, 0.5)))
    entropy, kl = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "entropy (nats)",
        "KL to the reference (nats)",
    ]
    assert lines_of(entropy, "-") == [(MIDDLES, pytest.approx([0.5 * i for i in range(1, 11)]))]
    assert lines_of(kl, "--") == [(MIDDLES, pytest.approx([0.04 * i for i in range(1, 11)]))]
    shaded = kl.collections[1].get_paths()[0].vertices[:, 1]
    assert (shaded.min(), shaded.max()) == pytest.approx((0.036, 0.44))
    assert kl.get_xlabel() == "place in the response (% of its tokens)"
    assert names(figure) == ["early", "late"]
    assert caption(figure) == [
        "means over the tokens of each tenth of the responses",
        "shaded: 95 % over problems like these",
    ]


def test_without_a_reference_there_is_one_panel() -> None:
    (axes,) = entropy_along_response(view(scored_table(values=token_values(kl=None)))).axes
    assert axes.get_title(loc="left") == "entropy (nats)"


def test_tenths_without_a_token_are_gaps_and_not_0() -> None:
    """Of responses of fewer than ten tokens."""
    values = {n: b for n, b in token_values().items() if "tenth_2" not in n and "tenth_7" not in n}
    ((_, ys),) = lines_of(entropy_along_response(view(scored_table(values=values))).axes[0], "-")
    assert np.isnan(ys).nonzero()[0].tolist() == [1, 6]


def test_a_checkpoint_without_scores_is_named_as_left_out() -> None:
    figure = entropy_along_response(view(scored_table("early"), table("late"), table("later")))
    assert names(figure) == ["early"]
    assert caption(figure)[-1] == "without these numbers, so not drawn: late, later"


def test_of_many_checkpoints_the_first_and_the_last_are_among_those_drawn() -> None:
    figure = entropy_along_response(view(*(scored_table(f"step_{i}") for i in range(40)), table("bare")))
    assert names(figure)[0] == "step_0" and names(figure)[-1] == "step_39" and len(names(figure)) == 8
    assert caption(figure)[-2:] == [
        "8 of 40 checkpoints; all numbers are in the CSV files",
        "without these numbers, so not drawn: bare",
    ]


def test_no_token_statistics_is_nothing_to_draw() -> None:
    with pytest.raises(NothingToDraw, match="no checkpoint is scored"):
        entropy_along_response(view(table()))


# --- axes and labels --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "values", "ticks"),
    [
        (Unit.NATS, [0.0, 0.0], (0.0, None)),
        (Unit.SHARE, [100.0, 100.0], (None, 100.0)),
        (Unit.LOG_RATIO, [-0.2, 0.1], (-0.2, 0.1)),
        (Unit.NATS, [0.001, 0.5], (0.0, None)),
    ],
)
def test_ticks_stay_where_the_unit_has_values(
    unit: Unit, values: list[float], ticks: tuple[float | None, float | None]
) -> None:
    axes = Figure().add_subplot()
    axes.plot(values, values)
    keep_possible(axes, "y", unit)
    low, high = min(axes.get_yticks()), max(axes.get_yticks())
    assert ticks[0] is None or low == pytest.approx(ticks[0])
    assert ticks[1] is None or high == pytest.approx(ticks[1])
    assert axes.get_ylim()[0] < min(values) and max(values) < axes.get_ylim()[1]


def test_labels_are_words() -> None:
    assert {name: metric_label(name) for name in LABELS} == LABELS
