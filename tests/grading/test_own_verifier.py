"""The user's own grader: any callable, judged by what it returns."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import cloudpickle
import pytest

from opo_eval.grading import Grader, Outcome, grade_answers
from opo_eval.records import Reason, Verdict

OWN = Reason.OWN_VERIFIER


@pytest.fixture(autouse=True, scope="module")
def travels_as_code() -> Iterator[None]:
    """A worker cannot import a test file."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def ends_with(gold: str, response: str) -> bool:
    return response.endswith(gold)


@dataclass
class EndsWith:
    """Compared by value, and so without a hash."""

    prefix: str

    def __call__(self, gold: str, response: str) -> bool:
        return response.endswith(self.prefix + gold)

    def check(self, gold: str, response: str) -> bool:
        return self(gold, response)


VERIFIERS = {
    "function": ends_with,
    "lambda": lambda gold, response: gold in response,
    "partial": partial(lambda prefix, gold, response: response.endswith(prefix + gold), " "),
    "callable object": EndsWith(" "),
    "bound method": EndsWith(" ").check,
}


@pytest.mark.parametrize("verifier", VERIFIERS.values(), ids=VERIFIERS)
def test_any_callable_can_grade(verifier: Callable[[str, str], bool]) -> None:
    outcomes = grade_answers(["5", "5"], ["say 5", "say 6"], verifier=verifier, workers=1)
    assert outcomes == [
        Outcome(verdict=Verdict.CORRECT, lenient_verdict=None, extracted=None, reason=OWN),
        Outcome(verdict=Verdict.WRONG, lenient_verdict=None, extracted=None, reason=OWN),
    ]


def test_it_sees_gold_and_whole_response_as_they_are() -> None:
    gold, response = " <gold>\n", " <think>\ud800\x00 \\boxed{5}\n"

    def same(given_gold: str, given_response: str) -> bool:
        return (given_gold, given_response) == (gold, response)

    assert verdicts(same, [(gold, response)]) == [(Verdict.CORRECT, OWN)]


def test_a_verdict_is_taken_as_it_is() -> None:
    items = [("", verdict.value) for verdict in Verdict]
    assert verdicts(lambda _, name: Verdict(name), items) == [(verdict, OWN) for verdict in Verdict]


def test_anything_else_is_an_error_and_not_a_verdict() -> None:
    values = {"none": None, "one": 1, "float": 0.5, "word": "right", "list": [], "tuple": (True,)}
    items = [("", name) for name in values]
    assert verdicts(lambda _, name: values[name], items) == [
        (Verdict.GRADER_ERROR, Reason.VERIFIER_RAISED)
    ] * len(values)


def test_each_way_to_fail_has_its_reason() -> None:
    def fail(_: str, how: str) -> bool:
        if how == "raise":
            raise ValueError("no")
        if how == "recurse":
            return fail(_, how)
        if how == "swell":
            return bool(bytearray(2**40))
        if how == "leave":
            os._exit(1)
        while how == "hang":
            pass
        return True

    expected = {
        "raise": (Verdict.GRADER_ERROR, Reason.VERIFIER_RAISED),
        "recurse": (Verdict.GRADER_ERROR, Reason.VERIFIER_RAISED),
        "swell": (Verdict.GRADER_ERROR, Reason.MEMORY_LIMIT),
        "leave": (Verdict.GRADER_ERROR, Reason.WORKER_DIED),
        "hang": (Verdict.TIMED_OUT, Reason.TIME_LIMIT),
        "work": (Verdict.CORRECT, OWN),
    }
    assert verdicts(fail, [("", how) for how in expected], timeout_s=1.0) == list(expected.values())


def test_what_it_prints_disturbs_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    def talk(gold: str, response: str) -> bool:
        print('{"outcome": "wrong", "resident_mb": 1}', flush=True)
        os.write(1, b"more\n")
        os.write(2, b"and more\n")
        return True

    assert verdicts(talk, [("", "a"), ("", "b")]) == [(Verdict.CORRECT, OWN)] * 2
    assert capfd.readouterr() == ("", "")


def test_it_may_do_what_the_answers_may_not(tmp_path) -> None:
    def write(_: str, path: str) -> bool:
        with open(path, "w") as file:
            file.write("seen")
        return True

    path = tmp_path / "log"
    assert verdicts(write, [("", str(path))]) == [(Verdict.CORRECT, OWN)]
    assert path.read_text() == "seen"


def test_the_signature_names_it() -> None:
    with Grader(verifier=ends_with, timeout_s=2.5) as grader:
        assert grader.signature == "own:ends_with|limit:2.5s"
    with Grader(verifier=EndsWith(" ")) as grader:
        assert grader.signature == "own:EndsWith|limit:5s"


def verdicts(
    verifier: Callable[[str, str], Any], items: list[tuple[str, str]], **settings: Any
) -> list[tuple[Verdict, Reason]]:
    with Grader(verifier=verifier, workers=1, **settings) as grader:
        graded = dict(grader.grade((i, gold, response) for i, (gold, response) in enumerate(items)))
    return [(graded[i].verdict, graded[i].reason) for i in range(len(items))]
