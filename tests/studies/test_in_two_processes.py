"""The study of two processes beside one: how far two runs are the same, and its page."""

from dataclasses import replace

import pytest
from studies.scripts import study

from opo_eval.records import TrainingStep

script = study("in_two_processes")

STEP = TrainingStep(
    step=1, method="opo", train_seed=0, reward=0.5, pass_rate=0.5, n_samples=8, n_tokens=100, n_unscorable=0,
    groups_equal=0.0, entropy=0.2, kl_start=0.0, kl_start_k1=0.0, kl_start_k3=0.0, kl_rollout_k1=0.0,
    kl_rollout_k3=0.0, kl_update_k3=None, gradient_norm=4.0, clip_fraction=None, loss=0.0, learning_rate=1e-3,
    n_updates=1, length=12.5, length_correct=12.0, length_wrong=13.0, truncated=0.0,
    seconds={"rollout": 0.1, "update": 0.2},
)  # fmt: skip


def _pair(*changes: dict[str, float]) -> object:
    one = tuple(replace(STEP, step=i + 1) for i in range(len(changes)))
    two = tuple(replace(step, **change) for step, change in zip(one, changes, strict=True))
    return script.Pair(seed=3, one=one, two=two)


def test_steps_are_alike_until_a_response_differs() -> None:
    pair = _pair({"entropy": 0.2 + 2e-7}, {"gradient_norm": 4 + 4e-5}, {"n_tokens": 101, "entropy": 0.4}, {})
    assert pair.n_alike() == 2
    assert pair.largest("gradient_norm", 1) == 0
    assert pair.largest("entropy") == pytest.approx(1e-6) and pair.largest("gradient_norm") == pytest.approx(
        1e-5
    )
    assert _pair({}, {}).n_alike() == 2 and _pair({"reward": 0.6}).n_alike() == 0


def test_what_was_never_measured_has_no_difference() -> None:
    assert str(_pair({}).largest("kl_start")) == "nan", "KL to the start is 0 at the first step"


def test_the_page_has_a_line_a_seed_and_says_how_to_make_it_again() -> None:
    page = script.page(script.study_of([3]), [_pair({}, {"n_tokens": 7})], [])
    assert "| 3 | 1 of 200 |" in page and script.COMMAND in page
    assert script.steps_csv([_pair({})]).decode().splitlines()[1].startswith("3,1,1,100,0.5")


def test_the_two_arms_are_that_of_the_miniature_study() -> None:
    made = script.study_of([])
    assert made.seeds == (0, 1, 2, 3, 4) and set(made.arms) == {script.ONE, script.TWO}
    assert {plan.config.method for plan in made.plans} == {"opo"}
    assert {plan.config.steps for plan in made.plans} == {200}
