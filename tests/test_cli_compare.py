"""`compare` as a script uses it: exit status 3, families, arms and clusters from the command line."""

import csv
import json
from pathlib import Path

import pytest

from opo_eval.cli import run

pytestmark = pytest.mark.usefixtures("one_figure")
N_PROBLEMS, N_SAMPLES = 12, 4
SOLVED = {"good_1": 4, "good_2": 3, "bad_1": 1, "bad_2": 0}
"""Of four samples a problem, by checkpoint."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four checkpoints of two methods with two training seeds each, scored by the file itself."""
    folder = tmp_path_factory.mktemp("scored")
    rows = [
        {
            "problem": f"{i}+{i}=",
            "gold": str(2 * i),
            "response": f"answer {i} {k} \\boxed{{{2 * i}}}",
            "model": model,
            "method": model[:-2],
            "seed": int(model[-1]),
            "correct": int(k < solved - (i % 3 == 0 and solved > 1)),
            "exam": "AABBBCCCCDDD"[i - 1],
        }
        for model, solved in SOLVED.items()
        for i in range(1, N_PROBLEMS + 1)
        for k in range(N_SAMPLES)
    ]
    (folder / "logs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ["checkpoint=model", "score=correct", "method=method", "train_seed=seed", "tags=exam"]
    arguments = ["--benchmark", "sums", "--think", "none", "--out", str(folder / "runs")]
    assert run(["import", str(folder / "logs.jsonl"), "--map", *columns, *arguments]) == 0
    return folder / "runs"


def compare(runs: Path, out: Path, *more: str, of: tuple[str, ...] = tuple(SOLVED)) -> int:
    return run(["compare", *(str(runs / name) for name in of), "--name", "r", "--out", str(out), *more])


def differences(out: Path) -> list[dict[str, str]]:
    with (out / "r" / "differences.csv").open() as file:
        return list(csv.DictReader(file))


def test_several_workers_measure_what_one_does(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for workers in ("1", "2"):
        assert run(["measure", str(runs), "--measure-workers", workers, "--json"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and said[0].count('"schema"') == len(SOLVED)


def test_no_workers_measure_nothing(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["measure", str(runs), "--measure-workers", "0"]) == 2
    assert "--measure-workers 0 measures nothing" in capsys.readouterr().err


def test_worse_is_status_3_after_the_report(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(runs, tmp_path, "--fail-if-worse", of=("good_1", "bad_1")) == 3
    said = capsys.readouterr()
    assert "bad_1 than good_1 on sums pass@1" in said.err and "Traceback" not in said.err
    assert "report: " in said.out and (tmp_path / "r" / "report.md").exists()


def test_better_or_outside_the_family_is_status_0(runs: Path, tmp_path: Path) -> None:
    assert compare(runs, tmp_path, "--fail-if-worse", of=("bad_1", "good_1")) == 0
    assert compare(runs, tmp_path, "--fail-if-worse", "--family", "self_bleu", of=("good_1", "bad_1")) == 0
    assert compare(runs, tmp_path, of=("good_1", "bad_1")) == 0


def test_nothing_tested_is_no_pass(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(runs, tmp_path, "--fail-if-worse", of=("good_1",)) == 1
    assert "--fail-if-worse has nothing to go by" in capsys.readouterr().err


def test_the_family_decides_what_is_adjusted(runs: Path, tmp_path: Path) -> None:
    assert compare(runs, tmp_path, "--family", "pass@1", "mean@4", of=("good_1", "bad_1")) == 0
    adjusted = {row["metric"] for row in differences(tmp_path) if row["p_adjusted"]}
    assert adjusted == {"pass@1", "mean@4"}


def test_an_unknown_metric_names_the_nearest(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(runs, tmp_path, "--family", "self_blue") == 2
    assert "'self_blue' is no metric of these runs" in capsys.readouterr().err


def test_records_that_differ_by_seed_make_arms(runs: Path, tmp_path: Path) -> None:
    assert compare(runs, tmp_path) == 0
    report = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert [arm["name"] for arm in report["arms"]] == ["good", "bad"]
    first = next(row for row in report["arm_comparisons"] if row["metric"] == "pass@1")
    assert (first["a"], first["b"], first["n_train_seeds"]) == ("good", "bad", 2)
    assert first["delta"] < 0 and first["interval"]["kind"].startswith("training seeds")


def test_arms_can_be_named(runs: Path, tmp_path: Path) -> None:
    named = ["--arm", "x=bad_1,bad_2", "y=good_1,good_2", "--baseline", "good_2"]
    assert compare(runs, tmp_path, *named) == 0
    report = json.loads((tmp_path / "r" / "metrics.json").read_text())
    assert [arm["name"] for arm in report["arms"]] == ["y", "x"]


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (["x=bad_1"], "has 1 checkpoint: an arm takes 2 training seeds or more"),
        (["x=bad_1,bad_3"], "which is none of the checkpoints"),
        (["x=bad_1,bad_2", "y=bad_2,good_1"], "both name bad_2"),
        (["bad_1,bad_2"], "--arm takes NAME=CHECKPOINT,CHECKPOINT"),
    ],
)
def test_an_arm_that_is_none_is_one_sentence(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arm: list[str], message: str
) -> None:
    assert compare(runs, tmp_path, "--arm", *arm) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said


def test_an_option_given_twice_is_refused_rather_than_half_read(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(runs, tmp_path, "--arm", "x=bad_1,bad_2", "--arm", "y=good_1,good_2") == 2
    assert "--arm is given 2 times: give all its values after one" in capsys.readouterr().err


def test_intervals_by_cluster_say_so(runs: Path, tmp_path: Path) -> None:
    assert compare(runs, tmp_path, "--cluster", "exam") == 0
    kinds = {row["kind"] for row in differences(tmp_path) if row["kind"]}
    assert kinds == {"problems like these, drawn by exam"}


def test_an_unknown_tag_is_one_sentence(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(runs, tmp_path, "--cluster", "exams") == 2
    assert "--cluster 'exams' is no tag of problem" in capsys.readouterr().err


# --- training runs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps of a training run, imported in no order."""
    folder = tmp_path_factory.mktemp("steps")
    rows = [
        {"problem": f"{i}+{i}=", "gold": str(2 * i), "response": f"so {i} {k}", "model": f"s{step}"}
        | {"method": "opo", "step": step, "correct": int(k * 10 + i < step)}
        for step in (20, 40, 9)
        for i in range(1, N_PROBLEMS + 1)
        for k in range(N_SAMPLES)
    ]
    (folder / "logs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ["checkpoint=model", "score=correct", "method=method", "step=step"]
    arguments = ["--benchmark", "sums", "--think", "none", "--out", str(folder / "runs")]
    assert run(["import", str(folder / "logs.jsonl"), "--map", *columns, *arguments]) == 0
    return folder / "runs"


def test_imported_steps_are_followed(steps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(steps, tmp_path, of=("s40", "s9", "s20")) == 0
    assert "there is no mean of the last 5" in capsys.readouterr().out
    with (tmp_path / "r" / "over_steps.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "pass@1"]
    assert [(row["step"], row["checkpoint"]) for row in rows] == [("9", "s9"), ("20", "s20"), ("40", "s40")]
    assert {row["reference"] for row in rows} == {"s40"} and rows[-1]["delta"] == ""


def test_the_mean_takes_as_many_steps_as_are_asked_for(steps: Path, tmp_path: Path) -> None:
    assert compare(steps, tmp_path, "--last", "2", of=("s9", "s20", "s40")) == 0
    with (tmp_path / "r" / "last_means.csv").open() as file:
        first = next(csv.DictReader(file))
    assert (first["training_run"], first["metric"], first["steps"]) == ("opo", "pass@1", "20 40")
    assert compare(steps, tmp_path, "--last", "-1", of=("s9", "s20")) == 2
