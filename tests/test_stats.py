"""Intervals and paired differences against enumeration, scipy and simulation."""

from itertools import product

import numpy as np
import pytest
from scipy import stats as scipy_stats

from opo_eval.errors import InputError
from opo_eval.records import Interval
from opo_eval.stats import (
    PROBLEMS_LIKE_THESE,
    bootstrap_interval,
    bootstrap_intervals,
    holm,
    minimum_detectable_effect,
    paired_difference,
    paired_differences,
    problems_needed,
    ratio,
    sign_flip_test,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bounds(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def every_resample(num: np.ndarray, den: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The bootstrap without chance: all m^m resamples."""
    draws = [list(draw) for draw in product(range(len(num)), repeat=len(num))]
    values = [num[draw].sum() / den[draw].sum() for draw in draws]
    low, high = np.percentile(values, [50 * (1 - level), 50 * (1 + level)])
    return low, high


def test_the_value_is_a_ratio_of_sums() -> None:
    assert ratio([1, 2, 3], [2, 2, 4]) == 0.75
    assert ratio([[1, 0], [3, 3]], [[1, 1], [4, 2]]).tolist() == [0.5, 1.0]


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_interval_is_that_of_every_resample(level: float) -> None:
    num, den = np.array([1.0, 4.0, 0.0, 2.0, 2.0, 7.0]), np.array([2.0, 9.0, 3.0, 2.0, 5.0, 8.0])
    expected = every_resample(num, den, level)
    found = bootstrap_interval(num, den, rng=rng(), level=level, n_resamples=200_000)
    assert bounds(found) == pytest.approx(expected, abs=0.004)
    assert (found.level, found.kind) == (level, PROBLEMS_LIKE_THESE)


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = rng(1).beta(0.35, 0.9, size=60)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=50_000, method="percentile", rng=rng(3)
    ).confidence_interval
    ours = bootstrap_interval(values, np.ones(60), rng=rng(2), n_resamples=50_000)
    assert bounds(ours) == pytest.approx((theirs.low, theirs.high), abs=0.003)


def test_the_paired_interval_is_that_of_every_resample() -> None:
    a, b = np.array([0.1, 0.9, 0.4, 0.0, 0.6]), np.array([0.3, 1.0, 0.2, 0.1, 0.9])
    delta, found = paired_difference((a, np.ones(5)), (b, np.ones(5)), rng=rng(), n_resamples=200_000)
    assert delta == pytest.approx((b - a).mean())
    assert bounds(found) == pytest.approx(every_resample(b - a, np.ones(5)), abs=0.004)


def test_pairing_cancels_what_makes_problems_hard() -> None:
    hardness = rng(4).uniform(size=200)
    a, b = hardness, np.clip(hardness + rng(5).normal(0.02, 0.01, size=200), 0, 1)
    _, paired = paired_difference((a, np.ones(200)), (b, np.ones(200)), rng=rng())
    alone = bootstrap_interval(b, np.ones(200), rng=rng())
    assert paired.low > 0 and (paired.high - paired.low) < 0.1 * (alone.high - alone.low)


def test_a_run_against_itself_differs_by_nothing() -> None:
    values = rng(6).uniform(size=30), rng(7).uniform(1, 2, size=30)
    delta, interval = paired_difference(values, values, rng=rng())
    assert delta == 0 and bounds(interval) == (0, 0)


def test_several_metrics_share_their_resamples_and_equal_one_alone() -> None:
    num, den = rng(8).uniform(size=(3, 25)), np.ones((3, 25))
    together = bootstrap_intervals(num, den, rng=rng(9))
    assert [bounds(i) for i in together] == [
        pytest.approx(bounds(bootstrap_interval(n, d, rng=rng(9)))) for n, d in zip(num, den, strict=True)
    ]
    deltas, intervals = paired_differences((num, den), (num * 0.5, den), rng=rng(9))
    assert deltas == pytest.approx(-0.5 * num.mean(axis=1))
    assert len(intervals) == 3


def test_the_generator_is_obeyed() -> None:
    num, den = rng(1).uniform(size=20), np.ones(20)
    same = [bounds(bootstrap_interval(num, den, rng=rng(5))) for _ in range(2)]
    other = bounds(bootstrap_interval(num, den, rng=rng(6)))
    assert same[0] == same[1] != other


def test_large_inputs_are_drawn_in_blocks_with_the_same_meaning() -> None:
    num = rng(2).uniform(size=9_000)
    found = bootstrap_interval(num, np.ones(9_000), rng=rng(), n_resamples=1_000)
    half = 1.96 * num.std() / np.sqrt(9_000)
    assert bounds(found) == pytest.approx((num.mean() - half, num.mean() + half), abs=0.15 * half)


def test_a_problem_without_a_value_weighs_nothing() -> None:
    num, den = np.array([1.0, 0.0, 3.0, 0.0, 2.0]), np.array([2.0, 0.0, 4.0, 0.0, 4.0])
    found = bootstrap_interval(num, den, rng=rng())
    assert 0.5 <= found.low <= ratio(num, den) <= found.high <= 0.75


def test_the_interval_covers_what_it_says() -> None:
    truth, covered = 0.35 / (0.35 + 0.9), 0
    draws = rng(11)
    for _ in range(400):
        solved = draws.binomial(16, draws.beta(0.35, 0.9, size=60)) / 16
        low, high = bounds(bootstrap_interval(solved, np.ones(60), rng=draws, n_resamples=600))
        covered += low <= truth <= high
    assert 0.91 <= covered / 400 <= 0.98  # nominal 0.95, four standard errors of the simulation


@pytest.mark.parametrize(
    ("num", "den", "message"),
    [
        ([], [], "there is no problem"),
        ([1.0], [1.0], "needs at least 2 problems, not 1"),
        ([1.0, float("nan")], [1.0, 1.0], "must be finite"),
        ([1.0, 2.0], [0.0, 0.0], "the metric is undefined on these problems"),
        ([1.0, 2.0], [1.0], "must be of the same shape"),
    ],
)
def test_what_has_no_interval_is_refused(num: list[float], den: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        bootstrap_interval(num, den, rng=rng())


def test_unequal_problems_are_not_paired() -> None:
    with pytest.raises(InputError, match="paired values need the same problems"):
        paired_difference(([1, 2], [1, 1]), ([1, 2, 3], [1, 1, 1]), rng=rng())


# --- tests and power --------------------------------------------------------------------------------


def means(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per-problem means as (numerators, denominators) of one metric."""
    return values[None, :], np.ones((1, len(values)))


def every_swap(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    """The p-value by walking through all ways to swap problems."""
    observed = abs(b[0].sum() / b[1].sum() - a[0].sum() / a[1].sum())
    as_large = 0
    for swap in product([False, True], repeat=len(a[0])):
        first = [np.where(swap, y, x).sum() for x, y in zip(a, b, strict=True)]
        second = [np.where(swap, x, y).sum() for x, y in zip(a, b, strict=True)]
        as_large += abs(second[0] / second[1] - first[0] / first[1]) >= observed - 1e-12
    return as_large / 2 ** len(a[0])


def test_the_exact_p_value_is_that_of_every_swap() -> None:
    draws = rng(12)
    a = draws.uniform(size=(2, 9)) + np.array([[0], [1]])
    b = draws.uniform(size=(2, 9)) + np.array([[0.3], [1]])
    (found,) = sign_flip_test((a[:1], a[1:]), (b[:1], b[1:]), rng=rng())
    assert found == pytest.approx(every_swap((a[0], a[1]), (b[0], b[1])))


def test_the_random_p_value_is_scipys() -> None:
    a, b = rng(13).uniform(size=40), rng(14).uniform(0.1, 1.05, size=40)
    theirs = scipy_stats.permutation_test(
        (b, a),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        n_resamples=50_000,
        vectorized=True,
        rng=rng(1),
    ).pvalue
    (ours,) = sign_flip_test(means(a), means(b), rng=rng(2), n_resamples=50_000)
    assert ours == pytest.approx(theirs, abs=0.004)


def test_no_difference_has_p_value_one() -> None:
    values = rng(15).uniform(size=50)
    assert sign_flip_test(means(values), means(values), rng=rng()).tolist() == [1.0]


def test_a_p_value_is_never_zero() -> None:
    a = np.zeros(60)
    (p,) = sign_flip_test(means(a), means(a + 1), rng=rng(), n_resamples=999)
    assert p == pytest.approx(1 / 1000)


def test_a_true_null_is_rejected_as_often_as_it_says() -> None:
    draws, rejected = rng(16), 0
    for _ in range(400):
        ability = draws.beta(0.35, 0.9, size=30)
        a, b = (draws.binomial(16, ability) / 16 for _ in range(2))
        rejected += sign_flip_test(means(a), means(b), rng=draws, n_resamples=400)[0] <= 0.05
    assert rejected / 400 <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 400)


def test_holm_by_hand() -> None:
    # sorted 0.01 0.02 0.03 0.04, times 4 3 2 1, made monotone
    assert holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_the_detectable_effect_is_detected_with_the_power_it_says() -> None:
    draws, m, noise = rng(17), 80, 0.2
    (effect,) = minimum_detectable_effect(
        means(np.zeros(4000)), means(draws.normal(0, noise, size=4000))
    ) * np.sqrt(4000 / m)
    detected = 0
    for _ in range(600):
        difference = draws.normal(effect, noise, size=m)
        detected += abs(difference.mean()) > 1.96 * difference.std(ddof=1) / np.sqrt(m)
    assert detected / 600 == pytest.approx(0.8, abs=0.07)


def test_the_problems_needed_make_the_observed_difference_detectable() -> None:
    a, b = means(np.zeros(30)), means(rng(18).normal(0.05, 0.3, size=30))
    (needed,) = problems_needed(a, b)
    (effect,) = minimum_detectable_effect(a, b)
    assert effect * np.sqrt(30 / needed) == pytest.approx(abs(b[0].mean()), rel=0.02)
    assert problems_needed(a, a).tolist() == [np.inf]
