"""What a comparison comes to in sentences, word for word."""

import pytest
from report.handmade import compared, comparison, interval, table

from opo_eval.arms import Arm
from opo_eval.family import stated
from opo_eval.records import Comparison
from opo_eval.report.verdicts import scope, verdict
from opo_eval.report.views import benchmark_views

NAMES = {"early": "early", "late": "late", "grpo": "grpo", "opo": "opo"}
METRICS = dict.fromkeys(["pass@1", "pass@2", "pass@8", "self_bleu", "rep_5", "tokens"], (0.5, 0.4, 0.6))
(VIEW,) = benchmark_views(compared([table(name, METRICS) for name in ("early", "late")]))


def _said(*rows: Comparison, brief: bool = False) -> str:
    return verdict(rows, NAMES, VIEW, brief=brief)


# --- one pair ---------------------------------------------------------------------------------------


def test_a_draw_says_what_could_have_been_seen_and_what_it_would_take() -> None:
    row = comparison(
        "pass@1", (0.003, -0.019, 0.024), p_value=0.78, p_adjusted=1.0, mde80=0.031, problems_needed=2841
    )
    draw = (
        "late is not distinguishable from early on pass@1: difference +0.3 points, 95 % -1.9 to +2.4 over "
        "problems like these, p = 0.78 (adjusted 1); 4 problems would show a difference of 3.1 points with "
        "80 % power in a single test"
    )
    assert _said(row) == (f"{draw}, and telling 0.3 points apart would take about 2,900 problems like these.")
    assert _said(row, brief=True) == f"{draw}."


def test_a_draw_that_only_the_adjustment_made_asks_for_no_problems() -> None:
    row = comparison("pass@1", (0.1, 0.05, 0.15), p_value=0.03, p_adjusted=0.2, problems_needed=4)
    assert _said(row).endswith(
        "p = 0.03 (adjusted 0.2); 4 problems would show a difference of 8.0 points "
        "with 80 % power in a single test."
    )


@pytest.mark.parametrize(("sign", "word"), [(1, "better"), (-1, "worse")])
def test_a_loss_is_said_as_plainly_as_a_win(sign: int, word: str) -> None:
    low, high = sorted((sign * 0.121, sign * 0.22))
    assert _said(comparison("pass@1", (sign * 0.172, low, high))) == (
        f"late is {word} than early on pass@1 by 17.2 points, 95 % 12.1 to 22.0 over problems like these, "
        "p = 0.004 (adjusted 0.004)."
    )


def test_a_difference_whose_interval_holds_0_keeps_its_signs() -> None:
    row = comparison("pass@1", (-0.1, -0.21, 0.01), p_value=0.04, p_adjusted=0.04)
    assert "worse than early on pass@1 by 10 points, 95 % -1 to +21 over" in _said(row)


def test_lengths_are_higher_or_lower_and_neither_better_nor_worse() -> None:
    assert _said(comparison("tokens", (-30.0, -50.0, -10.0))) == (
        "late is lower than early on tokens by 30 tokens, 95 % 10 to 50 over problems like these, p = 0.004 "
        "(adjusted 0.004)."
    )


def test_outside_any_family_it_says_unadjusted() -> None:
    row = comparison("pass@1", (0.1, 0.05, 0.15), p_adjusted=None)
    assert _said(row).endswith("over problems like these, p = 0.004 (unadjusted).")


def test_one_problem_gives_no_verdict() -> None:
    row = comparison("pass@1", (0.5,), mde80=None, problems_needed=None)
    assert _said(row) == (
        "late and early differ by +50.0 points on pass@1, which is not tested: problems, or clusters of "
        "them, are too few or do not vary."
    )


def test_where_all_problems_are_alike_there_is_a_verdict_without_an_interval() -> None:
    still = {"mde80": None, "problems_needed": None}
    assert _said(comparison("pass@1", (0.0,), p_value=1.0, p_adjusted=1.0, **still)) == (
        "late is not distinguishable from early on pass@1: difference 0.0 points, the same on every problem, "
        "p = 1 (adjusted 1)."
    )
    moved = comparison("pass@1", (0.25,), p_value=0.00001, p_adjusted=0.00002, **still)
    assert _said(moved) == (
        "late is better than early on pass@1 by 25.0 points, the same on every problem, p < 0.0001 "
        "(adjusted < 0.0001)."
    )


def test_the_rest_of_the_family_follows_what_was_told_apart_first() -> None:
    rows = [
        comparison("pass@1", (0.0, -0.1, 0.1)),
        comparison("pass@2", (0.0, -0.1, 0.1)),
        comparison("self_bleu", (3.0, 2.0, 4.0)),
        comparison("rep_5", (-0.104, -0.15, -0.05)),
        comparison("pass@8", (0.0, -0.1, 0.1)),
        comparison("tokens", (30.0, 20.0, 40.0), p_adjusted=None),
    ]
    assert _said(*rows).endswith(
        " Of the rest of the family: worse on self_bleu by 3.0 points; better on rep_5 by 10.4 points; not "
        "distinguishable on pass@2, pass@8."
    )


def test_arms_name_their_seeds() -> None:
    row = comparison(
        "pass@1", (0.02, -0.05, 0.09), a="grpo", b="opo", n_train_seeds=3, problems_needed=None, p_value=0.5,
        p_adjusted=0.5,
    )  # fmt: skip
    assert _said(row).startswith("opo is not distinguishable from grpo on pass@1")
    assert _said(row).endswith(
        "; 4 problems with 3 training seeds an arm or more would show a difference of 8.0 points with 80 % "
        "power in a single test."
    )


# --- whose training, which family -------------------------------------------------------------------


def test_it_says_whether_it_speaks_of_methods() -> None:
    tables = [table(name) for name in ("early", "late")]
    arms = (Arm(name="grpo", checkpoints=("a", "b")), Arm(name="opo", checkpoints=("c", "d", "e")))
    runs, one, two = (compared(tables, arms=arms[:n]) for n in range(3))
    assert scope(runs, {}).startswith("This speaks of these training runs (one seed each), not of the method")
    assert scope(one, NAMES).startswith("grpo (2 training seeds) is the only arm, so no methods are compared")
    assert scope(two, NAMES).startswith(
        "Arms: grpo (2 training seeds), opo (3 training seeds). What compares"
    )


def _rows(cells: dict[str, str]) -> list[Comparison]:
    return [
        comparison(metric, (0.1, 0.05, 0.15), benchmark=benchmark)
        for benchmark, metrics in cells.items()
        for metric in metrics.split()
    ]


def test_the_family_multiplies_out_or_is_counted_by_benchmark() -> None:
    outside = comparison("tokens", (1.0, 0.5, 1.5), p_adjusted=None)
    whole = _rows({"sums": "pass@1 rep_5", "words": "pass@1 rep_5"})
    assert stated([*whole, outside]) == (
        "Holm over 4 tests: 2 benchmarks × 2 metrics (pass@1, rep_5) × 1 pair"
    )
    assert stated(_rows({"sums": "pass@1 rep_5", "words": "pass@1"})) == (
        "Holm over 3 tests (2, 1) on 2 benchmarks: 2 metrics (pass@1, rep_5), 1 pair, not every metric for "
        "every pair"
    )


def test_the_interval_is_named_by_its_kind() -> None:
    by_exam = interval(0.05, 0.15, "problems like these, drawn by exam")
    assert "over problems like these, drawn by exam, p = 0.004" in _said(
        comparison("pass@1", (0.1,), interval=by_exam, p_value=0.004, p_adjusted=0.004)
    )
