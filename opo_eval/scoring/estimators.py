"""Estimators of a KL divergence from the log-probabilities of sampled tokens alone.

All estimate KL(policy‖reference) from tokens drawn from the policy: the mean over tokens is the estimate, a
single value is not a divergence. For the other direction swap the arguments, and draw the tokens from the
reference. The gradient is kept. `token_stats` gives the divergence itself.
Source: J. Schulman, "Approximating KL Divergence" (2020), http://joschu.net/blog/kl-approx.html.
"""

import torch
from torch import Tensor


def k1(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    """k1 of KL(policy‖reference), nats: log p − log q of every token; unbiased, of either sign."""
    return logprob - ref_logprob


def k2(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    """k2 of KL(policy‖reference), nats: ½ (log p − log q)² of every token; never negative.

    Biased: its mean is the divergence up to terms of the third order in log p − log q.
    """
    return 0.5 * (logprob - ref_logprob) ** 2


def k3(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    """k3 of KL(policy‖reference), nats: r − 1 − log r, r = q/p, of every token; unbiased, never negative."""
    log_ratio = ref_logprob - logprob
    return torch.expm1(log_ratio) - log_ratio
