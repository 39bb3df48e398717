"""Scoring on a GPU: against the bare product, beside others' kernels, and as a share of a forward pass."""

import gc
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from _tables import duration, markdown_table
from torch import Tensor

from opo_eval.scoring import last_hidden, output_head, token_stats

VOCABULARY, HIDDEN, TOKENS = 151_936, 3_584, 16_384
RESPONSE = 32_768
SHAPE_7B = {
    "vocab_size": 152_064,
    "hidden_size": HIDDEN,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": RESPONSE,
}
ONE, TWO = "bare product", "two bare products"
OURS_ONE, OURS_TWO = "opo_eval, one model", "opo_eval, two models"
TORCH_ONE, TORCH_TWO = f"{OURS_ONE}, without a kernel", f"{OURS_TWO}, without a kernel"
LIGER, VERL = "Liger's scaled cross-entropy, one model", "verl's linear cross-entropy, one model"
PEERS = {
    LIGER: ("liger_kernel.ops", "LigerFusedLinearScaledCrossEntropyFunction"),
    VERL: ("verl.utils.kernel.linear_cross_entropy", "linear_cross_entropy"),
}


class Cost(NamedTuple):
    """What a contestant takes."""

    seconds: float
    """Median."""
    peak_bytes: int
    """Memory beyond what was held before."""


Run = Callable[[], Any]


def gpu_name() -> str:
    """Of the device that is measured."""
    return torch.cuda.get_device_name()


class Race(NamedTuple):
    """What the contestants take, and why peers that are not among them are missing."""

    costs: dict[str, Cost]
    missing: dict[str, str]


@torch.no_grad()
def run_race(repeats: int, tokens: int = TOKENS) -> Race:
    """All contestants in one process and in turns."""
    runs, missing = contestants(tokens)
    for run in runs.values():
        run()  # compiles what is compiled
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats):
        for name in list(runs)[:: -1 if turn % 2 else 1]:
            times[name].append(elapsed(runs[name]))
    return Race({name: Cost(median(times[name]), peak_bytes(runs[name])) for name in runs}, missing)


def contestants(tokens: int) -> tuple[dict[str, Run], dict[str, str]]:
    """Each on the same tensors, and why peers are missing."""
    hidden, ref_hidden = random(tokens, HIDDEN), random(tokens, HIDDEN)
    weight, ref_weight = random(VOCABULARY, HIDDEN) / HIDDEN**0.5, random(VOCABULARY, HIDDEN) / HIDDEN**0.5
    targets = torch.randint(VOCABULARY, (tokens,), device="cuda")
    reference = {"ref_hidden": ref_hidden, "ref_head": ref_weight}
    runs = {
        ONE: lambda: hidden @ weight.T,
        OURS_ONE: lambda: token_stats(hidden, weight, targets),
        TWO: lambda: (hidden @ weight.T, ref_hidden @ ref_weight.T),
        OURS_TWO: lambda: token_stats(hidden, weight, targets, **reference),
        TORCH_ONE: lambda: without_kernel(hidden, weight, targets),
        TORCH_TWO: lambda: without_kernel(hidden, weight, targets, **reference),
    }
    others, missing = peers(hidden, weight, targets)
    return runs | others, missing


def random(*shape: int) -> Tensor:
    """Standard normal numbers in bfloat16."""
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def without_kernel(*args: Any, **kwargs: Any) -> Any:
    """token_stats in plain torch."""
    with patch("opo_eval.scoring.fused.is_usable", lambda *_: False):
        return token_stats(*args, **kwargs)


def peers(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[dict[str, Run], dict[str, str]]:
    """Kernels of others, log-probability and entropy of one model; of those that do not run here, why."""
    runs: dict[str, Run] = {
        # temperature, ignored target, tiles to a cluster, whether to give the entropy
        LIGER: lambda: peer(LIGER).apply(hidden, weight, targets, 1.0, -100, 1, True),
        VERL: lambda: peer(VERL)(hidden, weight, targets, 1.0, "none"),
    }
    reasons = {name: refusal(run) for name, run in runs.items()}
    running = {name: run for name, run in runs.items() if reasons[name] is None}
    return running, {name: reason for name, reason in reasons.items() if reason is not None}


def peer(name: str) -> Any:
    """A peer's function."""
    home, attribute = PEERS[name]
    return getattr(import_module(home), attribute)


def refusal(run: Run) -> str | None:
    """Why a peer does not run here, in a line; None where it does."""
    try:
        run()
    except ModuleNotFoundError as error:
        return f"{error.name} is not installed"
    except Exception as error:  # whatever a peer raises, the others are measured
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None


def elapsed(run: Run) -> float:
    """Seconds on the GPU."""
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begun.record()
    run()
    ended.record()
    ended.synchronize()
    return begun.elapsed_time(ended) / 1000


def peak_bytes(run: Run) -> int:
    """Memory that a run takes beyond what is held before it."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


# --- a model ----------------------------------------------------------------------------------------


@torch.no_grad()
def response_costs(repeats: int) -> dict[str, float]:
    """Seconds of a 7B model's forward pass over one long response, and of scoring its hidden states."""
    model = random_model()
    tokens = torch.randint(SHAPE_7B["vocab_size"], (1, RESPONSE), device="cuda")
    hidden, targets = last_hidden(model, tokens)[0, :-1], tokens[0, 1:]
    head = output_head(model)
    runs = {
        "forward": lambda: last_hidden(model, tokens),
        "scoring": lambda: token_stats(hidden, head, targets),
    }
    runs["scoring"]()
    times = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(elapsed(run))
    return {name: median(spent) for name, spent in times.items()}


def random_model() -> Any:
    """Of Qwen2.5-7B's shape, with random weights in bfloat16."""
    from transformers import AutoModelForCausalLM, Qwen2Config

    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(Qwen2Config(**SHAPE_7B), dtype=torch.bfloat16)
    return model.eval()


# --- tables -----------------------------------------------------------------------------------------


def table(costs: Mapping[str, Cost]) -> str:
    """All contestants, each as a multiple of the products that it makes."""
    header = ("", "time", "of the bare products", "extra memory")
    return markdown_table(header, [row(costs, name) for name in costs])


def row(costs: Mapping[str, Cost], name: str) -> Sequence[object]:
    """A contestant."""
    cost = costs[name]
    ratio = cost.seconds / costs[TWO if "two" in name else ONE].seconds
    return name, duration(cost.seconds), f"{ratio:.2f}×", f"{cost.peak_bytes / 1e9:.2f} GB"
