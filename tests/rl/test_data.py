"""Which problems a run trains on: real training sets against real benchmarks."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from rl.tiny_policy import tiny_config

from opo_eval.errors import InputError, UsageError
from opo_eval.rl.data import load_data
from opo_eval.rl.trainer import train


@pytest.fixture
def from_data(data_dir: Path, monkeypatch) -> Path:
    """The folder of training sets, with the benchmarks beside it."""
    monkeypatch.setenv("OPO_EVAL_DATA", str(data_dir))
    return data_dir / "rl_train_sets"


def _config(path: Path, **settings):
    return tiny_config(Path("unused"), problems=str(path), n_problems=None, **settings)


def test_problems_that_are_in_a_benchmark_are_refused(from_data: Path) -> None:
    with pytest.raises(InputError) as refused:
        load_data(_config(from_data / "rllm_aime_1983_2023.jsonl"))
    assert "7 training problems found in a benchmark (4 exact in math500, 3 near in math500" in str(
        refused.value
    )
    assert "--allow-overlap" in str(refused.value)


def test_or_left_out_and_counted(from_data: Path) -> None:
    data = load_data(_config(from_data / "rllm_aime_1983_2023.jsonl", allow_overlap=True))
    assert data.left_out["in_a_benchmark"] == 7 and len(data.problems) == 968
    assert any("1 training problem found" in said and "other answers" in said for said in data.sentences)


def test_variants_of_benchmark_problems_are_kept_and_said(from_data: Path) -> None:
    data = load_data(_config(from_data / "rllm_math_train.jsonl"))
    assert len(data.problems) == 7469
    assert data.left_out == {"no_gold": 4, "repeated": 1}
    assert "11 training problems found in a benchmark" in data.sentences[1]
    assert "kept as problems of their own" in data.sentences[1]


def test_no_benchmark_is_loaded_where_none_is_named(from_data: Path) -> None:
    data = load_data(_config(from_data / "rllm_aime_1983_2023.jsonl", benchmarks=[]))
    assert len(data.problems) == 975 and len(data.sentences) == 1


def test_generated_problems_are_held_against_a_benchmark_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "sums.jsonl").write_text("\n".join(
        orjson.dumps({"problem": problem.prompt, "answer": problem.answer}).decode()
        for problem in load_data(tiny_config(tmp_path)).problems[:3]
    ))  # fmt: skip
    config = tiny_config(tmp_path, benchmarks=[str(tmp_path / "sums.jsonl")])
    with pytest.raises(InputError, match="3 training problems found in a benchmark"):
        load_data(config)
    assert len(load_data(replace(config, allow_overlap=True)).problems) == 61


def test_too_few_problems_are_refused_before_they_are_filtered(tmp_path: Path) -> None:
    config = tiny_config(tmp_path / "run", difficulty_samples=4, problems_per_step=65)
    with pytest.raises(UsageError, match="64 problems do not fill a step of 65"):
        train(config, quiet=True)
    with pytest.raises(UsageError, match="there is no tracker 'tensorbord'"):
        train(replace(config, log_to=("tensorbord",)), quiet=True)
    assert not (tmp_path / "run" / "difficulty").exists()
    trained = train(replace(config, problems_per_step=2, group_size=2, steps=1), quiet=True)
    assert len(trained.steps) == 1, "the advice is not refused as other settings"


def test_too_few_problems_are_refused_after_the_filter_too(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, difficulty_samples=4, problems_per_step=64, steps=1)
    with pytest.raises(UsageError, match=r"problems do not fill a step of 64: give fewer"):
        train(config, quiet=True)
    assert not (tmp_path / "config.json").exists()


def test_the_difficulty_filter_leaves_problems_that_teach_something(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, difficulty_samples=4, steps=1)
    trained = train(config, quiet=True)
    left_out = trained.data.left_out
    assert len(trained.data.problems) + left_out.get("all_right", 0) + left_out["all_wrong"] == 64
    assert "by 4 responses a problem" in trained.data.sentences[-1]
    assert train(config, quiet=True).n_before == 1, "the filter of a continued run finds the same problems"
