"""195 grader cases of eight projects, judged by math-verify, lenient and strict: reports/grader_cases/.

    python benchmarks/studies/grader_cases.py [--data ../shared/data]

Fails where lenient differs from math-verify, where strict differs from what a case expects without a
reason that is given here, and where a reason is given for a difference that is not there.
"""

import csv
import json
import logging
import os
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tyro
from math_verify import parse, verify

from opo_eval.grading import Grader, Outcome
from opo_eval.records import Verdict

REPORT = Path("reports/grader_cases")
AGREE_AT_LEAST = 175
"""What math-verify itself agrees with once golds stand in dollars."""
_SHOWN_CHARS = 60
_VERSIONED = ("math-verify", "latex2sympy2_extended", "sympy", "antlr4-python3-runtime")


class Why(StrEnum):
    """Why strict does not say what a case expects. There is no other reason."""

    SEVERAL_BOXES = "the parts stand in boxes of their own: strict takes the last box"
    AFTER_THE_BOX = "the answer is said in prose after the last box: strict takes the box"
    NUMBER_IN_PROSE = "a number spelled as in prose (1 000 or 1000,99): strict reads an answer as LaTeX"
    PROGRAM_NOTATION = "the gold is written as a program has it, not in LaTeX"
    ROUNDING = "equal to the digits that the test asks for: strict compares to six decimals"
    SET_OPTION = "an inequality for a set: equal under an option of math-verify that is off by default"
    FEWER_PLACES = "the test has math-verify look in fewer places than it does by default"
    BOXES_APART = "the gold is prose with boxes far apart: math-verify takes all, the test wants the last"
    BROKEN_LATEX = "broken LaTeX: a backslash before the closing brace"
    FORMULA_IN_PROSE = "a formula within a sentence: strict reads the whole box as one formula"


DIFFERENCES = {
    "gc-0002": Why.NUMBER_IN_PROSE,
    "gc-0005": Why.NUMBER_IN_PROSE,
    "gc-0029": Why.FEWER_PLACES,
    "gc-0032": Why.FORMULA_IN_PROSE,
    "gc-0057": Why.FORMULA_IN_PROSE,
    "gc-0127": Why.ROUNDING,
    "gc-0161": Why.FORMULA_IN_PROSE,
    "gc-0166": Why.AFTER_THE_BOX,
    "gc-0177": Why.SEVERAL_BOXES,
    "gc-0180": Why.SET_OPTION,
    "gc-0227": Why.SEVERAL_BOXES,
    "gc-0229": Why.SEVERAL_BOXES,
    "gc-0231": Why.SEVERAL_BOXES,
    "gc-0233": Why.SEVERAL_BOXES,
    "gc-0239": Why.SEVERAL_BOXES,
    "gc-0271": Why.BROKEN_LATEX,
    "gc-0292": Why.ROUNDING,
    "gc-0311": Why.PROGRAM_NOTATION,
    "gc-0312": Why.PROGRAM_NOTATION,
    "gc-0313": Why.PROGRAM_NOTATION,
    "gc-0316": Why.PROGRAM_NOTATION,
    "gc-0319": Why.PROGRAM_NOTATION,
    "gc-0429": Why.BOXES_APART,
}


@dataclass(frozen=True)
class Judged:
    """One case with what each of the three says of it."""

    case: dict[str, Any]
    math_verify: bool
    lenient: Outcome
    strict: Outcome

    @property
    def differs(self) -> bool:
        """Whether strict says something else than the case expects."""
        return (self.strict.verdict is Verdict.CORRECT) != self.case["expected"]

    def row(self) -> dict[str, str]:
        """Its line of cases.csv."""
        case = self.case
        return {
            "id": case["id"],
            "source": case["source"],
            "test": case["test"],
            "gold": shortened(case["gold"]),
            "prediction": shortened(case["pred"]),
            "expected": spelled(case["expected"]),
            "math_verify": spelled(self.math_verify),
            "lenient": str(self.lenient.lenient_verdict),
            "strict": str(self.strict.verdict),
            "strict_reason": str(self.strict.reason),
            "difference": DIFFERENCES[case["id"]].name.lower() if self.differs else "",
        }


@dataclass
class Study:
    """Where the cases are read from."""

    data: Path = Path(os.environ.get("OPO_EVAL_DATA", "../shared/data"))
    """Folder that holds grader_cases/."""

    def __call__(self) -> None:
        """Judge, check, write."""
        lines = (self.data / "grader_cases" / "grader_cases.jsonl").read_text().splitlines()
        judged = judge([json.loads(line) for line in lines])
        check(judged)
        REPORT.mkdir(parents=True, exist_ok=True)
        write_csv([one.row() for one in judged])
        (REPORT / "README.md").write_text(readme(judged))


def judge(cases: list[dict[str, Any]]) -> list[Judged]:
    """What the three say of each case."""
    logging.disable(logging.CRITICAL)
    with Grader(think="none", timeout_s=60.0) as grader:
        lenient = dict(grader.grade((case["id"], case["gold"], case["pred"]) for case in cases))
        strict = dict(grader.grade((case["id"], case["gold"], boxed(case["pred"])) for case in cases))
    return [Judged(case, in_math_verify(case), lenient[case["id"]], strict[case["id"]]) for case in cases]


def in_math_verify(case: dict[str, Any]) -> bool:
    """math-verify with its defaults, the gold in dollars unless it has delimiters of its own."""
    gold = case["gold"]
    has_delimiters = any(mark in gold for mark in ("$", r"\(", r"\[", r"\boxed"))
    return verify(parse(gold if has_delimiters else f"${gold}$"), parse(case["pred"]))


def boxed(prediction: str) -> str:
    """What strict is given: most predictions are answers, not responses, and stand in no box."""
    return prediction if r"\boxed" in prediction else rf"\boxed{{{prediction}}}"


def check(judged: list[Judged]) -> None:
    """Fail where a claim of the report does not hold."""
    for one in judged:
        accepted = one.lenient.lenient_verdict is Verdict.CORRECT
        assert accepted == one.math_verify, f"lenient differs from math-verify on {one.case['id']}"
    assert agreement(judged)["lenient"] >= AGREE_AT_LEAST
    differing = {one.case["id"] for one in judged if one.differs}
    assert differing == DIFFERENCES.keys(), f"to be explained: {sorted(differing ^ DIFFERENCES.keys())}"


def agreement(judged: list[Judged]) -> Counter[str]:
    """How many cases each of the three judges as expected."""
    agreeing: Counter[str] = Counter()
    for one in judged:
        expected = one.case["expected"]
        agreeing["math-verify"] += one.math_verify == expected
        agreeing["lenient"] += (one.lenient.lenient_verdict is Verdict.CORRECT) == expected
        agreeing["strict"] += not one.differs
    return agreeing


def shortened(text: str) -> str:
    """The start of a text on one line, control characters spelled out."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= _SHOWN_CHARS else f"{line[: _SHOWN_CHARS - 1]}…"


def spelled(is_correct: bool) -> str:
    """A verdict of somebody who has two."""
    return "correct" if is_correct else "wrong"


def write_csv(rows: list[dict[str, str]]) -> None:
    """Write cases.csv."""
    with (REPORT / "cases.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def readme(judged: list[Judged]) -> str:
    """The report."""
    agreeing = agreement(judged)
    sources = Counter(one.case["source"] for one in judged)
    differing = [one for one in judged if one.differs]
    lines = [
        "# Grader cases of other projects",
        "",
        f"{len(judged)} cases (gold, prediction, expected verdict) from the test suites of {len(sources)}",
        "projects. They are the conventions of those projects and not one truth; all are in",
        "[cases.csv](cases.csv), gold and prediction cut after 60 characters.",
        "",
        "- **math-verify** gets the gold in dollars unless it has delimiters or a box of its own, and the",
        "  prediction as it is; all options at their defaults, whatever a case's own test sets.",
        "- **lenient** gets the same. Its verdict equals math-verify's on every case.",
        "- **strict** gets the prediction as it is where it has a box, otherwise `\\boxed{prediction}`.",
        "",
        f"| source | cases | {' | '.join(agreeing)} |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(source_line(source, judged) for source, _ in sources.most_common()),
        f"| all | {len(judged)} | {' | '.join(str(n) for n in agreeing.values())} |",
        "",
        "The last three columns count the cases judged as their test expects.",
        "",
        f"## Where strict differs from what a case expects ({len(differing)})",
        "",
        "| cases | why |",
        "| ---: | --- |",
        *(f"| {n} | {why} |" for why, n in Counter(DIFFERENCES.values()).most_common()),
        "",
        "| case | gold | prediction | expected | strict | why |",
        "| --- | --- | --- | --- | --- | --- |",
        *(difference_line(one) for one in differing),
        "",
        f"Versions: {', '.join(f'{name} {version(name)}' for name in _VERSIONED)}.",
        "Rebuild: `python benchmarks/studies/grader_cases.py`.",
        "",
    ]
    return "\n".join(lines)


def source_line(source: str, judged: list[Judged]) -> str:
    """A source's line of the table of agreement."""
    own = [one for one in judged if one.case["source"] == source]
    return f"| {source} | {len(own)} | {' | '.join(str(n) for n in agreement(own).values())} |"


def difference_line(one: Judged) -> str:
    """A case's line of the table of differences."""
    row = one.row()
    cells = [row["id"], code(row["gold"]), code(row["prediction"]), row["expected"], row["strict"]]
    return f"| {' | '.join(cells)} | {DIFFERENCES[row['id']]} |"


def code(text: str) -> str:
    """Text as code within a Markdown table."""
    return f"`` {text.replace('|', chr(92) + '|')} ``"


if __name__ == "__main__":
    tyro.cli(Study)()
