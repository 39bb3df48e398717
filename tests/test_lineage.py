"""What the paths of checkpoints say: runs and steps, order, names, and what is refused."""

import json
import random
from pathlib import Path

import pytest

from opo_eval.errors import UsageError
from opo_eval.lineage import Series, checkpoints_of, is_start, series_over_steps, step_folder
from opo_eval.records import Checkpoint


def model(folder: Path) -> Path:
    """A folder that looks like a model's."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def training_run(folder: Path, steps: tuple[int, ...], **config: object) -> Path:
    """As `opo-eval train` leaves it."""
    folder.mkdir(parents=True)
    row = {"schema": "opo_eval.training/1", "config": {"method": "opo", "seed": 3, **config}}
    (folder / "config.json").write_text(json.dumps(row | {"model_sha256": "abc"}))
    for step in steps:
        model(folder / f"step_{step:06d}")
    return folder


@pytest.mark.parametrize(
    ("path", "run", "step"),
    [
        ("/t/opo_seed0/step_000020", "/t/opo_seed0", 20),
        ("/t/out/checkpoint-500", "/t/out", 500),
        ("/t/verl/global_step_40", "/t/verl", 40),
        ("/t/verl/global_step_40/actor/huggingface", "/t/verl", 40),
        ("/t/verl/global_step_40/huggingface/", "/t/verl", 40),
        ("/t/o/global_step20_hf", "/t/o", 20),
        ("/t/x/step20", "/t/x", 20),
        ("/t/x/iter_0000020", "/t/x", 20),
        ("/t/x/../y/Step-7", "/t/y", 7),
    ],
)
def test_a_folder_named_after_a_step_says_run_and_step(path: str, run: str, step: int) -> None:
    found = step_folder(path)
    assert found and (found.run, found.step) == (Path(run), step)


@pytest.mark.parametrize(
    "path", ["/t/late", "/t/step_20/final", "/t/step", "/t/20", "/t/step_20b", "/t/footstep_3", "/"]
)
def test_other_folders_say_no_step(path: str) -> None:
    assert step_folder(path) is None


def test_steps_come_in_order_whatever_the_order_in_which_they_are_given(tmp_path: Path) -> None:
    run, other = (training_run(tmp_path / name, (2, 9, 10, 100)) for name in ("a", "b"))
    paths = [str(path / f"step_{step:06d}") for path in (run, other) for step in (2, 9, 10, 100)]
    for seed in range(20):
        shuffled = [*paths, paths[3]]
        random.Random(seed).shuffle(shuffled)
        found = checkpoints_of(shuffled)
        first, second = ("a", "b") if Path(shuffled[0]).parent == run else ("b", "a")
        names = [f"{name}_step{step}" for name in (first, second) for step in (2, 9, 10, 100)]
        assert [checkpoint.name for checkpoint in found] == names


def test_a_step_of_our_own_run_says_method_seed_and_start(tmp_path: Path) -> None:
    run = training_run(tmp_path / "opo_seed3", (20,))
    path = str(run / "step_000020")
    assert checkpoints_of([path]) == [
        Checkpoint(name="opo_seed3_step20", method="opo", train_seed=3, step=20, path=path, start="abc")
    ]


def test_a_run_that_names_its_start_on_the_hub(tmp_path: Path) -> None:
    run = training_run(tmp_path / "r", (20,), model="Qwen/Qwen2.5-Math-7B")
    row = json.loads((run / "config.json").read_text()) | {"model_sha256": None}
    (run / "config.json").write_text(json.dumps(row))
    assert checkpoints_of([str(run)])[0].start == "Qwen/Qwen2.5-Math-7B"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 7}', '{"schema": "opo_eval.training/1"}'])
def test_a_config_that_says_nothing_leaves_all_but_the_step_unknown(tmp_path: Path, text: str) -> None:
    path = model(tmp_path / "r" / "step_4")
    (tmp_path / "r" / "config.json").write_text(text)
    assert checkpoints_of([str(path)]) == [Checkpoint(name="r_step4", step=4, path=str(path))]


def test_a_training_run_stands_for_its_checkpoints_and_each_is_taken_once(tmp_path: Path) -> None:
    run = training_run(tmp_path / "run", (9, 10))
    (run / ".step_000011.part").mkdir()
    found = checkpoints_of([str(run / "step_000010"), str(run), f"{run}/./step_000009/"])
    assert [checkpoint.step for checkpoint in found] == [9, 10]


def test_a_run_of_another_framework_stands_for_its_checkpoints_too(tmp_path: Path) -> None:
    for step in (20, 100):
        model(tmp_path / "verl" / f"global_step_{step}" / "actor" / "huggingface")
    found = checkpoints_of([str(tmp_path / "verl")])
    assert [checkpoint.name for checkpoint in found] == ["verl_step20", "verl_step100"]
    assert str(found[0].path).endswith("global_step_20/actor/huggingface")


def test_a_model_with_checkpoints_beside_it_is_that_model(tmp_path: Path) -> None:
    model(model(tmp_path / "out") / "checkpoint-10")
    assert [checkpoint.name for checkpoint in checkpoints_of([str(tmp_path / "out")])] == ["out"]


def test_a_run_without_checkpoints_or_with_empty_ones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a training run without checkpoints yet: it saves one every"):
        checkpoints_of([str(training_run(tmp_path / "young", ()))])
    run = training_run(tmp_path / "torn", (20,))
    (run / "step_000040").mkdir()
    with pytest.raises(UsageError, match=r"holds steps without a model in them \(step_000040; no config"):
        checkpoints_of([str(run)])


def test_the_reference_comes_first_and_once(tmp_path: Path) -> None:
    run, base = training_run(tmp_path / "run", (10, 20)), model(tmp_path / "base")
    names = [checkpoint.name for checkpoint in checkpoints_of([str(run), str(base)], str(base))]
    assert names == ["base", "run_step10", "run_step20"]
    late = checkpoints_of([str(run)], str(run / "step_000020"))
    assert [checkpoint.step for checkpoint in late] == [20, 10]
    with pytest.raises(UsageError, match="is a training run with 2 checkpoints: give one of them"):
        checkpoints_of([str(base)], str(run))


def test_names_are_as_long_as_it_takes(tmp_path: Path) -> None:
    runs = [training_run(tmp_path / side / "run", (5,)) for side in ("a", "b")]
    assert [c.name for c in checkpoints_of(list(map(str, runs)))] == ["a/run_step5", "b/run_step5"]
    twin = model(runs[0] / "checkpoint-5")
    with pytest.raises(UsageError, match="cannot be told apart by name"):
        checkpoints_of([str(runs[0] / "step_000005"), str(twin)])


def test_names_on_the_hub_and_what_is_not_there_are_left_to_the_engine() -> None:
    found = checkpoints_of(["Qwen/Qwen3-8B", "nowhere/step_20"])
    assert [(c.name, c.step, c.path) for c in found] == [
        ("Qwen3-8B", None, "Qwen/Qwen3-8B"),
        ("nowhere_step20", None, "nowhere/step_20"),
    ]


# --- series -----------------------------------------------------------------------------------------


def at(step: int | None, path: str | None = None, **fields: object) -> Checkpoint:
    return Checkpoint(name=f"{path or fields} {step}", step=step, path=path, **fields)


def test_series_are_of_one_folder_or_of_one_method_and_seed() -> None:
    folders = [at(step, f"/t/{run}/step_{step}") for step in (20, 3) for run in ("a", "b")]
    imported = [at(step, method="opo", train_seed=1) for step in (7, 5)]
    alone = [at(9, method="grpo", train_seed=1), at(None, "/t/base"), at(1), at(2)]
    series, said = series_over_steps([*folders, *imported, *alone])
    assert [(s.name, s.steps) for s in series] == [("a", (3, 20)), ("b", (3, 20)), ("opo seed 1", (5, 7))]
    assert said == []


def test_a_step_twice_makes_no_series_and_is_said() -> None:
    given = [at(1, method="m"), at(2, method="m"), Checkpoint(name="again", method="m", step=2)]
    series, (said,) = series_over_steps(given)
    assert series == [] and said.startswith("m: ") and "again are all step 2" in said


def test_the_start_is_known_by_its_digest_or_its_name() -> None:
    series = Series(name="r", steps=(1, 2), checkpoints=("x", "y"), start="abc")
    assert is_start(series, at(None, "/moved/base"), "abc")
    assert is_start(series, at(None, "abc"), None)
    assert is_start(series, at(0), "other")
    assert not is_start(series, at(None, "/base"), "other")
    assert not is_start(Series(name="r", steps=(1, 2), checkpoints=("x", "y")), at(None), None)
