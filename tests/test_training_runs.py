"""The training runs behind compared checkpoints: found by paths, read from their records, joined by seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from builders import problem, sample
from report.handmade import compared, row, table
from report.paper_material import nats, settings

from opo_eval.arms import Arm
from opo_eval.compare import ComparedRuns
from opo_eval.problems import dataset_sha256
from opo_eval.records import Checkpoint, MetricTable, TrainingStep
from opo_eval.report.paper.data import Source
from opo_eval.rl.steps import step_file
from opo_eval.store import Appender, RunDir, RunWriter
from opo_eval.training_runs import paper_data

PROBLEMS = (problem(0),)


def steps(seed: int, n: int = 4, method: str = "opo", *, kl_every: int = 1) -> list[TrainingStep]:
    """Reward 0.1 a step, KL 0.01 a step, entropy falling, each shifted by the seed."""
    return [
        TrainingStep(
            step=i, method=method, train_seed=seed, reward=0.1 * i + 0.01 * seed, pass_rate=None, n_samples=8,
            n_tokens=80, n_unscorable=0, groups_equal=0.0, entropy=1.0 - 0.1 * i,
            kl_start=0.01 * (i - 1) if (i - 1) % kl_every == 0 else None, kl_start_k1=None, kl_start_k3=None,
            kl_rollout_k1=0.0, kl_rollout_k3=0.0, kl_update_k3=None, gradient_norm=1.0, clip_fraction=None,
            loss=0.0, learning_rate=1e-3, n_updates=i, length=10.0, length_correct=None, length_wrong=None,
            truncated=0.0, seconds={},
        )
        for i in range(1, n + 1)
    ]  # fmt: skip


def trained(root: Path, name: str, own: Sequence[TrainingStep]) -> Path:
    """A training run's folder with its records."""
    (root / name).mkdir()
    records = Appender(step_file(root / name))
    records.append(own)
    records.close()
    return root / name


def run(root: Path, checkpoint: Checkpoint) -> RunDir:
    """A run directory of it."""
    path = root / "runs" / checkpoint.name
    made = replace(settings(dataset_sha256=dataset_sha256(PROBLEMS)), checkpoint=checkpoint)
    with RunWriter(path, made, PROBLEMS) as writer:
        writer.append_samples([sample(PROBLEMS[0], 0, "x", checkpoint=checkpoint.name)])
    return RunDir(path)


def checkpoint(folder: Path, step: int, seed: int = 0, **fields: object) -> Checkpoint:
    known = {"method": "opo", "train_seed": seed, "step": step, "path": str(folder / f"step_{step:06d}")}
    return Checkpoint(name=f"{folder.name}_step{step}", **(known | fields))  # type: ignore[arg-type]


START = Checkpoint(name="start", step=0, path="somewhere/start")


def together(
    root: Path,
    checkpoints: Sequence[Checkpoint],
    shares: Mapping[str, float] | None = None,
    tables: Sequence[MetricTable] = (),
    **fields: object,
) -> ComparedRuns:
    known = shares or {c.name: 0.5 for c in checkpoints}
    made = tables or [table(name, {"pass@1": (share, 0.1, 0.9)}) for name, share in known.items()]
    return replace(compared(made), runs=tuple(run(root, c) for c in checkpoints), **fields)


def test_the_records_of_training_are_read_from_beside_the_checkpoint(tmp_path: Path) -> None:
    folder = trained(tmp_path, "opo_seed0", steps(0))
    data = paper_data(together(tmp_path, [START, checkpoint(folder, 4)]))
    found = {curve.quantity: curve for curve in data.training.curves}
    assert list(found) == ["reward", "kl_start", "entropy"]
    assert found["reward"].arm == "opo_seed0_step4"
    assert found["reward"].steps == (1, 2, 3, 4)
    assert found["reward"].means == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert found["kl_start"].means == pytest.approx((0.0, 0.01, 0.02, 0.03))
    assert data.training.lacking == ()


def test_a_path_begins_at_the_start_and_has_the_kl_that_training_measured(tmp_path: Path) -> None:
    folder = trained(tmp_path, "opo_seed0", steps(0))
    both = [START, checkpoint(folder, 2), checkpoint(folder, 4)]
    shares = {"start": 0.3, "opo_seed0_step2": 0.4, "opo_seed0_step4": 0.6}
    data = paper_data(together(tmp_path, both, shares)).held_out["sums"]
    assert data.source is Source.ROLLOUTS
    (path,) = data.paths
    assert [(p.step, round(p.kl, 6), p.pass_at_1) for p in path.means] == [
        (0, 0.0, 0.3),
        (2, 0.02, 0.4),
        (4, 0.03, 0.6),
    ]


def test_seeds_of_an_arm_are_a_mean_with_an_interval(tmp_path: Path) -> None:
    folders = [trained(tmp_path, f"opo_seed{seed}", steps(seed)) for seed in (0, 1)]
    own = [checkpoint(folder, 4, seed) for seed, folder in enumerate(folders)]
    arm = Arm(name="opo", checkpoints=tuple(c.name for c in own))
    data = paper_data(together(tmp_path, own, arms=(arm,)))
    reward = next(curve for curve in data.training.curves if curve.quantity == "reward")
    assert (reward.arm, reward.n_seeds) == ("opo", 2)
    assert reward.means == pytest.approx((0.105, 0.205, 0.305, 0.405))
    # Student's t with one degree of freedom: 12.706 × |0.01| / 2.
    first = reward.intervals[0]
    assert first and first.high - reward.means[0] == pytest.approx(12.7062 * 0.005, rel=1e-4)
    (path,) = data.held_out["sums"].paths
    assert (path.arm, len(path.runs)) == ("opo", 2)


def test_long_runs_are_averaged_over_blocks(tmp_path: Path) -> None:
    folder = trained(tmp_path, "opo_seed0", steps(0, 60))
    data = paper_data(together(tmp_path, [checkpoint(folder, 60)]))
    reward = data.training.curves[0]
    assert (reward.block, len(reward.steps)) == (2, 30)
    assert reward.means[0] == pytest.approx(0.15)


# --- what is not at hand ----------------------------------------------------------------------------


def test_records_that_are_gone_are_named(tmp_path: Path) -> None:
    folder = trained(tmp_path, "opo_seed0", steps(0))
    gone = checkpoint(tmp_path / "gone", 4)
    data = paper_data(together(tmp_path, [checkpoint(folder, 4), gone]))
    assert {curve.arm for curve in data.training.curves} == {"opo_seed0_step4"}
    (said,) = data.training.lacking
    assert (
        said == "gone_step4: the records of its training (training.jsonl) are not where its checkpoint lay."
    )


@pytest.mark.parametrize(("seed", "step"), [(1, 4), (0, 9)])
def test_records_of_another_run_are_not_taken(tmp_path: Path, seed: int, step: int) -> None:
    folder = trained(tmp_path, "opo_seed0", steps(0))
    data = paper_data(together(tmp_path, [checkpoint(folder, step, seed)]))
    assert data.training.curves == ()
    assert "is of another training run" in data.training.lacking[0]


def test_damaged_records_are_named(tmp_path: Path) -> None:
    folder = trained(tmp_path, "opo_seed0", steps(0))
    (folder / "training.jsonl").write_text("not json\n{}\n")
    data = paper_data(together(tmp_path, [checkpoint(folder, 4)]))
    assert data.training.curves == () and "cannot be read" in data.training.lacking[0]


def test_training_that_never_measured_kl_has_no_path(tmp_path: Path) -> None:
    own = [replace(step, kl_start=None) for step in steps(0)]
    folder = trained(tmp_path, "opo_seed0", own)
    data = paper_data(together(tmp_path, [START, checkpoint(folder, 4)]))
    assert {curve.quantity for curve in data.training.curves} == {"reward", "entropy"}
    assert data.held_out["sums"].paths == ()


def test_imported_generations_have_no_training(tmp_path: Path) -> None:
    data = paper_data(together(tmp_path, [Checkpoint(name="theirs")]))
    assert data.training.curves == data.training.lacking == ()
    assert data.held_out["sums"].paths == ()


# --- scored samples ---------------------------------------------------------------------------------


def scored(name: str, kl: float | None, share: float, metric: str = "kl") -> MetricTable:
    entropy = metric.replace("kl", "entropy")
    rows = [] if kl is None else [nats(name, metric, kl), nats(name, entropy, 1 - kl)]
    return table(name, {"pass@1": (share, 0.1, 0.9)}, rows=rows)


def test_scored_samples_go_before_the_records_of_training(tmp_path: Path) -> None:
    folder = trained(tmp_path, "opo_seed0", steps(0))
    both = [START, checkpoint(folder, 2), checkpoint(folder, 4)]
    tables = [
        scored("start", 0.0, 0.3),
        scored("opo_seed0_step2", 0.5, 0.4),
        scored("opo_seed0_step4", 0.7, 0.6),
    ]
    data = paper_data(together(tmp_path, both, tables=tables)).held_out["sums"]
    assert (data.source, data.temperature) == (Source.SAMPLES, "1")
    assert [(p.step, p.kl, p.pass_at_1) for p in data.paths[0].means] == [
        (0, 0.0, 0.3),
        (2, 0.5, 0.4),
        (4, 0.7, 0.6),
    ]
    kl = next(curve for curve in data.curves if curve.quantity == "kl_start")
    assert (kl.steps, kl.means, kl.block) == ((0, 2, 4), (0.0, 0.5, 0.7), 1)
    assert kl.intervals[1] == row("kl", (0.5, 0.499, 0.501)).interval
    assert data.lacking == ()


def test_scored_at_another_temperature(tmp_path: Path) -> None:
    folder = tmp_path / "opo_seed0"
    own = [checkpoint(folder, 2), checkpoint(folder, 4)]
    tables = [scored(c.name, 0.1 * (c.step or 0), 0.5, "kl_t0.6") for c in own]
    data = paper_data(together(tmp_path, own, tables=tables)).held_out["sums"]
    assert data.temperature == "0.6" and [p.kl for p in data.paths[0].means] == [0.2, 0.4]


def test_checkpoints_without_scores_are_left_out_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "opo_seed0"
    own = [checkpoint(folder, 2), checkpoint(folder, 4), Checkpoint(name="other")]
    tables = [scored(own[0].name, 0.2, 0.5), scored(own[1].name, None, 0.6), scored("other", 0.3, 0.4)]
    data = paper_data(together(tmp_path, own, tables=tables)).held_out["sums"]
    assert [(path.arm, len(path.means)) for path in data.paths] == [("opo_seed0_step2", 1), ("other", 1)]
    assert data.curves == ()
    assert data.lacking == (
        "opo_seed0_step4: no KL, since not scored beside a reference (`opo-eval score`).",
    )


def test_seeds_of_scored_checkpoints_are_a_mean_over_the_steps_that_all_have(tmp_path: Path) -> None:
    own = [checkpoint(tmp_path / f"opo_seed{seed}", step, seed) for seed in (0, 1) for step in (2, 4)]
    arm = Arm(name="opo", checkpoints=(own[1].name, own[3].name))
    tables = [scored(c.name, 0.1 * (c.step or 0) + 0.1 * (c.train_seed or 0), 0.5) for c in own]
    data = paper_data(together(tmp_path, own, tables=tables, arms=(arm,))).held_out["sums"]
    kl = next(curve for curve in data.curves if curve.quantity == "kl_start")
    assert (kl.arm, kl.n_seeds, kl.steps) == ("opo", 2, (2, 4))
    assert kl.means == pytest.approx((0.25, 0.45))
    assert kl.intervals[0] and kl.intervals[0].kind == "training seeds"
