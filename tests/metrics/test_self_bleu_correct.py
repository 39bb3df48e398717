"""Self-BLEU of correct responses: which are looked at, and sacrebleu's values for them."""

import pytest
from builders import group, problem
from sacrebleu.metrics.bleu import BLEU

from opo_eval.metrics import METRICS, MetricSettings, ProblemSamples, Value, self_bleu
from opo_eval.metrics.selfbleu_correct import measure_self_bleu_correct
from opo_eval.records import Verdict

C, W, N, E = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.GRADER_ERROR
FOUR = [
    "the sum of two and two is four",
    "two and two make four, so the sum is four",
    "we add the two terms and find four",
    "so the sum of the two terms is four again",
]


def measured(texts, verdicts, n=None, **settings):
    samples = ProblemSamples(
        group(problem(1), texts, verdicts), MetricSettings(n=n or len(texts), grader="g", **settings)
    )
    return measure_self_bleu_correct(samples)["self_bleu_correct"]


def test_equals_sacrebleu_on_the_correct_responses():
    value = measured([FOUR[0], "something else", FOUR[1], "", FOUR[2]], [C, W, C, N, C])
    bleu = BLEU(effective_order=True)
    scores = [bleu.sentence_score(text, [t for t in FOUR[:3] if t != text]).score for text in FOUR[:3]]
    assert value[:3] == pytest.approx((sum(scores) / 3, 1, 0), abs=1e-9)


def test_all_correct_is_self_bleu():
    samples = ProblemSamples(group(problem(1), FOUR, [C] * 4), MetricSettings(n=4))
    assert (
        measure_self_bleu_correct(samples)["self_bleu_correct"]
        == (METRICS["self_bleu"].measure(samples)["self_bleu"])
    )


def test_what_the_others_say_does_not_matter():
    verdicts = [C, C, W, E]
    assert measured(FOUR, verdicts) == measured([*FOUR[:2], "x", FOUR[0]], verdicts)
    assert measured(FOUR, verdicts) == measured(FOUR[:2], [C, C])


def test_two_correct_copies_among_varied_mistakes():
    assert measured([FOUR[0], FOUR[1], FOUR[0], FOUR[2]], [C, W, C, W]).numerator == pytest.approx(100)


@pytest.mark.parametrize(("verdicts", "n_left_out"), [([W, N, E, W], 0), ([W, C, N, E], 1)])
def test_fewer_than_two_correct_is_undefined_and_not_zero(verdicts, n_left_out):
    assert measured(FOUR, verdicts) == Value(0, 0, n_left_out)


def test_correct_responses_without_tokens_are_left_out_and_counted():
    assert measured([*FOUR[:2], " "], [C, C, C]) == Value(*measured(FOUR[:2], [C, C])[:2], 1)
    assert measured([FOUR[0], "", ""], [C, C, C]) == Value(0, 0, 3)


def test_only_the_compared_responses_count():
    assert measured(FOUR, [C, C, C, C], n=2) == measured(FOUR[:2], [C, C])


def test_the_settings_of_self_bleu_apply():
    settings = {"max_order": 2, "smooth": "floor", "references": "pairwise", "tokenize": "whitespace"}
    expected = self_bleu(FOUR[:3], **settings).mean()
    assert measured(FOUR, [C, C, C, W], **settings).numerator == pytest.approx(expected)
    signature = METRICS["self_bleu_correct"].signature(MetricSettings(n=4, grader="g", **settings))
    assert signature == (
        "self_bleu|n:4|tok:whitespace|think:in|order:2|smooth:floor|refs:pairwise|correct only|grader:[g]"
    )
