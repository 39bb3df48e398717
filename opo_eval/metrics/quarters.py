"""Rep-n by position: in which quarter of a response do n-grams repeat earlier ones?

Rep-n (seq-rep-n of Welleck et al., 2020) counts the n-grams of a sequence that occurred earlier in it.
Here they are counted apart by the quarter of the response in which they begin.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from opo_eval.metrics.core import Metric, ProblemSamples, Value, text_signature
from opo_eval.metrics.ngrams import encode, ngram_keys, repeats_earlier
from opo_eval.records import Better, Unit

N_QUARTERS = 4


def rep_n_by_quarter(tokens: Sequence[Hashable], n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(duplicate n-grams, n-grams) of each quarter of one token sequence: int64 [4] each.

    An n-gram is a duplicate if it occurred earlier in the sequence, in whichever quarter. Of N n-grams,
    number i = 0, ..., N - 1 is in quarter floor(4 i / N), so quarters differ by at most one n-gram and, with
    fewer than 4, some have none. Over all quarters, duplicates / n-grams is Rep-n.

    Raises UsageError (a ValueError) for an n that is not an integer of 1 or more.
    """
    repeats = repeats_earlier(ngram_keys(encode([tokens]), n))
    quarter = N_QUARTERS * np.arange(len(repeats)) // max(len(repeats), 1)
    duplicates = np.bincount(quarter[repeats], minlength=N_QUARTERS)
    return duplicates, np.bincount(quarter, minlength=N_QUARTERS)


# --- the metric -------------------------------------------------------------------------------------


def measure_quarters(samples: ProblemSamples) -> Mapping[str, Value]:
    """`rep_5_q1`, ..., `rep_5_q4`: Σ duplicate n-grams / Σ n-grams of each quarter, a share.

    Later quarters have more to repeat, so compare a quarter with the same one of another checkpoint.
    A response that has no n-gram in a quarter is left out there and counted.
    """
    n = samples.settings.rep_order
    counts = np.array([rep_n_by_quarter(tokens, n) for tokens in samples.token_lists])
    left_out = (counts[:, 1] == 0).sum(axis=0)
    sums = counts.sum(axis=0)
    return {
        f"rep_{n}_q{q + 1}": Value(int(sums[0, q]), int(sums[1, q]), int(left_out[q]))
        for q in range(N_QUARTERS)
    }


REPETITION_BY_QUARTER = Metric(
    measure=measure_quarters,
    signature=lambda settings: f"rep_{settings.rep_order}|by quarter|{text_signature(settings)}",
    unit=Unit.SHARE,
    better=Better.LOWER,
)
