"""Exact entropy, KL divergence and log-probability at every token of a text that is given.

The logits of all tokens over the whole vocabulary never exist: they are made, and summed over the vocabulary,
a tile at a time (`opo_eval.scoring.tiles`). Of given logits the statistics are right to a few 1e-15, relative
or in nats; the logits themselves have the precision of their products. On Hopper GPUs, heads in half
precision go through one fused kernel (`opo_eval.scoring.fused`), right to 1e-6 relative or 1e-8 nats.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opo_eval.errors import UsageError
from opo_eval.scoring import fused
from opo_eval.scoring.chunks import check_hidden, check_inputs
from opo_eval.scoring.combine import statistics_of
from opo_eval.scoring.heads import OutputHead, as_head
from opo_eval.scoring.tiles import Side, sums_of, tokens_in_tile

FieldsOf = Callable[[Sequence[Side], Tensor, Sequence[float]], list[dict[str, Tensor]]]

_NO_PROBABILITY = -1e3  # exp of it is 0, and unlike -inf it can be multiplied with 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStatistics:
    """Of every token, in nats: float64 [T] on the head's device; with no reference the last four are None."""

    logprob: Tensor
    """log p(target)"""
    entropy: Tensor
    """−Σ p log p over the whole vocabulary."""
    ref_logprob: Tensor | None = None
    ref_entropy: Tensor | None = None
    kl: Tensor | None = None
    """KL(policy‖reference) = Σ p (log p − log q); inf where q is 0 and p is not."""
    reverse_kl: Tensor | None = None
    """KL(reference‖policy)"""


@torch.no_grad()
def token_stats(
    hidden: Tensor,
    head: Tensor | OutputHead,
    targets: Tensor,
    *,
    ref_hidden: Tensor | None = None,
    ref_head: Tensor | OutputHead | None = None,
    temperature: float = 1.0,
) -> TokenStatistics:
    """Statistics of the policy at each of T tokens, and against a reference where one is given.

    hidden: [T, H] last hidden states, row t those from which token t is predicted. head: OutputHead or its
    bare weight [V, H]. targets: [T] token numbers. ref_hidden: [T, H'] of the same tokens under another model
    and ref_head: its head over the same V tokens. temperature: divides all logits, of both models. Hidden
    states may lie on another device than the heads, or in a mapped file; they are moved a tile at a time.

    Raises UsageError for shapes that do not fit, InputError for a target outside the vocabulary and for
    logits that are no distribution (NaN, +inf or nothing but −inf).
    """
    return token_stats_at(
        hidden, head, targets, ref_hidden=ref_hidden, ref_head=ref_head, temperatures=[temperature]
    )[0]


@torch.no_grad()
def token_stats_at(
    hidden: Tensor,
    head: Tensor | OutputHead,
    targets: Tensor,
    *,
    ref_hidden: Tensor | None = None,
    ref_head: Tensor | OutputHead | None = None,
    temperatures: Sequence[float],
) -> tuple[TokenStatistics, ...]:
    """What `token_stats` gives at each of several temperatures, from one set of logits."""
    policy = as_head(head)
    check_inputs(hidden, policy, targets, *temperatures)
    sides = [(hidden, policy)]
    if ref_hidden is not None or ref_head is not None:
        sides.append(_checked_reference(ref_hidden, ref_head, hidden, policy))
    return tuple(TokenStatistics(**fields) for fields in _in_slices(sides, targets, temperatures))


def _checked_reference(
    ref_hidden: Tensor | None, ref_head: Tensor | OutputHead | None, hidden: Tensor, policy: OutputHead
) -> Side:
    if ref_hidden is None or ref_head is None:
        given, missing = ("ref_head", "ref_hidden") if ref_hidden is None else ("ref_hidden", "ref_head")
        raise UsageError(f"{given} was given without {missing}: give both for a reference, or neither")
    reference = as_head(ref_head)
    check_hidden(ref_hidden, reference, "ref_hidden")
    if len(ref_hidden) != len(hidden):
        raise UsageError(
            f"ref_hidden has {len(ref_hidden)} tokens and hidden has {len(hidden)}: run both models "
            "on the same text"
        )
    if reference.n_vocab != policy.n_vocab:
        raise UsageError(
            f"the reference has {reference.n_vocab} tokens and the policy {policy.n_vocab}: compare models "
            "of one tokenizer, and give vocab_size where a head is padded"
        )
    return ref_hidden, reference


def _in_slices(
    sides: Sequence[Side], targets: Tensor, temperatures: Sequence[float]
) -> list[dict[str, Tensor]]:
    """Fields of TokenStatistics at each temperature, some tokens at a time."""
    size, fields_of = _way_for(sides, targets)
    slices = [
        fields_of(*_moved(sides, targets, slice(start, start + size)), temperatures)
        for start in range(0, max(1, len(targets)), size)
    ]
    return [
        {name: torch.cat([part[name] for part in of_temperature]) for name in of_temperature[0]}
        for of_temperature in zip(*slices, strict=True)
    ]


def _way_for(sides: Sequence[Side], targets: Tensor) -> tuple[int, FieldsOf]:
    """How many tokens to score at once, and how: fused where that runs, which its first token tells."""
    if fused.is_usable(_moved(sides, targets, slice(0, 1))[0]):
        return fused.MOST_TOKENS, fused.statistics
    return tokens_in_tile(sides[0][1]), _in_a_tile


def _in_a_tile(
    sides: Sequence[Side], targets: Tensor, temperatures: Sequence[float]
) -> list[dict[str, Tensor]]:
    return statistics_of(sums_of(sides, targets, temperatures))


def _moved(sides: Sequence[Side], targets: Tensor, tokens: slice) -> tuple[list[Side], Tensor]:
    """Some of the tokens, where the heads are."""
    device = sides[0][1].weight.device
    moved = [(hidden[tokens].to(head.weight.device), head) for hidden, head in sides]
    return moved, targets[tokens].to(device, torch.long)


def shannon_entropy(log_p: Tensor) -> Tensor:
    """−Σ p log p in nats of log-probabilities [..., V]; 0·log 0 is 0, in the gradient too."""
    return -(log_p.exp() * log_p.clamp(min=_NO_PROBABILITY)).sum(dim=-1)
