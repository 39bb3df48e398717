"""Answers written to break a grader: each gets a verdict, nothing they say is done, and grading goes on."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from opo_eval.grading import Grader, Outcome
from opo_eval.grading.grader import MAX_LENIENT_CHARS
from opo_eval.grading.pool import Job
from opo_eval.records import Reason, Verdict

GOLD = "3"

BOMBS = {
    "power tower": r"9^{9^{9^{9}}}",
    "ten to the ten to the ten": r"10^{10^{10}}",
    "factorial": "(10^8)!",
    "binomial": r"\binom{100000000}{50000000}",
    "nested fractions": r"\frac{1}{" * 900 + "1" + "}" * 900,
    "nested brackets": "(" * 4000 + "1" + ")" * 4000,
    "nested braces": "{" * 4000 + "1" + "}" * 4000,
    "power of a sum": "(x+1)^{100000}",
    "long sum": r"\sum_{i=1}^{10^9} \frac{1}{i}",
}
"""Each would take a minute or all memory."""

ODDITIES = {
    "a float's factorial": "1e8!",
    "digits": "7" * 9000,
    "carets": "^" * 5000,
    "dollars": "$" * 5000,
    "boxes in boxes": r"\boxed{" * 700 + "4" + "}" * 700,
    "division by zero": r"\frac{1}{0}",
    "infinity minus infinity": r"\infty-\infty",
    "lone surrogates": "\ud800\udfff4",
    "NUL bytes": "\x004\x00",
    "escape sequences": "\x07\x1b[31m4",
    "right to left": "\u202e4",
    "open delimiters": r"\left(" * 30,
    "repeated": "1 and " * 2000 + "2",
}

LONG = {
    "digits in a box": r"\boxed{" + "7" * 2**20 + "}",
    "fewer digits in a box": r"\boxed{" + "7" * 2**19 + "}",
    "digits without a box": "7" * 2**20,
    "digits below the lenient cap": "7" * MAX_LENIENT_CHARS,
    "open boxes": r"\boxed{" * (2**20 // 7),
    "open braces": r"\boxed{" + "{" * 2**20,
    "lone surrogates": "\ud800" * 2**20,
    "NUL bytes": "\x00" * 2**20,
}


@pytest.fixture(scope="module")
def impatient() -> Grader:
    with Grader(think="none", timeout_s=1.0, lenient=False) as grader:
        yield grader
        assert_grades_on(grader)


@pytest.fixture(scope="module")
def bombed(impatient: Grader) -> dict[str, Outcome]:
    return grade_all(impatient, {name: rf"\boxed{{{bomb}}}" for name, bomb in BOMBS.items()})


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_has_a_verdict_of_its_own(name: str, bombed: dict[str, Outcome]) -> None:
    assert (bombed[name].verdict, bombed[name].reason) == (Verdict.TIMED_OUT, Reason.TIME_LIMIT)


def test_what_ran_into_a_limit_is_tried_again_and_other_verdicts_are_not(
    impatient: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb, asked = rf"\boxed{{{BOMBS['factorial']}}}", []
    responses = {"bomb": bomb, "same bomb": f"and {bomb}", "half": r"\boxed{0.5}"}
    first = grade_all(impatient, responses)
    run = impatient.pool.run
    monkeypatch.setattr(impatient.pool, "run", lambda jobs: run(recorded(jobs, asked)))
    assert grade_all(impatient, responses) == first
    assert [job.text for job in asked] == [BOMBS["factorial"]]
    assert first["bomb"].verdict is first["same bomb"].verdict is Verdict.TIMED_OUT


def recorded(jobs: Iterable[Job], asked: list[Job]) -> list[Job]:
    jobs = list(jobs)
    asked.extend(jobs)
    return jobs


@pytest.fixture(scope="module")
def odd(impatient: Grader) -> dict[str, Outcome]:
    return grade_all(impatient, {name: rf"so \boxed{{{text}}}" for name, text in ODDITIES.items()})


@pytest.mark.parametrize("name", ODDITIES)
def test_oddity_has_a_verdict(name: str, odd: dict[str, Outcome]) -> None:
    assert odd[name].verdict is not Verdict.CORRECT


def test_lenient_meets_bombs_too() -> None:
    responses = {"tower": rf"\boxed{{{BOMBS['power tower']}}}", "text": f"is it ${BOMBS['factorial']}$?"}
    with Grader(think="none", timeout_s=1.0) as grader:
        graded = grade_all(grader, responses)
        assert_grades_on(grader)
    assert {outcome.lenient_verdict for outcome in graded.values()} == {Verdict.TIMED_OUT}
    assert graded["text"].reason is Reason.NO_ANSWER_FOUND


@pytest.fixture(scope="module")
def long_ones(grader: Grader) -> dict[str, Outcome]:
    return grade_all(grader, LONG)


@pytest.mark.parametrize(
    "name, reason, lenient",
    [
        ("digits in a box", Reason.NO_ANSWER_FOUND, Verdict.GRADER_ERROR),
        ("fewer digits in a box", Reason.ANSWER_TOO_LONG, Verdict.GRADER_ERROR),
        ("digits without a box", Reason.NO_ANSWER_FOUND, Verdict.GRADER_ERROR),
        ("digits below the lenient cap", Reason.NO_ANSWER_FOUND, Verdict.GRADER_ERROR),
        ("open boxes", Reason.NO_ANSWER_FOUND, Verdict.GRADER_ERROR),
        ("open braces", Reason.NO_ANSWER_FOUND, Verdict.GRADER_ERROR),
        ("lone surrogates", Reason.NO_ANSWER_FOUND, Verdict.GRADER_ERROR),
        ("NUL bytes", Reason.NO_ANSWER_FOUND, Verdict.GRADER_ERROR),
    ],
)
def test_a_megabyte_has_a_verdict(
    name: str, reason: Reason, lenient: Verdict, long_ones: dict[str, Outcome]
) -> None:
    assert (long_ones[name].reason, long_ones[name].lenient_verdict) == (reason, lenient)


def test_a_hundred_megabytes(grade_one) -> None:
    filler = "x" * (100 * 2**20)
    outcome = grade_one(GOLD, filler + r"\boxed{3}")
    assert (outcome.verdict, outcome.lenient_verdict) == (Verdict.CORRECT, Verdict.GRADER_ERROR)
    assert grade_one(GOLD, filler).reason is Reason.NO_ANSWER_FOUND


def test_code_is_not_run(grader: Grader, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    payloads = (
        f"__import__('os').system('touch {canary}')",
        f"1+__import__('os').system('touch {canary}')",
        f"open('{canary}','w')",
        f"(lambda: open('{canary}', 'w'))()",
        f"eval(\"open('{canary}','w')\")",
        f"1;import os;os.system('touch {canary}')",
        rf"\text{{__import__('os').system('touch {canary}')}}",
        rf"\write18{{touch {canary}}}",
    )
    places = (r"\boxed{%s}", "$%s$", "the answer is %s", "%s", "3 + %s = 4", r"\boxed{3}^{%s}")
    responses = {(p, place): place % p for p in payloads for place in places}
    graded = grade_all(grader, responses)
    assert not canary.exists()
    assert_grades_on(grader)
    for (_, place), outcome in graded.items():
        is_correct = outcome.verdict is Verdict.CORRECT
        assert is_correct == (place == r"\boxed{3}^{%s}"), outcome


def grade_all(grader: Grader, responses: dict) -> dict:
    graded = dict(grader.grade((name, GOLD, response) for name, response in responses.items()))
    assert graded.keys() == responses.keys()
    counts = Counter(outcome.verdict for outcome in graded.values())
    assert sum(counts[verdict] for verdict in Verdict) == len(responses)
    return graded


def assert_grades_on(grader: Grader) -> None:
    items = [("right", "1/2", r"\boxed{0.5}"), ("wrong", "1/2", r"\boxed{0.6}")]
    graded = dict(grader.grade(items))
    assert graded["right"].verdict is Verdict.CORRECT
    assert graded["wrong"].verdict is Verdict.WRONG
