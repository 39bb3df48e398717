"""Self-BLEU against sacrebleu and nltk, text by text."""

import copy
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from sacrebleu.metrics import BLEU

from opo_eval.errors import UsageError
from opo_eval.metrics.selfbleu import REFERENCES, SMOOTHINGS, self_bleu, self_bleu_orders
from opo_eval.metrics.tokenizers import TOKENIZERS

ORACLE = Path(__file__).parents[1] / "oracles" / "self_bleu_r1_14b.json"
SACREBLEU_SMOOTHINGS = ["exp", "floor", "add-k", "none"]

TEXTS = [
    "the cat is on the mat, it seems.",
    "there is a cat on the mat",
    "the the the the the",
    "a dog",
    "the cat is on the mat, it seems.",
    "",
    "cat",
    "no overlap here whatsoever",
    "is on the mat, it seems to be a cat on the mat, a cat.",
]


def without(index: int, items: list) -> list:
    return items[:index] + items[index + 1 :]


def by_sacrebleu(texts: list[str], *, smooth="exp", max_order=4, tokenize="13a") -> list[float]:
    bleu = BLEU(effective_order=True, smooth_method=smooth, max_ngram_order=max_order, tokenize=tokenize)
    return [bleu.sentence_score(text, without(i, texts)).score for i, text in enumerate(texts)]


def by_sacrebleu_pairwise(texts: list[str], smooth: str) -> list[float]:
    bleu = BLEU(effective_order=True, smooth_method=smooth)
    return [
        float(np.mean([bleu.sentence_score(text, [other]).score for other in without(i, texts)]))
        for i, text in enumerate(texts)
    ]


def by_nltk(token_lists: list[list], max_order: int = 4) -> list[float]:
    weights, smoothing = (1 / max_order,) * max_order, SmoothingFunction().method1
    return [
        100 * sentence_bleu(without(i, token_lists), tokens, weights, smoothing)
        for i, tokens in enumerate(token_lists)
    ]


def assert_same(values, expected):
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9)


@pytest.fixture(scope="module")
def long_responses(data_dir) -> list[str]:
    with gzip.open(
        data_dir / "r1_14b_math4_rollouts" / "generations.jsonl.gz", "rt", encoding="utf-8"
    ) as lines:
        rows = map(json.loads, lines)
        return [
            row["response"]
            for row in rows
            if row["problem_id"] == "problem_2238" and row["condition"] == "baseline"
        ][:16]


@pytest.fixture(scope="module")
def short_responses(data_dir) -> list[str]:
    with gzip.open(
        data_dir / "soren_math500_20x16_prm" / "generations.jsonl.gz", "rt", encoding="utf-8"
    ) as lines:
        return [json.loads(line)["response"] for line in lines][:16]


# --- real text --------------------------------------------------------------------------------------


def test_frozen_values_of_sacrebleu_on_long_reasoning(long_responses):
    oracle = json.loads(ORACLE.read_text(encoding="utf-8"))
    orders = self_bleu_orders(long_responses)
    for order, row in enumerate(orders, start=1):
        assert_same(row, oracle["others"][str(order)])
    assert orders[-1].mean() == pytest.approx(84.35988659418368, abs=1e-9)
    assert_same(self_bleu(long_responses, references="pairwise"), oracle["pairwise"]["4"])


@pytest.mark.parametrize("smooth", SACREBLEU_SMOOTHINGS)
@pytest.mark.parametrize("tokenize", ["13a", "intl", "char"])
def test_real_responses_equal_sacrebleu(short_responses, smooth, tokenize):
    values = self_bleu(short_responses, tokenize=tokenize, smooth=smooth)
    assert_same(values, by_sacrebleu(short_responses, tokenize=tokenize, smooth=smooth))


def test_real_responses_equal_nltk(short_responses):
    token_lists = [TOKENIZERS["treebank"](text) for text in short_responses]
    assert_same(self_bleu(short_responses, tokenize="treebank", smooth="method1"), by_nltk(token_lists))


# --- short, empty, identical, tied ------------------------------------------------------------------


@pytest.mark.parametrize("max_order", [1, 2, 4, 6])
@pytest.mark.parametrize("smooth", SACREBLEU_SMOOTHINGS)
def test_awkward_texts_equal_sacrebleu(smooth, max_order):
    values = self_bleu(TEXTS, smooth=smooth, max_order=max_order)
    assert_same(values, by_sacrebleu(TEXTS, smooth=smooth, max_order=max_order))


@pytest.mark.parametrize("max_order", [1, 2, 4, 6])
def test_awkward_texts_equal_nltk(max_order):
    token_lists = [text.split() for text in TEXTS]
    values = self_bleu(token_lists, tokenize=None, smooth="method1", max_order=max_order)
    assert_same(values, by_nltk(token_lists, max_order))


@pytest.mark.parametrize("smooth", SACREBLEU_SMOOTHINGS)
def test_awkward_texts_pairwise_equal_sacrebleu(smooth):
    values = self_bleu(TEXTS, smooth=smooth, references="pairwise")
    assert_same(values, by_sacrebleu_pairwise(TEXTS, smooth))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    token_lists=st.lists(st.lists(st.sampled_from("abcd"), max_size=12), min_size=2, max_size=6),
    smooth=st.sampled_from(SACREBLEU_SMOOTHINGS),
    max_order=st.integers(1, 5),
)
def test_any_texts_equal_sacrebleu(token_lists, smooth, max_order):
    texts = [" ".join(tokens) for tokens in token_lists]
    expected = by_sacrebleu(texts, smooth=smooth, max_order=max_order)
    assert_same(self_bleu(texts, smooth=smooth, max_order=max_order), expected)
    assert_same(self_bleu(token_lists, tokenize=None, smooth=smooth, max_order=max_order), expected)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    token_lists=st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=2, max_size=6),
    max_order=st.integers(1, 5),
)
def test_any_token_lists_equal_nltk(token_lists, max_order):
    values = self_bleu(token_lists, tokenize=None, smooth="method1", max_order=max_order)
    assert_same(values, by_nltk(token_lists, max_order))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    texts=st.lists(st.text(alphabet="ab1.,- \n&"), min_size=2, max_size=4),
    smooth=st.sampled_from(SACREBLEU_SMOOTHINGS),
)
def test_any_texts_pairwise_equal_sacrebleu(texts, smooth):
    values = self_bleu(texts, smooth=smooth, references="pairwise")
    assert_same(values, by_sacrebleu_pairwise(texts, smooth))


def test_the_shorter_of_two_equally_near_references_decides_the_brevity_penalty():
    texts = ["a b c d", "a b c d e f", "a b"]
    assert self_bleu(texts, max_order=1)[0] == 100
    assert_same(self_bleu(texts), by_sacrebleu(texts))
    # Without the short one the text of four has to stand against six.
    assert self_bleu(texts[:2], max_order=1)[0] == pytest.approx(100 * np.exp(1 - 6 / 4))


def test_identical_texts_score_100_and_disjoint_ones_0():
    assert_same(self_bleu(["so it is, all of it"] * 5), 100)
    for smooth in SMOOTHINGS:
        assert (self_bleu(["a b c d e", "f g h i j"], smooth=smooth) == 0).all()


def test_an_empty_text_scores_0_and_stays_a_reference():
    texts = ["", "a b c d", "a b c d e"]
    assert self_bleu(texts)[0] == 0
    assert_same(self_bleu(texts), by_sacrebleu(texts))
    assert (self_bleu(["", ""]) == 0).all()


# --- properties -------------------------------------------------------------------------------------


@pytest.mark.parametrize("references", REFERENCES)
@pytest.mark.parametrize("smooth", SMOOTHINGS)
def test_every_order_comes_from_the_same_pass(smooth, references):
    orders = self_bleu_orders(TEXTS, smooth=smooth, references=references, max_order=5)
    assert orders.shape == (5, len(TEXTS))
    for order in range(1, 6):
        values = self_bleu(TEXTS, smooth=smooth, references=references, max_order=order)
        np.testing.assert_array_equal(orders[order - 1], values)


@pytest.mark.parametrize("references", REFERENCES)
def test_scores_follow_their_texts_when_the_order_changes(short_responses, references):
    values = self_bleu(short_responses, references=references)
    order = np.random.default_rng(0).permutation(len(short_responses))
    shuffled = self_bleu([short_responses[i] for i in order], references=references)
    np.testing.assert_allclose(shuffled, values[order], rtol=0, atol=1e-12)


def test_with_two_texts_both_ways_of_taking_references_agree():
    texts = [TEXTS[0], TEXTS[8]]
    np.testing.assert_array_equal(self_bleu(texts), self_bleu(texts, references="pairwise"))


def test_only_equality_of_tokens_matters():
    words = [text.split() for text in TEXTS]
    ids = [[hash(word) for word in tokens] for tokens in words]
    expected = self_bleu(words, tokenize=None)
    for token_lists in (ids, [np.array(tokens, dtype=np.int64) for tokens in ids], list(map(tuple, words))):
        np.testing.assert_array_equal(self_bleu(token_lists, tokenize=None), expected)
    np.testing.assert_array_equal(self_bleu(TEXTS, tokenize=str.split), expected)
    np.testing.assert_array_equal(self_bleu(TEXTS, tokenize="whitespace"), expected)


def test_inputs_are_left_alone():
    token_lists = [text.split() for text in TEXTS]
    before = copy.deepcopy(token_lists)
    for references in REFERENCES:
        self_bleu(token_lists, tokenize=None, references=references)
    assert token_lists == before


# --- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [[], ["only one"]])
def test_fewer_than_two_texts_are_refused(texts):
    with pytest.raises(UsageError, match=f"{len(texts)} text"):
        self_bleu(texts)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("smooth", "method7", SMOOTHINGS),
        ("references", "everyone", REFERENCES),
        ("tokenize", "moses", TOKENIZERS),
    ],
)
def test_an_unknown_name_is_refused_with_the_names_that_exist(option, value, allowed):
    with pytest.raises(UsageError) as error:
        self_bleu(TEXTS, **{option: value})
    assert repr(value) in str(error.value)
    assert all(name in str(error.value) for name in allowed)


@pytest.mark.parametrize("max_order", [0, -1, 2.5])
def test_an_order_that_does_not_exist_is_refused(max_order):
    with pytest.raises(UsageError, match="max_order"):
        self_bleu(TEXTS, max_order=max_order)


def test_token_lists_without_tokenize_none_are_refused():
    with pytest.raises(UsageError, match="tokenize=None"):
        self_bleu([["a", "b"], ["a"]])
