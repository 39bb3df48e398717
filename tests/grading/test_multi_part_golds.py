"""A gold of several parts needs every one of them, and no other."""

import pytest

from opo_eval.records import Reason, Verdict

CORRECT = [
    ("1,2", "1,2"),
    ("1,2", "2,1"),
    ("1,2", "1, 2"),
    ("1,2", r"\{1,2\}"),
    ("1,2", r"1 \text{ and } 2"),
    ("1331 and 1728", "1331, 1728"),
    ("1331 and 1728", "1728 and 1331"),
    (r"\frac{1}{2}, 3", "3, 0.5"),
    ("-1,3,3", "3,-1,3"),
    ("2,2", "2,2"),
    ("x=1, x=2", "1, 2"),
    (r"(1,2)", r"(1,2)"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1.0 \\ 2.0 \end{pmatrix}"),
]
WRONG = [
    ("1,2", "1"),
    ("1,2", "2"),
    ("1,2", "1,2,3"),
    ("1,2", "1,3"),
    ("1", "1,2"),
    ("1331 and 1728", "1728"),
    ("1331 and 1728", "1331"),
    ("(1,2)", "(2,1)"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 2 \\ 1 \end{pmatrix}"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "1"),
]
PARTS_DIFFER = [("2,2", "2"), ("2,2", "2,2,2"), ("-1,3,3", "-1,3"), (r"75^\circ, 75^\circ", r"75^\circ")]


@pytest.mark.parametrize("gold, answer", CORRECT)
def test_every_part_in_any_order(gold: str, answer: str, slow_path) -> None:
    assert grade(slow_path, gold, answer) == (Verdict.CORRECT, Reason.EQUIVALENT)


@pytest.mark.parametrize("gold, answer", WRONG)
def test_a_part_too_few_or_too_many(gold: str, answer: str, slow_path) -> None:
    assert grade(slow_path, gold, answer) == (Verdict.WRONG, Reason.NOT_EQUIVALENT)


@pytest.mark.parametrize("gold, answer", PARTS_DIFFER)
def test_a_repeated_value_counts_as_often_as_the_gold_has_it(gold: str, answer: str, slow_path) -> None:
    assert grade(slow_path, gold, answer) == (Verdict.WRONG, Reason.PARTS_DIFFER)


def grade(grader, gold: str, answer: str) -> tuple[Verdict, Reason]:
    (outcome,) = dict(grader.grade([(0, gold, rf"\boxed{{{answer}}}")])).values()
    return outcome.verdict, outcome.reason
