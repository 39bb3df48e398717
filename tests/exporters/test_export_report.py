"""A report for other tools, read back by the tools themselves."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from report.handmade import compared, comparison, curve, step_curve
from rl.tracked import curves, history, trackio_runs

from opo_eval.cli import run
from opo_eval.compare import ComparedRuns
from opo_eval.over_steps import OverSteps
from opo_eval.report.render import report_files


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints, called early and 0800, and two curves over steps."""
    folder = tmp_path_factory.mktemp("reports") / "r"
    tables = [curve(name, [0.25, 1 / 3, 0.5, 2 / 3]) for name in ("early", "0800")]
    rows = [comparison("pass@1", (0.1, 0.05, 0.15), a="early", b="0800")]
    steps = OverSteps(curves=(step_curve("opo_seed0"), step_curve("opo/seed1", steps=(0, 30))))
    found: ComparedRuns = compared(tables, rows, over_steps=steps)
    for path, data in report_files(found, name="r", page_bytes=0).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def export(report: Path, out: Path, *words: str) -> int:
    return run(["export", str(report), "--out", str(out), "--to", *words])


def test_parquet_holds_what_the_csv_files_hold(report: Path, tmp_path: Path) -> None:
    assert export(report, tmp_path, "parquet") == 0
    assert {path.stem for path in tmp_path.iterdir()} == {path.stem for path in report.glob("*.csv")}
    for path in report.glob("*.csv"):
        found = pd.read_parquet(tmp_path / f"{path.stem}.parquet")
        rows = list(csv.DictReader(path.read_text().splitlines()))
        assert list(found.columns) == list(rows[0]) and len(found) == len(rows)
        for name in found.columns:
            texts = ["" if pd.isna(value) else value for value in found[name]]
            kind = float if pd.api.types.is_numeric_dtype(found[name]) else str
            assert [value if value == "" else kind(value) for value in texts] == [
                row[name] if row[name] == "" else kind(row[name]) for row in rows
            ]
    metrics = pd.read_parquet(tmp_path / "metrics.parquet")
    assert set(metrics["checkpoint"]) == {"early", "0800"} and metrics["value"].dtype == float


def test_tensorboard_has_every_curve_at_its_steps(report: Path, tmp_path: Path) -> None:
    assert export(report, tmp_path, "tensorboard") == 0
    shown = curves(tmp_path / "opo_seed0")
    assert [step for step, _ in shown["sums/pass@1"]] == [0, 20, 40]
    assert [value for _, value in shown["sums/pass@1"]] == pytest.approx([0.3, 0.4, 0.5])
    assert shown["sums/pass@1/low"][1] == (20, pytest.approx(0.3))
    assert [step for step, _ in curves(tmp_path / "opo__seed1")["sums/pass@1"]] == [0, 30]


def test_wandb_offline_has_every_step(report: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "opo_eval", "export", str(report), "--out", str(tmp_path), "--to", "wandb"]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"WANDB_MODE": "offline"})
    assert done.returncode == 0, done.stderr
    (steps,) = history(tmp_path / "opo_seed0")
    logged = {values["_step"]: values["sums/pass@1"] for _, values in steps}
    assert logged == {0: pytest.approx(0.3), 20: pytest.approx(0.4), 40: pytest.approx(0.5)}


def test_trackio_has_every_run_and_step(
    report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "all"))
    assert export(report, tmp_path, "trackio") == 0
    logs = {name[: -len("-012345")]: run["logs"] for name, run in trackio_runs(tmp_path / "all").items()}
    assert {name: [log["step"] for log in of] for name, of in logs.items()} == {
        "opo_seed0": [0, 20, 40],
        "opo__seed1": [0, 30],
    }
    assert [log["sums/pass@1"] for log in logs["opo_seed0"]] == pytest.approx([0.3, 0.4, 0.5])
    assert logs["opo_seed0"][1]["sums/pass@1/low"] == pytest.approx(0.3)
    said, errors = capfd.readouterr()
    assert said == f"{tmp_path}/opo_seed0/trackio: 3 steps\n{tmp_path}/opo__seed1/trackio: 2 steps\n"
    assert errors == ""


def test_a_model_card_is_read_by_the_hubs_own_library(report: Path, tmp_path: Path) -> None:
    assert export(report, tmp_path, "model-card") == 0
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.model_name == "0800"
    found = {result.metric_type: result for result in card.data.eval_results}
    assert set(found) == {"pass@1", "pass@2", "pass@4"} and found["pass@2"].metric_value == 1 / 3
    assert found["pass@1"].dataset_name == "sums" and found["pass@1"].metric_args["n"] == 4
    assert "| sums | pass@2 (4 samples a problem) | 0.333333 |" in card.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["parket"], "nothing can be exported to 'parket' (did you mean 'parquet'?)"),
        (["model-card", "--checkpoint", "800"], "there is no checkpoint '800': name one of 'early', '0800'"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(
    report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert export(report, tmp_path, *words) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said and not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["parquet", "tensorboard", "model-card"])
def test_another_folder_or_schema_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    assert export(tmp_path, tmp_path / "out", target) == 1
    assert str(tmp_path) in capsys.readouterr().err
    (tmp_path / "metrics.json").write_text(json.dumps({"schema": "opo_eval.report/9"}))
    if target != "parquet":
        assert export(tmp_path, tmp_path / "out", target) == 1
        assert "has the schema 'opo_eval.report/9'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
