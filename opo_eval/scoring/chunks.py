"""What scoring takes, checked, and cut into chunks of tokens."""

from collections.abc import Sequence
from math import isfinite

from torch import Tensor

from opo_eval.errors import InputError, UsageError
from opo_eval.scoring.heads import OutputHead

CHUNK_ELEMENTS = 2**24
"""Logits that exist at once: a chunk has this many divided by the vocabulary, but at least one token."""


def chunk_rows(n_vocab: int) -> int:
    """Tokens in a chunk."""
    return max(1, CHUNK_ELEMENTS // n_vocab)


def check_inputs(hidden: Tensor, head: OutputHead, targets: Tensor, *temperatures: float) -> None:
    """Raise UsageError for shapes or a temperature, InputError for targets, that cannot be scored."""
    check_temperatures(temperatures)
    check_hidden(hidden, head, "hidden")
    if targets.ndim != 1 or len(targets) != len(hidden):
        raise UsageError(
            f"targets cannot have shape {list(targets.shape)} where hidden has {list(hidden.shape)}: give "
            f"one token for every hidden state, [{len(hidden)}]"
        )
    if targets.is_floating_point() or targets.is_complex():
        raise UsageError(f"targets cannot be {targets.dtype}: give token numbers, which are integers")
    outside = (targets < 0) | (targets >= head.n_vocab)
    if bool(outside.any()):
        raise InputError(
            f"token {int(targets[outside][0])} is not in the vocabulary of {head.n_vocab}: leave padding and "
            "ignored tokens out before scoring"
        )


def check_temperatures(temperatures: Sequence[float]) -> None:
    """Raise UsageError unless there is a temperature and each is more than 0 and finite."""
    if not temperatures:
        raise UsageError("temperatures cannot be empty: give at least one")
    for temperature in temperatures:
        if not (temperature > 0 and isfinite(temperature)):
            raise UsageError(f"temperature cannot be {temperature!r}: it has to be more than 0 and finite")


def check_top(top: Tensor) -> None:
    """Raise InputError unless the largest logit of every token is finite, [...] of any shape."""
    if not bool(top.isfinite().all()):
        raise InputError(
            "the logits of a token hold NaN or +inf, or nothing but -inf, which is no distribution: check "
            "the weights of the model"
        )


def check_hidden(hidden: Tensor, head: OutputHead, name: str) -> None:
    """Raise UsageError unless hidden is [T, H] of the head's H."""
    width = head.weight.shape[1]
    if hidden.ndim != 2 or hidden.shape[1] != width:
        raise UsageError(
            f"{name} cannot have shape {list(hidden.shape)}: give [T, {width}], a row a token, as wide as "
            "the weight of its head"
        )
