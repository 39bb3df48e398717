"""Sums over the vocabulary, a tile of logits at a time: some tokens of a text by a slice of the vocabulary.

Logits are products in float32 (float64 for float64 tensors). Everything after them is in float64: in float32
the KL divergence of two close checkpoints would be rounding error. Every slice is summed with its own
largest logit taken off; `opo_eval.scoring.combine` brings the slices together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opo_eval.scoring.heads import OutputHead

SLICE = 2**12
"""Tokens of the vocabulary in a tile."""
TILE_ELEMENTS = 2**23
"""Logits in a tile: SLICE by as many tokens of the text as this allows, at least one."""
CPU_TILE_ELEMENTS = 2**22
CPU_BLOCK_ELEMENTS = 2**16
"""Logits of a tile that each thread of a CPU works on at once, so that they stay in its cache."""
FAR = 1e250
"""Where a logit of −inf is put below the largest: unlike inf it can be multiplied with a probability of 0."""

Side = tuple[Tensor, OutputHead]
"""Hidden states [t, H] of some tokens, and the head of their model."""


@dataclass(frozen=True)
class Sums:
    """Sums over each of S slices of the vocabulary at each of t tokens, in float64.

    x are the logits of a model, top the largest of the slice, and e = exp((x − top) / temperature). Of two
    models, gap is the policy's x − top less the reference's.
    """

    temperatures: tuple[float, ...]
    top: Tensor
    """[models, S, t]; −inf where a slice has nothing else."""
    chosen: Tensor
    """Logit of the target, [models, t]."""
    total: Tensor
    """Σ e, [temperatures, models, S, t]."""
    others: Tensor
    """Σ e of all but the largest, which alone have e = 1: in the total they may be lost."""
    moment: Tensor
    """Σ e·(x − top)."""
    cross: Tensor
    """Σ e·gap."""
    gap: Tensor
    """Least and largest gap, [2, S, t]."""


def tokens_in_tile(head: OutputHead) -> int:
    """Tokens of a text that are scored together."""
    elements = CPU_TILE_ELEMENTS if head.weight.device.type == "cpu" else TILE_ELEMENTS
    return max(1, elements // min(SLICE, head.n_vocab))


def sums_of(sides: Sequence[Side], targets: Tensor, temperatures: Sequence[float]) -> Sums:
    """Sums for one or two models over one vocabulary; targets: [t], on the first head's device."""
    n_vocab = sides[0][1].n_vocab
    sums = _empty(len(sides), -(-n_vocab // SLICE), targets, temperatures)
    for place, start in enumerate(range(0, n_vocab, SLICE)):
        logits = [_logits(side, start).to(targets.device) for side in sides]
        for model, x in enumerate(logits):
            sums.top[model, place] = x.amax(dim=-1)
            _keep_chosen(sums.chosen[model], x, targets - start)
        _add_slice(sums, place, logits)
    return sums


def _empty(n_models: int, n_slices: int, targets: Tensor, temperatures: Sequence[float]) -> Sums:
    def empty(*shape: int) -> Tensor:
        return torch.empty(*shape, len(targets), dtype=torch.float64, device=targets.device)

    total, others, moment, cross = empty(4, len(temperatures), n_models, n_slices)
    return Sums(
        temperatures=tuple(temperatures),
        top=empty(n_models, n_slices),
        chosen=empty(n_models),
        total=total,
        others=others,
        moment=moment,
        cross=cross,
        gap=empty(2, n_slices),
    )


def _logits(side: Side, start: int) -> Tensor:
    """Logits [t, v] of the slice of the vocabulary from `start` on; float64 where a formula follows."""
    hidden, head = side
    rows = slice(start, min(start + SLICE, head.n_vocab))
    bias = None if head.bias is None else head.bias[rows]
    part = replace(head, weight=head.weight[rows], bias=bias, vocab_size=None)
    is_product = bias is None and head.scale == 1 and head.softcap is None
    return part.logits(hidden, None if is_product else torch.float64)


def _keep_chosen(chosen: Tensor, logits: Tensor, places: Tensor) -> None:
    """Take the targets' logits from the slice that holds them; places: [t] in it, or outside."""
    width = logits.shape[1]
    found = logits.gather(-1, places.clamp(0, width - 1)[:, None])[:, 0].to(chosen)
    torch.where((places >= 0) & (places < width), found, chosen, out=chosen)


def _add_slice(sums: Sums, place: int, logits: Sequence[Tensor]) -> None:
    top = sums.top[:, place]
    finite_top = top.where(top.isfinite(), 0.0)  # −inf less −inf would not be −inf
    for rows in _blocks(logits[0]):
        shifted = [_shifted(x[rows], t[rows]) for x, t in zip(logits, finite_top, strict=True)]
        gap = shifted[0] - shifted[1] if len(shifted) == 2 else None
        if gap is not None:
            torch.amin(gap, dim=-1, out=sums.gap[0, place, rows])
            torch.amax(gap, dim=-1, out=sums.gap[1, place, rows])
        _add_block(sums, place, rows, shifted, gap)


def _blocks(logits: Tensor) -> Iterator[slice]:
    n_tokens, width = logits.shape
    size = max(1, n_tokens)
    if logits.device.type == "cpu":
        size = max(1, CPU_BLOCK_ELEMENTS * torch.get_num_threads() // width)
    return (slice(start, start + size) for start in range(0, n_tokens, size))


def _shifted(logits: Tensor, top: Tensor) -> Tensor:
    """In float64, in place where they are: nobody reads them again."""
    return logits.double().sub_(top[:, None]).clamp_(min=-FAR)


def _add_block(sums: Sums, place: int, rows: slice, shifted: Sequence[Tensor], gap: Tensor | None) -> None:
    for i, temperature in enumerate(sums.temperatures):
        for model, x in enumerate(shifted):
            here = i, model, place, rows
            e = x.exp() if temperature == 1 else (x / temperature).exp_()
            torch.sum(e, dim=-1, out=sums.total[here])
            if gap is not None:
                torch.sum(e * gap, dim=-1, out=sums.cross[here])
            e.frac_()  # from here on 0 where it was 1; the largest add nothing to the moment either
            torch.sum(e, dim=-1, out=sums.others[here])
            torch.sum(e.mul_(x), dim=-1, out=sums.moment[here])
