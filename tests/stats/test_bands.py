"""Bands that hold for a whole curve at once: against a sup-t worked out here, and what they contain."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from stats.enumerated import bounds, expanded_tail, means, rng

from opo_eval.metrics import pass_at_k_curve
from opo_eval.stats import SIMULTANEOUS, Resampled


def curves(seed: int, m: int = 30, n: int = 8) -> np.ndarray:
    """pass@k of m problems: [n, m]."""
    draws = rng(seed)
    correct = draws.binomial(n, draws.beta(0.35, 0.9, size=m))
    return pass_at_k_curve(np.full(m, n), correct).T


def sup_t(values: np.ndarray, resamples: np.ndarray, level: float) -> float:
    """How many standard errors the worst point of a curve is off, in `level` of the resamples."""
    m = values.shape[1]
    errors = scipy_stats.sem(values, axis=1)
    worst = [max(abs(drawn - values.mean(axis=1)) / errors) for drawn in resamples.T]
    wider = -scipy_stats.norm.ppf(expanded_tail(level, m)) / scipy_stats.norm.ppf((1 + level) / 2)
    return wider * float(np.quantile(worst, level))


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_a_band_is_the_sup_t_of_its_resamples(level: float) -> None:
    values = curves(0)
    found = Resampled.values(*means(*values), rng=rng(1), n_resamples=3000)
    reach = sup_t(values, found.resamples, level) * scipy_stats.sem(values, axis=1)
    intervals = found.intervals(level)
    for i, band in enumerate(found.bands(level, list(range(8)))):
        low, high = values[i].mean() - reach[i], values[i].mean() + reach[i]
        expected = min(low, intervals[i].low), max(high, intervals[i].high)
        assert bounds(band) == pytest.approx(expected)
        assert band and (band.kind, band.level) == (SIMULTANEOUS, level)


def test_the_resamples_are_those_of_whole_problems() -> None:
    """What is drawn for one k is drawn for all: pass@k does not fall with k in any resample."""
    found = Resampled.values(*means(*curves(1)), rng=rng(1), n_resamples=500)
    assert (np.diff(found.resamples, axis=0) >= -1e-12).all()


@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_bands_contain_the_intervals_of_their_points(shares: bool, seed: int) -> None:
    found = Resampled.values(*means(*curves(seed, m=12)), shares=shares, rng=rng(2), n_resamples=800)
    for own, band in zip(found.intervals(0.95), found.bands(0.95, list(range(8))), strict=True):
        assert band and band.low <= own.low and own.high <= band.high


@pytest.mark.parametrize("seed", range(4))
def test_bands_of_a_difference_contain_its_intervals(seed: int) -> None:
    a, b = means(*curves(seed)), means(*curves(seed + 50))
    found = Resampled.differences(a, b, rng=rng(2), n_resamples=800)
    for own, band in zip(found.intervals(0.95), found.bands(0.95, list(range(8))), strict=True):
        assert band and band.low <= own.low and own.high <= band.high


def test_points_that_do_not_move_have_no_band_and_do_not_widen_that_of_others() -> None:
    """Three tenths in every cluster, whatever its size, are so in every resample, rounding aside."""
    sizes = np.tile(rng(3).integers(1, 8, size=30).astype(float), (9, 1))
    values = np.vstack([curves(3), np.full((1, 30), 0.3)]) * sizes
    alone = Resampled.values(values[:8], sizes[:8], rng=rng(1), n_resamples=500).bands(0.95, list(range(8)))
    beside = Resampled.values(values, sizes, rng=rng(1), n_resamples=500).bands(0.95, list(range(9)))
    assert beside[8] is None
    assert [bounds(band) for band in beside[:8]] == [pytest.approx(bounds(band)) for band in alone]


def test_a_curve_is_chosen_from_what_was_resampled() -> None:
    values = curves(4)
    found = Resampled.values(*means(*values), rng=rng(1), n_resamples=500)
    part = Resampled.values(*means(*values[2:5]), rng=rng(1), n_resamples=500)
    chosen, alone = found.bands(0.95, [2, 3, 4]), part.bands(0.95, [0, 1, 2])
    assert [bounds(band) for band in chosen] == [pytest.approx(bounds(band)) for band in alone]


def test_few_problems_or_none_that_differ_have_no_band() -> None:
    few = Resampled.values(*means(*curves(5, m=9)), rng=rng(), n_resamples=50)
    assert few.bands(0.95, [0, 1]) == [None, None]
    alike = Resampled.values(*means(np.ones(20), np.zeros(20)), rng=rng(), n_resamples=50)
    assert alike.bands(0.95, [0, 1]) == [None, None]
