"""Intervals of shares: the problem that is added, by hand and against scipy, and where all are alike."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from stats.enumerated import bounds, means, rng

from opo_eval.stats import Resampled, all_alike_interval
from opo_eval.stats.shares import with_one_more


def share_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    return bounds(
        Resampled.values(*means(values), shares=[True], rng=rng(), n_resamples=100).intervals(level)[0]
    )


def test_the_problem_that_is_added_by_hand() -> None:
    # 1, 1, ½ and half a 0 and half a 1: 3 of 4; squared deviations 3 · 1/16 + ½ · 9/16 + ½ · 1/16 = ½
    value, error, freedom = with_one_more(*means(np.array([1.0, 1.0, 0.5])))
    assert (value, freedom) == (0.75, 3)
    assert error == pytest.approx(np.sqrt(0.5 / 3 / 4))


@pytest.mark.parametrize("m", [4, 9, 30])
def test_doubled_it_is_scipys_interval_of_a_sample_with_a_zero_and_a_one(m: int) -> None:
    """Every problem twice, then a 0 and a 1: the same mean; its spread, for the number there really is."""
    values = rng(m).beta(0.35, 0.9, size=m)
    doubled = np.concatenate([values, values, [0.0, 1.0]])
    value, error, _ = with_one_more(*means(values))
    assert value == pytest.approx(doubled.mean())
    assert error == pytest.approx(np.sqrt(doubled.var() * (m + 1) / m / (m + 1)))
    expected = scipy_stats.t.interval(0.9, m, loc=doubled.mean(), scale=doubled.std() / np.sqrt(m))
    assert share_interval(values, 0.9) == pytest.approx(expected)


@pytest.mark.parametrize("weight", [2.0, 15.0])
def test_what_all_problems_weigh_does_not_matter(weight: float) -> None:
    num, den = means(rng(1).uniform(size=12))
    np.testing.assert_allclose(with_one_more(weight * num, weight * den), with_one_more(num, den))


def test_a_problem_without_a_value_is_none() -> None:
    num, den = means(rng(2).uniform(size=12))
    more = (np.append(x, [[0.0, 0.0]], axis=1) for x in (num, den))
    np.testing.assert_allclose(with_one_more(*more), with_one_more(num, den))


def test_many_problems_are_left_where_they_are() -> None:
    values = rng(3).beta(0.35, 0.9, size=5000)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval()
    assert share_interval(values) == pytest.approx((expected.low, expected.high), abs=2e-4)


@pytest.mark.parametrize("solved", [29.9, 29.0, 15.0, 0.4])
def test_the_interval_holds_the_value_and_leaves_room_for_what_was_not_met(solved: float) -> None:
    values = np.zeros(30)
    values[: int(solved)] = 1
    values[-1] = solved % 1
    low, high = share_interval(values)
    assert low < values.mean() < high
    assert high - low > 1 / 31


def test_near_the_bound_it_covers_what_the_bootstrap_does_not() -> None:
    """30 problems, of which a 30th cannot be solved and the others nearly always."""
    draws, truth = rng(4), 29 / 30 * 0.995
    values = np.where(draws.random((600, 30)) < 1 / 30, 0.0, 0.99 + 0.01 * draws.random((600, 30)))
    covered = {}
    for shares in (False, True):
        found = Resampled.values(*means(*values), shares=shares, rng=rng(5), n_resamples=500)
        covered[shares] = np.mean([i.low <= truth <= i.high for i in found.intervals(0.95)])
    assert covered[False] < 0.7 and covered[True] > 0.92


@pytest.mark.parametrize("m", [2, 10, 30, 500])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_all_alike_is_the_exact_binomial_interval(m: int, level: float) -> None:
    for value, successes in ((0.0, 0), (1.0, m)):
        expected = scipy_stats.binomtest(successes, m).proportion_ci(level, "exact")
        found = all_alike_interval(value, m, level)
        assert bounds(found) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_all_alike_between_0_and_1_says_nothing_of_others() -> None:
    assert all_alike_interval(0.5, 30, 0.95) is None
    assert all_alike_interval(1 - 1e-9, 30, 0.95) is None
