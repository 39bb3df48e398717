"""Runs measured at a common n, differences on the same problems, and what is refused."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from builders import grade, problem, write_run

from opo_eval.compare import ComparedRuns, compare_runs
from opo_eval.errors import InputError, StoreError, UsageError
from opo_eval.measure import MeasureOptions, choose_grader, measure_run, samples_per_problem, write_metrics
from opo_eval.records import Comparison, Verdict
from opo_eval.store import RunDir

PROBLEMS = tuple(problem(number, level=str(number % 2)) for number in range(8))


def make(path: Path, correct: Sequence[int], n: int = 4, **options: object) -> RunDir:
    """A graded run in which problem i has `correct[i]` correct of n samples."""
    problems = options.pop("problems", PROBLEMS)
    texts = {p.source_id: [f"answer {i} of {p.prompt}" for i in range(n)] for p in problems}
    run = write_run(path / "run", problems, texts, checkpoint=path.name)
    with run.writer() as writer:
        for p, right in zip(problems, correct, strict=True):
            verdicts = [Verdict.CORRECT if i < right else Verdict.WRONG for i in range(n)]
            writer.append_grades([grade(p, i, v, extracted="1", **options) for i, v in enumerate(verdicts)])
    return run


def difference(compared: ComparedRuns, metric: str) -> Comparison:
    return next(row for row in compared.comparisons if row.metric == metric)


def test_the_difference_is_b_minus_a(tmp_path: Path) -> None:
    a = make(tmp_path / "a", [0, 1, 2, 3, 0, 0, 1, 1])
    b = make(tmp_path / "b", [1, 2, 3, 4, 1, 1, 2, 2])
    found = difference(compare_runs([a, b]), "pass@1")
    assert (found.a, found.b, found.n_problems) == ("a", "b", 8)
    assert (found.value_a, found.value_b) == pytest.approx((0.25, 0.5))
    assert found.delta == pytest.approx(0.25)
    assert found.interval and (found.interval.low, found.interval.high) == pytest.approx((0.25, 0.25))
    turned = difference(compare_runs([a, b], baseline="b"), "pass@1")
    assert (turned.a, turned.b, turned.delta) == ("b", "a", pytest.approx(-0.25))


def test_unequal_n_is_compared_at_the_common_n_and_said(tmp_path: Path) -> None:
    compared = compare_runs([make(tmp_path / "a", [1] * 8, n=6), make(tmp_path / "b", [1] * 8, n=4)])
    assert [table.n for table in compared.tables] == [4, 4]
    assert {row.metric for row in compared.tables[0].rows if row.metric.startswith("pass@")} == {
        "pass@1",
        "pass@2",
        "pass@3",
        "pass@4",
    }
    assert compared.notes == (
        "sums: the checkpoints have unequal numbers of samples a problem (a has 6, b has 4); all are "
        "compared at n = 4.",
    )


def test_three_checkpoints_are_each_compared_with_the_baseline(tmp_path: Path) -> None:
    runs = [make(tmp_path / name, [i] * 8) for i, name in enumerate("abc")]
    pairs = {(row.a, row.b) for row in compare_runs(runs).comparisons}
    assert pairs == {("a", "b"), ("a", "c")}


def test_a_single_problem_has_a_difference_and_no_interval(tmp_path: Path) -> None:
    runs = [make(tmp_path / name, [i], problems=PROBLEMS[:1]) for i, name in enumerate("ab")]
    found = difference(compare_runs(runs), "pass@1")
    assert found.delta == pytest.approx(0.25) and found.interval is None


def test_other_problems_and_other_golds_are_refused_by_name(tmp_path: Path) -> None:
    a = make(tmp_path / "a", [1] * 8)
    fewer = make(tmp_path / "fewer", [1] * 7, problems=PROBLEMS[1:])
    with pytest.raises(InputError, match=r"differ in 1 problem \(p0\): a comparison needs the same"):
        compare_runs([a, fewer])
    regolded = tuple(type(p)(**{**_fields(p), "answer": "9"}) for p in PROBLEMS)
    other = make(tmp_path / "other", [1] * 8, problems=regolded)
    with pytest.raises(InputError, match=r"differ in 8 golds \(p0, p1, p2 and 5 more\)"):
        compare_runs([a, other])


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__slots__}  # type: ignore[attr-defined]


def test_the_same_checkpoint_twice_is_refused(tmp_path: Path) -> None:
    a, again = make(tmp_path / "a", [1] * 8), make(tmp_path / "x" / "a", [1] * 8)
    with pytest.raises(InputError, match="are both a on sums"):
        compare_runs([a, again])


def test_an_unknown_baseline_is_named(tmp_path: Path) -> None:
    runs = [make(tmp_path / "late", [1] * 8), make(tmp_path / "early", [1] * 8)]
    with pytest.raises(UsageError, match=r"--baseline 'ealry' .*did you mean 'early'"):
        compare_runs(runs, baseline="ealry")


def test_unlike_graders_are_said(tmp_path: Path) -> None:
    runs = [make(tmp_path / name, [1] * 8, grader=f"by {name}") for name in "ab"]
    (note,) = compare_runs(runs).notes
    assert "not graded alike (a by by a; b by by b)" in note


def test_an_ungraded_run_is_compared_by_its_texts_and_said(tmp_path: Path) -> None:
    texts = {p.source_id: ["one two three", "four five six"] for p in PROBLEMS}
    runs = [write_run(tmp_path / name, PROBLEMS, texts, checkpoint=name) for name in "ab"]
    compared = compare_runs(runs)
    assert difference(compared, "self_bleu_1").delta == 0
    assert not [row for row in compared.comparisons if row.metric.startswith("pass@")]
    assert "a is not graded, so only what needs no grades is shown" in compared.notes[0]


def test_more_samples_than_there_are_is_refused(tmp_path: Path) -> None:
    run = make(tmp_path / "a", [1] * 8)
    with pytest.raises(InputError, match=r"problem p0 has 4 samples of a, fewer than n = 9"):
        measure_run(run, MeasureOptions(n=9))


def test_half_graded_runs_are_refused_with_the_command(tmp_path: Path) -> None:
    run = make(tmp_path / "a", [1] * 8)
    lines = (run.path / "grades.jsonl").read_text().splitlines(keepends=True)
    (run.path / "grades.jsonl").write_text("".join(lines[:-3]))
    with pytest.raises(StoreError, match=r"3 of 4 samples of problem p7 .* run `opo-eval grade"):
        measure_run(run)


def test_a_run_without_samples_says_what_to_do(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", PROBLEMS, {p.source_id: [] for p in PROBLEMS})
    with pytest.raises(InputError, match="has no samples yet: run `opo-eval sample`"):
        samples_per_problem(run)


def test_the_last_grader_counts_unless_one_is_named(tmp_path: Path) -> None:
    run = make(tmp_path / "a", [4] * 8, grader="strict:1")
    with run.writer() as writer:
        writer.append_grades([grade(p, i, Verdict.WRONG, grader="own:f") for p in PROBLEMS for i in range(4)])
    assert choose_grader(run, None) == "own:f"
    assert choose_grader(run, "strict") == "strict:1"
    with pytest.raises(UsageError, match=r"'nobody' fits 0 graders of .* one of: strict:1, own:f"):
        choose_grader(run, "nobody")
    best = {o: measure_run(run, MeasureOptions(grader=o)).rows[0].value for o in ("strict", "own")}
    assert best == {"strict": 1, "own": 0}


def test_metrics_are_written_with_their_schema(tmp_path: Path) -> None:
    run = make(tmp_path / "a", [1] * 8)
    write_metrics(run, measure_run(run))
    assert '"schema": "opo_eval.metrics/1"' in (run.path / "metrics.json").read_text()
