"""Integer n-grams against n-grams counted as tuples."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opo_eval.errors import UsageError
from opo_eval.metrics import ngrams
from opo_eval.metrics.ngrams import encode, ngram_counts, shared_ngrams

documents = st.lists(st.lists(st.sampled_from("abc"), max_size=9), min_size=1, max_size=5)


def tuples(tokens, n):
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def runs_by_counter(token_lists, n):
    """Multiset of ((document, count), ...), one entry per n-gram that at least two documents hold."""
    counters = [Counter(tuples(tokens, n)) for tokens in token_lists]
    held = [
        tuple((document, counter[gram]) for document, counter in enumerate(counters) if gram in counter)
        for gram in set().union(*counters)
    ]
    return Counter(runs for runs in held if len(runs) > 1)


def runs_by_integers(shared):
    pairs = list(zip(shared.documents.tolist(), shared.counts.tolist(), strict=True))
    bounds = [*shared.first_runs.tolist(), len(pairs)]
    return Counter(tuple(pairs[start:end]) for start, end in pairwise(bounds))


@pytest.mark.parametrize("key_bits", [63, 0], ids=["packed", "too wide to pack"])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(token_lists=documents)
def test_shared_ngrams_equal_counters(key_bits, token_lists):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ngrams, "_KEY_BITS", key_bits)
        by_order = list(shared_ngrams(encode(token_lists), 5))
    assert len(by_order) == 5
    for n, shared in enumerate(by_order, start=1):
        assert runs_by_integers(shared) == runs_by_counter(token_lists, n)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(tokens=st.lists(st.sampled_from("abc"), max_size=30), n=st.integers(1, 7))
def test_ngram_counts_equal_a_set_of_tuples(tokens, n):
    grams = tuples(tokens, n)
    assert ngram_counts(tokens, n) == (len(set(grams)), len(grams))


def test_ngrams_that_overflow_their_packed_key_are_still_told_apart():
    """256 ids to the power of 8 is 2**64: without a new ranking the first of nine tokens would be lost."""
    tail = list(range(100, 108))
    tokens = [*range(256), 0, *tail, 1, *tail, 0, *tail]
    grams = tuples(tokens, 9)
    assert ngram_counts(tokens, 9) == (len(set(grams)), len(grams))
    assert len(set(grams)) == len(grams) - 1


class Tensor:
    """Like torch's: the elements it iterates over are equal but do not hash alike."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter([object() for _ in self.values])

    def tolist(self):
        return self.values


@pytest.mark.parametrize("kind", [tuple, np.array, Tensor])
def test_sequences_arrays_and_tensors_count_alike(kind):
    ids = [5, 3, 5, 3, 5, 2**40]
    assert ngram_counts(kind(ids), 2) == ngram_counts(ids, 2) == (3, 5)


def test_equal_integers_of_numpy_and_python_are_one_token():
    assert encode([np.array([7, 8]), [8, 7]]).ids.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("n", [0, -1, 1.5])
def test_an_order_that_does_not_exist_is_refused(n):
    with pytest.raises(UsageError, match=f"n is {n}"):
        ngram_counts("abc", n)


def test_an_unhashable_token_is_refused():
    with pytest.raises(UsageError, match="unhashable"):
        ngram_counts([["a"], ["b"]], 1)
