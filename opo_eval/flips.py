"""Problems that one of two checkpoints solves and the other does not, beside what chance alone would flip.

A problem is solved by more than half of its samples. Chance: the samples of a problem, of both checkpoints
together, are dealt out to the two anew (the exchangeability behind every permutation test), so that the
number of a checkpoint's correct ones is hypergeometric, and the number of flips a sum over problems.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import comb

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """Numbers of problems, of those that both checkpoints have samples of."""

    both: int
    """Solved by both."""
    neither: int
    gained: int
    """Solved by the second only."""
    lost: int
    """Solved by the first only."""
    gained_by_chance: tuple[int, int]
    """Where `gained` lies with so much probability by chance alone: lower and upper end, both included."""
    lost_by_chance: tuple[int, int]


def flips(correct_a: Counts, n_a: Counts, correct_b: Counts, n_b: Counts, *, level: float = 0.95) -> Flips:
    """How many problems flip from `a` to `b`.

    correct_*, n_*: correct samples and all samples of each problem, [P], n at least 1. level: probability of
    the ranges by chance, of which each end leaves out at most half of the rest.
    """
    a, b = 2 * correct_a > n_a, 2 * correct_b > n_b
    cases = zip(*(x.tolist() for x in (correct_a + correct_b, n_a, n_b)), strict=True)
    chances = [_chances(*case) for case in cases]
    return Flips(
        both=int((a & b).sum()),
        neither=int((~a & ~b).sum()),
        gained=int((~a & b).sum()),
        lost=int((a & ~b).sum()),
        gained_by_chance=_range([gained for gained, _ in chances], level),
        lost_by_chance=_range([lost for _, lost in chances], level),
    )


@cache
def _chances(correct: int, n_a: int, n_b: int) -> tuple[float, float]:
    """Probability that a problem is gained, and that it is lost, of so many correct samples of both."""
    gained = lost = 0
    for own in range(max(0, correct - n_b), min(n_a, correct) + 1):
        ways = comb(n_a, own) * comb(n_b, correct - own)
        a, b = 2 * own > n_a, 2 * (correct - own) > n_b
        gained, lost = gained + ways * (b and not a), lost + ways * (a and not b)
    every = comb(n_a + n_b, correct)
    return gained / every, lost / every


def _range(chances: Sequence[float], level: float) -> tuple[int, int]:
    """Central range of the number of events, of events with these probabilities that are independent."""
    of_number = np.ones(1)
    for p in chances:
        of_number = np.convolve(of_number, (1 - p, p))
    below = of_number.cumsum()
    tail = (1 - level) / 2
    low = int(np.searchsorted(below, tail, side="right"))
    high = int(np.searchsorted(below, 1 - tail, side="left"))
    return low, min(high, len(chances))
