"""Distinct-n against its definition."""

import pytest
from builders import group, problem
from hypothesis import given, settings
from hypothesis import strategies as st

from opo_eval.errors import UsageError
from opo_eval.metrics import METRICS, MetricSettings, ProblemSamples, Value, measure_groups
from opo_eval.metrics.distinct import distinct_n, measure_distinct
from opo_eval.records import Verdict

C = Verdict.CORRECT
sequences = st.lists(st.lists(st.sampled_from("abc"), max_size=12), min_size=1, max_size=5)


def measured(texts: list[str], n: int | None = None):
    asked = group(problem(1), texts, [C] * len(texts))
    return measure_distinct(ProblemSamples(asked, MetricSettings(n=n or len(texts), tokenize="whitespace")))


def test_values_worked_out_by_hand():
    # the cat sat | the cat ran: 4 of 6 words; the cat, cat sat, cat ran: 3 of 4; both trigrams
    texts = [["the", "cat", "sat"], ["the", "cat", "ran"]]
    assert distinct_n(texts, 1) == 4 / 6
    assert distinct_n(texts, 2) == 3 / 4
    assert distinct_n(texts, 3) == 1
    assert distinct_n([["a"] * 5], 2) == 1 / 4


def test_no_ngram_reaches_into_the_next_text():
    assert distinct_n([list("ab"), list("ab")], 2) == 1 / 2
    assert distinct_n([list("ab"), [], list("a"), list("ba")], 2) == 1


@settings(max_examples=200, deadline=None, derandomize=True)
@given(token_lists=sequences, n=st.integers(1, 5))
def test_equals_the_definition(token_lists, n):
    grams = [tuple(t[i : i + n]) for t in token_lists for i in range(len(t) - n + 1)]
    if grams:
        assert distinct_n(token_lists, n) == len(set(grams)) / len(grams)
    else:
        with pytest.raises(UsageError, match=f"at least {n} tokens"):
            distinct_n(token_lists, n)


@pytest.mark.parametrize("n", [0, -1, 1.5])
def test_an_order_that_is_none_is_refused(n):
    with pytest.raises(UsageError, match="an n-gram has 1 token or more"):
        distinct_n([["a"]], n)


def test_the_metric_gives_pairs_and_counts_short_responses():
    values = measured(["a b a b", "a b", "c", ""])
    assert values == {
        "distinct_1": Value(3, 7, 1),
        "distinct_2": Value(2, 4, 2),
        "distinct_3": Value(2, 2, 3),
        "distinct_4": Value(1, 1, 3),
    }


def test_the_metric_looks_at_the_compared_responses():
    assert measured(["a b", "a b", "c d"], n=2)["distinct_2"] == Value(1, 2, 0)


def test_a_problem_weighs_as_much_as_it_has_ngrams():
    groups = [group(problem(1), ["a b c d e f", ""], [C] * 2), group(problem(2), ["a a", "a a"], [C] * 2)]
    table = measure_groups(groups, MetricSettings(n=2), {"it": METRICS["distinct_n"]})
    values = {row.metric: row.value for row in table.rows if row.subset == "all"}
    assert values["distinct_1"] == pytest.approx((6 + 1) / (6 + 4))
    assert values["distinct_2"] == pytest.approx((5 + 1) / (5 + 2))


def test_a_problem_without_ngrams_is_undefined():
    assert measured(["", " "])["distinct_1"] == Value(0, 0, 2)
