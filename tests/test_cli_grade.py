"""The verb `grade`, and the same options in `eval`: what they make of graders elsewhere. No Ray runs here."""

from pathlib import Path
from typing import Any

import pytest
from builders import problem, write_run

from opo_eval import cli
from opo_eval.cli import run
from opo_eval.grading import Grader
from opo_eval.grading import run as grading_run
from opo_eval.records import Verdict
from opo_eval.store import RunDir

SUMS = tuple(problem(number) for number in (1, 2))


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunDir]:
    """Of two checkpoints, in an empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    texts = {"p1": [r"\boxed{2}", r"\boxed{3}"], "p2": [r"\boxed{4}", "none"]}
    return [write_run(Path("runs") / name / "sums", SUMS, texts, checkpoint=name) for name in ("a", "b")]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What graders were asked for; each is made in this process."""
    asked: list[dict[str, Any]] = []

    def make(*, graders: int | None, ray_address: str | None, **settings: Any) -> Grader:
        asked.append({"graders": graders, "ray_address": ray_address})
        return Grader(**settings | {"lenient": False, "workers": 1})

    monkeypatch.setattr(grading_run, "make_grader", make)
    return asked


def verdicts(run: RunDir) -> list[Verdict]:
    return [grade.verdict for grade in sorted(run.grades(), key=lambda g: (g.problem_id, g.index))]


def test_runs_that_are_alike_share_their_graders(
    runs: list[RunDir], made: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["grade", "runs", "--graders", "2", "--ray-address", "10.0.0.1:6379"]) == 0
    assert made == [{"graders": 2, "ray_address": "10.0.0.1:6379"}]
    assert sorted(verdicts(runs[0])) == sorted(verdicts(runs[1])) != []
    said = capsys.readouterr().out
    assert all(
        f"runs/{name}/sums: 4 samples graded (2 correct, 1 wrong, 1 no answer)" in said for name in "ab"
    )


def test_eval_grades_on_the_ray_that_it_samples_on(
    runs: list[RunDir], made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_sweep", lambda *_: None)
    monkeypatch.setattr(cli, "_sample", lambda *_, **__: runs)
    monkeypatch.setattr(cli, "_compare", lambda *_: None)
    assert run(["eval", "a", "b", "--benchmark", "sums"]) == 0
    assert run(["eval", "a", "b", "--benchmark", "sums", "--engine", "ray", "--ray-address", "auto"]) == 0
    assert run(["eval", "a", "b", "--benchmark", "sums", "--graders", "3"]) == 0
    assert made == [
        {"graders": None, "ray_address": None},
        {"graders": None, "ray_address": "auto"},
        {"graders": 3, "ray_address": None},
    ]


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("--ray-address 127.0.0.1:1", 1, "no Ray answers at 127.0.0.1:1 ("),
        ("--ray-address head", 2, "'head' is no address of a Ray: give HOST:PORT of its head"),
        ("--graders 2 --workers 0", 2, "workers must be at least 1, not 0"),
    ],
)
def test_a_wrong_call_is_one_sentence_before_a_ray_is_there(
    capsys: pytest.CaptureFixture[str], words: str, status: int, message: str
) -> None:
    pytest.importorskip("ray")
    assert run(["grade", "runs", *words.split()]) == status
    said = capsys.readouterr().err
    assert said.startswith(f"opo-eval: {message}") and said.count("\n") == 1
