"""Strict extraction: every rule, then properties, then hostile sizes."""

import re
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opo_eval.errors import UsageError
from opo_eval.grading import ANSWER_PLACES, extract_answer
from opo_eval.grading.extract import MAX_ANSWER_CHARS, MAX_SEARCHED_CHARS, last_boxed
from opo_eval.records import Reason, Think

THINK = {
    "tagged, closed": ("tagged", r"<think>\boxed{1}</think>\boxed{2}", "2"),
    "tagged, left open": ("tagged", r"<think>maybe \boxed{1}", Reason.UNCLOSED_THINK),
    "tagged, no section": ("tagged", r"\boxed{1}", "1"),
    "tagged, closed only": ("tagged", r"\boxed{1}</think>\boxed{2}", "2"),
    "tagged, reopened": ("tagged", r"<think>a</think>\boxed{1}<think>b", Reason.UNCLOSED_THINK),
    "tagged, two sections": ("tagged", r"<think>a</think>\boxed{1}<think>b</think>\boxed{2}", "2"),
    "tagged, nothing after": ("tagged", r"<think>\boxed{1}</think>", Reason.NO_ANSWER_FOUND),
    "tagged, answer before only": ("tagged", r"\boxed{1}<think>a</think>", Reason.NO_ANSWER_FOUND),
    "prefilled, closed": ("prefilled", r"\boxed{1}</think>\boxed{2}", "2"),
    "prefilled, left open": ("prefilled", r"\boxed{1}", Reason.UNCLOSED_THINK),
    "prefilled, opened again": ("prefilled", r"a</think>\boxed{1}<think>b", Reason.UNCLOSED_THINK),
    "prefilled, tagged as well": ("prefilled", r"<think>a</think>\boxed{2}", "2"),
    "none, tags are text": ("none", r"<think>\boxed{1}", "1"),
    "none, closing tag is text": ("none", r"\boxed{1}</think>", "1"),
    "another spelling is text": ("tagged", r"<THINK>\boxed{1}", "1"),
}


@pytest.mark.parametrize("think, response, expected", THINK.values(), ids=THINK)
def test_think_section(think: str, response: str, expected: str | Reason) -> None:
    assert found(response, think=Think(think)) == expected


BOXED = {
    "plain": (r"so \boxed{5}.", "5"),
    "the last one": (r"\boxed{5} or \boxed{6}", "6"),
    "space before the brace": (r"\boxed {5}", "5"),
    "line break before the brace": ("\\boxed\n{5}", "5"),
    "space around the answer": (r"\boxed{ 5 }", "5"),
    "several lines": ("\\boxed{\n\\frac{1}{2}\n}", r"\frac{1}{2}"),
    "braces inside": (r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{1}{\sqrt{2}}"),
    "escaped braces": (r"\boxed{\{1,2\}}", r"\{1,2\}"),
    "one escaped brace": (r"\boxed{\left\{1\right.}", r"\left\{1\right."),
    "line break, then a brace": (r"\boxed{1\\{2}}", r"1\\{2}"),
    "innermost of nested": (r"\boxed{x = \boxed{5}}", "5"),
    "last of several nested": (r"\boxed{\boxed{1} + \boxed{2}}", "2"),
    "unclosed after closed": (r"\boxed{5} then \boxed{6", "5"),
    "closed within unclosed": (r"\boxed{a \boxed{5}", "5"),
    "unclosed": (r"\boxed{5", Reason.NO_ANSWER_FOUND),
    "unclosed inner brace": (r"\boxed{\frac{1}{2}", Reason.NO_ANSWER_FOUND),
    "stray closing brace": (r"} \boxed{5} }", "5"),
    "stray opening brace": (r"{ \boxed{5}", "5"),
    "empty": (r"\boxed{}", Reason.EMPTY_ANSWER),
    "blank": (r"\boxed{  }", Reason.EMPTY_ANSWER),
    "empty after a full one": (r"\boxed{5} \boxed{}", Reason.EMPTY_ANSWER),
    "no brace": (r"\boxed 5", Reason.NO_ANSWER_FOUND),
    "no box": ("the answer is 5", Reason.NO_ANSWER_FOUND),
    "doubled backslash": (r"\\boxed{5}", "5"),
    "doubled backslash later": (r"\boxed{4} \\boxed{5}", "5"),
    "after a LaTeX line break": (r"a \\\boxed{5}", "5"),
    "at the very end of a line break": (r"x \\", Reason.NO_ANSWER_FOUND),
    "empty response": ("", Reason.EMPTY_RESPONSE),
    "blank response": (" \n\t", Reason.EMPTY_RESPONSE),
}


@pytest.mark.parametrize("response, expected", BOXED.values(), ids=BOXED)
def test_box(response: str, expected: str | Reason) -> None:
    assert found(response) == expected


ELSEWHERE = {
    "tag": ("answer-tag", "<answer>5</answer>", "5"),
    "tag, the last one": ("answer-tag", "<answer>5</answer><answer>6</answer>", "6"),
    "tag, several lines": ("answer-tag", "<answer>\n5\n</answer>", "5"),
    "tag, box inside": ("answer-tag", r"<answer>so \boxed{5}</answer>", "5"),
    "tag, box outside is not looked at": ("answer-tag", r"\boxed{5}", Reason.NO_ANSWER_FOUND),
    "tag, unclosed after closed": ("answer-tag", "<answer>5</answer><answer>6", "5"),
    "tag, closed twice": ("answer-tag", "<answer>5</answer></answer>", "5"),
    "tag, opened twice": ("answer-tag", "<answer>a<answer>5</answer>", "5"),
    "tag, closed before it opens": ("answer-tag", "</answer>5<answer>", Reason.NO_ANSWER_FOUND),
    "tag, unclosed": ("answer-tag", "<answer>5", Reason.NO_ANSWER_FOUND),
    "tag, empty": ("answer-tag", "<answer> </answer>", Reason.EMPTY_ANSWER),
    "hash": ("hash", "so\n#### 5", "5"),
    "hash, the last one": ("hash", "#### 5\n#### 6\nbye", "6"),
    "hash, not at the start of a line": ("hash", "so #### 5", Reason.NO_ANSWER_FOUND),
    "hash, nothing after": ("hash", "####\n5", Reason.EMPTY_ANSWER),
    "hash, other line endings": ("hash", "#### 5\r\nbye", "5"),
    "final answer": ("final-answer", "The final answer is 5.", "5"),
    "final answer, colon": ("final-answer", "Final answer: 5", "5"),
    "final answer, short": ("final-answer", "Answer: 5", "5"),
    "final answer, equals": ("final-answer", "answer = 5", "5"),
    "final answer, the last one": ("final-answer", "The answer is 5\nNo: the answer is 6", "6"),
    "final answer, box": ("final-answer", r"the answer is \boxed{5}, I think", "5"),
    "final answer, dollars": ("final-answer", "The final answer is $5$.", "$5$"),
    "final answer, Minerva's sentence": ("final-answer", "The final answer is 5. I hope it is correct.", "5"),
    "final answer, Minerva's, dollars": ("final-answer", "the answer is $5$. I hope it is correct.", "$5$"),
    "final answer, bold, colon inside": ("final-answer", "**Final Answer:** 5", "5"),
    "final answer, bold, colon outside": ("final-answer", "**Final Answer**: 5", "5"),
    "final answer, all bold": ("final-answer", "**The final answer is 5.**", "5"),
    "final answer, heading alone": ("final-answer", "**Final Answer**\n5", Reason.EMPTY_ANSWER),
    "final answer, none": ("final-answer", "it is 5", Reason.NO_ANSWER_FOUND),
    "final answer, part of a word": ("final-answer", "unanswered 5", Reason.NO_ANSWER_FOUND),
}


@pytest.mark.parametrize("where, response, expected", ELSEWHERE.values(), ids=ELSEWHERE)
def test_other_places(where: str, response: str, expected: str | Reason) -> None:
    assert found(response, where=where) == expected


@pytest.mark.parametrize("where, form", [("boxed", r"\boxed{%s}"), ("answer-tag", "<answer>%s</answer>")])
def test_too_long_an_answer_is_named(where: str, form: str) -> None:
    assert found(form % ("1" * MAX_ANSWER_CHARS), where=where) == "1" * MAX_ANSWER_CHARS
    assert found(form % ("1" * (MAX_ANSWER_CHARS + 1)), where=where) is Reason.ANSWER_TOO_LONG


def test_unknown_place_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="no answer place 'box': choose one of boxed, answer-tag, hash"):
        extract_answer("5", where="box")


# --- properties -------------------------------------------------------------------------------------

PIECES = (r"\boxed{", r"\boxed", "{", "}", "\\", r"\{", r"\}", "<think>", "</think>", "<answer>", "</answer>")
PIECES += ("####", "answer is", "final answer:", "I hope", "\n", " ", "5", "*", "\ud800", "\x00")
hostile_text = st.lists(st.sampled_from(PIECES)).map("".join) | st.text()


@given(hostile_text, st.sampled_from(Think), st.sampled_from(sorted(ANSWER_PLACES)))
@settings(max_examples=500)
def test_either_an_answer_or_a_reason(response: str, think: Think, where: str) -> None:
    answer, reason = extract_answer(response, think=think, where=where)
    assert (answer is None) != (reason is None)
    if answer is not None:
        assert answer and answer == answer.strip() and answer in response


@given(st.lists(st.sampled_from((r"\boxed{", "{", "}", r"\{", r"\}", r"\\", "5"))).map("".join))
@settings(max_examples=500)
def test_box_is_the_last_that_closes(text: str) -> None:
    assert last_boxed(text) == last_boxed_by_counting(text)


def last_boxed_by_counting(text: str) -> str | None:
    """From every box, last first, count braces to its end: quadratic, and plain to see."""
    for opening in reversed(list(re.finditer(r"\\boxed\{", text))):
        depth, at = 1, opening.end()
        while at < len(text) and depth:
            if text[at] == "\\":
                at += 1
            else:
                depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        if not depth:
            return text[opening.end() : at - 1]
    return None


# A search that starts over at every piece takes the square of these lengths: it does not come back.
LONG = {
    "open boxes": r"\boxed{",
    "open braces": "{",
    "closing braces": "}",
    "backslashes": "\\",
    "boxes without a brace": r"\boxed ",
    "open think tags": "<think>",
    "closing think tags": "</think>",
    "open answer tags": "<answer>",
    "closing answer tags": "</answer>",
    "hashes": "####\n",
    "answers": "answer ",
    "answers and spaces": "final" + " " * 100,
    "digits": "7",
    "stars": "answer*",
    "spaces": " ",
}


@pytest.mark.parametrize("piece", LONG.values(), ids=LONG)
@pytest.mark.parametrize("where", ANSWER_PLACES)
def test_a_megabyte_of_anything_comes_to_an_end(where: str, piece: str) -> None:
    text = "start " + r"\boxed{" + piece * (2**20 // len(piece))
    for think in Think:
        answer, reason = extract_answer(text, think=think, where=where)
        assert answer is None or len(answer) <= MAX_ANSWER_CHARS
        assert (answer is None) != (reason is None)


def test_a_megabyte_of_closed_nesting_gives_the_innermost() -> None:
    depth = 2**20 // len(r"\boxed{}")
    assert last_boxed(r"\boxed{" * depth + "5" + "}" * depth) == "5"


def test_only_the_end_of_a_response_is_searched() -> None:
    assert found(r"\boxed{5}" + "x" * (MAX_SEARCHED_CHARS - 9)) == "5"
    assert found(r"\boxed{5}" + "x" * (MAX_SEARCHED_CHARS - 8)) is Reason.NO_ANSWER_FOUND
    assert found(r"\boxed{5}" * MAX_SEARCHED_CHARS + r"\boxed{6}") == "6"


def test_millions_of_open_braces_take_no_memory() -> None:
    text = r"\boxed{5}\boxed{" + "{" * 2_000_000
    tracemalloc.start()
    try:
        assert last_boxed(text) == "5"
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def found(response: str, *, think: Think = Think.NONE, where: str = "boxed") -> str | Reason:
    answer, reason = extract_answer(response, think=think, where=where)
    assert (answer is None) != (reason is None)
    return reason if answer is None else answer
