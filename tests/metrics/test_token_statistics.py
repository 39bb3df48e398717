"""Entropy, KL and perplexity a token: their names, parts and sums, against plain means over the tokens."""

from dataclasses import replace

import numpy as np
import pytest
from builders import grade, problem, sample, token_stats

from opo_eval.metrics import METRICS, MetricSettings, measure_groups
from opo_eval.records import GradedSample, Group, MetricTable, TokenStats, Unit, Verdict

ASKED = [problem(number) for number in range(3)]
FAMILIES = {name: metric for name, metric in METRICS.items() if metric.needs_scores}


def tokens(seed: int, n: int) -> tuple[list[float], list[float], list[float]]:
    """Entropies, divergences and log-probabilities of a response."""
    rng = np.random.default_rng(seed)
    return (
        rng.exponential(size=n).tolist(),
        rng.exponential(0.1, n).tolist(),
        (-rng.exponential(size=n)).tolist(),
    )


def scored(number: int, index: int, n: int, verdict: Verdict | None, **options: float) -> GradedSample:
    entropy, kl, logprob = tokens(100 * number + index, n)
    stats = token_stats(ASKED[number], index, entropy, kl=kl, logprob=logprob, **options)
    judged = None if verdict is None else grade(ASKED[number], index, verdict)
    return GradedSample(sample=sample(ASKED[number], index), grade=judged, token_stats=(stats,))


def measured(*groups: list[GradedSample]) -> MetricTable:
    made = [Group(checkpoint="c", problem=p, samples=tuple(g)) for p, g in zip(ASKED, groups, strict=False)]
    return measure_groups(made, MetricSettings(n=len(groups[0]), scorer="s"), FAMILIES)


def values(table: MetricTable) -> dict[str, float]:
    return {row.metric: row.value for row in table.rows if row.subset == "all"}


CORRECT, WRONG = Verdict.CORRECT, Verdict.WRONG
TWO_PROBLEMS = (
    [scored(0, 0, 20, CORRECT), scored(0, 1, 7, WRONG)],
    [scored(1, 0, 33, Verdict.NO_ANSWER), scored(1, 1, 11, CORRECT)],
)
KEYS = [(0, 0, 20), (0, 1, 7), (1, 0, 33), (1, 1, 11)]


def test_every_token_weighs_the_same() -> None:
    entropy, kl, logprob = (
        np.concatenate([tokens(100 * number + index, n)[which] for number, index, n in KEYS])
        for which in range(3)
    )
    got = values(measured(*TWO_PROBLEMS))
    assert got["entropy"] == pytest.approx(entropy.mean())
    assert got["kl"] == pytest.approx(kl.mean())
    assert got["log_perplexity"] == pytest.approx(-logprob.mean())
    assert got["reverse_kl"] == pytest.approx(2 * kl.mean())
    assert got["kl_k1"] == pytest.approx(0.9 * kl.mean())
    assert got["kl_k2"] == pytest.approx(3 * kl.mean())
    assert got["kl_k3"] == pytest.approx(1.1 * kl.mean())


def test_correct_and_wrong_responses_make_up_all_of_them() -> None:
    got = values(measured(*TWO_PROBLEMS))
    entropy = {(number, index): tokens(100 * number + index, n)[0] for number, index, n in KEYS}
    assert got["entropy_correct"] == pytest.approx(np.mean(entropy[0, 0] + entropy[1, 1]))
    assert got["entropy_wrong"] == pytest.approx(np.mean(entropy[0, 1] + entropy[1, 0]))


def test_forking_tokens_are_the_fifth_of_highest_entropy_of_each_response() -> None:
    got = values(measured(*TWO_PROBLEMS))
    top, kl_there = [], []
    for number, index, n in KEYS:
        entropy, kl, _ = map(np.array, tokens(100 * number + index, n))
        order = np.argsort(-entropy)[: int(np.ceil(n / 5))]
        top += entropy[order].tolist()
        kl_there += kl[order].tolist()
    assert got["entropy_forking"] == pytest.approx(np.mean(top))
    assert got["kl_forking"] == pytest.approx(np.mean(kl_there))


def test_tenths_leave_out_responses_that_have_no_token_there() -> None:
    table = measured(*TWO_PROBLEMS)
    got = values(table)
    by_tenth: list[list[float]] = [[] for _ in range(10)]
    for number, index, n in KEYS:
        for i, entropy in enumerate(tokens(100 * number + index, n)[0]):
            by_tenth[10 * i // n].append(entropy)
    for tenth, entropies in enumerate(by_tenth):
        assert got[f"entropy_tenth_{tenth + 1}"] == pytest.approx(np.mean(entropies))
    left_out = {row.metric: row.n_samples_left_out for row in table.rows if row.subset == "all"}
    # Seven tokens are in tenths 0, 1, 2, 4, 5, 7 and 8 of 0, ..., 9.
    assert [left_out[f"entropy_tenth_{k + 1}"] for k in range(10)] == [0, 0, 0, 1, 0, 0, 1, 0, 0, 1]


def test_another_temperature_is_in_the_name() -> None:
    first = scored(0, 0, 20, CORRECT)
    cold = token_stats(ASKED[0], 0, [0.5] * 20, temperature=0.6)
    both = replace(first, token_stats=(cold, *first.token_stats))
    got = values(measured([both]))
    assert got["entropy_t0.6"] == pytest.approx(0.5)
    assert got["entropy"] == pytest.approx(np.mean(tokens(0, 20)[0]))
    assert "kl" in got and "kl_t0.6" not in got  # which was scored without a reference


def test_what_is_not_scored_is_left_out_and_counted() -> None:
    bare = GradedSample(sample=sample(ASKED[0], 1), grade=grade(ASKED[0], 1))
    table = measured([scored(0, 0, 20, CORRECT), bare], [replace(bare, sample=sample(ASKED[1], 0)), bare])
    row = next(row for row in table.rows if row.metric == "entropy")
    assert row.value == pytest.approx(np.mean(tokens(0, 20)[0]))
    assert (row.n_problems, row.n_problems_left_out, row.n_samples_left_out) == (1, 1, 1)
    assert table.counts["scored"] == 1 and table.counts["samples"] == 4


def test_without_a_reference_or_grades_there_is_no_number_of_them() -> None:
    stats: TokenStats = token_stats(ASKED[0], 0, [1.0, 2.0])
    table = measured([GradedSample(sample=sample(ASKED[0], 0), grade=None, token_stats=(stats,))])
    names = {statistic.metric for statistic in table.statistics}
    assert {"entropy", "entropy_forking", "log_perplexity"} <= names
    assert not any(
        name.startswith(("kl", "reverse")) or "correct" in name or "wrong" in name for name in names
    )


def test_a_mean_of_k1_below_zero_keeps_its_sign_and_its_interval() -> None:
    groups = []
    for number in range(3):
        stats = replace(scored(number, 0, 20, CORRECT).token_stats[0], ref_logprob_sum=0.5 * number)
        its = [replace(stats, index=i, logprob_sum=-1.0 - 0.3 * i) for i in range(3)]
        groups.append([replace(scored(number, i, 20, CORRECT), token_stats=(its[i],)) for i in range(3)])
    row = next(row for row in measured(*groups).rows if row.metric == "kl_k1")
    assert row.unit is Unit.LOG_RATIO and row.value < 0
    assert row.interval is not None and row.interval.low < row.value < row.interval.high
    assert row.interval_these is not None and row.interval_these.low < row.value < row.interval_these.high
