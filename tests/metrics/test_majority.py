"""maj@k against enumeration of all subsets, closed forms and its properties."""

import itertools
from collections import Counter
from fractions import Fraction
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opo_eval.errors import UsageError
from opo_eval.metrics.majority import majority_at_k


def share_of_vote(answers) -> Fraction:
    votes = Counter(answer for answer in answers if answer is not None)
    most_voted = [answer for answer, count in votes.items() if count == max(votes.values())]
    return Fraction("correct" in most_voted, max(len(most_voted), 1))


def by_enumeration(correct: int, wrong: list[int], silent: int, k: int) -> Fraction:
    answers = ["correct"] * correct + [None] * silent
    answers += [f"wrong {i}" for i, size in enumerate(wrong) for _ in range(size)]
    shares = [share_of_vote(subset) for subset in itertools.combinations(answers, k)]
    return sum(shares, Fraction(0)) / len(shares)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    correct=st.integers(0, 4),
    wrong=st.lists(st.integers(1, 3), max_size=3),
    silent=st.integers(0, 2),
    data=st.data(),
)
def test_equals_enumeration_of_all_subsets(correct, wrong, silent, data):
    n = correct + sum(wrong) + silent
    for k in {1, n, data.draw(st.integers(1, n))} if n else ():
        expected = float(by_enumeration(correct, wrong, silent, k))
        assert majority_at_k(correct, wrong, silent, k) == pytest.approx(expected, abs=1e-14)


def test_four_of_ten_by_hand():
    """All ten vote: 4 correct and 4 of one wrong answer tie, the 2 of another lose."""
    assert majority_at_k(4, [4, 2], 0, 10) == 0.5
    assert majority_at_k(4, [4, 2], 3, 13) == 0.5
    assert majority_at_k(4, [3, 3], 0, 10) == 1
    assert majority_at_k(3, [4, 3], 0, 10) == 0


@pytest.mark.parametrize("k", [1, 2, 31, 128, 255, 256])
def test_two_large_classes_and_silence_equal_the_closed_form(k):
    correct, wrong, silent = 100, 120, 36
    expected = Fraction(0)
    for mine, theirs in itertools.product(range(k + 1), repeat=2):
        if mine >= theirs and mine > 0 and mine + theirs <= k:
            ways = comb(correct, mine) * comb(wrong, theirs) * comb(silent, k - mine - theirs)
            expected += Fraction(ways, 2 if mine == theirs else 1)
    expected /= comb(correct + wrong + silent, k)
    assert majority_at_k(correct, [wrong], silent, k) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("k", [2, 100, 255, 256])
def test_256_different_answers_are_all_equally_likely(k):
    assert majority_at_k(1, [1] * 255, 0, k) == pytest.approx(1 / 256, abs=1e-14)


@pytest.mark.parametrize("k", [1, 7, 64, 200])
def test_equal_classes_share_the_vote(k):
    assert majority_at_k(50, [50, 50, 50], 0, k) == pytest.approx(1 / 4, abs=1e-12)


def test_one_sample_is_the_share_of_correct_samples():
    assert majority_at_k(3, [2, 2], 1, 1) == pytest.approx(3 / 8, abs=1e-15)


def test_the_order_of_the_wrong_answers_does_not_matter():
    values = {round(majority_at_k(5, list(order), 2, 6), 14) for order in itertools.permutations([1, 2, 4])}
    assert len(values) == 1


def test_nobody_correct_or_nobody_voting_is_zero_and_all_correct_is_one():
    assert majority_at_k(0, [3, 1], 2, 4) == 0
    assert majority_at_k(0, [], 5, 3) == 0
    assert majority_at_k(1200, [], 0, 700) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ((2, [1], 0, 4), "k = 4 of n = 3"),
        ((2, [1], 0, 0), "k = 0 of n = 3"),
        ((0, [], 0, 1), "k = 1 of n = 0"),
        ((-1, [3], 0, 1), "a count of -1"),
        ((1, [3, -2], 0, 1), "a count of -2"),
        ((1, [3], -3, 1), "a count of -3"),
        ((1, [3.5], 0, 1), "wrong is [3.5]"),
        ((1.0, [3], 0, 1), "correct is 1.0"),
    ],
)
def test_impossible_counts_are_refused_by_value(arguments, part):
    with pytest.raises(UsageError) as error:
        majority_at_k(*arguments)
    assert part in str(error.value)
