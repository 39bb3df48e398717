"""Known traps of math-verify: what it says itself, and what strict and lenient say.

The first column says how math-verify was given the gold: `bare` or within dollars (`wrapped`). Ours always
gets the bare gold.
"""

import threading

import pytest
from math_verify import parse, verify

from opo_eval.grading import Grader, Outcome
from opo_eval.records import Reason, Verdict

EVELYN, EVELYN_BOXED = r"\text{Evelyn}", r"$\boxed{\text{Evelyn}}$"
TRAPS = {
    # name: wrapping, gold, response, math-verify, strict verdict and reason, lenient
    "thought, cut off": (
        ("bare", "204", "<think> maybe 204", True),
        (Verdict.NO_ANSWER, Reason.UNCLOSED_THINK, Verdict.CORRECT),
    ),
    "thought, cut off (wrapped)": (
        ("wrapped", "204", "<think> maybe 204", True),
        (Verdict.NO_ANSWER, Reason.UNCLOSED_THINK, Verdict.CORRECT),
    ),
    "empty box": (
        ("bare", "204", r"I think 204. \boxed{}", True),
        (Verdict.NO_ANSWER, Reason.EMPTY_ANSWER, Verdict.CORRECT),
    ),
    "empty box (wrapped)": (
        ("wrapped", "204", r"I think 204. \boxed{}", True),
        (Verdict.NO_ANSWER, Reason.EMPTY_ANSWER, Verdict.CORRECT),
    ),
    "one of two parts": (
        ("bare", "1331 and 1728", r"\boxed{1728}", True),
        (Verdict.WRONG, Reason.NOT_EQUIVALENT, Verdict.WRONG),
    ),
    "one of two parts (wrapped)": (
        ("wrapped", "1331 and 1728", r"\boxed{1728}", False),
        (Verdict.WRONG, Reason.NOT_EQUIVALENT, Verdict.WRONG),
    ),
    "words as the gold": (
        ("bare", EVELYN, EVELYN_BOXED, False),
        (Verdict.CORRECT, Reason.EQUAL_TEXT, Verdict.CORRECT),
    ),
    "words as the gold (wrapped)": (
        ("wrapped", EVELYN, EVELYN_BOXED, True),
        (Verdict.CORRECT, Reason.EQUAL_TEXT, Verdict.CORRECT),
    ),
    "inequality for an interval (wrapped)": (
        ("wrapped", "(1,2)", r"$\boxed{1<x<2}$", False),
        (Verdict.WRONG, Reason.NOT_EQUIVALENT, Verdict.WRONG),
    ),
    "interval for an inequality (wrapped)": (
        ("wrapped", "1<x<2", r"$\boxed{(1,2)}$", True),
        (Verdict.CORRECT, Reason.EQUIVALENT, Verdict.CORRECT),
    ),
    "leading zero": (
        ("bare", "025", r"\boxed{25}", True),
        (Verdict.CORRECT, Reason.EQUAL_INTEGER, Verdict.CORRECT),
    ),
    "leading zero (wrapped)": (
        ("wrapped", "025", r"\boxed{25}", True),
        (Verdict.CORRECT, Reason.EQUAL_INTEGER, Verdict.CORRECT),
    ),
    "percent sign": (
        ("bare", "9", r"\boxed{9\%}", True),
        (Verdict.CORRECT, Reason.EQUIVALENT, Verdict.CORRECT),
    ),
    "percent sign (wrapped)": (
        ("wrapped", "9", r"\boxed{9\%}", True),
        (Verdict.CORRECT, Reason.EQUIVALENT, Verdict.CORRECT),
    ),
}


@pytest.mark.parametrize("given, _", TRAPS.values(), ids=TRAPS)
def test_what_math_verify_says(given: tuple[str, str, str, bool], _: object) -> None:
    wrapping, gold, response, accepted = given
    written = f"${gold}$" if wrapping == "wrapped" else gold
    assert verify(parse(written), parse(response)) is accepted


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    with Grader(think="tagged", timeout_s=30.0) as grader:
        items = ((name, gold, response) for name, ((_, gold, response, _), _) in TRAPS.items())
        return dict(grader.grade(items))


@pytest.mark.parametrize("name", TRAPS)
def test_what_strict_and_lenient_say(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name]
    assert (outcome.verdict, outcome.reason, outcome.lenient_verdict) == TRAPS[name][1]


def test_math_verify_is_not_symmetric() -> None:
    interval, inequality = parse("$(1,2)$"), parse(r"$\boxed{1<x<2}$")
    assert not verify(interval, inequality)
    assert verify(inequality, interval)


def test_math_verify_refuses_threads() -> None:
    raised: list[ValueError] = []

    def call() -> None:
        for function, argument in ((parse, ("25",)), (verify, (25, 25))):
            with pytest.raises(ValueError, match="threaded environment") as error:
                function(*argument)
            raised.append(error.value)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert len(raised) == 2


BOMBS = {
    "power tower": r"9^{9^{9^{9}}}",
    "ten to the ten to the ten": r"10^{10^{10}}",
    "factorial": "(10^8)!",
    "binomial": r"\binom{100000000}{50000000}",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_math_verify_calls_a_bomb_wrong_without_a_status(bomb: str) -> None:
    # Ours say TIMED_OUT: test_hostile_answers.
    answer = parse(rf"\boxed{{{bomb}}}", parsing_timeout=1)
    assert verify(parse("$3$"), answer, timeout_seconds=1) is False
