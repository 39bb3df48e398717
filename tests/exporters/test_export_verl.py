"""The export for verl; benchmarks/studies/in_trainers.py has verl itself compose, check and answer it."""

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from shutil import copytree
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from rl.tiny_policy import tiny_config
from transformers import AutoTokenizer

from opo_eval.exporters import export_training
from opo_eval.exporters.chat import template_ids, without_dollars
from opo_eval.exporters.verl import ESTIMATORS, export
from opo_eval.records import Think
from opo_eval.rl.config import METHODS, TrainConfig
from opo_eval.rl.data import load_data
from opo_eval.tiny import checkpoint_path


def settings(config: TrainConfig) -> dict[str, Any]:
    """Of the exported file, by dotted name."""
    names, found = [], {}
    for line in export(config.checked()).texts["train.yaml"].splitlines()[4:]:
        key, _, value = line.strip().partition(":")
        names[(len(line) - len(line.lstrip())) // 2 :] = [key]
        if value:
            found[".".join(names)] = json.loads(value)
    return found


def test_an_opo_run_is_exact_on_policy_without_clip_kl_or_entropy(tmp_path):
    found = settings(tiny_config(tmp_path, temperature=0.6, learning_rate=1e-6, steps=33, save_every=5))
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    assert found["algorithm.adv_estimator"] == "opo"
    assert found["data.train_batch_size"] == found[f"{actor}.ppo_mini_batch_size"] == 4
    assert found[f"{actor}.ppo_epochs"] == 1
    assert found[f"{actor}.loss_agg_mode"] == "seq-mean-token-sum"
    assert min(found[f"{actor}.clip_ratio{which}"] for which in ("", "_low", "_high", "_c")) == 1e9
    assert found[f"{actor}.entropy_coeff"] == found[f"{actor}.kl_loss_coef"] == 0
    assert not found[f"{actor}.use_kl_loss"] and not found["algorithm.use_kl_in_reward"]
    assert (found[f"{rollout}.n"], found[f"{rollout}.temperature"]) == (4, 0.6)
    assert (found[f"{rollout}.top_p"], found[f"{rollout}.top_k"]) == (1.0, -1)
    assert found["data.max_response_length"] == 32
    assert found[f"{rollout}.max_model_len"] == 32 + found["data.max_prompt_length"]
    assert found[f"{actor}.optim.lr"] == 1e-6 and found[f"{actor}.optim.clip_grad"] == 1.0
    assert (found["trainer.total_training_steps"], found["trainer.total_epochs"]) == (33, 3)
    assert found["trainer.save_freq"] == 5 and "hf_model" in found[f"{actor}.checkpoint.save_contents"]


def test_loose_grpo_keeps_its_mini_batches_clip_and_entropy(tmp_path):
    config = tiny_config(tmp_path, method="grpo_loose", kl_coefficient=0.01, gradient_clip=0)
    found = settings(config)
    actor = "actor_rollout_ref.actor"
    assert found["algorithm.adv_estimator"] == "grpo" and found["algorithm.norm_adv_by_std_in_grpo"]
    assert (found["data.train_batch_size"], found[f"{actor}.ppo_mini_batch_size"]) == (4, 2)
    assert found[f"{actor}.clip_ratio"] == found[f"{actor}.clip_ratio_low"] == 0.2
    assert found[f"{actor}.clip_ratio_high"] == 0.2 and found[f"{actor}.clip_ratio_c"] == 1e9
    assert found[f"{actor}.entropy_coeff"] == 0.001 and found[f"{actor}.use_kl_loss"]
    assert found[f"{actor}.kl_loss_coef"] == 0.01 and found[f"{actor}.kl_loss_type"] == "low_var_kl"
    assert found[f"{actor}.loss_agg_mode"] == "seq-mean-token-mean"
    assert found[f"{actor}.optim.clip_grad"] == 1e9 and not found["trainer.balance_batch"]
    differences = " ".join(export(config).differences)
    assert "at most 10" in differences and "share a mini-batch" in differences and "1e+09" not in differences


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].advantage in ESTIMATORS])
def test_every_method_that_verl_has_is_exported(method, tmp_path):
    found = settings(tiny_config(tmp_path, method=method))
    assert found["algorithm.adv_estimator"] == {"dr_grpo": "grpo", "grpo_loose": "grpo"}.get(method, method)
    assert found.get("algorithm.norm_adv_by_std_in_grpo", True) == (method != "dr_grpo")


def test_precision_and_trackers_go_along(tmp_path):
    found = settings(
        tiny_config(tmp_path, dtype="bfloat16", log_to=["wandb"], warmup_steps=2, schedule="cosine")
    )
    fsdp = "actor_rollout_ref.actor.fsdp_config"
    assert found[f"{fsdp}.mixed_precision.param_dtype"] == "bf16" and found[f"{fsdp}.model_dtype"] == "fp32"
    assert found["actor_rollout_ref.rollout.dtype"] == "bfloat16"
    assert found["trainer.logger"] == ["console", "wandb"]
    assert found["actor_rollout_ref.actor.optim.lr_scheduler_type"] == "cosine"
    differences = export(tiny_config(tmp_path, warmup_steps=2)).differences
    assert any("its first update has rate 0" in difference for difference in differences)


DOLLARS = (
    "{# ${a} #}{% for m in messages %}${m['role']} '{{ m['content'] }}' costs ${{ 2 }}, \"{x}\" $\n"
    """{% endfor %}{{ "\\\\${\\\\$ $" ~ '}}${' }}\n  ${% if add_generation_prompt %}\n$> {% endif %}$"""
)


@pytest.mark.parametrize("prefix", ["", "${", "\\${a}\n'\"é🙂"], ids=repr)
def test_a_template_with_a_dollar_before_a_brace_says_the_same_without(prefix):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path("late"))
    then = f"{{{{ {json.dumps(prefix, ensure_ascii=False)} }}}}"
    conversation = [{"role": "system", "content": "Be $ brief"}, {"role": "user", "content": "1+1=${"}]
    texts = [
        tokenizer.apply_chat_template(
            conversation, chat_template=template, tokenize=False, add_generation_prompt=True
        )
        for template in (DOLLARS + then, without_dollars(DOLLARS + then))
    ]
    assert texts[0] == texts[1] and texts[0].count("$") == 15 + prefix.count("$")
    assert "$" not in without_dollars(DOLLARS + then).replace("'$'", "")
    assert without_dollars("{{ '$' }} {a} $") == "{{ '$' }} {a} $"


def test_no_setting_is_a_reference_to_another(tmp_path):
    """OmegaConf takes `${` for one wherever it stands; without it a setting is what is written."""
    model = tmp_path / "chat"
    copytree(checkpoint_path("late"), model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = DOLLARS
    tokenizer.save_pretrained(model)
    config = tiny_config(tmp_path, model=str(model), response_prefix="${x}")
    export_training("verl", config, tmp_path / "export")
    assert "${" not in (tmp_path / "export" / "train.yaml").read_text()
    template = settings(config)["actor_rollout_ref.model.custom_chat_template"]
    conversation = [{"role": "user", "content": "1+1="}]
    own = tokenizer.decode(template_ids(tokenizer, conversation, None))
    assert tokenizer.decode(template_ids(tokenizer, conversation, template)) == own + "${x}"


def test_what_is_not_ascii_is_read_back_by_yaml(tmp_path):
    """YAML's own escapes: a reader would take JSON's two surrogates of an emoji for two characters."""
    found = export(tiny_config(tmp_path, no_chat=True, response_prefix="é🙂\u2028")).texts["train.yaml"]
    (line,) = (line for line in found.splitlines() if "custom_chat_template" in line)
    assert found.isascii() and r"{{ \"\U000000e9\U0001f642\U00002028\" }}" in line
    assert yaml.safe_load(line)["custom_chat_template"].endswith('{{ "é🙂\u2028" }}{% endif %}')


def test_problems_are_rows_of_verls_data_set(tmp_path):
    config = tiny_config(tmp_path)
    export_training("verl", config, tmp_path / "export")
    rows = pq.read_table(tmp_path / "export" / "train.parquet").to_pylist()
    problems = load_data(config).problems
    assert [row["reward_model"]["ground_truth"] for row in rows] == [problem.answer for problem in problems]
    assert [row["prompt"] for row in rows] == [
        [{"role": "user", "content": f"{problem.prompt}="}] for problem in problems
    ]
    assert {row["data_source"] for row in rows} == {problems[0].benchmark}
    assert [row["extra_info"]["index"] for row in rows] == list(range(len(problems)))


def test_the_reward_file_grades_as_the_run_would(tmp_path):
    config = tiny_config(tmp_path, think="prefilled", answer="hash", timeout=1.5)
    export_training("verl", config, tmp_path / "export")
    spec = importlib.util.spec_from_file_location("reward", tmp_path / "export" / "reward.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    score = module.compute_score
    assert (score.think, score.where, score.timeout_s, score.workers) == (Think.PREFILLED, "hash", 1.5, 1)
    assert score("tiny-arith", "so</think>\n#### 7", "7")["score"] == 1
    assert score("tiny-arith", "#### 7", "7")["score"] == 0


def test_the_start_script_gives_verl_the_files_beside_it(tmp_path):
    folder = tmp_path / "a folder"
    export_training("verl", tiny_config(tmp_path), folder)
    fake = tmp_path / "bin" / "python3"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    path = os.pathsep.join([str(fake.parent), os.environ["PATH"]])
    done = subprocess.run(
        [folder / "run.sh", "trainer.n_gpus_per_node=8"],
        cwd=tmp_path,
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    words = done.stdout.splitlines()
    assert words[:6] == ["-m", "verl.trainer.main_ppo", "--config-dir", str(folder), "--config-name", "train"]
    assert f"data.train_files='{folder}/train.parquet'" in words
    assert f"reward.custom_reward_function.path='{folder}/reward.py'" in words
    assert words[-1] == "trainer.n_gpus_per_node=8"
    assert {Path(name).name for name in folder.iterdir()} == {
        "README.md",
        "reward.py",
        "run.sh",
        "train.parquet",
        "train.yaml",
    }
