"""Hand-worked tables: values, counts, subsets, what is left out."""

from collections.abc import Sequence

import pytest
from builders import group, problem

from opo_eval.metrics import METRICS, MetricSettings, measure_groups
from opo_eval.records import Better, MetricRow, MetricTable, Think, Unit, Verdict

C, W, N, T, E = Verdict.CORRECT, Verdict.WRONG, Verdict.NO_ANSWER, Verdict.TIMED_OUT, Verdict.GRADER_ERROR


def table(groups: Sequence, n: int, **settings: object) -> MetricTable:
    return measure_groups(groups, MetricSettings(n=n, grader="g", **settings), METRICS)  # type: ignore[arg-type]


def row(measured: MetricTable, metric: str, subset: str = "all") -> MetricRow:
    return next(r for r in measured.rows if (r.metric, r.subset) == (metric, subset))


TWO = [
    group(problem(1, level="1"), ["a b c d e f", "a b c d e f", "x", "y y"], [C, W, W, N]),
    group(problem(2, level="2"), ["p q", "r s", "t u", "v w"], [W, W, T, E]),
]


def test_pass_at_k_by_hand() -> None:
    measured = table(TWO, 4)
    # one correct of four: 1/4, 1 - 3/4·2/3, 1 - 3/4·2/3·1/2, 1; the other problem has none
    assert [row(measured, f"pass@{k}").value for k in (1, 2, 3, 4)] == pytest.approx(
        [0.125, 0.25, 0.375, 0.5]
    )
    assert row(measured, "mean@4").value == 0.125
    measured = table([*TWO, group(problem(3, level="2"), ["w"] * 4, [W] * 4)], 4)
    assert row(measured, "pass@4", "level=1").value == 1
    assert row(measured, "pass@4", "level=2").value == 0


def test_every_sample_is_accounted_for() -> None:
    counts = table(TWO, 4).counts
    verdicts = sum(counts[verdict.value] for verdict in Verdict)
    assert verdicts == counts["samples"] == 8
    assert (counts["correct"], counts["no_answer"], counts["timed_out"], counts["grader_error"]) == (
        1,
        1,
        1,
        1,
    )
    assert row(table(TWO, 4), "ungraded").value == 0.25
    assert row(table(TWO, 4), "no_answer").value == 0.125


def test_repetition_by_hand() -> None:
    measured = table(
        [group(problem(1), ["a b a b a b", "c d", ""], [C, C, C])], 3, rep_order=2, tokenize="whitespace"
    )
    # ab ba ab ba ab: 2 distinct of 5; cd: 1 of 1; the empty text has no bigram
    by_ngram, by_sequence = row(measured, "rep_2"), row(measured, "rep_2_per_sequence")
    assert by_ngram.value == pytest.approx(3 / 6)
    assert by_sequence.value == pytest.approx((3 / 5 + 0) / 2)
    assert by_ngram.n_samples_left_out == by_sequence.n_samples_left_out == 1


def test_an_empty_text_is_left_out_of_self_bleu_and_counted() -> None:
    same = ["the sum of two and two is four"] * 3
    measured = table([group(problem(1), [*same, " "], [C] * 4)], 4)
    assert row(measured, "self_bleu").value == pytest.approx(100)
    assert row(measured, "self_bleu").n_samples_left_out == 1


def test_a_problem_without_a_value_is_left_out_with_a_count() -> None:
    groups = [group(problem(1), ["a b c", "a b c"], [C, C]), group(problem(2), ["only one", ""], [C, C])]
    measured = row(table(groups, 2), "self_bleu_1")
    assert measured.value == pytest.approx(100)
    assert (measured.n_problems, measured.n_problems_left_out, measured.n_samples_left_out) == (1, 1, 2)
    assert measured.interval is None


def test_a_metric_that_is_undefined_everywhere_has_no_row_and_is_not_zero() -> None:
    measured = table(TWO, 4)
    assert not [r for r in measured.rows if r.metric == "tokens"]
    assert not [r for r in measured.rows if r.metric.startswith("maj@")]  # no extracted answers to vote


def test_majority_votes_average_ties() -> None:
    def voted(*answers: str | None) -> float:
        asked = problem(2)
        verdicts = [N if a is None else C if a == "4" else W for a in answers]
        graded = group(asked, ["t"] * len(answers), verdicts)
        votes = tuple(
            type(s)(sample=s.sample, grade=type(s.grade)(**{**_fields(s.grade), "extracted": a}))
            for s, a in zip(graded.samples, answers, strict=True)
        )
        measured = table([type(graded)(checkpoint="c", problem=asked, samples=votes)], len(answers))
        return row(measured, f"maj@{len(answers)}").value

    assert voted("4", "4", "5") == 1
    assert voted("4", "5", "5") == 0
    assert voted("4", "4", "5", "05") == 0.5
    assert voted("4", "5", "6", None) == pytest.approx(1 / 3)
    assert voted(None, None) == 0


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__slots__}  # type: ignore[attr-defined]


def test_diversity_is_measured_after_the_think_section_on_request() -> None:
    texts = ["<think>one two three</think> so four", "<think>quite other words</think> so four"]
    graded = [group(problem(1), texts, [C, C])]
    inside = row(table(graded, 2, think=Think.TAGGED), "self_bleu_1")
    outside = row(table(graded, 2, think=Think.TAGGED, think_section=False), "self_bleu_1")
    assert inside.value < 80 and outside.value == pytest.approx(100)
    assert "think:in" in inside.signature and "think:out(tagged)" in outside.signature


def test_signatures_say_how_a_number_came_about() -> None:
    measured = table(TWO, 4)
    assert (
        row(measured, "self_bleu").signature
        == "self_bleu|n:4|tok:13a|think:in|order:4|smooth:exp|refs:others"
    )
    assert row(measured, "pass@2").signature == "pass@k|unbiased|n:all>=4|grader:[g]"
    assert row(measured, "rep_5").signature == "rep_5|n:4|tok:13a|think:in"


def test_units_and_directions() -> None:
    measured = table(TWO, 4)
    assert (row(measured, "pass@1").unit, row(measured, "pass@1").better) == (Unit.SHARE, Better.HIGHER)
    assert (row(measured, "self_bleu").unit, row(measured, "self_bleu").better) == (
        Unit.PERCENT,
        Better.LOWER,
    )


def test_a_tag_that_separates_nothing_makes_no_subset() -> None:
    groups = [group(problem(i, level="1", row=str(i)), ["a"], [C]) for i in range(4)]
    assert {r.subset for r in table(groups, 1).rows} == {"all"}
