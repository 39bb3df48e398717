"""Intervals over new samples of these problems: the binomial formula, the delta method, and simulation."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from stats.enumerated import bounds, means, rng

from opo_eval.metrics.core import of_correct, sums
from opo_eval.metrics.passk import pass_at_k_curve
from opo_eval.stats import (
    THESE_PROBLEMS,
    ratio,
    sampling_difference_intervals,
    sampling_errors,
    sampling_intervals,
)


def of_pass_at_k(n: int, correct: np.ndarray, k: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """(numerators, denominators) [1, problems] of pass@k and its spreads [1, 3, problems]."""
    values = [of_correct(pass_at_k_curve, n, int(c))[k - 1] for c in correct]
    spreads = np.array([value.spread for value in values]).T
    return means(np.array([value.numerator for value in values])), spreads[None]


@pytest.mark.parametrize("n", [2, 8, 16])
def test_the_error_of_pass_at_1_is_the_binomials(n: int) -> None:
    correct = rng(n).integers(n + 1, size=30)
    pair, spreads = of_pass_at_k(n, correct, 1)
    p = correct / n
    expected = np.sqrt((p * (1 - p) / (n - 1)).sum()) / 30
    assert sampling_errors(*pair, spreads) == pytest.approx(expected)
    (found,) = sampling_intervals(*pair, spreads, level=0.9)
    freedom = satterthwaite(p * (1 - p) / (n - 1), n - 1)
    assert bounds(found) == pytest.approx(scipy_stats.t.interval(0.9, freedom, p.mean(), expected))
    assert (found.kind, found.level) == (THESE_PROBLEMS, 0.9)


def satterthwaite(variances: np.ndarray, each: int) -> float:
    """Degrees of freedom of a sum of variances with so many each."""
    return variances.sum() ** 2 / (variances**2 / each).sum()


def of_lengths(problems: list[np.ndarray]) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Σ duplicates / Σ n-grams; of each problem [n, 2]."""
    values = [sums(samples[:, 0], samples[:, 1]) for samples in problems]
    num, den = np.array([value[:2] for value in values]).T[:, None]
    return (num, den), np.array([value.spread for value in values]).T[None]


def responses(draws: np.random.Generator, n_problems: int, n: int) -> np.ndarray:
    """(duplicates, n-grams) of responses that repeat more the longer they are: [problems, n, 2]."""
    lengths = draws.lognormal(draws.normal(5, 0.5, size=(n_problems, 1)), 0.5, size=(n_problems, n))
    shares = draws.beta(2, 6, size=(n_problems, n)) * np.minimum(lengths / 400, 1)
    return np.stack([lengths * shares, lengths], axis=-1)


def test_the_error_of_a_ratio_is_the_delta_methods() -> None:
    problems = list(responses(rng(1), 12, 16))
    pair, spreads = of_lengths(problems)
    total = sum(len(x) * np.cov(x.T) for x in problems)
    value = float(ratio(*pair)[0])
    gradient = np.array([1, -value]) / pair[1].sum()
    assert sampling_errors(*pair, spreads) == pytest.approx(np.sqrt(gradient @ total @ gradient))


def test_the_interval_of_a_ratio_is_that_of_its_logarithm() -> None:
    problems = list(responses(rng(1), 12, 16))
    pair, spreads = of_lengths(problems)
    value, error = float(ratio(*pair)[0]), float(sampling_errors(*pair, spreads)[0])
    residuals = [len(x) * np.var(x[:, 0] - value * x[:, 1], ddof=1) for x in problems]
    reach = scipy_stats.t.ppf(0.975, satterthwaite(np.array(residuals), 15)) * error / value
    (found,) = sampling_intervals(*pair, spreads)
    assert bounds(found) == pytest.approx((value * np.exp(-reach), value * np.exp(reach)))


def test_a_ratio_that_may_have_either_sign_has_an_interval_on_both_sides_of_it() -> None:
    problems = [x - [30.0, 0.0] for x in responses(rng(1), 12, 16)]
    pair, spreads = of_lengths(problems)
    value, (low, high) = float(ratio(*pair)[0]), bounds(sampling_intervals(*pair, spreads)[0])
    assert (pair[0] < 0).any()
    assert value - low == pytest.approx(high - value)


def test_the_error_of_a_ratio_is_that_of_new_samples() -> None:
    """Of one set of problems, drawn anew 3,000 times from large pools of responses."""
    draws = rng(2)
    pools = responses(draws, 12, 2000)
    drawn = [pools[np.arange(12)[:, None], draws.integers(2000, size=(12, 16))] for _ in range(3000)]
    values = [x[..., 0].sum() / x[..., 1].sum() for x in drawn]
    errors = [sampling_errors(*of_lengths(list(x))[0], of_lengths(list(x))[1])[0] for x in drawn[:100]]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.06)


@pytest.mark.parametrize("k", [1, 4, 8])
def test_the_interval_covers_what_new_samples_of_these_problems_give(k: int) -> None:
    draws, n = rng(3), 16
    p = draws.beta(0.35, 0.9, size=30)
    truth = (1 - (1 - p) ** k).mean()
    table = [of_correct(pass_at_k_curve, n, c)[k - 1] for c in range(n + 1)]
    numerators = np.array([value.numerator for value in table])
    variances = np.array([value.spread[0] for value in table if value.spread])
    correct = draws.binomial(n, p, size=(2000, 30))
    spreads = np.zeros((2000, 4, 30))
    spreads[:, 0], spreads[:, 3] = variances[correct], n - 1
    found = sampling_intervals(*means(*numerators[correct]), spreads)
    assert 0.92 <= np.mean([i.low <= truth <= i.high for i in found]) <= 0.985


def test_the_errors_of_a_difference_add_up() -> None:
    (a, spreads_a), (b, spreads_b) = (of_pass_at_k(16, rng(s).integers(17, size=30), 4) for s in (4, 5))
    (found,) = sampling_difference_intervals(a, b, (spreads_a, spreads_b))
    error = np.hypot(sampling_errors(*a, spreads_a), sampling_errors(*b, spreads_b))
    freedom = satterthwaite(np.concatenate([spreads_a[0, 0], spreads_b[0, 0]]), 15)
    delta = b[0].mean() - a[0].mean()
    assert bounds(found) == pytest.approx(scipy_stats.t.interval(0.95, freedom, delta, error[0]))


def test_pairing_does_not_narrow_what_new_samples_would_change() -> None:
    pair, spreads = of_pass_at_k(16, rng(6).integers(17, size=30), 2)
    (found,) = sampling_difference_intervals(pair, pair, (spreads, spreads))
    (alone,) = sampling_intervals(*pair, spreads)
    assert found.high - found.low == pytest.approx(np.sqrt(2) * (alone.high - alone.low), rel=0.01)


def test_what_cancels_is_not_below_zero() -> None:
    """Numerator and denominator that move together leave the ratio where it is."""
    pair = np.full((1, 3), 0.3), np.full((1, 3), 3.0)
    spread = np.array([0.01, 0.1, 1.0, 5.0])
    error = sampling_errors(*pair, np.repeat(spread[None, :, None], 3, axis=2))
    assert error == pytest.approx(0, abs=1e-8) and np.isfinite(error).all()
