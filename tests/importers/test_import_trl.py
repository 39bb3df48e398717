"""TRL's completion logs, and the mean rewards that it logged of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from opo_eval.errors import InputError, UsageError
from opo_eval.importers import Imported
from opo_eval.problems import load_problems
from opo_eval.records import Verdict
from opo_eval.store import RunDir

Read = Callable[..., Imported]
Value = Callable[..., float]
SETTINGS: dict[str, Any] = {"checkpoint": "grpo", "problems": "tiny-arith", "template": "tiny"}


@pytest.fixture
def folder(tmp_path: Path, logs: Path) -> Path:
    """A copy of the log, to be changed."""
    return Path(shutil.copytree(logs / "trl/completions", tmp_path / "completions"))


def change(path: Path, change_row: Callable[[dict[str, Any]], object]) -> Path:
    rows = pyarrow.parquet.read_table(path).to_pylist()
    for row in rows:
        change_row(row)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_the_logged_mean_rewards_are_reproduced(folder: Path, logs: Path, read: Read, value: Value) -> None:
    steps = json.loads((logs / "trl/printed.json").read_text())["steps"]
    runs = list(read(folder, **SETTINGS).runs)
    assert [run.parent.name for run in runs] == ["grpo_step_1", "grpo_step_2"]
    for run, step in zip(runs, steps, strict=True):
        assert 0 < value(run, "pass@1") < 1
        assert value(run, "pass@1") == pytest.approx(step["rewards/boxed_answer/mean"], abs=1e-6)  # float32
        assert RunDir(run).manifest.settings.checkpoint.step == step["step"]


def test_a_reward_that_is_no_verdict_is_left_out(folder: Path, read: Read) -> None:
    done = read(folder / "completions_00001.parquet", **SETTINGS)
    ((run, n),) = done.runs.items()
    assert n == 32 and {grade.grader for grade in RunDir(run).grades()} == {"source:boxed_answer"}
    (note,) = done.notes  # the gold, which the reward function logged as text, is no score at all
    assert "the score 'shortness' is left out: it is 0." in note


def test_the_gold_is_asked_for_unless_it_was_logged(folder: Path, read: Read) -> None:
    path = folder / "completions_00001.parquet"
    with pytest.raises(InputError, match="no column for the gold answer: name it with --map gold=COLUMN"):
        read(path, checkpoint="grpo", benchmark="tiny-arith")
    with pytest.raises(UsageError, match="does not say who answered"):
        read(path, problems="tiny-arith")
    named = {"checkpoint": "grpo", "benchmark": "tiny-arith", "template": "tiny"}
    (run,) = read(path, **named, columns={"gold": "answer"}).runs
    golds = {problem.prompt: problem.answer for problem in load_problems("tiny-arith")[:8]}
    assert {problem.prompt: problem.answer for problem in RunDir(run).problems()} == golds


def test_a_file_that_repeats_the_step_before_is_left_out(folder: Path, read: Read) -> None:
    again = folder / "completions_00003.parquet"
    shutil.copy(folder / "completions_00002.parquet", again)
    change(again, lambda row: row.update(step=3))
    done = read(folder, **SETTINGS)
    assert len(done.runs) == 2
    assert (
        "completions_00003.parquet is left out: it holds the completions of completions_00002.parquet "
        in (" ".join(done.notes))
    )


def test_conversations_of_one_turn_are_read(folder: Path, read: Read) -> None:
    path = folder / "completions_00001.parquet"
    (plain,) = read(path, **SETTINGS).runs
    texts = [sample.text for sample in RunDir(plain).samples()]

    def converse(row: dict[str, Any]) -> None:
        system = {"role": "system", "content": "Add."}
        row["prompt"] = [system, {"role": "user", "content": row["prompt"]}]
        row["completion"] = [{"role": "assistant", "content": row["completion"]}]

    (spoken,) = read(change(path, converse), **{**SETTINGS, "checkpoint": "chat"}).runs
    assert [sample.text for sample in RunDir(spoken).samples()] == texts
    change(path, lambda row: row["completion"].append({"role": "assistant", "content": "more"}))
    with pytest.raises(InputError, match="row 1 has a completion of 2 turns"):
        read(path, **{**SETTINGS, "checkpoint": "turns"})


def test_a_completion_without_a_reward_could_not_be_graded(folder: Path, read: Read) -> None:
    path = folder / "completions_00001.parquet"
    rows = pyarrow.parquet.read_table(path).to_pylist()
    rows[0]["boxed_answer"] = None
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    (run,) = read(path, **SETTINGS).runs
    verdicts = [grade.verdict for grade in RunDir(run).grades()]
    assert verdicts[0] is Verdict.GRADER_ERROR and verdicts.count(Verdict.GRADER_ERROR) == 1


def test_other_columns_are_refused(folder: Path, read: Read) -> None:
    path = folder / "completions_00001.parquet"
    change(path, lambda row: row.pop("advantage"))
    with pytest.raises(InputError, match=r"row 1 is not as TRL 1.16 writes it: it has no 'advantage'"):
        read(path, **SETTINGS, format="trl")
