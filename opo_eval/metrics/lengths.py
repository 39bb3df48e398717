"""How long responses are: Σ length / Σ responses."""

from collections.abc import Mapping

from opo_eval.metrics.core import Metric, ProblemSamples, Value, sums
from opo_eval.records import Better, Unit


def characters(samples: ProblemSamples) -> Mapping[str, Value]:
    """Characters of a response, its think section among them; every response weighs the same."""
    return {"characters": sums([len(graded.sample.text) for graded in samples.compared])}


def tokens(samples: ProblemSamples) -> Mapping[str, Value]:
    """Tokens of a response as the model's own tokenizer counts them; every response weighs the same.

    Responses whose number of tokens is not known are left out.
    """
    counts = [graded.sample.n_tokens for graded in samples.compared]
    known = [count for count in counts if count is not None]
    return {"tokens": sums(known, n_left_out=len(counts) - len(known))}


CHARACTERS = Metric(
    measure=characters,
    signature=lambda settings: f"characters|n:{settings.n}",
    unit=Unit.CHARACTERS,
    better=Better.NEITHER,
    needs_text=True,
)
TOKENS = Metric(
    measure=tokens,
    signature=lambda settings: f"tokens|n:{settings.n}|tok:model",
    unit=Unit.TOKENS,
    better=Better.NEITHER,
)
