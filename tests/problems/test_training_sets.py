"""Problems to train on: what is left out is counted, a benchmark is never among them, the hub is offline."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from opo_eval.errors import InputError, UsageError
from opo_eval.problems import load_problems, make_problem
from opo_eval.problems.training import SKYWORK_OR1, load_training_problems
from opo_eval.problems.user_file import Flaw

DIFFICULTY = {
    "DeepSeek-R1-Distill-Qwen-1.5B": 12,
    "DeepSeek-R1-Distill-Qwen-7B": 3,
    "DeepSeek-R1-Distill-Qwen-32B": None,
}


def verl_row(question: Any, ground_truth: Any, **fields: Any) -> dict[str, Any]:
    """A row as Skywork-OR1-RL-Data has it."""
    return {
        "data_source": "train-math-deepscaler",
        "prompt": [{"content": question, "role": "user"}],
        "ability": "math",
        "reward_model": {"ground_truth": ground_truth, "style": "rule"},
        "extra_info": {"index": 0, "model_difficulty": DIFFICULTY},
    } | fields


ROWS = [
    verl_row("What is $2+2$?", '["4"]'),
    verl_row("Solve $2x=1$.", '["\\\\frac{1}{2}"]'),
    verl_row("Where is $x^2\\le1$?", "[-1,1]"),
    verl_row("What is $3+3$?", "[]"),
    verl_row("What is $x$ if $x^2=1$?", '["1", "-1"]'),
    verl_row("What is  $2+2$? ", '["4"]'),
    verl_row(" ", '["4"]'),
]


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


# --- users' files -----------------------------------------------------------------------------------


def test_real_training_sets_lose_only_what_cannot_be_used(data_dir: Path) -> None:
    folder = data_dir / "rl_train_sets"
    math = load_training_problems(folder / "rllm_math_train.jsonl")
    rows = [json.loads(line) for line in (folder / "rllm_math_train.jsonl").read_bytes().splitlines()]
    without_gold = {row["id"] for row in rows if not row["answer"]}
    assert math.left_out == {Flaw.NO_GOLD: len(without_gold), Flaw.REPEATED: 1}
    assert len(math.problems) == len(rows) - 5
    left_out = {row["id"] for row in rows} - {problem.source_id for problem in math.problems}
    assert left_out == without_gold | {"rllm-math-957"}
    aime = load_training_problems(folder / "rllm_aime_1983_2023.jsonl")
    assert aime.problems == load_problems(folder / "rllm_aime_1983_2023.jsonl") and aime.left_out == {}


def test_every_reason_is_counted_and_said(tmp_path: Path) -> None:
    rows = [
        {"problem": "2+2", "answer": "4"},
        {"problem": "2+3", "answer": None},
        {"problem": "2+4", "answer": " "},
        {"problem": "", "answer": "4"},
        {"problem": " 2+2", "answer": "4"},
        {"problem": "2+2", "answer": "5"},
    ]
    path = write_lines(tmp_path / "exam.jsonl", rows)
    loaded = load_training_problems(path)
    assert [problem.prompt for problem in loaded.problems] == ["2+2"]
    assert loaded.sentence() == (
        f"1 problem to train on from {path}; left out: 2 no gold, 1 no problem, 1 repeated, "
        "1 repeated with another gold"
    )
    with pytest.raises(InputError, match="line 2 has no gold"):
        load_problems(path)


def test_columns_are_chosen_as_for_a_benchmark(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "exam.jsonl", [{"q": "2+2", "a": "4"}, {"q": "1+1", "a": ""}])
    loaded = load_training_problems(path, columns={"problem": "q", "answer": "a"})
    assert [problem.prompt for problem in loaded.problems] == ["2+2"]
    with pytest.raises(InputError, match="no column for the problem"):
        load_training_problems(path)


def test_what_is_no_matter_of_single_rows_is_still_refused(tmp_path: Path) -> None:
    rows = [{"id": "a", "problem": "2+2", "answer": "4"}, {"id": "a", "problem": "2+3", "answer": "5"}]
    with pytest.raises(InputError, match="line 2 has the id 'a' of line 1"):
        load_training_problems(write_lines(tmp_path / "ids.jsonl", rows))
    with pytest.raises(InputError, match="is empty: it has no rows"):
        load_training_problems(write_lines(tmp_path / "none.jsonl", []))
    with pytest.raises(InputError, match=r"holes.jsonl gives no problem to train on \(1 no gold\)"):
        load_training_problems(write_lines(tmp_path / "holes.jsonl", [{"problem": "2+3", "answer": ""}]))


# --- how many ---------------------------------------------------------------------------------------


def test_some_are_drawn_by_the_generator_in_the_order_of_the_file(data_dir: Path) -> None:
    path = data_dir / "rl_train_sets" / "rllm_aime_1983_2023.jsonl"
    everything = load_training_problems(path).problems

    def draw(seed: int) -> list[int]:
        drawn = load_training_problems(path, n=200, rng=np.random.default_rng(seed)).problems
        return [everything.index(problem) for problem in drawn]

    first = draw(1)
    assert first == sorted(set(first)) and len(first) == 200
    assert draw(1) == first and draw(2) != first
    with pytest.raises(UsageError, match=r"976 problems cannot be drawn from .*: it has 975"):
        load_training_problems(path, n=976, rng=np.random.default_rng(0))
    with pytest.raises(UsageError, match="cannot be drawn without a random generator: give rng"):
        load_training_problems(path, n=5)


def test_tiny_arith_is_generated_and_never_the_benchmarks() -> None:
    loaded = load_training_problems("tiny-arith", n=500, rng=np.random.default_rng(3))
    benchmark = {problem.prompt for problem in load_problems("tiny-arith")}
    assert len({problem.prompt for problem in loaded.problems} - benchmark) == 500
    again = load_training_problems("tiny-arith", n=500, rng=np.random.default_rng(3))
    assert again == loaded
    with pytest.raises(UsageError, match="tiny-arith is generated without end: give n and rng"):
        load_training_problems("tiny-arith", rng=np.random.default_rng(3))


# --- names ------------------------------------------------------------------------------------------


def test_a_benchmark_is_not_trained_on(tmp_path: Path, data_dir: Path) -> None:
    for name in ("math500", str(data_dir / "math500" / "math500.jsonl"), str(tmp_path / "aime24.csv")):
        with pytest.raises(UsageError, match="is a benchmark: a policy that is trained on it cannot be"):
            load_training_problems(name)


def test_an_unknown_name_or_an_option_without_meaning(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no training set 'skywork-or' \(did you mean 'skywork-or1'\?\)"):
        load_training_problems("skywork-or")
    with pytest.raises(InputError, match="there is no file"):
        load_training_problems(tmp_path / "absent.jsonl")
    for name, option in (
        ("tiny-arith", {"source": tmp_path}),
        ("skywork-or1", {"columns": {"problem": "q"}}),
        ("exam.csv", {"source": tmp_path}),
    ):
        with pytest.raises(UsageError, match=f"{next(iter(option))} has no meaning for the training set"):
            load_training_problems(name, **option)


# --- verl's layout ----------------------------------------------------------------------------------


def test_a_difficulty_without_a_model_is_kept_without_one(tmp_path: Path) -> None:
    rows = [
        verl_row(f"What is ${i}+2$?", "4", extra_info={"model_difficulty": value})
        for i, value in enumerate((3, "hard", None))
    ]
    path = tmp_path / "math.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    found = [problem.tags.get("model_difficulty") for problem in load_training_problems(path).problems]
    assert found == ["3", "hard", None]


def test_skywork_rows_become_problems_with_their_difficulty(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "math.parquet", ROWS)
    loaded = load_training_problems("skywork-or1", source=path)
    assert [(p.source_id, p.answer) for p in loaded.problems] == [
        ("1", "4"),
        ("2", "\\frac{1}{2}"),
        ("3", "[-1,1]"),
    ]
    assert loaded.problems[0] == make_problem(
        benchmark="skywork-or1",
        source_id="1",
        prompt="What is $2+2$?",
        answer="4",
        tags={
            "model_difficulty.DeepSeek-R1-Distill-Qwen-1.5B": "12",
            "model_difficulty.DeepSeek-R1-Distill-Qwen-7B": "3",
            "data_source": "train-math-deepscaler",
        },
    )
    assert loaded.left_out == {
        Flaw.NO_GOLD: 1,
        Flaw.SEVERAL_GOLDS: 1,
        Flaw.REPEATED: 1,
        Flaw.NO_PROBLEM: 1,
    }


@pytest.mark.parametrize("writes", [write_parquet, write_lines])
def test_a_users_file_in_that_layout_is_known_by_its_first_row(tmp_path: Path, writes: Any) -> None:
    suffix = "parquet" if writes is write_parquet else "jsonl"
    system = {"content": "Answer in a box.", "role": "system"}
    asked = {"content": "What is $1+1$?", "role": "user"}
    rows = [{"prompt": [system, asked], "reward_model": {"ground_truth": "2"}}]
    (problem,) = load_training_problems(writes(tmp_path / f"mine.{suffix}", rows)).problems
    assert (problem.benchmark, problem.prompt, problem.answer) == ("mine", "What is $1+1$?", "2")


def test_rows_that_are_not_of_that_layout_are_named(tmp_path: Path) -> None:
    two = [{"content": "a", "role": "user"}, {"content": "b", "role": "user"}]
    path = write_lines(tmp_path / "mine.jsonl", [ROWS[0], verl_row("", "1", prompt=two)])
    with pytest.raises(InputError, match="line 2 has 2 user messages: a problem is asked in one"):
        load_training_problems(path)
    path = write_lines(tmp_path / "mine.jsonl", [ROWS[0], verl_row("", "1", prompt="text")])
    with pytest.raises(
        InputError, match="line 2 has the prompt 'text': it has to be a list of chat messages"
    ):
        load_training_problems(path)


def test_skywork_is_found_in_a_folder_of_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    download = tmp_path / "download"
    write_parquet(download / SKYWORK_OR1.hub[0].path, ROWS)
    assert len(load_training_problems("skywork-or1", source=download).problems) == 3
    data = tmp_path / "data"
    write_parquet(data / "Skywork" / "Skywork-OR1-RL-Data" / SKYWORK_OR1.hub[0].path, ROWS)
    monkeypatch.setenv("OPO_EVAL_DATA", str(data))
    assert len(load_training_problems("skywork-or1").problems) == 3
    with pytest.raises(InputError, match="does not hold skywork-or1: there is neither"):
        load_training_problems("skywork-or1", source=tmp_path)


# --- the hub, offline -------------------------------------------------------------------------------

SCRIPT = """
import json
from opo_eval.errors import OpoEvalError
from opo_eval.problems.training import load_training_problems
try:
    loaded = load_training_problems("skywork-or1")
    print(json.dumps([[problem.prompt for problem in loaded.problems], loaded.left_out]))
except OpoEvalError as error:
    print(json.dumps(str(error)))
"""


def load_offline(cache: Path) -> Any:
    """In a process of its own, because huggingface_hub reads its environment when it is imported."""
    environment = {name: value for name, value in os.environ.items() if name != "OPO_EVAL_DATA"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_skywork_comes_from_the_hubs_cache_at_its_revision(tmp_path: Path) -> None:
    file = SKYWORK_OR1.hub[0]
    repository = tmp_path / f"datasets--{file.repository.replace('/', '--')}"
    snapshot = repository / "snapshots"
    write_parquet(snapshot / ("0" * 40) / file.path, [verl_row("Moved on.", "1")])
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    absent = load_offline(tmp_path)
    assert absent.startswith(f"{file.path} of Skywork/Skywork-OR1-RL-Data at {file.revision} is neither in")
    write_parquet(snapshot / file.revision / file.path, ROWS)
    prompts, left_out = load_offline(tmp_path)
    assert prompts == ["What is $2+2$?", "Solve $2x=1$.", "Where is $x^2\\le1$?"]
    assert sum(left_out.values()) == 4
    assert len(file.revision) == 40 and int(file.revision, 16)
