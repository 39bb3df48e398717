"""Real generations from file to report: published figures reproduced, every disagreement explained."""

import csv
import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.usefixtures("one_figure")
def test_two_rl_checkpoints_come_out_as_published_and_as_committed(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "benchmarks/studies/rg_llama3b.py"))["Study"](data_dir, strict_only=True)()
    said = capsys.readouterr().out
    for figures in ("0.0240 (published 0.0240)", "0.0267 (published 0.0267)", "9/30 (", "7/30 ("):
        assert f"by the authors' scores: {figures}" in said
    report = tmp_path / "reports/rg_llama3b"
    found = (report / "disagreements.csv").read_text()
    assert found == (ROOT / "reports/rg_llama3b/disagreements.csv").read_text()
    reasons = Counter(row["reason"] for row in csv.DictReader(found.splitlines()))
    # the 26 that the data's own provenance counts, and 13 answers after a think section that stays open
    assert reasons.pop("think_never_closed") == 13
    assert reasons.total() == 26 and "other" not in reasons
    _says_that_30_problems_do_not_tell_them_apart(report / "comparison")
    assert (report / "README.md").read_text() == (ROOT / "reports/rg_llama3b/README.md").read_text()


def _says_that_30_problems_do_not_tell_them_apart(comparison: Path) -> None:
    """One sentence has the difference of pass@1, its interval, its test, and what it would take to see it."""
    text = (comparison / "report.md").read_text()
    number = r"(-?\+?[\d.,]+)"
    said = re.search(
        r"On aime2024, step_800 is not distinguishable from step_400 on pass@1: "
        rf"difference {number} points, 95 % {number} to {number} over problems like these, "
        rf"p = {number} \(adjusted 1\); 30 problems would show a difference of {number} points with 80 % "
        rf"power in a single test, and telling {number} points apart would take about {number} problems like "
        r"these\.",
        text,
    )
    assert said and text.startswith("This speaks of these training runs (one seed each), not of the method")
    delta, low, high, p, detectable, size, needed = (float(each.replace(",", "")) for each in said.groups())
    assert (delta, size) == (0.3, 0.3)  # 42 and 37 of 1,500 responses are correct
    assert low < 0 < delta < high < detectable * 1.1 and p > 0.5
    # From 30 problems on the power grows with their square root, and the t quantiles hardly change.
    exact = next(row for row in _rows(comparison / "differences.csv") if row["metric"] == "pass@1")
    assert needed == pytest.approx(30 * (float(exact["mde80"]) / float(exact["delta"])) ** 2, rel=0.1)
    assert float(exact["p_value"]) == pytest.approx(p, abs=0.01)


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))
