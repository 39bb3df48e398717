"""What verl's trainer dumps, and the validation metrics that it computed of the same batch."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from opo_eval.errors import InputError, UsageError
from opo_eval.importers import Imported
from opo_eval.problems import load_problems
from opo_eval.store import RunDir

Read = Callable[..., Imported]
Value = Callable[..., float]
NAMES = {"checkpoint": "grpo", "benchmark": "tiny-arith"}


@pytest.fixture
def validation(logs: Path) -> Path:
    return logs / "verl/validation/10.jsonl"


@pytest.fixture
def rollouts(logs: Path) -> Path:
    return logs / "verl/rollouts/10.jsonl"


@pytest.fixture
def printed(logs: Path) -> dict[str, float]:
    return json.loads((logs / "verl/printed.json").read_text())["metrics"]


def test_the_printed_accuracy_is_reproduced(
    validation: Path, printed: dict[str, float], read: Read, value: Value
) -> None:
    (run,) = read(validation, **NAMES).runs
    number = printed["val-core/tiny-arith/acc/mean@4"]
    assert 0 < number < 1 and value(run, "pass@1", "source:acc") == pytest.approx(number, abs=1e-12)
    # With replacement, so smaller than the exact one: four draws may be of the same response.
    assert value(run, "pass@4") >= printed["val-core/tiny-arith/acc/best@4/mean"] > number


def test_a_reward_of_either_sign_is_a_verdict_from_where_it_is_said_to_be(
    validation: Path, printed: dict[str, float], read: Read, value: Value
) -> None:
    (run,) = read(validation, **NAMES, columns={"score": "score"}, correct_from=1).runs
    mean = printed["val-aux/tiny-arith/reward/mean@4"]
    assert 2 * value(run, "pass@1", "source:score") - 1 == pytest.approx(mean, abs=1e-12)
    with pytest.raises(InputError, match=r"score .* is -1.0, it has to be 0 or 1.*--correct-from"):
        read(validation, **NAMES, columns={"score": "score"})


def test_rollouts_are_graded_by_their_score(rollouts: Path, read: Read, value: Value) -> None:
    rows = [json.loads(line) for line in rollouts.read_text().splitlines()]
    ((path, n),) = read(rollouts, **NAMES).runs.items()
    run = RunDir(path)
    assert n == len(rows) == 32 and [s.text for s in run.samples()] == [row["output"] for row in rows]
    assert value(path, "pass@1", "source") == pytest.approx(sum(row["score"] for row in rows) / 32)
    checkpoint = run.manifest.settings.checkpoint
    assert (checkpoint.name, checkpoint.step) == ("grpo", 10)
    assert {s.index for s in run.samples()} == {0, 1, 2, 3}


def test_prompts_join_with_a_set_once_their_template_is_off(rollouts: Path, read: Read) -> None:
    (path,) = read(rollouts, checkpoint="grpo", problems="tiny-arith", template="{problem}=").runs
    assert tuple(RunDir(path).problems()) == load_problems("tiny-arith")[:8]


def test_every_step_of_a_folder_is_a_checkpoint(rollouts: Path, tmp_path: Path, read: Read) -> None:
    for step in (10, 9):
        (tmp_path / "dumps").mkdir(exist_ok=True)
        shutil.copy(rollouts, tmp_path / f"dumps/{step}.jsonl")
    assert [p.parent.name for p in read(tmp_path / "dumps", **NAMES).runs] == ["grpo_step_9", "grpo_step_10"]


def test_names_that_no_dump_has_are_asked_for(rollouts: Path, read: Read) -> None:
    with pytest.raises(UsageError, match="does not say who answered: name it with --checkpoint"):
        read(rollouts)
    with pytest.raises(UsageError, match="does not say what was asked: name it with --benchmark"):
        read(rollouts, checkpoint="grpo")


def test_another_version_is_refused_and_further_outputs_are(
    rollouts: Path, tmp_path: Path, read: Read
) -> None:
    rows = [json.loads(line) for line in rollouts.read_text().splitlines()]
    old = tmp_path / "7.jsonl"
    old.write_text("".join(json.dumps({k: v for k, v in r.items() if k != "gts"}) + "\n" for r in rows))
    with pytest.raises(InputError, match=r"line 1 is not as verl 0.9.1 writes it: it has no 'gts'"):
        read(old, **NAMES, format="verl")
    old.write_text("".join(json.dumps(r | {"uid": f"a_{i}_{i}"}) + "\n" for i, r in enumerate(rows)))
    with pytest.raises(InputError, match=r"line 2 is a further output of one rollout \(uid 'a_1_1'\)"):
        read(old, **NAMES)
