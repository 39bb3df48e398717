"""Differences between two sets that have nothing to do with each other: published values, then simulation."""

import numpy as np
import pytest
from scipy import stats
from stats.enumerated import rng

from opo_eval.stats.independent import mean_difference, share_difference, wilson


def test_newcombes_own_example() -> None:
    """Newcombe (1998), table II, case (a), method 10: 56/70 against 48/80, 0.0524 to 0.3339."""
    interval, p = share_difference(48, 80, 56, 70)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0524, 0.3339)
    assert 0.005 < p < 0.015


def test_wilson_of_nothing_and_of_all() -> None:
    """0 of 10: the upper end is z²/(n + z²)."""
    assert wilson(0, 10).low == 0.0 and wilson(0, 10).high == pytest.approx(3.8415 / 13.8415, abs=1e-4)
    assert wilson(10, 10).high == 1.0


def test_coverage_and_size() -> None:
    generator, covered, rejected = rng(0), 0, 0
    for _ in range(200):
        a, b = generator.beta(2, 5, 30), generator.beta(2, 5, 20)
        interval, p = mean_difference(a, b, rng=generator)
        assert interval is not None and p is not None
        covered, rejected = covered + (interval.low <= 0 <= interval.high), rejected + (p < 0.05)
    assert covered / 200 > 0.95 - 4 * np.sqrt(0.05 * 0.95 / 200)
    assert rejected / 200 < 0.05 + 4 * np.sqrt(0.05 * 0.95 / 200)


def test_they_are_scipys_intervals_and_p_values() -> None:
    generator = rng(3)
    a, b = generator.normal(0, 1, 12), generator.normal(0.7, 2, 9)
    interval, p = mean_difference(a, b, rng=generator)
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    assert interval is not None and (interval.low, interval.high) == pytest.approx(tuple(expected), rel=1e-12)
    exact = stats.permutation_test(
        (a, b), lambda a, b: b.mean() - a.mean(), n_resamples=19_999, rng=generator
    )
    assert p == pytest.approx(exact.pvalue, abs=4 * np.sqrt(0.25 / 9_999))


def test_few_or_alike_values() -> None:
    assert mean_difference([0.5], [0.1, 0.2], rng=rng(0)) == (None, None)
    assert mean_difference([0.5, 0.5], [0.5, 0.5], rng=rng(0)) == (None, 1.0)
