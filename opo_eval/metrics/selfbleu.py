"""Self-BLEU (Zhu et al., 2018, "Texygen"): how much each of several texts repeats the others.

Every text is tokenized once and one pass over its n-grams gives BLEU-1 to BLEU-max_order. An n-gram's
count in text i is clipped at its largest count in any other text: the largest of all, or, where text i
alone holds that, the second largest. The cost grows with the number of tokens, not with the number of
pairs of texts.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from opo_eval.errors import UsageError
from opo_eval.metrics.core import Metric, MetricSettings, ProblemSamples, Value, text_signature
from opo_eval.metrics.ngrams import Ngrams, SharedNgrams, encode, require_order, shared_ngrams
from opo_eval.metrics.tokenizers import Tokenizer, tokenize_texts
from opo_eval.records import Better, Unit

Texts = Sequence[str] | Sequence[Sequence[Hashable]]


def self_bleu(
    texts: Texts,
    *,
    tokenize: str | Tokenizer | None = "13a",
    max_order: int = 4,
    smooth: str = "exp",
    references: str = "others",
) -> np.ndarray:
    """BLEU of each text with the other texts as its references: float64 [n], 0 (none shared) to 100.

    texts: strings, or token lists with `tokenize=None` (any hashable tokens).
    tokenize: a name in `TOKENIZERS`, or a function from text to tokens.
    smooth: `exp`, `floor` (0.1), `add-k` (1) and `none` equal sacrebleu's sentence BLEU with
        `effective_order=True`; `method1` (0.1) equals nltk's `sentence_bleu` with that smoothing
        function, which counts every order (Chen and Cherry, 2014, describe all of them).
    references: `others` takes all other texts together as references (Texygen); `pairwise` is the mean
        over the other texts of BLEU against that text alone.

    A text without tokens scores 0. Raises UsageError (a ValueError) for fewer than two texts, a
    max_order below 1, an unknown name, and texts that do not fit `tokenize`.
    """
    return self_bleu_orders(
        texts, tokenize=tokenize, max_order=max_order, smooth=smooth, references=references
    )[-1]


def self_bleu_orders(
    texts: Texts,
    *,
    tokenize: str | Tokenizer | None = "13a",
    max_order: int = 4,
    smooth: str = "exp",
    references: str = "others",
) -> np.ndarray:
    """BLEU-1, ..., BLEU-max_order of each text from one pass: float64 [max_order, n]; see `self_bleu`."""
    smoothing = _named("smoothing", smooth, SMOOTHINGS)
    scoring = _named("way of taking references", references, REFERENCES)
    require_order("max_order", max_order)
    if len(texts) < 2:
        raise UsageError(f"Self-BLEU of {len(texts)} text(s) is not defined: give at least two texts")
    ngrams = Ngrams(encode(tokenize_texts(texts, tokenize)))
    return scoring(*_shared(ngrams, np.ones(len(texts), dtype=bool), max_order), smoothing)


def _shared(ngrams: Ngrams, kept: np.ndarray, max_order: int) -> tuple[np.ndarray, list[SharedNgrams]]:
    """Lengths of the kept documents, and the n-grams that they share, for n = 1, ..., max_order."""
    orders = range(1, max_order + 1)
    return ngrams.documents.lengths[kept], [shared_ngrams(ngrams.repeated(n), kept) for n in orders]


def _named(what: str, name: str, allowed: dict[str, Callable]) -> Callable:
    if name not in allowed:
        raise UsageError(f"no {what} {name!r}: use one of {', '.join(allowed)}")
    return allowed[name]


# --- BLEU from counts (axis 0: the order) -----------------------------------------------------------

Smoothing = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _smooth_none(matches: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return matches, totals


def _smooth_floor(matches: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.where(matches == 0, 0.1, matches), totals


def _smooth_method1(matches: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _smooth_floor(matches, np.maximum(totals, 1))


def _smooth_add_k(matches: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    added = (np.arange(len(matches)) > 0).reshape(-1, *[1] * (matches.ndim - 1))
    return matches + added, totals + added


def _smooth_exp(matches: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    missed = matches == 0
    return np.where(missed, 0.5 ** np.cumsum(missed, axis=0), matches), totals


SMOOTHINGS: dict[str, Smoothing] = {
    "exp": _smooth_exp,
    "floor": _smooth_floor,
    "add-k": _smooth_add_k,
    "none": _smooth_none,
    "method1": _smooth_method1,
}
"""(matches, totals) to (numerators, denominators) of the precisions; a denominator of 0 says that the
text is too short for the order, which is then left out of the mean."""


def _bleu(
    matches: np.ndarray, lengths: np.ndarray, reference_lengths: np.ndarray, smoothing: Smoothing
) -> np.ndarray:
    """BLEU-1, ..., BLEU-max_order of Papineni et al. (2002), times 100: float64 [max_order, ...].

    matches [max_order, ...]: clipped n-gram matches. lengths, reference_lengths [...]: in tokens.
    """
    orders = np.arange(len(matches)).reshape(-1, *[1] * lengths.ndim)
    numerators, denominators = smoothing(matches, np.maximum(lengths - orders, 0))
    counts = denominators > 0
    with np.errstate(divide="ignore"):
        logs = np.log(np.divide(numerators, denominators, where=counts, out=np.ones(matches.shape)))
    # Without a single shared token BLEU is 0 before any smoothing, in sacrebleu and in nltk.
    n_orders = np.maximum(np.cumsum(counts, axis=0), 1)
    score = np.where(matches[0] > 0, np.exp(np.cumsum(logs, axis=0) / n_orders), 0.0)
    return 100 * _brevity_penalty(lengths, reference_lengths) * score


def _brevity_penalty(lengths: np.ndarray, reference_lengths: np.ndarray) -> np.ndarray:
    shortfall = np.maximum(reference_lengths / np.maximum(lengths, 1) - 1, 0)
    return np.exp(-shortfall)


# --- which texts are the references -----------------------------------------------------------------


def _score_against_others(
    lengths: np.ndarray, shared: Sequence[SharedNgrams], smoothing: Smoothing
) -> np.ndarray:
    matches = np.array([_matches_with_others(ngrams, len(lengths)) for ngrams in shared])
    return _bleu(matches, lengths, _closest_other_length(lengths), smoothing)


def _matches_with_others(ngrams: SharedNgrams, n_documents: int) -> np.ndarray:
    """Clipped n-gram matches of each document with all the others together: float64 [D]."""
    clipped = ngrams.counts.copy()
    holders = _runs_with_largest_count(ngrams)
    clipped[holders] = 0
    # With several holders the second largest count is the largest, and nothing is clipped.
    clipped[holders] = np.maximum.reduceat(clipped, ngrams.first_runs)
    return np.bincount(ngrams.documents, weights=clipped, minlength=n_documents)


def _runs_with_largest_count(ngrams: SharedNgrams) -> np.ndarray:
    """For each n-gram, a run that no other run of it exceeds: int64 [G]."""
    n_runs = len(ngrams.counts)
    # The index rides in the low digits of the count, so one reduction finds both.
    return np.maximum.reduceat(ngrams.counts * n_runs + np.arange(n_runs), ngrams.first_runs) % max(n_runs, 1)


def _closest_other_length(lengths: np.ndarray) -> np.ndarray:
    """The length nearest to each among the others, the shorter of two equally near: int64 [D].

    In sorted order, leaving one out, the nearest is a neighbour on one side.
    """
    order = np.argsort(lengths)
    ascending = lengths[order]
    gaps = np.diff(ascending)
    closest = np.empty_like(lengths)
    closest[order[0]], closest[order[-1]] = ascending[1], ascending[-2]
    closest[order[1:-1]] = np.where(gaps[:-1] <= gaps[1:], ascending[:-2], ascending[2:])
    return closest


def _score_pairwise(lengths: np.ndarray, shared: Sequence[SharedNgrams], smoothing: Smoothing) -> np.ndarray:
    n = len(lengths)
    matches = np.array([_matches_of_pairs(ngrams, n) for ngrams in shared])
    scores = _bleu(matches, np.broadcast_to(lengths[:, None], (n, n)), lengths[None, :], smoothing)
    scores[:, np.arange(n), np.arange(n)] = 0
    return scores.sum(axis=-1) / (n - 1)


def _matches_of_pairs(ngrams: SharedNgrams, n_documents: int) -> np.ndarray:
    """Clipped n-gram matches of document i with document j alone: float64 [D, D]."""
    n_ngrams = len(ngrams.first_runs)
    ngram_of_run = np.repeat(np.arange(n_ngrams), np.diff(ngrams.first_runs, append=len(ngrams.counts)))
    matches = np.empty((n_documents, n_documents))
    for j in range(n_documents):
        mine = ngrams.documents == j
        counts_of_j = np.zeros(n_ngrams, dtype=np.int64)
        counts_of_j[ngram_of_run[mine]] = ngrams.counts[mine]
        clipped = np.minimum(ngrams.counts, counts_of_j[ngram_of_run])
        matches[:, j] = np.bincount(ngrams.documents, weights=clipped, minlength=n_documents)
    return matches


REFERENCES: dict[str, Callable[[np.ndarray, Sequence[SharedNgrams], Smoothing], np.ndarray]] = {
    "others": _score_against_others,
    "pairwise": _score_pairwise,
}


# --- the metric -------------------------------------------------------------------------------------


def measure_self_bleu(samples: ProblemSamples) -> Mapping[str, Value]:
    """`self_bleu`: BLEU of each response with the others to the same problem as its references.

    The more alike, the higher. The mean over a problem's responses; every problem weighs the same.
    `self_bleu_1`, `self_bleu_2`, ... are of the lower orders. It grows with the number of responses, so
    checkpoints are compared at the same n. Responses without tokens are left out, and problems with fewer
    than two that have some.
    """
    names = [f"self_bleu_{order}" for order in range(1, samples.settings.max_order)] + ["self_bleu"]
    everyone = np.ones(len(samples.compared), dtype=bool)
    return dict(zip(names, mean_self_bleu(samples, everyone), strict=True))


def mean_self_bleu(samples: ProblemSamples, among: np.ndarray) -> list[Value]:
    """Mean of Self-BLEU-1, ..., Self-BLEU-max_order over some of the compared responses, bool [n]."""
    settings = samples.settings
    smoothing = _named("smoothing", settings.smooth, SMOOTHINGS)
    scoring = _named("way of taking references", settings.references, REFERENCES)
    kept = among & (samples.documents.lengths > 0)
    n_among, n_kept = int(among.sum()), int(kept.sum())
    if n_kept < 2:
        return [Value(0.0, 0.0, n_among)] * settings.max_order
    scores = scoring(*_shared(samples.ngrams, kept, settings.max_order), smoothing)
    return [Value(float(mean), 1.0, n_among - n_kept) for mean in scores.mean(axis=1)]


def self_bleu_signature(settings: MetricSettings) -> str:
    """All that Self-BLEU depends on beside the texts."""
    details = f"order:{settings.max_order}|smooth:{settings.smooth}|refs:{settings.references}"
    return f"self_bleu|{text_signature(settings)}|{details}"


SELF_BLEU = Metric(
    measure=measure_self_bleu,
    signature=self_bleu_signature,
    unit=Unit.PERCENT,
    better=Better.LOWER,
    needs_text=True,
)
