"""Distinct-n: distinct n-grams over all responses of a problem, divided by their n-grams.

Li et al. (2016), "A Diversity-Promoting Objective Function for Neural Conversation Models", which
reports n = 1 and 2. The longer the responses, the lower it is: vocabulary grows more slowly than text.
"""

from collections.abc import Hashable, Mapping, Sequence

from opo_eval.errors import UsageError
from opo_eval.metrics.core import Metric, ProblemSamples, Value, text_signature
from opo_eval.metrics.ngrams import Ngrams, encode
from opo_eval.records import Better, Unit

ORDERS = (1, 2, 3, 4)


def distinct_n(token_lists: Sequence[Sequence[Hashable]], n: int) -> float:
    """|distinct n-grams| / |n-grams| over several token sequences together, up to 1 (none twice).

    No n-gram reaches from one sequence into the next.

    Raises UsageError (a ValueError) for an n that is not an integer of 1 or more, and where no sequence
    has n tokens.
    """
    ngrams = Ngrams(encode(token_lists))
    n_distinct, n_total = ngrams.n_distinct(n), int(ngrams.totals(n).sum())
    if not n_total:
        raise UsageError(f"Distinct-{n} needs a sequence of at least {n} tokens: leave such texts out")
    return n_distinct / n_total


# --- the metric -------------------------------------------------------------------------------------


def measure_distinct(samples: ProblemSamples) -> Mapping[str, Value]:
    """`distinct_1`, ..., `distinct_4`: different n-grams of a problem's responses as a share of all of them.

    Σ different n-grams of a problem / Σ n-grams of a problem, so every n-gram weighs the same; one that two
    problems have counts for both. Responses with fewer than n tokens are left out.
    """
    found = {}
    for n in ORDERS:
        totals = samples.ngrams.totals(n)
        n_left_out = int((totals == 0).sum())
        found[f"distinct_{n}"] = Value(samples.ngrams.n_distinct(n), int(totals.sum()), n_left_out)
    return found


DISTINCT = Metric(
    measure=measure_distinct,
    signature=lambda settings: f"distinct_n|{text_signature(settings)}",
    unit=Unit.SHARE,
    better=Better.HIGHER,
    needs_text=True,
)
