"""The page of definitions: what stands beside each metric, and that it says what the metric does."""

import inspect

import pytest
from builders import grade, problem, sample
from report.handmade import compared, interval, row, table

from opo_eval.metrics import METRICS, MetricSettings, ProblemSamples
from opo_eval.records import GradedSample, Group, Verdict
from opo_eval.report.definitions import definitions_markdown
from opo_eval.report.views import benchmark_views


def _page(*tables) -> str:
    return definitions_markdown("r", benchmark_views(compared(tables)))


def test_a_family_has_its_definition_names_unit_intervals_and_signature() -> None:
    rows = [
        row("pass@1", (0.5, 0.4, 0.6)),
        row("pass@2", (0.6,), interval_these=interval(0, 1, "these ones")),
    ]
    definition = "`pass@k`: a chance.\n\nEvery problem\n  weighs the same."
    text = _page(table("early", {}, rows=rows, definitions={"pass@k": definition}))
    assert text.split("## ")[1] == (
        "pass@k\n\npass@k: a chance.\n\nEvery problem weighs the same.\n\n"
        "- Names: pass@1, pass@2\n"
        "- Unit: %; higher is better\n"
        "- Intervals over problems like these: 1 of 2 numbers; over these ones: 1 of 2 numbers\n"
        "- Signature: pass@1\\|n:8\n"
        "- Signature: pass@2\\|n:8\n"
    ).replace("- Signature: ", "- Signature of early on sums: ")


def test_checkpoints_that_were_measured_differently_are_named() -> None:
    late = table("late", {}, rows=[row("pass@1", (0.5,), checkpoint="late", signature="other")])
    text = _page(table("early"), late)
    assert "- Signature of early on sums: pass@1\\|n:8\n- Signature of late on sums: other\n" in text


def test_what_was_measured_without_a_number_says_so() -> None:
    text = _page(table("early", definitions={"tokens": "Tokens of a response."}))
    assert "## tokens\n\nTokens of a response.\n\nIt has no number in this report.\n" in text


def test_definitions_from_outside_are_escaped() -> None:
    text = _page(table("early", definitions={"<b>": "a|b <script> *bold*"}))
    assert "## &lt;b&gt;\n\na\\|b &lt;script&gt; \\*bold\\*" in text


# --- the sentences beside the metrics ---------------------------------------------------------------


def _samples(place: int, lengths: tuple[int, ...]) -> ProblemSamples:
    asked = problem(place)
    graded = [
        GradedSample(
            sample=sample(asked, i, " ".join(f"w{j % 7}" for j in range(length)), n_tokens=length),
            grade=grade(asked, i, Verdict.CORRECT if i % 2 else Verdict.WRONG, extracted=str(i % 2)),
        )
        for i, length in enumerate(lengths)
    ]
    group = Group(checkpoint="c", problem=asked, samples=tuple(graded))
    return ProblemSamples(group, MetricSettings(n=4, grader="g"))


@pytest.mark.parametrize("family", METRICS)
def test_every_definition_says_what_weighs_the_same(family: str) -> None:
    """Problems weigh the same where all denominators are 1, responses where they are n, else n-grams."""
    text = inspect.getdoc(METRICS[family].measure) or ""
    problems = [_samples(0, (12, 30, 9, 40)), _samples(1, (60, 8, 25, 33))]
    weights: dict[str, set[float]] = {}
    for samples in problems:
        for name, value in METRICS[family].measure(samples).items():
            weights.setdefault(name, set()).add(value.denominator)
    said = {1.0: "problem weighs the same", 4.0: "response weighs the same"}
    for found in weights.values():
        weight = found.pop() if len(found) == 1 else 0.0
        assert said.get(weight, "every n-gram weighs the same") in " ".join(text.split())
    assert text.endswith(".") and "Raises" not in text and "See" not in text
