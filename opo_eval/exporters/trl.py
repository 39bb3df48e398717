"""A training run for TRL 1.16: a script around GRPOTrainer, and problems.

GRPOTrainer subtracts the group's plain mean from every reward, so it has Dr. GRPO, GRPO and, by a factor,
RLOO; but no baseline that weighs by length.
"""

from collections.abc import Iterator
from pprint import pformat
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
    source_of,
)
from opo_eval.rl.config import Aggregation, Method, Schedule, TrainConfig
from opo_eval.wording import listed

VERSION = "1.16"
LOSS_TYPES = {
    Aggregation.SEQUENCE_SUM: "luspo",
    Aggregation.SEQUENCE_MEAN: "grpo",
    Aggregation.TOKEN_MEAN: "dapo",
}
"""With ratios of single tokens, luspo is the sum over a response's tokens and the mean over responses."""
SCALES = {"grpo": "group", "dr_grpo": "none", "rloo": "none"}
_SCHEDULES = {
    Schedule.CONSTANT: "constant_with_warmup",
    Schedule.LINEAR: "linear",
    Schedule.COSINE: "cosine",
}
NEVER_BINDS = 1e9
_REASONS = {
    **dict.fromkeys(
        ("opo", "opo_loo", "opo_batch", "opo_power"),
        "its GRPOTrainer has no baseline that weighs by length, and the group's mean that it always "
        "subtracts undoes one that a reward function subtracts",
    ),
    "reinforce": "its GRPOTrainer always subtracts the group's mean",
    "reinforce_pp": "its GRPOTrainer subtracts the group's mean, not the batch's",
}

_SCRIPT = '''"""Trains with TRL {version}: `python train.py`; on several GPUs `accelerate launch train.py`."""

import os
from pathlib import Path

from datasets import load_dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from opo_eval.rewards import TRLReward

HERE = Path(__file__).resolve().parent
MODEL = {model!r}
CHAT_TEMPLATE = {chat_template!r}
MINI_BATCHES, GROUPS_PER_UPDATE, GROUP_SIZE = {mini_batches}, {groups_per_update}, {group_size}
SETTINGS = {settings}


def batches() -> dict[str, int]:
    """One group at a time on each GPU, and as many of them an update as the run has."""
    gpus = int(os.environ.get("WORLD_SIZE", "1"))
    if GROUPS_PER_UPDATE % gpus:
        raise SystemExit(f"{{gpus}} GPUs cannot share {{GROUPS_PER_UPDATE}} groups an update: take others")
    return {{
        "per_device_train_batch_size": GROUP_SIZE,
        "gradient_accumulation_steps": GROUPS_PER_UPDATE // gpus,
        "steps_per_generation": MINI_BATCHES * GROUPS_PER_UPDATE // gpus,
    }}


def trainer(**more) -> GRPOTrainer:
    """The trainer; more: settings that go before those of the run."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    tokenizer.chat_template = CHAT_TEMPLATE or tokenizer.chat_template
    return GRPOTrainer(
        model=MODEL,
        processing_class=tokenizer,
        reward_funcs=TRLReward({grading}),
        train_dataset=load_dataset("parquet", data_files=str(HERE / "{data}"), split="train"),
        args=GRPOConfig(**{{"output_dir": str(HERE / "checkpoints"), **batches(), **SETTINGS, **more}}),
    )


if __name__ == "__main__":
    trainer().train()
'''


def export(config: TrainConfig) -> TrainingExport:
    """The run as TRL takes it; UsageError for a method that TRL cannot express."""
    method = config.settled()
    _refuse_unknown(method)
    source = source_of(config)
    return TrainingExport(
        title=f"{config.method} on TRL {VERSION}",
        command="python train.py",
        texts={"train.py": _script(config, method, source)},
        rows=_rows(source),
        differences=tuple(_differences(config, method)),
        about_data=source.sentences,
    )


def _refuse_unknown(method: Method) -> None:
    if reason := _REASONS.get(method.advantage):
        raise UsageError(
            f"TRL cannot train with the advantage {method.advantage}: {reason}; export one of "
            f"{listed(SCALES)}"
        )


def settings_of(config: TrainConfig, method: Method) -> dict[str, Any]:
    """Arguments of GRPOConfig, but for the sizes of batches."""
    clip = method.clip or NEVER_BINDS
    return {
        "num_generations": config.group_size,
        "max_completion_length": config.max_tokens,
        "temperature": config.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "shuffle_dataset": True,
        "loss_type": LOSS_TYPES[method.aggregation],
        "importance_sampling_level": "token",
        "scale_rewards": SCALES[method.advantage],
        "reward_weights": [_reward_weight(config, method)],
        "num_iterations": 1,
        "epsilon": clip,
        "epsilon_high": clip,
        "beta": method.kl_coefficient,
        "entropy_coef": method.entropy_coefficient,
        "mask_truncated_completions": False,
        "disable_dropout": True,
        **_optimiser(config, method),
        **_engine(config),
        "save_strategy": "steps",
        "save_steps": config.save_every * method.mini_batches,
        "logging_steps": 1,
        "log_completions": True,
        "num_completions_to_print": 0,
        "report_to": list(config.log_to) or "none",
        "seed": config.seed,
    }


def _reward_weight(config: TrainConfig, method: Method) -> float:
    """RLOO's advantage is Dr. GRPO's times G / (G − 1)."""
    return config.group_size / (config.group_size - 1) if method.advantage == "rloo" else 1.0


def _optimiser(config: TrainConfig, method: Method) -> dict[str, Any]:
    return {
        "max_steps": config.steps * method.mini_batches,
        "optim": "adamw_torch",
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": _SCHEDULES[config.schedule],
        "warmup_steps": config.warmup_steps * method.mini_batches,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.gradient_clip,
    }


def _engine(config: TrainConfig) -> dict[str, Any]:
    settings = {
        "bf16": config.dtype == "bfloat16",
        "model_init_kwargs": {"dtype": "float32"},
        "gradient_checkpointing": config.gradient_checkpointing,
        "use_vllm": config.rollout_engine == "vllm",
    }
    if settings["use_vllm"]:
        settings |= {
            "vllm_mode": "colocate",
            "vllm_gpu_memory_utilization": config.rollout_gpu_memory,
            "vllm_importance_sampling_correction": False,
        }
    return settings


def _script(config: TrainConfig, method: Method, source: Source) -> str:
    return _SCRIPT.format(
        version=VERSION,
        model=model_of(config),
        chat_template=source.chat_template,
        mini_batches=method.mini_batches,
        groups_per_update=config.problems_per_step // method.mini_batches,
        group_size=config.group_size,
        settings=pformat(settings_of(config, method), sort_dicts=False, width=100),
        grading=grading_of(config),
        data=DATA,
    )


def _rows(source: Source) -> list[dict[str, Any]]:
    return [
        {"prompt": conversation, "answer": problem.answer, "id": problem.id}
        for problem, conversation in zip(source.problems, source.conversations, strict=True)
    ]


def _differences(config: TrainConfig, method: Method) -> Iterator[str]:
    yield SAMPLES_DIFFER.format("TRL")
    yield FLOAT32_ADVANTAGES
    yield (
        "a response that could not be graded is left out of the baseline as here, but counts in what the "
        "loss is divided by"
    )
    if method.advantage == "grpo":
        yield "TRL adds 1e-4 to the standard deviation, ours 1e-6"
    if method.advantage == "rloo":
        yield (
            f"rewards are logged times {config.group_size}/{config.group_size - 1}, which makes TRL's group "
            "mean RLOO's; a response that could not be graded does not change that factor, as it does in ours"
        )
    if method.aggregation is Aggregation.SEQUENCE_SUM:
        yield "TRL warns of luspo with ratios of tokens: that is Eq. 11 of arXiv 2505.23585, and meant"
    if method.mini_batches > 1:
        yield "TRL shuffles responses over the mini-batches: ours keeps groups whole"
        if config.schedule is not Schedule.CONSTANT or config.warmup_steps:
            yield "TRL's learning rate changes with every update, ours with every rollout"
    if method.entropy_coefficient:
        yield "TRL's entropy bonus is a mean over a micro-batch's tokens, ours weighs them as the loss does"
    if config.warmup_steps:
        yield "in the warm-up TRL's learning rate is one update behind: its first has rate 0"
    yield NO_EXACT_KL
