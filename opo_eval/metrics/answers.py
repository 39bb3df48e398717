"""Which final answers the samples of a problem give, and how far they agree.

All correct samples are one answer; wrong ones are the same answer where their texts are, white space and
leading zeros aside. What majority votes count is counted here.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from opo_eval.metrics.core import (
    Metric,
    ProblemSamples,
    Value,
    grade_of,
    graded_signature,
    is_correct,
)
from opo_eval.records import Better, GradedSample, Reason, Unit, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """How many samples give each answer."""

    correct: int
    wrong: tuple[int, ...]
    """Samples of each wrong answer."""
    silent: int
    """Samples without an answer."""

    @property
    def sizes(self) -> list[int]:
        """Samples of each answer that somebody gives."""
        return [size for size in (self.correct, *self.wrong) if size]


def count_answers(graded: Sequence[GradedSample]) -> Answers | None:
    """The answers of graded samples; None where the grader did not say which answer it judged."""
    if any(map(_is_anonymous, graded)):
        return None
    answers = [grade_of(one).extracted for one in graded if not is_correct(one)]
    wrong = Counter(_same_answer(answer) for answer in answers if answer is not None)
    return Answers(
        correct=len(graded) - len(answers), wrong=tuple(wrong.values()), silent=answers.count(None)
    )


def _is_anonymous(graded: GradedSample) -> bool:
    """Whether the verdict comes without the answer that it is about, as a user's own verifier gives it."""
    grade = grade_of(graded)
    judged = grade.verdict in (Verdict.CORRECT, Verdict.WRONG)
    return grade.reason in (Reason.OWN_VERIFIER, Reason.SOURCE) or (judged and grade.extracted is None)


def _same_answer(answer: str) -> str:
    text = "".join(answer.split())
    return str(int(text)) if text.isascii() and text.isdigit() and len(text) < 100 else text


# --- the metrics ------------------------------------------------------------------------------------


def distinct_answers(samples: ProblemSamples) -> Mapping[str, Value]:
    """How many different answers n responses to a problem give, divided by n: from 1/n (all the same) to 1.

    All correct ones are one answer; a response without an answer adds none. Every problem weighs the same.
    Problems are left out where nobody gives an answer, and where the grader did not say which it judged.
    """
    return {"distinct_answers": _of_answers(samples, lambda sizes: len(sizes) / samples.settings.n)}


def agreement(samples: ProblemSamples) -> Mapping[str, Value]:
    """The share of n responses to a problem that give the most common answer, right or wrong.

    A response without an answer agrees with nobody. Every problem weighs the same. Problems are left out
    where nobody gives an answer, and where the grader did not say which it judged.
    """
    return {"agreement": _of_answers(samples, lambda sizes: max(sizes) / samples.settings.n)}


def answer_entropy(samples: ProblemSamples) -> Mapping[str, Value]:
    """Entropy of the answers to a problem: -Σ p ln p, p being an answer's share of those that are given.

    From 0 (all the same) to ln n (all different), without a correction for the small n, which makes it too
    low (Miller, 1955): semantic entropy (Farquhar et al., 2024) with sameness of the answer for meaning.
    Every problem weighs the same. Responses without an answer are left out, and problems where nobody gives
    one or the grader did not say which it judged.
    """
    return {"answer_entropy": _of_answers(samples, entropy, leaves_out_silent=True)}


def entropy(sizes: Sequence[int]) -> float:
    """Entropy in nats of classes with these sizes, all 1 or more, at least one of them."""
    shares = np.array(sizes) / sum(sizes)
    # Sorted, because the order of a sum is in its last digits; abs, because -1 ln 1 is -0.
    return abs(float(-(np.sort(shares) * np.log(np.sort(shares))).sum()))


def _of_answers(
    samples: ProblemSamples, value: Callable[[list[int]], float], *, leaves_out_silent: bool = False
) -> Value:
    """A value of the numbers of samples that give each answer."""
    answers = count_answers(samples.compared)
    if answers is None or not answers.sizes:
        return Value(0.0, 0.0, samples.settings.n)
    return Value(value(answers.sizes), 1.0, answers.silent if leaves_out_silent else 0)


DISTINCT_ANSWERS = Metric(
    measure=distinct_answers,
    signature=graded_signature("distinct_answers"),
    unit=Unit.SHARE,
    better=Better.NEITHER,
    needs_grades=True,
)
ANSWER_ENTROPY = Metric(
    measure=answer_entropy,
    signature=graded_signature("answer_entropy"),
    unit=Unit.NATS,
    better=Better.NEITHER,
    needs_grades=True,
)
AGREEMENT = Metric(
    measure=agreement,
    signature=graded_signature("agreement"),
    unit=Unit.SHARE,
    better=Better.NEITHER,
    needs_grades=True,
)
