"""What the page says of every sample without its text: columns that the browser joins by problem."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opo_eval.records import Finish, Grade, MetricTable, Problem, Reason, Verdict
from opo_eval.report.names import one_line
from opo_eval.report.views import BenchmarkView
from opo_eval.store import RunDir, RunIndex

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

_LONGEST_ANSWER = 300
_NONE = -1
_CORRECT = list(Verdict).index(Verdict.CORRECT)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MeasuredRun:
    """A run with the table that was measured from it."""

    index: RunIndex
    table: MetricTable
    label: str

    @property
    def grader(self) -> str | None:
        """The one whose verdicts the table's numbers count; None where nobody graded."""
        return _named("grader", self.index.grades, self.table)

    @property
    def scorer(self) -> str | None:
        """The one whose statistics the table's numbers are of; None where nobody scored."""
        return _named("scorer", self.index.token_stats, self.table)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """A benchmark: the problems that are compared, and the runs that answered them, the baseline's first."""

    view: BenchmarkView
    problems: tuple[Problem, ...]
    runs: tuple[MeasuredRun, ...]


@dataclass(slots=True)
class Words:
    """Texts that occur often, as numbers."""

    places: dict[str, int] = field(default_factory=dict)

    def place(self, text: str | None) -> int:
        """The text's number, from 0; -1 for None."""
        return _NONE if text is None else self.places.setdefault(text, len(self.places))


def asked(compared: "ComparedRuns", views: Sequence[BenchmarkView]) -> list[Asked]:
    """The benchmarks whose runs are at hand."""
    settings = [(run, run.manifest.settings) for run in compared.runs]
    runs = {(own.checkpoint.name, own.benchmark): run for run, own in settings}
    return [benchmark for view in views if (benchmark := _asked(view, runs))]


def benchmark_json(benchmark: Asked, words: Mapping[str, Words]) -> dict[str, Any]:
    """The benchmark's problems, and a set of columns a run; blocks of texts are not in it yet."""
    places = {problem.id: place for place, problem in enumerate(benchmark.problems)}
    return {
        "name": benchmark.view.benchmark,
        "label": benchmark.view.label,
        "problems": [_problem(problem) for problem in benchmark.problems],
        "runs": [
            {
                "checkpoint": run.table.checkpoint,
                "label": run.label,
                "samples": _columns(run, places, words),
            }
            for run in benchmark.runs
        ],
    }


def new_words() -> dict[str, Words]:
    """Numbers for verdicts, reasons, ends and extracted answers; the outcomes' are always the same."""
    outcomes: dict[str, Any] = {"verdict": Verdict, "reason": Reason, "finish": Finish}
    return {
        **{kind: Words({word.value: i for i, word in enumerate(of)}) for kind, of in outcomes.items()},
        "answer": Words(),
    }


def worth_keeping(benchmark: Mapping[str, Any]) -> list[bool]:
    """For each problem of `benchmark_json` whether it is a flip or has verdicts that disagree.

    A flip: most samples of one checkpoint are right, and not of another.
    """
    n_problems = len(benchmark["problems"])
    odd, mostly = [False] * n_problems, [set[bool]() for _ in range(n_problems)]
    for run in benchmark["runs"]:
        samples = run["samples"]
        margin = [0] * n_problems
        for problem, verdict, lenient in zip(
            samples["problem"], samples["verdict"], samples["lenient"], strict=True
        ):
            right = verdict == _CORRECT
            margin[problem] += 1 if right else -1
            odd[problem] |= lenient != _NONE and right != (lenient == _CORRECT)
        for problem in set(samples["problem"]):
            mostly[problem].add(margin[problem] > 0)
    return [disagree or len(own) > 1 for disagree, own in zip(odd, mostly, strict=True)]


def run_names(benchmark: Asked) -> list[str]:
    """The last two folders of each run directory: the same wherever the runs lie."""
    return [one_line("/".join(run.index.run.path.parts[-2:]), 80) for run in benchmark.runs]


# --- the parts --------------------------------------------------------------------------------------


def _asked(view: BenchmarkView, runs: Mapping[tuple[str, str], RunDir]) -> Asked | None:
    found = [(table, runs.get((table.checkpoint, view.benchmark))) for table in view.tables]
    measured = tuple(
        MeasuredRun(index=run.index(), table=table, label=view.checkpoints[table.checkpoint])
        for table, run in found
        if run
    )
    if not measured:
        return None
    known = {name for run in measured for name in run.table.problem_ids}
    problems = tuple(problem for problem in measured[0].index.problems if problem.id in known)
    return Asked(view=view, problems=problems, runs=measured)


def _named(kind: str, signatures: Mapping[str, Any], table: MetricTable) -> str | None:
    named = (own for own in signatures if any(f"{kind}:[{own}]" in row.signature for row in table.rows))
    return next(named, None)


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "id": problem.id,
        "source": problem.source_id,
        "prompt": problem.prompt,
        "answer": problem.answer,
        "tags": dict(problem.tags),
        "blocks": None,
    }


def _columns(
    run: MeasuredRun, places: Mapping[str, int], words: Mapping[str, Words]
) -> dict[str, list[int | None]]:
    outcomes, ids = run.table.outcomes, run.table.problem_ids
    grades = list(_grades(run, outcomes.problem, outcomes.index))
    answers = [grade and grade.extracted for grade in grades]
    return {
        "problem": [places[ids[problem]] for problem in outcomes.problem],
        "index": list(outcomes.index),
        "verdict": [words["verdict"].place(verdict) for verdict in outcomes.verdict],
        "lenient": [words["verdict"].place(grade and grade.lenient_verdict) for grade in grades],
        "reason": [words["reason"].place(grade and grade.reason) for grade in grades],
        "finish": [words["finish"].place(finish) for finish in outcomes.finish],
        "answer": [words["answer"].place(answer and _short(answer)) for answer in answers],
        "characters": list(outcomes.characters),
        "tokens": list(outcomes.tokens),
    }


def _grades(run: MeasuredRun, problems: Sequence[int], indexes: Sequence[int]) -> Iterator[Grade | None]:
    """The grade of each sample, a problem's grades in memory at a time."""
    known, grades = _NONE, dict[int, Grade]()
    for problem, index in zip(problems, indexes, strict=True):
        if problem != known:
            known, grades = problem, _grades_of(run, run.table.problem_ids[problem])
        yield grades.get(index)


def _grades_of(run: MeasuredRun, problem_id: str) -> dict[int, Grade]:
    return {grade.index: grade for grade in run.index.grades_of(problem_id, run.grader)}


def _short(answer: str) -> str:
    return answer if len(answer) <= _LONGEST_ANSWER else f"{answer[:_LONGEST_ANSWER]}…"
