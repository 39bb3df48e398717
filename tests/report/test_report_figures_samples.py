"""Figures of samples: who solved what, lengths by verdict, truncation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import AxesImage
from report.drawn import caption, panels, places, points, row_names, texts, view
from report.handmade import outcomes, row, statistics, table

from opo_eval.metrics import METRICS, MetricSettings, measure_groups
from opo_eval.records import (
    Finish,
    Grade,
    GradedSample,
    Group,
    MetricTable,
    Problem,
    Reason,
    Sample,
    SampleOutcomes,
    Verdict,
)
from opo_eval.report.figures.flips import flipped
from opo_eval.report.figures.lengths import lengths
from opo_eval.report.figures.solved import solved
from opo_eval.report.figures.style import NothingToDraw
from opo_eval.report.figures.truncation import cut_by_outcome, truncation

# --- who solved what --------------------------------------------------------------------------------


def _solving(checkpoint: str, shares: Sequence[float], **fields: object) -> MetricTable:
    n = len(shares)
    own = statistics("pass@1", 0.0, numerators=tuple(shares), denominators=(1.0,) * n, n_samples=(8,) * n)
    ids = {"problem_ids": tuple(f"p{i}" for i in range(n))}
    return table(checkpoint, {"pass@1": (0.5,)}, statistics=(own,), **(ids | fields))


def _images(figure) -> list[AxesImage]:
    return [image for axes in figure.axes for image in axes.images if image.get_array().ndim == 2]


def test_cells_are_shares_correct_and_problems_go_from_hard_to_easy() -> None:
    found = view(_solving("early", [0.5, 0.0, 1.0]), _solving("late", [1.0, 0.25, 0.75]))
    figure = solved(replace(found, source_ids={"p0": "2024-I-1", "p1": "2024-I-2"}))
    heat, strip = figure.axes[:2]
    (cells,) = heat.images
    assert cells.get_array().tolist() == [[0, 50, 100], [25, 100, 75]]
    assert row_names(heat) == ["early", "late"]
    assert [label.get_text() for label in strip.get_xticklabels()] == ["2024-I-2", "2024-I-1", "p2"]
    gains, losses = (patch.get_data().values.tolist() for patch in strip.patches)
    assert gains == [25, 50, 0] and losses == [0, 0, -25]
    assert figure.axes[-1].get_xlabel() == "samples correct (%)"
    assert caption(figure) == [
        "3 problems from hardest to easiest, by mean over checkpoints",
        "lower strip: late − early, percentage points",
    ]


def test_the_scale_ends_at_the_largest_share_rounded_up_to_tens() -> None:
    hard = view(_solving("early", [0.02, 0.13]), _solving("late", [0.0, 0.11]))
    heat, strip = solved(hard).axes[:2]
    assert heat.images[0].get_clim() == (0, 20)
    assert [label.get_text() for label in strip.get_yticklabels()] == ["−10", "0", "+10"]
    assert solved(view(_solving("early", [0.0, 0.0]))).axes[0].images[0].get_clim() == (0, 10)


def test_only_two_checkpoints_have_a_strip() -> None:
    one, three = ([_solving(f"c{i}", [0.5, 0.6]) for i in range(n)] for n in (1, 3))
    for tables in (one, three):
        figure = solved(view(*tables))
        assert len(figure.axes) == 2  # cells and the colour bar
        assert not any("strip" in line for line in caption(figure))


def test_many_problems_wrap_and_every_one_has_its_cell() -> None:
    shares = np.random.default_rng(5).random(500)
    images = _images(solved(view(*(_solving(f"c{i}", shares**i) for i in (1, 2, 3)))))
    assert [image.get_array().shape for image in images] == [(3, 125)] * 4
    drawn = np.concatenate([image.get_array() for image in images], axis=1)
    np.testing.assert_allclose(drawn[0], np.sort(shares) * 100)
    assert [image.get_extent()[:2] for image in images][:2] == [[0.5, 125.5], [125.5, 250.5]]


def test_a_column_of_very_many_problems_is_the_mean_of_neighbours() -> None:
    shares = np.arange(1319) / 1319
    figure = solved(view(_solving("early", shares)))
    drawn = np.concatenate([image.get_array()[0] for image in _images(figure)])
    expected = [100 * shares[start : start + 3].mean() for start in range(0, 1319, 3)]
    np.testing.assert_allclose(drawn, expected)
    assert "a column is the mean of 3 problems of like difficulty" in caption(figure)


def test_a_problem_that_a_checkpoint_was_not_asked_stays_white() -> None:
    figure = solved(view(_solving("early", [0.5, 0.25, 1.0]), _solving("late", [0.5, 0.75])))
    cells = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(np.ma.filled(cells, np.nan), [[50, 25, 100], [50, 75, np.nan]])
    assert "white: no samples" in caption(figure)


# --- flips ------------------------------------------------------------------------------------------


def test_flips_are_counted_against_the_baseline_beside_what_chance_flips() -> None:
    early = _solving("early", [0.25, 0.5, 1.0, 0.0, 0.875])
    late = _solving("late", [1.0, 0.75, 0.125, 0.5, 1.0])
    figure = flipped(view(early, late))
    (axes,) = figure.axes
    lost, gained = axes.containers[0], axes.containers[1]
    assert [bar.get_width() for bar in lost] == [-1] and [bar.get_width() for bar in gained] == [2]
    assert row_names(axes) == ["late"] and texts(axes)[0] == "1 / 1"
    assert figure.get_suptitle().splitlines()[1] == "solved by more than half, against early"
    assert caption(figure)[0] == "5 problems that both have samples of"
    ranges = [line.get_xdata() for line in axes.lines if line.get_marker() == "|"]
    assert all(low >= 0 for low, _ in ranges[::2]) and all(low <= 0 for low, _ in ranges[1::2])


def test_flips_are_of_shared_problems_only() -> None:
    early, late = _solving("early", [0.0, 1.0]), _solving("late", [1.0, 1.0, 1.0])
    assert caption(flipped(view(early, late)))[0] == "2 problems that both have samples of"
    other = _solving("late", [1.0], problem_ids=("another",))
    with pytest.raises(NothingToDraw, match="no graded checkpoint shares problems with the baseline"):
        flipped(view(early, other))


# --- lengths ----------------------------------------------------------------------------------------


def _outcomes(
    verdicts: Sequence[Verdict | None],
    tokens: Sequence[int | None],
    finishes: Sequence[Finish | None] | None = None,
    problems: Sequence[int] | None = None,
) -> SampleOutcomes:
    n = len(verdicts)
    return SampleOutcomes(
        problem=tuple(problems or [0] * n),
        index=tuple(range(n)),
        verdict=tuple(verdicts),
        finish=tuple(finishes or [Finish.STOP] * n),
        characters=tuple(range(1000, 1000 + n)),
        tokens=tuple(tokens),
    )


def test_boxes_are_percentiles_of_the_samples_with_that_verdict() -> None:
    correct, wrong = [10, 20, 30, 40, 100], [50, 60]
    verdicts = [Verdict.CORRECT] * 5 + [Verdict.WRONG] * 2
    figure = lengths(view(table("early", outcomes=_outcomes(verdicts, correct + wrong))))
    by_verdict = panels(figure)
    assert list(by_verdict) == ["correct", "wrong"]
    (box,) = by_verdict["correct"].patches
    low, first, median, third, high = np.percentile(correct, (5, 25, 50, 75, 95))
    assert (box.get_x(), box.get_x() + box.get_width()) == (first, third)
    whisker, middle = by_verdict["correct"].lines
    assert list(whisker.get_xdata()) == [low, high] and set(middle.get_xdata()) == {median}
    assert places(by_verdict["wrong"].lines) == [([50, 60], [0, 0])] and not by_verdict["wrong"].patches
    assert by_verdict["wrong"].get_xlabel() == "length of a response (tokens)"
    assert (texts(by_verdict["correct"])[0], texts(by_verdict["wrong"])[0]) == ("5", "2")


def test_cut_samples_are_counted_and_marked_at_their_median() -> None:
    finishes = [Finish.STOP, Finish.LENGTH, Finish.LENGTH, Finish.LENGTH, None]
    found = _outcomes([Verdict.NO_ANSWER] * 5, [10, 60, 70, 90, 20], finishes)
    figure = lengths(view(table("early", outcomes=found)))
    (axes,) = figure.axes
    assert texts(axes)[0] == "5, 3 cut"
    assert places([line for line in axes.lines if line.get_marker() == "x"]) == [([70], [0])]
    assert "×: median of those cut at the token limit" in caption(figure)


def test_characters_stand_in_where_any_sample_has_no_number_of_tokens() -> None:
    unknown = _outcomes([Verdict.WRONG] * 2, [10, None])
    figure = lengths(view(table("early"), table("late", outcomes=unknown)))
    assert figure.axes[-1].get_xlabel() == "length of a response (characters)"
    assert caption(figure)[0] == "in characters: not every sample says its number of tokens"
    late = panels(figure)["wrong"].lines[-1]
    assert list(late.get_xdata()) == [1000, 1001] and set(late.get_ydata()) == {1}


def test_every_verdict_has_its_panel_and_none_is_lost() -> None:
    verdicts = [*Verdict, None]
    figure = lengths(view(table("early", outcomes=_outcomes(verdicts, [5] * len(verdicts)))))
    counted = {title: texts(axes)[0] for title, axes in panels(figure).items()}
    assert counted == {
        "correct": "1",
        "wrong": "1",
        "no answer": "1",
        "limit or error of the grader": "2",
        "not graded": "1",
    }


@pytest.mark.parametrize(
    ("tokens", "scale"), [((50, 60, 99), "linear"), ((10, 200, 5000), "log"), ((0, 200, 5000), "symlog")]
)
def test_the_axis_is_logarithmic_where_lengths_differ_much(tokens: tuple[int, ...], scale: str) -> None:
    figure = lengths(view(table("early", outcomes=_outcomes([Verdict.WRONG] * 3, tokens))))
    (axes,) = figure.axes
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert low <= min(tokens) and max(tokens) < high
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert len(ticks) >= 3
    assert axes.xaxis.get_major_formatter()(5000) == "5,000"


# --- truncation -------------------------------------------------------------------------------------


def _graded(problem: str, index: int, verdict: Verdict, finish: Finish | None) -> GradedSample:
    sample = Sample(checkpoint="early", problem_id=problem, index=index, text="text", finish=finish)
    grade = Grade(problem_id=problem, index=index, verdict=verdict, reason=Reason.SOURCE, grader="g")
    return GradedSample(sample=sample, grade=grade)


def _measured(rng: np.random.Generator) -> MetricTable:
    """Problems with unequal numbers of samples, some of whose ends are unknown."""
    groups = []
    for i, n in enumerate((4, 6, 9)):
        problem = Problem(id=f"p{i}", source_id=str(i), benchmark="sums", prompt=f"{i}", answer="1")
        made = [(rng.choice(list(Verdict)), rng.choice([*Finish, None])) for _ in range(n)]
        samples = tuple(_graded(problem.id, j, Verdict(v), f) for j, (v, f) in enumerate(made))
        groups.append(Group(checkpoint="early", problem=problem, samples=samples))
    return measure_groups(groups, MetricSettings(n=4), {"truncated": METRICS["truncated"]})


def test_the_parts_add_up_to_the_metric() -> None:
    for seed in range(20):
        measured = _measured(np.random.default_rng(seed))
        metric = next(row.value for row in measured.rows if row.subset == "all")
        assert sum(cut_by_outcome(measured).values()) == pytest.approx(metric)


def test_bars_are_stacked_by_what_came_of_the_samples() -> None:
    verdicts = [Verdict.CORRECT, Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER]
    cut = [Finish.LENGTH, Finish.STOP, Finish.LENGTH, Finish.LENGTH]
    found = _outcomes(verdicts, [1] * 4, cut)
    truncated = {"truncated": (0.75, 0.5, 0.9)}
    (axes,) = truncation(view(table("early", truncated, n=4, outcomes=found))).axes
    wrong, correct = axes.patches
    assert (wrong.get_x(), wrong.get_width()) == (0, 50) and wrong.get_hatch()
    assert (correct.get_x(), correct.get_width()) == (50, 25) and not correct.get_hatch()
    assert list(axes.lines[0].get_xdata()) == [50, 90]
    assert axes.get_xlabel() == "cut at the token limit (% of samples)"


def test_unknown_ends_are_said_and_a_checkpoint_without_any_end_is_undefined() -> None:
    known = table("early", {"truncated": (0.1875,)}, counts={"samples": 32, "finish_unknown": 8})
    silent = replace(outcomes(), finish=(None,) * 32)
    unknown = table("late", {}, outcomes=silent, counts={"samples": 32, "finish_unknown": 32})
    figure = truncation(view(known, unknown))
    assert [text.get_text() for text in figure.axes[0].texts] == [
        "undefined",
        "25.0 %",
        "100.0 %",
        "end unknown",
    ]
    assert sum(bar.get_width() for bar in figure.axes[0].patches) == pytest.approx(18.75)


def test_nothing_cut_is_a_bar_of_zero_with_its_interval() -> None:
    none = row("truncated", (0.0, 0.0, 0.06), checkpoint="early")
    stopped = replace(outcomes(), finish=(Finish.STOP,) * 32)
    (axes,) = truncation(view(table("early", {}, rows=[none], outcomes=stopped))).axes
    assert [bar.get_width() for bar in axes.patches] == [0, 0]
    assert list(axes.lines[0].get_xdata()) == [0, 6] and axes.get_xlim() == (0, pytest.approx(6.3))
    assert not points(axes)
