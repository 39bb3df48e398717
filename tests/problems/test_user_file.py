"""A user's own file is a benchmark like any other, and a bad row is named before anything is sampled."""

import json

import pandas
import pyarrow
import pytest
from pyarrow import parquet

from opo_eval.errors import InputError, UsageError
from opo_eval.problems import dataset_sha256, load_problems, make_problem
from opo_eval.tabular import SUFFIXES, table_suffix

ROWS = [
    {
        "id": "q1",
        "question": "What is $2+2$?",
        "gold": "4",
        "level": "1",
        "solution": "Because.",
        "note": "x",
    },
    {
        "id": "q2",
        "question": 'Say "a, b"\nand stop.',
        "gold": "\\frac{1}{2}",
        "level": "2",
        "solution": "…",
        "note": "y",
    },
]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def load_rows(tmp_path, *rows, columns=None):
    return load_problems(write_lines(tmp_path / "exam.jsonl", rows), columns=columns)


def refusal(tmp_path, *rows, columns=None):
    with pytest.raises((InputError, UsageError)) as caught:
        load_rows(tmp_path, *rows, columns=columns)
    assert "exam.jsonl" in str(caught.value)
    return str(caught.value)


def write_table(path, rows):
    frame, suffix = pandas.DataFrame(rows), table_suffix(path)
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix.startswith(".json"):
        frame.to_json(path, orient="records", lines=suffix.startswith(".jsonl"))
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix.startswith(".tsv") else ",")
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_problems(tmp_path, suffix):
    problems = load_problems(write_table(tmp_path / f"exam{suffix}", ROWS))
    assert problems == tuple(
        make_problem(
            benchmark="exam",
            source_id=row["id"],
            prompt=row["question"],
            answer=row["gold"],
            tags={"level": row["level"]},
        )
        for row in ROWS
    )


@pytest.mark.parametrize("problem_name", ["problem", "Question", "PROMPT"])
@pytest.mark.parametrize("answer_name", ["answer", "Gold", "target", "expected_answer"])
def test_usual_names_of_columns(tmp_path, problem_name, answer_name):
    (problem,) = load_rows(tmp_path, {problem_name: "2+2", answer_name: 4, "solution": "five"})
    assert (problem.prompt, problem.answer, problem.source_id, problem.tags) == ("2+2", "4", "1", {})


def test_the_first_usual_name_wins_and_the_first_column_of_that_name(tmp_path):
    row = {"prompt": "template", "target": "5", "Answer": "4", "answer": "6", "problem": "2+2"}
    (problem,) = load_rows(tmp_path, row)
    assert (problem.prompt, problem.answer) == ("2+2", "4")


def test_columns_of_ones_own(tmp_path):
    row = {"q": "2+2", "a": "4", "key": 7, "topic": "sums", "level": 3, "problem": "other", "answer": "other"}
    columns = {"problem": "q", "answer": "a", "id": "key", "tags": ["topic"]}
    (problem,) = load_rows(tmp_path, row, columns=columns)
    assert (problem.prompt, problem.answer, problem.source_id, problem.tags) == (
        "2+2",
        "4",
        "7",
        {"topic": "sums"},
    )
    assert load_rows(tmp_path, row, columns={**columns, "tags": "level"})[0].tags == {"level": "3"}
    assert load_rows(tmp_path, row, columns={**columns, "tags": ()})[0].tags == {}


def test_tags_are_short_scalars(tmp_path):
    row = {
        "problem": "2+2",
        "answer": "4",
        "Level": 5,
        "subject": "Sums",
        "type": ["a"],
        "difficulty": 0.5,
        "exam": None,
    }
    (problem,) = load_rows(tmp_path, {**row, "year": "long " * 20})
    assert problem.tags == {"Level": "5", "subject": "Sums", "difficulty": "0.5"}


def test_golds_keep_the_form_of_their_file(tmp_path):
    rows = [{"problem": str(n), "answer": answer} for n, answer in enumerate([4, 4.0, "4.00", 10**25, "007"])]
    expected = ["4", "4.0", "4.00", "1" + "0" * 25, "007"]
    assert [p.answer for p in load_rows(tmp_path, *rows)] == expected
    csv = tmp_path / "golds.csv"
    csv.write_text("problem,answer\na,4\nb,4.0\nc,1e3\n")
    assert [p.answer for p in load_problems(csv)] == ["4", "4.0", "1e3"]
    parquet.write_table(
        pyarrow.table({"problem": ["a", "b"], "answer": [4.0, 0.5]}), tmp_path / "golds.parquet"
    )
    assert [p.answer for p in load_problems(tmp_path / "golds.parquet")] == ["4.0", "0.5"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_integers_that_pandas_made_floats_do_not_pass_in_silence(tmp_path, suffix):
    frame = {"id": [1, None, 3], "problem": ["a", "b", "c"], "answer": [4, None, 5]}
    path = write_table(tmp_path / f"holes{suffix}", frame)
    with pytest.raises(InputError, match=r"row 2 has no (id|gold)"):
        load_problems(path)
    with pytest.raises(
        InputError, match=r"row 2 has no gold: column 'answer' is empty; fill it in or drop the row"
    ):
        load_problems(path, columns={"id": "problem"})


def test_ids_and_tags_that_pandas_made_floats_are_integers_again(tmp_path):
    frame = {"problem": ["a", "b"], "answer": ["1", "2"], "id": [1.0, 3.0], "level": [2, None]}
    first, second = load_problems(write_table(tmp_path / "t.parquet", frame))
    assert (first.source_id, second.source_id) == ("1", "3")
    assert (first.tags, second.tags) == ({"level": "2"}, {})


@pytest.mark.parametrize("bad", [{"problem": None}, {"problem": ""}, {"problem": " \n"}, {}])
def test_no_problem(tmp_path, bad):
    message = refusal(tmp_path, {"problem": "2+2", "answer": "4"}, {**bad, "answer": "4"})
    assert "line 2 has no problem: column 'problem' is empty; fill it in or drop the row" in message


@pytest.mark.parametrize("value", [12, ["a"], {"text": "a"}, True])
def test_a_problem_that_is_no_text(tmp_path, value):
    message = refusal(tmp_path, {"problem": "2+2", "answer": "4"}, {"problem": value, "answer": "4"})
    assert f"line 2 has the problem {value!r} in column 'problem': a problem has to be text" in message


@pytest.mark.parametrize("bad", [{"answer": None}, {"answer": " "}, {"answer": float("nan")}, {}])
def test_no_gold(tmp_path, bad):
    message = refusal(tmp_path, {"problem": "2+2", "answer": "4"}, {"problem": "2+3", **bad})
    assert "line 2 has no gold: column 'answer' is empty; fill it in or drop the row" in message


@pytest.mark.parametrize("value", ["nan", "NaN", "<NA>"])
def test_a_missing_gold_that_was_made_text(tmp_path, value):
    (tmp_path / "exam.csv").write_text(f"problem,answer\n2+2,4\n2+3,{value}\n")
    with pytest.raises(InputError, match=rf"exam\.csv, row 2 has no gold: column 'answer' says '{value}'"):
        load_problems(tmp_path / "exam.csv")


@pytest.mark.parametrize("value", [["4"], {"a": 1}, True])
def test_a_gold_that_is_neither_text_nor_number(tmp_path, value):
    message = refusal(tmp_path, {"problem": "2+2", "answer": value})
    assert f"line 1 has the gold {value!r} in column 'answer': a gold is a text or a number" in message


def test_a_problem_that_appears_twice(tmp_path):
    first = {"problem": "What is  2+2?", "answer": "4"}
    other = {"problem": "1+1", "answer": "2"}
    message = refusal(tmp_path, first, other, {"problem": "What\nis 2+2? ", "answer": "4"})
    assert (
        "line 3 repeats the problem of line 1" in message and "with the same answer '4': keep one" in message
    )
    message = refusal(tmp_path, first, other, {"problem": "What is 2+2?", "answer": "5"})
    assert "with another answer, '5' where that has '4': keep one of them" in message


def test_an_id_that_appears_twice_or_is_missing(tmp_path):
    rows = [{"id": id_, "problem": str(n), "answer": "4"} for n, id_ in enumerate(["a", "b", "a"])]
    assert "line 3 has the id 'a' of line 1: give each problem an id of its own" in refusal(tmp_path, *rows)
    message = refusal(tmp_path, rows[0], {"problem": "1+1", "answer": "2"})
    assert "line 2 has no id but None in column 'id'" in message
    assert "line 1 has no id but ['a'] in column 'id'" in refusal(tmp_path, {**rows[0], "id": ["a"]})


def test_a_solution_is_not_a_gold(tmp_path):
    message = refusal(tmp_path, {"problem": "2+2", "solution": "4"})
    assert "has no column for the answer, which would be called 'answer', 'gold', 'target'" in message
    assert "it has 'problem', 'solution'; say which with columns={'answer': ...}" in message
    assert "no column for the problem" in refusal(tmp_path, {"text": "2+2", "answer": "4"})
    assert "(did you mean 'anwser'?)" in refusal(tmp_path, {"problem": "2+2", "anwser": "4"})


@pytest.mark.parametrize("role", ["problem", "answer", "id", "tags"])
def test_a_chosen_column_that_is_missing(tmp_path, role):
    message = refusal(tmp_path, {"problem": "2+2", "answer": "4"}, columns={role: "answr"})
    assert "has no column 'answr' (did you mean 'answer'?): it has 'problem', 'answer'" in message


def test_a_role_that_no_column_has(tmp_path):
    with pytest.raises(
        UsageError, match="'gold' is no role of a column: choose among 'problem', 'answer', 'id', 'tags'"
    ):
        load_rows(tmp_path, {"problem": "2+2", "answer": "4"}, columns={"gold": "answer"})


def test_real_training_problems_load_as_a_set_of_ones_own(data_dir):
    problems = load_problems(data_dir / "rl_train_sets" / "rllm_aime_1983_2023.jsonl")
    assert len(problems) == 975 and problems[0].benchmark == "rllm_aime_1983_2023"
    assert len({problem.id for problem in problems}) == 975


def test_the_digest_of_a_users_copy_is_that_of_the_built_in_set(data_dir, rows_of, write_rows):
    mine, published = load_problems(write_rows(rows_of("aime24"))), load_problems("aime24", source=data_dir)
    assert dataset_sha256(mine) == dataset_sha256(published)
    assert {p.id for p in mine}.isdisjoint(p.id for p in published)
