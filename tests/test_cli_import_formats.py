"""`import` of other tools' logs as a user types it, up to the number that the tool printed."""

import json
from pathlib import Path

import pytest

from opo_eval.cli import run

LOGS = Path(__file__).parent / "importers/logs"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said_by(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(list(words)) == 0
    return capsys.readouterr().out


def test_a_log_is_imported_and_measured_by_its_own_scores(capsys: pytest.CaptureFixture[str]) -> None:
    (samples,) = (LOGS / "lm-eval/late").glob("samples_tiny_arith_each_*")
    (results,) = (LOGS / "lm-eval/late").glob("results_*")
    said = said_by(capsys, "import", str(samples), "--think", "none")
    assert "runs/late/tiny_arith_each: 32 samples added" in said and "'average,boxed' is left out" in said
    said_by(capsys, "measure", "runs/late", "--grader", "source", "--quiet")
    (table,) = json.loads(Path("runs/late/tiny_arith_each/metrics.json").read_text())["tables"]
    (found,) = (row["value"] for row in table["rows"] if (row["metric"], row["subset"]) == ("pass@1", "all"))
    printed = json.loads(results.read_text())["results"]["tiny_arith_each"]["correct,boxed"]
    assert found == pytest.approx(printed, abs=1e-12)


def test_every_flag_reaches_the_importers(capsys: pytest.CaptureFixture[str]) -> None:
    batch = LOGS / "openai-batch"
    words = ["import", str(batch / "results.jsonl"), "--format", "openai-batch", "--first", "2"]
    words += ["--requests", str(batch / "requests.jsonl"), "--problems", "tiny-arith", "--template", "tiny"]
    assert "runs/late/tiny-arith: 16 samples added" in said_by(capsys, *words)
    dump = [str(LOGS / "verl/validation"), "--checkpoint", "grpo", "--benchmark", "sums"]
    dump += ["--map", "score=score", "--correct-from", "1"]
    assert "runs/grpo_step_10/sums: 32 samples added" in said_by(capsys, "import", *dump)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--format", "verls"], 2, "--format has no 'verls' (did you mean 'verl'?)"),
        ([], 2, "does not say who answered: name it with --checkpoint"),
        (["--format", "trl", "--checkpoint", "a"], 1, "is not as TRL 1.16 writes it"),
        (["--checkpoint", "a", "--problems", "tiny-arith", "--template", "nothing"], 2, "has no {problem}"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    words: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["import", str(LOGS / "verl/rollouts/10.jsonl"), *words]) == status
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not Path("runs").exists()
