"""How much a problem's numbers vary with its samples: the literal jackknife, and n times the covariance."""

from collections.abc import Callable

import numpy as np
import pytest
from builders import group, problem
from hypothesis import given, settings
from hypothesis import strategies as st

from opo_eval.metrics import MetricSettings, ProblemSamples
from opo_eval.metrics.core import Spread, of_correct, share, sums
from opo_eval.metrics.gpassk import g_pass_at_k, measure_g_pass_at_k, mg_pass_at_k
from opo_eval.metrics.passhatk import measure_pass_hat_k, pass_hat_k, pass_hat_k_curve
from opo_eval.metrics.passk import measure_pass_at_k, pass_at_k, pass_at_k_curve
from opo_eval.records import Verdict

C, W = Verdict.CORRECT, Verdict.WRONG


def delete_one_variance(flags: list[bool], estimate: Callable[[int, int], float]) -> float:
    """The jackknife's variance, leaving out every sample in turn (Efron and Stein 1981)."""
    n = len(flags)
    without = [estimate(n - 1, sum(flags) - flag) for flag in flags]
    return (n - 1) / n * sum((value - np.mean(without)) ** 2 for value in without)


def samples(flags: list[bool], n: int | None = None) -> ProblemSamples:
    asked = group(problem(1), ["t"] * len(flags), [C if flag else W for flag in flags])
    return ProblemSamples(asked, MetricSettings(n=n or len(flags), grader="g"))


flag_lists = st.lists(st.booleans(), min_size=2, max_size=12)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(flags=flag_lists)
@pytest.mark.parametrize(
    ("measure", "estimate", "name"),
    [(measure_pass_at_k, pass_at_k, "pass@"), (measure_pass_hat_k, pass_hat_k, "pass^")],
)
def test_curves_have_the_delete_one_jackknifes_variance(measure, estimate, name, flags) -> None:
    found = measure(samples(flags))
    for k in range(1, len(flags)):
        spread = found[f"{name}{k}"].spread
        assert spread[0] == pytest.approx(
            delete_one_variance(flags, lambda n, c, k=k: estimate(n, c, k)), abs=1e-12
        )
        assert spread[1:] == (0, 0, len(flags) - 1)
    assert found[f"{name}{len(flags)}"].spread is None


@settings(max_examples=60, deadline=None, derandomize=True)
@given(flags=flag_lists)
def test_g_pass_at_k_has_the_delete_one_jackknifes_variance(flags: list[bool]) -> None:
    found = measure_g_pass_at_k(samples(flags))
    for name, value in found.items():
        k, _, tau = name.split("@")[1].partition("_")
        if int(k) == len(flags):
            assert value.spread is None
            continue
        expected = delete_one_variance(
            flags,
            lambda n, c, k=int(k), tau=tau: (
                g_pass_at_k(n, c, k, float(tau)) if tau else mg_pass_at_k(n, c, k)
            ),
        )
        assert value.spread and value.spread[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [2, 5, 16])
def test_at_k_1_it_is_the_variance_of_a_share(n: int) -> None:
    for c in range(n + 1):
        p = c / n
        spread = of_correct(pass_at_k_curve, n, c)[0].spread
        assert spread == pytest.approx((p * (1 - p) / (n - 1), 0, 0, n - 1))
        assert spread == pytest.approx(share([True] * c + [False] * (n - c)).spread)


def test_k_below_a_smaller_n_all_have_one() -> None:
    found = measure_pass_at_k(samples([True, False, True, False, False], n=3))
    assert set(found) == {"pass@1", "pass@2", "pass@3"}
    assert all(value.spread for value in found.values())


def test_alike_samples_do_not_vary_and_one_sample_does_not_say() -> None:
    for c in (0, 6):
        assert [v.spread for v in of_correct(pass_at_k_curve, 6, c)] == [
            *[Spread(0.0, 0.0, 0.0, 5)] * 5,
            None,
        ]
    assert [v.spread for v in of_correct(pass_hat_k_curve, 1, 1)] == [None]
    assert share([True]).spread is None and share([True, None]).spread is None
    assert sums([3]).spread is None and sums([]).spread is None


numbers = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 400)), min_size=2, max_size=16)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(pairs=numbers)
def test_sums_vary_by_n_times_what_one_sample_does(pairs: list[tuple[int, int]]) -> None:
    num, den = np.array(pairs, dtype=float).T
    value = sums(num, den)
    covariances = len(num) * np.cov(num, den)
    assert value[:2] == (num.sum(), den.sum())
    assert value.spread == pytest.approx((*covariances[[0, 0, 1], [0, 1, 1]], len(num) - 1))
    counted = sums(num)
    assert counted[:2] == (num.sum(), len(num))
    assert counted.spread == pytest.approx((covariances[0, 0], 0, 0, len(num) - 1))


def test_a_sum_varies_so_from_draw_to_draw() -> None:
    """The expected spread is the variance of the sum, over 20,000 draws of five samples."""
    rng = np.random.default_rng(0)
    draws = rng.gamma(2, 10, size=(20_000, 5))
    estimated = np.mean([sums(draw).spread[0] for draw in draws[:2000]])  # type: ignore[index]
    assert estimated == pytest.approx(draws.sum(axis=1).var(), rel=0.05)


def test_the_jackknife_is_not_below_the_variance_from_draw_to_draw() -> None:
    """Efron and Stein (1981): on average it errs upwards, by little at k well below n. (p = 0.2, n = 16)"""
    rng, n, p = np.random.default_rng(1), 16, 0.2
    correct = rng.binomial(n, p, size=40_000)
    table = [of_correct(pass_at_k_curve, n, c) for c in range(n + 1)]
    for k, most in ((1, 1.02), (4, 1.12), (8, 1.6)):
        estimated = np.mean([table[c][k - 1].spread[0] for c in correct])  # type: ignore[index]
        actual = np.var([table[c][k - 1].numerator for c in correct])
        assert 0.98 < estimated / actual < most


def test_a_share_leaves_out_what_is_not_known() -> None:
    value = share([True, None, False, True, None])
    assert value[:3] == (pytest.approx(2 / 3), 1, 2)
    assert value.spread == pytest.approx((2 / 3 * 1 / 3 / 2, 0, 0, 2))
