"""Races graders on a local Ray against one pool of as many workers, on the very same real responses.

All have to give the same verdicts, but for those that a time limit ended.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import tyro
from _tables import duration, generations, machine, markdown_table, write_report
from grading import DATA_SETS, DataSet

from opo_eval.grading import Outcome
from opo_eval.grading.run import make_grader
from opo_eval.records import Reason, Verdict

HEADER = (
    "responses",
    "rows",
    "contestant",
    "to the first verdict",
    "to the last",
    "rows a second",
    "times as fast",
)


class Run(NamedTuple):
    """Outcomes by row, and wall-clock seconds from nothing to the first of them and on to the last."""

    outcomes: dict[int, Outcome]
    first_s: float
    rest_s: float


Results = Mapping[str, list[Run]]


def contestants(workers: int) -> dict[str, dict[str, Any]]:
    """One pool, one grader on Ray with as many workers, and as many graders with one each."""
    return {
        "one process": {"workers": workers},
        "--graders 1": {"graders": 1, "workers": workers},
        f"--graders {workers}": {"graders": workers, "workers": 1},
    }


def run_once(rows: list[dict], data_set: DataSet, settings: dict[str, Any]) -> Run:
    """Everything from the making of the grader; a Ray ends with the run."""
    items = ((place, row["gold"], row["response"]) for place, row in enumerate(rows))
    begun = time.perf_counter()
    with make_grader(think=data_set.think, where=data_set.where, **settings) as grader:
        verdicts = grader.grade(items)
        outcomes = dict([next(verdicts)])
        first = time.perf_counter()
        outcomes |= verdicts
        last = time.perf_counter()
    _end_ray()
    return Run(outcomes, first - begun, last - first)


def _end_ray() -> None:
    with suppress(ModuleNotFoundError):
        import ray

        ray.shutdown()


def refuse_differences(results: Results) -> None:
    """End where two give a row different verdicts that no limit decided."""
    (expected, *_), *others = results.values()
    for name, run in zip(list(results)[1:], (runs[0] for runs in others), strict=True):
        for place, outcome in expected.outcomes.items():
            if run.outcomes[place] != outcome and not _at_limit(outcome, run.outcomes[place]):
                raise SystemExit(f"{name} gives row {place} {run.outcomes[place]}, one process {outcome}")


def _at_limit(*outcomes: Outcome) -> bool:
    return any(Reason.TIME_LIMIT is o.reason or Verdict.TIMED_OUT is o.lenient_verdict for o in outcomes)


def table_rows(data_set: DataSet, results: Results) -> list[tuple[Any, ...]]:
    """Medians of each."""
    found = []
    for name, runs in results.items():
        first, rest = (median(getattr(run, part) for run in runs) for part in ("first_s", "rest_s"))
        n = len(runs[0].outcomes)
        faster = median(run.rest_s for run in results["one process"]) / rest
        what = f"`{name}`" if name.startswith("--") else name
        found.append(
            (data_set.folder, n, what, duration(first), duration(rest), f"{n / rest:,.0f}", f"{faster:.2f}")
        )
    return found


@dataclass
class Race:
    """How much is graded how often."""

    repeats: int = 3
    rows: int = 640
    """Of each set of responses, evenly spaced; all where there are fewer."""
    workers: int = 2
    report: bool = True
    """Write the report; else the table is only printed."""

    def __call__(self) -> None:
        """Race and report, whoever wins."""
        lines: list[tuple[Any, ...]] = []
        for data_set in DATA_SETS:
            results = self._taking_turns(data_set)
            refuse_differences(results)
            lines += table_rows(data_set, results)
        table = markdown_table(HEADER, lines)
        self._report(table) if self.report else print(table)

    def _taking_turns(self, data_set: DataSet) -> Results:
        rows, racing = generations(data_set.folder), contestants(self.workers)
        some = rows[:: max(1, len(rows) // self.rows)]
        results: dict[str, list[Run]] = {name: [] for name in racing}
        for turn in range(self.repeats):
            for name in list(racing)[:: 1 if turn % 2 == 0 else -1]:
                results[name].append(run_once(some, data_set, racing[name]))
        return results

    def _report(self, table: str) -> None:
        blocks = [
            "# Speed: grading on Ray",
            f"Real responses, strict and lenient verdict of each, {self.workers} workers in all on "
            f"{os.cpu_count()} cores: one `Grader` with its pool, one grader in an actor of a local Ray, and "
            f"{self.workers} with a worker each. Wall-clock times, medians of {self.repeats} runs in "
            "alternating order; all gave the same verdicts, but for those that a time limit ended. *To the "
            "first verdict* has the start of the workers in it, and of a Ray and its actors; *rows a second* "
            "and *times as fast* count from there *to the last*.",
            table,
            "Ray itself works on the same cores here (its server, the node's manager, agents). What it is "
            "for is elsewhere: other machines, and graders that may die.",
            machine(["math-verify", "ray"]),
        ]
        words = f"--repeats {self.repeats} --rows {self.rows} --workers {self.workers}"
        write_report("grading_on_ray", blocks, words)


if __name__ == "__main__":
    tyro.cli(Race, description=__doc__)()
