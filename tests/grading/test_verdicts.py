"""Closed sets of outcomes, and the identity that nothing is lost between them."""

from collections import Counter
from importlib.metadata import version

import pytest

from opo_eval.errors import InputError, UsageError
from opo_eval.grading import Grader, Outcome, grade_answers, worker
from opo_eval.grading import grader as grader_module
from opo_eval.grading.pool import DIED, TIMED_OUT
from opo_eval.records import Reason, Think, Verdict

WORKER_OUTCOMES = {
    value
    for name, value in vars(worker).items()
    if name.isupper() and not name.startswith("_") and isinstance(value, str)
}
POOL_OUTCOMES = {DIED, TIMED_OUT}
FOUND_BY_EXTRACTION = {
    Reason.EMPTY_RESPONSE: Verdict.NO_ANSWER,
    Reason.UNCLOSED_THINK: Verdict.NO_ANSWER,
    Reason.NO_ANSWER_FOUND: Verdict.NO_ANSWER,
    Reason.EMPTY_ANSWER: Verdict.NO_ANSWER,
    Reason.ANSWER_TOO_LONG: Verdict.GRADER_ERROR,
}
FOUND_BY_FAST_PATHS = {
    Reason.EQUAL_TEXT: Verdict.CORRECT,
    Reason.EQUAL_INTEGER: Verdict.CORRECT,
    Reason.DIFFERENT_INTEGER: Verdict.WRONG,
}


def test_every_outcome_of_a_worker_has_a_verdict() -> None:
    assert len(WORKER_OUTCOMES) == 8
    strict = (WORKER_OUTCOMES - {worker.NO_ANSWER}) | POOL_OUTCOMES
    assert set(grader_module._STRICT) == strict
    assert set(grader_module._LENIENT) == strict | {worker.NO_ANSWER}
    failures = {worker.RAISED, worker.MEMORY} | POOL_OUTCOMES
    assert set(grader_module._OWN) == {*Verdict} | failures


def test_outcomes_of_worker_and_pool_differ_from_each_other() -> None:
    assert len(WORKER_OUTCOMES | POOL_OUTCOMES) == 10
    assert not POOL_OUTCOMES & {*Verdict}


def test_every_reason_belongs_to_one_verdict() -> None:
    by_workers = {reason: verdict for verdict, reason in grader_module._STRICT.values()}
    assert len(by_workers) == len(grader_module._STRICT)
    known = [by_workers, FOUND_BY_EXTRACTION, FOUND_BY_FAST_PATHS]
    reasons = Counter(reason for table in known for reason in table)
    assert reasons == Counter({*Reason} - {Reason.OWN_VERIFIER, Reason.VERIFIER_RAISED, Reason.SOURCE})


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    """One response for each reason but those of a worker that fails."""
    items = {
        Reason.EQUAL_TEXT: (r"\frac{1}{2}", r"\boxed{\frac{1}{2}}"),
        Reason.EQUAL_INTEGER: ("25", r"\boxed{025}"),
        Reason.EQUIVALENT: (r"\frac{1}{2}", r"\boxed{0.5}"),
        Reason.DIFFERENT_INTEGER: ("25", r"\boxed{26}"),
        Reason.NOT_EQUIVALENT: (r"\frac{1}{2}", r"\boxed{0.6}"),
        Reason.PARTS_DIFFER: ("2,2", r"\boxed{2}"),
        Reason.UNPARSED_ANSWER: (r"\frac{1}{2}", r"\boxed{?}"),
        Reason.EMPTY_RESPONSE: ("25", " "),
        Reason.UNCLOSED_THINK: ("25", r"<think>\boxed{25}"),
        Reason.NO_ANSWER_FOUND: ("25", "25"),
        Reason.EMPTY_ANSWER: ("25", r"25 \boxed{}"),
        Reason.ANSWER_TOO_LONG: ("25", r"\boxed{" + "2" * 10_001 + "}"),
        Reason.UNPARSED_GOLD: ("$$", r"\boxed{25}"),
        Reason.COMPARISON_RAISED: (r"x \neq 3", r"\boxed{x < 3}"),
    }
    with Grader(workers=1, timeout_s=30.0) as grader:
        return dict(grader.grade((reason, *item) for reason, item in items.items()))


def test_each_is_graded_for_its_reason(outcomes: dict[Reason, Outcome]) -> None:
    assert {reason: outcome.reason for reason, outcome in outcomes.items()} == {r: r for r in outcomes}
    by_workers = {reason: verdict for verdict, reason in grader_module._STRICT.values()}
    verdict_of = by_workers | FOUND_BY_EXTRACTION | FOUND_BY_FAST_PATHS
    for reason, outcome in outcomes.items():
        assert outcome.verdict is verdict_of[reason]


def test_verdicts_add_up(outcomes: dict[Reason, Outcome]) -> None:
    counts = Counter(outcome.verdict for outcome in outcomes.values())
    assert sum(counts[verdict] for verdict in Verdict) == len(outcomes)
    assert counts == {
        Verdict.CORRECT: 3,
        Verdict.WRONG: 4,
        Verdict.NO_ANSWER: 4,
        Verdict.GRADER_ERROR: 3,
    }


def test_an_answer_is_kept_where_there_is_one(outcomes: dict[Reason, Outcome]) -> None:
    for reason, outcome in outcomes.items():
        assert (outcome.extracted is None) == (reason in FOUND_BY_EXTRACTION)


def test_lenient_is_left_out_where_it_is_not_wanted() -> None:
    (outcome,) = grade_answers(["5"], [r"\boxed{5}"], lenient=False)
    assert outcome == Outcome(Verdict.CORRECT, None, "5", Reason.EQUAL_TEXT)


# --- calls that make no sense -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "golds, settings, error, message",
    [
        (["1", "2"], {}, UsageError, "2 golds for 1 responses: give one gold a response"),
        (["1"], {"think": "yes"}, UsageError, "think cannot be 'yes': choose one of tagged, prefilled, none"),
        (["1"], {"where": "end"}, UsageError, "no answer place 'end': choose one of boxed, answer-tag"),
        (["1"], {"workers": 0}, UsageError, "workers must be at least 1, not 0"),
        (["1"], {"timeout_s": float("inf")}, UsageError, "timeout_s must be more than 0 and at most 86400"),
        ([5], {}, UsageError, r"golds\[0\] is of type int: give text \(str\)"),
        ([" "], {}, InputError, "a gold is empty: every problem needs an answer"),
    ],
)
def test_wrong_calls_are_one_sentence(golds: list[str], settings: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        grade_answers(golds, ["1"], **settings)


def test_a_response_that_is_not_text_is_named() -> None:
    with pytest.raises(UsageError, match=r"responses\[1\] is of type NoneType: .* '' for no response"):
        grade_answers(["1", "2"], ["1", None])


@pytest.mark.parametrize("fast_paths", [True, False])
def test_an_empty_gold_is_refused_either_way(fast_paths: bool) -> None:
    with Grader(fast_paths=fast_paths) as grader, pytest.raises(InputError, match="a gold is empty"):
        grader.check_golds(["5", "\n"])


def test_nothing_to_grade_is_nothing() -> None:
    assert grade_answers([], []) == []


def test_the_signature_says_what_a_verdict_depends_on() -> None:
    signatures = {
        Grader(**settings).signature
        for settings in (
            {},
            {"think": "none"},
            {"where": "hash"},
            {"timeout_s": 2.0},
            {"think": Think.NONE},
            {"lenient": False},
        )
    }
    libraries = f"math-verify:{version('math-verify')}"
    assert signatures == {
        f"strict:1|at:boxed|think:tagged|lenient:500000|limit:5s|{libraries}",
        f"strict:1|at:boxed|think:none|lenient:500000|limit:5s|{libraries}",
        f"strict:1|at:hash|think:tagged|lenient:500000|limit:5s|{libraries}",
        f"strict:1|at:boxed|think:tagged|lenient:500000|limit:2s|{libraries}",
        f"strict:1|at:boxed|think:tagged|lenient:no|limit:5s|{libraries}",
    }
