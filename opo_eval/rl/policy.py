"""The policy that learns, the one it started from, and what both say of the tokens of a micro-batch."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from opo_eval.rl.batches import MicroBatch
from opo_eval.rl.processes import Processes
from opo_eval.rl.sharding import whole
from opo_eval.scoring import TokenStatistics, last_hidden, output_head, token_logprobs, token_stats


class Policy:
    """A causal language model in training, its starting weights beside it where they are needed.

    Arithmetic is in `dtype`; weights stay in float32, those of the start too, so that KL to it is no
    difference of roundings. `rollout_model` is what draws: the model itself in one process in float32, else a
    copy in `dtype`, which `refresh` brings up to date. Several processes split the weights that learn and
    those of the start among them, and each has a whole copy that draws.
    """

    def __init__(
        self,
        model: Any,
        *,
        temperature: float,
        dtype: torch.dtype,
        keep_start: bool = True,
        gradient_checkpointing: bool = False,
        processes: Processes | None = None,
    ) -> None:
        self.model, self.temperature, self.dtype = without_dropout(model), temperature, dtype
        self.processes = processes or Processes()
        # One after the other, so that no two copies beside the model are whole at once.
        self.start = _frozen_copy(model, model.dtype) if keep_start else None
        if self.start is not None:
            self._reading_start = self.processes.sharded(self.start)
        # Split weights cannot draw by themselves: a process may have more to draw than another.
        draws_itself = dtype is torch.float32 and self.processes.size == 1
        self.rollout_model = model if draws_itself else _frozen_copy(model, dtype)
        self._reading = self.processes.sharded(model)
        self.followers: list[Callable[[], None]] = []
        """What else draws with these weights and has to be brought up to date."""
        model.requires_grad_(True)
        if gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.train()  # transformers checkpoints nothing otherwise; there is no dropout to switch on
        else:
            model.eval()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring the model that draws up to date with the one that learns."""
        if self.rollout_model is not self.model:
            for copied, learnt in zip(self.rollout_model.parameters(), self.model.parameters(), strict=True):
                copied.copy_(whole(learnt))
        for follow in self.followers:
            follow()

    def hidden(self, batch: MicroBatch) -> Tensor:
        """Last hidden states where a response token is predicted, and nowhere else: [N, H]."""
        with self._arithmetic():
            return self._reading(lambda: last_hidden(self.model, batch.input_ids)[batch.row, batch.position])

    def logprobs(self, hidden: Tensor, batch: MicroBatch, *, entropy: bool) -> tuple[Tensor, Tensor | None]:
        """Log-probability of each response token and, if asked for, the entropy there; with gradient: [N]."""
        return self._reading(
            lambda: token_logprobs(
                hidden, output_head(self.model), batch.targets, temperature=self.temperature, entropy=entropy
            )
        )

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of this process's share of a loss, a sum over all processes, to the weights'."""
        (loss * self.processes.size).backward()  # FSDP2 takes the mean over the processes

    @torch.no_grad()
    def start_hidden(self, batch: MicroBatch) -> Tensor:
        """The starting policy's hidden states at the same places: [N, H]."""
        assert self.start is not None, "a policy without its start cannot be compared with it"
        with self._arithmetic():
            return self._reading_start(
                lambda: last_hidden(self.start, batch.input_ids)[batch.row, batch.position]
            )

    @torch.no_grad()
    def statistics(self, hidden: Tensor, batch: MicroBatch, start: Tensor | None) -> TokenStatistics:
        """Exact entropy at each response token and, with the starting policy's states, KL to it: [N]."""

        def measured() -> TokenStatistics:
            return token_stats(
                hidden.detach(),
                output_head(self.model),
                batch.targets,
                ref_hidden=start,
                ref_head=None if start is None else output_head(self.start),
                temperature=self.temperature,
            )

        if start is None:
            return self._reading(measured)
        return self._reading(lambda: self._reading_start(measured))

    def _arithmetic(self) -> AbstractContextManager[Any]:
        if self.dtype is torch.float32:
            return nullcontext()
        # Its cache would hold on to weights that are split again.
        return torch.autocast(self.device.type, dtype=self.dtype, cache_enabled=self.processes.size == 1)


def _frozen_copy(model: Any, dtype: torch.dtype) -> Any:
    """The model with its parameters in `dtype`; buffers keep theirs, as when a checkpoint is loaded.

    Rotary frequencies are a buffer: in half precision they would turn far positions by wrong angles.
    """
    # For deepcopy these are copied already: there is no copy in the old type, and tied weights stay tied.
    cast = {id(p): nn.Parameter(p.detach().to(dtype, copy=True), p.requires_grad) for p in model.parameters()}
    return copy.deepcopy(model, cast).requires_grad_(False).eval()


def without_dropout(model: Any) -> Any:
    """The model with every dropout at 0: the policy that learns has to be the one that draws."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model
