"""What repeats in a set of texts: phrases, near-duplicates and copies, with the words that show it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from opo_eval.metrics.near_duplicates import Near, near_duplicates, ngram_sets
from opo_eval.metrics.ngrams import Documents
from opo_eval.metrics.phrases import repeated_phrases
from opo_eval.metrics.repeated_ngrams import RepeatedNgrams, longer_ngrams, repeated_ngrams
from opo_eval.metrics.vocabulary import Vocabulary
from opo_eval.progress import Progress
from opo_eval.texts import Groups, Text

SHINGLE = 5
"""Tokens of the n-grams whose sets near-duplicates share."""
SEED = 20250529
"""Of the hash functions that near-duplicates are looked for with."""
_PHRASES, _PAIRS, _COPIES = 15, 20, 5
_SHARED_TOKENS, _DIFFERING_TOKENS = 20, 12


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPhrase:
    """A phrase that several texts hold."""

    phrase: str
    """Its tokens with spaces between them."""
    n_tokens: int
    n_groups: int
    n_texts: int
    n_occurrences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPair:
    """Two texts that are not the same but nearly so."""

    row_a: int
    row_b: int
    group_a: str
    group_b: str
    similarity: float
    """Jaccard similarity of their sets of n-grams."""
    shared: str
    """The beginning of what both say."""
    only_a: str
    """What the one says from where they first differ."""
    only_b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A text that occurs several times, character by character."""

    row: int
    """Of the first copy."""
    text: str
    n_copies: int
    n_groups: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates:
    """Near-duplicates among texts, each distinct text taken once, in the group of its first copy."""

    n_texts: int
    n_copies: int
    """Texts that are the same as an earlier one."""
    n_too_short: int
    """Distinct texts with fewer tokens than an n-gram has: they are near nothing."""
    n_within: int
    """Pairs within a group."""
    n_across: int
    """Pairs across groups."""
    n_duplicated: int
    """Texts that have a copy or a near-duplicate."""
    pairs: tuple[NearPair, ...]
    """The most similar ones."""
    copied: tuple[Copied, ...]
    """The texts with the most copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What repeats in a set of texts."""

    phrases: tuple[FoundPhrase, ...]
    near: NearDuplicates


class Corpus:
    """Texts in their groups, tokenized; `progress` counts them."""

    def __init__(self, groups: Groups, vocabulary: Vocabulary, progress: Progress) -> None:
        self.vocabulary, self.names = vocabulary, list(groups)
        self.texts: list[Text] = [text for texts in groups.values() for text in texts]
        sizes = np.array([len(texts) for texts in groups.values()], dtype=np.int64)
        self.group_of = np.repeat(np.arange(len(sizes)), sizes)
        self.documents: Documents = vocabulary.documents(text.text for text in progress.watch(self.texts))

    def tokens(self, document: int) -> np.ndarray:
        """int32 [tokens of the text]."""
        return self.vocabulary.ids(self.texts[document].text)

    def group(self, document: int) -> str:
        """The name of its group."""
        return self.names[self.group_of[document]]


def find_repetition(corpus: Corpus, *, phrase_order: int, near: float, progress: Progress) -> Findings:
    """Phrases of `phrase_order` tokens or more, and pairs whose similarity is `near` or more.

    `progress` counts texts. Raises UsageError for an order below 1 and a similarity that is not from 0.1
    to 1.
    """
    shortest = repeated_ngrams(corpus.documents, min(phrase_order, SHINGLE))
    shingles = longer_ngrams(corpus.documents, shortest, SHINGLE)
    found = _near_duplicates(corpus, shingles, near, progress)
    known = shingles if phrase_order >= SHINGLE else shortest
    ngrams = longer_ngrams(corpus.documents, known, phrase_order)
    return Findings(phrases=_phrases(corpus, ngrams), near=found)


def _phrases(corpus: Corpus, ngrams: RepeatedNgrams) -> tuple[FoundPhrase, ...]:
    ids = corpus.documents.ids
    found = repeated_phrases(corpus.documents, corpus.group_of, ngrams, _PHRASES)
    return tuple(
        FoundPhrase(
            phrase=corpus.vocabulary.spelled(ids[phrase.start : phrase.start + phrase.length]),
            n_tokens=phrase.length,
            n_groups=phrase.n_groups,
            n_texts=phrase.n_documents,
            n_occurrences=phrase.n_occurrences,
        )
        for phrase in found
    )


# --- near-duplicates --------------------------------------------------------------------------------


def _near_duplicates(
    corpus: Corpus, shingles: RepeatedNgrams, threshold: float, progress: Progress
) -> NearDuplicates:
    copies = _copies(corpus.texts)
    firsts = np.array([documents[0] for documents in copies], dtype=np.int64)
    sets = ngram_sets(corpus.documents, shingles, firsts)
    tally = _Tally(corpus.group_of[firsts])
    for near in near_duplicates(sets, threshold, np.random.default_rng(SEED)):
        tally.add(near)
        progress.advance(len(copies[near.document]))
    sizes = np.array([len(documents) for documents in copies], dtype=np.int64)
    return NearDuplicates(
        n_texts=len(corpus.texts),
        n_copies=len(corpus.texts) - len(copies),
        n_too_short=int(np.count_nonzero(sets.sizes == 0)),
        n_within=tally.n_within,
        n_across=tally.n_across,
        n_duplicated=int(sizes[tally.near_another | (sizes > 1)].sum()),
        pairs=tuple(_pair(corpus, int(firsts[i]), int(firsts[j]), s) for s, i, j in tally.most_similar()),
        copied=tuple(_copied(corpus, documents) for documents in _most_copied(copies)),
    )


def _copies(texts: Sequence[Text]) -> list[list[int]]:
    """The documents of each distinct text, in the order of its first copy."""
    found: dict[str, list[int]] = defaultdict(list)
    for document, text in enumerate(texts):
        found[text.text].append(document)
    return list(found.values())


def _most_copied(copies: Sequence[list[int]]) -> list[list[int]]:
    several = (documents for documents in copies if len(documents) > 1)
    return sorted(several, key=lambda documents: -len(documents))[:_COPIES]


def _copied(corpus: Corpus, documents: Sequence[int]) -> Copied:
    first = corpus.texts[documents[0]]
    n_groups = len(Counter(corpus.group(document) for document in documents))
    return Copied(row=first.row, text=first.text, n_copies=len(documents), n_groups=n_groups)


class _Tally:
    """Counts pairs and keeps the most similar, whatever their number."""

    def __init__(self, group_of: np.ndarray) -> None:
        self._group_of = group_of
        self.n_within = self.n_across = 0
        self.near_another = np.zeros(len(group_of), dtype=bool)
        self._best: list[tuple[float, int, int]] = []

    def add(self, near: Near) -> None:
        within = int(np.count_nonzero(self._group_of[near.others] == self._group_of[near.document]))
        self.n_within += within
        self.n_across += len(near.others) - within
        self.near_another[near.others] = True
        self.near_another[near.document] |= len(near.others) > 0
        top = np.argsort(-near.similarities, kind="stable")[:_PAIRS]
        found = [(float(near.similarities[i]), near.document, int(near.others[i])) for i in top]
        self._best = sorted(self._best + found, key=lambda pair: (-pair[0], *pair[1:]))[:_PAIRS]

    def most_similar(self) -> list[tuple[float, int, int]]:
        """(similarity, document, document), the most similar pair first."""
        return self._best


def _pair(corpus: Corpus, a: int, b: int, similarity: float) -> NearPair:
    tokens_a, tokens_b = corpus.tokens(a), corpus.tokens(b)
    start, length = _first_shared_run(tokens_a.tolist(), tokens_b.tolist())
    differ = _common_prefix(tokens_a, tokens_b)
    spelled = corpus.vocabulary.spelled
    return NearPair(
        row_a=corpus.texts[a].row,
        row_b=corpus.texts[b].row,
        group_a=corpus.group(a),
        group_b=corpus.group(b),
        similarity=similarity,
        shared=spelled(tokens_a[start : start + min(length, _SHARED_TOKENS)]),
        only_a=spelled(tokens_a[differ : differ + _DIFFERING_TOKENS]),
        only_b=spelled(tokens_b[differ : differ + _DIFFERING_TOKENS]),
    )


def _first_shared_run(a: Sequence[int], b: Sequence[int]) -> tuple[int, int]:
    """(start in a, length) of the first n-gram of a that b holds too, as far as both go on alike."""
    places = {tuple(b[j : j + SHINGLE]): j for j in reversed(range(len(b) - SHINGLE + 1))}
    start = next(i for i in range(len(a)) if tuple(a[i : i + SHINGLE]) in places)
    place = places[tuple(a[start : start + SHINGLE])]
    return start, _common_prefix(np.array(a[start:]), np.array(b[place:]))


def _common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    length = min(len(a), len(b))
    differ = np.flatnonzero(a[:length] != b[:length])
    return int(differ[0]) if len(differ) else length
