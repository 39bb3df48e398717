"""What is said of a gold as its own answer, and where a limit is met."""

import pytest

from opo_eval.grading import Grader, worker
from opo_eval.grading.pool import DIED, TIMED_OUT
from opo_eval.records import Reason, Verdict


@pytest.mark.parametrize("gold", ["$$", r"\\", r"\boxed{}", r"\text{}"])
def test_a_gold_that_does_not_parse_is_not_accepted(gold: str, slow_path: Grader) -> None:
    assert slow_path.check_golds([gold]) == {gold: False}


def test_only_the_golds_that_were_asked_for_come_back(slow_path: Grader) -> None:
    slow_path.check_golds(["5", "6"])
    assert slow_path.check_golds(iter(["6", "7", "6"])) == {"6": True, "7": True}


@pytest.mark.parametrize(
    "outcome, verdict, reason",
    [
        (TIMED_OUT, Verdict.TIMED_OUT, Reason.TIME_LIMIT),
        (DIED, Verdict.GRADER_ERROR, Reason.WORKER_DIED),
        (worker.MEMORY, Verdict.GRADER_ERROR, Reason.MEMORY_LIMIT),
    ],
)
def test_a_limit_met_by_a_gold_is_said_and_forgotten(
    outcome: str, verdict: Verdict, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = (0, "1/2", r"\boxed{0.5}")
    with Grader(think="none", lenient=False, workers=1) as grader:
        with monkeypatch.context() as broken:
            broken.setattr(grader.pool, "run", lambda jobs: ((n, outcome) for n, _ in enumerate(jobs)))
            ((_, unlucky),) = grader.grade([item])
        ((_, again),) = grader.grade([item])
    assert (unlucky.verdict, unlucky.reason) == (verdict, reason)
    assert (again.verdict, again.reason) == (Verdict.CORRECT, Reason.EQUIVALENT)
