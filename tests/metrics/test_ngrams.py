"""Integer n-grams against n-grams counted as tuples."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opo_eval.errors import UsageError
from opo_eval.metrics import ngrams
from opo_eval.metrics.ngrams import Ngrams, encode, ngram_counts, shared_ngrams

documents = st.lists(st.lists(st.sampled_from("abc"), max_size=9), min_size=1, max_size=5)


def tuples(tokens, n):
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def runs_by_counter(token_lists, n, kept):
    """Multiset of ((document, count), ...), an entry for each n-gram that two or more kept documents hold."""
    counters = [
        Counter(tuples(tokens, n)) for tokens, is_kept in zip(token_lists, kept, strict=True) if is_kept
    ]
    held = [
        tuple((document, counter[gram]) for document, counter in enumerate(counters) if gram in counter)
        for gram in set().union(*counters)
    ]
    return Counter(runs for runs in held if len(runs) > 1)


def runs_by_integers(shared):
    pairs = list(zip(shared.documents.tolist(), shared.counts.tolist(), strict=True))
    bounds = [*shared.first_runs.tolist(), len(pairs)]
    return Counter(tuple(pairs[start:end]) for start, end in pairwise(bounds))


@pytest.fixture(params=[63, 0], ids=["packed", "too wide to pack"])
def key_bits(request, monkeypatch):
    monkeypatch.setattr(ngrams, "_KEY_BITS", request.param)


ANY_FIXTURE = [HealthCheck.function_scoped_fixture]


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=ANY_FIXTURE)
@given(token_lists=documents, data=st.data())
def test_shared_ngrams_equal_counters(key_bits, token_lists, data):
    kept = data.draw(st.lists(st.booleans(), min_size=len(token_lists), max_size=len(token_lists)))
    found = Ngrams(encode(token_lists))
    for n in range(1, 6):
        shared = shared_ngrams(found.repeated(n), np.array(kept))
        assert runs_by_integers(shared) == runs_by_counter(token_lists, n, kept)


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=ANY_FIXTURE)
@given(token_lists=documents)
def test_duplicates_are_the_ngrams_that_stand_earlier_in_their_document(key_bits, token_lists):
    found = Ngrams(encode(token_lists))
    for n in (5, 1, 2, 3, 4):  # in any order
        grams = [tuples(tokens, n) for tokens in token_lists]
        expected = {(d, i) for d, own in enumerate(grams) for i in range(len(own)) if own[i] in own[:i]}
        documents, places = found.duplicates(n)
        assert len(places) == len(expected)
        assert set(zip(documents.tolist(), places.tolist(), strict=True)) == expected
        assert found.totals(n).tolist() == list(map(len, grams))
        assert found.n_distinct(n) == len({gram for own in grams for gram in own})


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
