"""What verl and TRL make of last hidden states in bfloat16, step by step, beside the exact value.

Each function takes what enters a tool's output head, with the head's weight, and rounds where the tool
rounds. What the tool rounds in float32 is left in float64 here, so that one sees what bfloat16 costs.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from opo_eval.scoring import OutputHead, token_stats


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What was computed at every token of a batch, [N] float64, nats."""

    entropy: Tensor
    logprob: Tensor
    ref_logprob: Tensor | None = None


Precision = Callable[[Tensor, Tensor, Tensor, float], Tokens]
"""Of hidden states [N, H], the head's weight [V, H], targets [N] and temperature."""


def to_bfloat16(x: Tensor) -> Tensor:
    """Rounded, and float64 again."""
    return x.bfloat16().double()


def of_logits(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tokens:
    """The exact statistics of logits [N, V] that are there."""
    identity = torch.eye(logits.shape[1], dtype=torch.float64)  # a head that hands its hidden states on
    found = token_stats(logits.double(), identity, targets, temperature=temperature)
    return Tokens(entropy=found.entropy, logprob=found.logprob)


def exact(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tokens:
    """Nothing rounded after the products."""
    found = token_stats(hidden, OutputHead(weight), targets, temperature=temperature)
    return Tokens(entropy=found.entropy, logprob=found.logprob)


def bfloat16_logits(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tokens:
    """The logits rounded; temperature and all after it in float32 (TRL)."""
    return of_logits(_products(hidden, weight), targets, temperature)


def verl_chunked(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tokens:
    """Entropy of the rounded logits in float32; log-probabilities in bfloat16."""
    scaled = _scaled(hidden, weight, temperature)
    return Tokens(entropy=of_logits(scaled, targets).entropy, logprob=_bfloat16_logprob(scaled, targets))


def verl_compiled(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tokens:
    """Entropy log Z − Σ p x of the rounded logits x, where Σ p x is rounded, and the difference again."""
    scaled = _scaled(hidden, weight, temperature)
    found = of_logits(scaled, targets)
    log_z = scaled.double().gather(-1, targets[:, None])[:, 0] - found.logprob
    entropy = to_bfloat16(log_z - to_bfloat16(log_z - found.entropy))
    return Tokens(entropy=entropy, logprob=_bfloat16_logprob(scaled, targets))


def verl_eager(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tokens:
    """The same with p, p x and log Z rounded as well."""
    scaled = _scaled(hidden, weight, temperature)
    weighted = (scaled.softmax(dim=-1) * scaled).sum(dim=-1)
    entropy = (scaled.logsumexp(dim=-1) - weighted).double()
    return Tokens(entropy=entropy, logprob=_bfloat16_logprob(scaled, targets))


def verl_fused(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tokens:
    """Rounded logits and temperature, then float32, and the entropy rounded to the hidden states' type."""
    scaled = (_products(hidden, weight).float() / temperature).bfloat16()
    found = of_logits(scaled, targets)
    return Tokens(entropy=to_bfloat16(found.entropy), logprob=found.logprob)


ROUND_TEMPERATURE = (verl_chunked, verl_compiled, verl_eager)


def trl_from_logits(hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> Tokens:
    """Logits, log-probabilities, their products with p and the sum over the vocabulary, all rounded."""
    log_p = (_products(hidden, weight) / temperature).log_softmax(dim=-1)
    entropy = -(log_p.exp() * log_p).sum(dim=-1).double()
    return Tokens(entropy=entropy, logprob=log_p.gather(-1, targets[:, None])[:, 0].double())


def float32_difference(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    """log Z − Σ p x in float32, [N]: two numbers of the logits' size, whose difference is small."""
    x = hidden.float() @ weight.float().T / temperature
    return (x.logsumexp(dim=-1) - (x.softmax(dim=-1) * x).sum(dim=-1)).double()


def _products(hidden: Tensor, weight: Tensor) -> Tensor:
    return (hidden.bfloat16().double() @ weight.bfloat16().double().T).float().bfloat16()


def _scaled(hidden: Tensor, weight: Tensor, temperature: float) -> Tensor:
    return _products(hidden, weight) / torch.tensor(temperature).bfloat16()


def _bfloat16_logprob(scaled: Tensor, targets: Tensor) -> Tensor:
    return scaled.log_softmax(dim=-1).gather(-1, targets[:, None])[:, 0].double()
