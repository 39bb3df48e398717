"""A list of guesses in the box is judged whole, in whatever delimiters or lines the guesses stand."""

import pytest

from opo_eval.grading import Grader
from opo_eval.records import Verdict

GUESSES = {
    "two formulas": ("5", "$4$ $5$"),
    "two formulas, touching": ("5", "$4$$5$"),
    "the last in dollars": ("5", "3 or 4 or $5$"),
    "another guess in words": ("5", "x or $5$"),
    "no answer in words": ("5", "not $5$"),
    "dollars inside out": ("5", "4$ $5"),
    "the last of a text": ("7", r"\text{$3$ or }$7$"),
    "many formulas": ("12", "$1$ $2$ $3$ $12$"),
    "round delimiters": ("5", r"\(4\) \(5\)"),
    "square delimiters": ("5", r"\[4\] \[5\]"),
    "mixed delimiters": ("5", r"\(4\) or $5$"),
    "two lines of formulas": ("5", "$4$\n$5$"),
    "first of three lines": ("5", r"5\\6\\7"),
    "last of three lines": ("7", r"5\\6\\7"),
    "lines within dollars": ("5", r"$5\\6$"),
    "lines without an environment": ("5", r"\begin 5\\6"),
    "lines after an environment": ("5", r"\begin{a}\end{a}5\\6"),
    "lines in a made-up environment": ("5", r"\begin{a}5\\6\end{a}"),
    "lines in an open environment": ("5", r"\begin{matrix}5\\6"),
    "doubled backslash": ("5", r"5\\frac{12}{2}"),
    "lines of digits": ("1234", r"1\\234"),
}
ANSWERS = {
    "dollars": ("1/2", "$0.5$"),
    "display": ("1/2", "$$0.5$$"),
    "round": ("1/2", r"\(0.5\)"),
    "square": ("1/2", r"\[0.5\]"),
    "a unit outside": ("1/2", "$0.5$ cm"),
    "a sentence around": ("3", "The result is $3$."),
    "a text around": ("1/2", r"\text{the probability is $0.5$}"),
    "within text": ("5", r"\text{$5$}"),
    "escaped dollar": ("1/2", r"\$0.5"),
    "line breaks around": ("1/2", r"\\ 0.5 \\"),
    "doubled backslash": ("0.5", r"\\frac{1}{2}"),
    "doubled backslashes": ("0.5", r"\\frac{\\sqrt{4}}{4}"),
    "all parts, each in dollars": ("3,5", "$3$ and $5$"),
    "all parts, each on its line": ("3,5", r"3\\5"),
    "matrix": (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"$\begin{pmatrix}1\\2\end{pmatrix}$"),
}


@pytest.mark.parametrize("gold, answer", GUESSES.values(), ids=GUESSES)
def test_guesses_are_wrong(gold: str, answer: str, grader: Grader, slow_path: Grader) -> None:
    assert {graded(gold, answer, grader), graded(gold, answer, slow_path)} == {Verdict.WRONG}


@pytest.mark.parametrize("gold, answer", ANSWERS.values(), ids=ANSWERS)
def test_one_answer_is_read_in_any_delimiters(
    gold: str, answer: str, grader: Grader, slow_path: Grader
) -> None:
    assert {graded(gold, answer, grader), graded(gold, answer, slow_path)} == {Verdict.CORRECT}


def graded(gold: str, answer: str, grader: Grader) -> Verdict:
    ((_, outcome),) = grader.grade([(0, gold, rf"\boxed{{{answer}}}")])
    return outcome.verdict
