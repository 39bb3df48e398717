"""930 long responses whose think section began in the prompt."""

from collections import Counter
from collections.abc import Callable

import pytest

from opo_eval.grading import Grader, Outcome
from opo_eval.records import Reason, Verdict


@pytest.fixture(scope="module")
def rows(rows_of: Callable[[str], list[dict]]) -> list[dict]:
    return rows_of("r1_14b_math4_rollouts/generations.jsonl.gz")


@pytest.fixture(scope="module")
def outcomes(rows: list[dict]) -> list[Outcome]:
    with Grader(think="prefilled", timeout_s=30.0) as grader:
        graded = dict(grader.grade((i, row["gold"], row["response"]) for i, row in enumerate(rows)))
    return [graded[i] for i in range(len(rows))]


def test_exactly_those_that_never_close_are_unclosed(rows: list[dict], outcomes: list[Outcome]) -> None:
    open_rows = {i for i, row in enumerate(rows) if "</think>" not in row["response"]}
    assert len(open_rows) == 64
    assert {i for i, outcome in enumerate(outcomes) if outcome.reason is Reason.UNCLOSED_THINK} == open_rows


def test_verdicts_add_up(outcomes: list[Outcome]) -> None:
    counts = Counter(outcome.verdict for outcome in outcomes)
    assert sum(counts[verdict] for verdict in Verdict) == len(outcomes) == 930
    assert counts == {Verdict.CORRECT: 653, Verdict.WRONG: 210, Verdict.NO_ANSWER: 67}


def test_lenient_also_credits_open_thoughts_and_answers_without_a_box(outcomes: list[Outcome]) -> None:
    pairs = Counter((outcome.lenient_verdict, outcome.reason) for outcome in outcomes)
    assert pairs == {
        (Verdict.CORRECT, Reason.EQUAL_TEXT): 653,
        (Verdict.WRONG, Reason.DIFFERENT_INTEGER): 210,
        (Verdict.CORRECT, Reason.UNCLOSED_THINK): 7,
        (Verdict.WRONG, Reason.UNCLOSED_THINK): 57,
        (Verdict.CORRECT, Reason.NO_ANSWER_FOUND): 3,
    }


def test_strict_takes_only_what_is_boxed_after_the_thought(rows: list[dict], outcomes: list[Outcome]) -> None:
    for row, outcome in zip(rows, outcomes, strict=True):
        if outcome.extracted is not None:
            assert outcome.extracted in row["response"].rpartition("</think>")[2]
