"""The three intervals of a table's rows: which are there, what they rest on, and where they stop."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from opo_eval.metrics.core import of_correct
from opo_eval.metrics.intervals import SEED, Column, RowIntervals, row_intervals
from opo_eval.metrics.passk import pass_at_k_curve
from opo_eval.records import Interval, Unit
from opo_eval.stats import (
    PROBLEMS_LIKE_THESE,
    SIMULTANEOUS,
    THESE_PROBLEMS,
    bootstrap_interval,
    by_cluster,
    sampling_intervals,
)
from opo_eval.stats.shares import with_one_more


def column(num, den=None, *, unit: Unit = Unit.SHARE, spreads=None, curve=None) -> Column:
    numerators = np.asarray(num, dtype=float)
    denominators = np.ones_like(numerators) if den is None else np.asarray(den, dtype=float)
    return Column(unit=unit, pairs=np.stack([numerators, denominators]), spreads=spreads, curve=curve)


def bounds(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high


def only(found: list[RowIntervals]) -> RowIntervals:
    (row,) = found
    return row


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_mean_share_has_one_problem_more() -> None:
    values = rng(0).beta(0.35, 0.9, size=30)
    value, error, m = with_one_more(values[None], np.ones((1, 30)))
    expected = scipy_stats.t.interval(0.95, m[0], value[0], error[0])
    found = only(row_intervals([column(values)])).like_these
    assert bounds(found) == pytest.approx((max(expected[0], 0), expected[1]))
    assert found and found.kind == PROBLEMS_LIKE_THESE


@pytest.mark.parametrize(
    "unlike", [{"unit": Unit.TOKENS}, {"den": rng(1).uniform(1, 2, size=30)}, {"den": np.full(30, 16.0)}]
)
def test_what_is_no_mean_share_has_the_bootstraps(unlike: dict) -> None:
    values = rng(2).beta(2, 6, size=30)
    pairs = column(values, **unlike)
    expected = bootstrap_interval(*pairs.pairs, rng=rng(SEED))
    assert bounds(only(row_intervals([pairs])).like_these) == pytest.approx(bounds(expected))


def test_these_problems_are_the_sampling_interval() -> None:
    correct = rng(3).integers(9, size=20)
    values = [of_correct(pass_at_k_curve, 8, int(c))[1] for c in correct]
    spreads = np.array([value.spread for value in values]).T
    pass_at_2 = [value.numerator for value in values]
    found = only(row_intervals([column(pass_at_2, spreads=spreads)])).these
    (expected,) = sampling_intervals([pass_at_2], np.ones((1, 20)), spreads[None])
    assert bounds(found) == pytest.approx(bounds(expected))
    assert found and found.kind == THESE_PROBLEMS
    assert only(row_intervals([column(pass_at_2)])).these is None


def test_samples_that_do_not_vary_say_nothing_of_new_ones() -> None:
    assert only(row_intervals([column(rng(4).uniform(size=20), spreads=np.zeros((4, 20)))])).these is None


@pytest.mark.parametrize("m", [2, 30])
def test_a_share_that_is_0_or_1_everywhere_has_the_exact_binomial_interval(m: int) -> None:
    for value, solved in ((0.0, 0), (1.0, m)):
        expected = scipy_stats.binomtest(solved, m).proportion_ci(0.95, "exact")
        found = only(row_intervals([column(np.full(m, value))])).like_these
        assert bounds(found) == pytest.approx((expected.low, expected.high))
    assert only(row_intervals([column(np.full(m, 1 / 3))])).like_these is None
    assert only(row_intervals([column(np.full(m, 1.0), unit=Unit.RATIO)])).like_these is None


def test_a_share_of_unequal_weights_that_is_0_everywhere_has_none() -> None:
    assert only(row_intervals([column(np.zeros(10), np.arange(1.0, 11))])).like_these is None


def test_problems_without_a_value_are_not_counted() -> None:
    """12 problems, all solved, and 18 on which the share is undefined."""
    defined = np.r_[np.ones(12), np.zeros(18)]
    found = only(row_intervals([column(defined, defined)])).like_these
    expected = scipy_stats.binomtest(12, 12).proportion_ci(0.95, "exact")
    assert bounds(found) == pytest.approx((expected.low, expected.high))


def test_one_problem_or_one_defined_has_none() -> None:
    assert only(row_intervals([column([0.5])])) == RowIntervals(like_these=None, these=None, band=None)
    one = np.r_[0.4, np.zeros(11)], np.r_[1.0, np.zeros(11)]
    assert only(row_intervals([column(*one)])).like_these is None
    assert row_intervals([]) == []


def test_clusters_are_drawn_together_and_said() -> None:
    values, exams = rng(5).uniform(size=24), [i // 2 for i in range(24)]
    kind = "problems like these, drawn by exam"
    clustered = only(row_intervals([column(values, unit=Unit.TOKENS)], clusters=exams, kind=kind)).like_these
    expected = bootstrap_interval(by_cluster(values, exams), np.full(12, 2.0), rng=rng(SEED))
    assert bounds(clustered) == pytest.approx(bounds(expected))
    assert clustered and clustered.kind == kind
    two_exams = only(row_intervals([column(np.ones(24))], clusters=[i < 12 for i in range(24)])).like_these
    expected = scipy_stats.binomtest(2, 2).proportion_ci(0.95, "exact")
    assert bounds(two_exams) == pytest.approx((expected.low, expected.high))


def test_one_cluster_says_nothing_of_others() -> None:
    assert only(row_intervals([column(rng(6).uniform(size=9))], clusters=["I"] * 9)).like_these is None


def test_bands_are_given_to_curves_and_cover_their_points() -> None:
    correct = rng(7).binomial(8, rng(8).beta(0.35, 0.9, size=30))
    curve = pass_at_k_curve(np.full(30, 8), correct).T
    found = row_intervals([*(column(x, curve="pass@k") for x in curve), column(rng(9).uniform(size=30))])
    assert found[-1].band is None
    for row in found[:-1]:
        assert row.band and row.like_these and row.band.kind == SIMULTANEOUS
        assert row.band.low <= row.like_these.low < row.like_these.high <= row.band.high


def test_curves_do_not_widen_one_another() -> None:
    noise = rng(10).uniform(size=(6, 30))
    together = row_intervals([column(x, curve=i < 3) for i, x in enumerate(noise)])
    alone = row_intervals([column(x, curve=True) for x in noise[:3]])
    assert [bounds(row.band) for row in together[:3]] == [pytest.approx(bounds(row.band)) for row in alone]


@pytest.mark.parametrize(("unit", "most"), [(Unit.SHARE, 1.0), (Unit.PERCENT, 100.0), (Unit.TOKENS, np.inf)])
def test_intervals_stop_at_what_is_possible(unit: Unit, most: float) -> None:
    values = rng(11).beta(0.1, 0.1, size=12) * min(most, 1e4)
    pairs = column(values, unit=unit, spreads=np.outer([1e9, 0, 0, 3], np.ones(12)), curve=1)
    row = only(row_intervals([pairs]))
    for interval in (row.like_these, row.these, row.band):
        assert interval and 0 <= interval.low <= values.mean() <= interval.high <= most


def test_rows_are_the_same_each_time() -> None:
    columns = [
        column(rng(12).lognormal(size=30), unit=Unit.TOKENS),
        column(rng(13).uniform(size=30), curve=1),
    ]
    assert row_intervals(columns) == row_intervals(columns)


def test_problems_without_the_metric_do_not_count_as_seen() -> None:
    """Three values are three, however many problems the metric is undefined on."""
    values, den = np.zeros(30), np.zeros(30)
    values[:3], den[:3] = (40, 50, 60), 1
    found = only(row_intervals([column(values, den, unit=Unit.TOKENS)])).like_these
    expected = scipy_stats.t.interval(0.95, 2, 50, scipy_stats.sem([40, 50, 60]))
    assert bounds(found) == pytest.approx(expected)


def test_columns_on_other_problems_have_the_intervals_that_they_have_alone() -> None:
    whole, some = rng(20).uniform(1, 9, size=30), rng(21).integers(2, size=30)
    columns = [column(whole, unit=Unit.TOKENS), column(whole * some, some, unit=Unit.TOKENS)]
    together = row_intervals(columns)
    alone = [only(row_intervals([each])) for each in columns]
    assert together == alone
