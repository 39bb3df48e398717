"""Two processes under torchrun against one: the same gradients, the same run, the same files."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rl import under_torchrun
from rl.tiny_policy import tiny_config
from safetensors.torch import load_file
from studies.scripts import study
from transformers import AutoModelForCausalLM, AutoTokenizer

from opo_eval.errors import UsageError
from opo_eval.rl.batches import cut, dealt
from opo_eval.rl.config import TrainConfig
from opo_eval.rl.interruption import asked_to_stop
from opo_eval.rl.processes import Processes
from opo_eval.rl.setup import make_policy
from opo_eval.rl.steps import checkpoint_name, read_steps
from opo_eval.rl.trainer import train

HERE = Path(under_torchrun.__file__)
_MOST_S = 240
"""That two processes may take which wait for one another; a busy machine takes 40."""


@contextmanager
def _torchrun(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Two processes, which end with the block."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, *map(str, arguments)], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found."""
    out = tmp_path_factory.mktemp("both")
    with _torchrun(HERE, out) as process:
        said = process.communicate(timeout=_MOST_S)[1]
    assert process.returncode == 0, said[:4000]
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
    """The two are stopped by a signal, and what they had done is kept."""
    settings = {"log_to": ["tensorboard"], "difficulty_samples": 4}
    config = tiny_config(tmp_path / "handed", steps=2, **settings)
    train(config, quiet=True)
    taken = _interrupted(replace(config, steps=500), tmp_path / "run.toml")
    assert torch.load(config.out / "state.pt")["step"] == taken >= 4
    after = {**settings, "steps": taken + 2, "save_every": taken}
    train(tiny_config(tmp_path / "handed", **after), quiet=True)
    train(tiny_config(tmp_path / "alone", **after), quiet=True)
    _same_run(tmp_path / "alone", tmp_path / "handed", taken)


def _interrupted(config: TrainConfig, toml: Path) -> int:
    """Steps taken when two processes that go on with a run are stopped after some."""
    toml.write_text(study("in_two_processes").toml_of(config))
    steps = config.out / "training.jsonl"
    before, deadline = steps.stat().st_size, time.monotonic() + _MOST_S
    with _torchrun("-m", "opo_eval", "train", toml, "--quiet") as process:
        while steps.stat().st_size < 2 * before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=_MOST_S)[1]
    assert said.count("opo-eval: interrupted") == 1, f"one process speaks: {said[:4000]}"
    return read_steps(config.out)[-1].step


def _same_run(alone: Path, handed: Path, interrupted: int) -> None:
    for expected, step in zip(read_steps(alone), read_steps(handed), strict=True):
        for name in ("reward", "n_tokens", "entropy", "kl_start", "kl_rollout_k3", "gradient_norm", "loss"):
            assert getattr(step, name) == pytest.approx(getattr(expected, name), rel=1e-3, abs=1e-6), name
    for name in (checkpoint_name(interrupted), checkpoint_name(interrupted + 2)):
        folders = [path / name for path in (alone, handed)]
        ours, theirs = (load_file(folder / "model.safetensors") for folder in folders)
        assert ours.keys() == theirs.keys() and len({frozenset(_names(folder)) for folder in folders}) == 1
        for key in ours:
            torch.testing.assert_close(theirs[key], ours[key], rtol=0, atol=1e-4)
    by_two = handed / "step_000004"
    model = AutoModelForCausalLM.from_pretrained(by_two)
    assert model.config.architectures == ["Qwen2ForCausalLM"]
    assert AutoTokenizer.from_pretrained(by_two).eos_token_id == model.config.eos_token_id
    assert _names(by_two) == _names(alone / checkpoint_name(interrupted))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_rows_are_dealt_alike() -> None:
    """Each row once, and about as many tokens for each process."""
    rows = under_torchrun.handmade_rows(under_torchrun.Aggregation.SEQUENCE_SUM, [range(12)])
    parts = [range(7), range(7, 12)]
    shares = [dealt(rows, parts, 3, rank) for rank in range(3)]
    assert sorted(place for share in shares for place in share) == list(range(12))
    tokens = [sum(rows[place].size for place in share) for share in shares]
    assert max(tokens) - min(tokens) <= 2 * max(row.size for row in rows)
    assert sorted(place for batch in cut(rows, shares[0], 40) for place in batch) == sorted(shares[0])


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
    processes = Processes()
    processes.size = 2
    with pytest.raises(UsageError, match=said):
        make_policy(tiny_config(tmp_path, **settings), processes)


def test_a_second_signal_does_not_stop_the_step_in_flight() -> None:
    with asked_to_stop(patient=True) as asked:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert asked()
