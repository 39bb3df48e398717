"""n-grams as integers: the counting that Self-BLEU, Rep-n and Distinct-n share.

Tokens become ids once. An n-gram is then the pair (id of all its tokens but the last, id of the last),
packed into one integer, so no n-gram is ever built as an object and an order costs one sort of integers.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import numpy as np

from opo_eval.errors import UsageError

_KEY_BITS = 63
"""What a packed key has to fit into: a non-negative int64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Token lists laid end to end."""

    ids: np.ndarray
    """int64 [T]: every token as an id in 0..n_ids - 1."""
    lengths: np.ndarray
    """int64 [D]: tokens in each document."""
    n_ids: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedNgrams:
    """The n-grams of one order that at least two documents hold.

    A run is one n-gram in one document; the runs of an n-gram stand together, ordered by document.
    """

    counts: np.ndarray
    """int64 [R]: how often the run's document holds the run's n-gram."""
    documents: np.ndarray
    """int32 [R]"""
    first_runs: np.ndarray
    """int64 [G]: where the runs of each n-gram begin."""


def encode(token_lists: Sequence[Sequence[Hashable]]) -> Documents:
    """Give every distinct token an id. Raises UsageError for a token that cannot be hashed."""
    token_lists = [_plain(tokens) for tokens in token_lists]
    lengths = np.array([len(tokens) for tokens in token_lists], dtype=np.int64)
    id_of_token: defaultdict[Hashable, int] = defaultdict(count().__next__)
    tokens = chain.from_iterable(token_lists)
    try:
        ids = np.fromiter(map(id_of_token.__getitem__, tokens), np.int64, int(lengths.sum()))
    except TypeError as error:
        raise UsageError(f"a token has to be a string, a number or another hashable: {error}") from None
    return Documents(ids=ids, lengths=lengths, n_ids=len(id_of_token))


def _plain(tokens: Any) -> Sequence[Hashable]:
    """An array or tensor as a list: a tensor's elements hash by identity, so equal ones would differ."""
    return tokens.tolist() if hasattr(tokens, "tolist") else tokens


def require_order(name: str, order: int) -> None:
    """Raises UsageError for an n-gram order that is not an integer of 1 or more."""
    if not isinstance(order, int) or order < 1:
        raise UsageError(f"{name} is {order!r}: an n-gram has 1 token or more, so give an integer from 1 on")


# --- n-grams that documents share -------------------------------------------------------------------


def shared_ngrams(documents: Documents, max_order: int) -> Iterator[SharedNgrams]:
    """The n-grams that at least two documents hold, for n = 1, ..., max_order."""
    numbers = np.arange(len(documents.lengths), dtype=np.int32)
    # Each document ends with a token of its own, so what reaches across an end is shared by nobody.
    ids = np.insert(documents.ids, np.cumsum(documents.lengths), documents.n_ids + numbers)
    n_ids = documents.n_ids + len(numbers)
    document_of = np.repeat(numbers, documents.lengths + 1)
    positions = np.arange(len(ids))
    prefixes = np.zeros_like(positions)
    for order in range(1, max_order + 1):
        keys = prefixes * n_ids + ids[positions + order - 1]
        keys, positions = _sort(keys, positions)
        positions, prefixes = _rank_shared(keys, positions, document_of)
        yield _runs(prefixes, document_of[positions])
        # An n-gram of one document matches nothing, nor does a longer one that begins or ends with it:
        # only what is left here has to be sorted again.
        extends = _followed(positions, len(ids))
        positions, prefixes = positions[extends], prefixes[extends]


def _sort(keys: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays, ordered by key and then by position."""
    shift = int(positions.max(initial=0)).bit_length()
    if int(keys.max(initial=0)).bit_length() + shift > _KEY_BITS:
        order = np.lexsort((positions, keys))
        return keys[order], positions[order]
    # Sorting one integer that holds both is several times faster than sorting indices.
    packed = np.sort((keys << shift) | positions)
    return packed >> shift, packed & ((1 << shift) - 1)


def _rank_shared(
    keys: np.ndarray, positions: np.ndarray, document_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Positions whose key two documents hold, and the key's rank among such keys."""
    first = np.flatnonzero(_changes(keys))
    n_occurrences = np.diff(first, append=len(keys))
    last = first + n_occurrences - 1
    shared = document_of[positions[first]] != document_of[positions[last]]
    ranks = np.repeat(np.arange(np.count_nonzero(shared)), n_occurrences[shared])
    return positions[np.repeat(shared, n_occurrences)], ranks


def _runs(ngrams: np.ndarray, documents: np.ndarray) -> SharedNgrams:
    starts = np.flatnonzero(_changes(ngrams) | _changes(documents))
    return SharedNgrams(
        counts=np.diff(starts, append=len(ngrams)),
        documents=documents[starts],
        first_runs=np.flatnonzero(_changes(ngrams[starts])),
    )


def _changes(values: np.ndarray) -> np.ndarray:
    """True where a value differs from the one before it, and at the first."""
    changes = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def _followed(positions: np.ndarray, n_positions: int) -> np.ndarray:
    """True where the next position is among `positions` too."""
    present = np.zeros(n_positions + 1, dtype=bool)
    present[positions] = True
    return present[positions + 1]


# --- n-grams by key ---------------------------------------------------------------------------------


def ngram_counts(tokens: Sequence[Hashable], n: int) -> tuple[int, int]:
    """(distinct n-grams, n-grams) of one token sequence; (0, 0) where it has fewer than n tokens.

    Raises UsageError for an n that is not an integer of 1 or more.
    """
    keys = ngram_keys(encode([tokens]), n)
    return count_distinct(keys), len(keys)


def count_distinct(keys: np.ndarray) -> int:
    """How many different keys there are."""
    return int(np.count_nonzero(_changes(np.sort(keys))))


def repeats_earlier(keys: np.ndarray) -> np.ndarray:
    """True where an equal key stands earlier: bool [N]."""
    ordered, positions = _sort(keys, np.arange(len(keys)))
    repeats = np.ones(len(keys), dtype=bool)
    repeats[positions[_changes(ordered)]] = False
    return repeats


def ngram_keys(documents: Documents, n: int) -> np.ndarray:
    """int64 [N]: a key for every n-gram within a document, equal where and only where the n-grams are equal.

    They stand in the order of the documents and of the text. Raises UsageError for an n that is not an
    integer of 1 or more.
    """
    require_order("n", n)
    n_total = max(len(documents.ids) - n + 1, 0)
    keys = _pack(documents, n, n_total)
    if len(documents.lengths) == 1:
        return keys
    document_of = np.repeat(np.arange(len(documents.lengths)), documents.lengths)
    return keys[document_of[:n_total] == document_of[n - 1 :]]


def _pack(documents: Documents, n: int, n_total: int) -> np.ndarray:
    """int64 [n_total]: the keys, as if the documents were one."""
    keys, n_keys = documents.ids[:n_total], documents.n_ids
    for offset in range(1, n):
        if (n_keys * documents.n_ids).bit_length() > _KEY_BITS:
            distinct, keys = np.unique(keys, return_inverse=True)
            n_keys = len(distinct)
        keys = keys * documents.n_ids + documents.ids[offset : offset + n_total]
        n_keys *= documents.n_ids
    return keys
