"""When a report warns of the token limit: bounds by hand, on both sides of every threshold."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from report.handmade import comparison, interval, outcomes, table

from opo_eval.arms import Arm
from opo_eval.records import Comparison, Finish, MetricTable, Verdict
from opo_eval.truncation import Explained, cut_by_outcome, explained_by_truncation, much_truncated

N_PROBLEMS, N = 4, 25


def answered(checkpoint: str, n_cut: int, *, cut_correct: int = 0, n_correct: int = 50) -> MetricTable:
    """100 samples, of which `n_cut` were cut; of those, `cut_correct` are correct all the same."""
    blank = outcomes(N_PROBLEMS, N)
    verdicts = [Verdict.WRONG] * 100
    finishes = [Finish.STOP] * 100
    for i in range(n_cut):
        finishes[i] = Finish.LENGTH
        verdicts[i] = Verdict.CORRECT if i < cut_correct else Verdict.WRONG
    for i in range(100 - (n_correct - cut_correct), 100):
        verdicts[i] = Verdict.CORRECT
    made = replace(blank, verdict=tuple(verdicts), finish=tuple(finishes))
    return table(checkpoint, n=N, outcomes=made)


def explained(tables: Sequence[MetricTable], row: Comparison) -> list[Explained]:
    return explained_by_truncation(tables, [row])


def told_apart(delta: float, half: float) -> Comparison:
    """late minus early on pass@1, told apart by its test."""
    return comparison("pass@1", (delta, delta - half, delta + half), p_value=0.001, p_adjusted=0.001)


def not_told_apart(delta: float) -> Comparison:
    return comparison("pass@1", (delta, delta - 0.3, delta + 0.3))


def test_cut_samples_by_what_came_of_them() -> None:
    assert cut_by_outcome(answered("x", 20, cut_correct=5)) == pytest.approx(
        {"correct": 0.05, "not correct": 0.15}
    )
    unknown = replace(answered("x", 3), outcomes=replace(outcomes(), finish=(None,) * 32))
    assert cut_by_outcome(unknown) == {}


@pytest.mark.parametrize(("n_cut", "warned"), [(0, False), (5, False), (6, True), (100, True)])
def test_more_than_five_percent_is_much(n_cut: int, warned: bool) -> None:
    assert ("late" in much_truncated([answered("late", n_cut)])) is warned


@pytest.mark.parametrize(("n_cut", "warned"), [(11, False), (12, True)])
def test_a_verdict_that_the_bound_takes_to_the_edge_of_its_interval(n_cut: int, warned: bool) -> None:
    """early is worse by 20 points, at least 12: 12 % cut and wrong could close that."""
    found = explained([answered("early", n_cut), answered("late", 0)], told_apart(0.2, 0.08))
    assert bool(found) is warned
    if warned:
        assert (found[0].worse, found[0].truncated_worse, found[0].truncated_better) == ("early", 0.12, 0)
        assert found[0].at_most == pytest.approx(0.62)


def test_either_side_may_be_the_worse() -> None:
    (found,) = explained([answered("early", 0), answered("late", 30)], told_apart(-0.2, 0.08))
    assert found.worse == "late"


def test_the_side_that_was_cut_more_is_the_one_that_it_excuses() -> None:
    assert explained([answered("early", 12), answered("late", 12)], told_apart(0.2, 0.08)) == []
    assert explained([answered("early", 12), answered("late", 40)], told_apart(0.2, 0.08)) == []


def test_what_was_cut_and_correct_cannot_be_gained() -> None:
    tables = [answered("early", 20, cut_correct=10), answered("late", 0)]
    assert explained(tables, told_apart(0.2, 0.08)) == []


@pytest.mark.parametrize(
    ("n_cut", "delta", "warned"), [(6, 0.05, True), (6, 0.07, False), (5, 0.01, False), (0, 0.0, False)]
)
def test_without_a_verdict_the_sign_counts_and_small_shares_do_not(
    n_cut: int, delta: float, warned: bool
) -> None:
    found = explained([answered("early", n_cut), answered("late", 0)], not_told_apart(delta))
    assert bool(found) is warned


def test_a_difference_without_an_interval_is_judged_by_itself() -> None:
    row = replace(told_apart(0.2, 0.1), interval=None)
    assert explained([answered("early", 19), answered("late", 0)], row) == []
    assert explained([answered("early", 21), answered("late", 0)], row)


def test_an_interval_that_holds_zero_beside_a_test_that_rejects() -> None:
    row = replace(told_apart(0.2, 0.1), interval=interval(-0.01, 0.4))
    assert explained([answered("early", 1), answered("late", 0)], row)
    assert explained([answered("early", 0), answered("late", 0)], row) == []


def test_other_metrics_and_unknown_ends_say_nothing() -> None:
    tables = [answered("early", 60), answered("late", 0)]
    assert explained(tables, replace(told_apart(0.2, 0.08), metric="pass@2")) == []
    unknown = replace(tables[1], outcomes=replace(tables[1].outcomes, finish=(None,) * 100))
    assert explained([tables[0], unknown], told_apart(0.2, 0.08)) == []


def test_an_arm_is_cut_as_often_as_its_checkpoints_on_average() -> None:
    tables = [answered("a", 10), answered("b", 20), answered("c", 0), answered("d", 0)]
    arms = [Arm(name="early", checkpoints=("a", "b")), Arm(name="late", checkpoints=("c", "d"))]
    (found,) = explained_by_truncation(tables, [told_apart(0.2, 0.08)], arms)
    assert found.truncated_worse == pytest.approx(0.15)
