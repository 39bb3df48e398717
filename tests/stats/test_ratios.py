"""Ratios of sums, their standard errors and sums by cluster, against the jackknife and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats as scipy_stats
from stats.enumerated import rng

from opo_eval.errors import InputError
from opo_eval.stats import by_cluster, ratio
from opo_eval.stats.ratios import difference, influence, paired_influence, standard_errors


def test_the_value_is_a_ratio_of_sums() -> None:
    assert ratio([1, 2, 3], [2, 2, 4]) == 0.75
    assert ratio([[1, 0], [3, 3]], [[1, 1], [4, 2]]).tolist() == [0.5, 1.0]


def test_the_standard_error_of_a_mean_is_scipys() -> None:
    values = rng(1).uniform(size=(3, 25))
    ours = standard_errors(influence(values, np.ones((3, 25))))
    np.testing.assert_allclose(ours, scipy_stats.sem(values, axis=1), rtol=1e-12)


def delete_one(num: np.ndarray, den: np.ndarray) -> np.ndarray:
    """The ratio without each problem in turn."""
    return (num.sum() - num) / (den.sum() - den)


def jackknife_error(without: np.ndarray) -> float:
    m = len(without)
    return float(np.sqrt((m - 1) / m * ((without - without.mean()) ** 2).sum()))


@pytest.mark.parametrize("seed", range(5))
def test_the_standard_error_of_a_ratio_is_the_delete_one_jackknifes(seed: int) -> None:
    """Both are first-order: they differ by terms of the order of 1 / problems."""
    draws = rng(seed)
    den = draws.lognormal(5, 0.4, size=400)
    num = den * draws.beta(2, 6, size=400)
    assert standard_errors(influence(num, den)) == pytest.approx(
        jackknife_error(delete_one(num, den)), rel=0.01
    )


def test_the_standard_error_of_a_ratio_is_the_delta_methods() -> None:
    draws = rng(7)
    den = draws.lognormal(5, 0.6, size=30)
    num = den * draws.beta(2, 6, size=30)
    value, gradient = num.sum() / den.sum(), np.array([1, -num.sum() / den.sum()]) / den.mean()
    of_means = np.cov(num, den) / 30
    assert value == ratio(num, den)
    assert standard_errors(influence(num, den)) == pytest.approx(np.sqrt(gradient @ of_means @ gradient))


def test_the_standard_error_of_a_difference_is_the_delete_one_jackknifes() -> None:
    draws = rng(3)
    hardness = draws.beta(2, 6, size=300)
    sides = []
    for _ in range(2):
        den = draws.lognormal(5, 0.3, size=300)
        sides.append((den * np.clip(hardness + draws.normal(0, 0.05, size=300), 0, 1), den))
    without = delete_one(*sides[1]) - delete_one(*sides[0])
    assert standard_errors(paired_influence(*sides)) == pytest.approx(jackknife_error(without), rel=0.01)


def test_influences_add_up_to_nothing() -> None:
    num, den = rng(2).uniform(size=(4, 9)), rng(3).uniform(1, 2, size=(4, 9))
    np.testing.assert_allclose(influence(num, den).sum(axis=-1), 0, atol=1e-12)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7, 12345.678])
@pytest.mark.parametrize("m", [3, 30, 499])
def test_rounding_is_no_spread(value: float, m: int) -> None:
    """Σ of m times 0.1 is not m times 0.1, and yet no problem differs from another."""
    alike = np.full(m, value), np.ones(m)
    assert standard_errors(influence(*alike)) == 0
    varied = rng(m).uniform(size=m)
    moved = varied + value, np.ones(m)
    assert standard_errors(paired_influence((varied, np.ones(m)), moved)) == 0


def test_a_small_difference_is_not_rounding() -> None:
    x, y = np.array([0.1 + 0.2, 1.0 + 1e-9, 1e-20]), np.array([0.3, 1.0, 0.0])
    assert difference(x, y, of=x).tolist() == [0, pytest.approx(1e-9), 1e-20]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    values=hnp.arrays(float, (2, 12), elements=st.floats(-100, 100)),
    labels=st.lists(st.sampled_from(["I", "II", 3, None]), min_size=12, max_size=12),
)
def test_clusters_are_sums_in_order_of_first_seen(values: np.ndarray, labels: list) -> None:
    seen: dict = {}
    for i, label in enumerate(labels):
        seen.setdefault(label, []).append(i)
    expected = [[sum(row[i] for i in members) for members in seen.values()] for row in values]
    np.testing.assert_allclose(by_cluster(values, labels), expected, atol=1e-9)


def test_clusters_keep_the_value_and_widen_the_error_where_problems_resemble_one_another() -> None:
    exam = np.repeat(rng(5).uniform(size=20), 15)
    num, den, labels = exam + rng(6).normal(0, 0.01, size=300), np.ones(300), np.repeat(np.arange(20), 15)
    clustered = by_cluster(num, labels.tolist()), by_cluster(den, labels.tolist())
    assert ratio(*clustered) == pytest.approx(ratio(num, den))
    alone, together = (standard_errors(influence(*sums)) for sums in ((num, den), clustered))
    assert together / alone == pytest.approx(np.sqrt(15), rel=0.05)


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="2 cluster labels do not fit 3 problems"):
        by_cluster([1, 2, 3], ["a", "b"])


@pytest.mark.parametrize(
    ("num", "den", "message"),
    [
        ([], [], "there is no problem"),
        ([1.0, float("nan")], [1.0, 1.0], "must be finite"),
        ([1.0, 2.0], [1.0, float("inf")], "must be finite"),
        ([1.0, 2.0], [0.0, 0.0], "the metric is undefined on these problems"),
        ([1.0, 2.0], [1.0], "must be of the same shape"),
        (1.0, 1.0, "must be of the same shape"),
    ],
)
def test_what_has_no_value_is_refused(num: object, den: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ratio(num, den)  # type: ignore[arg-type]
