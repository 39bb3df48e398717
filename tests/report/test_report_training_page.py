"""The page of a study: what it says of each claim, and of whose training."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from report.drawn import view
from report.handmade import comparison, interval, row, table

from opo_eval.records import Comparison, MetricTable, TrainingStep
from opo_eval.report.training_data import (
    Contrast,
    Curve,
    FigureOf,
    JudgedClaim,
    JudgedExperiment,
    Lift,
    LiftBounds,
    Path,
    Point,
    Ruling,
    Run,
    StudyPage,
    TrainedArm,
)
from opo_eval.report.training_files import page_files
from opo_eval.report.views import BenchmarkView

SEEDS = "training seeds and problems like these"


def arm(name: str, value: float) -> MetricTable:
    """Its pass@1, pass@8, Self-BLEU and Rep-5 over seeds and problems."""
    bounds = interval(value - 0.05, value + 0.05, SEEDS)
    rows = [row(metric, (value,), checkpoint=name, interval=bounds) for metric in ("pass@1", "pass@8")]
    rows += [row("self_bleu", (90.0,), checkpoint=name), row("rep_5_per_sequence", (0.01,), checkpoint=name)]
    return table(name, {}, rows=rows, statistics=())


def difference(metric: str = "pass@1", delta: float = 0.1, **fields: Any) -> Comparison:
    bounds = interval(delta - 0.04, delta + 0.04, SEEDS)
    named = {"a": "GRPO", "b": "OPO", "interval": bounds, "n_train_seeds": 5}
    return comparison(metric, (delta,), **(named | fields))


def claim(ruling: Ruling, **fields: Any) -> JudgedClaim:
    given = difference(p_value=0.01, p_adjusted=0.03)
    defaults: dict[str, Any] = {
        "source": "Table 2",
        "text": "pass@1 is higher",
        "row": given,
        "ruling": ruling,
    }
    return JudgedClaim(**(defaults | fields))


def arms_view(tables: Sequence[MetricTable], *differences: Comparison) -> BenchmarkView:
    """Arms as the checkpoints of a benchmark."""
    names = {table.checkpoint: table.checkpoint for table in tables}
    return replace(view(*tables), arm_comparisons=differences, arms=names)


def page(**fields: Any) -> StudyPage:
    """Two arms of five seeds."""
    tables = [arm("start", 0.3), arm("GRPO", 0.5), arm("OPO", 0.6)]
    claims = (
        claim(Ruling.HELD),
        claim(Ruling.DID_NOT_HOLD, text="KL is lower", row=difference("kl_start", 0.02)),
        claim(Ruling.OPEN, text="entropy is higher", row=None, reason="it was not measured"),
    )
    lift = difference(a="start", delta=0.3)
    defaults: dict[str, Any] = {
        "name": "A small study",
        "is_of_methods": True,
        "trained": (
            TrainedArm(
                arm="OPO", n_seeds=5, steps=150, updates=150, clipped=0.875,
                last_third={"kl_start": (0.05, interval(0.04, 0.06, "training seeds"))},
            ),
        ),
        "settings": (("steps", "500", "150"),),
        "view": arms_view(tables, difference(p_value=0.01, p_adjusted=None)),
        "last_mean": (arm("GRPO", 0.51), arm("OPO", 0.61)),
        "lifts": (
            Lift(arm="OPO", n_seeds=5, pass_at_1=lift, pass_at_k=difference("pass@8", 0.05), meets=True),
        ),
        "lift_bounds": LiftBounds(pass_at_1=0.3, pass_at_k=-0.02),
        "experiments": (
            JudgedExperiment(key="opo", title="OPO against GRPO", a="GRPO", b="OPO", claims=claims),
        ),
        "contrasts": (Contrast(what="length weighting", a="Dr.GRPO", b="OPO", rows=(difference(),)),),
        "curves": (
            Curve(
                arm="OPO", quantity="reward", steps=(1.0, 2.0), means=(0.3, 0.4), intervals=(None, None),
                n_seeds=5, block=1,
            ),
        ),
        "paths": (Path(arm="OPO", runs=(), means=(Point(step=0, kl=0, pass_at_1=0.3),)),),
        "figures": (
            FigureOf(name="training", title="Training", arms=("OPO",), quantities=("reward",)),
            FigureOf(name="lost", title="Lost", arms=("OPO",), quantities=("entropy",)),
            FigureOf(name="kl", title="KL", arms=("OPO",)),
        ),
        "pass_at_k_arms": ("start", "OPO"),
        "runs": (Run(arm="OPO", seed=3, steps=(step(1), step(2)), last=arm("OPO", 0.6)),),
        "notes": ("One model.",),
        "rebuild": "python study.py",
    }  # fmt: skip
    return StudyPage(**(defaults | fields))


def step(number: int) -> TrainingStep:
    return TrainingStep(
        step=number, method="opo", train_seed=3, reward=1 / 3, pass_rate=None, n_samples=4, n_tokens=9,
        n_unscorable=0, groups_equal=0.5, entropy=0.2, kl_start=None, kl_start_k1=None, kl_start_k3=None,
        kl_rollout_k1=0.0, kl_rollout_k3=0.0, kl_update_k3=None, gradient_norm=1.0, clip_fraction=None,
        loss=0.0, learning_rate=1e-3, n_updates=number, length=2.25, length_correct=None, length_wrong=2.0,
        truncated=0.0, seconds={},
    )  # fmt: skip


def readme(**fields: Any) -> str:
    return page_files(page(**fields))["README.md"].decode()


def section(text: str, title: str) -> str:
    """From a heading of the second level to the next."""
    assert f"\n## {title}\n" in text
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_claim_has_its_numbers_and_its_ruling() -> None:
    text = section(readme(), "Claim by claim")
    numbers = "pass@1 (percentage points) | 50.0 | 60.0 | +10.0 [+6.0, +14.0] | 0.01 | 0.03 | 8.0"
    assert f"| pass@1 is higher | Table 2 | {numbers} | held |" in text
    assert "| +2.0 [-2.0, +6.0] |" in text
    assert (
        "| entropy is higher | Table 2 | it was not measured | — | — | — | — | — | — | cannot be told |"
        in text
    )


def test_rulings_are_counted_and_those_that_are_one_are_named() -> None:
    text = section(readme(), "What it comes to")
    assert (
        "OPO against GRPO: of 3 claims 1 held, 1 did not hold, 1 cannot be told. Held: pass@1 is higher. Did "
        "not hold, but the reverse did: KL is lower."
    ) in text


def test_what_training_has_to_do_is_said_with_both_bounds() -> None:
    text = readme()
    assert "| OPO | 5 | +30.0 [+26.0, +34.0] | +5.0 [+1.0, +9.0] | yes |" in section(text, "Over the start")
    said = "pass@1 rises by 30 points or more over the start, with the lower bound of pass@8 above -2 points"
    assert f"{said}, in 1 of 1 arm: OPO." in text


def test_the_last_checkpoint_and_the_mean_of_the_last_stand_in_two_tables() -> None:
    text = section(readme(), "On held-out problems")
    assert "| OPO | 60.0 [55.0, 65.0] | 60.0 [55.0, 65.0] |\n" in text
    assert "| OPO | 61.0 [56.0, 66.0] | 61.0 [56.0, 66.0] | 90.0 | 1.0 |" in text


def test_how_often_gradients_were_clipped_stands_beside_the_updates() -> None:
    text = section(readme(), "In training")
    assert "| arm | seeds | rollouts | updates | clipped (%) | KL to the start |" in text
    assert "| OPO | 5 | 150 | 150 | 87.5 | 0.050 [0.040, 0.060] |" in text
    bare = replace(page().trained[0], clipped=None)
    assert "clipped (%)" not in section(readme(trained=(bare,)), "In training")


def test_what_else_two_arms_differ_in_stands_above_their_numbers() -> None:
    one, other = page().experiments[0], page().contrasts[0]
    text = readme(
        experiments=(replace(one, note="Clipped in one."),), contrasts=(replace(other, note="In both."),)
    )
    assert "### OPO against GRPO\n\nClipped in one.\n\n| claim" in text
    assert "### OPO minus Dr.GRPO: length weighting\n\nIn both.\n\n| number" in text


def test_one_seed_speaks_of_runs_and_judges_no_claim() -> None:
    files = page_files(page(is_of_methods=False, experiments=(), lifts=(), last_mean=(), contrasts=()))
    text = files["README.md"].decode()
    assert text.split("\n\n")[1].startswith(
        "One training seed an arm: what follows speaks of these runs, not of"
    )
    assert "Claim by claim" not in text
    assert "Over the start" not in text
    assert "claims.csv" not in files
    assert "report.md" not in files


def test_figures_that_cannot_be_drawn_are_named_with_the_reason() -> None:
    files = page_files(page())
    text = files["README.md"].decode()
    assert "![training](figures/training.png)" in text
    assert "figures/lost.png" not in files
    assert "No figure of lost: no run has measured entropy." in section(text, "Limits")
    assert {"figures/training.csv", "figures/kl.svg", "figures/pass_at_k.png"} <= files.keys()


def test_every_figure_that_the_page_shows_is_there() -> None:
    files = page_files(page())
    shown = [
        line.partition("](")[2][:-1] for line in files["README.md"].decode().splitlines() if line[:2] == "!["
    ]
    assert shown and all(path in files for path in shown)


def test_claims_are_there_for_programs() -> None:
    rows = list(csv.DictReader(io.StringIO(page_files(page())["claims.csv"].decode())))
    assert [row["ruling"] for row in rows] == ["held", "did not hold", "cannot be told"]
    assert (rows[0]["difference"], rows[0]["p_adjusted"], rows[0]["interval"]) == ("0.1", "0.03", SEEDS)
    assert (rows[2]["difference"], rows[2]["reason"]) == ("", "it was not measured")


def test_steps_are_there_for_programs_and_what_was_not_measured_is_empty() -> None:
    rows = list(csv.DictReader(io.StringIO(page_files(page())["training.csv"].decode())))
    assert [(row["arm"], row["seed"], row["step"]) for row in rows] == [("OPO", "3", "1"), ("OPO", "3", "2")]
    assert (rows[0]["reward"], rows[0]["kl_start"], rows[0]["groups_equal"]) == ("0.333333", "", "0.5")


def test_the_report_has_every_difference_and_adjusts_none() -> None:
    text = page_files(page())["report.md"].decode()
    assert "### OPO minus GRPO" in text
    assert "better, unadjusted" in text
    assert "| pass@1 | % | 30.0 [25.0, 35.0] | 50.0 [45.0, 55.0] | 60.0 [55.0, 65.0] |" in text


@pytest.mark.parametrize("name", ["# x", "<b>x</b>", "[x](y)", "a|b"])
def test_names_cannot_act(name: str) -> None:
    text = readme(name=name, notes=(name,))
    assert f"\n{name}" not in text
    assert "<b>" not in text
    assert "](y)" not in text.replace("\\](y)", "")
