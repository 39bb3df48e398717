"""Near-duplicates against Jaccard similarities of Python sets, all pairs of them."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opo_eval.errors import UsageError
from opo_eval.metrics.near_duplicates import (
    MOST_MISSED,
    N_HASHES,
    bands,
    miss_probability,
    near_duplicates,
    ngram_sets,
    signatures,
)
from opo_eval.metrics.ngrams import encode
from opo_eval.metrics.repeated_ngrams import repeated_ngrams

N = 3
token_lists = st.lists(st.lists(st.sampled_from("abcd"), max_size=14), max_size=7)


def sets_of(texts, n=N):
    documents = encode(texts)
    return ngram_sets(documents, repeated_ngrams(documents, n), np.arange(len(texts)))


def jaccard(a, b, n=N):
    mine, other = ({tuple(t[i : i + n]) for i in range(len(t) - n + 1)} for t in (a, b))
    return len(mine & other) / len(mine | other) if mine and other else 0.0


def found(texts, threshold, seed=0, n=N):
    rng = np.random.default_rng(seed)
    return {
        (near.document, other): similarity
        for near in near_duplicates(sets_of(texts, n), threshold, rng)
        for other, similarity in zip(near.others.tolist(), near.similarities.tolist(), strict=True)
    }


def mutants(rng, n_pairs, length, changes):
    """Pairs of texts, the second with some tokens of the first replaced."""
    texts = []
    for _ in range(n_pairs):
        text = rng.integers(10_000, size=length)
        copy = text.copy()
        copy[rng.choice(length, size=changes, replace=False)] = rng.integers(10_000, 20_000, size=changes)
        texts += [text.tolist(), copy.tolist()]
    return texts


# --- what is found ----------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, derandomize=True)
@given(texts=token_lists, threshold=st.sampled_from([0.1, 0.5, 0.8, 1.0]))
def test_every_pair_is_one_and_its_similarity_exact(texts, threshold) -> None:
    for (a, b), similarity in found(texts, threshold).items():
        assert a < b
        assert similarity == pytest.approx(jaccard(texts[a], texts[b]), abs=1e-15)
        assert similarity >= threshold


@settings(max_examples=100, deadline=None, derandomize=True)
@given(texts=token_lists)
def test_equal_sets_are_always_found(texts) -> None:
    texts = texts + texts[:2]
    equal = {(a, b) for a, b in combinations(range(len(texts)), 2) if jaccard(texts[a], texts[b]) == 1}
    assert set(found(texts, 1.0)) == equal
    assert equal <= set(found(texts, 0.8))


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.9])
def test_recall_against_brute_force_is_as_stated(threshold: float) -> None:
    rng = np.random.default_rng(7)
    # 60 tokens and 1 to 10 changes: similarities from 0.9 down to 0.3, most near the thresholds.
    texts = [text for changes in range(1, 11) for text in mutants(rng, 40, 60, changes)]
    true = {
        (a, b): similarity
        for a, b in combinations(range(len(texts)), 2)
        if b == a + 1 and a % 2 == 0 and (similarity := jaccard(texts[a], texts[b])) >= threshold
    }
    missed = true.keys() - found(texts, threshold).keys()
    expected = sum(miss_probability(similarity, threshold) for similarity in true.values())
    assert len(true) > 30
    assert len(missed) <= expected + 4 * np.sqrt(expected) + 1


def test_the_missed_share_is_the_formula_where_it_is_large() -> None:
    rng = np.random.default_rng(3)
    texts = mutants(rng, 400, 60, 4)
    pairs = [(2 * i, 2 * i + 1) for i in range(400)]
    sets = sets_of(texts)
    n_bands, n_rows = bands(0.9)
    rows = signatures(sets, np.random.default_rng(0))[:, : n_bands * n_rows].reshape(-1, n_bands, n_rows)
    candidates = np.array([(rows[a] == rows[b]).all(axis=-1).any() for a, b in pairs])
    probabilities = np.array([1 - miss_probability(jaccard(texts[a], texts[b]), 0.9) for a, b in pairs])
    spread = np.sqrt((probabilities * (1 - probabilities)).sum())
    assert 20 < probabilities.sum() < 380
    assert abs(candidates.sum() - probabilities.sum()) < 4 * spread


def test_signatures_agree_as_often_as_sets_do() -> None:
    rng = np.random.default_rng(5)
    texts = mutants(rng, 60, 80, 6)
    agreed = [signatures(sets_of(texts), np.random.default_rng(seed)) for seed in range(5)]
    shares = np.mean([(s[0::2] == s[1::2]).mean() for s in agreed])
    truth = np.mean([jaccard(a, b) for a, b in zip(texts[0::2], texts[1::2], strict=True)])
    assert shares == pytest.approx(truth, abs=0.02)


# --- edges ------------------------------------------------------------------------------------------


def test_the_generator_is_obeyed_and_changes_no_similarity() -> None:
    texts = mutants(np.random.default_rng(1), 30, 40, 2)
    assert found(texts, 0.5, seed=1) == found(texts, 0.5, seed=1)
    sets = sets_of(texts)
    one, other = (signatures(sets, np.random.default_rng(seed)) for seed in (1, 2))
    assert (one != other).any()


def test_texts_shorter_than_an_ngram_are_near_nothing() -> None:
    assert found([list("ab"), list("ab"), [], list("abc"), list("abc")], 0.8) == {(3, 4): 1.0}


def test_a_subset_of_documents_has_the_same_sets() -> None:
    texts = [list("abcabd"), list("xyzxy"), list("abcabd"), list("zzzz")]
    documents = encode(texts)
    some = ngram_sets(documents, repeated_ngrams(documents, N), np.array([0, 2, 3]))
    assert some.sizes.tolist() == [4, 4, 1]
    assert set(some[0]) == set(some[1]) and not set(some[0]) & set(some[2])


def test_many_alike_texts_are_all_paired() -> None:
    base = list(range(100))
    texts = [[*base, 1000 + i] for i in range(60)]
    assert len(found(texts, 0.8)) == 60 * 59 // 2


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.8, 0.9, 0.99, 1.0])
def test_bands_fit_the_hashes_and_miss_no_more_than_they_may(threshold: float) -> None:
    n_bands, n_rows = bands(threshold)
    assert n_bands * n_rows <= N_HASHES
    assert miss_probability(threshold, threshold) <= MOST_MISSED
    assert miss_probability(min(threshold + 0.05, 1), threshold) <= miss_probability(threshold, threshold)


def test_the_number_in_the_docstring() -> None:
    assert bands(0.8) == (25, 5)
    assert 1 / 25_000 < miss_probability(0.8, 0.8) < 1 / 20_000


@pytest.mark.parametrize("threshold", [0.0, 0.09, 1.01, -1.0, float("nan")])
def test_an_impossible_threshold_is_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match=r"no similarity of near-duplicates: give one from 0\.1 to 1"):
        list(near_duplicates(sets_of([list("abcd")]), threshold, np.random.default_rng(0)))
