"""Scoring on the CPU: time, memory and error of one contestant in a process of its own."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from _tables import duration, markdown_table
from torch import Tensor

from opo_eval.scoring import TokenStatistics, token_stats

CHECKED_TOKENS = 16
"""Compared with float64."""
WARM_UP_TOKENS, WARM_UP_VOCABULARY = 8, 64
BARE, NAIVE_ONE, OURS_ONE, NAIVE_TWO, OURS_TWO = (
    "bare product",
    "naive, one model",
    "opo_eval, one model",
    "naive, two models",
    "opo_eval, two models",
)


class Size(NamedTuple):
    """What is scored."""

    vocabulary: int
    hidden: int
    tokens: int
    threads: int


class Side(NamedTuple):
    """A model's hidden states [T, H] and the weight [V, H] of its head."""

    hidden: Tensor
    weight: Tensor


class Cost(NamedTuple):
    """What one contestant took once."""

    seconds: float
    peak_bytes: int
    """Resident set at its largest, beyond what weights and inputs already held."""
    error: float | None
    """Largest difference to float64, nats."""


# --- contestants ------------------------------------------------------------------------------------


def bare(sides: Sequence[Side], targets: Tensor) -> None:
    """The logits of one model and nothing else."""
    sides[0].hidden @ sides[0].weight.T


def log_softmax(side: Side) -> Tensor:
    """Log-probabilities of the whole vocabulary at all tokens."""
    return (side.hidden @ side.weight.T).log_softmax(dim=-1)


def naive(sides: Sequence[Side], targets: Tensor) -> TokenStatistics:
    """By definition, in the type of the tensors."""
    log_ps = [log_softmax(side) for side in sides]
    ps = [log_p.exp() for log_p in log_ps]
    chosen = [log_p.gather(-1, targets[:, None])[:, 0] for log_p in log_ps]
    entropies = [-(p * log_p).sum(dim=-1) for p, log_p in zip(ps, log_ps, strict=True)]
    if len(sides) == 1:
        return TokenStatistics(logprob=chosen[0], entropy=entropies[0])
    return TokenStatistics(
        logprob=chosen[0],
        entropy=entropies[0],
        ref_logprob=chosen[1],
        ref_entropy=entropies[1],
        kl=(ps[0] * (log_ps[0] - log_ps[1])).sum(dim=-1),
        reverse_kl=(ps[1] * (log_ps[1] - log_ps[0])).sum(dim=-1),
    )


def ours(sides: Sequence[Side], targets: Tensor) -> TokenStatistics:
    """token_stats."""
    policy, *reference = sides
    words = {"ref_hidden": reference[0].hidden, "ref_head": reference[0].weight} if reference else {}
    return token_stats(policy.hidden, policy.weight, targets, **words)


Contestant = Callable[[Sequence[Side], Tensor], TokenStatistics | None]
CONTESTANTS: dict[str, tuple[Contestant, int]] = {
    BARE: (bare, 1),
    NAIVE_ONE: (naive, 1),
    OURS_ONE: (ours, 1),
    NAIVE_TWO: (naive, 2),
    OURS_TWO: (ours, 2),
}
"""With the number of models that each scores."""


# --- one process ------------------------------------------------------------------------------------


@torch.no_grad()
def cost(name: str, size: Size) -> Cost:
    """Run a contestant twice: the first time for its memory, the second for its time."""
    torch.set_num_threads(size.threads)
    contestant, n_models = CONTESTANTS[name]
    sides, targets = inputs(size, n_models)
    few = targets[:WARM_UP_TOKENS] % WARM_UP_VOCABULARY
    contestant([first(side, len(few), WARM_UP_VOCABULARY) for side in sides], few)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    before = resident("VmRSS")
    found = contestant(sides, targets)
    peak = resident("VmHWM") - before
    started = time.perf_counter()
    contestant(sides, targets)
    return Cost(time.perf_counter() - started, peak, None if found is None else error(found, sides, targets))


def inputs(size: Size, n_models: int) -> tuple[list[Side], Tensor]:
    """Logits of standard deviation 2; a reference like a checkpoint some steps before the policy."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(size.tokens, size.hidden, generator=generator)
    weight = torch.randn(size.vocabulary, size.hidden, generator=generator).mul_(2 / size.hidden**0.5)
    targets = torch.randint(size.vocabulary, (size.tokens,), generator=generator)
    sides = [Side(hidden, weight)]
    if n_models == 2:
        noise = torch.randn(size.tokens, size.hidden, generator=generator)
        sides.append(Side(hidden + 0.1 * noise, weight + 1e-3 / size.hidden**0.5))
    return sides, targets


def first(side: Side, n_tokens: int, n_vocab: int) -> Side:
    """A corner of it."""
    return Side(side.hidden[:n_tokens], side.weight[:n_vocab])


def resident(field: str) -> int:
    """Bytes of this process's resident set: VmRSS now, VmHWM at its largest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def error(found: TokenStatistics, sides: Sequence[Side], targets: Tensor) -> float:
    """Largest difference of any statistic to float64 from the product on, at the first tokens."""
    doubled = [Side(side.hidden[:CHECKED_TOKENS].double(), side.weight.double()) for side in sides]
    expected = naive(doubled, targets[:CHECKED_TOKENS])
    names = [name for name in TokenStatistics.__slots__ if getattr(expected, name) is not None]
    pairs = [(getattr(found, name)[:CHECKED_TOKENS], getattr(expected, name)) for name in names]
    return max(float((got - wanted).abs().max()) for got, wanted in pairs)


# --- the race ---------------------------------------------------------------------------------------

Costs = dict[str, list[Cost]]


def taking_turns(size: Size, repeats: int) -> Costs:
    """Run each so many times, every other round in reverse order."""
    costs: Costs = {name: [] for name in CONTESTANTS}
    for turn in range(repeats):
        for name in list(CONTESTANTS)[:: -1 if turn % 2 else 1]:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                costs[name].append(process.submit(cost, name, size).result())
    return costs


def seconds(costs: Costs, name: str) -> float:
    """Median."""
    return median(cost.seconds for cost in costs[name])


def peak_bytes(costs: Costs, name: str) -> float:
    """Median."""
    return median(cost.peak_bytes for cost in costs[name])


def row(costs: Costs, name: str) -> tuple[object, ...]:
    """A contestant's times, memory and error."""
    times = [cost.seconds for cost in costs[name]]
    errors = [cost.error for cost in costs[name] if cost.error is not None]
    return (
        name,
        f"{duration(median(times))} ({duration(min(times))} to {duration(max(times))})",
        f"{peak_bytes(costs, name) / 1e6:,.0f} MB",
        f"{max(errors):.1e}" if errors else "",
    )


def table(costs: Costs) -> str:
    """All contestants."""
    header = ("", "time", "memory beyond weights and inputs", "largest error, nats")
    return markdown_table(header, [row(costs, name) for name in costs])
