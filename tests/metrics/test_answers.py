"""Which answers are given and how far they agree, by hand and against brute force."""

from collections import Counter
from math import log

import numpy as np
import pytest
from builders import grade, problem, sample
from hypothesis import given, settings
from hypothesis import strategies as st

from opo_eval.metrics import MetricSettings, ProblemSamples, Value
from opo_eval.metrics.answers import (
    Answers,
    agreement,
    answer_entropy,
    count_answers,
    distinct_answers,
    entropy,
)
from opo_eval.records import GradedSample, Group, Verdict

UNDEFINED = (0, 0)
C, W, N, T, E = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.TIMED_OUT, Verdict.GRADER_ERROR


def graded(*answers: str | None, right: str = "4") -> tuple[GradedSample, ...]:
    """Samples with these answers, of which one is right; None is no answer."""
    asked = problem(2)
    verdicts = [N if answer is None else C if answer == right else W for answer in answers]
    return tuple(
        GradedSample(sample=sample(asked, i), grade=grade(asked, i, verdict, extracted=answer))
        for i, (answer, verdict) in enumerate(zip(answers, verdicts, strict=True))
    )


def judged(verdict: Verdict, extracted: str | None) -> GradedSample:
    asked = problem(2)
    return GradedSample(sample=sample(asked, 0), grade=grade(asked, 0, verdict, extracted=extracted))


def samples_of(samples: tuple[GradedSample, ...], n: int | None = None) -> ProblemSamples:
    asked = Group(checkpoint="c", problem=problem(2), samples=samples)
    return ProblemSamples(asked, MetricSettings(n=n or len(samples)))


def measured(*answers: str | None, n: int | None = None) -> dict[str, Value]:
    samples = samples_of(graded(*answers), n)
    return {**distinct_answers(samples), **agreement(samples), **answer_entropy(samples)}


def test_answers_are_counted_by_their_text() -> None:
    counted = count_answers(graded("4", "4", "5", "05", " 5", "x + 1", "x+1", None))
    assert counted == Answers(correct=2, wrong=(3, 2), silent=1)
    assert counted.sizes == [2, 3, 2]


def test_correct_answers_are_one_however_they_are_written() -> None:
    samples = (judged(C, "1/2"), judged(C, "0.5"), judged(W, "2"))
    assert count_answers(samples) == Answers(correct=2, wrong=(1,), silent=0)


def test_what_could_not_be_judged_still_has_its_answer() -> None:
    samples = (judged(T, "5"), judged(W, "5"), judged(E, None), judged(N, None))
    assert count_answers(samples) == Answers(correct=0, wrong=(2,), silent=2)


def test_values_worked_out_by_hand() -> None:
    values = measured("4", "4", "5", "6")
    assert values["distinct_answers"] == Value(3 / 4, 1, 0)
    assert values["agreement"] == Value(2 / 4, 1, 0)
    assert values["answer_entropy"][:3] == pytest.approx((1.5 * log(2), 1, 0))


def test_the_most_common_answer_may_be_wrong_or_tied() -> None:
    assert measured("4", "5", "5")["agreement"] == Value(2 / 3, 1, 0)
    assert measured("4", "4", "5", "5")["agreement"] == Value(1 / 2, 1, 0)


@pytest.mark.parametrize("answer", ["4", "5"])
def test_all_the_same_and_all_different(answer: str) -> None:
    same = measured(*[answer] * 8)
    assert [value.numerator for value in same.values()] == [1 / 8, 1, 0]
    assert str(same["answer_entropy"].numerator) == "0.0"
    different = measured("4", "5", "6", "7", "8")
    assert [value.numerator for value in different.values()] == pytest.approx([1, 1 / 5, log(5)])


def test_silence_is_no_answer_and_no_agreement() -> None:
    values = measured("4", "4", "5", None, None, None)
    assert values["distinct_answers"] == Value(2 / 6, 1, 0)
    assert values["agreement"] == Value(2 / 6, 1, 0)
    p = 2 / 3
    assert values["answer_entropy"][:3] == pytest.approx((-p * log(p) - (1 - p) * log(1 - p), 1, 3))


def test_a_problem_that_nobody_answers_is_undefined_and_not_zero() -> None:
    for value in measured(None, None).values():
        assert (value.numerator, value.denominator, value.n_left_out) == (0, 0, 2)


@pytest.mark.parametrize("verdict", [C, W])
def test_a_grader_that_names_no_answers_leaves_it_undefined(verdict: Verdict) -> None:
    samples = (*graded("4", "5"), judged(verdict, None))
    assert count_answers(samples) is None
    for measure in (distinct_answers, agreement, answer_entropy):
        assert {value[:2] for value in measure(samples_of(samples)).values()} == {UNDEFINED}


def test_only_the_compared_samples_count() -> None:
    assert measured("4", "4", "5", "6", n=2) == {
        "distinct_answers": Value(1 / 2, 1, 0),
        "agreement": Value(1, 1, 0),
        "answer_entropy": Value(0, 1, 0),
    }


@settings(max_examples=150, deadline=None, derandomize=True)
@given(answers=st.lists(st.sampled_from(["4", "5", "6", "seven", None]), min_size=1, max_size=20))
def test_equal_the_definitions(answers: list[str | None]) -> None:
    values, counts = measured(*answers), Counter(answer for answer in answers if answer is not None)
    if not counts:
        assert {value.denominator for value in values.values()} == {0}
        return
    shares = np.array(list(counts.values())) / counts.total()
    assert values["distinct_answers"].numerator == len(counts) / len(answers)
    assert values["agreement"].numerator == max(counts.values()) / len(answers)
    expected = -sum(share * log(share) for share in shares)
    assert values["answer_entropy"][:3] == pytest.approx((expected, 1, answers.count(None)), abs=1e-12)


def test_entropy_does_not_depend_on_the_order_to_the_last_digit() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, size=40)
    assert len({entropy(rng.permutation(sizes).tolist()) for _ in range(20)}) == 1
