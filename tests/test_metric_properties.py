"""What holds for every metric in METRICS, whatever it measures. A new metric is picked up by itself."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from builders import grade, problem, sample, token_stats

from opo_eval.differences import compare_tables
from opo_eval.errors import InputError
from opo_eval.metrics import METRICS, MetricSettings, ProblemSamples, measure_groups
from opo_eval.metrics.core import Metric
from opo_eval.records import (
    Finish,
    GradedSample,
    Group,
    MetricTable,
    Problem,
    TokenStats,
    Unit,
    Verdict,
)
from opo_eval.stats import sampling_errors

WORDS = ("so", "the", "sum", "of", "these", "two", "terms", "is", "then", "plus", "minus", "wait", "again")
VERDICTS = [*Verdict, Verdict.CORRECT, Verdict.CORRECT, Verdict.WRONG]
BOUNDS = {
    Unit.SHARE: (0, 1),
    Unit.PERCENT: (0, 100 + 1e-9),
    Unit.RATIO: (0, np.inf),
    Unit.NATS: (0, np.inf),
    Unit.LOG_RATIO: (-np.inf, np.inf),
    Unit.TOKENS: (0, np.inf),
    Unit.CHARACTERS: (0, np.inf),
}
HAS_SPREADS = {
    "pass@k", "pass^k", "g_pass@k", "mean", "lenient_mean", "repetition", "repetition_by_quarter",
    "looping", "tokens", "characters", "truncated", "no_answer", "ungraded", "entropy", "kl",
    "kl_estimates", "log_perplexity",
}  # fmt: skip
"""Families that say how their numbers vary with new samples; the others compare samples with one another."""


def random_groups(seed: int, n_problems: int = 9, n: int = 7) -> list[Group]:
    """Graded responses of random words, some empty, some truncated, some unscored, with every verdict."""
    rng = np.random.default_rng(seed)
    groups = []
    for number in range(n_problems):
        asked = problem(number, level=str(number % 3), subject="AB"[number % 2])
        samples = []
        for index in range(n):
            verdict = VERDICTS[rng.integers(len(VERDICTS))]
            words = [*rng.choice(WORDS, size=rng.integers(0, 40))]
            text = " ".join(words * rng.integers(1, 4))
            extracted = None if verdict is Verdict.NO_ANSWER else str(rng.integers(4))
            drawn = sample(asked, index, text, n_tokens=len(text), finish=rng.choice([*Finish]))
            judged = grade(asked, index, verdict, extracted=extracted, lenient_verdict=rng.choice([*Verdict]))
            scored = random_token_stats(rng, asked, index) if rng.random() < 0.9 else ()
            samples.append(GradedSample(sample=drawn, grade=judged, token_stats=scored))
        groups.append(Group(checkpoint="c", problem=asked, samples=tuple(samples)))
    return groups


def random_token_stats(rng: np.random.Generator, asked: Problem, index: int) -> tuple[TokenStats, TokenStats]:
    """At two temperatures, of 1 to 30 tokens."""
    n_tokens = rng.integers(1, 31)
    return tuple(
        token_stats(
            asked,
            index,
            rng.exponential(size=n_tokens).tolist(),
            kl=rng.exponential(0.1, size=n_tokens).tolist(),
            logprob=(-rng.exponential(size=n_tokens)).tolist(),
            temperature=temperature,
        )
        for temperature in (0.6, 1.0)
    )


def measured(groups: list[Group], metric: Metric, n: int = 7) -> MetricTable:
    return measure_groups(groups, MetricSettings(n=n, grader="g"), {"it": metric})


def values(table: MetricTable) -> dict[tuple[str, str], float]:
    return {(row.subset, row.metric): row.value for row in table.rows}


every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
several_seeds = pytest.mark.parametrize("seed", [0, 1])


@every_metric
@several_seeds
def test_the_order_of_problems_does_not_matter(metric: Metric, seed: int) -> None:
    groups = random_groups(seed)
    shuffled = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    assert values(measured(shuffled, metric)) == pytest.approx(values(measured(groups, metric)), abs=1e-12)


@every_metric
@several_seeds
def test_the_order_of_samples_does_not_matter(metric: Metric, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = random_groups(seed)
    shuffled = [
        replace(group, samples=tuple(group.samples[i] for i in rng.permutation(len(group.samples))))
        for group in groups
    ]
    assert values(measured(shuffled, metric)) == pytest.approx(values(measured(groups, metric)), abs=1e-9)


@every_metric
@several_seeds
def test_values_and_intervals_stay_within_their_bounds(metric: Metric, seed: int) -> None:
    low, high = BOUNDS[metric.unit]
    table = measured(random_groups(seed), metric)
    assert table.rows
    for row in table.rows:
        assert low <= row.value <= high
        for interval in filter(None, (row.interval, row.interval_these, row.band)):
            assert low <= interval.low < interval.high <= high
            assert interval.low - 1e-12 <= row.value <= interval.high + 1e-12
        if row.band and row.interval:
            assert row.band.low <= row.interval.low and row.interval.high <= row.band.high
        assert (row.band is not None) <= metric.is_curve
        assert row.unit is metric.unit and row.signature and f"{7}" in row.signature


@every_metric
def test_a_run_against_itself_shows_no_difference(metric: Metric) -> None:
    first, second = (measured(random_groups(3, n_problems=12), metric) for _ in range(2))
    assert first == second
    rows = compare_tables(first, replace(second, checkpoint="again"))
    assert {row.metric for row in rows} == {row.metric for row in first.rows}
    for row in rows:
        assert (row.delta, row.interval, row.band, row.mde80, row.problems_needed) == (0, *[None] * 4)
        assert row.p_value == (1 if row.n_problems > 1 else None)
        these = row.interval_these
        assert these is None or (these.low < 0 and these.low == pytest.approx(-these.high))


@every_metric
def test_the_comparison_turned_round_is_the_same(metric: Metric) -> None:
    a, b = (measured(random_groups(seed), metric) for seed in (11, 12))
    there, back = ({row.metric: row for row in compare_tables(*pair)} for pair in ((a, b), (b, a)))
    assert there.keys() == back.keys()
    for name, row in there.items():
        turned = back[name]
        assert turned.delta == pytest.approx(-row.delta, abs=1e-12)
        assert (turned.p_value, turned.n_problems) == (pytest.approx(row.p_value), row.n_problems)
        assert (turned.mde80, turned.problems_needed) == (pytest.approx(row.mde80), row.problems_needed)
        for one, other in ((row.interval, turned.interval), (row.interval_these, turned.interval_these)):
            assert (one is None) == (other is None)
            if one and other:
                assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-12)


@every_metric
def test_the_order_of_problems_does_not_matter_to_a_comparison(metric: Metric) -> None:
    a, b = (random_groups(seed) for seed in (13, 14))
    order = np.random.default_rng(0).permutation(len(b))
    table_a, table_b = measured(a, metric), measured(b, metric)
    shuffled = measured([b[i] for i in order], metric)
    assert compare_tables(table_a, shuffled) == compare_tables(table_a, table_b)


@every_metric
@several_seeds
def test_spreads_are_there_where_they_are_promised(metric: Metric, seed: int) -> None:
    table = measured(random_groups(seed), metric)
    family = next(name for name, known in METRICS.items() if known is metric)
    for statistic in table.statistics:
        if max(statistic.n_samples_left_out) > 5:
            continue  # of a single sample nobody knows how it varies
        takes_all = statistic.metric.startswith(("pass@7", "pass^7", "g_pass@7", "mg_pass@7"))
        promised = family in HAS_SPREADS and not takes_all
        assert (statistic.spreads is not None) == promised, statistic.metric
        if statistic.spreads is not None:
            variance, covariance, of_denominator, freedom = np.array(statistic.spreads).T
            assert (variance >= 0).all() and (of_denominator >= 0).all() and (freedom >= 0).all()
            assert (covariance**2 <= variance * of_denominator + 1e-9).all()


@every_metric
def test_a_row_has_its_sampling_interval_where_the_statistics_allow_it(metric: Metric) -> None:
    table = measured(random_groups(2), metric)
    rows = {row.metric: row for row in table.rows if row.subset == "all"}
    for statistic in table.statistics:
        if statistic.metric in rows:
            pair = np.array([statistic.numerators, statistic.denominators])[:, None]
            spreads = statistic.spreads and np.array(statistic.spreads).T[None]
            varies = spreads is not None and sampling_errors(*pair, spreads)[0] > 0
            assert (rows[statistic.metric].interval_these is not None) == varies


@every_metric
def test_too_few_samples_are_refused_with_problem_and_count(metric: Metric) -> None:
    with pytest.raises(InputError, match=r"problem p0 has 7 samples of c, fewer than n = 8"):
        measured(random_groups(0), metric, n=8)


@every_metric
def test_no_problem_at_all_is_refused(metric: Metric) -> None:
    with pytest.raises(InputError, match="no problem with samples to measure"):
        measured([], metric)


@every_metric
def test_inputs_are_left_alone(metric: Metric) -> None:
    groups = random_groups(4)
    before = copy.deepcopy(groups)
    measured(groups, metric)
    assert groups == before


@every_metric
def test_a_value_is_the_ratio_of_its_statistics(metric: Metric) -> None:
    table = measured(random_groups(5), metric)
    rows = {row.metric: row for row in table.rows if row.subset == "all"}
    for statistic in table.statistics:
        if sum(statistic.denominators):
            expected = sum(statistic.numerators) / sum(statistic.denominators)
            assert rows[statistic.metric].value == pytest.approx(expected)
            assert rows[statistic.metric].n_problems == np.count_nonzero(statistic.denominators)


@every_metric
def test_subsets_are_measured_as_if_alone(metric: Metric) -> None:
    groups = random_groups(6)
    table = measured(groups, metric)
    for subset, tag, value in [("level=2", "level", "2"), ("subject=A", "subject", "A")]:
        alone = measured([group for group in groups if group.problem.tags[tag] == value], metric)
        assert {m: v for (s, m), v in values(table).items() if s == subset} == pytest.approx(
            {m: v for (s, m), v in values(alone).items() if s == "all"}
        )


@every_metric
def test_what_depends_on_the_number_of_samples_is_taken_at_n(metric: Metric) -> None:
    """At n = 3 of 7, a metric is that of the first three samples, or the mean over all choices of three."""
    groups = random_groups(7, n_problems=4)
    cut = values(measured(groups, metric, n=3))
    first = values(measured([replace(g, samples=g.samples[:3]) for g in groups], metric, n=3))
    same = {key for key in cut if cut[key] == pytest.approx(first[key], abs=1e-12)}
    unbiased = {key for key in cut if key[1].startswith(("pass@", "pass^", "g_pass@", "mg_pass@", "maj@"))}
    assert same | unbiased == cut.keys()


def test_the_samples_of_a_problem_are_tokenized_once() -> None:
    calls: list[str] = []

    def counting(text: str) -> list[str]:
        calls.append(text)
        return text.split()

    group = random_groups(8)[0]
    samples = ProblemSamples(group, MetricSettings(n=7, tokenize=counting))
    for metric in METRICS.values():
        metric.measure(samples)
    assert len(calls) == 7
