"""Weights that are split among processes by FSDP2, and made whole to be read, drawn with or written."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from opo_eval.errors import EngineError

T = TypeVar("T")
Reading = Callable[[Callable[[], T]], T]
"""Calls a function that reads a model's weights, and returns what that returns."""


class _Root(nn.Module):
    """What FSDP2 takes for a model's forward pass: its backbone, its head, or both.

    The head's weight is read without the head's own forward pass, since the logits never exist as a whole; in
    here it is whole too.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[], T]) -> T:
        return compute()


def shard(model: Any, n: int) -> Reading:
    """Split every weight along its first dimension among n processes; layers are gathered one by one.

    Raises EngineError for a model that does not name its layers.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(model.device.type, (n,))
    root = _Root(model)
    for layer in _layers(model):
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    # FSDP2 would keep the root's weights whole until the next backward pass, and an update of the split ones
    # before that would go unseen.
    fully_shard(root, mesh=mesh, reshard_after_forward=True)
    return root


def _layers(model: Any) -> list[nn.Module]:
    names = set(getattr(model, "_no_split_modules", None) or ())
    if layers := [module for module in model.modules() if type(module).__name__ in names]:
        return layers
    raise EngineError(
        f"{type(model).__name__} does not say which of its modules are layers (_no_split_modules): train it "
        "in one process"
    )


def whole(tensor: Tensor) -> Tensor:
    """The whole of a split tensor, which all processes ask for together; any other tensor itself."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def whole_tree(tree: Any, *, keep: bool) -> Any:
    """A state of model and optimiser with whole tensors, on the CPU where they were split.

    keep: where it is False, tensors are None: this process only has its part in making them whole. What was
    one tensor object stays one (`state_dict(keep_vars=True)` has tied weights so).
    """
    seen: dict[int, Tensor | None] = {}

    def made_whole(tensor: Tensor) -> Tensor | None:
        detached = tensor.detach()
        full = whole(detached)
        return (full if full is detached else full.cpu()) if keep else None

    def visit(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: visit(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [visit(inner) for inner in value]
        if not isinstance(value, Tensor):
            return value
        if id(value) not in seen:
            seen[id(value)] = made_whole(value)
        return seen[id(value)]

    return visit(tree)


def like(full: Tensor, other: Tensor) -> Tensor:
    """A whole tensor, which all processes hold, split as another of the same shape is."""
    if not hasattr(other, "full_tensor") or full.shape != other.shape:
        return full
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = other.device_mesh, other.placements
    return distribute_tensor(full.to(other.device), mesh, placements, src_data_rank=None)


@torch.no_grad()
def load_model(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """`load_state_dict` of whole tensors into a model that may be split."""
    own = model.state_dict()
    model.load_state_dict({name: like(tensor, own.get(name, tensor)) for name, tensor in state.items()})


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """The same of an optimiser."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    each = {
        place: {
            name: like(value, parameters[place]) if isinstance(value, Tensor) else value
            for name, value in of_one.items()
        }
        for place, of_one in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": each})
