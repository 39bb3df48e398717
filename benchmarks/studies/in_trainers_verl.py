"""What verl makes of an export and of one batch; in_trainers.py runs it in an environment that has verl.

    python in_trainers_verl.py BATCH.npz EXPORT ANSWER.npz

The export is composed by its own start script, checked by verl, and its problems, its reward function,
its advantages and its loss are those of verl's own classes. Nothing is trained: that takes a GPU.
"""

import asyncio
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from transformers import AutoTokenizer
from verl import DataProto
from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls
from verl.trainer.ppo.core_algos import AdvantageEstimator, get_policy_loss_fn
from verl.trainer.ppo.ray_trainer import compute_advantage
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.utils.tokenizer.continuous_token import ContinuousTokenBuilder

from opo_eval.rewards import verl_reward_batch

# --- settings ---------------------------------------------------------------------------------------


def composed(export: Path) -> DictConfig:
    """What verl's own command makes of the export, by its start script."""
    words = ["bash", str(export / "run.sh"), "--cfg", "job"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=os.environ | {"PATH": path})
    return OmegaConf.create(done.stdout[done.stdout.index("actor_rollout_ref:") :])


def unknown(export: Path, config: DictConfig) -> list[str]:
    """Settings of the export that verl's defaults do not have: Hydra adds those without a word."""
    from hydra import compose, initialize_config_module

    with initialize_config_module("verl.trainer.config", version_base=None):
        defaults = compose("ppo_trainer")
    ours = OmegaConf.load(export / "train.yaml")
    del ours["defaults"]
    fields = vars(omega_conf_to_dataclass(config.actor_rollout_ref.actor).engine)
    return [
        name
        for name in leaves(OmegaConf.to_container(ours))
        if not (has(defaults, name) or name.split("fsdp_config.")[-1].split(".")[0] in fields)
    ]


def leaves(tree: dict[str, Any], above: str = "") -> list[str]:
    """Dotted names of all that is no mapping."""
    names = []
    for key, value in tree.items():
        name = f"{above}.{key}".lstrip(".")
        names += leaves(value, name) if isinstance(value, dict) else [name]
    return names


def has(config: DictConfig, name: str) -> bool:
    """Whether it has a setting, be it None or missing."""
    *parents, leaf = name.split(".")
    for parent in parents:
        config = config.get(parent)
        if config is None:
            return False
    return leaf in config.keys()  # noqa: SIM118 (what has no value yet is not `in` it)


def check(config: DictConfig) -> None:
    """verl's own checks, with micro-batches by tokens as exported, and by responses, where it checks more."""
    AdvantageEstimator(config.algorithm.adv_estimator)
    roles = {"use_reference_policy": need_reference_policy(config), "use_critic": need_critic(config)}
    validate_config(config, **roles)
    for part in ("actor", "rollout"):
        omega_conf_to_dataclass(config.actor_rollout_ref[part])
    by_responses = config.copy()
    actor = by_responses.actor_rollout_ref.actor
    actor.use_dynamic_bsz, actor.ppo_micro_batch_size_per_gpu = False, 1
    for part in ("ref", "rollout"):
        by_responses.actor_rollout_ref[part].log_prob_micro_batch_size_per_gpu = 1
    validate_config(by_responses, **roles)


# --- problems, rewards ------------------------------------------------------------------------------


def prompts(config: DictConfig, tokenizer: Any) -> list[list[int]]:
    """Token ids of every problem's prompt, by verl's data set and its builder of prompts."""
    config.data.cache_dir = str(Path(config.data.train_files).parent / "cache")
    data = RLHFDataset(config.data.train_files, tokenizer, config.data)
    tokenizer.chat_template = config.actor_rollout_ref.model.custom_chat_template or tokenizer.chat_template
    builder = ContinuousTokenBuilder(tokenizer)
    return [list(builder.build_initial_tokens(list(data[i]["raw_prompt"]))) for i in range(len(data))]


async def scores(config: DictConfig, tokenizer: Any, batch: Any) -> list[dict[str, float]]:
    """What verl's reward manager gets from the exported function for every response, all asked at once."""
    kind = get_reward_manager_cls(config.reward.reward_manager.name)
    manager = kind(config, tokenizer, get_custom_reward_fn(config))
    found = await asyncio.gather(*(manager.run_single(one) for one in items(batch)))
    return [{"reward_score": one["reward_score"], **one["reward_extra_info"]} for one in found]


def cases(batch: Any) -> dict[str, list[float]]:
    """The reward function itself, on answers that need its parser or run into its limits."""
    golds, texts = batch["case_golds"].tolist(), batch["case_texts"].tolist()
    found = verl_reward_batch([""] * len(golds), texts, golds, timeout_s=float(batch["case_timeout_s"]))
    return {
        "case_scores": [one["score"] for one in found],
        "case_unscorable": [one["unscorable"] for one in found],
    }


def items(batch: Any) -> list[DataProto]:
    """Each response as verl's rollout hands it to a reward manager."""
    rows = zip(batch["responses"], batch["lengths"], batch["golds"], strict=True)
    return [
        DataProto.from_dict(
            tensors={
                "responses": torch.tensor(ids)[None],
                "attention_mask": (torch.arange(len(ids)) < int(length)).long()[None],
            },
            non_tensors={
                "data_source": np.array(["tiny-arith"], dtype=object),
                "reward_model": np.array([{"ground_truth": str(gold)}], dtype=object),
                "extra_info": np.array([{}], dtype=object),
            },
        )
        for ids, length, gold in rows
    ]


# --- advantages, loss -------------------------------------------------------------------------------


def advantages(config: DictConfig, batch: Any, mask: Tensor, rewards: list[float]) -> Tensor:
    """verl's advantages of every token, [B, T]."""
    at_the_end = torch.zeros(mask.shape)
    at_the_end[torch.arange(len(mask)), mask.sum(dim=1) - 1] = torch.tensor(rewards)
    data = DataProto.from_dict(
        tensors={"token_level_rewards": at_the_end, "response_mask": mask},
        non_tensors={"uid": batch["groups"].astype(object)},
    )
    algorithm = config.algorithm
    data = compute_advantage(
        data,
        adv_estimator=algorithm.adv_estimator,
        gamma=algorithm.gamma,
        lam=algorithm.lam,
        num_repeat=config.actor_rollout_ref.rollout.n,
        norm_adv_by_std_in_grpo=algorithm.norm_adv_by_std_in_grpo,
        config=algorithm,
    )
    return data.batch["advantages"]


def gradient(config: DictConfig, advantage: Tensor, mask: Tensor, shift: Tensor) -> Tensor:
    """Of verl's policy loss with respect to every log-probability, [B, T], mini-batch after mini-batch.

    shift: log-probability less that of the policy that drew.
    """
    actor = omega_conf_to_dataclass(config.actor_rollout_ref.actor)
    size = actor.ppo_mini_batch_size * config.actor_rollout_ref.rollout.n
    parts = []
    for a, m, s in zip(advantage.split(size), mask.split(size), shift.split(size), strict=True):
        logprob = s.clone().requires_grad_()
        info = {"dp_size": 1, "batch_num_tokens": m.sum(), "global_batch_size": size}
        actor.global_batch_info.update(info)
        loss, _ = get_policy_loss_fn(actor.policy_loss.loss_mode)(
            old_log_prob=torch.zeros_like(s),
            log_prob=logprob,
            advantages=a,
            response_mask=m.bool(),
            loss_agg_mode=actor.loss_agg_mode,
            config=actor,
        )
        loss.backward()
        parts.append(logprob.grad)
    return torch.cat(parts)


def main(batch_path: str, export_path: str, answer_path: str) -> None:
    """Answer for one export."""
    batch, export = np.load(batch_path), Path(export_path).absolute()
    config = composed(export)
    check(config)
    tokenizer = AutoTokenizer.from_pretrained(config.actor_rollout_ref.model.path)
    scored = asyncio.run(scores(config, tokenizer, batch))
    mask = (torch.arange(batch["responses"].shape[1]) < torch.from_numpy(batch["lengths"])[:, None]).long()
    advantage = advantages(config, batch, mask, [one["reward_score"] for one in scored])
    facts = {
        "version": version("verl"),
        "antlr": version("antlr4-python3-runtime"),
        "unknown": unknown(export, config),
        "estimator": config.algorithm.adv_estimator,
        "loss_agg_mode": config.actor_rollout_ref.actor.loss_agg_mode,
        "lr": config.actor_rollout_ref.actor.optim.lr,
        "prompts": prompts(config, tokenizer),
    }
    np.savez(
        answer_path,
        facts=json.dumps(facts),
        rewards=np.array([one["reward_score"] for one in scored]),
        unscorable=np.array([one["unscorable"] for one in scored]),
        advantages=advantage.numpy(),
        **cases(batch),
        on_policy=gradient(config, advantage, mask, torch.zeros(mask.shape)).numpy(),
        shifted=gradient(config, advantage, mask, torch.from_numpy(batch["shift"])).numpy(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
