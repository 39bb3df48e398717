"""Rep-n by quarter of the response against its definition, and against Rep-n."""

import numpy as np
import pytest
from builders import group, problem
from hypothesis import given, settings
from hypothesis import strategies as st

from opo_eval.errors import UsageError
from opo_eval.metrics import METRICS, MetricSettings, ProblemSamples, measure_groups
from opo_eval.metrics.quarters import measure_quarters, rep_n_by_quarter
from opo_eval.metrics.repetition import rep_n
from opo_eval.records import Verdict

C = Verdict.CORRECT


def counts(tokens, n):
    return tuple(part.tolist() for part in rep_n_by_quarter(tokens, n))


def by_definition(tokens, n):
    grams = [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
    duplicates, totals = [0] * 4, [0] * 4
    for i, gram in enumerate(grams):
        quarter = 4 * i // len(grams)
        totals[quarter] += 1
        duplicates[quarter] += gram in grams[:i]
    return duplicates, totals


def test_values_worked_out_by_hand():
    # a b | a c | a a | d d: a again in the second and twice in the third, d again in the last
    assert counts("abacaadd", 1) == ([0, 1, 2, 1], [2, 2, 2, 2])
    # ab bc | ca ab | bc cx | xy yz: one repeats in the second quarter, one in the third
    assert counts("abcabcxyz", 2) == ([0, 1, 1, 0], [2, 2, 2, 2])


def test_a_loop_at_the_end_is_seen_there():
    assert counts([*range(30), *[30] * 10], 1) == ([0, 0, 0, 9], [10, 10, 10, 10])


def test_quarters_of_few_ngrams():
    assert counts("aaaaa", 1) == ([1, 1, 1, 1], [2, 1, 1, 1])
    assert counts("aaa", 1) == ([0, 1, 1, 0], [1, 1, 1, 0])
    assert counts("ab", 2) == ([0, 0, 0, 0], [1, 0, 0, 0])
    assert counts("a", 2) == counts("", 1) == ([0] * 4, [0] * 4)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(tokens=st.lists(st.integers(0, 3), max_size=60), n=st.integers(1, 5))
def test_equals_the_definition(tokens, n):
    assert counts(tokens, n) == by_definition(tokens, n)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(tokens=st.lists(st.integers(0, 3), min_size=5, max_size=60))
def test_all_quarters_together_are_rep_n(tokens):
    duplicates, totals = rep_n_by_quarter(tokens)
    assert duplicates.sum() / totals.sum() == pytest.approx(rep_n(tokens), abs=1e-15)
    assert np.ptp(totals) <= 1


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_an_order_that_is_none_is_refused(n):
    with pytest.raises(UsageError, match="an n-gram has 1 token or more"):
        rep_n_by_quarter("abc", n)


def test_the_metric_adds_up_ngrams_and_counts_who_has_none():
    texts = ["a b a c a a d d", "a a a", "", "b b b b"]
    samples = ProblemSamples(
        group(problem(1), texts, [C] * 4), MetricSettings(n=4, tokenize="whitespace", rep_order=1)
    )
    values = measure_quarters(samples)
    assert {name: value[:3] for name, value in values.items()} == {
        "rep_1_q1": (0, 2 + 1 + 1, 1),
        "rep_1_q2": (1 + 1 + 1, 2 + 1 + 1, 1),
        "rep_1_q3": (2 + 1 + 1, 2 + 1 + 1, 1),
        "rep_1_q4": (1 + 0 + 1, 2 + 0 + 1, 2),
    }
    # Four responses with (0, 2), (0, 1), (0, 0) and (0, 1): four times the variance of each.
    assert values["rep_1_q1"].spread == pytest.approx((0, 0, 4 * 2 / 3, 3))


def test_the_metric_looks_at_the_compared_responses():
    asked = group(problem(1), ["a a a a", "b c d e", "x x x x"], [C] * 3)
    settings_of_two = MetricSettings(n=2, tokenize="whitespace", rep_order=1)
    assert measure_quarters(ProblemSamples(asked, settings_of_two))["rep_1_q2"][:3] == (1, 2, 0)


def test_a_quarter_that_nobody_reaches_has_no_row():
    groups = [group(problem(i), ["a a", "a b"], [C] * 2) for i in range(2)]
    chosen = MetricSettings(n=2, tokenize="whitespace", rep_order=1)
    table = measure_groups(groups, chosen, {"it": METRICS["repetition_by_quarter"]})
    assert [row.metric for row in table.rows] == ["rep_1_q1", "rep_1_q3"]
    assert table.rows[0].signature == "rep_1|by quarter|n:2|tok:whitespace|think:in"
