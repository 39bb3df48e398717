"""A problem and its samples as text that cannot drive the terminal."""

from dataclasses import replace
from pathlib import Path

import pytest
from builders import grade, problem, write_run

from opo_eval.errors import InputError
from opo_eval.records import Verdict
from opo_eval.show import find_problem, show_problem, show_problems
from opo_eval.store import RunDir

PROBLEMS = tuple(problem(number) for number in (1, 2, 12))


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    texts = {p.source_id: ["so \\boxed{2}", "\x1b[31mred\x07 \x9b2J"] for p in PROBLEMS}
    made = write_run(tmp_path / "run", PROBLEMS, texts)
    with made.writer() as writer:
        writer.append_grades(
            [grade(p, 0, extracted="2") for p in PROBLEMS]
            + [grade(p, 1, Verdict.NO_ANSWER, lenient_verdict=Verdict.WRONG) for p in PROBLEMS]
        )
    return made


def test_problems_are_listed_with_their_scores(run: RunDir) -> None:
    lines = show_problems(run).splitlines()
    assert lines[0] == "c on sums, graded by g"
    assert [line.split() for line in lines[1:]] == [
        ["p1", "1/2", "1+1"],
        ["p2", "1/2", "2+2"],
        ["p12", "1/2", "12+12"],
    ]


def test_a_problem_is_shown_with_gold_verdicts_and_texts(run: RunDir) -> None:
    text = show_problem(run, "p2")
    assert "gold: 4" in text and "1/2 correct" in text
    assert "sample 0; correct (equivalent), answer '2'; finish stop" in text
    assert "sample 1; no_answer (equivalent, lenient wrong)" in text


def test_control_characters_are_shown_not_obeyed(run: RunDir) -> None:
    text = show_problem(run, "p1")
    assert "\\x1b[31mred\\x07 \\x9b2J" in text
    assert not {"\x1b", "\x07", "\x9b"} & set(text)


def test_a_problem_is_found_by_a_part_of_its_id(run: RunDir) -> None:
    assert find_problem(run, "12") == PROBLEMS[2]
    assert find_problem(run, PROBLEMS[0].id[:6]) == PROBLEMS[0]
    assert find_problem(run, "p1") == PROBLEMS[0]  # a whole id wins over parts of others
    with pytest.raises(InputError, match=r"'p' fits 3 problems of .* \(p1, p2, p12\): give a whole id"):
        find_problem(run, "p")
    with pytest.raises(InputError, match=r"has no problem 'p31' \(did you mean 'p1'\?\): `opo-eval show"):
        find_problem(run, "p31")


def test_a_long_response_is_cut_with_a_word(tmp_path: Path) -> None:
    made = write_run(tmp_path / "long", PROBLEMS[:1], {"p1": ["x" * 10_000]})
    assert "[... 6000 more characters in the run]" in show_problem(made, "p1")


def test_names_from_files_cannot_drive_the_terminal(tmp_path: Path) -> None:
    asked = [replace(PROBLEMS[n], source_id=f"\x1b[2J{n}\n") for n in range(2)]
    texts = {p.source_id: ["x"] for p in asked}
    made = write_run(tmp_path / "run", asked, texts, checkpoint="c\x1b]0;c\x07")
    lines = show_problems(made).splitlines()
    assert lines[0] == "c\\x1b]0;c\\x07 on sums, graded by nobody"
    assert [line.split()[0] for line in lines[1:]] == ["\\x1b[2J0", "\\x1b[2J1"]
    with pytest.raises(InputError) as refused:
        find_problem(made, "[2J")
    assert "\x1b" not in str(refused.value)
