"""Finding the answer that a response commits to.

Strict grading looks in one stated place after the think section, so that a number the model merely
considered, or the tail of a truncated thought, is never taken for its answer.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from opo_eval.errors import UsageError
from opo_eval.records import Reason, Think
from opo_eval.think import after_think

MAX_ANSWER_CHARS = 10_000
"""A longer answer is not parsed: it gets `Reason.ANSWER_TOO_LONG`."""

MAX_SEARCHED_CHARS = 1_000_000
"""Only the last so many characters after the think section are searched for the answer."""

# A backslash before \boxed is a doubled one (JSON) or the end of a line break: neither hides the box.
_BOX_TOKEN = re.compile(r"\\boxed\s*\{|\\(?!\\boxed).|[{}]", re.DOTALL)
_HASH = re.compile(r"^####[ \t]*(.*)$", re.MULTILINE)
_FINAL_ANSWER = re.compile(r"\b(?:final\s+)?answer(?:\s+is)?[ \t*]*[:=]?[ \t*]*([^\n]*)", re.IGNORECASE)


class Extraction(NamedTuple):
    """The answer, or the reason why there is none."""

    answer: str | None
    reason: Reason | None


def extract_answer(response: str, *, think: Think = Think.TAGGED, where: str = "boxed") -> Extraction:
    """Find the last committed answer in the last `MAX_SEARCHED_CHARS` after the think section.

    An answer committed earlier than that does not count: it is NO_ANSWER_FOUND.
    `where` names the place (a key of `ANSWER_PLACES`); raises UsageError for another name.
    """
    find = ANSWER_PLACES.get(where)
    if find is None:
        raise UsageError(f"no answer place {where!r}: choose one of {', '.join(ANSWER_PLACES)}")
    if not response or response.isspace():
        return Extraction(None, Reason.EMPTY_RESPONSE)
    committed = after_think(response, think)
    if committed is None:
        return Extraction(None, Reason.UNCLOSED_THINK)
    return _judge_length(find(committed[-MAX_SEARCHED_CHARS:]))


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{…}` whose braces close, in one pass; None without one.

    Of nested boxes it is the innermost. Escaped braces are text, not grouping.
    """
    first = text.find("\\boxed")
    if first < 0:
        return None
    # Depths are counted and only boxes are kept: millions of open braces take no memory.
    depth, open_boxes = 0, list[tuple[int, int]]()
    best = None
    for token in _BOX_TOKEN.finditer(text, first):
        if token.group()[-1] == "{" and token.group() != "\\{":
            if len(token.group()) > 1:
                open_boxes.append((depth, token.end()))
            depth += 1
        elif token.group() == "}" and depth:
            depth -= 1
            if open_boxes and open_boxes[-1][0] == depth:
                _, start = open_boxes.pop()
                best = max(best or (0, 0), (start, token.start()))
    return text[slice(*best)] if best else None


def _last_answer_tag(text: str) -> str | None:
    before, closed, _ = text.rpartition("</answer>")
    _, opened, content = before.rpartition("<answer>")
    return _unboxed(content.partition("</answer>")[0]) if opened and closed else None


def _last_hash(text: str) -> str | None:
    found = _HASH.findall(text)
    return found[-1] if found else None


def _last_final_answer(text: str) -> str | None:
    found = _FINAL_ANSWER.findall(text)
    if not found:
        return None
    # "… is 5. I hope it is correct." is the sentence that Minerva's prompt asks for.
    return _unboxed(found[-1]).partition("I hope")[0].rstrip().rstrip(".*")


def _unboxed(answer: str) -> str:
    boxed = last_boxed(answer)
    return answer if boxed is None else boxed


ANSWER_PLACES: dict[str, Callable[[str], str | None]] = {
    "boxed": last_boxed,
    "answer-tag": _last_answer_tag,
    "hash": _last_hash,
    "final-answer": _last_final_answer,
}
r"""`\boxed{…}`; the `<answer>` element; `#### …` on a line of its own; what follows "(final) answer is"."""


def _judge_length(answer: str | None) -> Extraction:
    if answer is None:
        return Extraction(None, Reason.NO_ANSWER_FOUND)
    if not answer.strip():
        return Extraction(None, Reason.EMPTY_ANSWER)
    if len(answer) > MAX_ANSWER_CHARS:
        return Extraction(None, Reason.ANSWER_TOO_LONG)
    return Extraction(answer.strip(), None)
