"""Exact entropy and KL: what scoring takes on the CPU and on a GPU, and what logging costs the trainer."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import _scoring_cpu as cpu
import _scoring_gpu as gpu
import _scoring_training as training
import torch
import tyro
from _tables import machine, markdown_table, write_report

from opo_eval.wording import counted

VOCABULARY, HIDDEN = 151_936, 896
MOST_TIME, MOST_MEMORY, MOST_OF_STEP = 0.8, 0.1, 0.15
MOST_OF_ONE, MOST_OF_TWO, MOST_BYTES, MOST_OF_FORWARD = 1.3, 1.5, 1e9, 0.15

Claim = tuple[str, str, str]
"""What, measured, wanted."""


@dataclass
class Race:
    """How much is scored how often."""

    tokens: int = 512
    """On the CPU."""
    repeats: int = 5
    steps: int = 30
    """Training steps of each contestant."""
    threads: int = os.cpu_count() or 1
    """On the CPU; the trainer has as many as in its study."""

    def __call__(self) -> None:
        """Race and report."""
        load = os.getloadavg()[0]
        costs = cpu.taking_turns(cpu.Size(VOCABULARY, HIDDEN, self.tokens, self.threads), self.repeats)
        logged = training.run_race(self.steps)
        on_gpu, claims = gpu_section(self.repeats)
        blocks = [
            "# Speed: exact entropy and KL",
            "`token_stats` from last hidden states and output heads, without the logits of all tokens ever "
            "existing. What was wanted of it:",
            summary([*cpu_claims(costs), *training_claims(logged), *claims]),
            *cpu_section(self, costs),
            *training_section(self, logged),
            *on_gpu,
            f"{machine(['torch', 'transformers'])} Load average when this began: {load:.1f}.",
        ]
        given = f"--tokens {self.tokens} --repeats {self.repeats} --steps {self.steps}"
        write_report("scoring", blocks, f"{given} --threads {self.threads}")


def summary(claims: Sequence[Claim]) -> str:
    """The table of what was wanted."""
    return markdown_table(["", "measured", "wanted"], claims)


# --- CPU --------------------------------------------------------------------------------------------


def cpu_claims(costs: cpu.Costs) -> list[Claim]:
    """Against the naive path."""
    pairs = {"one model": (cpu.OURS_ONE, cpu.NAIVE_ONE), "two models": (cpu.OURS_TWO, cpu.NAIVE_TWO)}
    claims = []
    for what, (ours, naive) in pairs.items():
        time = cpu.seconds(costs, ours) / cpu.seconds(costs, naive)
        memory = cpu.peak_bytes(costs, ours) / cpu.peak_bytes(costs, naive)
        claims += [
            (f"CPU, {what}: time of the naive path", f"{time:.2f}×", f"≤ {MOST_TIME}×"),
            (f"CPU, {what}: memory of the naive path", percent(memory), f"≤ {100 * MOST_MEMORY:.0f} %"),
        ]
    return claims


def percent(share: float) -> str:
    """With a digit after the point."""
    return f"{100 * share:.1f} %"


def cpu_section(race: Race, costs: cpu.Costs) -> list[str]:
    """Times, memory and errors."""
    return [
        "## CPU",
        f"Vocabulary {VOCABULARY:,}, hidden {HIDDEN}, {counted(race.tokens, 'token')}, float32, "
        f"{counted(race.threads, 'thread')}. Medians of {counted(race.repeats, 'run')} (least to most), each "
        "a process of its own and in alternating order; a process runs its contestant twice, first for the "
        "memory (resident set at its largest, beyond what it was with weights and inputs loaded), then for "
        "the time on the wall clock. *Naive*: all logits, log_softmax, the targets' log-probabilities and "
        "−Σ p log p; with two models both of all that, and KL in both directions. *Error*: largest "
        "difference of any statistic to the naive path in float64, products included, at the first "
        f"{cpu.CHECKED_TOKENS} tokens.",
        cpu.table(costs),
    ]


# --- trainer ----------------------------------------------------------------------------------------


def training_claims(race: training.Race) -> list[Claim]:
    """As a share of a step."""
    every = {training.TrainConfig.kl_every: "the default"}
    every |= {training.study_settings()["kl_every"]: "as in the study"}
    return [
        (
            f"trainer: share of a step, KL every {counted(n, 'step')}, {which}",
            percent(race.share_if_kl_every(n)),
            f"≤ {100 * MOST_OF_STEP:.0f} %",
        )
        for n, which in every.items()
    ]


def training_section(race: Race, logged: training.Race) -> list[str]:
    """What a step takes with and without the statistics."""
    return [
        "## What logging costs the trainer",
        "OPO on the tiny model with the settings of the miniature study "
        f"(`benchmarks/studies/miniature.toml`), {counted(training.study_settings()['threads'], 'thread')}; "
        f"medians of {counted(race.steps, 'step')} after {training.WARM_UP} to warm up, on the wall clock. "
        "All contestants take the same steps in turns and end with the same weights, bit for bit: what is "
        "logged has no part in the training. *More than without* is the median of the differences, step "
        "against step. KL to the starting policy needs that policy's forward pass, whether it is exact or "
        "estimated from the sampled tokens: that is the phase `reference`. The sums over the vocabulary are "
        "in `update`.",
        training.table(logged),
    ]


# --- GPU --------------------------------------------------------------------------------------------


def gpu_section(repeats: int) -> tuple[list[str], list[Claim]]:
    """Tables and claims; without a GPU the claims are open."""
    if not torch.cuda.is_available():
        sentence = (
            "There was no GPU where this page was made, so nothing here says how fast scoring is on one: the "
            "claims about it are open. The same command measures them where torch finds a GPU."
        )
        return ["## GPU", sentence], gpu_claims(None, None)
    (costs, missing), response = gpu.run_race(repeats), gpu.response_costs(repeats)
    blocks = [
        "## GPU",
        f"{gpu.gpu_name()}: vocabulary {gpu.VOCABULARY:,}, hidden {gpu.HIDDEN:,}, {gpu.TOKENS:,} tokens, "
        f"bfloat16. Medians of {repeats} runs in turns. *Extra memory*: allocated at most, beyond weights "
        "and inputs.",
        gpu.table(costs),
        *(f"Not measured: {peer} ({reason})." for peer, reason in missing.items()),
        f"A random model of Qwen2.5-7B's shape, one response of {gpu.RESPONSE:,} tokens: forward pass "
        f"{response['forward']:.3g} s, scoring {response['scoring']:.3g} s.",
    ]
    return blocks, gpu_claims(costs, response)


def gpu_claims(costs: dict[str, gpu.Cost] | None, response: dict[str, float] | None) -> list[Claim]:
    """Against the bare products and the forward pass."""
    one = two = memory = added = "open: no GPU"
    if costs and response:
        one = f"{costs[gpu.OURS_ONE].seconds / costs[gpu.ONE].seconds:.2f}×"
        two = f"{costs[gpu.OURS_TWO].seconds / costs[gpu.TWO].seconds:.2f}×"
        most = max(costs[name].peak_bytes for name in (gpu.OURS_ONE, gpu.OURS_TWO))
        memory, added = f"{most / 1e9:.2f} GB", percent(response["scoring"] / response["forward"])
    return [
        ("GPU, one model: time of the bare product", one, f"≤ {MOST_OF_ONE}×"),
        ("GPU, two models: time of the two products", two, f"≤ {MOST_OF_TWO}×"),
        ("GPU: extra memory", memory, f"≤ {MOST_BYTES / 1e9:.0f} GB"),
        ("GPU, 7B: added to the forward pass", added, f"≤ {100 * MOST_OF_FORWARD:.0f} %"),
    ]


if __name__ == "__main__":
    tyro.cli(Race, description=__doc__)()
