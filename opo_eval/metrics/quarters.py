"""Rep-n by position: in which quarter of a response do n-grams repeat earlier ones?

Rep-n (seq-rep-n of Welleck et al., 2020) counts the n-grams of a sequence that occurred earlier in it.
Here they are counted apart by the quarter of the response in which they begin.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from opo_eval.metrics.core import Metric, ProblemSamples, Value, sums, text_signature
from opo_eval.metrics.ngrams import Ngrams, encode
from opo_eval.records import Better, Unit

N_QUARTERS = 4


def rep_n_by_quarter(tokens: Sequence[Hashable], n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(duplicate n-grams, n-grams) of each quarter of one token sequence: int64 [4] each.

    An n-gram is a duplicate if it occurred earlier in the sequence, in whichever quarter. Of N n-grams,
    number i = 0, ..., N - 1 is in quarter floor(4 i / N), so quarters differ by at most one n-gram and, with
    fewer than 4, some have none. Over all quarters, duplicates / n-grams is Rep-n.

    Raises UsageError (a ValueError) for an n that is not an integer of 1 or more.
    """
    duplicates, totals = _by_quarter(Ngrams(encode([tokens])), n)
    return duplicates[0], totals[0]


def _by_quarter(ngrams: Ngrams, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(duplicate n-grams, n-grams) of each quarter of each document: int64 [D, 4] each."""
    totals, (documents, places) = ngrams.totals(n), ngrams.duplicates(n)
    quarter = N_QUARTERS * places // totals[documents]
    duplicates = np.bincount(N_QUARTERS * documents + quarter, minlength=N_QUARTERS * len(totals))
    # Of N n-grams, ceil(q N / 4) stand before quarter q.
    before = -(-totals[:, None] * np.arange(N_QUARTERS + 1) // N_QUARTERS)
    return duplicates.reshape(-1, N_QUARTERS), np.diff(before)


# --- the metric -------------------------------------------------------------------------------------


def measure_quarters(samples: ProblemSamples) -> Mapping[str, Value]:
    """`rep_5_q1`, ..., `rep_5_q4`: the share of each quarter's n-grams that occurred earlier in the response.

    Σ duplicate n-grams / Σ n-grams, so every n-gram weighs the same. Later quarters have more to repeat, so
    a quarter compares with the same one of another checkpoint. A response is left out of a quarter in which
    it has no n-gram.
    """
    n = samples.settings.rep_order
    duplicates, totals = _by_quarter(samples.ngrams, n)
    left_out = (totals == 0).sum(axis=0).tolist()
    return {f"rep_{n}_q{q + 1}": sums(duplicates[:, q], totals[:, q], left_out[q]) for q in range(N_QUARTERS)}


REPETITION_BY_QUARTER = Metric(
    measure=measure_quarters,
    signature=lambda settings: f"rep_{settings.rep_order}|by quarter|{text_signature(settings)}",
    unit=Unit.SHARE,
    better=Better.LOWER,
    needs_text=True,
)
