"""The phrases that texts have in common: repeated n-grams, each grown to the longest phrase it stands for.

A sentence of 20 tokens that is repeated repeats 13 8-grams, which are one finding and not 13. So an n-gram
is extended to both sides as long as all its occurrences go on alike; the phrase then occurs exactly as
often as the n-gram (a closed sequence: Yan, Han and Afshar, 2003, "CloSpan"). And an n-gram is passed over
where more than half of its occurrences overlap with phrases that are listed already.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from opo_eval.metrics.ngrams import Documents
from opo_eval.metrics.repeated_ngrams import RepeatedNgrams

MOST_OVERLAPPING = 0.5
_POSITION_BITS = 32


class Phrase(NamedTuple):
    """A token sequence and how often it occurs."""

    start: int
    """Where its first occurrence begins in `Documents.ids`."""
    length: int
    """In tokens."""
    n_occurrences: int
    n_documents: int
    n_groups: int


def repeated_phrases(
    documents: Documents, group_of: np.ndarray, repeated: RepeatedNgrams, most: int
) -> list[Phrase]:
    """At most `most` phrases of `repeated.n` tokens or more that two documents or more hold.

    group_of: int [D], ascending: the group of each document. Phrases of many groups come first; among
    equals those of many documents, then those of many occurrences, then the one that occurs first.
    """
    return list(islice(_phrases(documents, _shared(documents, group_of, repeated)), most))


def _phrases(documents: Documents, ngrams: "_SharedNgrams") -> Iterator[Phrase]:
    covered = np.zeros(len(documents.ids), dtype=bool)
    for ngram in ngrams.best_first():
        positions = ngrams.occurrences(ngram)
        # No phrase is shorter than an n-gram: one that overlaps it covers its first token or its last.
        overlapping = covered[positions] | covered[positions + ngrams.n - 1]
        if overlapping.mean() > MOST_OVERLAPPING:
            continue
        start, end = _grown(documents, positions, ngrams.n)
        for offset in range(start, end):
            covered[positions + offset] = True
        yield Phrase(int(positions[0]) + start, end - start, *ngrams.counts[ngram].tolist())


def _grown(documents: Documents, positions: np.ndarray, n: int) -> tuple[int, int]:
    """(start, end) of the phrase around the n-grams at these positions, relative to them."""
    ends = np.cumsum(documents.lengths)
    document_of = np.searchsorted(ends, positions, side="right")
    first = -(positions - (ends - documents.lengths)[document_of]).min()
    last = (ends[document_of] - positions).min()
    start, end = 0, n
    while start > first and _all_alike(documents.ids[positions + start - 1]):
        start -= 1
    while end < last and _all_alike(documents.ids[positions + end]):
        end += 1
    return start, end


def _all_alike(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())


# --- n-grams of several documents -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _SharedNgrams:
    """The n-grams that two documents or more hold."""

    n: int
    positions: np.ndarray
    """int64 [R]: the occurrences of each n-gram together, ascending."""
    firsts: np.ndarray
    """int64 [G]: where those of each n-gram begin."""
    counts: np.ndarray
    """int64 [G, 3]: occurrences, documents and groups of each n-gram."""

    def occurrences(self, ngram: int) -> np.ndarray:
        return self.positions[self.firsts[ngram] : self.firsts[ngram] + self.counts[ngram, 0]]

    def best_first(self) -> Iterator[int]:
        keys = (self.positions[self.firsts], *(-self.counts).T)
        return (int(ngram) for ngram in np.lexsort(keys))


def _shared(documents: Documents, group_of: np.ndarray, repeated: RepeatedNgrams) -> _SharedNgrams:
    positions = np.flatnonzero(repeated.rank_at >= 0)
    # Rank and position in one integer, since sorting integers is many times faster than sorting indices.
    packed = np.sort((repeated.rank_at[positions].astype(np.int64) << _POSITION_BITS) | positions)
    positions, ranks = packed & ((1 << _POSITION_BITS) - 1), packed >> _POSITION_BITS
    document_of = np.searchsorted(np.cumsum(documents.lengths), positions, side="right")
    counts = np.stack(
        [
            np.bincount(ranks, minlength=repeated.n_ranks),
            _distinct_in_runs(ranks, document_of, repeated.n_ranks),
            _distinct_in_runs(ranks, group_of[document_of], repeated.n_ranks),
        ],
        axis=1,
    )
    firsts = np.cumsum(counts[:, 0]) - counts[:, 0]
    several = counts[:, 1] > 1
    return _SharedNgrams(n=repeated.n, positions=positions, firsts=firsts[several], counts=counts[several])


def _distinct_in_runs(runs: np.ndarray, ascending: np.ndarray, n_runs: int) -> np.ndarray:
    """How many different values each run holds, which ascend within it: int64 [n_runs]."""
    new = (np.diff(runs, prepend=-1) != 0) | (np.diff(ascending, prepend=-1) != 0)
    return np.bincount(runs[new], minlength=n_runs)
