"""The miniature study: what it compares, and its committed report against its own numbers."""

import csv
import importlib
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from scipy import stats as scipy_stats

from opo_eval.stats import holm
from opo_eval.study import read_study
from opo_eval.study.claims import CONTRASTS, EXPERIMENTS
from opo_eval.study.stages import evaluation_problems

ROOT = Path(__file__).resolve().parents[2]
STUDY = read_study(ROOT / "benchmarks/studies/miniature.toml")
REPORT = ROOT / STUDY.report


def rows(name: str) -> list[dict[str, str]]:
    with (REPORT / name).open(newline="") as file:
        return list(csv.DictReader(file))


# --- what is compared -------------------------------------------------------------------------------


def test_every_arm_of_the_paper_and_every_isolating_arm_has_five_seeds() -> None:
    methods = {arm: STUDY.plans_of(arm)[0].config.method for arm in STUDY.arms}
    assert set(methods.values()) == {
        "grpo_loose", "grpo", "opo", "dr_grpo", "rloo", "opo_loo", "reinforce_pp", "opo_batch",
    }  # fmt: skip
    assert all(len(STUDY.plans_of(arm)) >= 5 for arm in methods)


def test_every_claim_and_every_contrast_has_its_arms() -> None:
    named = {arm for one in EXPERIMENTS for arm in (one.a, one.b)} | {
        arm for pair in CONTRASTS for arm in pair[1:]
    }
    assert named == set(STUDY.arms)


def test_arms_differ_in_their_method_and_in_nothing_else() -> None:
    """But for the loose arm at equal updates, which has fewer steps."""
    kept = {"out", "seed", "method"}
    configs = [
        {name: value for name, value in asdict(plan.config).items() if name not in kept}
        for plan in STUDY.plans
        if plan.arm != "grpo_loose_half"
    ]
    assert all(config == configs[0] for config in configs)


def test_loose_grpo_has_equal_rollouts_in_one_arm_and_equal_updates_in_the_other() -> None:
    configs = {arm: STUDY.plans_of(arm)[0].config for arm in ("grpo", "grpo_loose", "grpo_loose_half")}
    rollouts = {arm: config.steps for arm, config in configs.items()}
    updates = {arm: config.steps * config.settled().mini_batches for arm, config in configs.items()}
    assert rollouts["grpo_loose"] == rollouts["grpo"]
    assert updates["grpo_loose_half"] == updates["grpo"]
    assert updates["grpo_loose"] == 2 * updates["grpo"]
    half = asdict(configs["grpo_loose_half"])
    whole = asdict(configs["grpo_loose"])
    assert {name for name in half if half[name] != whole[name]} <= {"steps", "save_every", "out"}


def test_each_run_has_more_checkpoints_than_its_last_few() -> None:
    assert all(len(plan.saved_steps) > STUDY.evaluation.last for plan in STUDY.plans)


def test_the_problems_are_held_out() -> None:
    assert all(plan.config.benchmarks == ("tiny-arith",) for plan in STUDY.plans)
    assert len(evaluation_problems(STUDY)) >= 64


def test_the_script_reads_its_own_settings() -> None:
    folder = str(ROOT / "benchmarks/studies")
    sys.path.insert(0, folder)
    try:
        script = importlib.import_module("miniature")
    finally:
        sys.path.remove(folder)
    assert read_study(script.SETTINGS) == STUDY


# --- the committed report ---------------------------------------------------------------------------


def test_the_report_is_of_these_settings() -> None:
    study = orjson.loads((REPORT / "manifest.json").read_bytes())["study"]
    assert study["seeds"] == list(STUDY.seeds)
    assert study["train"] == STUDY.train
    assert study["evaluation"] == asdict(STUDY.evaluation)
    assert study["arms"] == {arm: {"label": STUDY.labels[arm], **own} for arm, own in STUDY.arms.items()}


def test_every_run_has_all_its_steps() -> None:
    taken: dict[tuple[str, int], list[int]] = defaultdict(list)
    for row in rows("training.csv"):
        taken[row["arm"], int(row["seed"])].append(int(row["step"]))
    expected = {
        (STUDY.labels[plan.arm], plan.seed): list(range(1, plan.config.steps + 1)) for plan in STUDY.plans
    }
    assert taken == expected


def test_an_arms_value_is_the_mean_of_its_runs() -> None:
    of_runs: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows("runs.csv"):
        of_runs[row["arm"], row["metric"]].append(float(row["value"]))
    for row in rows("metrics.csv"):
        if row["checkpoint"] != "start" and row["metric"] in ("pass@1", "pass@16", "self_bleu", "tokens"):
            expected = np.mean(of_runs[row["checkpoint"], row["metric"]])
            assert float(row["value"]) == pytest.approx(expected, rel=1e-12), row


def test_rulings_follow_from_p_values_adjusted_over_each_experiment() -> None:
    by_experiment: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows("claims.csv"):
        by_experiment[row["experiment"]].append(row)
    assert list(by_experiment) == [one.title for one in EXPERIMENTS]
    for experiment in by_experiment.values():
        tested = [row for row in experiment if row["p_value"]]
        adjusted = holm([float(row["p_value"]) for row in tested])
        for row, p in zip(tested, adjusted, strict=True):
            assert float(row["p_adjusted"]) == pytest.approx(p)
        for row in experiment:
            told_apart = bool(row["p_adjusted"]) and float(row["p_adjusted"]) < 0.05
            assert (row["ruling"] == "cannot be told") != told_apart, row


def test_claims_of_training_are_those_of_the_steps() -> None:
    """Welch's test of the last third of the steps, from training.csv alone."""
    last: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows("training.csv"):
        steps = next(p.config.steps for p in STUDY.plans if STUDY.labels[p.arm] == row["arm"])
        if int(row["step"]) > steps - -(-steps // 3):
            for name in ("kl_start", "entropy"):
                if row[name]:  # KL is not measured in every step
                    last[row["arm"], name][int(row["seed"])].append(float(row[name]))
    checked = 0
    for row in rows("claims.csv"):
        quantity, _, window = row["number"].partition(", ")
        if window == "last third of the steps" and row["claim"].startswith(("KL", "entropy is higher")):
            a, b = ([np.mean(v) for v in last[row[side], quantity].values()] for side in "ab")
            found = scipy_stats.ttest_ind(b, a, equal_var=False)
            assert float(row["difference"]) == pytest.approx(np.mean(b) - np.mean(a), abs=1e-6)
            assert float(row["p_value"]) == pytest.approx(found.pvalue, rel=1e-2, abs=1e-6)
            checked += 1
    assert checked >= 6


def test_opo_lifts_pass_at_1_by_three_tenths_and_does_not_pay_with_pass_at_16() -> None:
    (opo,) = [row for row in rows("lifts.csv") if row["arm"] == "OPO"]
    assert int(opo["n_seeds"]) >= 3
    assert float(opo["pass@1"]) >= 0.3
    assert opo["k"] == "16"
    assert float(opo["pass@k_low"]) > -0.02


def test_figures_are_of_the_steps() -> None:
    """The curve of OPO's KL, block by block, from training.csv alone."""
    drawn = [row for row in rows("figures/opo.csv") if (row["arm"], row["quantity"]) == ("OPO", "kl_start")]
    block = int(drawn[0]["block"])
    kl: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for row in rows("training.csv"):
        if row["arm"] == "OPO" and row["kl_start"]:
            kl[(int(row["step"]) - 1) // block].append((int(row["step"]), float(row["kl_start"])))
    assert len(drawn) == len(kl) > 10
    for row, measured in zip(drawn, kl.values(), strict=True):
        middle, mean = np.mean(measured, axis=0)
        assert float(row["step"]) == pytest.approx(middle, rel=1e-5)
        assert float(row["mean"]) == pytest.approx(mean, rel=1e-4)


def test_the_page_shows_figures_that_are_there_and_keeps_no_samples() -> None:
    names = {str(path.relative_to(REPORT)) for path in REPORT.rglob("*") if path.is_file()}
    page = (REPORT / "README.md").read_text()
    shown = {line.partition("](")[2][:-1] for line in page.splitlines() if line.startswith("![")}
    assert shown
    assert shown <= names
    for name in shown:
        assert name.replace(".png", ".svg") in names
    kinds: set[Any] = {Path(name).suffix for name in names}
    assert kinds <= {".md", ".csv", ".png", ".svg", ".json"}
    assert "samples.csv" not in names
