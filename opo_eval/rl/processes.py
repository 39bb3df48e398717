"""The processes that train one policy: one alone, or several in step with one another, under `torchrun`.

    torchrun --nproc-per-node 8 --shutdown-timeout 1800 -m opo_eval train run.toml

Each draws a share of the rollout and learns from a share of every mini-batch; all know the whole rollout and
take the same steps. Weights, gradients and the optimiser's state are split among them (FSDP2). What must be
done once, grading and writing, the main one does. Where one of them fails in what they do side by side, all
raise; where it fails amid a gradient, it ends, and torchrun ends the others.
"""

import atexit
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from opo_eval.errors import ElsewhereError, UsageError
from opo_eval.rl.sharding import Reading, shard

T = TypeVar("T")

_PATIENCE = timedelta(days=1)
"""That the others wait for one: the main one may have thousands of problems to filter before any step."""


class Processes:
    """The processes of a run, as one of them sees them; of this class: itself alone."""

    rank, size = 0, 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes, grades and speaks."""
        return self.rank == 0

    def sharded(self, model: Any) -> Reading:
        """Split a model's weights among the processes; what is returned makes them whole while it calls."""
        return lambda compute: compute()

    def all_gather(self, compute: Callable[[], T]) -> list[T]:
        """What each process computes, in their order; whoever's computation raises, all raise."""
        return [compute()]

    def agree(self, compute: Callable[[], T]) -> T:
        """What this process computes, and keeps to itself, once all have."""
        kept: list[T] = []
        self.all_gather(lambda: kept.append(compute()))
        return kept[0]

    def broadcast(self, compute: Callable[[], T]) -> T:
        """What the main process computes, for all; the others compute nothing."""
        return compute()

    def divide(self, items: Sequence[Any], compute: Callable[[Sequence[Any]], Sequence[T]]) -> list[T]:
        """`compute` of all items, of which each process takes a share: as many values as items, in order."""
        parts = self.all_gather(lambda: compute(items[self.rank :: self.size]))
        values: list[Any] = [None] * len(items)
        for rank, part in enumerate(parts):
            values[rank :: self.size] = part
        return values

    def sums(self, values: Mapping[str, float]) -> dict[str, float]:
        """The sums over all processes, by name."""
        parts = self.all_gather(lambda: values)
        return {name: sum(part[name] for part in parts) for name in values}

    def close(self) -> None:
        """Leave the others, when all is done."""


class TorchrunProcesses(Processes):
    """The processes that torchrun started. Raises UsageError where there are fewer GPUs than these.

    Once something has raised for all of them they are of no more use.
    """

    def __init__(self, device: str | None = None) -> None:
        on_gpu = device != "cpu" and torch.cuda.is_available()
        if on_gpu:
            _take_gpu(int(os.environ["LOCAL_RANK"]))
        # Once a process: its peers may still be leaving a group whose name the next one would have.
        if distributed.is_initialized():
            atexit.unregister(distributed.destroy_process_group)
        else:
            distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        # Tensors go by the group above, where a process that waits for minutes waits for one that is gone.
        self._messages = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self._all_know = False
        """Of a failure: it is on its way out of calls within calls of `all_gather`, and is not told again."""

    def sharded(self, model: Any) -> Reading:
        """FSDP2: every layer is gathered for as long as it computes."""
        return shard(model, self.size)

    def all_gather(self, compute: Callable[[], T]) -> list[T]:
        """A message is a value, or the reason that there is none: nobody waits for one that failed."""
        failure: Exception | None = None
        try:
            mine = (True, compute())
        except Exception as error:
            if self._all_know:
                raise
            failure, mine = error, (False, str(error))
        messages: list[Any] = [None] * self.size
        distributed.all_gather_object(messages, mine, group=self._messages)
        failed = next((rank for rank, (is_value, _) in enumerate(messages) if not is_value), None)
        if failed is None:
            return [value for _, value in messages]
        self._all_know = True
        if failure is not None and failed == self.rank:
            raise failure
        raise ElsewhereError(f"process {failed} of {self.size} failed: {messages[failed][1]}")

    def broadcast(self, compute: Callable[[], T]) -> T:
        """Once the main process has it: whether it has is what all hear first."""
        box = [self.agree(compute if self.is_main else _nothing)]
        distributed.broadcast_object_list(box, src=0, group=self._messages)
        return box[0]

    def close(self) -> None:
        """Have the groups end with this process. There NCCL waits for all: never after a failure."""
        atexit.register(distributed.destroy_process_group)


def join(device: str | None = None) -> Processes:
    """The processes of a run that this one belongs to: several under torchrun, else itself alone.

    device: that the run was given; on `cpu` no GPU is taken.
    """
    if distributed.is_available() and distributed.is_torchelastic_launched():
        return TorchrunProcesses(device) if int(os.environ["WORLD_SIZE"]) > 1 else Processes()
    return Processes()


def _take_gpu(place: int) -> None:
    n_gpus = torch.cuda.device_count()
    if place >= n_gpus:
        raise UsageError(
            f"process {place + 1} of this machine has no GPU of its own, there being {n_gpus}: give "
            f"--nproc-per-node {n_gpus} or fewer, or the device cpu"
        )
    torch.cuda.set_device(place)


def _nothing() -> Any:
    return None
