"""What `token_stats` gives, from fused Triton kernels: on Hopper GPUs and newer, for heads in half precision.

Products are summed in float32. What follows agrees with float64 sums over the same logits to 1e-6 of every
statistic or 1e-8 nats; `opo_eval.scoring.fused_kernel` says how. A probability of less than 1e-37 of the
largest counts as about that.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from math import inf, log, nan
from typing import Any, NamedTuple

import torch
from torch import Tensor

from opo_eval.errors import InputError
from opo_eval.scoring.chunks import check_top
from opo_eval.scoring.heads import OutputHead
from opo_eval.scoring.tiles import Side

SUMS_BYTES = 2**28
"""Memory for the sums of tiles until they are merged."""
MOST_TOKENS = 2**11
"""Tokens that are scored at once: their hidden states stay in the GPU's cache while the weights pass by."""
RELATIVE, ABSOLUTE = 1e-6, 1e-8
"""How far a statistic may be from the float64 sums: the larger of the two."""
_TRIED = (1.0, 0.6)
_MERGED_TOKENS, _MERGED_TILES = 16, 64


@dataclass(frozen=True)
class Blocks:
    """Size of a tile of logits, width of its products, and how the compiler spreads it over the processor."""

    tokens: int = 128
    vocab: int = 128
    width: int = 64
    warps: int = 8
    stages: int = 4


BLOCKS = {1: Blocks(vocab=256), 2: Blocks()}
"""By the number of models: the logits of both have to fit the registers."""


class _Tiles(NamedTuple):
    """What `sum_tiles` writes, of T tokens; it has the shapes."""

    tops: Tensor
    chosen: Tensor
    excluded: Tensor
    centres: Tensor
    sums: Tensor


class _Merged(NamedTuple):
    """Over the whole vocabulary, of T tokens."""

    highest: Tensor
    """Largest logit, [models, T]."""
    chosen: Tensor
    """Logit of the target, [models, T]."""
    excluded: Tensor
    """1 where the other model gives −inf to what this one does not, [models, T]."""
    masses: Tensor
    """Σ e^a without one of the largest, and Σ e^a·a, [temperatures, models, 2, T]."""
    divergences: Tensor
    """From this model to the other, [temperatures, models, T]."""


# --- where it can be used ---------------------------------------------------------------------------


def is_usable(sides: Sequence[Side]) -> bool:
    """Whether `statistics` takes these models, and was seen to give the right numbers on their GPU.

    It is tried once on every device, and warns if it fails there.
    """
    first, head = sides[0]
    return (
        all(x.device == first.device and other.scale == head.scale for x, other in sides)
        and all(_is_taken(*side) for side in sides)
        and _runs_on(first.device)
        and all(_is_right_on(first.device, x.dtype) for x, _ in sides)
    )


def _is_taken(hidden: Tensor, head: OutputHead) -> bool:
    is_plain = len(hidden) > 0 and head.bias is None and head.softcap is None and 0 < head.scale < inf
    is_half = hidden.dtype == head.weight.dtype and hidden.dtype in (torch.bfloat16, torch.float16)
    is_here = hidden.device == head.weight.device
    return is_plain and is_half and is_here and _is_aligned(hidden) and _is_aligned(head.weight)


def _is_aligned(x: Tensor) -> bool:
    """Every row begins at a multiple of 16 bytes, as the GPU's copy engine wants it."""
    return x.stride(1) == 1 and x.stride(0) * x.itemsize % 16 == 0 and x.data_ptr() % 16 == 0


def _runs_on(device: torch.device) -> bool:
    if device.type != "cuda" or torch.version.hip is not None or find_spec("triton") is None:
        return False
    return torch.cuda.get_device_capability(device) >= (9, 0)


@cache
def _is_right_on(device: torch.device, dtype: torch.dtype) -> bool:
    """Try a small case of one and of two models; warn if it comes out wrong, or not at all."""
    try:
        wrong = {name for n_models in (1, 2) for name in _wrong_fields(device, dtype, n_models)}
        reason = f"its {', '.join(sorted(wrong))} differ from float64 sums" if wrong else None
    except Exception as error:  # the compiler and the driver have many classes of errors
        reason = f"it fails with {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
    if reason:
        warnings.warn(
            f"the fused kernel is not used on {device}, where {reason}; scoring goes on without it",
            RuntimeWarning,
            stacklevel=2,
        )
    return reason is None


def _wrong_fields(device: torch.device, dtype: torch.dtype, n_models: int) -> list[str]:
    """Names of statistics that are not those of the float64 sums, made on the CPU."""
    from opo_eval.scoring.exact import token_stats  # which itself comes here

    sides, targets = _small_case(dtype, n_models)
    there = [(hidden.to(device), OutputHead(head.weight.to(device))) for hidden, head in sides]
    (hidden, head), (ref_hidden, ref_head) = [*sides, (None, None)][:2]
    wrong = []
    for temperature, found in zip(_TRIED, statistics(there, targets.to(device), _TRIED), strict=True):
        expected = token_stats(
            hidden, head, targets, ref_hidden=ref_hidden, ref_head=ref_head, temperature=temperature
        )
        wrong += [
            name
            for name, x in found.items()
            if not torch.allclose(x.cpu(), getattr(expected, name), rtol=RELATIVE, atol=ABSOLUTE)
        ]
    return wrong


def _small_case(dtype: torch.dtype, n_models: int) -> tuple[list[Side], Tensor]:
    """A policy and perhaps a reference, near and far from it, of sizes that are no multiple of a block's."""
    rng = torch.Generator().manual_seed(0)
    n_tokens, n_vocab = 136, 515
    policy = 3 * torch.randn(n_tokens, n_vocab, generator=rng)
    distance = torch.tensor([1e-3, 0.1, 3.0]).repeat(n_tokens)[:n_tokens, None]
    reference = policy + distance * torch.randn(n_tokens, n_vocab, generator=rng)
    targets = torch.randint(n_vocab, (n_tokens,), generator=rng)
    return [_as_products(logits, dtype) for logits in (policy, reference)[:n_models]], targets


def _as_products(logits: Tensor, dtype: torch.dtype) -> Side:
    """Three parts of every logit, of which the products are in sum the logit, in any order and unrounded."""
    logits = (logits * 2**18).round() / 2**18  # of which float16 has all digits
    high = logits.to(dtype)
    middle = (logits - high).to(dtype)
    low = (logits - high - middle).to(dtype)
    one_each = torch.eye(len(logits), dtype=dtype)
    return one_each.repeat(1, 3), OutputHead(torch.cat([high, middle, low]).T.contiguous())


# --- using it ---------------------------------------------------------------------------------------


@torch.no_grad()
def statistics(
    sides: Sequence[Side], targets: Tensor, temperatures: Sequence[float], blocks: Blocks | None = None
) -> list[dict[str, Tensor]]:
    """Fields of TokenStatistics, float64 [T] each, at each temperature, of models that `is_usable` takes.

    sides: hidden states [T, H] and head of the policy and, where there is one, of the reference. targets:
    [T], on the same device. Raises InputError for logits that are no distribution, and for those that divided
    by a temperature are too large.
    """
    blocks = blocks or BLOCKS[len(sides)]
    rates = torch.tensor(
        [sides[0][1].scale / temperature for temperature in temperatures],
        dtype=torch.float64,
        device=targets.device,
    )
    size = _tokens_at_once(sides, len(rates), blocks)
    parts = []
    for start in range(0, len(targets), size):
        rows = slice(start, start + size)
        parts.append(_score([(x[rows], head) for x, head in sides], targets[rows], rates, blocks))
    merged = _Merged(*(torch.cat(of_parts, dim=-1) for of_parts in zip(*parts, strict=True)))
    _check(merged, float(rates.max()))
    return [_statistics(merged, i, rate) for i, rate in enumerate(rates)]


def _tokens_at_once(sides: Sequence[Side], n_temperatures: int, blocks: Blocks) -> int:
    n_models = len(sides)
    n_floats = _n_tiles(sides, blocks) * (n_models + n_temperatures * (2 * n_models**2 + 1))
    return max(1, min(SUMS_BYTES // (4 * n_floats), MOST_TOKENS) // blocks.tokens) * blocks.tokens


def _n_tiles(sides: Sequence[Side], blocks: Blocks) -> int:
    return -(-sides[0][1].n_vocab // blocks.vocab)


def _score(sides: Sequence[Side], targets: Tensor, rates: Tensor, blocks: Blocks) -> _Merged:
    with torch.cuda.device_of(targets):  # kernels are launched on the current device
        tiles = _sum_tiles(sides, targets, rates, blocks)
        highest = tiles.tops.amax(dim=1)
        masses, divergences = _merge(tiles, highest, rates)
    return _Merged(highest, tiles.chosen, tiles.excluded, masses, divergences)


def _sum_tiles(sides: Sequence[Side], targets: Tensor, rates: Tensor, blocks: Blocks) -> _Tiles:
    from opo_eval.scoring.fused_kernel import sum_tiles

    n_models, n_tiles, n_tokens, n_rates = len(sides), _n_tiles(sides, blocks), len(targets), len(rates)
    single = partial(torch.empty, dtype=torch.float32, device=targets.device)
    tiles = _Tiles(
        tops=single(n_models, n_tiles, n_tokens),
        chosen=single(n_models, n_tokens),
        excluded=torch.zeros(n_models, n_tokens, dtype=torch.int8, device=targets.device),
        centres=single(n_rates, n_tiles, n_tokens),
        sums=single(n_rates, n_models, 2 * n_models, n_tiles, n_tokens),
    )
    n_vocab, widths = sides[0][1].n_vocab, [hidden.shape[1] for hidden, _ in sides]
    sum_tiles[(-(-n_tokens // blocks.tokens), n_tiles)](
        *_described(sides, blocks),
        targets,
        rates,
        *tiles,
        n_tokens,
        n_vocab,
        widths[0],
        widths[-1],
        n_rates,
        HAS_REFERENCE=n_models == 2,
        BLOCK_T=blocks.tokens,
        BLOCK_V=blocks.vocab,
        BLOCK_H=blocks.width,
        num_warps=blocks.warps,
        num_stages=blocks.stages,
        enable_fp_fusion=True,
    )
    return tiles


def _described(sides: Sequence[Side], blocks: Blocks) -> list[Any]:
    """Descriptors of hidden states and weight, of the policy and of the reference or None for both."""
    from triton.tools.tensor_descriptor import TensorDescriptor

    described = []
    for hidden, head in sides:
        described.append(TensorDescriptor.from_tensor(hidden, [blocks.tokens, blocks.width]))
        weight = head.weight[: head.n_vocab]
        described.append(TensorDescriptor.from_tensor(weight, [blocks.vocab, blocks.width]))
    return described if len(sides) == 2 else [*described, None, None]


def _merge(tiles: _Tiles, highest: Tensor, rates: Tensor) -> tuple[Tensor, Tensor]:
    from opo_eval.scoring.fused_kernel import merge_distances, merge_masses

    n_models, n_tiles, n_tokens = tiles.tops.shape
    options = {"BLOCK_T": _MERGED_TOKENS, "BLOCK_N": _MERGED_TILES, "enable_fp_fusion": True}
    grid = -(-n_tokens // _MERGED_TOKENS), len(rates)
    masses = rates.new_empty(len(rates), n_models, 2, n_tokens)
    divergences = rates.new_empty(len(rates), n_models, n_tokens)
    merge_masses[(*grid, n_models)](
        tiles.tops, highest, rates, tiles.sums, masses, n_tokens, n_tiles, 2 * n_models, **options
    )
    if n_models == 2:
        merge_distances[grid](
            tiles.tops,
            highest,
            rates,
            tiles.centres,
            tiles.sums,
            masses,
            divergences,
            n_tokens,
            n_tiles,
            **options,
        )
    return masses, divergences


def _check(merged: _Merged, largest_rate: float) -> None:
    """Raise InputError unless the logits of every token are a distribution, and small enough to be summed."""
    from opo_eval.scoring.fused_kernel import LARGEST_POWER, LOWEST

    highest, largest = merged.highest, LARGEST_POWER.value * log(2) / largest_rate
    is_something = highest > LOWEST.value
    beyond = highest[is_something & highest.isfinite() & (highest.abs() > largest)]
    if len(beyond):
        raise InputError(
            f"a logit of {float(beyond[0]):g} is beyond the {largest:g} that the fused kernel can sum at the "
            "lowest temperature: check the weights of the model, or give its hidden states in float32"
        )
    is_nan = merged.masses[:, :, 1].isnan().any(dim=0)
    check_top(highest.where(is_something, -inf).where(~is_nan, nan))


def _statistics(merged: _Merged, i: int, rate: Tensor) -> dict[str, Tensor]:
    rest, moment = merged.masses[i].unbind(dim=1)
    log_sum = rest.log1p()
    logprob = (merged.chosen.double() - merged.highest) * rate - log_sum
    entropy = log_sum - moment / (1 + rest)
    found = {"logprob": logprob[0], "entropy": entropy[0]}
    if len(rest) == 2:
        divergence = merged.divergences[i].clamp(min=0.0).where(merged.excluded == 0, inf)
        found |= {"ref_logprob": logprob[1], "ref_entropy": entropy[1]}
        found |= {"kl": divergence[0], "reverse_kl": divergence[1]}
    return found
