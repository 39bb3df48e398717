"""`compare --style paper` and `--against paper` from the command line."""

import json
from pathlib import Path

import pytest

from opo_eval.cli import run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints on six problems that a file calls aime25, scored by the file itself."""
    folder = tmp_path_factory.mktemp("scored")
    rows = [
        {
            "problem": f"{i}+{i}=",
            "gold": str(2 * i),
            "response": f"answer {i} {k} of it is \\boxed{{{2 * i}}}",
            "model": model,
            "correct": int(k < solved),
        }
        for model, solved in (("grpo", 1), ("mine", 3))
        for i in range(1, 7)
        for k in range(4)
    ]
    (folder / "logs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["import", str(folder / "logs.jsonl"), "--map", "checkpoint=model", "score=correct"]
    named = ["--benchmark", "aime25", "--think", "none", "--out", str(folder / "runs")]
    assert run([*words, *named]) == 0
    return folder / "runs"


def compare(runs: Path, out: Path, *more: str) -> int:
    of = [str(runs / name) for name in ("grpo", "mine")]
    return run(["compare", *of, "--name", "r", "--out", str(out), "--quiet", *more])


def test_both_are_in_the_report_and_gone_when_not_asked_for(runs: Path, tmp_path: Path) -> None:
    assert compare(runs, tmp_path, "--style", "paper", "--against", "paper", "OPO=mine") == 0
    report = tmp_path / "r"
    text = (report / "report.md").read_text()
    assert "## Beside the paper" in text and "| AIME 2025 | mine, here | " in text
    assert (report / "paper/tables/pass_at_k.tex").exists()
    assert (report / "paper/tables/against_paper_2.tex").exists()
    assert (
        "No training: the records of no training run are at hand." in (report / "paper/README.md").read_text()
    )
    assert compare(runs, tmp_path) == 0
    assert "Beside the paper" not in (report / "report.md").read_text()
    left = [
        path.name for path in report.rglob("*") if path.is_file() and "paper" in str(path.relative_to(report))
    ]
    assert left == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--page-mb", "-1"], "--page-mb cannot be -1: give megabytes, or 0 for no page"),
        (["--against", "deepseek"], "begins with no source: give 'paper'"),
        (["--against", "paper", "OPO=mien"], "'mien' is no checkpoint (did you mean 'mine'?)"),
        (["--against", "paper", "OPOO=mine"], "'OPOO' is no method of the paper (did you mean 'OPO'?)"),
    ],
)
def test_what_is_not_there_is_one_sentence(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert compare(runs, tmp_path, *words) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not (tmp_path / "r").exists()
