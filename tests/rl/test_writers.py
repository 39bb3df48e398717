"""What trackers show: read back from the files that they leave, over interruptions too."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rl.tracked import curves, history, wandb_records

from opo_eval.errors import StoreError, UsageError
from opo_eval.records import TrainingStep
from opo_eval.rl.writers import Writer, make_writers, scalars

KNOWN = {
    "reward": 0.25,
    "pass_rate": 0.25,
    "n_samples": 64,
    "n_tokens": 640,
    "n_unscorable": 1,
    "groups_equal": 0.125,
    "entropy": 0.75,
    "kl_start": 0.0625,
    "kl_start_k1": 0.03125,
    "kl_start_k3": 0.046875,
    "kl_rollout_k1": 0.0,
    "kl_rollout_k3": 0.0,
    "gradient_norm": 1.5,
    "loss": -0.5,
    "learning_rate": 0.0009765625,
    "n_updates": 1,
    "length": 10.0,
    "length_correct": 9.0,
    "length_wrong": 10.5,
    "truncated": 0.0,
}
UNKNOWN = {"kl_update_k3": None, "clip_fraction": None}


def show(writer: Writer, step: TrainingStep) -> None:
    writer.add(step.step, scalars(step))


def training_step(step: int, **fields: Any) -> TrainingStep:
    """A step whose loss is its number; every value is exact in float32."""
    row: dict[str, Any] = KNOWN | UNKNOWN | {"loss": float(step)}
    seconds = {"rollout": 0.5, "update": 0.25}
    return TrainingStep(
        **(row | {"step": step, "method": "opo", "train_seed": 3, "seconds": seconds} | fields)
    )


def test_every_known_number_has_its_name() -> None:
    shown = scalars(training_step(7))
    assert shown == KNOWN | {"loss": 7.0, "seconds/rollout": 0.5, "seconds/update": 0.25}
    fields = set(asdict(training_step(7))) - {"step", "method", "train_seed", "seconds"}
    assert fields == KNOWN.keys() | UNKNOWN.keys()
    assert scalars(replace(training_step(7), clip_fraction=0.5))["clip_fraction"] == 0.5


def test_an_unknown_tracker_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no tracker 'tensorbord' \(did you mean 'tensorboard'\?\): choose"):
        make_writers(["tensorbord"], tmp_path, {})
    assert make_writers([], tmp_path, {}) == []


@pytest.mark.parametrize(("name", "library"), [("tensorboard", "tensorboard"), ("wandb", "wandb")])
def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, name: str, library: str) -> None:
    script = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from pathlib import Path\n"
        "from opo_eval.errors import EngineError\n"
        "from opo_eval.rl.writers import make_writers\n"
        f"try:\n    make_writers([{name!r}], Path({str(tmp_path)!r}), {{}})\n"
        "except EngineError as error:\n    print(error)\n"
    )
    said = run_python(script)
    assert said.startswith(f"{name} cannot be loaded (") and said.count("\n") == 1
    assert f"pip install 'opo-eval[trackers]', or leave {name} out" in said


def test_nothing_is_loaded_that_was_not_chosen(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom opo_eval.rl.writers import make_writers\n"
        f"make_writers([], Path({str(tmp_path)!r}), {{}})\n"
        "print(sorted({'tensorboard', 'wandb'} & sys.modules.keys()))"
    )
    assert run_python(script) == "[]\n"


# --- TensorBoard ------------------------------------------------------------------------------------


def test_tensorboard_shows_every_step_once(tmp_path: Path) -> None:
    (writer,) = make_writers(["tensorboard", "tensorboard"], tmp_path, {})
    for step in (1, 2, 3, 4):
        show(writer, training_step(step))
    # Not closed, as by a process that was killed after step 4 with its last state at step 2.
    (continued,) = make_writers(["tensorboard"], tmp_path, {})
    for step in (3, 4, 5):
        show(continued, training_step(step, reward=0.5))
    continued.close()
    shown = curves(tmp_path)
    assert shown.keys() == scalars(training_step(1)).keys()
    assert shown["loss"] == [(step, float(step)) for step in (1, 2, 3, 4, 5)]
    assert shown["reward"] == [(1, 0.25), (2, 0.25), (3, 0.5), (4, 0.5), (5, 0.5)]
    assert shown["seconds/rollout"][0] == (1, 0.5)
    writer.close()


def test_a_tensorboard_value_that_was_once_unknown_is_no_point(tmp_path: Path) -> None:
    (writer,) = make_writers(["tensorboard"], tmp_path, {})
    show(writer, training_step(1, length_correct=None))
    show(writer, training_step(2))
    writer.close()
    assert curves(tmp_path)["length_correct"] == [(2, 9.0)]


def test_a_tensorboard_writer_that_wrote_nothing_leaves_nothing(tmp_path: Path) -> None:
    (writer,) = make_writers(["tensorboard"], tmp_path, {})
    writer.close()
    assert not (tmp_path / "tensorboard").exists()


# --- Weights & Biases -------------------------------------------------------------------------------

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from opo_eval.records import Think, TrainingStep, from_dict
from opo_eval.rl.writers import make_writers, scalars
out, steps, ends = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
(writer,) = make_writers(["wandb"], out, {"seed": 3, "think": Think.NONE, "out": Path("a/b")})
for step in steps:
    row = from_dict(TrainingStep, step)
    writer.add(row.step, scalars(row))
if ends == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if ends == "broken off":
    raise SystemExit(1)
writer.close()
"""


def run_python(script: str, *arguments: str, check: bool = True, **environment: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=inherited | environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout


def track(out: Path, steps: list[TrainingStep], ends: str = "closed") -> None:
    rows = json.dumps([asdict(step) for step in steps])
    offline = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    run_python(SCRIPT, str(out), rows, ends, check=ends == "closed", **offline)


def test_wandb_has_every_step_once_though_some_were_taken_again(tmp_path: Path) -> None:
    track(tmp_path, [training_step(step) for step in (1, 2, 3, 4)], ends="broken off")
    track(tmp_path, [training_step(step, reward=0.5) for step in (3, 4, 5, 6)])
    first, second = history(tmp_path)
    assert [values["_step"] for _, values in first] == [1, 2, 3, 4]
    assert [values["_step"] for _, values in second] == [5, 6]
    for _, values in first + second:
        expected = scalars(training_step(values["_step"])) | {"_step": values["_step"]}
        assert values == expected | {"reward": 0.25 if values["_step"] < 5 else 0.5}
    assert len({run_id for run_id, _ in first + second}) == 1


def test_wandb_has_no_step_twice_after_a_kill(tmp_path: Path) -> None:
    """W&B's process may not have written the last seconds before the kill."""
    track(tmp_path, [training_step(step) for step in (1, 2, 3, 4)], ends="killed")
    track(tmp_path, [training_step(step) for step in (3, 4, 5)])
    first, second = history(tmp_path)
    assert {values["_step"] for _, values in first} <= {1, 2, 3, 4}
    assert [values["_step"] for _, values in second] == [5]


def test_wandb_gets_the_settings_and_each_run_a_name_and_id(tmp_path: Path) -> None:
    runs = [_tracked_run(tmp_path / name) for name in ("my-run", "other")]
    assert [(run.display_name, run.project) for run in runs] == [
        ("my-run", "opo-eval"),
        ("other", "opo-eval"),
    ]
    assert runs[0].run_id != runs[1].run_id
    settings = {item.key: json.loads(item.value_json) for item in runs[0].config.update}
    assert {"seed": 3, "think": "none", "out": "a/b"}.items() <= settings.items()


def _tracked_run(out: Path) -> Any:
    track(out, [training_step(1)])
    (path,) = out.glob("wandb/offline-run-*/*.wandb")
    (run,) = (r.run for r in wandb_records(path) if r.WhichOneof("record_type") == "run")
    return run


def test_wandb_without_a_login_says_what_to_do(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\nfrom opo_eval.errors import EngineError\n"
        "from opo_eval.rl.writers import make_writers\n"
        f"try:\n    make_writers(['wandb'], Path({str(tmp_path)!r}), {{}})\n"
        "except EngineError as error:\n    print(error)\n"
    )
    said = run_python(script, HOME=str(tmp_path), NETRC=str(tmp_path / "none"), WANDB_SILENT="true")
    assert "wandb does not start (" in said and "set WANDB_MODE=offline, or leave wandb out" in said


@pytest.mark.parametrize("content", ["", "{}", '{"id": "a", "step": "x"}', "[1]"])
def test_a_damaged_note_of_the_run_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "opo_eval.json").write_text(content)
    with pytest.raises(
        StoreError, match=r"opo_eval\.json cannot be read .*delete it to begin another W&B run"
    ):
        make_writers(["wandb"], tmp_path, {})
