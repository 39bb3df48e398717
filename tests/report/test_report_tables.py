"""What stands in the tables of a report, against values written down by hand."""

import csv

import pytest
from report.handmade import GRADED, compared, comparison, curve, interval, row, statistics, table

from opo_eval.arms import Arm
from opo_eval.errors import InputError
from opo_eval.report.counts import accounting, accounting_grid, coverage_grid, reservations
from opo_eval.report.data import metrics_csv
from opo_eval.report.signatures import signatures_of
from opo_eval.report.tables import (
    arm_differences,
    breakdowns,
    differences,
    headline_grid,
    metric_grids,
    pairs_grid,
)
from opo_eval.report.views import (
    BenchmarkView,
    benchmark_views,
    family,
    headline_metrics,
    k_of,
    shown_metrics,
)


def _view(*tables, comparisons=()) -> BenchmarkView:
    (view,) = benchmark_views(compared(tables, comparisons))
    return view


def test_one_row_a_metric_one_column_a_checkpoint() -> None:
    early = table("early", {"pass@1": (0.5, 0.45, 0.55), "tokens": (120.0, 100.0, 140.0)})
    late = table("late", {"pass@1": (0.75, 0.7, 0.8), "self_bleu": (60.0, 55.0, 65.0)})
    (grid,) = metric_grids(_view(early, late))
    assert grid.columns == ("metric", "unit", "early", "late")
    assert grid.rows == (
        ("pass@1", "%", "50.0 [45.0, 55.0]", "75.0 [70.0, 80.0]"),
        ("tokens", "tokens", "120 [100, 140]", "undefined"),
        ("self_bleu", "0 to 100", "undefined", "60.0 [55.0, 65.0]"),
    )


def test_pass_at_k_is_shown_at_powers_of_two_and_n() -> None:
    (grid,) = metric_grids(_view(curve("early", [0.1] * 11)))
    assert [cells[0] for cells in grid.rows] == ["pass@1", "pass@2", "pass@4", "pass@8", "pass@11"]


def test_files_for_programs_hold_more_metrics_than_tables() -> None:
    shown = ["pass^1", "pass^2", "pass^8", "maj@4", "distinct_4", "rep_5", "compression_ratio", "looping"]
    hidden = ["pass^3", "maj@7", "g_pass@8_0.5", "g_pass@2_1.0", "mg_pass@8", "distinct_1", "rep_5_q4"]
    early = table("early", dict.fromkeys([*hidden, *shown], (0.5,)))
    assert shown_metrics([early]) == shown
    assert headline_metrics([early]) == ["rep_5"]
    rows = csv.DictReader(metrics_csv([_view(early)]).decode().splitlines())
    assert {row["metric"] for row in rows} == {*shown, *hidden}


def test_a_family_over_k_has_one_name() -> None:
    names = ["pass@16", "pass^16", "maj@2", "g_pass@4_0.25", "g_pass@4_1.0", "mg_pass@4", "rep_5_q1"]
    assert [family(name) for name in names] == [
        "pass@k", "pass^k", "maj@k", "g_pass@k", "g_pass@k", "mg_pass@k", "rep_5_q1",
    ]  # fmt: skip
    assert [k_of(name) for name in names] == [16] + [None] * 6


def test_forty_checkpoints_are_all_there() -> None:
    names = [f"step_{i}" for i in range(40)]
    grids = list(metric_grids(_view(*(table(name) for name in names))))
    assert [name for grid in grids for name in grid.columns[2:]] == names
    assert max(len(grid.columns) for grid in grids) <= 8


def test_lost_and_won_rows_stand_in_one_order_and_one_style() -> None:
    values = {"pass@1": (0.5, 0.4, 0.6), "pass@8": (0.9, 0.8, 1.0), "tokens": (99.0, 90.0, 110.0)}
    rows = [
        comparison("tokens", (20.0, 10.0, 30.0), value_a=99.0, value_b=119.0),
        comparison("pass@8", (-0.1, -0.15, -0.05), value_a=0.9, value_b=0.8),
        comparison("pass@1", (0.172, 0.121, 0.22), value_b=0.672),
    ]
    (pair,) = differences(_view(table("early", values), table("late", values), comparisons=rows))
    assert (pair.name, pair.baseline) == ("late", "early")
    assert pair.tested.columns == (
        "metric", "early", "late", "difference", "unit", "p", "adjusted p", "reading", "detectable",
        "problems needed",
    )  # fmt: skip
    assert [cells[:8] for cells in pair.tested.rows] == [
        ("pass@1", "50.0", "67.2", "+17.2 [+12.1, +22.0]", "percentage points", "0.004", "0.004", "better"),
        ("pass@8", "90.0", "80.0", "-10.0 [-15.0, -5.0]", "percentage points", "0.004", "0.004", "worse"),
        ("tokens", "99", "119", "+20 [+10, +30]", "tokens", "0.004", "0.004", "higher"),
    ]
    assert [cells[8:] for cells in pair.tested.rows] == [("8.0", "40"), ("8.0", "40"), ("0", "40")]
    assert pair.missing == () and pair.others.rows == ()


def test_what_is_outside_the_family_has_a_table_of_its_own_without_adjusted_p() -> None:
    values = {"pass@1": (0.5, 0.4, 0.6), "tokens": (99.0, 90.0, 110.0)}
    rows = [
        comparison("pass@1", (0.0, -0.1, 0.1), p_adjusted=0.9),
        comparison("tokens", (20.0, 10.0, 30.0), p_adjusted=None),
    ]
    (pair,) = differences(_view(table("early", values), table("late", values), comparisons=rows))
    assert [cells[0] for cells in pair.tested.rows] == ["pass@1"]
    assert "adjusted p" not in pair.others.columns
    assert pair.others.rows[0][4:7] == ("tokens", "0.004", "higher, unadjusted")


def test_what_cannot_be_compared_is_named() -> None:
    early, late = table("early"), table("late", {"pass@1": (0.5,), "self_bleu": (50.0,)})
    alone = comparison("pass@1", (0.0,), mde80=None, problems_needed=None)
    (pair,) = differences(_view(early, late, comparisons=[alone]))
    assert pair.missing == ("self_bleu",)
    assert pair.others.columns == ("metric", "early", "late", "difference", "unit", "reading")
    assert pair.others.rows[0][-1] == "not tested"


def test_arms_have_tables_like_those_of_checkpoints() -> None:
    names = {"grpo": ("a", "b"), "opo": ("c", "d")}
    row = comparison("pass@1", (0.1, 0.02, 0.18), a="grpo", b="opo", n_train_seeds=2, problems_needed=None)
    (view,) = benchmark_views(
        compared(
            [table(name) for name in "abcd"],
            arms=tuple(Arm(name=arm, checkpoints=members) for arm, members in names.items()),
            arm_comparisons=(row,),
        )
    )
    (pair,) = arm_differences(view)
    assert (pair.name, pair.baseline) == ("opo", "grpo")
    assert pair.tested.columns[1:3] == ("grpo", "opo")
    assert "problems needed" not in pair.tested.columns
    assert list(differences(view)) == []


def test_headline_numbers_carry_every_interval_under_its_label() -> None:
    these, band = interval(0.47, 0.53, "these problems"), interval(0.35, 0.65, "problems like these, all k")
    full = row("pass@1", (0.5, 0.4, 0.6), interval_these=these, band=band)
    bleu = row("self_bleu", (60.0, 55.0, 65.0))
    early = table("early", {}, rows=[full, bleu])
    late = comparison("pass@1", (0.1, 0.05, 0.15), interval_these=interval(0.07, 0.13, "these problems"))
    grid = headline_grid(_view(early, table("late", {}), comparisons=[late]))
    assert grid.columns[:4] == ("metric", "unit", "of", "value")
    assert grid.columns[4:] == (
        "95 % over problems like these", "95 % over these problems", "95 % over problems like these, all k",
    )  # fmt: skip
    assert grid.rows == (
        ("pass@1", "%", "early", "50.0", "[40.0, 60.0]", "[47.0, 53.0]", "[35, 65]"),
        ("pass@1", "percentage points", "late minus early", "+10.0", "[+5.0, +15.0]", "[+7.0, +13.0]", "—"),
        ("self_bleu", "0 to 100", "early", "60.0", "[55.0, 65.0]", "—", "—"),
    )


def test_many_pairs_are_one_row_each() -> None:
    names = [f"step_{i}" for i in range(7)]
    rows = [
        comparison(metric, (0.1, 0.05, 0.15), a=names[0], b=name)
        for name in names[1:]
        for metric in ("pass@2", "pass@1")
    ]
    grid = pairs_grid(_view(*(curve(name, [0.5, 0.6]) for name in names), comparisons=rows))
    assert [cells[:2] for cells in grid.rows] == [(name, "pass@1") for name in names[1:]]


def test_counts_add_up_across_each_row() -> None:
    view = _view(table("early"), table("late", counts={"problems": 4, "samples": 9, "correct": 9}))
    grid = accounting_grid(view)
    assert grid.columns[1:] == (
        "samples", "= correct", "+ wrong", "+ no answer", "+ timed out", "+ grader error",
    )  # fmt: skip
    assert grid.rows == (("early", "32", "20", "7", "3", "1", "1"), ("late", "9", "9", "0", "0", "0", "0"))
    for cells in grid.rows:
        assert int(cells[1]) == sum(map(int, cells[2:]))


def test_ungraded_samples_are_counted_as_such() -> None:
    view = _view(table("early"), table("late", counts={"problems": 4, "samples": 9}))
    grid = accounting_grid(view)
    assert grid.columns[-1] == "+ not graded"
    assert [cells[-1] for cells in grid.rows] == ["0", "9"]


def test_counts_that_do_not_add_up_are_refused() -> None:
    counts = {"problems": 4} | GRADED | {"samples": 40}
    with pytest.raises(
        InputError, match=r"early on sums has 40 samples but 32 verdicts: run `opo-eval grade`"
    ):
        accounting(table(counts=counts))


def test_coverage_names_short_problems_and_odd_endings() -> None:
    counts = {"truncated": 5, "finish_unknown": 6, "empty": 7, "strict_lenient_disagree": 2}
    short = (statistics("pass@1", 0.5, n_samples=(8, 8, 9, 7)),)
    early = table(counts={"problems": 4} | GRADED | counts, statistics=short)
    grid = coverage_grid(_view(early))
    assert dict(zip(grid.columns, grid.rows[0], strict=True)) == {
        "checkpoint": "early",
        "n compared": "8",
        "problems": "4",
        "problems with fewer samples than others": "3",
        "strict and lenient verdict disagree": "2",
        "truncated": "5",
        "end unknown": "6",
        "empty": "7",
        "problems without samples": "0",
    }


def test_undefined_metrics_are_named_once_for_all_checkpoints() -> None:
    silent = tuple(statistics(name, 0.0) for name in ("maj@1", "maj@2", "tokens"))
    partly = row("rep_5", (0.1, 0.05, 0.2), n_problems_left_out=1, n_samples_left_out=12)
    extra = (*silent, statistics("rep_5", 0.1))
    early = table("early", {}, rows=[partly], statistics=extra)
    assert reservations(_view(early, table("late", {}, statistics=silent))) == [
        "maj@k, tokens: undefined on every problem (all checkpoints).",
        "rep_5: undefined on 1 problem and 12 samples, which the value leaves out (early).",
    ]


def test_unlike_signatures_are_pointed_at() -> None:
    late = table("late", {}, rows=[row("pass@1", (0.5,), checkpoint="late", signature="other")])
    view = _view(table("early"), late)
    (sentence,) = reservations(view)
    assert sentence.startswith("pass@k: the checkpoints were not measured alike")
    assert signatures_of([view], "pass@k") == {"pass@1|n:8": [("sums", "early")], "other": [("sums", "late")]}


def test_a_family_has_one_signature_for_all_its_numbers() -> None:
    rows = [row(f"pass@{k}", (0.5,), signature="same") for k in range(1, 9)]
    rows.append(row("self_bleu", (50.0,), signature="bleu"))
    view = _view(table("early", {}, rows=rows))
    assert signatures_of([view], "pass@k") == {"same": [("sums", "early")]}
    assert signatures_of([view, view], "self_bleu") == {"bleu": [("sums", "early")]}


# --- by tag -----------------------------------------------------------------------------------------


def test_breakdown_has_a_row_for_each_value_and_checkpoint() -> None:
    values = {"pass@1": (0.5, 0.4, 0.6), "pass@4": (0.6,), "pass@8": (0.9,), "rep_5": (0.1,)}
    levels = [
        row("pass@1", (0.25, 0.2, 0.3), subset="level=3", n_problems=5),
        row("pass@1", (1.0,), subset="level=5", n_problems=4, n_problems_left_out=1),
        row("pass@8", (1.0,), subset="level=5", n_problems=5),
        row("pass@1", (0.9,), subset="level=1", n_problems=3, n_problems_left_out=1),
    ]
    (level,) = breakdowns(_view(table("early", values, rows=levels), table("late", values)))
    assert (level.tag, level.too_small) == ("level", ("1",))
    assert level.grid.columns == ("level", "checkpoint", "problems", "pass@1 (%)", "pass@8 (%)", "rep_5 (%)")
    assert level.grid.rows == (
        ("3", "early", "5", "25.0 [20.0, 30.0]", "undefined", "undefined"),
        ("3", "late", "0", "undefined", "undefined", "undefined"),
        ("5", "early", "5", "100.0", "100.0", "undefined"),
        ("5", "late", "0", "undefined", "undefined", "undefined"),
    )
