"""G-Pass@k and mG-Pass@k against the paper's sums in rational arithmetic."""

from fractions import Fraction
from math import ceil, comb

import numpy as np
import pytest
from builders import group, problem

from opo_eval.errors import UsageError
from opo_eval.metrics import MetricSettings, ProblemSamples
from opo_eval.metrics.gpassk import g_pass_at_k, measure_g_pass_at_k, mg_pass_at_k
from opo_eval.metrics.passhatk import pass_hat_k
from opo_eval.metrics.passk import pass_at_k
from opo_eval.records import Verdict

C, W = Verdict.CORRECT, Verdict.WRONG


def exact(n: int, c: int, k: int, threshold: Fraction) -> Fraction:
    needed = max(ceil(threshold * k), 1)
    return sum(
        (Fraction(comb(c, j) * comb(n - c, k - j), comb(n, k)) for j in range(needed, min(c, k) + 1)),
        Fraction(0),
    )


@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 3), (16, 10), (48, 16), (256, 100)])
def test_equals_the_hypergeometric_tail(n, k):
    c = np.arange(0, n + 1, max(n // 16, 1))
    for threshold in [Fraction(i, 20) for i in range(21)]:
        expected = [float(exact(n, int(count), k, threshold)) for count in c]
        np.testing.assert_allclose(g_pass_at_k(n, c, k, float(threshold)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "k"), [(7, 2), (7, 3), (16, 10), (48, 16)])
def test_mg_pass_equals_the_sum_of_the_paper(n, k):
    c = np.arange(n + 1)
    for count, value in zip(c, mg_pass_at_k(n, c, k), strict=True):
        terms = [exact(n, int(count), k, Fraction(i, k)) for i in range(ceil(k / 2) + 1, k + 1)]
        assert value == pytest.approx(float(Fraction(2, k) * sum(terms)), abs=1e-12)


def test_threshold_zero_is_pass_at_k_and_one_is_all_correct():
    c = np.arange(17)
    np.testing.assert_allclose(g_pass_at_k(16, c, 5, 0.0), pass_at_k(16, c, 5), rtol=0, atol=1e-14)
    all_correct = [comb(count, 5) / comb(16, 5) for count in range(17)]
    np.testing.assert_allclose(g_pass_at_k(16, c, 5, 1.0), all_correct, rtol=0, atol=1e-14)


def test_a_share_that_binary_cannot_hold_needs_no_extra_sample():
    for threshold, k, needed in [(0.07, 100, 7), (0.14, 50, 7), (0.28, 25, 7)]:
        assert threshold * k > needed
        assert g_pass_at_k(200, needed, k, threshold) > 0
        assert g_pass_at_k(200, needed - 1, k, threshold) == 0


def test_scalars_give_a_scalar_and_arrays_broadcast():
    assert isinstance(g_pass_at_k(8, 2, 3, 0.5), float)
    assert isinstance(mg_pass_at_k(8, 2, 3), float)
    assert g_pass_at_k([8, 9], [[1], [2], [3]], 3, 0.5).shape == (3, 2)


@pytest.mark.parametrize("threshold", [-0.1, 1.01, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(threshold):
    with pytest.raises(UsageError, match="between 0 and 1"):
        g_pass_at_k(8, 2, 3, threshold)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 2, 5), (4, 5, 2), (4, -1, 2), (4, 1, 0), (4, 1.0, 2)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(UsageError):
        g_pass_at_k(n, c, k, 0.5)
    with pytest.raises(UsageError):
        mg_pass_at_k(n, c, k)


def test_mg_pass_of_one_sample_is_undefined():
    with pytest.raises(UsageError, match="k is 2 or more"):
        mg_pass_at_k(8, 2, 1)


def measured(verdicts: list[Verdict], n: int) -> dict[str, float]:
    samples = ProblemSamples(group(problem(1), ["t"] * len(verdicts), verdicts), MetricSettings(n=n))
    return {name: value.numerator for name, value in measure_g_pass_at_k(samples).items()}


def test_the_metric_by_hand():
    # Two of four are correct; of the six pairs one is all correct and five hold at least one.
    values = measured([C, W, C, W], 3)
    assert values == pytest.approx(
        {
            **{f"g_pass@1_{tau}": 1 / 2 for tau in (0.25, 0.5, 0.75, 1.0)},
            "g_pass@2_0.25": 5 / 6, "g_pass@2_0.5": 5 / 6, "g_pass@2_0.75": 1 / 6, "g_pass@2_1.0": 1 / 6,
            "mg_pass@2": 1 / 6,
            "g_pass@3_0.25": 1, "g_pass@3_0.5": 1 / 2, "g_pass@3_0.75": 0, "g_pass@3_1.0": 0,
            "mg_pass@3": 0,
        }
    )  # fmt: skip


@pytest.mark.parametrize(("correct", "n"), [(0, 12), (5, 12), (12, 12), (7, 16)])
def test_the_metric_gives_the_public_functions(correct, n):
    verdicts = [C] * correct + [W] * (20 - correct)
    values = measured(verdicts, n)
    for k in {1, 2, 4, 8, n}:
        for threshold in (0.25, 0.5, 0.75, 1.0):
            assert values.pop(f"g_pass@{k}_{threshold}") == g_pass_at_k(20, correct, k, threshold)
        if k > 1:
            assert values.pop(f"mg_pass@{k}") == mg_pass_at_k(20, correct, k)
    assert not values


def test_all_correct_is_pass_hat_k():
    assert measured([C] * 9 + [W] * 3, 8)["g_pass@8_1.0"] == pytest.approx(pass_hat_k(12, 9, 8), abs=1e-15)
