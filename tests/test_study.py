"""Studies: what they are asked to do, what fails and what goes on, and the numbers that claims rest on."""

import itertools
import math
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import orjson
import pytest
import torch
from report.handmade import comparison, row, statistics, table
from scipy import stats as scipy_stats

from opo_eval.errors import OpoEvalError, UsageError
from opo_eval.problems.tiny_arith import generate_problems, training_problems
from opo_eval.records import Better, Comparison, MetricTable, TrainingStep, Unit
from opo_eval.report.training_data import Point, Ruling
from opo_eval.rl.advantages import ADVANTAGES
from opo_eval.rl.config import TrainConfig
from opo_eval.store import Appender, RecordFile
from opo_eval.study import Study, claims, demo_study, read_study, run_study, series, stages, tables, words
from opo_eval.study import run as run_module
from opo_eval.study.jobs import Job, run_jobs
from opo_eval.tiny import checkpoint_path

# A job's process cannot import a test: what is handed to it travels as code.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


# --- handmade ---------------------------------------------------------------------------------------


def settings(**changes: Any) -> dict[str, Any]:
    """A small study of two arms."""
    return {
        "name": "small",
        "out": "runs",
        "report": "report",
        "seeds": [0, 1],
        "train": {
            "model": "late",
            "problems": "tiny-arith",
            "benchmarks": ["tiny-arith"],
            "think": "none",
            "steps": 4,
            "problems_per_step": 2,
            "group_size": 2,
            "max_tokens": 32,
            "save_every": 4,
            "threads": 1,
            "workers": 1,
        },
        "evaluation": {
            "benchmark": "tiny-arith",
            "problems": 8,
            "samples": 2,
            "samples_last": 2,
            "max_tokens": 32,
            "last": 1,
        },
        "arms": {"grpo": {"method": "grpo"}, "opo": {"label": "OPO", "method": "opo"}},
        **changes,
    }


def training_step(step: int, **fields: Any) -> TrainingStep:
    """A step of a run whose reward rises by 0.1 and whose KL by 0.01 a step."""
    defaults: dict[str, Any] = {
        "step": step,
        "method": "opo",
        "train_seed": 0,
        "reward": step / 10,
        "pass_rate": step / 10,
        "n_samples": 4,
        "n_tokens": 40,
        "n_unscorable": 0,
        "groups_equal": 0.25,
        "entropy": 1 / step,
        "kl_start": (step - 1) / 100,
        "kl_start_k1": 0.0,
        "kl_start_k3": 0.0,
        "kl_rollout_k1": 0.0,
        "kl_rollout_k3": 0.0,
        "kl_update_k3": None,
        "gradient_norm": 1.0,
        "clip_fraction": None,
        "loss": 0.0,
        "learning_rate": 1e-3,
        "n_updates": step,
        "length": 10.0,
        "length_correct": None,
        "length_wrong": None,
        "truncated": 0.0,
        "seconds": {"rollout": 0.1},
    }
    return TrainingStep(**(defaults | fields))


def run_of(n: int, **fields: Any) -> tuple[TrainingStep, ...]:
    return tuple(training_step(step, **fields) for step in range(1, n + 1))


def measured(checkpoint: str, values: Sequence[float], metric: str = "pass@1") -> MetricTable:
    """A table with one value a problem."""
    own = statistics(
        metric,
        0.0,
        numerators=tuple(values),
        denominators=(1.0,) * len(values),
        n_samples=(2,) * len(values),
        n_samples_left_out=(0,) * len(values),
    )
    mean = float(np.mean(values))
    names = tuple(f"p{i}" for i in range(len(values)))
    own_row = row(metric, (mean,), checkpoint=checkpoint, n_problems=len(values))
    return table(checkpoint, {}, rows=[own_row], statistics=(own,), problem_ids=names)


def train_by_hand(config: TrainConfig) -> None:
    """What a trainer leaves behind, without training: the start as every checkpoint."""
    if config.method == "rloo":
        raise OpoEvalError("the loss is nan: lower learning_rate")
    file = RecordFile(config.out / "training.jsonl", "training", TrainingStep, {"step": int})
    config.out.mkdir(parents=True)
    steps = Appender(file)
    for step in run_of(config.steps, method=config.method, train_seed=config.seed):
        steps.append([step])
        if step.step % config.save_every == 0:
            shutil.copytree(config.model, config.out / f"step_{step.step:06d}")
    steps.close()


# --- what a study is asked to do --------------------------------------------------------------------


def test_every_arm_is_trained_with_every_seed_one_seed_after_the_other() -> None:
    study = Study.from_mapping(settings())
    assert [plan.name for plan in study.plans] == ["grpo_seed0", "opo_seed0", "grpo_seed1", "opo_seed1"]
    plan = study.plans[3]
    assert (plan.config.method, plan.config.seed, plan.config.group_size) == ("opo", 1, 2)
    assert plan.config.out == Path("runs/training/opo_seed1")
    assert plan.config.model == str(checkpoint_path("late"))
    assert study.labels == {"grpo": "grpo", "opo": "OPO"}
    assert study.title == "small"


@pytest.mark.parametrize(("every", "steps", "saved"), [(2, 6, (2, 4, 6)), (4, 6, (4, 6)), (9, 6, (6,))])
def test_the_last_step_is_always_saved(every: int, steps: int, saved: tuple[int, ...]) -> None:
    study = Study.from_mapping(settings())
    changed = Study.from_mapping(settings(train={**study.train, "save_every": every, "steps": steps}))
    assert changed.plans[0].saved_steps == saved


def test_the_last_checkpoint_has_most_samples_and_the_first_ones_fewest() -> None:
    evaluation = {"benchmark": "tiny-arith", "samples_last": 9, "samples": 3, "samples_before": 1, "last": 3}
    train = {**settings()["train"], "save_every": 1, "steps": 5}
    study = Study.from_mapping(settings(evaluation=evaluation, train=train))
    plans = list(stages.checkpoint_plans(study, study.plans[0]))
    assert [plan.samples for plan in plans] == [1, 1, 3, 3, 9]
    assert [plan.checkpoint.step for plan in plans] == [1, 2, 3, 4, 5]
    assert plans[4].checkpoint.name == "grpo_seed0_step5"


@pytest.mark.parametrize(("problems", "n"), [(None, 64), (3, 3), (64, 64), (1024, 1024)])
def test_held_out_problems(problems: int | None, n: int) -> None:
    evaluation = {"benchmark": "tiny-arith", **({"problems": problems} if problems else {})}
    found = stages.evaluation_problems(Study.from_mapping(settings(evaluation=evaluation)))
    assert found == generate_problems(n)
    trained = {problem.prompt for problem in training_problems(4096, np.random.default_rng(0))}
    assert not trained & {problem.prompt for problem in found}


def test_more_problems_than_are_held_out_are_refused() -> None:
    evaluation = {"benchmark": "tiny-arith", "problems": 1025}
    with pytest.raises(UsageError, match=r"tiny-arith has 1024 held-out problems.*not 1025"):
        stages.evaluation_problems(Study.from_mapping(settings(evaluation=evaluation)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sedes": [1]}, "'sedes' is no setting of a study.*did you mean 'seeds'"),
        ({"seeds": [1, 1]}, "seeds that differ"),
        ({"seeds": []}, "seeds that differ"),
        ({"seeds": [0.5]}, "seeds cannot be 0.5: it has to be of type int"),
        ({"seeds": 5}, "seeds cannot be 5: it has to be of type list"),
        ({"seeds": [-1]}, "seed cannot be -1"),
        ({"name": 3}, "name cannot be 3"),
        ({"train": []}, "train cannot be .*: it has to be of type dict"),
        ({"arms": [{"method": "opo"}]}, "arms cannot be .*: it has to be of type dict"),
        ({"arms": {"opo": "opo"}}, "arms.opo cannot be 'opo': it has to be of type dict"),
        ({"arms": {"opo": {"label": 3}}}, "the label of arm 'opo' cannot be 3"),
        ({"arms": {}}, "0 arms"),
        ({"arms": {"OPO!": {"method": "opo"}}}, "'OPO!' cannot name an arm"),
        ({"arms": {"start": {"method": "opo"}}}, "'start' cannot name an arm"),
        ({"arms": {"opo": {"method": "ppo"}}}, "arm 'opo': there is no method 'ppo'"),
        ({"arms": {"opo": {"method": "opo", "seed": 3}}}, "leave seed out of arm 'opo'"),
        ({"arms": {"opo": {"method": "opo", "model": "early"}}}, "all arms share one 'model': give it under"),
        ({"arms": {"opo": {"think": "tagged"}}}, r"all arms share one 'think': give it under \[train\]"),
        ({"arms": {"opo": {"reward": "r.py:f", "answer": "hash"}}}, "all arms share one 'reward', 'answer'"),
        ({"arms": {"a": {"label": "A"}, "b": {"label": "A"}}}, "labels that differ"),
        ({"arms": {"a": {"label": "start"}}}, "none that is 'start'"),
        ({"evaluation": {"samples": 2}}, "the evaluation has no benchmark"),
        (
            {"evaluation": {"benchmark": "tiny-arith", "samples": "16"}},
            "samples cannot be '16': it has to be",
        ),
        ({"evaluation": {"benchmark": "tiny-arith", "temperature": "hot"}}, "temperature cannot be 'hot'"),
        ({"evaluation": {"benchmark": "tiny-arith", "temperature": -1}}, "temperature cannot be -1.0"),
        (
            {"evaluation": {"benchmark": "tiny-arith", "problems": 0}},
            "problems of the evaluation cannot be 0",
        ),
        ({"evaluation": {"benchmark": "math500"}}, "'math500' is not among the training's benchmarks"),
        ({"evaluation": {"benchmark": "tiny-arith", "sample": 2}}, "did you mean 'samples'"),
        ({"evaluation": {"benchmark": "tiny-arith", "samples": 0}}, "samples of the evaluation cannot be 0"),
        ({"evaluation": {"benchmark": "tiny-arith", "samples": 4, "samples_last": 2}}, "samples_last 2"),
    ],
)
def test_a_study_that_does_not_fit_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Study.from_mapping(settings(**changes))


def test_arms_may_differ_in_their_method_and_its_schedule() -> None:
    arms = {"grpo": {"method": "grpo"}, "opo": {"method": "opo", "learning_rate": 1e-4, "steps": 8}}
    study = Study.from_mapping(settings(arms=arms))
    assert [plan.config.learning_rate for plan in study.plans] == [1e-6, 1e-4] * 2
    here = {what: own for what, _, own in words.settings_rows(study, is_of_methods=True)}
    assert here["learning rate"] == "1e-06, constant or 0.0001, constant"
    assert here["steps"] == "4 or 8"
    assert here["gradient clip"] == "norm 1"
    assert "one learning rate" not in " ".join(words.limits(study, {}, is_of_methods=True))
    alike = Study.from_mapping(settings())
    assert "one learning rate for all arms" in " ".join(words.limits(alike, {}, is_of_methods=True))


def test_a_reward_of_ones_own_is_named() -> None:
    study = Study.from_mapping(settings(train={**settings()["train"], "reward": "mine.py:score"}))
    here = {what: own for what, _, own in words.settings_rows(study, is_of_methods=True)}
    assert here["reward"] == "by mine.py:score"


def test_arms_that_differ_by_a_factor_alone_are_said_to() -> None:
    said = "rounding alone tells the two arms apart"

    def limits(**other: Any) -> str:
        arms = {"rloo": {"method": "rloo"}, "dr_grpo": {"method": "dr_grpo"}, **other}
        return " ".join(words.limits(Study.from_mapping(settings(arms=arms)), {}, is_of_methods=True))

    assert said in limits()
    assert said not in limits(rloo={"method": "rloo", "learning_rate": 1e-4})
    with_entropy = {"entropy_coefficient": 0.1}
    both = {name: {"method": name, **with_entropy} for name in ("rloo", "dr_grpo")}
    assert said not in limits(**both)


def test_a_factor_on_all_advantages_is_no_difference_to_adamw() -> None:
    """What the page says of RLOO and Dr.GRPO: G/(G - 1) apart, and the same step of the optimiser."""
    rng = np.random.default_rng(0)
    rewards, lengths = rng.random((3, 8)), rng.integers(1, 9, (3, 8)).astype(float)
    plain = ADVANTAGES["dr_grpo"](rewards, lengths)
    np.testing.assert_allclose(ADVANTAGES["rloo"](rewards, lengths), 8 / 7 * plain, rtol=1e-12)
    moved = []
    for factor in (1.0, 8 / 7):
        weight = torch.zeros(5, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.0)
        for gradient in np.random.default_rng(1).normal(size=(4, 5)):
            weight.grad = torch.tensor(factor * gradient)
            optimizer.step()
        moved.append(weight.detach())
    torch.testing.assert_close(*moved, rtol=1e-6, atol=0)


def test_how_often_the_clip_binds_is_said_where_arms_differ_in_it() -> None:
    steps = [training_step(i, gradient_norm=norm) for i, norm in enumerate((0.5, 1.0, 1.5, 3.0), start=1)]
    assert series.clipped_share(steps, 1.0) == 0.5
    assert series.clipped_share(steps, 0.0) is None
    note = words.clip_note(("GRPO", 0.0), ("OPO", 0.996))
    assert "clipped in 0 % of the steps of GRPO and in 100 % of those of OPO" in note
    assert words.clip_note(("RLOO", 1.0), ("OPO", 0.97)) == "" == words.clip_note(("A", None), ("B", 1.0))
    study = Study.from_mapping(settings())
    said = " ".join(words.limits(study, {"GRPO": 0.0, "OPO": 1.0}, is_of_methods=True))
    assert "unequal shares of the steps (GRPO 0 %, OPO 100 %)" in said
    assert "unequal shares" not in " ".join(words.limits(study, {"GRPO": 1.0, "OPO": 1.0}, True))


def test_the_age_of_the_last_kl_is_said() -> None:
    for every, said in ((5, "up to 5 steps before it"), (1, "up to 1 step before it")):
        study = Study.from_mapping(settings(train={**settings()["train"], "kl_every": every}))
        assert said in " ".join(words.limits(study, {}, is_of_methods=True))
        steps = [training_step(i, kl_start=float(i) if (i - 1) % every == 0 else None) for i in range(1, 11)]
        last = series.points(steps, {10: 0.5})[-1]
        assert 10 - (last.kl - 1) <= every  # step i measures the policy after i - 1 updates
    never = Study.from_mapping(settings(train={**settings()["train"], "kl_every": 0}))
    assert "before it" not in " ".join(words.limits(never, {}, is_of_methods=True))


def test_a_gpu_takes_one_run_at_a_time() -> None:
    train = settings()["train"]
    assert run_module._fitting(Study.from_mapping(settings(train={**train, "device": "cuda"}))) == 1
    assert run_module._fitting(Study.from_mapping(settings(train={**train, "device": "cpu"}))) is None


def test_each_run_has_the_reason_of_its_own() -> None:
    said = "opo_seed0: its model is gone\ngrpo_seed0: out of memory"
    assert stages.reason_of("opo_seed0", said) == "its model is gone"
    assert stages.reason_of("grpo_seed0", said) == "out of memory"
    assert stages.reason_of("rloo_seed0", "its process was killed") == "its process was killed"


def test_a_damaged_receipt_is_none(tmp_path: Path) -> None:
    stages._write_receipt(tmp_path, "asked")
    assert stages._has_receipt(tmp_path, "asked")
    (tmp_path / "finished.json").write_text('{"ask')
    assert not stages._has_receipt(tmp_path, "asked")


def test_a_study_says_what_it_lacks() -> None:
    lacking = settings()
    del lacking["arms"]
    with pytest.raises(UsageError, match="the study has no 'arms'"):
        Study.from_mapping(lacking)


def test_a_study_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        'name = "s"\nout = "o"\nreport = "r"\nseeds = [3]\n[train]\nmodel = "late"\nproblems = "tiny-arith"\n'
        'benchmarks = ["tiny-arith"]\n[evaluation]\nbenchmark = "tiny-arith"\n[arms.opo]\nmethod = "opo"\n'
    )
    assert [plan.name for plan in read_study(path).plans] == ["opo_seed3"]


# --- jobs -------------------------------------------------------------------------------------------


def test_a_failed_job_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    def fail() -> None:
        raise OpoEvalError("lower the learning rate")

    def die() -> None:
        os.kill(os.getpid(), 9)

    def note() -> None:
        print("not a reason")
        (tmp_path / "done").write_text(os.environ["OMP_NUM_THREADS"])

    seen: list[int] = []
    jobs = [Job("fails", fail), Job("dies", die), Job("works", note)]
    failed = run_jobs(jobs, workers=2, watch=lambda: seen.append(1))
    assert failed["fails"] == "lower the learning rate"
    assert "killed" in failed["dies"]
    assert failed.keys() == {"fails", "dies"}
    assert (tmp_path / "done").read_text() == "1"
    assert seen


def test_a_bug_in_a_job_is_its_reason(capfd: pytest.CaptureFixture[str]) -> None:
    failed = run_jobs([Job("odd", lambda: 1 / 0)], workers=1)
    assert failed == {"odd": "ZeroDivisionError: division by zero"}
    assert "Traceback" in capfd.readouterr().err


def test_an_interruption_stops_the_running_jobs(tmp_path: Path) -> None:
    def wait() -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        time.sleep(600)

    def interrupt() -> None:
        if (tmp_path / "pid").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs([Job("waits", wait), Job("never begun", wait)], workers=1, watch=interrupt, grace_s=0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


# --- series -----------------------------------------------------------------------------------------


def test_a_curve_is_the_mean_of_blocks_over_seeds_with_students_t() -> None:
    runs = {seed: run_of(5, reward=value) for seed, value in enumerate((0.1, 0.2, 0.6))}
    curve = series.curve("OPO", "reward", runs, block=2)
    assert curve is not None
    assert curve.steps == (1.5, 3.5, 5.0)
    assert curve.means == pytest.approx((0.3, 0.3, 0.3))
    expected = scipy_stats.t.interval(0.95, 2, 0.3, scipy_stats.sem([0.1, 0.2, 0.6]))
    found = curve.intervals[0]
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected)
    assert (found.kind, curve.n_seeds, curve.block) == ("training seeds", 3, 2)


def test_a_curve_of_one_seed_has_no_interval_and_steps_without_a_value_are_left_out() -> None:
    steps = [training_step(i, kl_start=0.5 if i % 2 else None) for i in range(1, 7)]
    curve = series.curve("OPO", "kl_start", {0: steps}, block=1)
    assert curve is not None
    assert (curve.steps, curve.intervals) == ((1.0, 3.0, 5.0), (None, None, None))
    never = [training_step(1, kl_start=None)]
    assert series.curve("OPO", "kl_start", {0: never}, block=1) is None


@pytest.mark.parametrize(
    ("n", "first", "last"), [(3, [1], [3]), (4, [1, 2], [3, 4]), (9, [1, 2, 3], [7, 8, 9])]
)
def test_thirds_of_a_run(n: int, first: list[int], last: list[int]) -> None:
    steps = run_of(n)
    assert series.first_third(steps, "reward") == pytest.approx(np.mean(first) / 10)
    assert series.last_third(steps, "reward") == pytest.approx(np.mean(last) / 10)


def test_a_checkpoint_has_the_kl_of_the_rollout_that_it_draws() -> None:
    found = series.points(run_of(4), {0: 0.3, 2: 0.4, 4: 0.5})
    assert found == (
        Point(step=0, kl=0.0, pass_at_1=0.3),
        Point(step=2, kl=0.02, pass_at_1=0.4),  # measured by step 3
        Point(step=4, kl=0.03, pass_at_1=0.5),  # there is no step 5
    )


def test_a_checkpoint_without_a_kl_of_its_own_has_the_last_before_it() -> None:
    steps = [training_step(i, kl_start=i / 100 if i in (1, 4, 7) else None) for i in range(1, 9)]
    found = series.points(steps, {0: 0.3, 3: 0.4, 5: 0.5, 8: 0.6})
    assert [(point.step, point.kl) for point in found] == [(0, 0.0), (3, 0.04), (5, 0.04), (8, 0.07)]
    never = [training_step(1, kl_start=None)]
    assert series.points(never, {0: 0.3, 1: 0.4}) == (Point(step=0, kl=0.0, pass_at_1=0.3),)


def test_crossings_are_between_checkpoints_in_proportion() -> None:
    run = [
        Point(step=i, kl=kl, pass_at_1=p) for i, (kl, p) in enumerate([(0, 0.3), (0.02, 0.5), (0.06, 0.4)])
    ]
    assert series.kl_at(run, 0.4) == pytest.approx(0.01)
    assert series.pass_at_1_at(run, 0.04) == pytest.approx(0.45)
    assert series.kl_at(run, 0.6) is None
    assert series.kl_at(run, 0.3) is None


def test_the_mean_path_is_over_the_steps_that_all_runs_have() -> None:
    one = (Point(step=0, kl=0, pass_at_1=0.2), Point(step=2, kl=0.2, pass_at_1=0.4))
    two = (Point(step=0, kl=0, pass_at_1=0.4), Point(step=4, kl=0.2, pass_at_1=0.4))
    assert series.path("OPO", (one, two)).means == (Point(step=0, kl=0, pass_at_1=pytest.approx(0.3)),)


MEASURE = series.Measure(
    name="entropy", unit=Unit.NATS, better=Better.HIGHER, where="rollouts", n_problems=4, signature="entropy"
)


@pytest.mark.parametrize("null", [0.0, -0.3, 0.2])
def test_two_arms_over_seeds_are_compared_by_welch(null: float) -> None:
    a, b = [0.1, 0.3, 0.2, 0.25], [0.5, 0.2, 0.6]
    found = series.welch(MEASURE, ("A", a), ("B", b), null=null)
    oracle = scipy_stats.ttest_ind(b, [x + null for x in a], equal_var=False)
    around = scipy_stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((around.low, around.high))
    assert (found.delta, found.n_train_seeds) == (pytest.approx(np.mean(b) - np.mean(a)), 3)


def test_arms_without_any_spread_are_not_tested() -> None:
    found = series.welch(MEASURE, ("A", [0.1, 0.1]), ("B", [0.2, 0.2]))
    assert (found.interval, found.p_value, found.mde80) == (None, None, None)
    with pytest.raises(ValueError, match="two training seeds"):
        series.welch(MEASURE, ("A", [0.1]), ("B", [0.2, 0.2]))


# --- tables -----------------------------------------------------------------------------------------


def drawn(n_seeds: int, n_problems: int, seed: int, lift: float = 0.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    problem, run = rng.normal(0.5, 0.1, n_problems), rng.normal(lift, 0.02, (n_seeds, 1))
    return list(problem + run + rng.normal(0, 0.05, (n_seeds, n_problems)))


def two_way_error(values: np.ndarray, start: np.ndarray) -> float:
    """Of the mean over seeds and problems of `values` [seeds, problems] less a fixed `start` [problems].

    Cameron, Gelbach and Miller (2011): by problem, plus by seed, less what is in both.
    """
    n_seeds, n_problems = values.shape
    by_problem = (values.mean(axis=0) - start).var(ddof=1) / n_problems
    by_seed = values.mean(axis=1).var(ddof=1) / n_seeds
    rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    both = (rest**2).sum() / ((n_seeds - 1) * (n_problems - 1)) / (n_seeds * n_problems)
    return math.sqrt(max(by_problem + by_seed - both, by_problem, by_seed))


def test_an_arm_over_the_start_varies_with_its_seeds_and_with_the_problems_alone() -> None:
    start, runs = drawn(1, 40, seed=1)[0], drawn(4, 40, seed=2, lift=0.3)
    arm = [measured(f"s{i}", values) for i, values in enumerate(runs)]
    found = tables.over_start(measured("start", start), ("OPO", arm))["pass@1"]
    assert found.delta == pytest.approx(np.mean(runs) - start.mean())
    assert found.n_train_seeds == 4
    assert found.interval is not None
    half, error = (found.interval.high - found.interval.low) / 2, two_way_error(np.array(runs), start)
    freedom = scipy_stats.t.isf(0.025, np.arange(1, 200)) * error
    assert freedom[0] > half > freedom[-1]
    assert half / error == pytest.approx(scipy_stats.t.isf(0.025, welch_freedom(np.array(runs), start)))


def welch_freedom(values: np.ndarray, start: np.ndarray) -> float:
    n_seeds, n_problems = values.shape
    by_problem = (values.mean(axis=0) - start).var(ddof=1) / n_problems
    by_seed = values.mean(axis=1).var(ddof=1) / n_seeds
    return two_way_error(values, start) ** 4 / (by_problem**2 / (n_problems - 1) + by_seed**2 / (n_seeds - 1))


def test_the_lift_over_the_start_is_covered_as_often_as_it_says() -> None:
    """New seeds and new problems each time; the start answers the same problems, with noise of its own."""
    held = 0
    for trial in range(300):
        rng = np.random.default_rng(trial)
        hard = rng.normal(0, 0.1, 30)
        start = hard + rng.normal(0, 0.05, 30)
        lift = 0.3 + rng.normal(0, 0.03, (5, 1)) + rng.normal(0, 0.05, 30)
        runs = hard + lift + rng.normal(0, 0.05, (5, 30))
        arm = [measured(f"s{i}", values) for i, values in enumerate(runs)]
        found = tables.over_start(measured("start", start), ("OPO", arm))["pass@1"].interval
        held += found is not None and found.low <= 0.3 <= found.high
    assert 0.92 <= held / 300 <= 0.99


def test_an_arms_own_value_is_the_mean_of_its_seeds() -> None:
    runs = drawn(3, 20, seed=3)
    arm = [measured(f"s{i}", values) for i, values in enumerate(runs)]
    own = tables.arm_table("OPO", arm, ["pass@1"]).rows[0]
    assert own.value == pytest.approx(np.mean(runs))
    assert (own.checkpoint, own.n_problems, own.interval and own.interval.kind) == (
        "OPO",
        20,
        "training seeds and problems like these",
    )
    error = two_way_error(np.array(runs), np.zeros(20))
    freedom = welch_freedom(np.array(runs), np.zeros(20))
    assert own.interval is not None
    assert own.interval.high - own.value == pytest.approx(scipy_stats.t.isf(0.025, freedom) * error)


def test_the_mean_of_checkpoints_is_the_mean_of_their_values() -> None:
    runs = drawn(5, 8, seed=4)
    mean = tables.mean_table([measured(f"c{i}", values) for i, values in enumerate(runs)])
    own = mean.statistics[0]
    assert np.sum(own.numerators) / np.sum(own.denominators) == pytest.approx(np.mean(runs))
    other = measured("c9", runs[0], metric="pass@2")
    assert tables.mean_table([mean, other]).statistics == ()
    (own_row,) = mean.rows
    assert own_row.value == pytest.approx(np.mean(runs))
    assert (own_row.n_samples, own_row.n_problems, own_row.interval) == (5 * 8 * 2, 8, None)
    assert tables.mean_table([mean, other]).rows == ()
    (of_arm,) = tables.arm_table("OPO", [mean, mean], ["pass@1"]).rows
    assert of_arm.n_samples == 2 * 5 * 8 * 2


# --- claims -----------------------------------------------------------------------------------------


def arm_results(label: str, seed: int, reward: float) -> claims.ArmResults:
    rng = np.random.default_rng(seed)
    runs = {s: run_of(6, reward=reward + 0.001 * rng.normal(), entropy=reward) for s in range(3)}
    path = tuple(Point(step=i, kl=0.01 * i, pass_at_1=0.3 + reward * i / 10) for i in range(4))
    return claims.ArmResults(label=label, runs=runs, paths=(path, path, path), problems_per_step=2)


def pair_of(metrics: dict[str, Comparison], a: float = 0.5, b: float = 0.5) -> claims.Pair:
    return claims.Pair(a=arm_results("A", 1, a), b=arm_results("B", 2, b), metrics=metrics)


def experiment(*judged: claims.Claim) -> claims.Experiment:
    return claims.Experiment("one", "An experiment", "a", "b", judged)


@pytest.mark.parametrize(
    ("delta", "p", "sign", "ruling"),
    [
        (0.1, 0.01, 1, Ruling.HELD),
        (-0.1, 0.01, 1, Ruling.DID_NOT_HOLD),
        (-0.1, 0.01, -1, Ruling.HELD),
        (0.1, 0.01, -1, Ruling.DID_NOT_HOLD),
        (0.1, 0.06, 1, Ruling.OPEN),
        (0.1, None, 1, Ruling.OPEN),
    ],
)
def test_a_claim_is_judged_by_its_test_and_direction(
    delta: float, p: float | None, sign: int, ruling: Ruling
) -> None:
    metrics = {"pass@1": comparison("pass@1", (delta, delta - 0.05, delta + 0.05), p_value=p)}
    claim = claims.Claim("Table 1", "pass@1 is higher", claims.held_out("pass@1"), sign=sign)
    (judged,) = claims.judge(experiment(claim), pair_of(metrics)).claims
    assert judged.ruling is ruling


def test_claims_of_an_experiment_are_adjusted_together() -> None:
    metrics = {
        f"pass@{k}": comparison(f"pass@{k}", (0.1, 0.0, 0.2), p_value=p) for k, p in ((1, 0.02), (2, 0.04))
    }
    claim = [claims.Claim("T", f"pass@{k}", claims.held_out(f"pass@{k}")) for k in (1, 2, 4)]
    judged = claims.judge(experiment(*claim), pair_of(metrics)).claims
    assert [one.row and one.row.p_adjusted for one in judged] == [0.04, 0.04, None]
    assert [one.ruling for one in judged] == [Ruling.HELD, Ruling.HELD, Ruling.OPEN]
    assert "pass@4 is undefined" in judged[2].reason


@pytest.mark.parametrize(
    ("b", "ruling"),
    [
        (0.5, Ruling.HELD),
        (0.51, Ruling.HELD),
        (0.6, Ruling.DID_NOT_HOLD),
        (0.4, Ruling.HELD),
        (0.52, Ruling.OPEN),
    ],
)
def test_similar_means_within_the_margin_on_the_wrong_side(b: float, ruling: Ruling) -> None:
    claim = claims.Claim(
        "Figure 1",
        "similar",
        claims.in_training("reward", series.first_third, null=lambda value: 0.02),
        sign=-1,
    )
    (judged,) = claims.judge(experiment(claim), pair_of({}, b=b)).claims
    assert judged.ruling is ruling


def test_equal_pass_at_1_is_the_highest_that_all_runs_reach() -> None:
    found = claims.kl_at_equal_pass_at_1(pair_of({}, a=0.5, b=1.0))
    assert found.row is not None
    assert found.row.metric == "kl_start where pass@1 is 45.0 %"
    assert (found.row.value_a, found.row.value_b) == pytest.approx((0.03, 0.015))


def test_a_run_that_learns_nothing_has_no_equal_pass_at_1() -> None:
    found = claims.kl_at_equal_pass_at_1(pair_of({}, a=0.0, b=1.0))
    assert (found.row, found.reason) == (None, "a run never rises above where it began")


def test_every_claim_is_about_arms_and_numbers_that_there_are() -> None:
    """Whatever the study, each claim gives a number or says why there is none."""
    metrics = {name: comparison(name, (0.1, 0.05, 0.15)) for name in ("pass@1", "self_bleu", claims.REP_5)}
    for one in claims.EXPERIMENTS:
        for judged in claims.judge(one, pair_of(metrics, b=0.7)).claims:
            assert (judged.row is None) == bool(judged.reason), judged.text


def test_contrasts_are_adjusted_over_all_of_them() -> None:
    metrics = {"pass@1": comparison("pass@1", (0.1, 0.05, 0.15), p_value=0.001)}
    one = claims.contrast("length weighting", pair_of(metrics, b=0.7))
    rows = [r for c in claims.adjusted([one, one]) for r in c.rows]
    tested = [r for r in rows if r.p_value is not None]
    assert len(rows) > len(tested) > 0  # entropies here have no spread, so there is nothing to test them by
    assert all(r.p_adjusted is not None and r.p_adjusted >= (r.p_value or 0) for r in tested)
    assert next(r for r in rows if r.metric == "pass@1").p_adjusted == pytest.approx(0.001 * len(tested))


# --- from beginning to end --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, str]:
    """Two arms of two seeds, and one that cannot be trained."""
    folder = tmp_path_factory.mktemp("study")
    arms = {**settings()["arms"], "rloo": {"method": "rloo"}}
    study = Study.from_mapping(settings(out=str(folder / "runs"), report=str(folder / "report"), arms=arms))
    with pytest.raises(OpoEvalError) as failure:
        run_study(study, workers=2, quiet=True, train=train_by_hand)
    return study, str(failure.value)


def test_a_failed_arm_is_named_and_the_report_is_of_the_others(finished: tuple[Study, str]) -> None:
    study, said = finished
    assert "2 runs of 6 failed" in said
    assert "rloo_seed0: the loss is nan" in said
    page = (study.report / "README.md").read_text()
    assert "grpo (2 seeds), OPO (2 seeds)." in page
    assert "The run rloo\\_seed1 is not finished and is left out" in page or "The run rloo_seed1 is" in page
    assert "OPO against GRPO" in page
    assert "| gradient clip | not stated | norm 1 |" in page
    assert "| OPO | 2 | 4 | 4 | 0.0 |" in page, "norms of 1 are not above the clip"
    assert "Reinforce++ (Appendix" not in page


def test_checkpoints_that_are_the_start_have_no_lift(finished: tuple[Study, str]) -> None:
    """Every checkpoint is a copy of the start and draws with the same seeds: nothing may differ."""
    study, _ = finished
    page = (study.report / "README.md").read_text()
    section = page.partition("## Over the start")[2].partition("\n## ")[0]
    assert "| OPO | 2 | 0.0 | 0.0 | no |" in section
    claims_table = (study.report / "claims.csv").read_text()
    assert "held," not in claims_table.replace("cannot be told,", "")


def test_a_finished_study_is_not_run_again(finished: tuple[Study, str], tmp_path: Path) -> None:
    study, _ = finished

    def never(config: TrainConfig) -> None:
        raise AssertionError(f"{config.out} is finished")

    arms = {name: study.arms[name] for name in ("grpo", "opo")}
    labels = {name: {**own, "label": study.labels[name]} for name, own in arms.items()}
    again = Study.from_mapping(settings(out=str(study.out), report=str(tmp_path / "report"), arms=labels))
    run_study(again, workers=2, quiet=True, train=never)
    files = {path.relative_to(again.report) for path in again.report.rglob("*.*")}
    assert {Path("README.md"), Path("report.md"), Path("claims.csv"), Path("figures/kl.png")} <= files


def test_a_report_comes_out_the_same_again(finished: tuple[Study, str], tmp_path: Path) -> None:
    study, _ = finished
    arms = {name: {**study.arms[name], "label": study.labels[name]} for name in ("grpo", "opo")}
    made = []
    for name in ("one", "two"):
        again = settings(out=str(study.out), report=str(tmp_path / name), arms=arms)
        run_study(Study.from_mapping(again), workers=1, quiet=True)
        paths = [path for path in (tmp_path / name).rglob("*.*") if path.name != "manifest.json"]
        made.append({path.relative_to(tmp_path / name): path.read_bytes() for path in paths})
    assert made[0] == made[1]


def test_other_settings_train_again(finished: tuple[Study, str]) -> None:
    study, _ = finished
    assert stages.is_trained(study.plans[0])
    changed = Study.from_mapping(
        settings(out=str(study.out), train={**settings()["train"], "learning_rate": 1e-4})
    )
    assert not any(map(stages.is_trained, changed.plans))


def test_other_evaluation_settings_are_refused_for_the_same_folder(finished: tuple[Study, str]) -> None:
    study, _ = finished
    evaluation = {**settings()["evaluation"], "max_tokens": 16}
    changed = settings(out=str(study.out), report=str(study.report), evaluation=evaluation, seeds=[0])
    with pytest.raises(OpoEvalError, match=r"nothing .* could be evaluated.*max_tokens was 32, now 16"):
        run_study(Study.from_mapping(changed), workers=2, quiet=True)


def test_runs_that_cannot_be_evaluated_have_each_their_own_reason(tmp_path: Path) -> None:
    """One checkpoint loses its weights, another its tokenizer; the third run is in the report."""
    arms = {name: {"method": name} for name in ("grpo", "opo", "dr_grpo")}
    study = Study.from_mapping(
        settings(out=str(tmp_path / "runs"), report=str(tmp_path / "report"), arms=arms, seeds=[0])
    )

    def train(config: TrainConfig) -> None:
        train_by_hand(config)
        lost = {"grpo": "tokenizer*", "opo": "config.json"}.get(config.method, "nothing")
        for path in (config.out / "step_000004").glob(lost):
            path.unlink()

    with pytest.raises(OpoEvalError, match="2 runs of 3 failed"):
        run_study(study, workers=1, quiet=True, train=train)
    page = (study.report / "README.md").read_text().replace("\\", "")
    (grpo,) = [line for line in page.splitlines() if "The run grpo_seed0 is not finished" in line]
    (opo,) = [line for line in page.splitlines() if "The run opo_seed0 is not finished" in line]
    assert "has no tokenizer" in grpo and "opo_seed0" not in grpo
    assert "has no config.json" in opo and "grpo_seed0" not in opo


def test_the_demo_trains_evaluates_and_speaks_of_runs(tmp_path: Path) -> None:
    """The real trainer, one arm, two steps: the whole chain, and no word of methods."""
    demo = demo_study(tmp_path / "runs", tmp_path / "report")
    small = {"steps": 2, "problems_per_step": 2, "group_size": 2, "save_every": 2}
    cut = settings(
        seeds=[0],
        out=str(tmp_path / "runs"),
        report=str(tmp_path / "report"),
        train={**demo.train, **small},
        arms={"opo": {"label": "OPO", "method": "opo"}},
    )
    run_study(Study.from_mapping(cut), workers=2, quiet=True)
    page = (tmp_path / "report/README.md").read_text()
    assert "One training seed an arm" in page
    assert "Claim by claim" not in page
    assert "opo_seed0_step2" in (tmp_path / "report/report.md").read_text()
    steps = (tmp_path / "report/training.csv").read_text().splitlines()
    assert [line.split(",")[:3] for line in steps[1:]] == [["OPO", "0", "1"], ["OPO", "0", "2"]]
    manifest = orjson.loads((tmp_path / "report/manifest.json").read_bytes())
    assert manifest["study"]["arms"]["opo"]["method"] == "opo"


def test_the_demo_is_three_arms_of_one_seed() -> None:
    demo = demo_study(Path("runs/demo"), Path("reports/demo"))
    assert [plan.name for plan in demo.plans] == ["grpo_loose_seed0", "grpo_seed0", "opo_seed0"]
    assert all(plan.config.steps <= 75 for plan in demo.plans)
    losses = [plan.config.settled().mini_batches for plan in demo.plans]
    assert losses == [2, 1, 1]
    for one, other in itertools.pairwise(demo.plans):
        assert one.config.learning_rate == other.config.learning_rate
