"""A training run for verl 0.9.1: its settings over verl's own defaults, problems, reward and a start script.

Every setting that decides what is learnt is written out, also where it is verl's default, so that another
version of verl does not quietly train otherwise.
"""

from collections.abc import Iterator
from typing import Any

from opo_eval.errors import UsageError
from opo_eval.exporters.training import (
    DATA,
    FLOAT32_ADVANTAGES,
    NO_EXACT_KL,
    SAMPLES_DIFFER,
    Source,
    TrainingExport,
    grading_of,
    model_of,
    nested,
    source_of,
    yaml,
)
from opo_eval.rl.config import Aggregation, Method, Schedule, TrainConfig
from opo_eval.wording import listed

VERSION = "0.9.1"
ESTIMATORS: dict[str, dict[str, Any]] = {
    "opo": {"adv_estimator": "opo"},
    "grpo": {"adv_estimator": "grpo", "norm_adv_by_std_in_grpo": True},
    "dr_grpo": {"adv_estimator": "grpo", "norm_adv_by_std_in_grpo": False},
    "rloo": {"adv_estimator": "rloo"},
}
"""Our estimator → verl's."""
AGGREGATIONS = {
    Aggregation.SEQUENCE_SUM: "seq-mean-token-sum",
    Aggregation.SEQUENCE_MEAN: "seq-mean-token-mean",
    Aggregation.TOKEN_MEAN: "token-mean",
}
NEVER_BINDS = 1e9
"""Of a clip or a norm: verl bounds the log-ratio at 20, and e^20 is 4.9e8."""
_GPU_TOKENS = 16_384
_PRECISION = {"float32": "fp32", "bfloat16": "bf16"}
_ACTOR, _ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"

_START = f"""#!/usr/bin/env bash
# Trains on verl {VERSION}. More settings go before those of train.yaml: ./run.sh trainer.n_gpus_per_node=8
set -euo pipefail
here="$(cd "$(dirname "${{BASH_SOURCE[0]}}")" && pwd)"
exec python3 -m verl.trainer.main_ppo --config-dir "$here" --config-name train \\
    data.train_files="'$here/{DATA}'" data.val_files="'$here/{DATA}'" \\
    reward.custom_reward_function.path="'$here/reward.py'" \\
    trainer.default_local_dir="'$here/checkpoints'" "$@"
"""


def export(config: TrainConfig) -> TrainingExport:
    """The run as verl takes it; UsageError for a method or a schedule that verl does not have."""
    method = config.settled()
    _refuse_unknown(config, method)
    source = source_of(config)
    return TrainingExport(
        title=f"{config.method} on verl {VERSION}",
        command="./run.sh",
        texts={
            "train.yaml": _config_file(settings_of(config, method, source)),
            "reward.py": _reward_file(config),
            "run.sh": _START,
        },
        rows=_rows(source),
        differences=tuple(_differences(config, method)),
        about_data=source.sentences,
    )


def _refuse_unknown(config: TrainConfig, method: Method) -> None:
    if method.advantage not in ESTIMATORS:
        reason = (
            "its reinforce_plus_plus takes mean and standard deviation over tokens, ours over responses"
            if method.advantage == "reinforce_pp"
            else "it has no such estimator"
        )
        raise UsageError(
            f"verl cannot train with the advantage {method.advantage}: {reason}; export one of "
            f"{listed(ESTIMATORS)}"
        )
    if config.schedule is Schedule.LINEAR:
        raise UsageError("verl has no linear schedule: give schedule constant or cosine")


# --- settings ---------------------------------------------------------------------------------------


def settings_of(config: TrainConfig, method: Method, source: Source) -> dict[str, Any]:
    """verl's settings by dotted name."""
    return {
        **_data(config, source),
        **{f"algorithm.{name}": value for name, value in ESTIMATORS[method.advantage].items()},
        "algorithm.use_kl_in_reward": False,
        "actor_rollout_ref.model.path": model_of(config),
        "actor_rollout_ref.model.custom_chat_template": source.chat_template,
        "actor_rollout_ref.model.enable_gradient_checkpointing": config.gradient_checkpointing,
        **{f"{_ACTOR}.{name}": value for name, value in _loss(config, method).items()},
        **{f"{_ACTOR}.{name}": value for name, value in _step(config, source).items()},
        **{f"{_ROLLOUT}.{name}": value for name, value in _rollout(config, source).items()},
        "critic.enable": False,
        "reward.num_workers": 1,  # it has a pool of grading processes
        "reward.reward_manager.name": "naive",
        "reward.custom_reward_function.name": "compute_score",
        **{f"trainer.{name}": value for name, value in _run(config, method, source).items()},
    }


def _data(config: TrainConfig, source: Source) -> dict[str, Any]:
    return {
        "data.train_batch_size": config.problems_per_step,
        "data.max_prompt_length": source.longest,
        "data.max_response_length": config.max_tokens,
        "data.truncation": "error",
        "data.filter_overlong_prompts": False,
        "data.shuffle": True,
        "data.seed": config.seed,
    }


def _loss(config: TrainConfig, method: Method) -> dict[str, Any]:
    clip = method.clip or NEVER_BINDS
    return {
        "ppo_mini_batch_size": config.problems_per_step // method.mini_batches,
        "ppo_epochs": 1,
        "shuffle": False,
        "policy_loss.loss_mode": "vanilla",
        "loss_agg_mode": AGGREGATIONS[method.aggregation],
        "clip_ratio": clip,
        "clip_ratio_low": clip,
        "clip_ratio_high": clip,
        "clip_ratio_c": NEVER_BINDS,  # a second clip, of ratios under negative advantages
        "entropy_coeff": method.entropy_coefficient,
        "calculate_entropy": True,
        "use_kl_loss": method.kl_coefficient > 0,
        "kl_loss_coef": method.kl_coefficient,
        "kl_loss_type": "low_var_kl",
    }


def _step(config: TrainConfig, source: Source) -> dict[str, Any]:
    longest = source.longest + config.max_tokens
    return {
        "optim.lr": config.learning_rate,
        "optim.lr_scheduler_type": str(config.schedule),
        "optim.lr_warmup_steps": config.warmup_steps,
        "optim.min_lr_ratio": 0.0,
        "optim.weight_decay": config.weight_decay,
        "optim.betas": [0.9, 0.999],
        "optim.clip_grad": config.gradient_clip or NEVER_BINDS,
        "use_dynamic_bsz": True,
        "ppo_max_token_len_per_gpu": max(config.micro_batch_tokens or _GPU_TOKENS, longest),
        "fsdp_config.model_dtype": "fp32",
        "fsdp_config.mixed_precision": {"param_dtype": _PRECISION[config.dtype], "reduce_dtype": "fp32"},
        "checkpoint.save_contents": ["model", "optimizer", "extra", "hf_model"],
    }


def _rollout(config: TrainConfig, source: Source) -> dict[str, Any]:
    return {
        "name": "vllm",
        "n": config.group_size,
        "temperature": config.temperature,
        "top_p": 1.0,
        "top_k": -1,
        "dtype": config.dtype,
        "seed": config.seed,
        "max_model_len": source.longest + config.max_tokens,
        "gpu_memory_utilization": config.rollout_gpu_memory,
        "tensor_model_parallel_size": 1,
    }


def _run(config: TrainConfig, method: Method, source: Source) -> dict[str, Any]:
    return {
        "total_training_steps": config.steps,
        "total_epochs": -(-config.steps // source.steps_per_epoch),
        "save_freq": config.save_every,
        "test_freq": -1,
        "val_before_train": False,
        "balance_batch": method.mini_batches == 1,  # it moves responses from one mini-batch to another
        "critic_warmup": 0,
        "nnodes": 1,
        "n_gpus_per_node": 1,
        "project_name": "opo_eval",
        "experiment_name": config.out.name or config.method,
        "logger": ["console", *config.log_to],
    }


# --- files ------------------------------------------------------------------------------------------


def _config_file(settings: dict[str, Any]) -> str:
    head = f"# Over the defaults of verl {VERSION}; ./run.sh adds where the files are.\n"
    return f"{head}defaults:\n  - ppo_trainer\n  - _self_\n{yaml(nested(settings))}"


def _reward_file(config: TrainConfig) -> str:
    return (
        '"""1 for a response that opo_eval calls right, else 0."""\n\n'
        "from opo_eval.rewards import VerlReward\n\n"
        f"compute_score = VerlReward({grading_of(config)})\n"
    )


def _rows(source: Source) -> list[dict[str, Any]]:
    return [
        {
            "data_source": problem.benchmark,
            "prompt": conversation,
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": problem.answer},
            "extra_info": {"index": index, "id": problem.id, "source_id": problem.source_id},
        }
        for index, (problem, conversation) in enumerate(
            zip(source.problems, source.conversations, strict=True)
        )
    ]


# --- what differs -----------------------------------------------------------------------------------


def _differences(config: TrainConfig, method: Method) -> Iterator[str]:
    yield (
        "a response that could not be graded counts as wrong in verl, with reward 0; ours leaves it out of "
        "the baseline, of the loss and of what the loss is divided by"
    )
    yield SAMPLES_DIFFER.format("vLLM")
    yield FLOAT32_ADVANTAGES
    if method.advantage == "opo":
        yield (
            "where every response of a group has no token, verl's OPO gives NaN and ours 0; both count the "
            "end-of-text token, and what was cut off at the limit with the tokens that it has"
        )
        yield "verl's OPO takes an epsilon and does not use it, as ours has none"
    if method.advantage in ("opo", "grpo", "rloo"):
        yield (
            f"of a group of one, verl's {method.advantage} gives the raw reward and ours 0; groups have "
            f"{config.group_size} here, unless verl loses responses"
        )
    if not method.clip:
        yield (
            f"verl always clips: a clip of {NEVER_BINDS:g} never binds, but log-ratios are bounded at ±20; "
            "its old log-probabilities come from a pass of their own, so that with one update a rollout the "
            "ratio is 1 but for rounding, where ours is 1"
        )
    if method.mini_batches > 1:
        yield "which groups share a mini-batch is left to verl: ours keeps them whole, in the rollout's order"
    if method.kl_coefficient:
        yield "verl's k3 of a token is at most 10, ours has no bound"
    if config.warmup_steps:
        yield "in the warm-up verl's learning rate is one step behind: its first update has rate 0"
    yield NO_EXACT_KL
    yield "checkpoints for opo-eval are at checkpoints/global_step_N/actor/huggingface"
