"""Rep-n: the share of a sequence's n-grams that repeat an earlier one (seq-rep-n of Welleck et al., 2020)."""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from opo_eval.errors import UsageError
from opo_eval.metrics.core import Metric, ProblemSamples, Value, sums, text_signature
from opo_eval.metrics.ngrams import ngram_counts
from opo_eval.records import Better, Unit


def rep_n(tokens: Sequence[Hashable], n: int = 5) -> float:
    """1 - |distinct n-grams| / |n-grams| of one token sequence, from 0 (none repeats) towards 1.

    tokens: strings, token ids or other hashables; the counts behind the value are `ngram_counts`.

    Raises UsageError (a ValueError) for an n that is not an integer of 1 or more, and for fewer than n
    tokens, of which the share is not defined.
    """
    n_distinct, n_total = ngram_counts(tokens, n)
    if n_total == 0:
        raise UsageError(f"Rep-{n} needs at least {n} tokens and got {len(tokens)}: leave such texts out")
    return 1 - n_distinct / n_total


# --- the metric -------------------------------------------------------------------------------------


def measure_repetition(samples: ProblemSamples) -> Mapping[str, Value]:
    """Rep-n: the share of a response's n-grams that repeat an earlier one (5-grams: `rep_5`).

    Σ duplicate n-grams / Σ n-grams, so every n-gram weighs the same. In `rep_5_per_sequence` every response
    weighs the same: the mean of each one's own share, as in the OPO paper. Responses with fewer than n
    tokens are left out.
    """
    n = samples.settings.rep_order
    totals = samples.ngrams.totals(n)
    duplicates = np.bincount(samples.ngrams.duplicates(n)[0], minlength=len(totals))
    known = totals > 0
    duplicates, totals, left_out = duplicates[known], totals[known], int((~known).sum())
    return {
        f"rep_{n}": sums(duplicates, totals, left_out),
        f"rep_{n}_per_sequence": sums(duplicates / totals, n_left_out=left_out),
    }


REPETITION = Metric(
    measure=measure_repetition,
    signature=lambda settings: f"rep_{settings.rep_order}|{text_signature(settings)}",
    unit=Unit.SHARE,
    better=Better.LOWER,
    needs_text=True,
)
