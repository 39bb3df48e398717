"""Flips and what chance would flip: by hand, by dealing every hand, by simulation."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom
from stats.enumerated import rng

from opo_eval import flips as module
from opo_eval.flips import flips


def ints(*values: int) -> np.ndarray:
    return np.array(values)


def test_half_is_not_solved_and_each_problem_is_counted_once() -> None:
    found = flips(ints(2, 3, 3, 0, 4), ints(4, 4, 4, 4, 4), ints(3, 1, 4, 2, 3), ints(4, 4, 4, 4, 4))
    assert (found.both, found.neither, found.gained, found.lost) == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("correct", "n_a", "n_b"), [(3, 4, 4), (4, 4, 4), (2, 3, 5), (0, 3, 3), (6, 3, 3), (1, 1, 1)]
)
def test_the_chance_of_a_flip_is_that_of_every_hand(correct: int, n_a: int, n_b: int) -> None:
    samples = [1] * correct + [0] * (n_a + n_b - correct)
    hands = [sum(samples[i] for i in own) for own in combinations(range(n_a + n_b), n_a)]
    gained = np.mean([2 * own <= n_a and 2 * (correct - own) > n_b for own in hands])
    lost = np.mean([2 * own > n_a and 2 * (correct - own) <= n_b for own in hands])
    assert module._chances(correct, n_a, n_b) == pytest.approx((gained, lost), abs=1e-15)


def test_one_sample_each_is_mcnemars_test() -> None:
    """Of 40 problems that differ either way is as likely."""
    a = ints(*[0] * 25, *[1] * 15, *[1] * 30, *[0] * 30)
    found = flips(a, np.ones_like(a), ints(*[1] * 25, *[0] * 15, *[1] * 30, *[0] * 30), np.ones_like(a))
    assert (found.gained, found.lost) == (25, 15)
    assert found.gained_by_chance == found.lost_by_chance == tuple(binom(40, 0.5).interval(0.95))


def test_the_same_checkpoint_twice_is_within_the_range_95_times_in_100() -> None:
    generator, n = rng(1), np.full(60, 8)
    p = generator.uniform(0.1, 0.9, 60)
    trials = [flips(generator.binomial(8, p), n, generator.binomial(8, p), n) for _ in range(400)]
    inside = np.mean([low <= t.gained <= high for t in trials for low, high in [t.gained_by_chance]])
    assert inside > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)
    assert np.mean([t.gained for t in trials]) == pytest.approx(np.mean([t.lost for t in trials]), abs=0.6)


def test_swapping_the_two_swaps_gained_and_lost() -> None:
    generator, n_a, n_b = rng(2), np.full(30, 8), np.full(30, 5)
    a, b = generator.binomial(8, 0.4, 30), generator.binomial(5, 0.6, 30)
    one, other = flips(a, n_a, b, n_b), flips(b, n_b, a, n_a)
    assert (one.gained, one.gained_by_chance) == (other.lost, other.lost_by_chance)
    assert (one.both, one.neither) == (other.both, other.neither)


def test_what_cannot_flip_has_a_range_of_nothing() -> None:
    found = flips(ints(8, 0), ints(8, 8), ints(8, 0), ints(8, 8))
    assert (found.gained_by_chance, found.lost_by_chance) == ((0, 0), (0, 0))
