"""Near-duplicate texts: pairs of which the sets of n-grams nearly coincide, by Jaccard similarity.

Candidates come from MinHash signatures (Broder, 1997, "On the resemblance and containment of documents")
cut into bands (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4). Each is then
verified on the whole sets, so every pair that is found is one. A pair that exists is missed with
`miss_probability`: below 1 in 1,000 at the threshold (1 in 20,000 for 0.8), and less the more alike it is.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from opo_eval.errors import UsageError
from opo_eval.metrics.ngrams import Documents
from opo_eval.metrics.repeated_ngrams import RepeatedNgrams, ngram_starts

N_HASHES = 128
MOST_MISSED = 1e-3
"""Of the pairs that are just as similar as the threshold."""
SMALLEST_THRESHOLD = 0.1
_BLOCK = 4096
"""N-grams, or documents, that are looked at together: what bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class NgramSets:
    """The distinct n-grams of each document."""

    ids: np.ndarray
    """int64 [S]: the sets laid end to end; an id stands for the same n-gram in all of them."""
    sizes: np.ndarray
    """int64 [D]: 0 where a document is shorter than an n-gram."""

    @cached_property
    def ends(self) -> np.ndarray:
        """int64 [D]: where each set ends in `ids`."""
        return np.cumsum(self.sizes)

    def __getitem__(self, document: int) -> np.ndarray:
        return self.ids[self.ends[document] - self.sizes[document] : self.ends[document]]


class Near(NamedTuple):
    """What stands near one document."""

    document: int
    others: np.ndarray
    """int64 [P]: later documents, ascending."""
    similarities: np.ndarray
    """float64 [P]: Jaccard similarity with each."""


def ngram_sets(documents: Documents, repeated: RepeatedNgrams, members: np.ndarray) -> NgramSets:
    """The set of n-grams of each document of `members`, from those of all documents that are repeated."""
    starts, ends = ngram_starts(documents, repeated.n), np.cumsum(documents.lengths)
    # An n-gram that occurs once is in no two sets: any number that no other has will do for it.
    ids = np.where(repeated.rank_at < 0, repeated.n_ranks + np.arange(len(starts)), repeated.rank_at)
    spans = [slice(ends[i] - documents.lengths[i], ends[i]) for i in members]
    sets = [_distinct(ids[span][starts[span]]) for span in spans]
    return NgramSets(
        ids=np.concatenate([np.zeros(0, np.int64), *sets]),
        sizes=np.array([len(members) for members in sets], dtype=np.int64),
    )


def _distinct(ids: np.ndarray) -> np.ndarray:
    ids = np.sort(ids)
    return ids[np.diff(ids, prepend=-1) > 0]


def near_duplicates(sets: NgramSets, threshold: float, rng: np.random.Generator) -> Iterator[Near]:
    """For each document in turn, the later ones whose Jaccard similarity with it is `threshold` or more.

    |A ∩ B| / |A ∪ B| of the two sets; an empty set is near nothing. Memory stays within a few times that
    of the sets, however many pairs there are. Raises UsageError for a threshold that is not from 0.1 to 1.
    """
    n_bands, n_rows = bands(threshold)
    buckets = _Buckets(_band_labels(signatures(sets, rng), n_bands, n_rows))
    in_set = np.zeros(int(sets.ids.max(initial=0)) + 1, dtype=bool)
    for document, ids in ((i, sets[i]) for i in range(len(sets.sizes))):
        others = _large_enough(sets, document, buckets.later(document), threshold)
        in_set[ids] = True
        blocks = [_similarities(sets, in_set, len(ids), block) for block in _blocks(others)]
        in_set[ids] = False
        similarities = np.concatenate([np.zeros(0), *blocks])
        near = similarities >= threshold
        yield Near(document, others[near], similarities[near])


# --- signatures -------------------------------------------------------------------------------------


def bands(threshold: float) -> tuple[int, int]:
    """(bands, rows of a band): the most rows that `MOST_MISSED` allows, as each spares candidates.

    Raises UsageError for a threshold that is not from 0.1 to 1.
    """
    if not SMALLEST_THRESHOLD <= threshold <= 1:
        raise UsageError(
            f"{threshold} is no similarity of near-duplicates: give one from {SMALLEST_THRESHOLD} to 1 "
            "(the same n-grams)"
        )
    shapes = [(N_HASHES // rows, rows) for rows in range(1, N_HASHES + 1)]
    return [shape for shape in shapes if _missed(threshold, *shape) <= MOST_MISSED][-1]


def miss_probability(similarity: float, threshold: float) -> float:
    """Probability that a pair of this similarity is not found: (1 - similarity^rows)^bands."""
    return _missed(similarity, *bands(threshold))


def _missed(similarity: float, n_bands: int, n_rows: int) -> float:
    return (1 - similarity**n_rows) ** n_bands


def signatures(sets: NgramSets, rng: np.random.Generator) -> np.ndarray:
    """uint32 [D, N_HASHES]: the smallest value that each hash function takes on a document's n-grams.

    Two sets share an entry with the probability of their Jaccard similarity (Broder, 1997).
    """
    factors, shifts = rng.integers(1 << 32, size=(2, N_HASHES), dtype=np.uint32)
    smallest = np.full((len(sets.sizes), N_HASHES), np.iinfo(np.uint32).max, dtype=np.uint32)
    for document in range(len(sets.sizes)):
        for ids in _blocks(sets[document]):
            # An odd factor makes each function a permutation of the 32-bit integers.
            hashes = _mixed(ids)[:, None] * (factors | 1) + shifts
            np.minimum(smallest[document], hashes.min(axis=0), out=smallest[document])
    return smallest


def _mixed(ids: np.ndarray) -> np.ndarray:
    """Ids scattered over the 32-bit integers, different ones differently (murmur3's finalizer)."""
    ids = ids.astype(np.uint32)
    ids = (ids ^ (ids >> 16)) * np.uint32(0x85EBCA6B)
    ids = (ids ^ (ids >> 13)) * np.uint32(0xC2B2AE35)
    return ids ^ (ids >> 16)


# --- candidates -------------------------------------------------------------------------------------


def _band_labels(signatures: np.ndarray, n_bands: int, n_rows: int) -> np.ndarray:
    """int64 [bands, D]: documents have the same label where they have the same rows of a band."""
    parts = (signatures[:, band * n_rows : (band + 1) * n_rows] for band in range(n_bands))
    rows = (np.ascontiguousarray(part).view(np.dtype((np.void, 4 * n_rows))).ravel() for part in parts)
    return np.array([np.unique(row, return_inverse=True)[1] for row in rows])


class _Buckets:
    """The documents of each label of each band, ascending."""

    def __init__(self, labels: np.ndarray) -> None:
        self._members = np.argsort(labels, axis=1, kind="stable")
        self._places = np.argsort(self._members, axis=1, kind="stable")
        self._ends = np.array(
            [np.searchsorted(np.sort(band), band, side="right") for band in labels], dtype=np.int64
        )

    def later(self, document: int) -> np.ndarray:
        """Later documents that share a bucket with this one, ascending."""
        spans = zip(self._members, self._places[:, document] + 1, self._ends[:, document], strict=True)
        return np.unique(np.concatenate([members[start:end] for members, start, end in spans]))


def _large_enough(sets: NgramSets, document: int, others: np.ndarray, threshold: float) -> np.ndarray:
    """Those of `others` whose size alone does not keep the similarity below the threshold."""
    own, sizes = sets.sizes[document], sets.sizes[others]
    return others[np.minimum(sizes, own) >= threshold * np.maximum(np.maximum(sizes, own), 1)]


def _blocks(items: np.ndarray) -> Iterator[np.ndarray]:
    return (items[start : start + _BLOCK] for start in range(0, len(items), _BLOCK))


def _similarities(sets: NgramSets, in_set: np.ndarray, size: int, others: np.ndarray) -> np.ndarray:
    """Jaccard similarity of the marked set of this size with each of `others`, none of them empty."""
    members = in_set[np.concatenate([sets[int(other)] for other in others])]
    sizes = sets.sizes[others]
    shared = np.add.reduceat(members.view(np.uint8), np.cumsum(sizes) - sizes, dtype=np.uint32)
    return shared / (size + sizes - shared)
