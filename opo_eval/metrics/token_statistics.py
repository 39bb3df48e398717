"""Entropy, KL divergence and perplexity a token, from what a scorer recorded: Σ over tokens / Σ tokens.

Every token weighs the same. The bare name is at temperature 1; at another the name ends in it (`kl_t0.6`).
A response that nobody scored is left out and counted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from opo_eval.metrics.core import Metric, MetricSettings, ProblemSamples, Value, sums
from opo_eval.records import Better, Forking, GradedSample, Tenths, TokenStats, Unit, Verdict

N_TENTHS = 10

Pair = tuple[float, int]
"""A sum over some of a response's tokens, and how many these are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quantity:
    """What is summed over tokens; None where a response was scored without what it needs."""

    whole: Callable[[TokenStats], float | None]
    forking: Callable[[Forking], float | None]
    tenths: Callable[[Tenths], Sequence[float] | None]


_ENTROPY = _Quantity(
    whole=lambda stats: stats.entropy_sum,
    forking=lambda stats: stats.entropy_sum,
    tenths=lambda stats: stats.entropy,
)
_KL = _Quantity(
    whole=lambda stats: stats.kl_sum,
    forking=lambda stats: stats.kl_sum,
    tenths=lambda stats: stats.kl,
)
_SURPRISE = _Quantity(
    whole=lambda stats: -stats.logprob_sum,
    forking=lambda stats: -stats.logprob_sum,
    tenths=lambda stats: [-logprob for logprob in stats.logprob],
)


# --- the metrics ------------------------------------------------------------------------------------


def entropy(samples: ProblemSamples) -> Mapping[str, Value]:
    """Entropy of the next token, -Σ p ln p over the whole vocabulary, exact; mean over the drawn tokens.

    `entropy_correct` and `entropy_wrong` are over the tokens of responses with the verdict CORRECT and of all
    others. `entropy_forking` is over the fifth of each response's tokens at which entropy is highest (S. Wang
    et al., 2025, arXiv 2506.01939). `entropy_tenth_1`, ..., `entropy_tenth_10` are over each tenth of the
    response, in its order.
    """
    return _parts(samples, "entropy", _ENTROPY)


def kl(samples: ProblemSamples) -> Mapping[str, Value]:
    """KL(policy‖reference) of the next token, Σ p (ln p - ln q) over the whole vocabulary, exact; mean over
    the tokens that the policy drew.

    Parts are named as those of the entropy. `reverse_kl` is KL(reference‖policy) at the same places, which
    the policy's tokens led to.
    """
    others = _of_whole(samples, "reverse_kl", lambda stats: stats.reverse_kl_sum)
    return {**_parts(samples, "kl", _KL), **others}


def kl_estimates(samples: ProblemSamples) -> Mapping[str, Value]:
    """Estimates of KL(policy‖reference) from the drawn tokens alone, as training frameworks log them.

    With r = q/p of a drawn token: `kl_k1` -ln r, `kl_k2` (ln r)²/2, `kl_k3` r - 1 - ln r; means over tokens
    (J. Schulman, 2020). k1 and k3 are unbiased, k2 is not; `kl` is what they estimate, where the policy drew
    the tokens at that temperature. Single tokens of k1 have either sign, and so may its mean.
    """
    columns: dict[str, Callable[[TokenStats], float | None]] = {
        "kl_k1": _k1,
        "kl_k2": lambda stats: stats.kl_k2_sum,
        "kl_k3": lambda stats: stats.kl_k3_sum,
    }
    return {name: value for k, of in columns.items() for name, value in _of_whole(samples, k, of).items()}


def log_perplexity(samples: ProblemSamples) -> Mapping[str, Value]:
    """-ln p of the drawn tokens, mean over tokens: the logarithm of the perplexity of responses under the
    policy.

    Parts are named as those of the entropy, whose mean it estimates where the policy drew the tokens at that
    temperature without top-p and top-k.
    """
    return _parts(samples, "log_perplexity", _SURPRISE)


def _k1(stats: TokenStats) -> float | None:
    return None if stats.ref_logprob_sum is None else stats.logprob_sum - stats.ref_logprob_sum


# --- from responses to pairs ------------------------------------------------------------------------


def _parts(samples: ProblemSamples, name: str, quantity: _Quantity) -> dict[str, Value]:
    """The whole responses, the correct and the wrong ones, forking tokens, and tenths."""

    def whole(stats: TokenStats) -> Pair | None:
        return _pair(quantity.whole(stats), stats.n_tokens)

    found = {}
    for suffix, stats in _by_temperature(samples.compared).items():
        if (value := _value(stats, whole)) is None:
            continue  # scored without the reference that it needs
        found[f"{name}{suffix}"] = value
        for verdict, members in _by_verdict(samples.compared):
            its = [own if i in members else None for i, own in enumerate(stats)]
            found[f"{name}_{verdict}{suffix}"] = _value(its, whole)
        found[f"{name}_forking{suffix}"] = _value(
            stats, lambda own: _pair(quantity.forking(own.forking), own.forking.n_tokens)
        )
        for tenth in range(N_TENTHS):
            found[f"{name}_tenth_{tenth + 1}{suffix}"] = _value(
                stats, lambda own, at=tenth: _at(quantity.tenths(own.tenths), own.tenths.n_tokens, at)
            )
    return {part: value for part, value in found.items() if value is not None}


def _of_whole(
    samples: ProblemSamples, name: str, of: Callable[[TokenStats], float | None]
) -> dict[str, Value]:
    found = {
        f"{name}{suffix}": _value(stats, lambda own: _pair(of(own), own.n_tokens))
        for suffix, stats in _by_temperature(samples.compared).items()
    }
    return {part: value for part, value in found.items() if value is not None}


def _by_temperature(samples: Sequence[GradedSample]) -> dict[str, list[TokenStats | None]]:
    """What a name ends in → the token statistics of every sample at that temperature, None where it has
    none."""
    temperatures = sorted({stats.temperature for graded in samples for stats in graded.token_stats})
    return {
        "" if temperature == 1 else f"_t{temperature:g}": [
            next((stats for stats in graded.token_stats if stats.temperature == temperature), None)
            for graded in samples
        ]
        for temperature in temperatures
    }


def _by_verdict(samples: Sequence[GradedSample]) -> Iterator[tuple[str, set[int]]]:
    """Places of the responses that are correct, and of those that are not; neither where nobody graded."""
    verdicts = [graded.grade and graded.grade.verdict for graded in samples]
    if any(verdicts):
        yield "correct", {i for i, verdict in enumerate(verdicts) if verdict is Verdict.CORRECT}
        yield "wrong", {i for i, verdict in enumerate(verdicts) if verdict not in (Verdict.CORRECT, None)}


def _value(stats: Sequence[TokenStats | None], part: Callable[[TokenStats], Pair | None]) -> Value | None:
    """Σ over tokens / Σ tokens of the responses that have such tokens; None where the scorer had no
    reference. The others count as left out."""
    scored = [own for own in stats if own is not None]
    pairs = [part(own) for own in scored]
    if scored and None in pairs:
        return None
    known = [pair for pair in pairs if pair is not None and pair[1]]
    return sums([total for total, _ in known], [n for _, n in known], len(stats) - len(known))


def _pair(total: float | None, n_tokens: int) -> Pair | None:
    return None if total is None else (total, n_tokens)


def _at(totals: Sequence[float] | None, n_tokens: Sequence[int], place: int) -> Pair | None:
    return None if totals is None else (totals[place], n_tokens[place])


def _signature(name: str) -> Callable[[MetricSettings], str]:
    return lambda settings: f"{name}|n:{settings.n}|scorer:[{settings.scorer}]"


ENTROPY = Metric(
    measure=entropy,
    signature=_signature("entropy"),
    unit=Unit.NATS,
    better=Better.NEITHER,
    needs_scores=True,
)
KL = Metric(
    measure=kl,
    signature=_signature("kl"),
    unit=Unit.NATS,
    better=Better.NEITHER,
    needs_scores=True,
)
KL_ESTIMATES = Metric(
    measure=kl_estimates,
    signature=_signature("kl_estimates"),
    unit=Unit.LOG_RATIO,
    better=Better.NEITHER,
    needs_scores=True,
)
LOG_PERPLEXITY = Metric(
    measure=log_perplexity,
    signature=_signature("log_perplexity"),
    unit=Unit.NATS,
    better=Better.NEITHER,
    needs_scores=True,
)
