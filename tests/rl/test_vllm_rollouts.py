"""The trainer with vLLM as the engine of its rollouts."""

import importlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rl.tiny_policy import tiny_config

from opo_eval.errors import EngineError, UsageError
from opo_eval.rl import setup
from opo_eval.rl.steps import read_steps
from opo_eval.rl.trainer import train
from opo_eval.rl.vllm_rollouts import VLLMRollouts
from opo_eval.samplers.vllm_engine import close_engine

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _no_engine_is_left() -> Iterator[None]:
    importlib.import_module("vllm")  # a missing engine fails these tests
    yield
    close_engine()


def vllm_config(out: Path, **settings: Any) -> Any:
    """Steps so long that yesterday's weights would show in the gap between engine and policy."""
    return tiny_config(out, rollout_engine="vllm", learning_rate=1e-2, save_every=1, **settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps; on a CPU each rollout begins with the start of an engine."""
    out = tmp_path_factory.mktemp("trained") / "run"
    train(vllm_config(out, steps=2), quiet=True)
    return out


def test_every_rollout_is_drawn_with_the_weights_of_its_step(trained: Path) -> None:
    steps = read_steps(trained)
    assert all(abs(step.kl_rollout_k3) < 1e-7 for step in steps)
    assert max(step.kl_start or 0.0 for step in steps[1:]) > 1e-3  # the weights did change meanwhile
    assert not (trained / ".rollout").exists()


def test_a_stale_engine_would_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load, calls = VLLMRollouts._load, []

    def once(self: VLLMRollouts) -> None:
        calls.append(self)
        if len(calls) == 1:
            load(self)

    monkeypatch.setattr(VLLMRollouts, "_load", once)
    steps = train(vllm_config(tmp_path / "run", steps=2), quiet=True).steps
    assert len(calls) == 3 and steps[1].kl_rollout_k3 > 1e-4


def test_the_policys_log_probabilities_are_its_own(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine whose log-probabilities are all wrong changes the gap that is logged and no weight."""
    generate = VLLMRollouts.generate

    def wrong(self: VLLMRollouts, requests: Any) -> Any:
        for generation in generate(self, requests):
            yield replace(generation, logprobs=tuple(lp - 1.0 for lp in generation.logprobs or ()))

    monkeypatch.setattr(VLLMRollouts, "generate", wrong)
    steps = train(vllm_config(tmp_path, steps=1), quiet=True).steps
    assert all(step.kl_rollout_k3 > 0.3 for step in steps)
    right, wrong_ = (out / "step_000001" / "model.safetensors" for out in (trained, tmp_path))
    assert right.read_bytes() == wrong_.read_bytes()


def test_a_run_goes_on_with_it(trained: Path, tmp_path: Path) -> None:
    out = shutil.copytree(trained, tmp_path / "run")
    (third,) = train(vllm_config(out, steps=3), quiet=True).steps
    assert third.step == 3 and abs(third.kl_rollout_k3) < 1e-7
    assert [step.step for step in read_steps(out)] == [1, 2, 3]


def test_without_vllm_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"vllm is not installed: pip install 'opo-eval\[vllm\]'"):
        train(vllm_config(tmp_path / "run"), quiet=True)


def test_another_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rollout_engine cannot be 'warp': choose one of"):
        train(tiny_config(tmp_path / "run", rollout_engine="warp"), quiet=True)
