"""Weighted sums of metrics on shared resamples: differences, means, and what their bands hold at once."""

import numpy as np
import pytest
from stats.enumerated import bounds, every_resample, means, rng

from opo_eval.stats import Resampled, mean_of_ratios, ratio


def pairs(seed: int, n: int = 3, m: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Ratios with unequal weights: [n, m] each."""
    draws = rng(seed)
    den = draws.integers(1, 6, size=(n, m)).astype(float)
    return draws.uniform(0, 1, size=(n, m)) * den, den


def test_b_minus_a_is_the_paired_difference() -> None:
    num, den = pairs(0, n=2)
    direct = Resampled.differences((num[:1], den[:1]), (num[1:], den[1:]), rng=rng(1), n_resamples=900)
    made = Resampled.values(num, den, rng=rng(1), n_resamples=900).combined([[-1, 1]])
    assert made.estimates == pytest.approx(direct.estimates)
    assert made.resamples == pytest.approx(direct.resamples)
    assert made.errors == pytest.approx(direct.errors)
    (own,), (other,) = made.intervals(0.95), direct.intervals(0.95)
    assert bounds(own) == pytest.approx(bounds(other))


def test_its_resamples_are_sums_of_the_ratios_of_the_same_problems() -> None:
    """By walking through every resample of 5 problems."""
    num, den = pairs(2, m=5)
    weights = np.array([-1.0, 0.25, 0.75])
    drawn, chances = every_resample(5)
    exact = (weights @ ((num @ drawn.T) / (den @ drawn.T))) @ chances
    found = Resampled.values(num, den, rng=rng(3), n_resamples=200_000).combined([weights])
    assert found.estimates[0] == pytest.approx(weights @ ratio(num, den))
    assert found.resamples[0].mean() == pytest.approx(exact, abs=2e-3)


def test_a_sum_of_what_is_alike_does_not_vary() -> None:
    num = np.tile(rng(4).uniform(0, 1, size=(1, 30)), (2, 1)) / 3
    found = Resampled.values(num, np.ones_like(num), rng=rng(5), n_resamples=100).combined([[-1, 1]])
    assert (found.estimates[0], found.errors[0]) == (0, 0)
    assert found.bands(0.95, [0]) == [None]


def test_what_a_sum_leaves_out_does_not_make_it_undefined() -> None:
    num = np.array([np.ones(12), np.zeros(12)])
    den = np.array([np.ones(12), np.eye(12)[0]])  # most resamples miss the only problem of the second
    found = Resampled.values(num, den, rng=rng(6), n_resamples=200)
    assert np.isnan(found.resamples[1]).any()
    assert not np.isnan(found.combined([[1, 0]]).resamples).any()


def test_the_mean_of_ratios_is_the_ratio_of_its_pairs() -> None:
    num, den = pairs(7)
    assert ratio(*mean_of_ratios(num, den)) == pytest.approx(ratio(num, den).mean())
    alone = mean_of_ratios(num[:1], den[:1])
    assert (alone[0] == num[0]).all() and (alone[1] == den[0]).all()
    assert mean_of_ratios(num, den)[1].mean() == pytest.approx(den.mean())
    num, den = means(*rng(8).uniform(0, 1, size=(4, 9)))
    averaged, ones = mean_of_ratios(num, den)
    assert averaged == pytest.approx(num.mean(axis=0)) and (ones == 1).all()


@pytest.mark.parametrize("n_steps", [1, 10])
def test_bands_hold_all_steps_at_once_as_often_as_they_say(n_steps: int) -> None:
    """Differences of steps from a reference on 40 problems, with the true ones known to be 0.

    Problems differ in difficulty, which all checkpoints share; of single intervals far fewer hold together.
    """
    together = alone = 0
    n_runs = 300
    for run in range(n_runs):
        draws = rng(1000 + run)
        hard = draws.beta(0.6, 0.6, size=40)
        num = draws.binomial(8, hard, size=(n_steps + 1, 40)) / 8
        weights = np.hstack([-np.ones((n_steps, 1)), np.eye(n_steps)])
        values = Resampled.values(num, np.ones_like(num), rng=rng(run), n_resamples=600)
        found = values.combined(weights)
        bands, intervals = found.bands(0.95, list(range(n_steps))), found.intervals(0.95)
        together += all(band and band.low <= 0 <= band.high for band in bands)
        alone += all(interval.low <= 0 <= interval.high for interval in intervals)
    assert 0.92 <= together / n_runs <= 0.99
    assert n_steps == 1 or alone / n_runs < 0.85
