"""The export for TRL; benchmarks/studies/in_trainers.py has TRL itself train ten steps by it."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rl.tiny_policy import tiny_config

from opo_eval.exporters import export_training
from opo_eval.exporters.trl import SCALES, export
from opo_eval.rl.advantages import dr_grpo, rloo
from opo_eval.rl.config import METHODS, TrainConfig


def constants(config: TrainConfig) -> dict[str, Any]:
    """What the exported script names in capitals, without running it."""
    found = {}
    for node in ast.parse(export(config.checked()).texts["train.py"]).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name | ast.Tuple):
            target = node.targets[0]
            names = [target.id] if isinstance(target, ast.Name) else [name.id for name in target.elts]
            if names != ["HERE"]:
                value = ast.literal_eval(node.value)
                found |= dict(zip(names, value if len(names) > 1 else [value], strict=True))
    return found


def test_dr_grpo_is_the_sum_over_tokens_without_scale_clip_kl_or_entropy(tmp_path):
    found = constants(tiny_config(tmp_path, method="dr_grpo", temperature=0.6))
    settings = found["SETTINGS"]
    assert (found["MINI_BATCHES"], found["GROUPS_PER_UPDATE"], found["GROUP_SIZE"]) == (1, 4, 4)
    assert (settings["loss_type"], settings["importance_sampling_level"]) == ("luspo", "token")
    assert settings["scale_rewards"] == "none" and settings["reward_weights"] == [1.0]
    assert settings["epsilon"] == settings["epsilon_high"] == 1e9
    assert settings["beta"] == settings["entropy_coef"] == 0 and settings["num_iterations"] == 1
    assert (settings["temperature"], settings["top_p"], settings["top_k"]) == (0.6, 1.0, 0)
    assert settings["max_completion_length"] == 32 and settings["max_steps"] == 4
    assert not settings["bf16"] and settings["model_init_kwargs"] == {"dtype": "float32"}


def test_loose_grpo_keeps_its_mini_batches_clip_and_entropy(tmp_path):
    config = tiny_config(tmp_path, method="grpo_loose", kl_coefficient=0.01, warmup_steps=1)
    found = constants(config)
    settings = found["SETTINGS"]
    assert (found["MINI_BATCHES"], found["GROUPS_PER_UPDATE"]) == (2, 2)
    assert (settings["loss_type"], settings["scale_rewards"]) == ("grpo", "group")
    assert (settings["epsilon"], settings["entropy_coef"], settings["beta"]) == (0.2, 0.001, 0.01)
    assert (settings["max_steps"], settings["warmup_steps"]) == (8, 2)
    differences = " ".join(export(config).differences)
    for said in ("adds 1e-4", "shuffles responses", "entropy bonus", "its first has rate 0", "every rollout"):
        assert said in differences


def test_rloo_is_dr_grpo_of_weighted_rewards(tmp_path):
    settings = constants(tiny_config(tmp_path, method="rloo"))["SETTINGS"]
    rewards = np.random.default_rng(0).normal(size=(5, 4))
    lengths = np.ones_like(rewards)
    weighted = dr_grpo(rewards * settings["reward_weights"][0], lengths)
    np.testing.assert_allclose(weighted, rloo(rewards, lengths), atol=1e-14)


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].advantage in SCALES])
def test_every_method_that_trl_has_is_exported(method, tmp_path):
    settings = constants(tiny_config(tmp_path, method=method))["SETTINGS"]
    assert settings["scale_rewards"] == ("group" if "grpo" in method and method != "dr_grpo" else "none")


def test_vllm_rollouts_are_not_corrected_as_ours_are_not(tmp_path):
    settings = constants(tiny_config(tmp_path, method="rloo", rollout_engine="vllm"))["SETTINGS"]
    assert settings["use_vllm"] and not settings["vllm_importance_sampling_correction"]


def test_the_reward_of_the_script_grades_as_the_run_would(tmp_path):
    script = export(tiny_config(tmp_path, method="rloo", answer="hash", timeout=2.0)).texts["train.py"]
    assert "TRLReward(think='none', where='hash', timeout_s=2.0, workers=1)" in script


def test_problems_are_conversations_with_golds(tmp_path: Path):
    export_training("trl", tiny_config(tmp_path, method="rloo"), tmp_path / "export")
    row = pq.read_table(tmp_path / "export" / "train.parquet").to_pylist()[0]
    assert set(row) == {"prompt", "answer", "id"}
    assert [message["role"] for message in row["prompt"]] == ["user"]
