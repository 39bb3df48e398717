"""Two RL checkpoints of a 3B model, graded by its authors and by us: reports/rg_llama3b/.

    python benchmarks/studies/rg_llama3b.py [--data ../shared/data]

Imports the 7,000 responses, checks the published figures against the authors' own scores, grades with
the strict verdict, lists every response on which the two disagree with its reason, and writes the
comparison and what it comes to. The responses themselves are not kept.
"""

import csv
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import tyro

from opo_eval.cli import run
from opo_eval.measure import MeasureOptions, measure_run
from opo_eval.records import Grade, Reason, Verdict
from opo_eval.store import RunDir, find_runs

RUNS, REPORT = Path("runs/rg_llama3b"), Path("reports/rg_llama3b")
STRICT, SOURCE = "strict", "source"
PUBLISHED = {
    ("step_400", "mean@50"): "0.0240",
    ("step_800", "mean@50"): "0.0267",
    ("step_400", "pass@50"): "9/30",
    ("step_800", "pass@50"): "7/30",
}
"""On AIME 2024, from the authors' result files."""


class Disagreement(StrEnum):
    """Why the authors' score and the strict verdict differ. There is no other reason."""

    THINK_NEVER_CLOSED = r"the think section is closed by \end{think}, not </think>: ours gives no credit"
    EQUATION = "the answer is an equation that ends in the gold: the authors compare the whole text"
    NOT_EVALUATED = "the answer is a sum or difference that equals the gold: the authors compare the text"
    STRAY_CHARACTER = "a stray character follows the gold: the authors compare the whole text"


@dataclass
class Study:
    """Where the responses are read from."""

    data: Path = Path(os.environ.get("OPO_EVAL_DATA", "../shared/data"))
    """Folder that holds rg_llama3b_rl_ckpts/."""
    strict_only: bool = False
    """Leave out the lenient verdict, which takes most of the time."""

    def __call__(self) -> None:
        """Import, grade, list, compare."""
        shutil.rmtree(RUNS, ignore_errors=True)
        self._opo_eval("import", str(self._file("generations.jsonl.gz")), *self._columns())
        lenient = ["--strict-only"] if self.strict_only else []
        # A generous limit, so that a busy machine does not change what is committed.
        self._opo_eval("grade", str(RUNS), "--answer", "answer-tag", "--timeout", "60", *lenient)
        _check_published()
        rows = [row for found in find_runs(RUNS) for row in _disagreements(found)]
        # Verdicts are written as they come in, in no particular order.
        rows.sort(key=lambda row: (*list(row.values())[:3], int(row["sample"])))
        # Others' texts stay out of this repository, and the page would hold them.
        self._opo_eval("compare", str(RUNS), "--name", "comparison", "--out", str(REPORT), "--page-mb", "0")
        _write(rows)
        (REPORT / "README.md").write_text(_readme(rows, _verdicts()))

    def _columns(self) -> list[str]:
        columns = ["checkpoint=checkpoint", "benchmark=benchmark", "index=sample", "score=source_score"]
        problems = str(self._file("problems.jsonl"))
        return ["--map", *columns, "--problems", problems, "--think", "tagged", "--out", str(RUNS)]

    def _file(self, name: str) -> Path:
        return self.data / "rg_llama3b_rl_ckpts" / name

    @staticmethod
    def _opo_eval(*arguments: str) -> None:
        status = run(arguments)
        if status:
            raise SystemExit(status)


def _check_published() -> None:
    for (checkpoint, metric), expected in PUBLISHED.items():
        table = measure_run(RunDir(RUNS / checkpoint / "aime2024"), MeasureOptions(grader=SOURCE))
        statistic = next(s for s in table.statistics if s.metric == metric)
        solved, asked = sum(statistic.numerators), sum(statistic.denominators)
        found = f"{solved / asked:.4f}" if metric.startswith("mean") else f"{round(solved)}/{round(asked)}"
        print(f"aime2024 {checkpoint} {metric} by the authors' scores: {found} (published {expected})")
        assert found == expected, f"{checkpoint} {metric} is {found}, published {expected}"


def _disagreements(found: RunDir) -> Iterator[dict[str, str]]:
    names = {problem.id: problem for problem in found.problems()}
    source = {(g.problem_id, g.index): g for g in found.grades() if g.grader.startswith(SOURCE)}
    for grade in found.grades():
        theirs = source[grade.problem_id, grade.index]
        if grade.grader.startswith(STRICT) and (theirs.verdict, grade.verdict).count(Verdict.CORRECT) == 1:
            problem = names[grade.problem_id]
            yield {
                "checkpoint": found.manifest.settings.checkpoint.name,
                "benchmark": problem.benchmark,
                "problem": problem.source_id,
                "sample": str(grade.index),
                "gold": problem.answer,
                "answer": grade.extracted or "",
                "authors": str(theirs.verdict),
                "strict": str(grade.verdict),
                "reason": _why(grade, problem.answer).name.lower(),
            }


def _why(grade: Grade, gold: str) -> Disagreement:
    answer = grade.extracted or ""
    if grade.reason is Reason.UNCLOSED_THINK:
        return Disagreement.THINK_NEVER_CLOSED
    if "=" in answer:
        return Disagreement.EQUATION
    if re.fullmatch(r"[\d\s+-]+", answer):
        return Disagreement.NOT_EVALUATED
    if answer[:-1] == gold:
        return Disagreement.STRAY_CHARACTER
    raise AssertionError(f"no reason is known for gold {gold!r}, answer {answer!r}, {grade.reason}")


def _write(rows: list[dict[str, str]]) -> None:
    REPORT.mkdir(parents=True, exist_ok=True)
    with (REPORT / "disagreements.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def _verdicts() -> list[str]:
    """What the comparison says that it comes to, a sentence or two for each benchmark."""
    _, _, rest = (REPORT / "comparison/report.md").read_text().partition("\n## What it comes to\n")
    return [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("- ")]


def _readme(rows: list[dict[str, str]], verdicts: list[str]) -> str:
    counts = Counter((row["reason"], row["authors"], row["strict"]) for row in rows)
    lines = [
        "# Two RL checkpoints of one 3B model",
        "",
        "7,000 responses of open-thought/reasoning-gym-eval (arXiv 2505.24760, Apache-2.0), steps 400 and",
        "800, on AIME 2024 and AMC 2023, 50 samples a problem. By the authors' own scores AIME 2024 comes",
        "out as they published it: mean@50 0.0240 and 0.0267, pass@50 9/30 and 7/30; the script fails",
        "otherwise.",
        "The comparison by our strict verdict is in [comparison/report.md](comparison/report.md). It speaks",
        "of one training run at two steps, not of a method, and comes to this:",
        "",
        *verdicts,
        "",
        f"The authors' scores and ours differ on {len(rows)} of 7,000 responses;",
        "[disagreements.csv](disagreements.csv) lists them all.",
        "",
        "| responses | authors | strict | reason |",
        "| ---: | --- | --- | --- |",
        *(
            f"| {count} | {authors} | {strict} | {Disagreement[reason.upper()]} |"
            for (reason, authors, strict), count in counts.most_common()
        ),
        "",
        "Rebuild: `python benchmarks/studies/rg_llama3b.py`.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    tyro.cli(Study)()
