"""Tests of no difference against all swaps and scipy; Holm by its definition; power by simulation."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from stats.enumerated import every_swap, means, rng

from opo_eval.errors import InputError
from opo_eval.stats import holm, minimum_detectable_effect, problems_needed, sign_flip_test
from opo_eval.stats.paired import detectable


def scipys_p_value(a: np.ndarray, b: np.ndarray, **options) -> float:
    """scipy's sign-flip test of the mean difference of per-problem means."""
    return scipy_stats.permutation_test(
        (b, a),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        **options,
    ).pvalue


@pytest.mark.parametrize("seed", range(4))
def test_the_exact_p_value_of_a_ratio_is_that_of_every_swap(seed: int) -> None:
    draws = rng(seed)
    a = draws.uniform(size=(2, 9)) + np.array([[0], [1]])
    b = draws.uniform(size=(2, 9)) + np.array([[0.3], [1]])
    (found,) = sign_flip_test((a[:1], a[1:]), (b[:1], b[1:]), rng=rng())
    assert found == pytest.approx(every_swap((a[0], a[1]), (b[0], b[1])), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_exact_p_value_of_a_mean_is_scipys(seed: int) -> None:
    a, b = rng(seed).uniform(size=13), rng(seed + 9).uniform(0, 1.4, size=13)
    (found,) = sign_flip_test(means(a), means(b), rng=rng())
    assert found == pytest.approx(scipys_p_value(a, b, n_resamples=np.inf), abs=1e-12)


def test_the_random_p_value_is_scipys() -> None:
    a, b = rng(13).uniform(size=40), rng(14).uniform(0.1, 1.05, size=40)
    theirs = scipys_p_value(a, b, n_resamples=50_000, rng=rng(1))
    (ours,) = sign_flip_test(means(a), means(b), rng=rng(2), n_resamples=50_000)
    assert ours == pytest.approx(theirs, abs=0.004)


def test_swapped_denominators_move_with_their_numerators() -> None:
    """The random p-value of a ratio, where the two sides weigh problems differently."""
    draws = rng(3)
    den_a, den_b = draws.lognormal(2, 0.5, size=(2, 12))
    a, b = (den_a * draws.beta(2, 5, size=12), den_a), (den_b * draws.beta(2, 4, size=12), den_b)
    a_row, b_row = ((num[None], den[None]) for num, den in (a, b))
    (drawn,) = sign_flip_test(a_row, b_row, rng=rng(), n_resamples=4000)
    assert drawn == pytest.approx(every_swap(a, b), abs=0.03)


def test_metrics_are_tested_side_by_side() -> None:
    draws = rng(4)
    num_a, num_b = draws.uniform(size=(2, 5, 8))
    den_a = np.ones((5, 8))
    den_b = np.vstack([np.ones((3, 8)), draws.uniform(1, 2, size=(2, 8))])
    together = sign_flip_test((num_a, den_a), (num_b, den_b), rng=rng())
    alone = [
        sign_flip_test((num_a[i : i + 1], den_a[i : i + 1]), (num_b[i : i + 1], den_b[i : i + 1]), rng=rng())
        for i in range(5)
    ]
    np.testing.assert_allclose(together, np.concatenate(alone))


@pytest.mark.parametrize("m", [6, 50])
def test_no_difference_has_p_value_one(m: int) -> None:
    values = rng(15).uniform(size=m)
    assert sign_flip_test(means(values), means(values), rng=rng()).tolist() == [1.0]


def test_a_random_p_value_is_never_zero() -> None:
    a = np.zeros(60)
    (p,) = sign_flip_test(means(a), means(a + 1), rng=rng(), n_resamples=999)
    assert p == pytest.approx(1 / 1000)


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e4, 1e9])
@pytest.mark.parametrize("shift", [0.1, 0.3, 1 / 3, 0.7])
def test_rounding_makes_no_swap_smaller_than_what_was_observed(unit: float, shift: float) -> None:
    """Every problem moves by the same: only no swap and all swaps are as large, whatever the unit."""
    a = unit * rng(5).uniform(size=(40, 11))
    p = sign_flip_test(means(*a), means(*(a + unit * shift)), rng=rng())
    assert set(p.tolist()) == {2 / 2**11}


def test_the_generator_is_obeyed() -> None:
    a, b = means(rng(6).uniform(size=30)), means(rng(7).uniform(0.1, 1, size=30))
    once, again, other = (sign_flip_test(a, b, rng=rng(s), n_resamples=500)[0] for s in (1, 1, 2))
    assert once == again != other


def test_a_true_null_is_rejected_as_often_as_it_says() -> None:
    draws = rng(16)
    ability = draws.beta(0.35, 0.9, size=(2000, 30))
    a, b = (means(*draws.binomial(16, ability) / 16) for _ in range(2))
    rejected = np.mean(sign_flip_test(a, b, rng=draws, n_resamples=1000) <= 0.05)
    assert rejected <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)


def test_other_problems_are_refused() -> None:
    with pytest.raises(InputError, match=r"the same problems: \(1, 5\) against \(1, 6\)"):
        sign_flip_test(means(np.ones(5)), means(np.ones(6)), rng=rng())


# --- several tests ----------------------------------------------------------------------------------


def closed_testing(p: list[float]) -> list[float]:
    """Holm's adjusted p-values by what they mean: the largest Bonferroni p-value of all sets around one."""
    everything = range(len(p))
    return [
        max(
            min(1.0, len(among) * min(p[j] for j in among))
            for size in range(1, len(p) + 1)
            for among in combinations(everything, size)
            if i in among
        )
        for i in everything
    ]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(p=st.lists(st.sampled_from([0.0, 1e-4, 0.01, 0.02, 0.025, 0.05, 0.3, 1.0]), max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p: list[float]) -> None:
    np.testing.assert_allclose(holm(p), closed_testing(p), rtol=1e-12)


def test_holm_by_hand() -> None:
    # sorted 0.01 0.02 0.03 0.04, times 4 3 2 1, made monotone
    assert holm([0.04, 0.01, 0.03, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


# --- power ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "power"), [(12, 0.8), (80, 0.8), (30, 0.95)])
def test_the_detectable_effect_is_detected_with_the_power_it_says(m: int, power: float) -> None:
    draws, noise = rng(17), 0.2
    error = np.array([noise / np.sqrt(m)])
    (effect,) = detectable(error, m - 1, power=power, level=0.95)
    found = scipy_stats.ttest_1samp(draws.normal(effect, noise, size=(4000, m)), 0, axis=1)
    assert np.mean(found.pvalue < 0.05) == pytest.approx(power, abs=0.03)


def test_the_detectable_effect_is_that_of_the_spread_of_paired_differences() -> None:
    a, b = rng(18).uniform(size=(2, 3, 25))
    quantiles = scipy_stats.t.ppf(0.975, 24) + scipy_stats.t.ppf(0.8, 24)
    expected = quantiles * scipy_stats.sem(b - a, axis=1)
    np.testing.assert_allclose(minimum_detectable_effect(means(*a), means(*b)), expected)


def resampled_to(n: int, values: np.ndarray) -> np.ndarray:
    """n values with the mean and the standard deviation of `values`."""
    z = scipy_stats.zscore(np.arange(n), ddof=1)
    return values.mean() + values.std(ddof=1) * z


@settings(max_examples=150, deadline=None, derandomize=True)
@given(mean=st.floats(0.01, 3), spread=st.floats(0.01, 1), power=st.sampled_from([0.5, 0.8, 0.95]))
def test_the_problems_needed_are_the_first_that_detect_the_difference(
    mean: float, spread: float, power: float
) -> None:
    values = np.array([mean - spread, mean, mean + spread])
    (needed,) = problems_needed(means(np.zeros(3)), means(values), power=power)

    def effect(n: int) -> float:
        zeros, moved = means(np.zeros(n)), means(resampled_to(n, values))
        return float(minimum_detectable_effect(zeros, moved, power=power)[0])

    assert effect(int(needed)) <= mean * (1 + 1e-9)
    assert needed == 2 or effect(int(needed) - 1) > mean * (1 - 1e-9)


def test_no_difference_needs_no_end_of_problems() -> None:
    a = rng(19).uniform(size=(1, 30))
    b = a[:, ::-1] + np.array([0.0])
    assert problems_needed(means(*a), means(*a)).tolist() == [np.inf]
    assert problems_needed(means(*a), means(*b)).tolist() == [np.inf]  # the same sum in another order


def test_a_hardly_different_pair_needs_very_many_problems_and_is_done_in_time() -> None:
    a = rng(20).uniform(size=(1, 30))
    b = rng(21).permutation(a[0])[None] + 1e-9
    assert 1e12 < problems_needed(means(*a), means(*b))[0] < np.inf
