"""The report on TRL and verl: its page, and verl's numbers reproduced where verl is not installed.

reports/in_trainers/ holds what the tools gave; benchmarks/studies/in_trainers.py makes it, in environments
with the tools.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
from studies.scripts import study

from opo_eval.grading import grade_answers
from opo_eval.records import Verdict
from opo_eval.rl.advantages import ADVANTAGES
from opo_eval.rl.config import METHODS

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "reports/in_trainers"


def rows(name: str) -> list[dict[str, str]]:
    with (REPORT / name).open(newline="") as file:
        return list(csv.DictReader(file))


STEPS, EXPORTS, BATCH = rows("trl_steps.csv"), rows("verl.csv"), rows("batch.csv")
CASES = rows("cases.csv")
GROUP_SIZE = 8


def column(name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in BATCH]).reshape(-1, GROUP_SIZE)


def test_the_page_is_that_of_the_tables():
    assert (REPORT / "README.md").read_text() == study("in_trainers").page(STEPS, EXPORTS, CASES)


def test_trl_trained_ten_steps_of_every_method_on_our_verdicts():
    methods = dict.fromkeys(row["method"] for row in STEPS)
    assert list(methods) == ["dr_grpo", "grpo", "rloo"]
    for method in methods:
        assert [int(row["step"]) for row in STEPS if row["method"] == method] == list(range(1, 11))
    for row in STEPS:
        assert row["rewards_equal"] == row["prompts_equal"] == row["responses"] == "128"
        assert float(row["advantage_off"]) < 1e-5 and float(row["gradient_off"]) < 1e-6
        assert 0 < int(row["right"]) < 128 and float(row["gradient_norm"]) > 0


def test_verl_took_every_export():
    assert [row["method"] for row in EXPORTS] == ["opo", "grpo", "grpo_loose", "dr_grpo", "rloo"]
    for row in EXPORTS:
        assert (row["verl"], row["antlr"]) == ("0.9.1", "4.9.3")
        assert row["rewards_equal"] == row["responses"] and row["prompts_equal"] == row["problems"]
        assert max(float(row[name]) for name in ("advantage_off", "on_policy_off", "shifted_off")) < 1e-5


def test_hard_answers_are_graded_beside_verl_as_here():
    """With ANTLR runtime 4.9 there and a newer one here."""
    golds, texts = [row["gold"] for row in CASES], [rf"\boxed{{{row['answer']}}}" for row in CASES]
    outcomes = grade_answers(golds, texts, lenient=False)
    assert [str(outcome.verdict) for outcome in outcomes] == [row["verdict"] for row in CASES]
    for row in CASES:
        assert float(row["verl_score"]) == (row["verdict"] == "correct")
        assert float(row["verl_unscorable"]) == (row["verdict"] in ("timed_out", "grader_error"))
    assert {"correct", "wrong", "timed_out"} <= {row["verdict"] for row in CASES}


def test_verls_rewards_are_todays_verdicts():
    outcomes = grade_answers(
        [row["gold"] for row in BATCH], [row["text"] for row in BATCH], think="none", lenient=False
    )
    right = [float(outcome.verdict is Verdict.CORRECT) for outcome in outcomes]
    assert column("verl_reward").ravel().tolist() == column("reward").ravel().tolist() == right
    assert 0.1 < np.mean(right) < 0.9


@pytest.mark.parametrize("method", [row["method"] for row in EXPORTS])
def test_verls_advantages_are_ours(method):
    ours = ADVANTAGES[METHODS[method].advantage](column("verl_reward"), column("length"))
    theirs = column(f"verl_{method}")
    np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=1e-5)
    assert np.abs(theirs).max() > 0.5


def test_verls_opo_weighs_by_length():
    """That the batch tells OPO from Dr. GRPO, and lengths in tokens from lengths in characters."""
    theirs = column("verl_opo")
    assert np.abs(theirs - column("verl_dr_grpo")).max() > 0.01
    characters = np.array([len(row["text"]) for row in BATCH]).reshape(-1, GROUP_SIZE)
    assert np.abs(theirs - ADVANTAGES["opo"](column("reward"), characters)).max() > 1e-4
