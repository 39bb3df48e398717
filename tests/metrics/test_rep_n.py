"""Rep-n against its definition."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opo_eval.errors import UsageError
from opo_eval.metrics.repetition import rep_n


def test_values_worked_out_by_hand():
    assert rep_n(list("abcdefgh")) == 0
    # aaaaa four times, of which three repeat.
    assert rep_n(["a"] * 8) == 1 - 1 / 4
    # abcab, bcabc, cabca, abcab, bcabc, cabca: three of six.
    assert rep_n(list("abcabcabca")) == 1 / 2
    assert rep_n([1, 2, 1, 2, 1], n=2) == 1 / 2


@settings(max_examples=200, deadline=None, derandomize=True)
@given(tokens=st.lists(st.integers(0, 3), min_size=5, max_size=60), n=st.integers(1, 5))
def test_equals_the_definition(tokens, n):
    grams = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    assert rep_n(tokens, n) == 1 - len(set(grams)) / len(grams)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(tokens=st.lists(st.integers(0, 3), min_size=5, max_size=40))
def test_only_equality_of_tokens_matters(tokens):
    assert rep_n(tokens) == rep_n([f"<{token}>" for token in tokens]) == rep_n(tokens[::-1])


@pytest.mark.parametrize(("tokens", "n"), [([1, 2, 3, 4], 5), ([], 1), ([1], 0), ([1, 2], -2)])
def test_undefined_is_an_error_and_not_zero(tokens, n):
    with pytest.raises(UsageError):
        rep_n(tokens, n)
