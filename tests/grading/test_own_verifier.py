"""The user's own grader: any callable, judged by what it returns."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import torch

from opo_eval.errors import InputError
from opo_eval.grading import Grader, Outcome, grade_answers, worker
from opo_eval.grading.run import load_verifier
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
    values = {
        "none": None,
        "two": 2,
        "float": 0.5,
        "array": np.array([True, False]),
        "word": "right",
        "list": [],
        "tuple": (True,),
    }
    items = [("", name) for name in values]
    assert verdicts(lambda _, name: values[name], items) == [
        (Verdict.GRADER_ERROR, Reason.VERIFIER_RAISED)
    ] * len(values)


@pytest.mark.parametrize("kind", [bool, int, np.bool_, np.int64, np.array, torch.tensor])
def test_booleans_of_any_library_are_verdicts(kind: Callable[[bool], Any]) -> None:
    assert worker._own_verdict(lambda *_: kind(True), "", "") is Verdict.CORRECT
    assert worker._own_verdict(lambda *_: kind(False), "", "") is Verdict.WRONG


@pytest.mark.parametrize("value", [np.float64(0.5), np.int64(2), torch.tensor(0.5), "True", 1.0])
def test_numbers_in_between_are_none(value: Any) -> None:
    with pytest.raises(ValueError, match="not a valid Verdict"):
        worker._own_verdict(lambda *_: value, "", "")


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
        assert re.fullmatch(rf"own:{__name__}\.ends_with:[0-9a-f]{{8}}\|limit:2\.5s", grader.signature)
    with Grader(verifier=EndsWith(" ")) as grader:
        assert re.fullmatch(rf"own:{__name__}\.EndsWith:[0-9a-f]{{8}}\|limit:5s", grader.signature)


def test_the_signature_tells_verifiers_of_one_name_apart(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    bodies = ["return True", "return gold in {'a', 'b', response}", "return True"]
    one, other, same = (signature_of(file, f"def f(gold, response):\n    {body}\n") for body in bodies)
    assert one == same != other
    assert Grader(verifier=EndsWith(" ")).signature != Grader(verifier=EndsWith("")).signature
    assert Grader(verifier=ends_within(5)).signature != Grader(verifier=ends_within(6)).signature


def test_the_signature_is_the_same_in_every_process(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    here = signature_of(file, "def f(gold, response):\n    return gold in {'a', 'b', 'c', 'd'}\n")
    code = (
        "import sys; from opo_eval.grading.run import Grader, load_verifier; "
        "print(Grader(verifier=load_verifier(sys.argv[1])).signature)"
    )
    for seed in "123":
        command = [sys.executable, "-c", code, f"{file}:f"]
        done = subprocess.run(
            command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True
        )
        assert done.stdout.strip() == here, done.stderr


def test_a_file_does_not_stand_in_for_a_module_of_python(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("def f(gold, response):\n    return True\n")
    before = sys.modules["json"]
    assert verdicts(load_verifier(f"{tmp_path / 'json.py'}:f"), [("", "")]) == [(Verdict.CORRECT, OWN)]
    assert sys.modules["json"] is before


@pytest.mark.parametrize(
    "code, said",
    [
        ("def f(:", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('one\\ntwo')", "ValueError: one two"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_verifier_that_cannot_be_imported_is_one_sentence(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_one.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("broken_one.py:f", "broken_one:f"):
        with pytest.raises(InputError, match=rf"'broken_one(\.py)?' of --verifier cannot .*{said}") as error:
            load_verifier(name)
        assert "\n" not in str(error.value)


def ends_within(characters: int) -> Callable[[str, str], bool]:
    return lambda gold, response: gold in response[-characters:]


def signature_of(file: Path, code: str) -> str:
    file.write_text(code)
    importlib.invalidate_caches()
    return Grader(verifier=load_verifier(f"{file}:f")).signature


def verdicts(
    verifier: Callable[[str, str], Any], items: list[tuple[str, str]], **settings: Any
) -> list[tuple[Verdict, Reason]]:
    with Grader(verifier=verifier, workers=1, **settings) as grader:
        graded = dict(grader.grade((i, gold, response) for i, (gold, response) in enumerate(items)))
    return [(graded[i].verdict, graded[i].reason) for i in range(len(items))]
