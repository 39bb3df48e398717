"""Lenient is math-verify's own verdict over the whole response, on real responses."""

import logging
import random
from collections.abc import Callable, Iterator

import pytest
from math_verify import parse, verify

from opo_eval.grading import Grader
from opo_eval.records import Reason, Verdict

FILES = ("rg_llama3b_rl_ckpts", "r1_14b_math4_rollouts", "soren_math500_20x16_prm")
ROWS_A_FILE = 120


class _TimeOuts(logging.Handler):
    """Counts what math-verify only logs: that its limit ended a call."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.n = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.n += record.getMessage().startswith("Timeout during")


@pytest.fixture
def time_outs() -> Iterator[_TimeOuts]:
    handler = _TimeOuts()
    loggers = [logging.getLogger(name) for name in ("math_verify.parser", "math_verify.grader")]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.mark.parametrize("name", FILES)
def test_lenient_is_math_verify_s_verdict(
    name: str, rows_of: Callable[[str], list[dict]], grader: Grader, time_outs: _TimeOuts
) -> None:
    rows = random.Random(7).sample(rows_of(f"{name}/generations.jsonl.gz"), ROWS_A_FILE)
    graded = dict(grader.grade((i, row["gold"], row["response"]) for i, row in enumerate(rows)))
    verdicts = set()
    for i, row in enumerate(rows):
        before = time_outs.n
        accepted = verify(parse(f"${row['gold']}$"), parse(row["response"]))
        if time_outs.n == before:
            assert accepted == (graded[i].lenient_verdict is Verdict.CORRECT), row["response"]
            verdicts.add(accepted)
    assert verdicts == {True, False}
    assert time_outs.n <= 3


def test_a_response_over_the_cap_is_an_error_and_not_a_wrong_answer(grade_one) -> None:
    outcome = grade_one("5", "5 " * 250_001)
    assert (outcome.lenient_verdict, outcome.reason) == (Verdict.GRADER_ERROR, Reason.NO_ANSWER_FOUND)
