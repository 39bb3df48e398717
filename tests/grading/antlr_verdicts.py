"""Prints, as JSON, the verdicts under whichever ANTLR runtime comes first on the path.

A program of its own, run by test_antlr_runtimes: a process can load only one runtime.
"""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import version

from opo_eval.grading import Grader
from opo_eval.grading.pool import GradingPool, Job
from opo_eval.tabular import read_rows

EVERY = {"rg_llama3b_rl_ckpts": 70, "r1_14b_math4_rollouts": 10, "soren_math500_20x16_prm": 3}


def items(data: str) -> Iterator[tuple[str, str, str]]:
    """(key, gold, response): golds as their own answers, grader cases, a few hundred real responses."""
    yield "a half", "1/2", r"\boxed{50\%}"
    for name in ("math500/math500", "aime/aime2024", "aime/aime2025"):
        for number, row in read_rows(f"{data}/{name}.jsonl"):
            yield f"{name}:{number}", str(row["answer"]), rf"\boxed{{{row['answer']}}}"
    for _, row in read_rows(f"{data}/grader_cases/grader_cases.jsonl"):
        yield row["id"], row["gold"], row["pred"]
        yield f"{row['id']}:boxed", row["gold"], rf"\boxed{{{row['pred']}}}"
    for name, step in EVERY.items():
        for number, row in read_rows(f"{data}/{name}/generations.jsonl.gz"):
            if number % step == 0:
                yield f"{name}:{number}", row["gold"], row["response"]


def runtime_in_a_worker() -> str:
    """Version and place of the runtime that a grading worker loads."""

    def loaded(expected: str, _: str) -> bool:
        import antlr4

        return f"{version('antlr4-python3-runtime')} {antlr4.__file__}" == expected

    import antlr4

    here = f"{version('antlr4-python3-runtime')} {antlr4.__file__}"
    with GradingPool(workers=1, verifier=loaded) as pool:
        assert list(pool.run([Job("own", here, "")])) == [(0, "correct")]
    return here


def main() -> None:
    """Grade everything without fast paths, so that each verdict is the parser's."""
    with Grader(think="none", fast_paths=False, timeout_s=60.0) as grader:
        graded = grader.grade(items(sys.argv[1]))
        verdicts = {key: [outcome.reason, outcome.lenient_verdict] for key, outcome in graded}
    print(json.dumps({"runtime": runtime_in_a_worker(), "verdicts": verdicts}))


if __name__ == "__main__":
    main()
