"""Which checkpoints make an arm: by their records, by name, and what is refused."""

import pytest

from opo_eval.arms import Arm, choose_arms
from opo_eval.errors import UsageError
from opo_eval.records import Checkpoint


def checkpoints(*known: Checkpoint) -> dict[str, Checkpoint]:
    return {checkpoint.name: checkpoint for checkpoint in known}


def trained(method: str, seed: int | None, step: int | None = 500) -> Checkpoint:
    return Checkpoint(name=f"{method}-{seed}-{step}", method=method, train_seed=seed, step=step)


def chosen(
    known: dict[str, Checkpoint], baseline: str, **wanted: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    return {arm.name: arm.checkpoints for arm in choose_arms(known, wanted or None, baseline)}


def test_runs_that_differ_by_seed_only_are_an_arm() -> None:
    known = checkpoints(*(trained(method, seed) for method in ("opo", "grpo") for seed in (2, 0, 1)))
    assert chosen(known, "grpo-1-500") == {
        "grpo": ("grpo-0-500", "grpo-1-500", "grpo-2-500"),
        "opo": ("opo-0-500", "opo-1-500", "opo-2-500"),
    }


@pytest.mark.parametrize("baseline", ["opo-0-500", "grpo-0-500"])
def test_the_baselines_arm_comes_first(baseline: str) -> None:
    known = checkpoints(*(trained(method, seed) for method in ("opo", "grpo") for seed in (0, 1)))
    assert baseline in choose_arms(known, None, baseline)[0].checkpoints


def test_steps_are_arms_of_their_own_and_said() -> None:
    known = checkpoints(*(trained("opo", seed, step) for seed in (0, 1) for step in (400, 500)))
    assert chosen(known, "") == {
        "opo step 400": ("opo-0-400", "opo-1-400"),
        "opo step 500": ("opo-0-500", "opo-1-500"),
    }


def test_a_single_seed_an_unknown_one_and_no_method_make_no_arm() -> None:
    nameless = [Checkpoint(name=f"x{seed}", train_seed=seed) for seed in (0, 1)]
    assert chosen(checkpoints(trained("opo", 0), trained("grpo", None), *nameless), "x0") == {}


def test_a_step_with_one_seed_is_left_out_of_the_names() -> None:
    known = checkpoints(trained("opo", 0, 400), trained("opo", 0, 500), trained("opo", 1, 500))
    assert chosen(known, "") == {"opo": ("opo-0-500", "opo-1-500")}


def test_named_arms_are_taken_as_they_are_named() -> None:
    known = checkpoints(*(trained("opo", seed) for seed in range(4)))
    assert choose_arms(
        known, {"new": ("opo-0-500", "opo-1-500"), "old": ("opo-3-500", "opo-2-500")}, "opo-2-500"
    ) == (
        Arm(name="old", checkpoints=("opo-3-500", "opo-2-500")),
        Arm(name="new", checkpoints=("opo-0-500", "opo-1-500")),
    )
    assert choose_arms(known, {}, "opo-2-500") == ()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            {"new": ("opo-0-500",)},
            r"--arm new=opo-0-500 has 1 checkpoint: an arm takes 2 training seeds or more",
        ),
        ({"new": ("opo-0-500", "opo-0-500")}, "has 1 checkpoint: an arm takes 2 training seeds"),
        ({"new": ("opo-0-500", "opo-1-50")}, r"--arm new names 'opo-1-50', .*did you mean 'opo-1-500'"),
        (
            {"new": ("opo-0-500", "opo-1-500"), "old": ("opo-1-500", "opo-2-500")},
            "--arm old and --arm new both name opo-1-500: give it to one of them",
        ),
    ],
)
def test_arms_of_what_is_not_there_are_refused(wanted: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_arms(checkpoints(*(trained("opo", seed) for seed in range(3))), wanted, "opo-0-500")


def test_two_runs_of_one_seed_are_refused_rather_than_one_forgotten() -> None:
    runs = {
        name: Checkpoint(name=name, method="opo", train_seed=seed)
        for name, seed in (("opo1", 1), ("opo2", 2), ("opo2b", 2))
    }
    with pytest.raises(UsageError, match="opo2 and opo2b are both opo with training seed 2"):
        choose_arms(runs, None, "opo1")
