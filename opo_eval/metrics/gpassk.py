"""G-Pass@k: the chance that at least a share tau of k samples is correct; mG-Pass@k: its mean over high tau.

Liu et al. (2024), "Are Your LLMs Capable of Stable Reasoning?": of n samples c are correct and k are drawn
without replacement, so the number of correct ones drawn is hypergeometric.
"""

import math
from collections.abc import Mapping
from functools import lru_cache, partial

import numpy as np
from numpy.typing import ArrayLike

from opo_eval.errors import UsageError
from opo_eval.metrics.core import Metric, ProblemSamples, Value, grade_signature, is_correct, of_correct
from opo_eval.metrics.passk import powers_of_two, require_correct, require_counts, require_subset
from opo_eval.records import Better, Unit

THRESHOLDS = (0.25, 0.5, 0.75, 1.0)
"""The tau that the metric reports."""


def g_pass_at_k(n: ArrayLike, c: ArrayLike, k: int, threshold: float) -> np.ndarray | float:
    """G-Pass@k_tau: the chance that at least ceil(tau k) of k samples, and at least one, are correct.

    n, c: integers or integer arrays. threshold: tau, from 0 (pass@k) to 1 (all k correct). Returns
    float64 of the broadcast shape of n and c.

    Raises UsageError (a ValueError) as `pass_at_k` does, and for a threshold outside 0..1.
    """
    if not 0 <= threshold <= 1:
        raise UsageError(f"threshold {threshold!r} is no share of the k samples: it lies between 0 and 1")
    return _chance_of_at_least(n, c, k)[..., _needed(k, threshold)][()]


def mg_pass_at_k(n: ArrayLike, c: ArrayLike, k: int) -> np.ndarray | float:
    """mG-Pass@k: (2 / k) times the sum of G-Pass@k at tau = i / k for i = ceil(k / 2) + 1, ..., k.

    Raises UsageError (a ValueError) as `pass_at_k` does, and for k = 1, where the sum has no term.
    """
    at_least = _chance_of_at_least(n, c, k)
    if k < 2:
        raise UsageError(f"mG-Pass@{k} is not defined: k is 2 or more")
    return _mean_of_high(at_least, k)


def _needed(k: int, threshold: float) -> int:
    """How many of k samples have to be correct."""
    # 0.28 * 25 is a little more than 7 in binary, and 7 of 25 are enough.
    return max(math.ceil(round(threshold * k, 9)), 1)


def _mean_of_high(at_least: np.ndarray, k: int) -> np.ndarray:
    return 2 / k * at_least[..., math.ceil(k / 2) + 1 :].sum(axis=-1)


def _chance_of_at_least(n: ArrayLike, c: ArrayLike, k: int) -> np.ndarray:
    """P(at least j of k samples are correct) for j = 0, ..., k: float64 [..., k + 1]."""
    n, c = np.broadcast_arrays(*require_counts(n=n, c=c))
    require_correct(n, c)
    require_subset(n, *require_counts(k=k))
    correct = np.arange(k + 1)
    chances = np.broadcast_to(correct == 0, (*n.shape, k + 1)).astype(float)
    for drawn in range(k):
        chances /= (n - drawn)[..., None]
        gained = chances[..., :-1] * np.maximum(c[..., None] - correct[:-1], 0)
        chances *= np.maximum((n - c)[..., None] - (drawn - correct), 0)
        chances[..., 1:] += gained
    return np.cumsum(chances[..., ::-1], axis=-1)[..., ::-1]


# --- the metric -------------------------------------------------------------------------------------


def measure_g_pass_at_k(samples: ProblemSamples) -> Mapping[str, Value]:
    """`g_pass@k_tau`: the chance that at least a share tau of k responses, and at least one, is correct.

    For tau = 0.25, 0.5, 0.75 and 1 and k = 1, 2, 4, ... and n, without bias from all samples of the problem
    (Liu et al. 2024). `mg_pass@k` is 2 / k times the sum over tau = i / k for i = ceil(k / 2) + 1, ..., k; at
    k = 1 there is none. Every problem weighs the same; nothing is left out.
    """
    return _by_name(len(samples.every), sum(map(is_correct, samples.every)), samples.settings.n)


@lru_cache(maxsize=1024)  # many problems have the same counts
def _by_name(n: int, correct: int, most: int) -> Mapping[str, Value]:
    found: dict[str, Value] = {}
    for k in powers_of_two(most):
        names = [f"g_pass@{k}_{tau}" for tau in THRESHOLDS] + [f"mg_pass@{k}"] * (k > 1)
        found |= zip(names, of_correct(partial(_all_at, k), n, correct), strict=True)
    return found


def _all_at(k: int, n: np.ndarray, c: np.ndarray) -> np.ndarray:
    """G-Pass@k at every tau of `THRESHOLDS`, then mG-Pass@k: [..., values], none where k > n."""
    if k > n.min():
        return np.empty((len(n), 0))
    at_least = _chance_of_at_least(n, c, k)
    found = [at_least[:, _needed(k, tau)] for tau in THRESHOLDS] + [_mean_of_high(at_least, k)] * (k > 1)
    return np.stack(found, axis=-1)


G_PASS_AT_K = Metric(
    measure=measure_g_pass_at_k,
    signature=lambda settings: f"g_pass@k|unbiased|n:all>={settings.n}|{grade_signature(settings)}",
    unit=Unit.SHARE,
    better=Better.HIGHER,
    needs_grades=True,
)
