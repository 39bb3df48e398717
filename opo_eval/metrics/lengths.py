"""How long responses are: Σ length / Σ responses."""

from collections.abc import Mapping

from opo_eval.metrics.core import Metric, ProblemSamples, Value
from opo_eval.records import Better, Unit


def characters(samples: ProblemSamples) -> Mapping[str, Value]:
    """Characters a response."""
    lengths = [len(graded.sample.text) for graded in samples.compared]
    return {"characters": Value(sum(lengths), len(lengths))}


def tokens(samples: ProblemSamples) -> Mapping[str, Value]:
    """Tokens a response as the model's own tokenizer counts them, where the sampler said how many."""
    counts = [graded.sample.n_tokens for graded in samples.compared]
    known = [count for count in counts if count is not None]
    return {"tokens": Value(sum(known), len(known), len(counts) - len(known))}


CHARACTERS = Metric(
    measure=characters,
    signature=lambda settings: f"characters|n:{settings.n}",
    unit=Unit.CHARACTERS,
    better=Better.NEITHER,
)
TOKENS = Metric(
    measure=tokens,
    signature=lambda settings: f"tokens|n:{settings.n}|tok:model",
    unit=Unit.TOKENS,
    better=Better.NEITHER,
)
