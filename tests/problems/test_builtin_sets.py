"""The real sets from every layout, and what is said of a copy that is short, leaky or edited."""

import json
import random
from collections import Counter
from importlib.resources import files

import pandas
import pytest

from opo_eval.errors import InputError, UsageError
from opo_eval.problems import BENCHMARKS, benchmark_names, dataset_sha256, load_problems
from opo_eval.problems.reference import digest_rows, main
from opo_eval.problems.verify import DIGESTS_FILE, reference_rows

COUNTS = {"math500": 500, "aime24": 30, "aime25": 30}


@pytest.fixture(autouse=True)
def no_data_variable(monkeypatch):
    monkeypatch.delenv("OPO_EVAL_DATA", raising=False)


def refusal(name, path):
    with pytest.raises(InputError) as caught:
        load_problems(name, source=path)
    message = str(caught.value)
    assert str(path) in message and f"is not the published {name}" in message
    assert "take the original" in message and "set of your own" in message
    return message


# --- the published sets -----------------------------------------------------------------------------


def test_names():
    assert benchmark_names() == ("math500", "aime24", "aime25", "tiny-arith")


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_the_published_sets(data_dir, rows_of, name, count):
    problems = load_problems(name, source=data_dir)
    assert len(problems) == count == BENCHMARKS[name].count
    assert dataset_sha256(problems) == BENCHMARKS[name].sha256
    assert {problem.benchmark for problem in problems} == {name}
    assert (
        len({problem.id for problem in problems}) == len({problem.source_id for problem in problems}) == count
    )
    for problem, row in zip(problems, rows_of(name), strict=True):
        assert (problem.prompt, problem.answer) == (row["problem"].strip(), str(row["answer"]))


def test_tags_of_math500(data_dir):
    problems = load_problems("math500", source=data_dir)
    levels = Counter(problem.tags["level"] for problem in problems)
    assert levels == {"1": 43, "2": 90, "3": 105, "4": 128, "5": 134}
    subjects = Counter(problem.tags["subject"] for problem in problems)
    assert subjects["Algebra"] == 124 and subjects["Counting & Probability"] == 38 and len(subjects) == 7
    assert all(problem.source_id.startswith("test/") for problem in problems)


@pytest.mark.parametrize(("name", "year"), [("aime24", 2024), ("aime25", 2025)])
def test_ids_answers_and_tags_of_aime(data_dir, name, year):
    problems = load_problems(name, source=data_dir)
    exams = [(exam, number) for exam in ("I", "II") for number in range(1, 16)]
    assert [problem.source_id for problem in problems] == [
        f"{year}-{exam}-{number}" for exam, number in exams
    ]
    assert [problem.tags for problem in problems] == [{"exam": exam} for exam, _ in exams]
    assert all(problem.answer == str(int(problem.answer)) for problem in problems)


def test_tiny_arith_needs_no_source():
    problems = load_problems("tiny-arith")
    assert len(problems) == 64 and problems[0].benchmark == "tiny-arith"
    with pytest.raises(UsageError, match="source has no meaning for 'tiny-arith': leave it out"):
        load_problems("tiny-arith", source=".")


def test_reference_digests_are_those_of_the_data_and_hold_no_text(data_dir):
    text = files("opo_eval.problems").joinpath(DIGESTS_FILE).read_text("utf-8")
    assert list(json.loads(text)) == list(BENCHMARKS)
    for name, benchmark in BENCHMARKS.items():
        assert digest_rows(benchmark, data_dir) == list(reference_rows(name))
        problems = load_problems(name, source=data_dir)
        assert not any(problem.prompt[:30] in text for problem in problems)


def test_the_command_that_prints_the_reference(data_dir, capsys):
    main([str(data_dir)])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{name} {count} {BENCHMARKS[name].sha256} as pinned" for name, count in COUNTS.items()]


def test_the_command_says_where_the_data_is_not_as_pinned(rows_of, write_rows, tmp_path, capsys):
    for name, benchmark in BENCHMARKS.items():
        write_rows(rows_of(name)[name == "aime24" :], benchmark.data_path)
    main([str(tmp_path)])
    verdicts = [line.split(" ", 3)[3] for line in capsys.readouterr().out.splitlines()]
    assert verdicts == ["as pinned", f"PINNED IS {BENCHMARKS['aime24'].sha256}", "as pinned"]


# --- where a set may lie ----------------------------------------------------------------------------


def test_layouts_of_a_source(data_dir, tmp_path, rows_of):
    published = load_problems("aime25", source=data_dir)
    pandas.DataFrame(rows_of("aime25")).to_parquet(tmp_path / "whole.parquet")
    snapshot = tmp_path / "snapshot" / BENCHMARKS["aime25"].hub[0].path
    snapshot.parent.mkdir(parents=True)
    snapshot.write_bytes((tmp_path / "whole.parquet").read_bytes())
    sources = (
        data_dir / "aime",
        data_dir / "aime/aime2025.jsonl",
        tmp_path / "whole.parquet",
        tmp_path / "snapshot",
    )
    for source in (*sources, str(data_dir)):
        assert load_problems("aime25", source=source) == published


@pytest.mark.parametrize("folder", ["MathArena/", ""])
def test_downloads_of_both_exams_side_by_side(data_dir, tmp_path, rows_of, folder):
    for exam, rows in (("I", rows_of("aime24")[:15]), ("II", rows_of("aime24")[15:])):
        path = tmp_path / f"{folder}aime_2024_{exam}" / "data/train-00000-of-00001.parquet"
        path.parent.mkdir(parents=True)
        columns = [
            {"problem_idx": row["number"], "problem": f"{row['problem']}\n", "answer": row["answer"]}
            for row in rows
        ]
        pandas.DataFrame(columns).to_parquet(path)
    assert load_problems("aime24", source=tmp_path) == load_problems("aime24", source=data_dir)


def test_the_data_variable_is_read_without_a_source(data_dir, monkeypatch, tmp_path):
    monkeypatch.setenv("OPO_EVAL_DATA", str(data_dir))
    assert len(load_problems("aime24")) == 30
    monkeypatch.setenv("OPO_EVAL_DATA", str(tmp_path))
    with pytest.raises(
        InputError, match=r"does not hold aime24: there is neither .*aime/aime2024\.jsonl, nor "
    ):
        load_problems("aime24")


def test_a_source_that_is_not_there(tmp_path):
    with pytest.raises(
        InputError, match=r"there is no file or folder .*none to take math500 from: check the path"
    ):
        load_problems("math500", source=tmp_path / "none")


def test_columns_have_no_meaning_for_a_built_in_set(data_dir):
    with pytest.raises(UsageError, match="columns has no meaning for 'aime24': leave it out"):
        load_problems("aime24", source=data_dir, columns={"problem": "question"})


def test_a_copy_without_the_column_of_answers(rows_of, write_rows):
    rows = [{"problem": row["problem"], "answr": row["answer"]} for row in rows_of("aime24")]
    with pytest.raises(InputError, match=r"copy\.jsonl has no column 'answer' \(did you mean 'answr'\?\)"):
        load_problems("aime24", source=write_rows(rows))


def test_a_copy_with_a_problem_that_is_no_text(rows_of, write_rows):
    rows = rows_of("aime24")
    rows[2]["problem"] = 3
    with pytest.raises(InputError, match=r"copy\.jsonl, line 3 has no problem but 3: a problem is text"):
        load_problems("aime24", source=write_rows(rows))


# --- copies that are the same set -------------------------------------------------------------------


@pytest.mark.parametrize("name", COUNTS)
def test_order_white_space_columns_and_leading_zeros_make_no_difference(data_dir, rows_of, write_rows, name):
    rows = rows_of(name)
    random.Random(1).shuffle(rows)
    answers = [f"{row['answer']:03d}" if BENCHMARKS[name].integer_answers else row["answer"] for row in rows]
    copy = [
        {"answer": f" {answer}\n", "problem": row["problem"].replace("\n", "\r\n\t") + "\n"}
        for row, answer in zip(rows, answers, strict=True)
    ]
    problems = load_problems(name, source=write_rows(copy))
    published = load_problems(name, source=data_dir)
    assert [(p.id, p.source_id, p.answer, p.tags) for p in problems] == [
        (p.id, p.source_id, p.answer, p.tags) for p in published
    ]
    assert dataset_sha256(problems) == dataset_sha256(published)


# --- copies that are not ----------------------------------------------------------------------------


def test_a_short_copy(rows_of, write_rows):
    message = refusal("aime24", write_rows(rows_of("aime24")[:15]))
    assert (
        "(15 problems of 30; 15 missing: 2024-II-1, 2024-II-2, 2024-II-3, 2024-II-4, 2024-II-5 and 10 more)"
        in message
    )


def test_a_row_too_many(rows_of, write_rows):
    rows = rows_of("aime25")
    message = refusal("aime25", write_rows([*rows, rows[3]]))
    assert "(31 problems of 30; 1 extra: 2025-I-4 ('Find the number of ordered pairs $(x,y)$'" in message
    message = refusal("aime25", write_rows([*rows, {"problem": "What is $1+1$?", "answer": 2}]))
    assert "1 extra: copy.jsonl, line 31 ('What is $1+1$?')" in message


def test_a_repeated_row_in_place_of_another(rows_of, write_rows):
    rows = rows_of("aime25")
    message = refusal("aime25", write_rows([*rows[:-1], rows[0]]))
    assert "(30 problems of 30; 1 missing: 2025-II-15; 1 extra: 2025-I-1 (" in message


def test_an_edited_answer(rows_of, write_rows):
    rows = rows_of("aime24")
    assert rows[7]["answer"] == 197
    rows[7]["answer"] = 198
    assert "1 changed: 2024-I-8 (answer '198' instead of '197')" in refusal("aime24", write_rows(rows))
    rows[7]["answer"] = None
    assert "1 changed: 2024-I-8 (answer '' instead of '197')" in refusal("aime24", write_rows(rows))


def test_an_edited_answer_that_is_no_integer(rows_of, write_rows):
    rows = rows_of("math500")
    rows[0]["answer"] = "(3, \\pi)"
    message = refusal("math500", write_rows(rows))
    assert (
        "1 changed: test/precalculus/807.json (answer '(3, \\\\pi)' instead of the published one)" in message
    )


def test_answers_that_changed_places(rows_of, write_rows):
    rows = rows_of("aime24")
    rows[0]["answer"], rows[1]["answer"] = rows[1]["answer"], rows[0]["answer"]
    message = refusal("aime24", write_rows(rows))
    assert (
        "2 changed: 2024-I-1 (answer '25' instead of '204'), 2024-I-2 (answer '204' instead of '25')"
        in message
    )


def test_leaked_answers(rows_of, write_rows):
    rows = rows_of("math500")
    for row in rows:
        row["problem"] += f"\nAnswer: {row['answer']}"
    message = refusal("math500", write_rows(rows))
    assert "(500 problems of 500; 500 changed: test/precalculus/807.json (problem text), " in message
    assert "and 495 more)" in message and len(message) < 1000


def test_a_mistyped_problem(rows_of, write_rows):
    rows = rows_of("aime24")
    assert "rests on the inside" in rows[22]["problem"]
    rows[22]["problem"] = rows[22]["problem"].replace("rests on the inside", "rests on the outside")
    assert "1 changed: 2024-II-8 (problem text)" in refusal("aime24", write_rows(rows))
    rows[22]["answer"] = 128
    message = refusal("aime24", write_rows(rows))
    assert "1 changed: 2024-II-8 (problem text, and answer '128' instead of '127')" in message


def test_a_mistyped_problem_without_ids(rows_of, write_rows):
    rows = [{"problem": row["problem"], "answer": row["answer"]} for row in rows_of("aime25")]
    rows[0]["problem"] = rows[0]["problem"].replace("97_b", "79_b")
    message = refusal("aime25", write_rows(rows))
    assert (
        "1 missing: 2025-I-1; 1 extra: copy.jsonl, line 1 ('Find the sum of all integer bases $b>9$ "
        in message
    )


def test_another_year_is_another_set(data_dir):
    message = refusal("aime24", data_dir / "aime/aime2025.jsonl")
    assert "30 missing: 2024-I-1, " in message and "30 extra: 2025-I-1 (" in message


# --- names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "near"), [("math50", "math500"), ("AIME-24", "aime24"), ("tiny_arith", "tiny-arith")]
)
def test_an_unknown_name_lists_the_known_and_the_nearest(name, near):
    with pytest.raises(UsageError, match=rf"no benchmark '{name}' \(did you mean '{near}'\?\)") as caught:
        load_problems(name)
    assert "known are 'math500', 'aime24', 'aime25', 'tiny-arith'" in str(caught.value)
    assert "a file of your own is given by its path (.jsonl, " in str(caught.value)


def test_a_path_that_leads_nowhere_is_not_taken_for_a_name(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*exam\.csv: check the path"):
        load_problems(tmp_path / "exam.csv")
    (tmp_path / "exam.txt").touch()
    with pytest.raises(UsageError, match=r"exam\.txt is not a table by its name: it has to end in \.jsonl"):
        load_problems(tmp_path / "exam.txt")


def test_a_file_with_the_name_of_a_built_in_set(data_dir):
    path = data_dir / "math500" / "math500.jsonl"
    with pytest.raises(
        UsageError, match=r"math500\.jsonl has the name of a built-in set: load 'math500' with this"
    ):
        load_problems(path)


def test_a_source_has_no_meaning_for_a_file(data_dir, write_rows):
    path = write_rows([{"problem": "2+2", "answer": "4"}])
    with pytest.raises(UsageError, match=r"source has no meaning for '.*copy\.jsonl': leave it out"):
        load_problems(path, source=data_dir)
