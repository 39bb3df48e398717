"""Ends of responses: loops by hand, against brute force, and in real generations."""

import gzip
import json

import pytest
from builders import group, problem
from hypothesis import given, settings
from hypothesis import strategies as st

from opo_eval.errors import UsageError
from opo_eval.metrics import METRICS, MetricSettings, ProblemSamples, Value
from opo_eval.metrics.core import Spread
from opo_eval.metrics.looping import ends_in_loop, measure_looping
from opo_eval.metrics.tokenizers import tokenize_13a
from opo_eval.records import Think, Verdict

C = Verdict.CORRECT
START = [f"word {i}" for i in range(100)]
CUT = ["cut-off wo"]
"""The last token, which is not looked at."""


def by_brute_force(tokens, max_block, min_repeats, min_tokens):
    """Whether some block, written down again and again, makes a long enough end of the tokens."""
    tokens = tokens[:-1]
    for block in range(1, max_block + 1):
        length = max(min_repeats * block, min_tokens)
        if length <= len(tokens):
            end = tokens[-length:]
            copies = end[:block] * (length // block + 1)
            if copies[:length] == end:
                return True
    return False


def measured(texts, **options):
    asked = group(problem(1), texts, [C] * len(texts))
    return measure_looping(ProblemSamples(asked, MetricSettings(n=len(texts), **options)))["looping"]


@pytest.mark.parametrize(
    ("end", "loops"),
    [
        (["a"] * 32, True),  # one token 32 times
        (["a"] * 31, False),  # too few tokens
        (list("abcdefgh") * 4, True),  # 8 tokens 4 times are 32
        (list("abcdefgh") * 3 + list("abcdefg"), False),
        (["x", *range(20)] * 4, True),
        ([*range(1, 20), *[*range(20)] * 3], False),  # the first of four copies lacks its 0
        ([*range(200)] * 4, True),  # the longest block
        ([*range(201)] * 4, False),
        (START, False),
        ([], False),
    ],
)
def test_loops_by_hand(end, loops):
    assert ends_in_loop([*START, *end, *CUT]) is loops


def test_a_loop_may_be_cut_off_anywhere():
    endless = [*range(50)] * 6
    for length in range(200, 260):
        assert ends_in_loop([*START, *endless[:length], *CUT])


def test_a_loop_that_the_response_comes_out_of_is_none():
    assert not ends_in_loop([*["a"] * 500, "so", "four", "."])


def test_a_loop_is_allowed_one_last_token_of_its_own_and_no_more():
    assert ends_in_loop([*["a"] * 32, "b"])
    assert not ends_in_loop([*["a"] * 40, "b", "b"])


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    start=st.text(alphabet="ab", max_size=8),
    block=st.text(alphabet="ab", min_size=1, max_size=5),
    length=st.integers(0, 20),
    end=st.text(alphabet="ab", max_size=2),
    max_block=st.integers(1, 6),
    min_repeats=st.integers(2, 4),
    min_tokens=st.integers(1, 15),
)
def test_equals_brute_force(start, block, length, end, max_block, min_repeats, min_tokens):
    tokens = list(start + (block * 20)[:length] + end)
    limits = {"max_block": max_block, "min_repeats": min_repeats, "min_tokens": min_tokens}
    assert ends_in_loop(tokens, **limits) is by_brute_force(tokens, **limits)


class Counted(list):
    """A list that adds up how many of its tokens are handed out."""

    handed_out = 0

    def __getitem__(self, index):
        found = super().__getitem__(index)
        Counted.handed_out += len(found)
        return found


@pytest.mark.parametrize("length", [1_000, 100_000])
def test_only_the_end_of_a_long_response_is_read(length):
    Counted.handed_out = 0
    ends_in_loop(Counted(range(length)))
    assert Counted.handed_out == 4 * 200


@pytest.mark.parametrize(
    ("limits", "part"),
    [
        ({"max_block": 0}, "max_block is 0: a loop needs 1 or more"),
        ({"min_repeats": 1}, "min_repeats is 1: a loop needs 2 or more"),
        ({"min_tokens": 0}, "min_tokens is 0: a loop needs 1 or more"),
    ],
)
def test_limits_that_would_make_everything_a_loop_are_refused(limits, part):
    with pytest.raises(UsageError, match=part):
        ends_in_loop(["a"], **limits)


def test_the_metric_by_hand():
    loop = "Wait, but " * 20
    spread = Spread(pytest.approx(1 / 9), 0, 0, 2)
    assert measured([f"So {loop}", "So four.", loop, " "]) == Value(2 / 3, 1, 1, spread)
    assert measured([" ", ""]) == Value(0, 0, 2)


def test_a_response_with_no_text_after_its_think_section_is_left_out():
    loop = "again " * 50
    texts = [f"<think>{loop}", f"<think>{loop}</think> four", f"<think>x</think> {loop}"]
    assert measured(texts, think=Think.TAGGED, think_section=False)[:3] == (1 / 2, 1, 1)
    assert measured(texts, think=Think.TAGGED)[:3] == (2 / 3, 1, 0)


def test_the_signature_says_what_a_loop_is():
    signature = METRICS["looping"].signature(MetricSettings(n=7))
    assert signature == "looping|n:7|tok:13a|think:in|block:1-200|repeats>=4|tokens>=32"


def test_no_real_response_that_commits_to_an_answer_ends_in_a_loop(data_dir):
    """7,000 responses of a 3B model, of which 108 end in a loop: all of them without a boxed answer."""
    path = data_dir / "rg_llama3b_rl_ckpts" / "generations.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        responses = [json.loads(line)["response"] for line in lines]
    looping = [response for response in responses if ends_in_loop(tokenize_13a(response))]
    assert (len(responses), len(looping)) == (7000, 108)
    assert not [response for response in looping if "\\boxed" in response]
