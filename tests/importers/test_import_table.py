"""Tables of generations become run directories, or one sentence says which row cannot."""

import csv
import gzip
import json
import os
import resource
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from opo_eval.errors import InputError, OpoEvalError, StoreError, UsageError
from opo_eval.importers import Imported, ImportPlan, import_path
from opo_eval.records import Finish, Reason, Think, Verdict
from opo_eval.store import RunDir, TornTailWarning

ROWS: list[dict[str, Any]] = [
    {"problem": "1+1", "gold": "2", "response": "\\boxed{2}", "model": "a", "score": 1, "stop": "stop"},
    {"problem": "1+1", "gold": "2", "response": "\\boxed{3}", "model": "a", "score": 0, "stop": "length"},
    {"problem": "2+2", "gold": "4", "response": "\\boxed{4}", "model": "a", "score": 1, "stop": "eos"},
    {"problem": "1+1", "gold": "2", "response": "\\boxed{2}", "model": "b", "score": 1, "stop": "stop"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text(text)
    return path


def do_import(path: Path, columns: dict[str, str] | None = None, **options: Any) -> Imported:
    out = path.parent / "runs"
    return import_path(ImportPlan(path=path, out=out, think=Think.NONE, columns=columns or {}, **options))


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".parquet"])
def test_every_format_gives_the_same_runs(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"logs{suffix}", ROWS)
    done = do_import(path, {"checkpoint": "model", "score": "score", "finish": "stop"})
    assert {p.relative_to(tmp_path / "runs").as_posix(): n for p, n in done.runs.items()} == {
        "a/logs": 3,
        "b/logs": 1,
    }
    run = RunDir(tmp_path / "runs/a/logs")
    samples = list(run.samples())
    names = {p.id: p.source_id for p in run.problems()}
    assert [(names[s.problem_id], s.index, s.text, s.finish) for s in samples] == [
        ("1+1", 0, "\\boxed{2}", Finish.STOP),
        ("1+1", 1, "\\boxed{3}", Finish.LENGTH),
        ("2+2", 0, "\\boxed{4}", Finish.STOP),
    ]
    assert [(g.verdict, g.reason, g.grader) for g in run.grades()] == [
        (Verdict.CORRECT, Reason.SOURCE, "source:score"),
        (Verdict.WRONG, Reason.SOURCE, "source:score"),
        (Verdict.CORRECT, Reason.SOURCE, "source:score"),
    ]
    assert run.manifest.settings.source and "sha256:" in run.manifest.settings.source


def test_a_row_may_hold_a_list_of_samples(tmp_path: Path) -> None:
    rows = [
        {"question": "1+1", "answer": 2, "responses": ["a", "b", ""]},
        {"question": "2+2", "answer": 4, "responses": ["c"]},
    ]
    done = do_import(write(tmp_path / "lists.jsonl", rows))
    run = RunDir(tmp_path / "runs/lists/lists")
    assert [(s.index, s.text) for s in run.samples()] == [(0, "a"), (1, "b"), (2, ""), (0, "c")]
    assert [p.answer for p in run.problems()] == ["2", "4"]
    assert "empty responses, which count as samples without an answer: 1" in done.sentences()


def test_importing_again_adds_only_what_is_missing(tmp_path: Path) -> None:
    path = write(tmp_path / "logs.jsonl", ROWS)
    do_import(path, {"checkpoint": "model", "score": "score"})
    run = tmp_path / "runs/a/logs"
    for torn in (RunDir(run).samples_path, run / "grades.jsonl"):  # as if the first import had been killed
        os.truncate(torn, torn.stat().st_size - 9)
    with pytest.warns(TornTailWarning, match="cut off by an interruption"):
        done = do_import(path, {"checkpoint": "model", "score": "score"})
    assert done.runs[run] == 1 and done.already_there == 3
    assert len(list(RunDir(run).samples())) == len(list(RunDir(run).grades())) == 3


def test_another_file_into_the_same_run_is_refused(tmp_path: Path) -> None:
    do_import(write(tmp_path / "logs.jsonl", ROWS), {"checkpoint": "model"})
    with pytest.raises(StoreError, match=r"source was 'logs.jsonl sha256:.*another --out"):
        do_import(write(tmp_path / "logs.jsonl", ROWS[:3]), {"checkpoint": "model"})


def test_rows_are_joined_by_id_or_by_text_and_the_rest_is_named(tmp_path: Path) -> None:
    problems = write(
        tmp_path / "set.jsonl",
        [
            {"id": "one", "problem": "What is  $1+1$?", "answer": "2", "level": 1},
            {"id": "two", "problem": "What is $2+2$?", "answer": "4", "level": 2},
        ],
    )
    logs = write(
        tmp_path / "logs.jsonl",
        [
            {"id": "one", "problem": None, "response": "x"},
            {"id": None, "problem": "What is\n$2+2$?", "response": "y"},
            {"id": "three", "problem": None, "response": "z"},
            {"id": "three", "problem": None, "response": "z"},
        ],
    )
    done = do_import(logs, problems=str(problems), benchmark="mine")
    run = RunDir(tmp_path / "runs/logs/mine")
    assert [(p.source_id, p.answer, p.tags) for p in run.problems()] == [
        ("one", "2", {"level": "1"}),
        ("two", "4", {"level": "2"}),
    ]
    assert done.unjoined == {"three": 2}
    assert "left out: 2 rows of 1 problem that could not be joined by id or text (three)" in done.sentences()


def test_real_generations_are_joined_with_their_problems(tmp_path: Path, data_dir: Path) -> None:
    folder = data_dir / "rg_llama3b_rl_ckpts"
    plan = ImportPlan(
        path=folder / "generations.jsonl.gz",
        out=tmp_path,
        think=Think.TAGGED,
        columns={
            "checkpoint": "checkpoint",
            "benchmark": "benchmark",
            "index": "sample",
            "score": "source_score",
        },
        problems=str(folder / "problems.jsonl"),
    )
    done = import_path(plan)
    assert sorted(done.runs.values()) == [1500, 1500, 2000, 2000] and not done.unjoined
    assert len(RunDir(tmp_path / "step_800/aime2024").problems()) == 30


def row(**changes: Any) -> dict[str, Any]:
    return {k: v for k, v in (ROWS[0] | changes).items() if v is not ...}


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([row(response=None)], {}, r"line 1: response \(column 'response'\) is nothing, it has to be text"),
        ([row(response=7)], {}, r"response \(column 'response'\) is 7, it has to be text"),
        ([row(response=[])], {}, "has to be text, or a list of texts"),
        ([row(), row(gold=None)], {}, r"line 2: gold \(column 'gold'\) is nothing, .* text or a number"),
        ([row(gold="")], {}, r"gold \(column 'gold'\) is ''"),
        ([row(gold=...)], {}, "no column for the gold answer: name it with --map gold=COLUMN"),
        ([row(problem=None)], {}, "line 1 names no problem"),
        ([row(), row(gold="3")], {}, "gives problem '1\\+1' the gold '3', an earlier row '2'"),
        ([row(score=0.5)], {"score": "score"}, r"score \(column 'score'\) is 0.5, it has to be 0 or 1"),
        ([row(score=None)], {"score": "score"}, r"score \(column 'score'\) is nothing"),
        ([row(score=float("nan"))], {"score": "score"}, r"line 1.*NaN|score .* is nothing"),
        ([row(stop="melted")], {"finish": "stop"}, "finish .* is 'melted', it has to be one of stop, eos"),
        ([row(i=-1)], {"index": "i"}, "index .* is -1, it has to be a whole number"),
        ([row(i=1.5)], {"index": "i"}, "index .* is 1.5, it has to be a whole number"),
        ([row(i=2**63)], {"index": "i"}, "index .* is 9223372036854775808, .* whole number below 2"),
        ([row(i=10**100)], {"n_tokens": "i"}, r"n_tokens \(column 'i'\) is 1000.*whole number below 2"),
        (
            [row(response=["a", "b"], score=1)],
            {"score": "score"},
            r"line 1: score \(column 'score'\) is 1, it has to be a list of 2, as the row has 2 responses",
        ),
        ([row(response=["a", "b"])], {"finish": "stop"}, "finish .* is 'stop', it has to be a list of 2"),
        ([row(response=["a", "b"], n=9)], {"n_tokens": "n"}, "n_tokens .* is 9, it has to be a list of 2"),
        (
            [row(response=["a", "b"], score=[1, 0, 1])],
            {"score": "score"},
            r"score .* is \[1, 0, 1\], it has to be a list of 2, one a response, and has 3",
        ),
        ([row(response=["a", "b"], i=[0])], {"index": "i"}, r"index .* is \[0\], .* list of 2, .* has 1"),
        ([row(response=["a", "b"], i=[4, 4])], {"index": "i"}, "line 1 repeats sample 4"),
        ([row(response=["a", "b"], score=[1, 0.5])], {"score": "score"}, "score .* is 0.5, it has to be 0"),
        (
            [row(i=0), row(i=0)],
            {"index": "i"},
            r"line 2 repeats sample 0 of problem '1\+1' of bad \(first at .*line 1\)",
        ),
        ([row()], {"response": "reponse"}, r"no column 'reponse' \(did you mean 'response'\?\)"),
        ([row()], {"colour": "model"}, "--map has no role 'colour': choose among"),
        (
            [row(response=..., text="x")],
            {},
            "that holds the responses with --map response=COLUMN",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_one_sentence_and_writes_nothing(
    tmp_path: Path, rows: list[dict[str, Any]], columns: dict[str, str], message: str
) -> None:
    with pytest.raises(OpoEvalError, match=message):
        do_import(write(tmp_path / "bad.jsonl", rows), columns)
    assert not (tmp_path / "runs").exists()


def test_a_missing_file_and_a_wrong_suffix_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing.jsonl"):
        do_import(tmp_path / "nothing.jsonl")
    (tmp_path / "logs.txt").write_text("x")
    with pytest.raises(UsageError, match=r"logs.txt is not a table by its name"):
        do_import(tmp_path / "logs.txt")


def test_invalid_utf8_is_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(json.dumps(ROWS[0]).encode() + b'\n{"response": "\xff"}\n')
    with pytest.raises(InputError, match=r"bad.jsonl, line 2.*UTF-8"):
        do_import(tmp_path / "bad.jsonl")


def test_a_gold_that_contradicts_the_problem_set_is_refused(tmp_path: Path) -> None:
    problems = write(tmp_path / "set.jsonl", [{"id": "one", "problem": "1+1", "answer": "2"}])
    logs = write(tmp_path / "logs.jsonl", [{"id": "one", "gold": "2.0", "response": "x"}])
    do_import(logs, {"gold": "gold"}, problems=str(problems))
    logs = write(tmp_path / "logs2.jsonl", [{"id": "one", "gold": "3", "response": "x"}])
    with pytest.raises(InputError, match="has the gold '3', the problem set has '2' for 'one'"):
        do_import(logs, {"gold": "gold"}, problems=str(problems))
    do_import(logs, problems=str(problems))  # by its usual name alone it may be the model's answer
    (asked,) = RunDir(tmp_path / "runs/logs2/set").problems()
    assert asked.answer == "2"


def test_names_come_from_the_files_without_their_suffix(tmp_path: Path) -> None:
    problems = write(tmp_path / "exam.v2.jsonl", [{"id": "one", "problem": "1+1", "answer": "2"}])
    logs = write(tmp_path / "Qwen2.5-7B.jsonl.gz", [{"id": "one", "response": "x", "b": None, "gold": "2"}])
    (path,) = do_import(logs).runs
    assert path.parts[-2:] == ("Qwen2.5-7B", "Qwen2.5-7B")
    (path,) = do_import(logs, {"benchmark": "b"}, problems=str(problems)).runs
    assert path.parts[-2:] == ("Qwen2.5-7B", "exam.v2")
    (path,) = do_import(logs, problems=str(problems), benchmark="mine").runs
    assert path.parts[-2:] == ("Qwen2.5-7B", "mine")


@pytest.mark.parametrize(("index", "indices"), [(..., [0, 1]), (5, [5, 6]), ([3, 1], [3, 1])])
def test_each_response_of_a_list_has_its_own_cells(tmp_path: Path, index: Any, indices: list[int]) -> None:
    made = row(response=["a", "b"], score=[1, 0], n=[7, None], stop=["stop", "length"], i=index)
    columns = {"score": "score", "n_tokens": "n", "finish": "stop"} | ({} if index is ... else {"index": "i"})
    do_import(write(tmp_path / "lists.jsonl", [made]), columns)
    run = RunDir(tmp_path / "runs/lists/lists")
    assert [(s.text, s.index, s.n_tokens, s.finish) for s in run.samples()] == [
        ("a", indices[0], 7, Finish.STOP),
        ("b", indices[1], None, Finish.LENGTH),
    ]
    assert [(g.index, g.verdict) for g in run.grades()] == [
        (indices[0], Verdict.CORRECT),
        (indices[1], Verdict.WRONG),
    ]


def test_more_checkpoints_than_a_process_may_open_files_for(tmp_path: Path) -> None:
    rows = [row(model=f"m{number}", response=str(n)) for n in range(2) for number in range(100)]
    path = write(tmp_path / "many.jsonl", rows)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        done = do_import(path, {"checkpoint": "model"})
        again = do_import(path, {"checkpoint": "model"})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(done.runs) == 100 and set(done.runs.values()) == {2}
    assert again.already_there == 200 and set(again.runs.values()) == {0}
    assert [s.text for s in RunDir(tmp_path / "runs/m99/many").samples()] == ["0", "1"]


def test_half_a_surrogate_pair_does_not_stop_an_import(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_text(r'{"problem": "1+1 \ud83d", "gold": "2\ude00", "response": "\ud83d\ude00 \uDE00"}' + "\n")
    do_import(path)
    run = RunDir(tmp_path / "runs/cut/cut")
    assert [(p.prompt, p.answer) for p in run.problems()] == [("1+1 ?", "2?")]
    assert [s.text for s in run.samples()] == ["\N{GRINNING FACE} ?"]


def test_nothing_to_join_is_an_error_that_names_the_set(tmp_path: Path) -> None:
    problems = write(tmp_path / "set.jsonl", [{"id": "one", "problem": "1+1", "answer": "2"}])
    logs = write(tmp_path / "logs.jsonl", [{"id": "nine", "gold": "2", "response": "x"}])
    with pytest.raises(InputError, match=r"none of its problems \(nine\) is in .*set.jsonl"):
        do_import(logs, problems=str(problems))


def test_a_hundred_megabyte_response_is_imported(tmp_path: Path) -> None:
    path = write(tmp_path / "big.jsonl", [row(response="x" * 100_000_000)])
    do_import(path, {"checkpoint": "model"})
    (sample,) = RunDir(tmp_path / "runs/a/big").samples()
    assert len(sample.text) == 100_000_000
