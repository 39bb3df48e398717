"""Measuring goes through each file once and holds one problem's texts at a time."""

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import grade, problem, sample, settings, token_stats, unpack, write_run

from opo_eval.compare import compare_runs
from opo_eval.errors import StoreError, UsageError
from opo_eval.measure import MeasureOptions, measure_run
from opo_eval.records import Verdict
from opo_eval.show import show_problem, show_problems
from opo_eval.store import RecordFile, RunDir, RunWriter

PROBLEMS = tuple(problem(number) for number in range(6))


def graded_run(path: Path, *, text: str = "one two three", n: int = 3) -> RunDir:
    """Every problem with n samples, and verdicts of two graders, written in another order."""
    run = write_run(path, PROBLEMS, {p.source_id: [f"{text} {i}" for i in range(n)] for p in PROBLEMS})
    with run.writer() as writer:
        for grader in ("first", "second"):
            keys = [(p, i) for i in range(n) for p in reversed(PROBLEMS)]
            writer.append_grades([grade(p, i, _verdict(i), extracted="1", grader=grader) for p, i in keys])
    return run


def _verdict(index: int) -> Verdict:
    return Verdict.WRONG if index else Verdict.CORRECT


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """How often each file was gone through."""
    counts: Counter[Path] = Counter()
    rows = RecordFile._rows

    def counted(file: RecordFile) -> Iterator[object]:
        counts[file.path] += 1
        return rows(file)

    monkeypatch.setattr(RecordFile, "_rows", counted)
    return counts


def test_measuring_goes_through_samples_and_grades_once(tmp_path: Path, passes: Counter[Path]) -> None:
    run = graded_run(tmp_path)
    passes.clear()
    measure_run(run)
    assert passes[run.samples_path] == passes[tmp_path / "grades.jsonl"] == 1


def test_comparing_goes_through_samples_and_grades_once(tmp_path: Path, passes: Counter[Path]) -> None:
    runs = []
    for name in "ab":
        texts = {p.source_id: ["one two", "one three"] for p in PROBLEMS}
        runs.append(write_run(tmp_path / name, PROBLEMS, texts, checkpoint=name))
    passes.clear()
    compare_runs(runs)
    for run in runs:
        assert passes[run.samples_path] == passes[run.path / "grades.jsonl"] == 1


def test_an_index_knows_what_is_there(tmp_path: Path) -> None:
    index = graded_run(tmp_path).index()
    assert index.problems == PROBLEMS
    assert {name: sorted(places) for name, places in index.samples.items()} == {
        p.id: [0, 1, 2] for p in PROBLEMS
    }
    assert list(index.grades) == ["first", "second"]
    assert [g.index for g in index.grades_of(PROBLEMS[2].id, "second")] == [0, 1, 2]
    assert list(index.grades_of(PROBLEMS[2].id, "third")) == list(index.grades_of("unknown", "first")) == []


def test_the_scorer_of_the_most_samples_is_used_or_the_one_that_is_named(tmp_path: Path) -> None:
    run = graded_run(tmp_path)
    with run.writer() as writer:
        writer.append_token_stats([token_stats(PROBLEMS[0], i, [1.0], scorer="exact|a") for i in range(3)])
        writer.append_token_stats([token_stats(PROBLEMS[0], 0, [3.0], scorer="exact|b")])
    values = {
        wanted: {row.metric: row.value for row in measure_run(run, MeasureOptions(scorer=wanted)).rows}
        for wanted in (None, "|b")
    }
    assert (values[None]["entropy"], values["|b"]["entropy"]) == (1.0, 3.0)
    with pytest.raises(UsageError, match=r"--scorer 'exact' fits 2 scorers of .*: exact\|a, exact\|b"):
        measure_run(run, MeasureOptions(scorer="exact"))


def test_groups_are_those_asked_for_in_the_order_of_the_benchmark(tmp_path: Path) -> None:
    index = graded_run(tmp_path).index()
    asked = {PROBLEMS[4].id, PROBLEMS[1].id}
    groups = list(index.groups("second", only=asked))
    assert [group.problem for group in groups] == [PROBLEMS[1], PROBLEMS[4]]
    for group in groups:
        assert [g.grade and (g.grade.grader, g.grade.verdict) for g in group.samples] == [
            ("second", _verdict(i)) for i in range(3)
        ]


def test_what_is_written_later_is_not_seen(tmp_path: Path) -> None:
    run = graded_run(tmp_path)
    index = run.index()
    before = measure_run(index)
    with run.writer() as writer:
        writer.append_samples([sample(PROBLEMS[0], 3)])
        writer.append_grades([grade(PROBLEMS[0], 3, grader="third")])
    assert measure_run(index) == before
    assert {p: len(places) for p, places in run.index().samples.items()}[PROBLEMS[0].id] == 4


def test_memory_does_not_grow_with_the_number_of_problems(tmp_path: Path) -> None:
    text = "".join(f"{i} is {i * i}. " for i in range(4_000))
    index = graded_run(tmp_path, text=text).index()
    measure_run(index, only={PROBLEMS[0].id})  # what is loaded once is loaded now

    def peak(n_problems: int) -> int:
        tracemalloc.start()
        measure_run(index, only={p.id for p in PROBLEMS[:n_problems]})
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(6) - peak(2) < 3 * len(text)  # the texts of one problem, of four more


# --- damage that only the reading of one record can show --------------------------------------------


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("samples", '"index":1,', '"index":"1",', r"samples.jsonl:3 is damaged: Sample.index cannot be '1'"),
        ("samples", '"problem_id":', '"problem":', r"samples.jsonl:2 is damaged: no field 'problem_id'"),
        ("samples", '"text":', '"texts":', r"samples.jsonl:2 is damaged: Sample has no field 'texts'"),
        (
            "samples",
            '"token_ids":null',
            '"token_ids":[1,"2"]',
            r"samples.jsonl:2 is damaged: Sample.token_ids cannot be '2'",
        ),
        ("grades", '"wrong"', '"rong"', r"grades.jsonl:26 is damaged: 'rong' is not a valid Verdict"),
    ],
)
def test_a_damaged_record_is_named_by_its_line(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    run = graded_run(tmp_path)
    unpack(tmp_path)
    path = tmp_path / f"{name}.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    at = next(i for i in range(1 if name == "samples" else 20, len(lines)) if old in lines[i])
    lines[at] = lines[at].replace(old, new)
    path.write_text("".join(lines))
    with pytest.raises(StoreError, match=said):
        measure_run(run, MeasureOptions(grader="second"))


def test_a_missing_grade_is_noticed_before_any_text_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunWriter(tmp_path, settings(PROBLEMS), PROBLEMS) as writer:
        writer.append_samples([sample(p, 0) for p in PROBLEMS])
        writer.append_grades([grade(p, 0) for p in PROBLEMS[:-1]])
    monkeypatch.setattr(RecordFile, "read_at", None)
    with pytest.raises(StoreError, match=r"1 of 1 samples of problem p5 in .* have no grade by g"):
        measure_run(RunDir(tmp_path))


# --- show -------------------------------------------------------------------------------------------


def test_listing_problems_reads_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, read_at = graded_run(tmp_path), RecordFile.read_at

    def grades_only(file: RecordFile, places: Iterator[int]) -> Iterator[object]:
        assert file.kind == "grades"
        return read_at(file, places)

    monkeypatch.setattr(RecordFile, "read_at", grades_only)
    lines = show_problems(run).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [[p.source_id, "1/3"] for p in PROBLEMS]


def test_showing_a_problem_reads_its_own_samples_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, read_at = graded_run(tmp_path), RecordFile.read_at
    read: list[str] = []

    def noted(file: RecordFile, places: Iterator[int]) -> Iterator[object]:
        for record in read_at(file, places):
            read.append(record.problem_id)
            yield record

    monkeypatch.setattr(RecordFile, "read_at", noted)
    assert "1/3 correct" in show_problem(run, "p3")
    assert set(read) == {PROBLEMS[3].id} and len(read) == 6
