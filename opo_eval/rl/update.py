"""One rollout's learning: passes over its rows, the gradient, and what is measured on the way.

With one update a rollout, the pass that gives the gradient gives the old log-probabilities too. With more,
they come from a pass of their own before the first update.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from opo_eval.errors import OpoEvalError
from opo_eval.rl.batches import MicroBatch, Row, micro_batches
from opo_eval.rl.clock import Clock
from opo_eval.rl.config import Method
from opo_eval.rl.loss import surrogate
from opo_eval.rl.memory import memory_explained
from opo_eval.rl.policy import Policy
from opo_eval.rl.processes import Processes
from opo_eval.rl.sharding import whole
from opo_eval.scoring import TokenStatistics, k1, k3


@dataclass
class Sums:
    """Sums over tokens, by name, and over updates."""

    tokens: dict[str, float] = field(default_factory=dict)
    n_tokens: int = 0
    """Of one pass over the rollout."""
    gradient_norms: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def add(self, **values: Tensor) -> None:
        """Add each tensor's sum under its name."""
        for name, value in values.items():
            self.tokens[name] = self.tokens.get(name, 0.0) + float(value.double().sum())

    def mean(self, name: str) -> float:
        """Mean a token of what was added under a name."""
        return self.tokens[name] / self.n_tokens

    def mean_if_measured(self, name: str) -> float | None:
        """The same; None where nothing was added."""
        return self.mean(name) if name in self.tokens else None


@dataclass(kw_only=True)
class Update:
    """The learning from one rollout."""

    policy: Policy
    optimizer: torch.optim.Optimizer
    method: Method
    gradient_clip: float
    """Highest norm of the gradient; 0: any."""
    micro_batch_tokens: int
    rows: Sequence[Row]
    against_start: bool
    """Whether KL to the starting policy is measured."""
    clock: Clock
    sums: Sums = field(init=False)

    def __post_init__(self) -> None:
        self.sums = Sums(n_tokens=sum(len(row.response) for row in self.rows))

    def run(self, mini_batches: Sequence[Sequence[int]]) -> Sums:
        """Take one step of the optimiser for each mini-batch (places in `rows`).

        Raises OpoEvalError where a loss or a gradient is not finite, or memory runs out; the weights are then
        as they were before that step of the optimiser.
        """
        longest = max(row.size for row in self.rows)
        with memory_explained(
            f"an update in micro-batches of {self.micro_batch_tokens} tokens (its longest row has {longest})",
            "give fewer micro_batch_tokens, or gradient_checkpointing, and continue",
        ):
            old = self._old_logprobs(mini_batches) if len(mini_batches) > 1 else None
            for places in mini_batches:
                self.optimizer.zero_grad(set_to_none=True)
                self._step(sum(self._backward(batch, old) for batch in self._micro_batches([places])))
        self.sums.tokens = self._processes.sums(self.sums.tokens)
        return self.sums

    @property
    def _processes(self) -> Processes:
        return self.policy.processes

    def _micro_batches(self, parts: Sequence[Sequence[int]]) -> Iterator[MicroBatch]:
        """This process's share of each part: the same rows of it, however the parts are put together."""
        rank, n = self._processes.rank, self._processes.size
        return micro_batches(self.rows, parts, self.micro_batch_tokens, self.policy.device, rank, n)

    @torch.no_grad()
    def _old_logprobs(self, mini_batches: Sequence[Sequence[int]]) -> "_ByRow":
        """The rollout policy's log-probabilities and the starting one's, before any weight changes."""
        old = _ByRow()
        for batch in self._micro_batches(mini_batches):
            hidden = self.policy.hidden(batch)
            logprob, _ = self.policy.logprobs(hidden, batch, entropy=False)
            old.keep(batch, logprob, self._measure(hidden, batch).ref_logprob)
        return old

    def _backward(self, batch: MicroBatch, old: "_ByRow | None") -> float:
        hidden = self.policy.hidden(batch)
        wants_entropy = self.method.entropy_coefficient > 0
        logprob, entropy = self.policy.logprobs(hidden, batch, entropy=wants_entropy)
        if old is not None:
            old_logprob, start_logprob = old.of(batch)
            self.sums.add(kl_update_k3=k3(old_logprob, logprob.detach()))
        else:
            old_logprob, start_logprob = logprob.detach(), None
            if self.method.kl_coefficient:
                start_logprob = self._measure(hidden, batch).ref_logprob
        objective, held = surrogate(logprob, old_logprob, batch.advantage, self.method.clip)
        if self.method.clip:
            self.sums.add(clipped=held)
        if entropy is not None:
            objective = objective + self.method.entropy_coefficient * entropy
        if self.method.kl_coefficient and start_logprob is not None:
            objective = objective - self.method.kl_coefficient * k3(logprob, start_logprob)
        loss = -(batch.weight * objective).sum()
        self.policy.backward(loss)
        if old is None and not self.method.kl_coefficient:
            self._measure(hidden, batch)  # now that the activations have made room
        return loss.item()

    def _measure(self, hidden: Tensor, batch: MicroBatch) -> TokenStatistics:
        """Exact entropy and KL of the rollout's policy, added to the sums."""
        start = None
        if self.against_start or self.method.kl_coefficient:
            with self.clock("reference"):
                start = self.policy.start_hidden(batch)
        statistics = self.policy.statistics(hidden, batch, start)
        exact, drawn = statistics.logprob, batch.drawn_logprob
        self.sums.add(entropy=statistics.entropy, rollout_k1=k1(drawn, exact), rollout_k3=k3(drawn, exact))
        if statistics.kl is not None and statistics.ref_logprob is not None:
            start_k1, start_k3 = k1(exact, statistics.ref_logprob), k3(exact, statistics.ref_logprob)
            self.sums.add(start=statistics.kl, start_k1=start_k1, start_k3=start_k3)
        return statistics

    def _step(self, loss: float) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = float(whole(torch.nn.utils.clip_grad_norm_(parameters, self.gradient_clip or math.inf)))
        loss = sum(self._processes.all_gather(lambda: loss))
        self._processes.agree(lambda: _check_finite(loss, norm))
        self.optimizer.step()
        self.sums.losses.append(loss)
        self.sums.gradient_norms.append(norm)


def _check_finite(loss: float, norm: float) -> None:
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise OpoEvalError(
            f"the loss is {loss:g} and the norm of its gradient {norm:g}: lower learning_rate or "
            "gradient_clip, or train in float32, into another out"
        )


class _ByRow:
    """Log-probabilities of each row, kept between the passes."""

    def __init__(self) -> None:
        self._old: dict[int, Tensor] = {}
        self._start: dict[int, Tensor] = {}

    def keep(self, batch: MicroBatch, old: Tensor, start: Tensor | None) -> None:
        lengths = list(batch.lengths)
        self._old |= dict(zip(batch.rows, old.split(lengths), strict=True))
        if start is not None:
            self._start |= dict(zip(batch.rows, start.split(lengths), strict=True))

    def of(self, batch: MicroBatch) -> tuple[Tensor, Tensor | None]:
        if not batch.rows:  # an idle one
            return batch.drawn_logprob, batch.drawn_logprob if self._start else None
        old = torch.cat([self._old[row] for row in batch.rows])
        return old, torch.cat([self._start[row] for row in batch.rows]) if self._start else None


def split_groups(n_groups: int, group_size: int, n_parts: int) -> list[list[int]]:
    """Places of the rows of each mini-batch: whole groups, in the rollout's order."""
    groups = np.arange(n_groups * group_size).reshape(n_groups, group_size)
    return [part.ravel().tolist() for part in np.array_split(groups, n_parts)]
