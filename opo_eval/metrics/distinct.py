"""Distinct-n: distinct n-grams over all responses of a problem, divided by their n-grams.

Li et al. (2016), "A Diversity-Promoting Objective Function for Neural Conversation Models", which
reports n = 1 and 2. The longer the responses, the lower it is: vocabulary grows more slowly than text.
"""

from collections.abc import Hashable, Mapping, Sequence

from opo_eval.errors import UsageError
from opo_eval.metrics.core import Metric, ProblemSamples, Value, text_signature
from opo_eval.metrics.ngrams import count_distinct, encode, ngram_keys
from opo_eval.records import Better, Unit

ORDERS = (1, 2, 3, 4)


def distinct_n(token_lists: Sequence[Sequence[Hashable]], n: int) -> float:
    """|distinct n-grams| / |n-grams| over several token sequences together, up to 1 (none twice).

    No n-gram reaches from one sequence into the next.

    Raises UsageError (a ValueError) for an n that is not an integer of 1 or more, and where no sequence
    has n tokens.
    """
    keys = ngram_keys(encode(token_lists), n)
    if not len(keys):
        raise UsageError(f"Distinct-{n} needs a sequence of at least {n} tokens: leave such texts out")
    return count_distinct(keys) / len(keys)


# --- the metric -------------------------------------------------------------------------------------


def measure_distinct(samples: ProblemSamples) -> Mapping[str, Value]:
    """`distinct_1`, ..., `distinct_4`: Σ distinct n-grams of a problem / Σ n-grams of a problem, a share.

    An n-gram that two problems have counts for both. Responses with fewer than n tokens have no n-gram:
    they are left out and counted.
    """
    documents = encode(samples.token_lists)
    found = {}
    for n in ORDERS:
        keys = ngram_keys(documents, n)
        found[f"distinct_{n}"] = Value(count_distinct(keys), len(keys), int((documents.lengths < n).sum()))
    return found


DISTINCT = Metric(
    measure=measure_distinct,
    signature=lambda settings: f"distinct_n|{text_signature(settings)}",
    unit=Unit.SHARE,
    better=Better.HIGHER,
)
