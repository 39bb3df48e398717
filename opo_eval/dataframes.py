"""Responses in a pandas frame → the numbers that `opo-eval measure` and `compare` give of them, as frames.

    measured = measure_frame(frame, problem="question", score="correct", checkpoint="model")
    measured.metrics                # with the columns of a report's metrics.csv
    measured.differences("sft")     # with those of its differences.csv

A row is a response, or a problem with a list of them. Rows are read as `opo-eval import` reads those of a
table, graded as `opo-eval grade` does and measured by the same code, so the numbers are the same to the last
bit. They are read in the order of the frame's index: a frame that was shuffled gives what it gave before.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import pandas as pd

from opo_eval.compare import compare_with, known_baseline, refuse_other_problems
from opo_eval.errors import InputError, UsageError
from opo_eval.family import adjust, family_metrics
from opo_eval.grading import Grader, grade_answers
from opo_eval.grading.grader import as_think
from opo_eval.importers.frame import NAME, Columns, frame_columns, frame_log
from opo_eval.importers.plan import ReadPlan
from opo_eval.importers.rows import Place, Reader
from opo_eval.importers.write import grades_of, samples_of, survey_of
from opo_eval.measure import MeasureOptions, metric_settings, sampling_signature
from opo_eval.metrics import METRICS, Metric, measure_groups
from opo_eval.records import Comparison, Grade, GradedSample, Group, MetricTable, Problem, Sample, Think
from opo_eval.report.data import DIFFERENCE_COLUMNS, METRIC_COLUMNS, difference_cells, metric_cells
from opo_eval.rl.steps import read_steps
from opo_eval.wording import listed, nearest

_COUNTED = {
    "tokens": ("n_tokens", "the number of tokens of each response"),
    "truncated": ("finish", "how each response ended"),
}
"""Family → the role that it counts, and what that says."""


@dataclass(frozen=True, kw_only=True)
class MeasuredFrame:
    """The metrics of every checkpoint in a frame, on every benchmark."""

    tables: tuple[MetricTable, ...]
    """In the order of the frame, with the statistics of each problem."""
    problems: Mapping[Place, tuple[Problem, ...]]
    """What each checkpoint was asked on each benchmark."""
    rep_order: int

    @property
    def metrics(self) -> pd.DataFrame:
        """A row a number, as `metrics_frame` has them."""
        return metrics_frame(self.tables)

    @property
    def undefined(self) -> pd.DataFrame:
        """The metrics without a number, as they are undefined on all problems, and how many these are."""
        cells = [
            (table.checkpoint, table.benchmark, statistic.metric, len(table.problem_ids))
            for table in self.tables
            for statistic in table.statistics
            if not any(statistic.denominators)
        ]
        return pd.DataFrame(cells, columns=["checkpoint", "benchmark", "metric", "n_problems"])

    def differences(self, baseline: str, *, family: Sequence[str] | None = None) -> pd.DataFrame:
        """Every other checkpoint minus the baseline, paired by problem, as `differences_frame` has them.

        family: metrics whose p-values are adjusted together (Holm), over all checkpoints and benchmarks;
        default: pass@k, Self-BLEU and Rep-n. Raises UsageError for a baseline or a family of what is not
        there, and with one checkpoint; InputError where two checkpoints were not asked the same problems with
        the same golds.
        """
        names = list(dict.fromkeys(table.checkpoint for table in self.tables))
        known_baseline(baseline, names, option="baseline")
        if len(names) == 1:
            raise UsageError(
                f"{NAME} has one checkpoint, {baseline!r}, and nothing to compare it with: name the column "
                "that tells several apart with checkpoint="
            )
        _refuse_unlike(self.problems)
        tested = family_metrics(family, self.tables, self.rep_order, option="family")
        return differences_frame(adjust(compare_with(self.tables, baseline), tested), self.tables)


def measure_frame(
    frame: pd.DataFrame,
    *,
    metrics: Collection[str] | None = None,
    options: MeasureOptions | None = None,
    think: Think | str = Think.TAGGED,
    correct_from: float | None = None,
    **columns: Unpack[Columns],
) -> MeasuredFrame:
    """Measure the responses in a frame; columns: which of its columns hold what, see `Columns`.

    metrics: families, keys of `opo_eval.metrics.METRICS`; default: all that the columns allow. `pass@k` takes
    a problem and a score, or a gold and a response to grade; `self_bleu` and `repetition` a problem and a
    response. options: as `measure_run` takes them; without its `n` all problems of a benchmark must have as
    many responses. think: how a think section begins. correct_from: the least score that is correct, where
    scores are other numbers than 0 and 1.

    Raises UsageError for names that are not there and metrics that the columns do not allow, InputError for a
    column or a cell that is not what it has to be, naming it.
    """
    options, think = options or MeasureOptions(), as_think(think)
    roles = frame_columns(frame, columns)
    _check(options, roles)
    chosen = _chosen(metrics, roles)
    to_grade = "score" not in roles and any(metric.needs_grades for metric in chosen.values())
    if not to_grade and "gold" not in columns:
        # A column that is usually the golds' may then hold the model's own answers.
        roles.pop("gold", None)
    read = _read(Reader(ReadPlan(columns=roles, correct_from=correct_from), frame_log(frame, roles)))
    sizes = _n_by_benchmark(read, options.n)
    grader = _grade(read, think) if to_grade else _source(roles)
    drawn = sampling_signature(None)
    tables = (
        measure_groups(
            answered.groups(place.checkpoint),
            metric_settings(options, n=sizes[place.benchmark], think=think, grader=grader, sampling=drawn),
            chosen,
            cluster=options.cluster,
        )
        for place, answered in read.items()
    )
    return MeasuredFrame(
        tables=tuple(tables),
        problems={place: tuple(answered.problems.values()) for place, answered in read.items()},
        rep_order=options.rep_order,
    )


def _refuse_unlike(problems: Mapping[Place, Sequence[Problem]]) -> None:
    for benchmark in dict.fromkeys(place.benchmark for place in problems):
        asked = [(at.checkpoint, its) for at, its in problems.items() if at.benchmark == benchmark]
        refuse_other_problems([(f"{name!r} on {benchmark!r}", its) for name, its in asked])


def _check(options: MeasureOptions, roles: Mapping[str, str]) -> None:
    for name in ("grader", "scorer"):
        if wanted := getattr(options, name):
            raise UsageError(f"{name}={wanted!r} chooses among those of a run directory: leave it out")
    tags = roles.get("tags", "").split(",")
    if options.cluster and options.cluster not in tags:
        raise UsageError(f"cluster={options.cluster!r} is no column that is named with tags=: name it there")


# --- records as frames ------------------------------------------------------------------------------


def metrics_frame(tables: Iterable[MetricTable]) -> pd.DataFrame:
    """A row a number, with the columns of a report's metrics.csv: shares are from 0 to 1.

    Without a row is what is undefined on all problems; `n_problems_left_out` and `n_samples_left_out` count
    what the others are undefined on.
    """
    return _frame(metric_cells(tables), METRIC_COLUMNS)


def differences_frame(comparisons: Iterable[Comparison], tables: Iterable[MetricTable]) -> pd.DataFrame:
    """A row a difference, `b` minus `a`, with the columns of a report's differences.csv."""
    return _frame(difference_cells(comparisons, tables), DIFFERENCE_COLUMNS)


def training_frame(*folders: str | PathLike[str]) -> pd.DataFrame:
    """A row a step of the training runs in these folders, which the column `training_run` tells apart.

    The other columns are the fields of `TrainingStep`; `seconds` has one for each phase. Raises StoreError
    for a folder without steps.
    """
    rows = [
        {"training_run": Path(folder).resolve().name, **asdict(step)}
        for folder in folders
        for step in read_steps(Path(folder))
    ]
    return pd.json_normalize(rows, sep="_")


def _frame(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    rows = list(rows)
    # Of a column that is empty pandas cannot know that it is one of numbers.
    empty = [name for name in columns if all(row[name] is None for row in rows)]
    kinds = dict.fromkeys(("unit", "better"), "str") | dict.fromkeys(empty, "float64")
    return pd.DataFrame(rows, columns=list(columns)).astype(kinds)


# --- which metrics ----------------------------------------------------------------------------------


def _chosen(wanted: Collection[str] | None, roles: Collection[str]) -> dict[str, Metric]:
    lacking = {name: what for name, metric in METRICS.items() if (what := _lacks(name, metric, roles))}
    if wanted is None:
        return _any({name: metric for name, metric in METRICS.items() if name not in lacking})
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    if not asked:
        raise UsageError("metrics= is empty: leave it out for all that the columns allow")
    for name in asked:
        if name not in METRICS:
            raise UsageError(
                f"metrics= has no {name!r}{nearest(name, METRICS)}: choose among {listed(METRICS)}; each "
                "gives all its numbers, as 'pass@k' gives pass@1, pass@2 and so on"
            )
        if name in lacking:
            raise UsageError(f"{name!r} is measured from {lacking[name]}")
    return _any({name: metric for name, metric in METRICS.items() if name in asked})


def _any(metrics: dict[str, Metric]) -> dict[str, Metric]:
    if not metrics:
        raise UsageError(
            "there is nothing to measure: name a column of responses with response=, or of verdicts with "
            "score="
        )
    return metrics


def _lacks(name: str, metric: Metric, roles: Collection[str]) -> str:
    """What a metric is measured from and nobody has named; nothing where all is there."""
    if metric.needs_scores:
        return "token statistics, which only a run directory has: `opo-eval score` gives them"
    if metric.needs_grades and not ("score" in roles or {"gold", "response"} <= set(roles)):
        return "verdicts: name their column with score=, or golds and responses with gold= and response="
    if metric.needs_text and "response" not in roles:
        return "responses: name their column with response="
    role, said = _COUNTED.get(name, ("problem", ""))
    return f"{said}: name its column with {role}=" if said and role not in roles else ""


# --- rows -------------------------------------------------------------------------------------------


@dataclass
class _Answered:
    """What one checkpoint answered on one benchmark."""

    problems: dict[str, Problem]
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    """By problem."""
    grades: dict[tuple[str, int], Grade] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, grades: Iterable[Grade]) -> None:
        self.grades |= {(grade.problem_id, grade.index): grade for grade in grades}

    def groups(self, checkpoint: str) -> Iterator[Group]:
        for problem in self.problems.values():
            samples = sorted(self.samples[problem.id], key=lambda sample: sample.index)
            graded = (GradedSample(sample=s, grade=self.grades.get((problem.id, s.index))) for s in samples)
            yield Group(checkpoint=checkpoint, problem=problem, samples=tuple(graded))


def _read(reader: Reader) -> dict[Place, _Answered]:
    read = {place: _Answered(survey.problems) for place, survey in survey_of(reader).items()}
    for row in reader.rows():
        answered = read[row.place]
        samples = list(samples_of(row, answered.counts, None))
        answered.samples[row.problem.id] += [sample for sample, _ in samples]
        answered.add(grades_of(samples))
    return read


def _source(roles: Mapping[str, str]) -> str | None:
    return f"source:{roles['score']}" if "score" in roles else None


def _grade(read: Mapping[Place, _Answered], think: Think) -> str:
    """Grade every sample as `opo-eval grade` does, and return the signature of that."""
    asked = [
        (to, to.problems[name], s) for to in read.values() for name in to.samples for s in to.samples[name]
    ]
    golds, texts = [problem.answer for _, problem, _ in asked], [sample.text for _, _, sample in asked]
    signature = Grader(think=think).signature
    for (answered, problem, sample), outcome in zip(
        asked, grade_answers(golds, texts, think=think), strict=True
    ):
        named = {"problem_id": problem.id, "index": sample.index, "grader": signature}
        answered.add([Grade(**named, **{name: getattr(outcome, name) for name in _OF_OUTCOME})])
    return signature


_OF_OUTCOME = ("verdict", "lenient_verdict", "extracted", "reason")


def _n_by_benchmark(read: Mapping[Place, _Answered], wanted: int | None) -> dict[str, int]:
    """Samples a problem that are compared on each benchmark."""
    sizes: dict[str, dict[int, str]] = defaultdict(dict)
    for place, answered in read.items():
        for name, samples in answered.samples.items():
            where = f"problem {answered.problems[name].source_id!r} of {place.checkpoint!r}"
            sizes[place.benchmark].setdefault(len(samples), where)
    if wanted is not None:
        return dict.fromkeys(sizes, wanted)
    for benchmark, found in sizes.items():
        _refuse_unequal(benchmark, found)
    return {benchmark: min(found) for benchmark, found in sizes.items()}


def _refuse_unequal(benchmark: str, sizes: Mapping[int, str]) -> None:
    """sizes: number of responses → a problem that has so many."""
    few, many = min(sizes), max(sizes)
    if few < many:
        raise InputError(
            f"not every problem of {benchmark!r} has as many responses: {sizes[few]} has {few} and "
            f"{sizes[many]} has {many}; make them equal, or take options=MeasureOptions(n={few}), which "
            f"compares {few} of each"
        )
