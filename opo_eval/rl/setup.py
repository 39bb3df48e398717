"""The parts of a trainer from its settings, and what a continued run must agree with."""

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from opo_eval.errors import EngineError, UsageError
from opo_eval.grading import Grader
from opo_eval.problems import dataset_sha256, default_template
from opo_eval.provenance import current_provenance
from opo_eval.rl.config import TrainConfig
from opo_eval.rl.data import TrainingData
from opo_eval.rl.policy import Policy
from opo_eval.rl.processes import Processes
from opo_eval.samplers import Sampler
from opo_eval.samplers.checkpoints import chosen_device, load_checkpoint, model_sha256
from opo_eval.samplers.hf import HFSampler
from opo_eval.scoring import check_head


def make_policy(config: TrainConfig, processes: Processes) -> tuple[Policy, Any]:
    """The starting policy and its tokenizer.

    Raises EngineError for a checkpoint that cannot be loaded or an architecture that cannot be scored,
    UsageError for settings that several processes cannot have.
    """
    if processes.size > 1:
        _refuse_for_several(config, processes.size)
    model, tokenizer = load_checkpoint(config.model, "float32", chosen_device(config.device))
    check_head(model)
    _make_saveable(model)
    policy = Policy(
        model,
        temperature=config.temperature,
        dtype=getattr(torch, config.dtype),
        keep_start=config.kl_every > 0 or config.settled().kl_coefficient > 0,
        gradient_checkpointing=config.gradient_checkpointing,
        processes=processes,
    )
    return policy, tokenizer


def _refuse_for_several(config: TrainConfig, n: int) -> None:
    if config.rollout_engine == "vllm":
        raise UsageError(
            f"rollout_engine vllm draws for one process, and there are {n}: take hf, or hand the run over to "
            "verl (--export verl)"
        )
    if config.device and ":" in config.device:
        raise UsageError(
            f"device {config.device!r} would be that of all {n} processes: leave it out, each takes its own"
        )


def _make_saveable(model: Any) -> None:
    """Leave out generation settings that transformers loads and then refuses to save.

    A temperature without sampling is one. The sampler goes by none of them but the special tokens.
    """
    own = model.generation_config
    try:
        own.validate(strict=True)
    except ValueError:
        tokens = ("bos_token_id", "eos_token_id", "pad_token_id")
        model.generation_config = GenerationConfig(**{name: getattr(own, name) for name in tokens})


def make_grader(config: TrainConfig) -> Grader:
    """The evaluation's grader, strict verdicts only."""
    return Grader(
        think=config.think,
        where=config.answer,
        lenient=False,
        workers=config.workers,
        timeout_s=config.timeout,
    )


def make_sampler(config: TrainConfig, policy: Policy, tokenizer: Any, benchmark: str) -> Sampler:
    """The evaluation's sampler around the policy that learns.

    Raises EngineError for vllm where it is not installed or cannot load the policy.
    """
    options = {
        **prompt_options(config, benchmark),
        "temperature": config.temperature,
        "max_tokens": config.max_tokens,
        "base_seed": config.seed,
    }
    if config.rollout_engine == "vllm":
        options["gpu_memory"] = config.rollout_gpu_memory
        return _vllm_rollouts(policy, tokenizer, config.out / _ROLLOUT_FOLDER, options)
    return HFSampler.of_model(policy.rollout_model, tokenizer, **options, batch_size=config.rollout_batch)


def _vllm_rollouts(policy: Policy, tokenizer: Any, folder: Path, options: dict[str, Any]) -> Sampler:
    if find_spec("vllm") is None:
        raise EngineError("rollout_engine vllm is not installed: pip install 'opo-eval[vllm]', or take hf")
    from opo_eval.rl.vllm_rollouts import VLLMRollouts

    return VLLMRollouts(policy, tokenizer, folder, **options)


_ROLLOUT_FOLDER = ".rollout"


def prompt_options(config: TrainConfig, benchmark: str) -> dict[str, Any]:
    """How a sampler puts problems: in training, and where a study evaluates what was trained."""
    return {
        "template": config.template or default_template(benchmark),
        "system": config.system,
        "response_prefix": config.response_prefix,
        "chat": not config.no_chat,
    }


def describe(
    config: TrainConfig, data: TrainingData, sampler: Sampler, processes: Processes
) -> dict[str, Any]:
    """Resolved settings, model, problems and prompts, with the code and the machine."""
    return {
        "config": {**asdict(config), **asdict(config.settled())},
        "model_sha256": model_sha256(config.model),
        "dataset_sha256": dataset_sha256(data.problems),
        "n_problems": len(data.problems),
        "left_out": dict(data.left_out),
        "prompting": asdict(sampler.prompting),
        "n_processes": processes.size,
        "provenance": asdict(current_provenance(sampler.device)),
    }
