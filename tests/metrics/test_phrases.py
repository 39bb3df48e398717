"""Repeated n-grams and phrases against counting tuples."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opo_eval.errors import UsageError
from opo_eval.metrics import repeated_ngrams as module
from opo_eval.metrics.ngrams import encode
from opo_eval.metrics.phrases import MOST_OVERLAPPING, repeated_phrases
from opo_eval.metrics.repeated_ngrams import longer_ngrams, repeated_ngrams

corpora = st.lists(st.lists(st.sampled_from("ab"), max_size=12), min_size=1, max_size=6)


def places(text, gram):
    return [i for i in range(len(text) - len(gram) + 1) if tuple(text[i : i + len(gram)]) == tuple(gram)]


def counted(texts, group_of, gram):
    """(groups, texts, occurrences) by looking everywhere."""
    held = [(group, len(places(text, gram))) for text, group in zip(texts, group_of, strict=True)]
    held = [(group, n) for group, n in held if n]
    return len({group for group, _ in held}), len(held), sum(n for _, n in held)


def grams(texts, n):
    return {tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)}


def phrases(texts, group_of, n, most=15):
    documents = encode(texts)
    found = repeated_phrases(documents, np.array(group_of), repeated_ngrams(documents, n), most)
    flat = [token for text in texts for token in text]
    return [(tuple(flat[p.start : p.start + p.length]), p) for p in found]


# --- repeated n-grams -------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [1 << 21, 3], ids=["one part", "several parts"])
@pytest.mark.parametrize("key_bits", [63, 5], ids=["packed", "a few tokens at once"])
@settings(max_examples=120, deadline=None, derandomize=True)
@given(texts=corpora, n=st.integers(1, 7))
def test_repeated_ngrams_are_those_that_occur_twice(part: int, key_bits: int, texts, n: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PART", part)
        patch.setattr(module, "_KEY_BITS", key_bits)
        found = repeated_ngrams(encode(texts), n)
    starts = [(text[i : i + n], len(text) - i >= n) for text in texts for i in range(len(text))]
    times = Counter(tuple(gram) for gram, whole in starts if whole)
    for rank, (gram, whole) in zip(found.rank_at.tolist(), starts, strict=True):
        assert (rank >= 0) == (whole and times[tuple(gram)] > 1)
    by_rank = {
        (rank, tuple(g)) for rank, (g, _) in zip(found.rank_at.tolist(), starts, strict=True) if rank >= 0
    }
    assert len(by_rank) == found.n_ranks == sum(n > 1 for n in times.values())
    assert {rank for rank, _ in by_rank} == set(range(found.n_ranks))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(texts=corpora, n=st.integers(1, 4), more=st.integers(0, 6))
def test_longer_ones_from_shorter_ones_are_the_same(texts, n: int, more: int) -> None:
    documents = encode(texts)
    direct = repeated_ngrams(documents, n + more)
    stepwise = longer_ngrams(documents, repeated_ngrams(documents, n), n + more)
    assert ((direct.rank_at >= 0) == (stepwise.rank_at >= 0)).all()
    assert direct.n_ranks == stepwise.n_ranks


@settings(max_examples=60, deadline=None, derandomize=True)
@given(keys=st.lists(st.integers(0, 2**62), max_size=30))
def test_order_is_a_stable_argsort(keys) -> None:
    values = np.array(keys, dtype=np.int64)
    assert module._order(values).tolist() == np.argsort(values, kind="stable").tolist()


def test_shorter_ngrams_than_known_are_refused() -> None:
    documents = encode([list("abcabc")])
    with pytest.raises(UsageError, match="2-grams are not found from 3-grams"):
        longer_ngrams(documents, repeated_ngrams(documents, 3), 2)
    with pytest.raises(UsageError, match="n is 0"):
        repeated_ngrams(documents, 0)


# --- phrases ----------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(texts=corpora, n=st.integers(1, 4), data=st.data())
def test_phrases_are_counted_exactly_and_cannot_grow(texts, n: int, data) -> None:
    group_of = sorted(data.draw(st.lists(st.integers(0, 2), min_size=len(texts), max_size=len(texts))))
    for tokens, phrase in phrases(texts, group_of, n):
        counts = counted(texts, group_of, tokens)
        assert counts == (phrase.n_groups, phrase.n_documents, phrase.n_occurrences)
        assert phrase.length >= n and phrase.n_documents > 1
        for token in "ab":
            assert counted(texts, group_of, (*tokens, token))[2] < phrase.n_occurrences
            assert counted(texts, group_of, (token, *tokens))[2] < phrase.n_occurrences


@settings(max_examples=150, deadline=None, derandomize=True)
@given(texts=corpora, n=st.integers(1, 4))
def test_the_first_is_the_best_and_the_others_come_in_order(texts, n: int) -> None:
    group_of = [i // 2 for i in range(len(texts))]
    best = sorted((counted(texts, group_of, gram) for gram in grams(texts, n)), reverse=True)
    best = [counts for counts in best if counts[1] > 1]
    found = [(p.n_groups, p.n_documents, p.n_occurrences) for _, p in phrases(texts, group_of, n, most=99)]
    assert found == sorted(found, reverse=True)
    assert found[:1] == best[:1]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(texts=corpora, n=st.integers(1, 4))
def test_what_is_not_listed_overlaps_with_what_is(texts, n: int) -> None:
    listed = [tokens for tokens, _ in phrases(texts, range(len(texts)), n, most=10**6)]
    covered = [set() for _ in texts]
    for tokens in listed:
        for text, own in zip(texts, covered, strict=True):
            own.update(i + j for i in places(text, tokens) for j in range(len(tokens)))
    for gram in grams(texts, n):
        at = [(own, i) for text, own in zip(texts, covered, strict=True) for i in places(text, gram)]
        if counted(texts, range(len(texts)), gram)[1] > 1:
            overlapping = [any(i + j in own for j in range(n)) for own, i in at]
            assert np.mean(overlapping) > MOST_OVERLAPPING


def test_a_long_sentence_is_one_phrase() -> None:
    sentence = ["once", "there", "was", "a", "dog", "who", "loved", "to", "sing", "in", "rain"]
    texts = [[f"start{i}", *sentence, f"end{i}", "x", f"y{i}"] for i in range(5)]
    ((tokens, phrase),) = phrases(texts, [0, 0, 1, 1, 2], 4)
    assert list(tokens) == sentence
    assert (phrase.n_groups, phrase.n_documents, phrase.n_occurrences) == (3, 5, 5)


def test_variants_of_a_listed_phrase_do_not_flood_the_list() -> None:
    stem = ["we", "need", "to", "find", "the", "value", "of", "x", "in", "this"]
    texts = [[*stem, "case" if i % 2 else "problem", f"{i}"] for i in range(20)]
    (tokens, phrase), *others = phrases(texts, range(20), 8)
    assert list(tokens) == stem and phrase.n_documents == 20
    assert others == []


def test_what_only_one_text_repeats_is_not_shared() -> None:
    assert phrases([list("abcabcabc"), list("xyz")], [0, 1], 3) == []


def test_whole_copies_grow_to_the_whole_text() -> None:
    text = [f"w{i}" for i in range(300)]
    ((tokens, phrase),) = phrases([text] * 40, [0] * 40, 8)
    assert len(tokens) == 300 and phrase.n_occurrences == 40


@pytest.mark.parametrize("texts", [[], [[]], [[], ["a"]]])
def test_nothing_to_find(texts) -> None:
    assert phrases(texts, [0] * len(texts), 2) == []
