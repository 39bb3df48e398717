"""Arms of training runs: the crossed design by hand, its coverage by simulation, what is refused."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from stats.enumerated import bounds, rng

from opo_eval.errors import InputError
from opo_eval.stats import SEEDS_AND_PROBLEMS, arm_differences


def unweighted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[seeds, problems] of one metric as numerators and denominators [seeds, 1, problems]."""
    return values[:, None], np.ones((len(values), 1, values.shape[1]))


def mean_squares(y: np.ndarray) -> tuple[float, float, float]:
    """Of the two-way layout without replicates: of rows, of columns, of what is left."""
    rows, columns = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
    s, m = y.shape
    left = y - rows - columns + y.mean()
    return (
        m * float(((rows - y.mean()) ** 2).sum()) / (s - 1),
        s * float(((columns - y.mean()) ** 2).sum()) / (m - 1),
        float((left**2).sum()) / ((s - 1) * (m - 1)),
    )


def crossed_variance(a: np.ndarray, b: np.ndarray) -> float:
    """Of the difference of two arms' means, from the mean squares of each (Searle 1971, chapter 9).

    Problems are the same in both arms, so what varies over them is the difference of the arms' problem
    means; seeds are each arm's own.
    """
    (seeds_a, _, left_a), (seeds_b, _, left_b) = mean_squares(a), mean_squares(b)
    m = a.shape[1]
    of_problems = float(np.var(b.mean(axis=0) - a.mean(axis=0), ddof=1)) / m
    of_seeds = sum(square / (x.shape[0] * m) for square, x in ((seeds_a, a), (seeds_b, b)))
    of_both = sum(square / (x.shape[0] * m) for square, x in ((left_a, a), (left_b, b)))
    return of_problems + of_seeds - of_both


def crossed(
    draws: np.random.Generator, seeds: int, m: int, *, seed_sd: float, shift: float = 0
) -> np.ndarray:
    """Seed, problem and what a seed does to one problem: [seeds, problems]."""
    return shift + draws.normal(0, seed_sd, size=(seeds, 1)) + draws.normal(0, 0.1, size=(seeds, m))


@pytest.mark.parametrize(("seeds_a", "seeds_b", "m"), [(3, 3, 30), (5, 3, 12), (2, 6, 40)])
def test_the_error_is_that_of_the_crossed_design(seeds_a: int, seeds_b: int, m: int) -> None:
    draws = rng(m)
    problems = draws.uniform(size=m)
    a = problems + crossed(draws, seeds_a, m, seed_sd=0.05)
    b = problems + draws.normal(0, 0.1, size=m) + crossed(draws, seeds_b, m, seed_sd=0.08)
    found = arm_differences(unweighted(a), unweighted(b))
    assert found.errors[0] ** 2 == pytest.approx(crossed_variance(a, b))
    assert (found.values_a[0], found.values_b[0]) == pytest.approx((a.mean(), b.mean()))
    assert found.deltas[0] == pytest.approx(b.mean() - a.mean())


def test_interval_p_value_and_detectable_effect_are_students() -> None:
    draws = rng(1)
    a, b = (crossed(draws, 4, 20, seed_sd=0.05, shift=shift) for shift in (0.3, 0.4))
    found = arm_differences(unweighted(a), unweighted(b))
    t = scipy_stats.t(found.degrees_of_freedom[0], loc=found.deltas[0], scale=found.errors[0])
    (interval,) = found.intervals(0.9)
    assert bounds(interval) == pytest.approx(t.interval(0.9))
    assert (interval.kind, interval.level) == (SEEDS_AND_PROBLEMS, 0.9)
    assert found.p_values()[0] == pytest.approx(2 * min(t.cdf(0), t.sf(0)))
    central = scipy_stats.t(found.degrees_of_freedom[0])
    reach = central.ppf(0.975) + central.ppf(0.8)
    assert found.minimum_detectable_effects()[0] == pytest.approx(reach * found.errors[0])


def test_degrees_of_freedom_are_those_of_the_scarce_side() -> None:
    """With hardly any spread over problems, those of Welch's test of the seeds' values."""
    draws = rng(2)
    a, b = (draws.normal(0, 1, size=(s, 1)) + draws.normal(0, 1e-6, size=(s, 50)) for s in (3, 5))
    found = arm_differences(unweighted(a), unweighted(b))
    welch = scipy_stats.ttest_ind(b.mean(axis=1), a.mean(axis=1), equal_var=False)
    assert found.degrees_of_freedom[0] == pytest.approx(welch.df, rel=1e-3)
    assert found.p_values()[0] == pytest.approx(welch.pvalue, rel=1e-3)


def test_seeds_that_hardly_differ_leave_the_paired_t_test_of_problems() -> None:
    draws = rng(3)
    a, b = (np.repeat(draws.uniform(size=(1, 30)), 4, axis=0) for _ in range(2))
    found = arm_differences(unweighted(a), unweighted(b))
    paired = scipy_stats.ttest_rel(b[0], a[0])
    assert found.errors[0] == pytest.approx(scipy_stats.sem(b[0] - a[0]))
    assert found.p_values()[0] == pytest.approx(paired.pvalue)


def test_metrics_of_unequal_weights_are_ratios_of_each_seed() -> None:
    draws = rng(4)
    den = draws.lognormal(4, 0.3, size=(2, 3, 2, 15))
    num = den * draws.beta(2, 6, size=den.shape)
    found = arm_differences((num[0], den[0]), (num[1], den[1]))
    by_seed = num.sum(axis=-1) / den.sum(axis=-1)
    np.testing.assert_allclose(found.values_a, by_seed[0].mean(axis=0))
    np.testing.assert_allclose(found.values_b, by_seed[1].mean(axis=0))
    alone = arm_differences((num[0][:, 1:], den[0][:, 1:]), (num[1][:, 1:], den[1][:, 1:]))
    assert found.errors[1] == pytest.approx(alone.errors[0])


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_what_they_say_and_a_null_is_kept(seeds: int) -> None:
    """2,000 pairs of arms whose methods do not differ: seeds 3 points apart, problems 10."""
    draws, pairs = rng(seeds), []
    for _ in range(2):
        noise = draws.normal(0, 0.03, size=(seeds, 2000, 1)) + draws.normal(0, 0.1, size=(seeds, 2000, 30))
        pairs.append(noise)
    ability = draws.uniform(size=(2000, 30))
    methods = [draws.normal(0, 0.1, size=(2000, 30)) for _ in range(2)]
    a, b = (ability + method + noise for method, noise in zip(methods, pairs, strict=True))
    found = arm_differences((a, np.ones_like(a)), (b, np.ones_like(b)))
    covered = np.mean([i.low <= 0 <= i.high for i in found.intervals()])
    assert 0.93 <= covered <= 0.98
    assert np.mean(found.p_values() < 0.05) == pytest.approx(1 - covered)


def test_taking_seeds_for_given_would_cover_too_little() -> None:
    """Why arms exist: the paired test of problems on means over seeds forgets that seeds differ."""
    draws = rng(9)
    a, b = (
        draws.normal(0, 0.03, size=(3, 1000, 1)) + draws.normal(0, 0.05, size=(3, 1000, 30)) for _ in range(2)
    )
    forgetful = scipy_stats.ttest_rel(b.mean(axis=0), a.mean(axis=0), axis=1).pvalue
    arms = arm_differences((a, np.ones_like(a)), (b, np.ones_like(b))).p_values()
    assert np.mean(forgetful < 0.05) > 0.3 and np.mean(arms < 0.05) < 0.07


def test_what_is_subtracted_never_makes_the_error_smaller_than_either_side() -> None:
    draws = rng(5)
    a, b = draws.normal(0, 1, size=(2, 3, 400, 6))
    found = arm_differences((a, np.ones_like(a)), (b, np.ones_like(b)))
    over_problems = (b.mean(axis=0) - a.mean(axis=0)).var(axis=-1, ddof=1) / 6
    over_seeds = sum(x.mean(axis=-1).var(axis=0, ddof=1) / 3 for x in (a, b))
    assert (found.errors**2 >= np.maximum(over_problems, over_seeds) * (1 - 1e-12)).all()


@pytest.mark.parametrize("value", [0.5, 1 / 3, 12345.678])
def test_an_arm_against_itself_shows_no_difference(value: float) -> None:
    same = unweighted(np.full((3, 7), value))
    found = arm_differences(same, same)
    assert (found.deltas[0], found.errors[0], found.p_values()[0]) == (0, 0, 1)
    assert bounds(found.intervals()[0]) == (0, 0)
    varied = unweighted(rng(6).uniform(size=(3, 7)))
    again = arm_differences(varied, varied)
    assert again.deltas[0] == 0 and again.p_values()[0] == 1


def test_one_seed_is_refused() -> None:
    two, one = unweighted(np.ones((2, 5))), unweighted(np.ones((1, 5)))
    with pytest.raises(InputError, match="2 training seeds or more, not 1: train the method again"):
        arm_differences(two, one)
    with pytest.raises(InputError, match="2 training seeds or more, not 1"):
        arm_differences((np.ones((4, 5)), np.ones((4, 5))), two)


def test_other_problems_and_a_single_one_are_refused() -> None:
    with pytest.raises(InputError, match="the same 2 problems or more, not 5 and 6"):
        arm_differences(unweighted(np.ones((2, 5))), unweighted(np.ones((2, 6))))
    with pytest.raises(InputError, match="the same 2 problems or more, not 1"):
        arm_differences(unweighted(np.ones((2, 1))), unweighted(np.ones((2, 1))))


def test_without_any_spread_there_is_no_p_value_and_rounding_is_no_difference() -> None:
    ones, zeros = np.ones((2, 1, 3)), np.zeros((2, 1, 3))
    assert np.isnan(arm_differences((zeros, ones), (ones, ones)).p_values()).all()
    tenth = arm_differences(
        (np.full((3, 1, 4), 0.1), np.ones((3, 1, 4))), (np.full((2, 1, 4), 0.1), np.ones((2, 1, 4)))
    )
    assert tenth.deltas.tolist() == [0.0] and tenth.p_values().tolist() == [1.0]
