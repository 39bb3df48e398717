"""pass^k against the binomials of the paper, enumeration and pass@k."""

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from builders import group, problem

from opo_eval.errors import UsageError
from opo_eval.metrics import MetricSettings, ProblemSamples
from opo_eval.metrics.passhatk import measure_pass_hat_k, pass_hat_k, pass_hat_k_curve
from opo_eval.metrics.passk import pass_at_k
from opo_eval.records import Verdict

C, W, N, E = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.GRADER_ERROR


@pytest.mark.parametrize("n", [1, 2, 7, 16, 256])
def test_equals_the_binomials_of_the_paper(n):
    c = np.arange(n + 1)
    expected = [[float(Fraction(comb(i, k), comb(n, k))) for k in range(1, n + 1)] for i in c]
    np.testing.assert_allclose(pass_hat_k_curve(n, c), expected, rtol=0, atol=2e-15)
    np.testing.assert_allclose(pass_hat_k(n, c[:, None], np.arange(1, n + 1)), expected, rtol=0, atol=2e-15)


def test_equals_the_share_of_subsets_that_are_all_correct():
    correct = [True, True, True, False, False]
    for k in range(1, 6):
        subsets = list(combinations(correct, k))
        assert pass_hat_k(5, 3, k) == pytest.approx(sum(map(all, subsets)) / len(subsets), abs=1e-15)


def test_values_worked_out_by_hand():
    assert pass_hat_k(4, 3, 2) == pytest.approx(1 / 2)  # 3/4 · 2/3
    assert pass_hat_k(10, 5, 3) == pytest.approx(1 / 12)  # 5/10 · 4/9 · 3/8
    assert pass_hat_k(8, 8, 8) == 1
    assert pass_hat_k(8, 7, 8) == pass_hat_k(8, 0, 1) == 0


def test_one_sample_is_pass_at_1_and_more_are_harder_than_pass_at_k():
    c = np.arange(17)
    np.testing.assert_allclose(pass_hat_k(16, c, 1), pass_at_k(16, c, 1), rtol=0, atol=1e-15)
    assert (np.diff(pass_hat_k_curve(16, c), axis=-1) <= 0).all()
    assert (pass_hat_k(16, c, 5) <= pass_at_k(16, c, 5) + 1e-15).all()


def test_problems_with_unequal_n_share_the_smallest():
    assert pass_hat_k_curve([3, 5], [3, 5]).tolist() == [[1, 1, 1], [1, 1, 1]]


@pytest.mark.parametrize(
    ("n", "c", "k", "part"),
    [
        (4, 5, 2, "c = 5 of n = 4"),
        (4, -1, 2, "c = -1 of n = 4"),
        (4, 1, 5, "k = 5 of n = 4"),
        (4, 1, 0, "k = 0 of n = 4"),
        (4, 1.0, 1, "c is 1.0"),
    ],
)
def test_impossible_counts_are_refused_by_value(n, c, k, part):
    with pytest.raises(UsageError) as error:
        pass_hat_k(n, c, k)
    assert part in str(error.value)


def test_impossible_counts_have_no_curve():
    with pytest.raises(UsageError, match="c = 5 of n = 4"):
        pass_hat_k_curve(4, 5)
    with pytest.raises(UsageError, match="k = 1 of n = 0"):
        pass_hat_k_curve(0, 0)


def test_the_metric_uses_all_samples_up_to_k_of_n():
    asked = group(problem(1), ["t"] * 5, [C, W, C, C, N])
    values = measure_pass_hat_k(ProblemSamples(asked, MetricSettings(n=3)))
    assert {name: value.numerator for name, value in values.items()} == pytest.approx(
        {"pass^1": 3 / 5, "pass^2": 3 / 10, "pass^3": 1 / 10}
    )
    assert {value.denominator for value in values.values()} == {1}


def test_whatever_is_not_correct_breaks_a_streak():
    asked = group(problem(1), ["t"] * 4, [C, N, E, W])
    values = measure_pass_hat_k(ProblemSamples(asked, MetricSettings(n=4)))
    assert [value.numerator for value in values.values()] == pytest.approx([1 / 4, 0, 0, 0])
