"""The learning from handmade responses, with an optimiser that keeps the gradients."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from rl.tiny_policy import small_policy

from opo_eval.rl.batches import Row
from opo_eval.rl.clock import Clock
from opo_eval.rl.config import Aggregation, Method
from opo_eval.rl.loss import token_weights
from opo_eval.rl.policy import Policy
from opo_eval.rl.processes import Processes
from opo_eval.rl.sharding import load_model, whole
from opo_eval.rl.update import Sums, Update, split_groups

GROUPS, SIZE = 4, 3


def handmade_rows(aggregation: Aggregation, parts: Sequence[Sequence[int]], seed: int = 0) -> list[Row]:
    """GROUPS · SIZE responses of 1 to 29 tokens, weighted within each mini-batch."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 30, GROUPS * SIZE)
    rows = [
        Row(
            prompt=tuple(rng.integers(2, 258, 3 + place // SIZE).tolist()),
            response=tuple(rng.integers(2, 258, length).tolist()),
            advantage=float(rng.normal()),
            weight=0.0,
            drawn_logprob=(-1.0,) * int(length),
        )
        for place, length in enumerate(lengths)
    ]
    for part in parts:
        weights = token_weights(lengths[list(part)], aggregation)
        for place, weight in zip(part, weights, strict=True):
            rows[place] = replace(rows[place], weight=float(weight))
    return rows


class Watched(torch.optim.SGD):
    """An optimiser that keeps the gradient of each step."""

    def __init__(self, parameters, rate: float) -> None:
        super().__init__(parameters, lr=rate)
        self.seen: list[torch.Tensor] = []

    def step(self, closure=None) -> None:
        self.seen.append(gradient_of(self.param_groups[0]["params"]))
        super().step(closure)


def gradient_of(parameters) -> torch.Tensor:
    """All gradients in one row."""
    return torch.cat([whole(p.grad).flatten() for p in parameters])


def run_update(
    rows: Sequence[Row],
    method: Method,
    *,
    max_tokens: int = 10_000,
    dtype: torch.dtype = torch.float64,
    arithmetic: torch.dtype = torch.float32,
    checkpointing: bool = False,
    tied: bool = True,
    temperature: float = 0.7,
    gradient_clip: float = 0.0,
    rate: float = 0.0,
    processes: Processes | None = None,
) -> tuple[list[torch.Tensor], Sums]:
    """The gradients of a rollout and what was measured; the start has other weights than the policy."""
    model = small_policy(dtype, tied=tied)
    policy = Policy(
        model,
        temperature=temperature,
        dtype=arithmetic,
        gradient_checkpointing=checkpointing,
        processes=processes,
    )
    load_model(policy.start, small_policy(dtype, seed=1, tied=tied).state_dict())
    optimizer = Watched(model.parameters(), rate)
    update = Update(
        policy=policy,
        optimizer=optimizer,
        method=method,
        gradient_clip=gradient_clip,
        micro_batch_tokens=max_tokens,
        rows=rows,
        against_start=True,
        clock=Clock(),
    )
    sums = update.run(split_groups(len(rows) // SIZE, SIZE, method.mini_batches))
    return optimizer.seen, sums
