"""`audit` as a user types it."""

import csv
import json
from pathlib import Path

import pytest

from opo_eval.cli import run


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six openings, four continuations each, of a model that varies and of one that says one thing."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {
            "opening": f"once {i}",
            "story": f"the {i} cat met {'a' if model == 'dull' else f'number {k}'} dog in the wood",
            "model": model,
        }
        for model in ("dull", "lively")
        for i in range(6)
        for k in range(4)
    ]
    path = tmp_path / "stories.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def audit(*more: str) -> int:
    return run(["audit", "stories.jsonl", "--text", "story", "--group", "opening", "--quiet", *more])


def test_an_audit_compares_and_counts(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert audit("--by", "model") == 0
    said = capsys.readouterr().out
    assert "24 rows = 24 compared" in said and "report: reports/stories-audit/report.md" in said
    with Path("reports/stories-audit/metrics.csv").open() as file:
        found = {(row["checkpoint"], row["metric"]): float(row["value"]) for row in csv.DictReader(file)}
    assert found["dull", "self_bleu"] == pytest.approx(100) and found["lively", "self_bleu"] < 100


def test_an_audit_needs_no_conditions(table: Path) -> None:
    assert audit("--name", "alone") == 0
    assert Path("reports/alone/report.md").is_file()
    assert not list(Path("reports/alone").glob("metrics.json"))


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        (["--by", "modle"], 1, "has no column 'modle' (did you mean 'model'?)"),
        (["-n", "9"], 2, "9"),
        (["--near", "0"], 2, "0.0 is no similarity of near-duplicates"),
        (["--tokenize", "14a"], 2, "14a"),
        (["--name", "a/b"], 2, "cannot name a report"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    table: Path, capsys: pytest.CaptureFixture[str], more: list[str], status: int, message: str
) -> None:
    assert audit(*more) == status
    said = capsys.readouterr().err
    assert message in said and len(said.strip().splitlines()) == 1
