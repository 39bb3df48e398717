"""What trackers show: read back from the files that they leave, over interruptions too."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rl.tracked import curves, history, trackio_runs, wandb_records

from opo_eval.errors import EngineError, StoreError, UsageError
from opo_eval.records import Think, TrainingStep
from opo_eval.rl.writers import WRITERS, TrackioWriter, Writer, make_writers, scalars

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


@pytest.mark.parametrize("name", WRITERS)
def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, name: str) -> None:
    script = (
        f"import sys; sys.modules[{name!r}] = None\n"
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
        "print(sorted({'tensorboard', 'wandb', 'trackio'} & sys.modules.keys()))"
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


# --- in a process of its own ------------------------------------------------------------------------

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from opo_eval.records import Think, TrainingStep, from_dict
from opo_eval.rl.writers import make_writers, scalars
name, out, steps, ends = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4]
(writer,) = make_writers([name], out, {"seed": 3, "think": Think.NONE, "out": Path("a/b")})
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


def track(out: Path, steps: list[TrainingStep], ends: str = "closed", name: str = "wandb") -> None:
    rows = json.dumps([asdict(step) for step in steps])
    offline = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    run_python(SCRIPT, name, str(out), rows, ends, check=ends == "closed", **offline)


# --- Weights & Biases -------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("name", "run"), [("wandb", "W&B"), ("trackio", "trackio")])
@pytest.mark.parametrize("content", ["", "{}", '{"id": "a", "step": "x"}', "[1]"])
def test_a_damaged_note_of_the_run_is_named(tmp_path: Path, content: str, name: str, run: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "opo_eval.json").write_text(content)
    said = rf"opo_eval\.json cannot be read .*delete it to begin another {run} run"
    with pytest.raises(StoreError, match=said):
        make_writers([name], tmp_path, {})


# --- trackio ----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _own_trackio(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TRACKIO")]:
        monkeypatch.delenv(name)


def make_trackio(out: Path, /, **config: Any) -> TrackioWriter:
    (writer,) = make_writers(["trackio"], out, config)
    assert isinstance(writer, TrackioWriter)
    return writer


def test_trackio_has_every_step_once_though_some_were_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "all"))
    outs = tmp_path / "a" / "opo", tmp_path / "b" / "opo"
    config = {"seed": 3, "think": Think.NONE, "out": Path("a/b")}
    # Both at once, where trackio itself has one run a process, and of one name in one folder.
    writers = [make_trackio(out, **config) for out in outs]
    for step in (1, 2, 3, 4):
        show(writers[0], training_step(step))
    show(writers[1], training_step(7, length_correct=None))
    for writer in writers:
        writer.close()
    continued = make_trackio(outs[0], **config)
    for step in (3, 4, 5):
        show(continued, training_step(step, reward=0.5))
    continued.close()
    runs = trackio_runs(tmp_path / "all")
    notes = [json.loads((out / "trackio" / "opo_eval.json").read_text()) for out in outs]
    assert set(runs) == {f"opo-{note['id'][:6]}" for note in notes}
    first, second = (runs[f"opo-{note['id'][:6]}"] for note in notes)
    assert first["logs"] == [
        scalars(training_step(step)) | {"step": step, "reward": 0.5 if step == 5 else 0.25}
        for step in (1, 2, 3, 4, 5)
    ]
    (log,) = second["logs"]
    assert log["step"] == 7 and "length_correct" not in log
    assert {"seed": 3, "think": "none", "out": "a/b"}.items() <= first["config"].items()
    assert capfd.readouterr() == ("", "")


def test_trackio_keeps_what_it_was_given_by_a_process_that_was_killed(tmp_path: Path) -> None:
    # What captures the standard error of both processes waits for both to end.
    track(tmp_path, [training_step(step) for step in (1, 2)], "killed", "trackio")
    assert [log["step"] for log in trackio_runs(tmp_path / "trackio")[tmp_path.name]["logs"]] == [1, 2]


def test_trackio_that_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_SERVER_URL", "nowhere")
    with pytest.raises(
        EngineError, match=r"^trackio does not start \(ValueError: `server_url` must be a full URL"
    ):
        make_trackio(tmp_path)


def test_trackio_that_ends_by_itself_is_named(tmp_path: Path) -> None:
    writer = make_trackio(tmp_path)
    writer._process.kill()
    writer._process.wait()
    with pytest.raises(EngineError, match=r"trackio's process has ended with status -9: what it printed"):
        show(writer, training_step(1))
    writer.close()
