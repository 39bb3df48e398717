"""Intervals over problems like these against enumeration of all resamples, scipy and simulation."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from stats.enumerated import bounds, every_resample, expanded_tail, means, rng, weighted_quantile

from opo_eval.errors import InputError
from opo_eval.stats import (
    PROBLEMS_LIKE_THESE,
    Resampled,
    bootstrap_interval,
    bootstrap_intervals,
    like_these,
    paired_difference,
    paired_differences,
    ratio,
)
from opo_eval.stats.ratios import influence, paired_influence, standard_errors


def reached(percentiles: list[float], value: float, error: float, m: int, level: float) -> tuple:
    """The outermost of the percentiles and Student's t interval."""
    half = scipy_stats.t.ppf((1 + level) / 2, m - 1) * error
    return min(percentiles[0], value - half), max(percentiles[1], value + half)


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_interval_is_that_of_every_resample(level: float, seed: int) -> None:
    draws = rng(seed)
    den = draws.lognormal(2, 0.8, size=10)
    num = den * draws.beta(0.5, 2, size=10)
    kinds, chances = every_resample(10)
    assert chances.sum() == pytest.approx(1)
    tail = expanded_tail(level, 10)
    values = (kinds @ num) / (kinds @ den)
    percentiles = [weighted_quantile(values, chances, p) for p in (tail, 1 - tail)]
    error = float(standard_errors(influence(num, den)))
    found = bootstrap_interval(num, den, rng=rng(), level=level, n_resamples=200_000)
    expected = reached(percentiles, float(ratio(num, den)), error, 10, level)
    assert bounds(found) == pytest.approx(expected, abs=0.03 * (expected[1] - expected[0]))
    assert (found.level, found.kind) == (level, PROBLEMS_LIKE_THESE)


def test_both_sides_of_the_interval_can_be_the_bootstraps_or_students() -> None:
    """A skewed mean: the percentiles reach further up, Student's t further down."""
    values = rng(1).lognormal(0, 1.2, size=60)
    tail = expanded_tail(0.95, 60)
    theirs = scipy_stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=50_000,
        method="percentile",
        confidence_level=1 - 2 * tail,
        rng=rng(3),
    )
    student = scipy_stats.t.interval(0.95, 59, loc=values.mean(), scale=scipy_stats.sem(values))
    ours = bootstrap_interval(values, np.ones(60), rng=rng(2), n_resamples=50_000)
    assert student[0] < theirs.confidence_interval.low and student[1] < theirs.confidence_interval.high
    assert ours.low == pytest.approx(student[0])
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.02)


@pytest.mark.parametrize("m", [2, 3, 9])
def test_few_problems_have_students_interval(m: int) -> None:
    values = rng(m).uniform(size=m)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = bootstrap_interval(values, np.ones(m), rng=rng(), level=0.9)
    assert bounds(found) == pytest.approx((expected.low, expected.high))


def test_few_paired_problems_have_the_paired_t_interval() -> None:
    a, b = rng(1).uniform(size=8), rng(2).uniform(size=8)
    delta, found = paired_difference((a, np.ones(8)), (b, np.ones(8)), rng=rng())
    expected = scipy_stats.ttest_rel(b, a).confidence_interval()
    assert delta == pytest.approx((b - a).mean())
    assert bounds(found) == pytest.approx((expected.low, expected.high))


def test_the_paired_interval_is_that_of_every_resample() -> None:
    draws = rng(5)
    den_a, den_b = draws.lognormal(2, 0.5, size=(2, 10))
    a, b = (den_a * draws.beta(2, 5, size=10), den_a), (den_b * draws.beta(2, 4, size=10), den_b)
    kinds, chances = every_resample(10)
    values = (kinds @ b[0]) / (kinds @ b[1]) - (kinds @ a[0]) / (kinds @ a[1])
    tail = expanded_tail(0.95, 10)
    percentiles = [weighted_quantile(values, chances, p) for p in (tail, 1 - tail)]
    delta, found = paired_difference(a, b, rng=rng(), n_resamples=200_000)
    error = float(standard_errors(paired_influence(a, b)))
    assert delta == pytest.approx(ratio(*b) - ratio(*a))
    assert bounds(found) == pytest.approx(reached(percentiles, delta, error, 10, 0.95), abs=0.01)


def test_pairing_cancels_what_makes_problems_hard() -> None:
    hardness = rng(4).uniform(size=200)
    a, b = hardness, np.clip(hardness + rng(5).normal(0.02, 0.01, size=200), 0, 1)
    _, paired = paired_difference((a, np.ones(200)), (b, np.ones(200)), rng=rng())
    alone = bootstrap_interval(b, np.ones(200), rng=rng())
    assert paired.low > 0 and (paired.high - paired.low) < 0.1 * (alone.high - alone.low)


@pytest.mark.parametrize("m", [5, 30])
def test_a_run_against_itself_differs_by_nothing(m: int) -> None:
    values = rng(6).uniform(size=m), rng(7).uniform(1, 2, size=m)
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
    num, den = rng(1).lognormal(0, 1, size=20), np.ones(20)
    same = [bounds(bootstrap_interval(num, den, rng=rng(5))) for _ in range(2)]
    other = bounds(bootstrap_interval(num, den, rng=rng(6)))
    assert same[0] == same[1] != other


def test_large_inputs_are_drawn_in_blocks_with_the_same_meaning() -> None:
    num = rng(2).uniform(size=9_000)
    found = bootstrap_interval(num, np.ones(9_000), rng=rng(), n_resamples=1_000)
    half = 1.96 * num.std() / np.sqrt(9_000)
    assert bounds(found) == pytest.approx((num.mean() - half, num.mean() + half), abs=0.15 * half)


def test_a_problem_without_a_value_weighs_nothing() -> None:
    num, den = np.tile([1.0, 0.0, 3.0, 0.0, 2.0], 4), np.tile([2.0, 0.0, 4.0, 0.0, 4.0], 4)
    found = bootstrap_interval(num, den, rng=rng())
    assert 0.5 <= found.low <= ratio(num, den) <= found.high <= 0.75


def test_a_resample_without_a_defined_problem_is_passed_over() -> None:
    """One of 12 problems is defined: a third of the resamples lack it."""
    num, den = np.zeros(12), np.zeros(12)
    num[3], den[3] = 2.0, 5.0
    found = Resampled.values(num[None], den[None], rng=rng())
    assert np.isnan(found.resamples).mean() == pytest.approx((11 / 12) ** 12, abs=0.02)
    assert bounds(found.intervals(0.95)[0]) == pytest.approx((0.4, 0.4))


def test_kinds_name_the_cluster() -> None:
    assert like_these(None) == "problems like these"
    assert like_these("exam") == "problems like these, drawn by exam"


@pytest.mark.parametrize("n_resamples", [600])
def test_the_interval_covers_what_it_says(n_resamples: int) -> None:
    truth, draws = 0.35 / (0.35 + 0.9), rng(11)
    solved = draws.binomial(16, draws.beta(0.35, 0.9, size=(400, 60))) / 16
    found = bootstrap_intervals(*means(*solved), rng=draws, n_resamples=n_resamples)
    covered = np.mean([i.low <= truth <= i.high for i in found])
    assert 0.91 <= covered <= 0.99  # nominal 0.95, four standard errors of the simulation


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
