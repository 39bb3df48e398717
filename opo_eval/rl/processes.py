"""The processes that train one policy: one alone, or several in step with one another, under `torchrun`.

    torchrun --nproc-per-node 8 -m opo_eval train run.toml

Each draws a share of the rollout and learns from a share of every mini-batch; all know the whole rollout and
take the same steps. Weights, gradients and the optimiser's state are split among them (FSDP2). What must be
done once, grading and writing, the first one does. What one of them raises ends all of them: the others raise
ElsewhereError.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from opo_eval.errors import ElsewhereError
from opo_eval.rl.sharding import Reading, shard

T = TypeVar("T")

_PATIENCE = timedelta(days=1)
"""That the others wait for one: the first may have thousands of problems to filter before any step."""


class Alone:
    """The one process of a run."""

    rank, size = 0, 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes, grades and speaks."""
        return self.rank == 0

    def sharded(self, model: Any) -> Reading:
        """Split a model's weights among the processes; what is returned makes them whole while it calls."""
        return lambda compute: compute()

    def exchanged(self, compute: Callable[[], T]) -> list[T]:
        """What each process computes, in their order; whoever's computation raises, all raise."""
        return [compute()]

    def agree(self, compute: Callable[[], T]) -> T:
        """What this process computes, and keeps to itself, once all have."""
        kept: list[T] = []
        self.exchanged(lambda: kept.append(compute()))
        return kept[0]

    def told(self, compute: Callable[[], T]) -> T:
        """What the first process computes, for all; the others compute nothing."""
        return self.exchanged(compute if self.leads else _nothing)[0]

    def gathered(self, items: Sequence[Any], compute: Callable[[Sequence[Any]], Sequence[T]]) -> list[T]:
        """`compute` of all items, of which each process takes a share: as many values as items, in order."""
        parts = self.exchanged(lambda: compute(items[self.rank :: self.size]))
        values: list[Any] = [None] * len(items)
        for rank, part in enumerate(parts):
            values[rank :: self.size] = part
        return values

    def totals(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sums over all processes, by name."""
        parts = self.exchanged(lambda: values)
        return {name: sum(part[name] for part in parts) for name in values}

    def close(self) -> None:
        """Leave the others."""


class Together(Alone):
    """One of several processes that torchrun started."""

    def __init__(self) -> None:
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        distributed.init_process_group(backend, timeout=_PATIENCE)
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self._all_know = False
        """Of a failure: it is on its way out of calls within calls of `exchanged`, and is not told again."""

    def sharded(self, model: Any) -> Reading:
        """FSDP2: every layer is gathered for as long as it computes."""
        return shard(model, self.size)

    def exchanged(self, compute: Callable[[], T]) -> list[T]:
        """Messages are either values or that there is none, so that no process waits for one that failed."""
        failure: Exception | None = None
        mine: tuple[bool, Any] = (False, "")
        try:
            mine = (True, compute())
        except Exception as error:
            if self._all_know:
                raise
            failure, mine = error, (False, str(error))
        messages: list[Any] = [None] * self.size
        distributed.all_gather_object(messages, mine)
        failed = next((rank for rank, (is_value, _) in enumerate(messages) if not is_value), None)
        if failed is None:
            return [value for _, value in messages]
        self._all_know = True
        if failure is not None and failed == self.rank:
            raise failure
        raise ElsewhereError(f"process {failed} of {self.size} failed: {messages[failed][1]}")

    def close(self) -> None:
        """End the group."""
        distributed.destroy_process_group()


def join() -> Alone:
    """The process of a run that this is: one of several under torchrun, else one alone."""
    if distributed.is_available() and distributed.is_torchelastic_launched():
        together = int(os.environ["WORLD_SIZE"]) > 1
        return Together() if together else Alone()
    return Alone()


def _nothing() -> Any:
    return None
