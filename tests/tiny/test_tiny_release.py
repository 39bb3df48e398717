"""Releasing the shipped checkpoints once more gives what their manifest says."""

import json
import shutil
from math import sqrt

import pytest

from opo_eval.errors import UsageError
from opo_eval.problems import dataset_sha256, load_problems
from opo_eval.tiny import CHECKPOINTS_DIR, checkpoint_path
from opo_eval.tiny.command import run_command
from opo_eval.tiny.release import Release, release

RECORD = {"command": "a command", "provenance": {"python": "3"}, "loss_after_step": {"1": 0.5, "3": 0.25}}


@pytest.fixture
def run(tmp_path):
    """The directory of a warm start that saved the shipped checkpoints after steps 1 and 3."""
    path = tmp_path / "run"
    shutil.copytree(checkpoint_path("early"), path / "step_000001")
    shutil.copytree(checkpoint_path("late"), path / "step_000003")
    (path / "warm_start.json").write_text(json.dumps(RECORD))
    return path


def released(run, out, *more):
    return run_command(Release, release, ["--run", str(run), "--out", str(out), "--samples", "16", *more])


def test_a_release_is_copied_described_and_measured(run, tmp_path):
    assert released(run, tmp_path / "out", "--early", "1", "--late", "3", "--seed", "99") == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    shipped = json.loads((CHECKPOINTS_DIR / "manifest.json").read_text())
    assert (manifest["command"], manifest["provenance"]) == (RECORD["command"], RECORD["provenance"])
    for name, step, loss in (("early", 1, 0.5), ("late", 3, 0.25)):
        described, before = manifest["checkpoints"][name], shipped["checkpoints"][name]
        assert (described["step"], described["loss"]) == (step, loss)
        assert (described["sha256"], described["bytes"]) == (before["sha256"], before["bytes"])
        for file in checkpoint_path(name).iterdir():
            assert (tmp_path / "out" / name / file.name).read_bytes() == file.read_bytes()
        assert_same_accuracy(described["measured"], before["measured"])


def assert_same_accuracy(again, shipped):
    """Equal settings, and accuracies that two draws of one model may have."""
    assert again["dataset_sha256"] == shipped["dataset_sha256"] == dataset_sha256(load_problems("tiny-arith"))
    assert again["n_problems"] == shipped["n_problems"] == 64
    assert (again["samples_per_problem"], again["seed"]) == (16, 99)
    rate = shipped["pass@1"]
    # Of all ways to spread a mean over problems, the binomial with one probability varies most.
    one_draw = rate * (1 - rate) / 64
    assert again["pass@1"] == pytest.approx(
        rate, abs=4 * sqrt(one_draw / 16 + one_draw / shipped["samples_per_problem"])
    )
    # With 16 samples pass@16 is the share of problems solved at all: its deviation is at most 1/2 / 8.
    assert again["pass@16"] == pytest.approx(shipped["pass@16"], abs=4 * 0.5 / 8)


def test_too_few_samples_for_pass_at_16(tmp_path):
    with pytest.raises(UsageError, match="--samples 8 must be at least 16, the largest k of pass@k"):
        Release(run=tmp_path, samples=8)


def test_a_missing_checkpoint_is_named_before_anything_is_copied(run, tmp_path, capsys):
    assert released(run, tmp_path / "out", "--early", "1", "--late", "2") == 1
    message = capsys.readouterr().err
    assert "step_000002 does not exist: name with --run the directory of a finished warm start" in message
    assert not (tmp_path / "out").exists()
