"""Where n-grams occur that occur more than once: what near-duplicates and phrases are both found from.

Most long n-grams of many texts occur once. An n-gram can only occur twice if what it begins and ends with
does, so each step to a longer n-gram looks at no more than the step before has left.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from opo_eval.errors import UsageError
from opo_eval.metrics.ngrams import Documents, require_order

_INT_BITS = _KEY_BITS = 63
"""What a packed key, and a digit with its place, have to fit into: a non-negative int64."""
_PART = 1 << 21
"""n-grams that are sorted together: they stay in memory that is already there, and the peak is low."""
_MOST_PARTS = 255


@dataclass(frozen=True, kw_only=True)
class RepeatedNgrams:
    """The n-grams that occur at least twice, in one document or in several."""

    n: int
    rank_at: np.ndarray
    """int32 [T]: a number for the n-gram that begins at each token, from 0 on without gaps; -1 where none
    does that is repeated."""
    n_ranks: int
    """How many different ones there are."""


def repeated_ngrams(documents: Documents, n: int) -> RepeatedNgrams:
    """The repeated n-grams of all documents together; none reaches from one document into the next.

    Raises UsageError for an n that is not an integer of 1 or more.
    """
    require_order("n", n)
    at_once = min(n, _KEY_BITS // max(documents.n_ids.bit_length(), 1))
    found = _Found(at_once, len(documents.ids))
    for positions in _parts(documents.ids, ngram_starts(documents, at_once)):
        keys = documents.ids[positions]
        for offset in range(1, at_once):
            keys *= documents.n_ids
            keys += documents.ids[positions + offset]
        found.add(positions, keys)
    return longer_ngrams(documents, found.ngrams(), n)


def longer_ngrams(documents: Documents, shorter: RepeatedNgrams, n: int) -> RepeatedNgrams:
    """The repeated n-grams, found from shorter ones that are known already.

    Raises UsageError where those are not shorter.
    """
    if n < shorter.n:
        raise UsageError(f"{n}-grams are not found from {shorter.n}-grams: start from shorter ones")
    while shorter.n < n:
        shorter = _step(documents, shorter, min(2 * shorter.n, n))
    return shorter


def ngram_starts(documents: Documents, n: int) -> np.ndarray:
    """bool [T]: whether an n-gram begins at each token, which it does not just before a document's end."""
    starts, ends = np.ones(len(documents.ids), dtype=bool), np.cumsum(documents.lengths)
    for short in range(1, n):
        starts[ends[documents.lengths >= short] - short] = False
    return starts


def _step(documents: Documents, shorter: RepeatedNgrams, n: int) -> RepeatedNgrams:
    """n-grams as pairs of the shorter ones that they begin and end with; n is at most twice as long."""
    starts = ngram_starts(documents, n)
    apart = n - shorter.n
    starts &= shorter.rank_at >= 0
    starts[: max(len(starts) - apart, 0)] &= shorter.rank_at[apart:] >= 0
    found = _Found(n, len(starts))
    for positions in _parts(shorter.rank_at, starts):
        keys = shorter.rank_at[positions].astype(np.int64) * shorter.n_ranks
        found.add(positions, keys + shorter.rank_at[positions + apart])
    return found.ngrams()


def _parts(kinds: np.ndarray, starts: np.ndarray) -> Iterator[np.ndarray]:
    """The positions that are True in `starts`, in parts that no kind is divided between, ascending."""
    n_parts = min(np.count_nonzero(starts) // _PART + 1, _MOST_PARTS)
    part_of = np.full(len(starts), _MOST_PARTS, dtype=np.uint8)
    np.copyto(part_of, kinds % n_parts, where=starts, casting="unsafe")
    return (np.flatnonzero(part_of == part) for part in range(n_parts))


class _Found:
    """Collects repeated n-grams part by part."""

    def __init__(self, n: int, n_tokens: int) -> None:
        self._n, self._n_ranks = n, 0
        self._rank_at = np.full(n_tokens, -1, dtype=np.int32)

    def add(self, positions: np.ndarray, keys: np.ndarray) -> None:
        """n-grams at these positions by key, which no n-gram of another part has."""
        order = _order(keys)
        ordered = keys[order]
        counts = np.diff(np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1)), append=len(keys))
        repeated = counts > 1
        ranks = np.arange(self._n_ranks, self._n_ranks + np.count_nonzero(repeated))
        self._rank_at[positions[order[np.repeat(repeated, counts)]]] = np.repeat(ranks, counts[repeated])
        self._n_ranks += len(ranks)

    def ngrams(self) -> RepeatedNgrams:
        """All that were found."""
        return RepeatedNgrams(n=self._n, rank_at=self._rank_at, n_ranks=self._n_ranks)


def _order(keys: np.ndarray) -> np.ndarray:
    """What sorts the keys, equal ones in their order: `np.argsort(kind="stable")` in less time.

    Digit by digit from the lowest, with the place in the same integer: sorting integers is many times
    faster than sorting indices.
    """
    place_bits = len(keys).bit_length()
    digit_bits = _INT_BITS - place_bits
    order = places = np.arange(len(keys))
    for low in range(0, int(keys.max(initial=0)).bit_length(), digit_bits):
        digits = (keys[order] >> low) & ((1 << digit_bits) - 1)
        packed = np.sort((digits << place_bits) | places)
        order = order[packed & ((1 << place_bits) - 1)]
    return order
