"""Rep-n: the share of a sequence's n-grams that repeat an earlier one (seq-rep-n of Welleck et al., 2020)."""

from collections.abc import Hashable, Mapping, Sequence

from opo_eval.errors import UsageError
from opo_eval.metrics.core import Metric, ProblemSamples, Value, text_signature
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
    """Rep-n over a problem's responses, by n-gram (`rep_5`) and by response (`rep_5_per_sequence`).

    By n-gram: Σ duplicate n-grams / Σ n-grams. By response, as the OPO paper has it: the mean of each
    response's own share. Responses with fewer than n tokens are left out and counted.
    """
    n = samples.settings.rep_order
    counts = [ngram_counts(tokens, n) for tokens in samples.token_lists]
    known = [(distinct, total) for distinct, total in counts if total]
    left_out = len(counts) - len(known)
    duplicates = sum(total - distinct for distinct, total in known)
    shares = sum(1 - distinct / total for distinct, total in known)
    return {
        f"rep_{n}": Value(duplicates, sum(total for _, total in known), left_out),
        f"rep_{n}_per_sequence": Value(shares, len(known), left_out),
    }


REPETITION = Metric(
    measure=measure_repetition,
    signature=lambda settings: f"rep_{settings.rep_order}|{text_signature(settings)}",
    unit=Unit.SHARE,
    better=Better.LOWER,
)
