"""Figures of metrics: curves over k, differences, diversity, subsets: what they draw is what tables say."""

from dataclasses import replace

import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from report.drawn import caption, panels, places, points, row_names, texts, view
from report.handmade import comparison, curve, interval, row, table

from opo_eval.records import Interval
from opo_eval.report.figures import NothingToDraw
from opo_eval.report.figures.accuracy import diversity_and_accuracy
from opo_eval.report.figures.curves import pass_at_k
from opo_eval.report.figures.differences import arm_differences, differences
from opo_eval.report.figures.diversity import diversity
from opo_eval.report.figures.subsets import subsets
from opo_eval.stats import SIMULTANEOUS

EARLY = curve("early", [0.3, 0.5, 0.6, 0.65])
LATE = curve("late", [0.5, 0.6, 0.65, 0.7])
DIVERSE = {"self_bleu": (60.0, 55.0, 66.0), "rep_5": (0.12, 0.1, 0.15)}


def _curves(axes: Axes) -> dict[str, list[float]]:
    """The labelled lines: those of values, not the edges of bands."""
    lines = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    return {str(line.get_label()): list(line.get_ydata()) for line in lines}


def _intervals(axes: Axes) -> list[tuple[float, float]]:
    """Lines with ends, in the order in which they are drawn."""
    return [tuple(map(float, line.get_xdata())) for line in axes.lines if line.get_marker() == "|"]


# --- pass@k -----------------------------------------------------------------------------------------


def test_curves_and_pointwise_intervals_are_the_tables_in_percent() -> None:
    figure = pass_at_k(view(EARLY, LATE))
    (axes,) = figure.axes
    curves = _curves(axes)
    assert curves["early"] == pytest.approx([30, 50, 60, 65])
    assert curves["late"] == pytest.approx([50, 60, 65, 70])
    low, high = (band.get_paths()[0].vertices[:, 1] for band in axes.collections)
    assert (low.min(), low.max()) == pytest.approx((25, 70))
    assert (high.min(), high.max()) == pytest.approx((45, 75))
    assert caption(figure) == ["bands: 95 % over problems like these"]


def _banded(k: int, value: float, half: float | None) -> dict:
    band = half and Interval(low=value - half, high=value + half, level=0.9, kind=SIMULTANEOUS)
    return {"metric": f"pass@{k}", "bounds": (value, value - 0.01, value + 0.01), "band": band}


def test_a_simultaneous_band_goes_before_the_intervals_of_each_k() -> None:
    rows = [row(**_banded(k, value, 0.1)) for k, value in ((1, 0.4), (2, 0.5))]
    figure = pass_at_k(view(table("early", {}, rows=rows)))
    drawn = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (drawn.min(), drawn.max()) == pytest.approx((30, 60))
    assert caption(figure) == ["bands: 90 % over problems like these, all k at once"]


def test_where_a_curve_has_no_band_at_some_k_its_interval_is_drawn_and_said() -> None:
    rows = [row(**_banded(1, 0.9, 0.05)), row(**_banded(2, 1.0, None))]
    figure = pass_at_k(view(table("early", {}, rows=rows)))
    drawn = figure.axes[0].collections[0].get_paths()[0].vertices
    assert sorted(set(drawn[drawn[:, 0] == 2, 1])) == pytest.approx([99, 101])
    assert caption(figure) == [
        "bands: 90 % over problems like these, all k at once",
        "where all problems are alike, the interval of that k alone",
    ]


def test_axes_say_what_and_in_which_unit() -> None:
    figure = pass_at_k(view(EARLY))
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("k (samples a problem)", "pass@k (%)")
    assert figure.get_suptitle() == "sums"
    assert axes.get_xscale() == "log"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "2", "4"]


@pytest.mark.parametrize(
    ("n", "ticks"), [(16, "1 2 4 8 16"), (17, "1 2 4 8 17"), (50, "1 2 4 8 16 32 50"), (3, "1 2 3")]
)
def test_ticks_are_powers_of_two_and_n(n: int, ticks: str) -> None:
    (axes,) = pass_at_k(view(curve("early", [0.5] * n))).axes
    assert " ".join(label.get_text() for label in axes.get_xticklabels()) == ticks


def test_curves_differ_in_colour_line_and_marker_at_once() -> None:
    (axes,) = pass_at_k(view(*(curve(f"c{i}", [0.1 * i, 0.1 * i]) for i in range(1, 9)))).axes
    lines = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    for style in (
        {to_rgb(line.get_color()) for line in lines},
        {str(line.get_marker()) for line in lines},
        {str(line._dash_pattern) for line in lines},
    ):
        assert len(style) == len(lines) == 8


def test_of_many_checkpoints_the_first_and_the_last_keep_their_ends() -> None:
    figure = pass_at_k(view(*(curve(f"{'x' * 200}_{i}", [0.1, 0.2]) for i in range(40))))
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(shown) == len(set(shown)) == 8
    assert shown[0].endswith("_0") and shown[-1].endswith("_39")
    assert max(map(len, shown)) <= 48


def test_all_right_and_all_wrong_stay_inside_the_axes() -> None:
    for value in (0.0, 1.0):
        (axes,) = pass_at_k(view(curve("early", [value] * 4))).axes
        low, high = axes.get_ylim()
        assert low < 100 * value < high
        assert all(0 <= tick <= 100 for tick in axes.get_yticks())
        assert high - low >= 20


def test_one_sample_a_problem_makes_no_curve() -> None:
    with pytest.raises(NothingToDraw, match="two samples a problem or more"):
        pass_at_k(view(curve("early", [0.5])))


def test_rows_of_subsets_are_not_drawn() -> None:
    level = row("pass@4", (0.1, 0.0, 0.2), subset="level=3")
    (axes,) = pass_at_k(view(curve("early", [0.3, 0.5, 0.6]), table("late", {}, rows=[level]))).axes
    assert list(_curves(axes)) == ["early"]


# --- differences ------------------------------------------------------------------------------------

PAIR = (table("early"), table("late"))
BETTER = comparison("pass@1", (0.1, 0.04, 0.16), interval_these=interval(0.07, 0.13))
UNCLEAR = comparison("rep_5", (0.02, -0.01, 0.05))
BLEU = comparison("self_bleu", (8.0, 5.0, 11.0), p_adjusted=0.012)


def test_differences_stand_by_unit_with_both_intervals() -> None:
    figure = differences(view(*PAIR, comparisons=[BETTER, BLEU, UNCLEAR]))
    shares, bleu = figure.axes
    assert places(points(shares)) == [([pytest.approx(10)], [0]), ([pytest.approx(2)], [1])]
    assert _intervals(shares) == [pytest.approx((4, 16)), pytest.approx((-1, 5))]
    (these,) = (line for line in shares.lines if line.get_linewidth() == 4)
    assert list(these.get_xdata()) == pytest.approx([7, 13])
    assert places(points(bleu)) == [([8], [0])] and _intervals(bleu) == [(5, 11)]
    assert shares.get_xlabel() == "difference (percentage points)"
    assert bleu.get_xlabel() == "difference (points of 100)"
    assert figure.get_suptitle() == "sums\nlate − early"
    assert all(0 in line.get_xdata() for axes in figure.axes for line in axes.lines[:1])


def test_markers_are_filled_where_the_adjusted_test_tells_apart() -> None:
    """The interval of the third excludes 0, its adjusted p does not."""
    chance = comparison("pass@8", (0.1, 0.01, 0.2), p_value=0.03, p_adjusted=0.09)
    shares, _ = differences(view(*PAIR, comparisons=[BETTER, UNCLEAR, chance, BLEU])).axes
    assert [mark.get_markerfacecolor() for mark in points(shares)] == ["#000000", "white", "white"]
    assert [text.get_text() for text in shares.texts] == ["0.004", "0.4", "0.09", "p"]


def test_arrows_point_to_better_where_one_direction_is() -> None:
    tokens = comparison("tokens", (3.0, 1.0, 5.0))
    figure = differences(view(*PAIR, comparisons=[BETTER, UNCLEAR, BLEU, tokens]))
    assert [row_names(axes) for axes in figure.axes] == [["pass@1 →", "Rep-5 ←"], ["Self-BLEU ←"], ["tokens"]]
    assert caption(figure) == [
        "lines: 95 % over problems like these",
        "bars: 95 % over problems like these",
        "filled: told apart from 0 at 5 %; p: adjusted for the family",
        "arrows point to better",
    ]


def test_only_the_family_is_drawn_and_without_one_the_headline_metrics() -> None:
    outside = comparison("no_answer", (0.1, 0.04, 0.16), p_adjusted=None)
    (axes,) = differences(view(*PAIR, comparisons=[BETTER, outside])).axes
    assert row_names(axes) == ["pass@1 →"]
    alone = comparison("pass@1", (0.1, 0.04, 0.16), p_value=0.02, p_adjusted=None)
    figure = differences(view(*PAIR, comparisons=[alone, outside]))
    assert row_names(figure.axes[0]) == ["pass@1 →"]
    assert "filled: told apart from 0 at 5 %; p: of each test alone" in caption(figure)
    with pytest.raises(NothingToDraw, match="no headline metric"):
        differences(view(*PAIR, comparisons=[outside]))


def test_several_checkpoints_stand_together_by_metric() -> None:
    others = ("b", "c")
    rows = [
        comparison(m, (0.1 * i, -0.2, 0.9), b=b) for i, b in enumerate(others) for m in ("pass@1", "rep_5")
    ]
    figure = differences(view(table("early"), table("b"), table("c"), comparisons=rows))
    (axes,) = figure.axes
    first, second, third, fourth = (y for _, (y,) in places(points(axes)))
    assert second - first == fourth - third == 1 and third - second > 1
    assert axes.get_yticks() == pytest.approx([(first + second) / 2, (third + fourth) / 2])
    assert [x for (x,), _ in places(points(axes))] == pytest.approx([0, 10, 0, 10])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["b", "c"]
    assert figure.get_suptitle() == "sums\ndifference from early"


def test_arms_are_drawn_as_checkpoints_are() -> None:
    seeds = interval(-0.1, 0.3, "training seeds and problems like these")
    arms = comparison("pass@1", (0.1, -0.1, 0.3), a="grpo", b="opo")
    arms = replace(arms, interval=seeds)
    figure = arm_differences(view(*PAIR, arm_comparisons=(arms,)))
    assert figure.get_suptitle() == "sums\nopo − grpo"
    assert _intervals(figure.axes[0]) == [pytest.approx((-10, 30))]
    assert caption(figure)[0] == "lines: 95 % over training seeds and problems like these"


# --- diversity --------------------------------------------------------------------------------------


def test_bars_are_the_tables_with_their_intervals() -> None:
    late = table("late", {"self_bleu": (70.0, 65.0, 71.0), "rep_5": (0.2,)})
    figure = diversity(view(table("early", DIVERSE), late))
    bleu, rep = figure.axes
    assert [bar.get_width() for bar in bleu.patches] == [60, 70]
    assert [bar.get_width() for bar in rep.patches] == pytest.approx([12, 20])
    assert _intervals(bleu) == [(55, 66), (65, 71)]
    assert _intervals(rep) == [pytest.approx((10, 15))]
    assert (bleu.get_xlabel(), rep.get_xlabel()) == ("Self-BLEU (0 to 100)", "Rep-5 (%)")
    assert row_names(bleu) == ["early", "late"]
    assert bleu.get_xlim()[0] == 0 and bleu.get_ylim()[0] > bleu.get_ylim()[1]
    assert caption(figure) == ["lower = more diverse", "lines: 95 % over problems like these"]


def test_other_orders_and_weightings_do_not_crowd_the_figure() -> None:
    values = {"self_bleu_1": (90.0,), "self_bleu": (60.0,), "rep_3": (0.1,), "rep_3_per_sequence": (0.2,)}
    figure = diversity(view(table("early", values)))
    assert [axes.get_xlabel() for axes in figure.axes] == ["Self-BLEU (0 to 100)", "Rep-3 (%)"]


def test_an_undefined_bar_is_a_word_and_not_a_zero() -> None:
    figure = diversity(view(table("early", DIVERSE), table("late", {"rep_5": (0.2,)})))
    bleu, rep = figure.axes
    assert len(bleu.patches) == 1 and len(rep.patches) == 2
    assert [(text.get_text(), text.xy) for text in bleu.texts] == [("undefined", (0, 1))]


def test_an_interval_that_misses_the_value_is_drawn_as_it_is() -> None:
    """A percentile interval may; matplotlib's own error bars would refuse."""
    figure = diversity(view(table("early", {"rep_5": (0.1, 0.12, 0.15)})))
    assert _intervals(figure.axes[0]) == [pytest.approx((12, 15))]


def test_bars_of_zero_have_an_axis() -> None:
    figure = diversity(view(table("early", {"rep_5": (0.0,)})))
    assert figure.axes[0].get_xlim() == (0, 1)


# --- against accuracy -------------------------------------------------------------------------------


def _accurate(name: str, x: float, y: float) -> dict:
    return {"checkpoint": name, "values": {"pass@1": (x, x - 0.1, x + 0.1), "self_bleu": (y, y - 5, y + 5)}}


def test_a_checkpoint_is_a_cross_with_more_diverse_on_top() -> None:
    figure = diversity_and_accuracy(view(table(**_accurate("a", 0.3, 60)), table(**_accurate("b", 0.5, 70))))
    (axes,) = figure.axes
    assert [p for p in places(points(axes)) if p[0]] == [([30], [60]), ([50], [70])]
    ends = [
        (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines if line.get_linestyle() == "-"
    ]
    assert ends[0] == (pytest.approx([20, 40]), [60, 60]) and ends[1] == ([30, 30], [55, 65])
    assert axes.yaxis_inverted() and "up: more diverse" in axes.get_ylabel()
    assert axes.get_xlabel() == "pass@1 (%)" and axes.get_ylabel().startswith("Self-BLEU (0 to 100)")


def test_beyond_eight_checkpoints_the_others_are_small_circles() -> None:
    figure = diversity_and_accuracy(
        view(*(table(**_accurate(f"c{i}", 0.3 + i / 100, 60 + i)) for i in range(20)))
    )
    others, *named = points(figure.axes[0])
    assert len(others.get_xdata()) == 12 and len(named) == 8
    assert caption(figure)[-1] == "small circles: 12 more; all numbers are in the CSV files"


def test_a_checkpoint_without_one_of_the_two_is_left_out() -> None:
    figure = diversity_and_accuracy(view(table(**_accurate("a", 0.3, 60)), table("b", DIVERSE)))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a"]


# --- by tag -----------------------------------------------------------------------------------------


def _levels(checkpoint: str, shift: float = 0.0, **fields: int) -> list:
    values = {"level=3": 0.4 + shift, "level=4": 0.2 + shift, "subject=algebra": 0.3 + shift}
    own = {"checkpoint": checkpoint, "n_problems": 7} | fields
    return [row("pass@1", (v, v - 0.1, v + 0.1), subset=subset, **own) for subset, v in values.items()]


def test_a_panel_a_tag_a_row_a_value_and_checkpoints_beside_one_another() -> None:
    figure = subsets(view(table("early", rows=_levels("early")), table("late", rows=_levels("late", 0.2))))
    by_tag = panels(figure)
    assert list(by_tag) == ["level", "subject"]
    early, late = points(by_tag["level"])
    assert list(early.get_xdata()) == pytest.approx([40, 20])
    assert list(late.get_xdata()) == pytest.approx([60, 40])
    assert list(early.get_ydata()) == pytest.approx([-0.2, 0.8])
    assert list(late.get_ydata()) == pytest.approx([0.2, 1.2])
    assert _intervals(by_tag["level"])[0] == pytest.approx((30, 50))
    assert row_names(by_tag["level"]) == ["3", "4"] and row_names(by_tag["subject"]) == ["algebra"]
    assert texts(by_tag["level"])[0] == "7" and by_tag["subject"].get_xlabel() == "pass@1 (%)"
    assert to_hex(late.get_color()) == "#e69f00"


def test_groups_of_fewer_than_five_problems_are_left_out() -> None:
    rows = [*_levels("early"), row("pass@1", (0.9,), subset="level=5", checkpoint="early", n_problems=4)]
    figure = subsets(view(table("early", rows=rows)))
    assert row_names(panels(figure)["level"]) == ["3", "4"]
    assert caption(figure)[0] == "groups of 5 problems or more"
    with pytest.raises(NothingToDraw, match="no tag, such as level or subject, tells groups of 5"):
        subsets(view(table("early", rows=_levels("early", n_problems=4))))


def test_tags_with_too_many_values_for_one_figure_are_left_out_and_said() -> None:
    values = [("a", i) for i in range(20)] + [("b", i) for i in range(20)] + [("c", 0)]
    rows = [row("pass@1", (0.5,), subset=f"{tag}={i}", checkpoint="early", n_problems=9) for tag, i in values]
    figure = subsets(view(table("early", rows=rows)))
    assert list(panels(figure)) == ["a", "b"]
    assert caption(figure)[-1] == "2 of 3 tags; all numbers are in the CSV files"
