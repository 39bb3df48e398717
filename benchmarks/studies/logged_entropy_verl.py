"""What verl logs of given responses; logged_entropy.py runs it in an environment that has verl.

    python logged_entropy_verl.py QUESTION.json ANSWER.npz

verl's own trainer and workers (FSDP2) score the responses and take one step; only what needs Ray, a GPU or
a rollout engine is left out. A CPU is made known to verl the way its plugins make a new device known.
"""

import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ |= {"VERL_PLATFORM": "cpu", "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}

import numpy as np
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from torch import Tensor
from verl import DataProto
from verl.plugin.platform.platform_cuda import PlatformCUDA
from verl.plugin.platform.platform_manager import PlatformRegistry

LOSS_AGG_MODES = (
    "token-mean",
    "token-sum",
    "seq-mean-token-sum",
    "seq-mean-token-sum-norm",
    "seq-mean-token-mean",
)
KL_LOSS_TYPES = ("kl", "abs", "mse", "low_var_kl")


def _nothing(*_: Any) -> int:
    return 0


_MEMORY = ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved")


@PlatformRegistry.register("cpu")
class PlatformCPU(PlatformCUDA):
    """torch's CPU, with no device memory to report."""

    device_name = vendor_name = "cpu"
    device_module = SimpleNamespace(
        **vars(torch.cpu) | dict.fromkeys((*_MEMORY, "empty_cache", "ipc_collect"), _nothing),
        mem_get_info=lambda *_: (0, 0),
        get_device_name=lambda *_: "cpu",
    )
    manual_seed = manual_seed_all = set_device = empty_cache = set_allocator_settings = _nothing

    def is_available(self) -> bool:
        """Always."""
        return True

    def current_device(self) -> torch.device:
        """The only one."""
        return torch.device("cpu")

    def communication_backend_name(self) -> str:
        """What torch has for CPUs."""
        return "gloo"


from verl.trainer.ppo.core_algos import FixedKLController, agg_loss  # noqa: E402
from verl.trainer.ppo.ray_trainer import RayPPOTrainer, apply_kl_penalty, reduce_metrics  # noqa: E402
from verl.workers.engine import EngineRegistry  # noqa: E402
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead  # noqa: E402
from verl.workers.engine_workers import ActorRolloutRefWorker  # noqa: E402


class Verl:
    """verl's trainer without Ray: one worker for the policy and one for the reference."""

    def __init__(self, question: dict[str, Any], **options: str) -> None:
        self.config = configured(question, **options)
        self.actor_rollout_wg = worker(self.config, question["policy"])
        self.ref_policy_wg = worker(self.config, question["reference"])
        self.ref_in_actor, self.distillation_config = False, None


def configured(question: dict[str, Any], **options: str) -> DictConfig:
    """verl's defaults but for sizes, what the question asks and a step of length 0."""
    actor, n = "actor_rollout_ref.actor", len(question["responses"])
    micro = n // question["micro_batches"]
    chosen = {
        f"{actor}.strategy": "fsdp2",
        f"{actor}.optim.lr": 0.0,
        f"{actor}.ppo_mini_batch_size": n,
        f"{actor}.ppo_micro_batch_size_per_gpu": micro,
        f"{actor}.use_kl_loss": True,
        f"{actor}.calculate_entropy": True,
        "actor_rollout_ref.rollout.name": "vllm",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu": n,
        "actor_rollout_ref.rollout.temperature": question["temperature"],
        "actor_rollout_ref.model.path": question["policy"],
        "+actor_rollout_ref.model.override_config.attn_implementation": "sdpa",
        **question["options"],
        **options,
    }
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", [f"{name}={value}" for name, value in chosen.items()])


def worker(config: DictConfig, checkpoint: str) -> Any:
    """An actor of this checkpoint that answers whichever log-probabilities are asked for."""
    config = config.actor_rollout_ref.copy()
    config.model.path = checkpoint
    made = ActorRolloutRefWorker(config, role="actor")
    made.init_model()
    made.compute_ref_log_prob = made.compute_log_prob
    return made


def batch_of(question: dict[str, Any]) -> DataProto:
    """Prompts padded on the left, responses on the right."""
    prompts, prompt_mask = padded(question["prompts"], max(map(len, question["prompts"])), left=True)
    responses, response_mask = padded(question["responses"], question["width"], left=False)
    attention_mask = torch.cat([prompt_mask, response_mask], dim=1)
    tensors = {
        "prompts": prompts,
        "responses": responses,
        "input_ids": torch.cat([prompts, responses], dim=1),
        "attention_mask": attention_mask,
        "response_mask": response_mask,
        "position_ids": (attention_mask.cumsum(dim=1) - 1).clamp(min=0),
        "advantages": response_mask.float(),
        "token_level_scores": torch.zeros(response_mask.shape),
    }
    meta = {"temperature": question["temperature"], "global_token_num": attention_mask.sum(dim=1).tolist()}
    return DataProto.from_dict(tensors=tensors, meta_info=meta)


def padded(rows: list[list[int]], width: int, *, left: bool) -> tuple[Tensor, Tensor]:
    """Token ids and mask, [B, width]."""
    ids, mask = (torch.zeros(len(rows), width, dtype=torch.long) for _ in range(2))
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(len(row))
        ids[i, place], mask[i, place] = torch.tensor(row), 1
    return ids, mask


def last_hidden(made: Any) -> Iterator[Tensor]:
    """What enters the output head of a worker, pass by pass, once this has been watched."""
    seen: list[Tensor] = []
    decoder = made.actor.engine.module.get_decoder()
    decoder.register_forward_hook(lambda _, __, output: seen.append(output.last_hidden_state.detach()))
    return iter(seen)


def before_responses(packed: Tensor, question: dict[str, Any]) -> Tensor:
    """Rows [N, H] from which the tokens of the responses are predicted, of all tokens in a row [1, n, H]."""
    pairs = [
        (len(prompt), len(response))
        for prompt, response in zip(question["prompts"], question["responses"], strict=True)
    ]
    rows = packed[0].split([sum(pair) for pair in pairs])
    return torch.cat([row[p - 1 : p + r - 1] for row, (p, r) in zip(rows, pairs, strict=True)])


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What was logged, and what was made of every token, in the question's order."""
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
    EngineRegistry.register("language_model", ["fsdp2"], "cpu")(FSDPEngineWithLMHead)
    verl, batch = Verl(question), batch_of(question)
    hidden, ref_hidden = last_hidden(verl.actor_rollout_wg), last_hidden(verl.ref_policy_wg)
    old, _ = RayPPOTrainer._compute_old_log_prob(verl, batch)
    batch = batch.union(old).union(RayPPOTrainer._compute_ref_log_prob(verl, batch))
    mask = batch.batch["response_mask"].bool()
    of_tokens = {"entropy": "entropys", "logprob": "old_log_probs", "ref_logprob": "ref_log_prob"}
    return {
        "version": version("verl"),
        "logged": json.dumps(dict(logged(question, verl, batch))),
        "hidden": before_responses(next(hidden), question).float().numpy(),
        "ref_hidden": before_responses(next(ref_hidden), question).float().numpy(),
        **{ours: batch.batch[theirs][mask].numpy() for ours, theirs in of_tokens.items()},
    }


def logged(question: dict[str, Any], verl: Verl, batch: DataProto) -> Iterator[tuple[str, float]]:
    """Names with their options, and values."""
    actor = verl.config.actor_rollout_ref.actor
    for mode in LOSS_AGG_MODES:
        # The lines of RayPPOTrainer.fit that log it stand between others that need Ray.
        entropy = agg_loss(
            loss_mat=batch.batch["entropys"],
            loss_mask=batch.batch["response_mask"],
            loss_agg_mode=mode,
            loss_scale_factor=actor.loss_scale_factor,
        )
        yield f"actor/entropy {mode}", entropy.item()
    _, penalty = apply_kl_penalty(batch, FixedKLController(0.001), "kl")
    yield "actor/reward_kl_penalty", penalty["actor/reward_kl_penalty"]
    yield from updated(verl, batch).items()
    for kind in KL_LOSS_TYPES:
        if (key := f"actor/kl_loss {kind}") in question["keys"]:
            other = Verl(question, **{"actor_rollout_ref.actor.kl_loss_type": kind})
            yield key, updated(other, batch)["actor/kl_loss"]


def updated(verl: Verl, batch: DataProto) -> dict[str, float]:
    """What a step of the actor logs of entropy and KL."""
    output = RayPPOTrainer._update_actor(verl, batch)
    metrics = reduce_metrics(output.meta_info["metrics"])
    return {name: float(metrics[name]) for name in ("actor/entropy_loss", "actor/kl_loss", "actor/ppo_kl")}


def main(question_path: str, answer_path: str) -> None:
    """Answer one question."""
    np.savez(answer_path, **answer(json.loads(Path(question_path).read_text())))


if __name__ == "__main__":
    main(*sys.argv[1:])
