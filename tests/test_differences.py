"""Differences of two tables and of two arms, against the statistics they are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builders import group, problem
from scipy import stats as scipy_stats

from opo_eval.arms import Arm
from opo_eval.differences import compare_arms, compare_tables
from opo_eval.metrics import METRICS, MetricSettings, measure_groups
from opo_eval.metrics.intervals import SEED
from opo_eval.records import Comparison, Interval, MetricTable, Verdict
from opo_eval.stats import (
    SEEDS_AND_PROBLEMS,
    SIMULTANEOUS,
    THESE_PROBLEMS,
    arm_differences,
    by_cluster,
    paired_difference,
    sign_flip_test,
)

N = 8
SOME = {name: METRICS[name] for name in ("pass@k", "repetition", "self_bleu", "characters")}


def answered(
    correct: Sequence[int],
    *,
    seed: int = 0,
    checkpoint: str = "c",
    numbers: Sequence[int] | None = None,
    **table: Any,
) -> MetricTable:
    """A checkpoint with so many correct of 8 on every problem, and texts of its own."""
    rng = np.random.default_rng(seed)
    groups = []
    for number, c in zip(numbers or range(len(correct)), correct, strict=True):
        words = [" ".join(rng.choice(list("abcdef"), size=rng.integers(8, 30))) for _ in range(N)]
        verdicts = [Verdict.CORRECT if i < c else Verdict.WRONG for i in range(N)]
        groups.append(group(problem(number, exam="I" * (1 + number % 3)), words, verdicts))
    found = measure_groups(groups, MetricSettings(n=N, grader="g", rep_order=2), SOME, **table)
    return replace(found, checkpoint=checkpoint)


def pair_of(
    table: MetricTable, metric: str, kept: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(numerators, denominators), [problems] each."""
    own = next(s for s in table.statistics if s.metric == metric)
    kept = list(range(len(own.numerators)) if kept is None else kept)
    return np.array(own.numerators)[kept], np.array(own.denominators)[kept]


def rows(comparisons: Sequence[Comparison]) -> Mapping[str, Comparison]:
    return {row.metric: row for row in comparisons}


def bounds(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high


def rng() -> np.random.Generator:
    return np.random.default_rng(SEED)


A = answered(np.random.default_rng(1).binomial(N, 0.4, size=12).tolist(), seed=1, checkpoint="a")
B = answered(np.random.default_rng(2).binomial(N, 0.5, size=12).tolist(), seed=2, checkpoint="b")


@pytest.mark.parametrize("metric", ["pass@1", "pass@4", "rep_2", "self_bleu", "characters"])
def test_a_row_holds_the_paired_statistics_of_its_metric(metric: str) -> None:
    found = rows(compare_tables(A, B))[metric]
    a, b = pair_of(A, metric), pair_of(B, metric)
    delta, interval = paired_difference(a, b, rng=rng())
    assert (found.a, found.b, found.n_problems, found.n_train_seeds) == ("a", "b", 12, 1)
    assert found.delta == pytest.approx(delta) == pytest.approx(found.value_b - found.value_a)
    assert bounds(found.interval) == pytest.approx(bounds(interval))
    (p,) = sign_flip_test(*(tuple(x[None] for x in side) for side in (a, b)), rng=rng())
    assert found.p_value == pytest.approx(p)
    assert found.signature and found.p_adjusted is None


def test_the_test_of_a_mean_is_scipys_exact_one() -> None:
    (a, _), (b, _) = pair_of(A, "pass@2"), pair_of(B, "pass@2")
    expected = scipy_stats.permutation_test(
        (b, a), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert rows(compare_tables(A, B))["pass@2"].p_value == pytest.approx(expected.pvalue)


def over_new_samples(delta: float, *shares: np.ndarray) -> tuple[float, float]:
    """The difference of two mean shares with N samples a problem each: Satterthwaite's t of the binomials."""
    variances = np.concatenate([p * (1 - p) / (N - 1) for p in shares])
    freedom = variances.sum() ** 2 / (variances**2 / (N - 1)).sum()
    low, high = scipy_stats.t.interval(0.95, freedom, delta, np.sqrt(variances.sum()) / len(shares[0]))
    return float(low), float(high)


def test_the_interval_over_these_problems_is_the_binomials_of_both() -> None:
    found = rows(compare_tables(A, B))["pass@1"]
    shares = [pair_of(table, "pass@1")[0] for table in (A, B)]
    assert bounds(found.interval_these) == pytest.approx(over_new_samples(found.delta, *shares))
    assert found.interval_these and found.interval_these.kind == THESE_PROBLEMS


def test_what_does_not_say_how_it_varies_has_no_interval_over_these_problems() -> None:
    found = rows(compare_tables(A, B))
    assert found["self_bleu"].interval_these is None and found[f"pass@{N}"].interval_these is None
    assert found["rep_2"].interval_these is not None


def test_curves_have_bands_that_contain_their_intervals() -> None:
    found = rows(compare_tables(A, B))
    assert found["rep_2"].band is None
    for k in range(1, N):
        band, own = found[f"pass@{k}"].band, found[f"pass@{k}"].interval
        assert band and own and band.kind == SIMULTANEOUS
        assert band.low <= own.low < own.high <= band.high


def test_a_checkpoint_against_itself_differs_by_nothing() -> None:
    for row in compare_tables(A, A):
        assert (row.delta, row.p_value, row.interval, row.band, row.mde80, row.problems_needed) == (
            0, 1, None, None, None, None
        )  # fmt: skip


@pytest.mark.parametrize("gain", [1, 3])
def test_what_moves_by_the_same_everywhere_has_a_test_and_no_interval(gain: int) -> None:
    """Thirds of 8 samples are not exact in binary: rounding must not look like a spread."""
    correct = [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 2]
    found = rows(compare_tables(answered(correct), answered([c + gain for c in correct])))["pass@1"]
    assert (found.interval, found.mde80, found.n_problems) == (None, None, 11)
    assert found.p_value == pytest.approx(2 / 2**11)


def test_only_shared_problems_count_and_their_order_does_not() -> None:
    rng_b = np.random.default_rng(3)
    numbers = [7, 3, 20, 5, 0, 21, 11, 2]
    b = answered(rng_b.binomial(N, 0.5, size=8).tolist(), seed=3, numbers=numbers)
    found = rows(compare_tables(A, b))["pass@2"]
    shared = [number for number in numbers if number < 12]
    places = [numbers.index(number) for number in sorted(shared)]
    delta, interval = paired_difference(
        pair_of(A, "pass@2", sorted(shared)), pair_of(b, "pass@2", places), rng=rng()
    )
    assert (found.n_problems, found.delta) == (6, pytest.approx(delta))
    assert bounds(found.interval) == pytest.approx(bounds(interval))
    pass_at_1 = rows(compare_tables(A, b))["pass@1"]
    shares = pair_of(A, "pass@1", sorted(shared))[0], pair_of(b, "pass@1", places)[0]
    assert bounds(pass_at_1.interval_these) == pytest.approx(over_new_samples(pass_at_1.delta, *shares))


def without(table: MetricTable, metric: str, undefined: Sequence[int]) -> MetricTable:
    """The table with a metric left undefined on some problems."""
    changed = []
    for own in table.statistics:
        if own.metric == metric:
            keep = np.ones(len(own.numerators))
            keep[list(undefined)] = 0
            own = replace(
                own,
                numerators=tuple(np.array(own.numerators) * keep),
                denominators=tuple(np.array(own.denominators) * keep),
            )
        changed.append(own)
    return replace(table, statistics=tuple(changed))


def test_a_metric_is_compared_where_both_define_it_and_the_others_where_they_are() -> None:
    a, b = without(A, "self_bleu", [0, 1]), without(B, "self_bleu", [1, 5, 6])
    found, kept = rows(compare_tables(a, b)), [2, 3, 4, 7, 8, 9, 10, 11]
    expected = pair_of(B, "self_bleu", kept)[0].mean() - pair_of(A, "self_bleu", kept)[0].mean()
    assert (found["self_bleu"].n_problems, found["self_bleu"].delta) == (8, pytest.approx(expected))
    assert found["pass@1"] == rows(compare_tables(A, B))["pass@1"]
    nowhere = without(A, "self_bleu", range(12))
    assert "self_bleu" not in rows(compare_tables(nowhere, B))


def test_rows_come_in_the_order_of_the_tables_metrics() -> None:
    a = without(A, "pass@3", [0])
    order = [s.metric for s in A.statistics]
    assert [row.metric for row in compare_tables(a, B)] == order


def test_clusters_are_drawn_and_swapped_together() -> None:
    exams = [f"exam {number % 4}" for number in range(12)]
    a, b = (replace(table, cluster="exam", clusters=tuple(exams)) for table in (A, B))
    found = rows(compare_tables(a, b))["pass@1"]
    sums = [tuple(by_cluster(x, exams) for x in pair_of(table, "pass@1")) for table in (A, B)]
    _, interval = paired_difference(*sums, rng=rng())
    assert bounds(found.interval) == pytest.approx(bounds(interval))
    assert found.interval and found.interval.kind == "problems like these, drawn by exam"
    (p,) = sign_flip_test(*(tuple(x[None] for x in side) for side in sums), rng=rng())
    assert found.p_value == pytest.approx(p) and found.p_value * 2**4 == pytest.approx(round(p * 2**4))
    assert found.delta == rows(compare_tables(A, B))["pass@1"].delta
    assert found.interval_these == rows(compare_tables(A, B))["pass@1"].interval_these


def test_the_problems_needed_are_counted_in_problems_where_clusters_are_drawn() -> None:
    exams = tuple(f"exam {number % 4}" for number in range(12))
    found = rows(compare_tables(replace(A, cluster="exam", clusters=exams), B))["pass@1"]
    assert found.problems_needed is not None and found.problems_needed % 3 == 0


def test_one_shared_problem_or_one_cluster_has_a_difference_and_no_test() -> None:
    lone = rows(compare_tables(A, answered([4], numbers=[3])))["pass@1"]
    assert (lone.n_problems, lone.interval, lone.p_value, lone.mde80) == (1, None, None, None)
    one_exam = replace(A, cluster="exam", clusters=("I",) * 12)
    found = rows(compare_tables(one_exam, B))["pass@1"]
    assert (found.n_problems, found.interval, found.band, found.p_value) == (12, None, None, None)
    assert found.interval_these is not None


def test_tables_of_other_problems_have_no_difference() -> None:
    assert compare_tables(A, answered([4, 4], numbers=[30, 31])) == []


# --- arms -------------------------------------------------------------------------------------------

SEEDS = {
    arm: [
        answered(np.random.default_rng(s).binomial(N, p, size=12).tolist(), seed=s, checkpoint=f"{arm}-{s}")
        for s in range(first, first + 3)
    ]
    for arm, first, p in (("grpo", 10, 0.4), ("opo", 20, 0.55))
}


def arm(name: str, tables: Sequence[MetricTable]) -> Arm:
    return Arm(name=name, checkpoints=tuple(table.checkpoint for table in tables))


def compared_arms(n_opo: int = 3, **changes: Any) -> Mapping[str, Comparison]:
    a, b = ([replace(table, **changes) for table in SEEDS[name]] for name in ("grpo", "opo"))
    return rows(compare_arms(arm("grpo", a), a, arm("opo", b[:n_opo]), b[:n_opo]))


@pytest.mark.parametrize("metric", ["pass@1", "pass@4", "rep_2", "self_bleu"])
@pytest.mark.parametrize("n_opo", [2, 3])
def test_a_row_of_arms_holds_the_crossed_statistics(metric: str, n_opo: int) -> None:
    found = compared_arms(n_opo)[metric]
    stacked = [
        [np.stack(x)[:, None] for x in zip(*(pair_of(t, metric) for t in tables), strict=True)]
        for tables in (SEEDS["grpo"], SEEDS["opo"][:n_opo])
    ]
    expected = arm_differences(*(tuple(side) for side in stacked))  # type: ignore[arg-type]
    assert (found.a, found.b, found.n_problems, found.n_train_seeds) == ("grpo", "opo", 12, n_opo)
    assert found.delta == pytest.approx(expected.deltas[0])
    assert bounds(found.interval) == pytest.approx(bounds(expected.intervals()[0]))
    assert found.interval and found.interval.kind == SEEDS_AND_PROBLEMS
    assert found.p_value == pytest.approx(expected.p_values()[0])
    assert found.mde80 == pytest.approx(expected.minimum_detectable_effects()[0])
    assert (found.interval_these, found.band) == (None, None)


def test_arms_are_compared_over_clusters_where_problems_are_drawn_by_them() -> None:
    exams = [f"exam {number % 4}" for number in range(12)]
    found = compared_arms(cluster="exam", clusters=tuple(exams))["pass@1"]
    sides = [
        tuple(
            np.stack([by_cluster(pair_of(t, "pass@1")[i], exams) for t in SEEDS[name]])[:, None]
            for i in (0, 1)
        )
        for name in ("grpo", "opo")
    ]
    assert found.p_value == pytest.approx(arm_differences(*sides).p_values()[0])  # type: ignore[arg-type]
    assert found.n_problems == 12


def test_an_arm_against_itself_differs_by_nothing() -> None:
    tables = SEEDS["opo"]
    for row in compare_arms(arm("x", tables), tables, arm("y", tables), tables):
        assert (row.delta, row.p_value) == (0, 1)


def test_arms_on_one_problem_or_one_cluster_are_not_compared() -> None:
    assert compared_arms(cluster="exam", clusters=("I",) * 12) == {}
    lone = [[answered([c], numbers=[3], checkpoint=str(c)) for c in correct] for correct in ((1, 2), (3, 4))]
    assert compare_arms(arm("a", lone[0]), lone[0], arm("b", lone[1]), lone[1]) == []


def test_a_test_that_cannot_reject_detects_nothing() -> None:
    """Of 4 problems, all better: p is 2 / 2^4, the smallest there is; 6 are the fewest that could tell."""
    a, b = (answered([low] * 4, seed=1, numbers=range(4)) for low in (0, N))
    found = rows(compare_tables(a, b))["pass@1"]
    assert (found.delta, found.p_value, found.mde80) == (1.0, pytest.approx(0.125), None)
    near = answered([0, 1, 0, 2], seed=2, numbers=range(4))
    assert (rows(compare_tables(near, b))["pass@1"].problems_needed or 0) >= 6
