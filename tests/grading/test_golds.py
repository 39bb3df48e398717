"""Golds of real problem sets are accepted as their own answers by math-verify itself."""

import pytest

from opo_eval.grading import Grader


def test_all_560_benchmark_golds_are_accepted(
    benchmark_golds: list[str], accepted_golds: dict[str, bool]
) -> None:
    assert len(benchmark_golds) == 560
    assert [gold for gold in benchmark_golds if not accepted_golds[gold]] == []


def test_all_training_golds_are_accepted(training_golds: list[str], accepted_golds: dict[str, bool]) -> None:
    assert len(training_golds) > 2900
    assert [gold for gold in training_golds if not accepted_golds[gold]] == []


@pytest.mark.parametrize("gold", ["$$", r"\\", r"\boxed{}", r"\text{}"])
def test_a_gold_that_does_not_parse_is_not_accepted(gold: str, slow_path: Grader) -> None:
    assert slow_path.check_golds([gold]) == {gold: False}


def test_only_the_golds_that_were_asked_for_come_back(slow_path: Grader) -> None:
    slow_path.check_golds(["5", "6"])
    assert slow_path.check_golds(iter(["6", "7", "6"])) == {"6": True, "7": True}
