"""ROUGE-L against the published scorer and against every common subsequence."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from opo_eval.metrics.rouge import rouge_l, rouge_tokens

TEXTS = st.text("ab c1.,$\\É\n", max_size=30)


@given(TEXTS, TEXTS)
def test_it_is_the_published_scorers(reference: str, candidate: str) -> None:
    tokens = rouge_tokens(reference)
    if tokens:
        expected = RougeScorer(["rougeL"]).score(reference, candidate)["rougeL"].fmeasure
        assert rouge_l(tokens, rouge_tokens(candidate)) == pytest.approx(expected, abs=1e-15)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_the_subsequence_is_the_longest_of_all(a: list[str], b: list[str]) -> None:
    of_b = {own for n in range(len(b) + 1) for own in combinations(b, n)}
    longest = max(n for n in range(len(a) + 1) if any(own in of_b for own in combinations(a, n)))
    assert rouge_l(a, b) == 2 * longest / (len(a) + len(b))
    assert rouge_l(a, a) == 1.0


def test_of_nothing_nothing_is_common() -> None:
    with pytest.raises(ValueError, match="not defined"):
        rouge_l([], ["a"])
    assert rouge_l(["a"], []) == 0.0
