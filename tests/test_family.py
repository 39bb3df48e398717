"""Which tests are adjusted together, what a report says of them, and what counts as worse."""

from dataclasses import replace

import numpy as np
import pytest
from builders import group, problem

from opo_eval.errors import UsageError
from opo_eval.family import adjust, family_metrics, is_told_apart, is_worse, stated
from opo_eval.metrics import METRICS, MetricSettings, measure_groups
from opo_eval.records import Better, Comparison, MetricTable, Unit, Verdict
from opo_eval.stats import holm


def compared(metric: str = "pass@1", p: float | None = 0.5, **fields: object) -> Comparison:
    defaults = {
        "benchmark": "aime24", "metric": metric, "a": "base", "b": "opo", "value_a": 0.3, "value_b": 0.4,
        "delta": 0.1, "interval": None, "p_value": p, "unit": Unit.SHARE, "better": Better.HIGHER,
        "n_problems": 30, "signature": metric,
    }  # fmt: skip
    return Comparison(**(defaults | fields))  # type: ignore[arg-type]


def table(n: int = 4) -> MetricTable:
    texts = ["the sum of two and two is four", "two and two make four"] * 8
    groups = [group(problem(i), texts[:n], [Verdict.CORRECT] * n) for i in range(3)]
    return measure_groups(groups, MetricSettings(n=n, grader="g", rep_order=2), METRICS)


def test_the_default_is_pass_at_powers_of_two_self_bleu_and_repetition() -> None:
    assert family_metrics(None, [table(6)], 2) == [
        "pass@1",
        "pass@2",
        "pass@4",
        "pass@6",
        "self_bleu",
        "rep_2",
    ]


def test_benchmarks_of_unequal_n_bring_all_their_k() -> None:
    assert family_metrics(("pass@k",), [table(4), table(6)], 2) == ["pass@1", "pass@2", "pass@4", "pass@6"]


def test_named_metrics_are_taken_once_and_in_order() -> None:
    wanted = ("self_bleu", "pass@2", "pass@k", "self_bleu")
    assert family_metrics(wanted, [table(2)], 2) == ["self_bleu", "pass@2", "pass@1"]


def test_pass_at_k_of_ungraded_runs_brings_nothing() -> None:
    texts = ["the sum of two and two", "is four"]
    only_text = {name: metric for name, metric in METRICS.items() if not metric.needs_grades}
    ungraded = measure_groups(
        [group(problem(i), texts, [Verdict.CORRECT] * 2) for i in range(2)], MetricSettings(n=2), only_text
    )
    assert family_metrics(("pass@k",), [ungraded], 5) == []


@pytest.mark.parametrize(
    ("name", "nearest"), [("selfbleu", "self_bleu"), ("pass@99", "pass@"), ("rep2", "rep_2")]
)
def test_an_unknown_metric_is_refused_with_the_nearest_name(name: str, nearest: str) -> None:
    with pytest.raises(
        UsageError, match=f"--family '{name}' is no metric of these runs .did you mean '{nearest}"
    ):
        family_metrics((name,), [table()], 2)


def test_holm_is_over_benchmarks_metrics_and_pairs() -> None:
    p = np.random.default_rng(0).uniform(0, 0.05, size=(2, 2, 2))
    rows = [
        compared(metric, p[i, j, k], benchmark=benchmark, b=b)
        for i, benchmark in enumerate(("aime24", "aime25"))
        for j, metric in enumerate(("pass@1", "self_bleu"))
        for k, b in enumerate(("opo", "grpo"))
    ]
    outside = compared("tokens", 0.001)
    adjusted = adjust([outside, *rows], ["pass@1", "self_bleu"])
    assert adjusted[0] == outside
    assert [row.p_adjusted for row in adjusted[1:]] == pytest.approx(holm(p.ravel()))
    assert [replace(row, p_adjusted=None) for row in adjusted[1:]] == rows


def test_what_has_no_test_is_not_counted() -> None:
    rows = [compared(p=0.02), compared("pass@2", None), compared("pass@4", 0.04)]
    adjusted = adjust(rows, ["pass@1", "pass@2", "pass@4"])
    assert [row.p_adjusted for row in adjusted] == [pytest.approx(0.04), None, pytest.approx(0.04)]
    assert adjust([], ["pass@1"]) == []


def test_a_family_adjusted_again_is_that_of_the_new_call() -> None:
    (row,) = adjust([compared(p=0.02, p_adjusted=0.9)], ["pass@1"])
    assert row.p_adjusted == pytest.approx(0.02)
    (row,) = adjust([compared(p=0.02, p_adjusted=0.9)], ["tokens"])
    assert row.p_adjusted is None


def test_the_family_in_words() -> None:
    rows = [
        compared(metric, 0.5, benchmark=benchmark)
        for benchmark in ("aime24", "aime25")
        for metric in ("pass@1", "pass@2")
    ]
    assert stated(adjust(rows, ["pass@1", "pass@2"])) == (
        "Holm over 4 tests: 2 benchmarks × 2 metrics (pass@1, pass@2) × 1 pair"
    )
    assert (
        stated(adjust(rows[:1], ["pass@1"])) == "Holm over 1 test: 1 benchmark × 1 metric (pass@1) × 1 pair"
    )


@pytest.mark.parametrize(
    ("p", "p_adjusted", "told"),
    [(0.01, None, True), (0.01, 0.06, False), (0.05, None, False), (0.2, 0.04, True), (None, None, False)],
)
def test_the_adjusted_p_value_decides_where_there_is_one(
    p: float | None, p_adjusted: float | None, told: bool
) -> None:
    assert is_told_apart(compared(p=p, p_adjusted=p_adjusted)) is told


@pytest.mark.parametrize(
    ("better", "delta", "worse"),
    [
        (Better.HIGHER, -0.1, True), (Better.HIGHER, 0.1, False), (Better.LOWER, 0.1, True),
        (Better.LOWER, -0.1, False), (Better.NEITHER, 0.1, False), (Better.NEITHER, -0.1, False),
    ],
)  # fmt: skip
def test_worse_is_told_apart_in_the_wrong_direction(better: Better, delta: float, worse: bool) -> None:
    assert is_worse(compared(p=0.001, better=better, delta=delta)) is worse
    assert not is_worse(compared(p=0.3, better=better, delta=delta))
