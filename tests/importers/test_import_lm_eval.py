"""lm-evaluation-harness's own logs, and the numbers that it printed of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opo_eval.errors import InputError
from opo_eval.importers import Imported
from opo_eval.problems import load_problems
from opo_eval.store import RunDir

Read = Callable[..., Imported]
Value = Callable[..., float]


@pytest.fixture
def folder(tmp_path: Path, logs: Path) -> Path:
    """A copy of the log, to be changed."""
    (written,) = (logs / "lm-eval").glob("*/results_*.json")
    return Path(shutil.copytree(written.parent, tmp_path / "log"))


def samples_of(folder: Path, task: str) -> Path:
    (path,) = folder.glob(f"samples_tiny_arith_{task}_*.jsonl")
    return path


def results_of(folder: Path) -> Path:
    (path,) = folder.glob("results_*.json")
    return path


def printed(folder: Path, task: str, metric: str) -> float:
    return json.loads(results_of(folder).read_text())["results"][f"tiny_arith_{task}"][metric]


def change(path: Path, change_row: Callable[[dict[str, Any]], object]) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        change_row(row)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_metric_of_every_response_is_reproduced(folder: Path, read: Read, value: Value) -> None:
    done = read(samples_of(folder, "each"))
    ((run, n),) = done.runs.items()
    number = printed(folder, "each", "correct,boxed")
    assert n == 32 and 0 < number < 1
    assert value(run, "pass@1") == pytest.approx(number, abs=1e-12)
    assert value(run, "pass@1") == pytest.approx(printed(folder, "each", "average,boxed"), abs=1e-12)
    (note,) = done.notes
    assert "'average,boxed' is left out: it is of 4 responses together" in note


def test_a_metric_of_the_first_response_is_reproduced(folder: Path, read: Read, value: Value) -> None:
    (run,) = read(samples_of(folder, "first"), first=1).runs
    number = printed(folder, "first", "exact_match,boxed")
    assert 0 < number < 1 and value(run, "pass@1", "exact_match,boxed") == pytest.approx(number, abs=1e-12)


def test_a_score_of_the_first_response_is_no_grade_of_the_others(folder: Path, read: Read) -> None:
    done = read(samples_of(folder, "first"))
    ((run, n),) = done.runs.items()
    assert n == 32 and not list(RunDir(run).grades())
    (note,) = done.notes
    assert "'exact_match,boxed' is left out: it is of the first of 4 responses; --first 1" in note


def test_responses_names_and_problems_are_as_logged(folder: Path, read: Read) -> None:
    (path,) = read(samples_of(folder, "each")).runs
    run = RunDir(path)
    rows = [json.loads(line) for line in samples_of(folder, "each").read_text().splitlines()]
    asked = {problem.id: problem for problem in run.problems()}
    assert path.parts[-2:] == ("late", "tiny_arith_each")
    assert [(asked[s.problem_id].prompt, s.index, s.text) for s in run.samples()] == [
        (row["doc"]["question"], i, text) for row in rows for i, text in enumerate(row["resps"][0])
    ]
    assert [problem.answer for problem in asked.values()] == [row["target"] for row in rows]
    assert all(s.seed is s.finish is s.n_tokens is None for s in run.samples())


def test_the_prompt_that_was_sent_joins_with_a_set_once_its_template_is_off(folder: Path, read: Read) -> None:
    settings = {"columns": {"problem": "prompt"}, "template": "tiny", "problems": "tiny-arith"}
    (path,) = read(samples_of(folder, "each"), **settings).runs
    assert path.parts[-2:] == ("late", "tiny-arith")
    assert tuple(RunDir(path).problems()) == load_problems("tiny-arith")[:8]
    for other in ("boxed", "Add: {problem}=", "{problem}=?"):
        with pytest.raises(InputError, match="line 1 was not asked with the template"):
            read(samples_of(folder, "each"), **{**settings, "template": other})


def test_a_number_in_the_log_is_not_an_id_of_the_set(folder: Path, tmp_path: Path, read: Read) -> None:
    asked = load_problems("tiny-arith")[7::-1]  # so that the number of a document is the id of another
    rows = [{"id": i, "problem": p.prompt, "answer": p.answer} for i, p in enumerate(asked)]
    problems = tmp_path / "set.jsonl"
    problems.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (path,) = read(samples_of(folder, "each"), problems=str(problems)).runs
    assert [problem.source_id for problem in RunDir(path).problems()] == list("76543210")


def test_fields_of_a_document_can_be_tags(folder: Path, read: Read) -> None:
    change(samples_of(folder, "each"), lambda row: row["doc"].update(level=3))
    (path,) = read(samples_of(folder, "each"), columns={"tags": "doc.level"}).runs
    assert {problem.tags["level"] for problem in RunDir(path).problems()} == {"3"}


def test_results_stand_for_all_their_tasks(folder: Path, read: Read) -> None:
    assert [path.name for path in read(results_of(folder)).runs] == ["tiny_arith_each", "tiny_arith_first"]
    assert read(folder.parent / "log").already_there == 64
    with pytest.raises(InputError, match="are both of late on tiny-arith: import one, or each by itself"):
        read(results_of(folder), problems="tiny-arith")


@pytest.mark.parametrize("version", ["0.4.7", "0.4.14", "0.5.0", None])
def test_other_versions_are_refused_by_name(folder: Path, read: Read, version: str | None) -> None:
    results = json.loads(results_of(folder).read_text()) | {"lm_eval_version": version}
    results_of(folder).write_text(json.dumps(results))
    with pytest.raises(InputError, match=f"written by lm-eval {version or 'of an unknown version'}, and"):
        read(samples_of(folder, "each"))


def test_a_task_that_generates_nothing_is_refused(folder: Path, read: Read) -> None:
    results = json.loads(results_of(folder).read_text())
    results["configs"]["tiny_arith_each"]["output_type"] = "multiple_choice"
    results_of(folder).write_text(json.dumps(results))
    with pytest.raises(InputError, match="of a task of type 'multiple_choice', which has no responses"):
        read(samples_of(folder, "each"))


def test_files_that_are_missing_are_named(folder: Path, read: Read) -> None:
    samples, results = samples_of(folder, "each"), results_of(folder)
    results.rename(folder / "kept")
    with pytest.raises(InputError, match=rf"has no {results.name} beside it"):
        read(samples)
    (folder / "kept").rename(results)
    shutil.copy(results, folder / "results_2020-01-01T00-00-00.000001.json")
    with pytest.raises(InputError, match="holds 2 results files of lm-eval"):
        read(folder)
    with pytest.raises(InputError, match=r"no samples_TASK_2020.* beside it: run lm-eval with --log_samples"):
        read(folder / "results_2020-01-01T00-00-00.000001.json")


@pytest.mark.parametrize(
    ("change_row", "message"),
    [
        (lambda row: row.pop("filtered_resps"), "it has no 'filtered_resps' but 'doc_id'"),
        (lambda row: row["resps"].append([]), "line 1 has 2 requests for one document"),
    ],
)
def test_rows_of_another_kind_are_refused(
    folder: Path, read: Read, change_row: Callable[[dict[str, Any]], object], message: str
) -> None:
    change(samples_of(folder, "each"), change_row)
    with pytest.raises(InputError, match=message):
        read(samples_of(folder, "each"))


def test_filters_of_one_document_are_graders_of_one_response(folder: Path, read: Read) -> None:
    samples = samples_of(folder, "each")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    others = [row | {"filter": "loose", "correct": [1.0] * 4} for row in rows]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows + others))
    ((run, n),) = read(samples).runs.items()
    assert n == 32
    assert {g.grader for g in RunDir(run).grades()} == {"source:correct,boxed", "source:correct,loose"}
