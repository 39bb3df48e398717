"""`opo-eval score` as a user types it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from score.runs import EARLY, LATE, changed, records

from opo_eval.cli import VERBS, run
from opo_eval.store import RunDir

Copy = Callable[..., RunDir]


@pytest.fixture
def here(copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a run `run` and a folder `checkpoints`."""
    monkeypatch.chdir(tmp_path)
    copy()
    changed(EARLY, tmp_path / "checkpoints/early")
    (tmp_path / "checkpoints/nothing").mkdir()
    return tmp_path


def test_score_stands_between_grade_and_measure() -> None:
    verbs = list(VERBS)
    assert verbs[verbs.index("grade") + 1 : verbs.index("measure")] == ["score"]


def test_a_folder_of_runs_is_scored_whole(
    copy: Copy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [copy("runs/late/sums"), copy("runs/early/sums", of="early")]
    command = ["score", str(tmp_path / "runs"), "--reference", EARLY, "--temperature", "1", "0.5", "--quiet"]
    assert run(command) == 0
    said = capsys.readouterr()
    assert (
        said.err == ""
        and said.out.count(": 18 samples with ") == 2
        and said.out.count("\nscorer exact|") == 2
    )
    for one in runs:
        assert {key[2] for key in records(one)} == {0.5, 1.0} and len(records(one)) == 36


def test_every_option_reaches_the_scoring(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "hidden").mkdir()
    command = "score run --checkpoint checkpoints/early --reference " + LATE
    command += (
        " --dtype bfloat16 --device cpu --batch-tokens 300 --hidden-gb 0.001 --hidden-dir hidden --per-token"
    )
    assert run(command.split()) == 0
    said = capsys.readouterr().out
    assert (
        "scored off-policy, by early@" in said and "the numbers of every token are in run/per_token" in said
    )
    assert "|dtype:bfloat16|vocab:258|prompt:sampled|off-policy" in said
    assert len(list((here / "run/per_token").iterdir())) > 1


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ("nowhere", 1, "nowhere is not a run directory"),
        ("", 2, "give at least one run directory"),
        ("run --reference ./nowhere", 1, "there is no checkpoint directory ./nowhere"),
        ("run --checkpoint checkpoints/nothing", 1, "checkpoints/nothing is not a checkpoint directory"),
        ("run --temperature 0", 2, "--temperature cannot be 0: it has to be more than 0 and finite"),
        ("run --temperature nan", 2, "--temperature cannot be nan"),
        ("run --hidden-gb 0", 2, "--hidden-gb cannot be 0: it has to be more than 0 and finite"),
        ("run --hidden-dir nowhere", 2, "--hidden-dir nowhere is no folder: make it, or give another"),
        ("run --batch-tokens 0", 2, "batch_tokens cannot be 0: it has to be at least 1"),
        ("run --data-parallel -1", 2, "data_parallel cannot be -1: it has to be at least 1"),
        ("run --dtype float8", 2, "dtype cannot be 'float8': it has to be one of float32, bfloat16, float16"),
        ("run --device cdua", 1, "cannot be loaded as a checkpoint on cdua"),
        ("run --template boxed", 2, "run says itself how its problems were put: leave --template"),
        ("run --adapter checkpoints", 1, "checkpoints is not a LoRA adapter"),
        ("run --reference-adapter checkpoints", 2, "--reference-adapter was given without --reference"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_writes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str], options: str, status: int, message: str
) -> None:
    assert run(["score", *options.split()]) == status
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("opo-eval: ") and said.count("\n") == 1 and "Traceback" not in said
    assert list(RunDir("run").token_stats()) == []
