"""Two processes under torchrun against one: the same gradients, the same run, the same files."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from rl import under_torchrun
from rl.tiny_policy import tiny_config
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from opo_eval.errors import UsageError
from opo_eval.rl.batches import cut, dealt
from opo_eval.rl.interruption import asked_to_stop
from opo_eval.rl.processes import Alone
from opo_eval.rl.setup import make_policy
from opo_eval.rl.steps import read_steps
from opo_eval.rl.trainer import train

HERE = Path(under_torchrun.__file__)


def _torchrun(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run([*command, *map(str, arguments)], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[:4000]
    return ran


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    out = tmp_path_factory.mktemp("both")
    _torchrun(HERE, out)
    return [torch.load(out / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("case", under_torchrun.CASES)
def test_two_processes_have_the_gradients_of_one(case: str, both: list[dict[str, Any]]) -> None:
    alone = under_torchrun.learnt(case)
    tolerance = {"float32": 1e-6, "bfloat16": 2e-2}.get(case, 1e-12)
    for one in both:
        together = one["cases"][case]
        for ours, theirs in zip(alone["gradients"], together["gradients"], strict=True):
            assert float((ours - theirs).norm() / ours.norm()) <= tolerance
        assert together["losses"] == pytest.approx(alone["losses"], rel=tolerance, abs=tolerance)
        assert together["norms"] == pytest.approx(alone["norms"], rel=tolerance)
        assert together["tokens"] == pytest.approx(alone["tokens"], rel=tolerance, abs=tolerance)


def test_processes_agree(both: list[dict[str, Any]]) -> None:
    first, second = both
    assert first["gathered"] == second["gathered"] == [(0, 0), (1, 1), (0, 2), (1, 3), (0, 4)]
    assert second["failure"] == ("InputError", "the second has no problems")
    assert first["failure"] == ("ElsewhereError", "process 1 of 2 failed: the second has no problems")
    assert first["nothing"][0] == "InputError" and "nowhere.jsonl" in first["nothing"][1]
    assert second["nothing"][0] == "ElsewhereError", "one of them says it"


def test_a_run_is_handed_from_one_process_to_two_and_back(tmp_path: Path) -> None:
    settings = {"log_to": ["tensorboard"], "difficulty_samples": 4}
    train(tiny_config(tmp_path / "alone", steps=6, **settings), quiet=True)
    config = tiny_config(tmp_path / "handed", steps=2, **settings)
    train(config, quiet=True)
    toml = tmp_path / "run.toml"
    toml.write_text(_toml({**vars(config), "steps": 4}))
    said = _torchrun("-m", "opo_eval", "train", toml, "--quiet")
    assert said.stdout.count("2 steps taken; 2 were taken before") == 1, "one process speaks"
    train(tiny_config(tmp_path / "handed", steps=6, **settings), quiet=True)
    _same_run(tmp_path / "alone", tmp_path / "handed")


def _toml(settings: dict[str, Any]) -> str:
    given = {name: value for name, value in settings.items() if value is not None}
    written = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return "\n".join(
        f"{name} = {orjson.dumps(value, default=str).decode()}" for name, value in written.items()
    )


def _same_run(alone: Path, handed: Path) -> None:
    names = {path.relative_to(alone) for path in alone.glob("step_*/*")}
    assert names and names == {path.relative_to(handed) for path in handed.glob("step_*/*")}
    for expected, step in zip(read_steps(alone), read_steps(handed), strict=True):
        for name in ("reward", "n_tokens", "entropy", "kl_start", "kl_rollout_k3", "gradient_norm", "loss"):
            assert getattr(step, name) == pytest.approx(getattr(expected, name), rel=1e-3, abs=1e-6), name
    for name in ("step_000004", "step_000006"):
        ours, theirs = (load_file(path / name / "model.safetensors") for path in (alone, handed))
        assert ours.keys() == theirs.keys()
        for key in ours:
            torch.testing.assert_close(theirs[key], ours[key], rtol=0, atol=1e-4)
    model = AutoModelForCausalLM.from_pretrained(handed / "step_000004")
    assert model.config.architectures == ["Qwen2ForCausalLM"]
    assert AutoTokenizer.from_pretrained(handed / "step_000004").eos_token_id == model.config.eos_token_id


def test_rows_are_dealt_alike() -> None:
    """Each row once, and about as many tokens for each process."""
    rows = under_torchrun.handmade_rows(under_torchrun.Aggregation.SEQUENCE_SUM, [range(12)])
    parts = [range(7), range(7, 12)]
    shares = [dealt(rows, parts, 3, rank) for rank in range(3)]
    assert sorted(place for share in shares for place in share) == list(range(12))
    tokens = [sum(rows[place].size for place in share) for share in shares]
    assert max(tokens) - min(tokens) <= 2 * max(row.size for row in rows)
    assert [place for batch in cut(rows, shares[0], 40) for place in batch] != [], "none is lost"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rollout_engine": "vllm"}, "vllm draws for one process, and there are 2"),
        ({"device": "cuda:0"}, "'cuda:0' would be that of all 2 processes"),
    ],
)
def test_what_several_processes_cannot_have_is_refused(
    settings: dict[str, str], said: str, tmp_path: Path
) -> None:
    processes = Alone()
    processes.size = 2
    with pytest.raises(UsageError, match=said):
        make_policy(tiny_config(tmp_path, **settings), processes)


def test_torchrun_hands_on_the_signal_that_the_terminal_has_sent() -> None:
    with asked_to_stop(patient=True) as asked:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert asked()
