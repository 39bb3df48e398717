"""`opo-eval train` and `opo-eval variance` as a user gives them."""

from pathlib import Path

import orjson
import pytest
from rl.tiny_policy import tiny_config

from opo_eval.cli import run
from opo_eval.tiny import checkpoint_path

SETTINGS = {
    "--n-problems": "64",
    "--think": "none",
    "--problems-per-step": "4",
    "--group-size": "4",
    "--max-tokens": "32",
    "--threads": "1",
    "--workers": "1",
    "--learning-rate": "1e-3",
    "--problems": "tiny-arith",
    "--model": str(checkpoint_path("late")),
}


def _train(out: Path, **settings: str) -> int:
    given = SETTINGS | {f"--{name.replace('_', '-')}": value for name, value in settings.items()}
    return run(["train", "--quiet", "--out", str(out), *(word for pair in given.items() for word in pair)])


def test_flags_train_and_say_what_came_of_it(tmp_path: Path, capsys) -> None:
    assert _train(tmp_path, steps="2", method="grpo_loose") == 0
    said = capsys.readouterr().out
    assert "64 problems to train on from the tiny-arith generator" in said
    assert "2 steps taken" in said and "mean reward" in said
    assert (tmp_path / "step_000002" / "model.safetensors").is_file()
    assert _train(tmp_path, steps="3", method="grpo_loose") == 0
    assert "1 step taken; 2 were taken before" in capsys.readouterr().out


def test_flags_override_a_file(tmp_path: Path, capsys) -> None:
    config = tiny_config(tmp_path / "of_file", steps=1)
    names = ("model", "problems", "n_problems", "think", "steps", "problems_per_step", "group_size")
    lines = [f"{name} = {orjson.dumps(getattr(config, name)).decode()}" for name in (*names, "max_tokens")]
    file = tmp_path / "run.toml"
    file.write_text("\n".join([*lines, "workers = 1", "threads = 1"]))
    assert run(["train", str(file), "--out", str(tmp_path / "run"), "--method", "rloo", "--quiet"]) == 0
    kept = orjson.loads((tmp_path / "run" / "config.json").read_bytes())["config"]
    assert (kept["steps"], kept["method"], kept["advantage"]) == (1, "rloo", "rloo")
    assert "1 step taken" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kl_coefficient": "0.1"}, "contradicts method opo"),
        ({"group_size": "1"}, "groups of one"),
        ({"problems": "math500"}, "math500 is a benchmark"),
        ({"problems": "nothing.jsonl"}, "nothing.jsonl"),
        ({"model": "nowhere/at/all"}, "there is no checkpoint directory"),
        ({"template": "no slot"}, "has no {problem}"),
        ({"system": "Be brief."}, "no chat template for a system message"),
        ({"log_to": "tensorbord"}, "(did you mean 'tensorboard'?)"),
    ],
)
def test_wrong_usage_is_one_sentence(settings: dict[str, str], said: str, tmp_path: Path, capsys) -> None:
    assert _train(tmp_path, **settings) in (1, 2)
    error = capsys.readouterr().err
    assert error.startswith("opo-eval: ") and said in error and error.count("\n") == 1


def test_variance_of_a_checkpoint(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sums.jsonl").write_text(
        '{"problem": "1+2+3", "answer": "6"}\n{"problem": "9-4+1", "answer": "6"}\n'
    )
    words = "--benchmark sums.jsonl --template tiny -n 8 --think none --max-tokens 24 --workers 1 --quiet"
    assert run(["variance", str(checkpoint_path("late")), "--engine", "hf", *words.split()]) == 0
    assert "‖∇ log π‖² grows as length" in capsys.readouterr().out
    assert {"report.md", "samples.csv"} <= {
        path.name for path in (tmp_path / "reports/late-variance").iterdir()
    }
