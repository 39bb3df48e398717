"""Intervals and tests that opo_eval does not use, for comparison with those that it does."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rng = np.random.Generator


def resampled_samples(correct: Ints, n: int, n_resamples: int, rng: Rng) -> Floats:
    """How many of m problems have 0, ..., n correct of n samples drawn again: [resamples, n + 1].

    correct: [m]. Problems stay, and each one's n samples are drawn with replacement from its own.
    """
    moves = _moves(n)
    sizes = np.bincount(correct, minlength=n + 1)
    drawn = [rng.multinomial(size, moves[c], size=n_resamples) for c, size in enumerate(sizes) if size]
    return np.sum(drawn, axis=0)


def resampled_problems_and_samples(correct: Ints, n: int, n_resamples: int, rng: Rng) -> Floats:
    """The same where the problems are drawn with replacement first: the two-level bootstrap."""
    shares = np.bincount(correct, minlength=n + 1) / len(correct)
    return rng.multinomial(len(correct), shares @ _moves(n), size=n_resamples)


def _moves(n: int) -> Floats:
    """From c correct of n to j correct of n drawn with replacement: [n + 1, n + 1]."""
    moves = stats.binom.pmf(np.arange(n + 1), n, np.arange(n + 1)[:, None] / n)
    return moves / moves.sum(axis=1, keepdims=True)


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Floats:
    """Exact p-values of one sample a problem: [..., problems] → [...] (McNemar 1947)."""
    only_a, only_b = (a & ~b).sum(axis=-1), (b & ~a).sum(axis=-1)
    fewer, both = np.minimum(only_a, only_b), only_a + only_b
    return np.minimum(2 * stats.binom.cdf(fewer, both, 0.5), 1.0)


def paired_t(a: Floats, b: Floats) -> Floats:
    """p-values of problem means: [..., problems] → [...]; 1 where all differences are 0."""
    delta = b - a
    error = stats.sem(delta, axis=-1)
    t = delta.mean(axis=-1) / np.where(error > 0, error, 1.0)
    return 2 * stats.t.sf(np.abs(t), a.shape[-1] - 1)


def unpaired_z(a: Floats, b: Floats) -> Floats:
    """p-values of two independent means of problem means: [..., problems] → [...].

    What lm-evaluation-harness's `scripts/model_comparator.py` does: both standard errors are over problems.
    """
    error = np.hypot(stats.sem(a, axis=-1), stats.sem(b, axis=-1))
    return _two_sided(b.mean(axis=-1) - a.mean(axis=-1), error)


def unpaired_z_of_samples(a: Floats, b: Floats, n: int) -> Floats:
    """p-values that take all m × n samples for independent: two binomial proportions."""
    shares = [x.mean(axis=-1) for x in (a, b)]
    error = np.sqrt(sum(p * (1 - p) for p in shares) / (n * a.shape[-1]))
    return _two_sided(shares[1] - shares[0], error)


def _two_sided(delta: Floats, error: Floats) -> Floats:
    return 2 * stats.norm.sf(np.abs(delta) / np.where(error > 0, error, 1.0))
