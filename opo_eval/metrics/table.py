"""From the samples of every problem to a table with intervals."""

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from opo_eval.errors import InputError, UsageError
from opo_eval.metrics.core import UNDEFINED, Metric, MetricSettings, ProblemSamples, Spread, Value
from opo_eval.metrics.intervals import Column, RowIntervals, row_intervals
from opo_eval.records import (
    Finish,
    Group,
    MetricRow,
    MetricTable,
    Problem,
    ProblemStatistics,
    SampleOutcomes,
    verdicts_disagree,
)
from opo_eval.stats import like_these, ratio

_MOST_TAG_VALUES = 20


@dataclass(eq=False)
class _Named:
    """One named number on every problem so far."""

    name: str
    family: str
    metric: Metric
    values: list[Value]

    def column(self, members: Sequence[int]) -> Column:
        """Its pairs on some of the problems."""
        values = [self.values[i] for i in members]
        return Column(
            unit=self.metric.unit,
            pairs=np.array([value[:2] for value in values], dtype=np.float64).T,
            spreads=_spreads(values),
            curve=self.family if self.metric.is_curve else None,
        )


def _spreads(values: Iterable[Value]) -> np.ndarray | None:
    """[4, problems]; None where it is unknown on a problem on which the metric is defined."""
    known = [value.spread if value.denominator else Spread(0.0, 0.0, 0.0, 0) for value in values]
    if any(spread is None for spread in known):
        return None
    return np.array(known, dtype=np.float64).T


@dataclass(eq=False)
class _Measured:
    """What is kept of the samples once they have been read: small, whatever the texts' size."""

    settings: MetricSettings
    numbers: dict[str, _Named] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    n_samples: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    outcomes: list[tuple[Any, ...]] = field(default_factory=list)
    """The fields of `SampleOutcomes`, a sample each."""

    def add(self, group: Group, metrics: Mapping[str, Metric]) -> None:
        samples = ProblemSamples(group, self.settings)
        for family, metric in metrics.items():
            for name, value in metric.measure(samples).items():
                self._number(name, family, metric).values.append(value)
        self.outcomes += _outcomes(len(self.problems), group)
        self.problems.append(group.problem)
        self.n_samples.append(len(group.samples))
        self.counts.update(_count(group))
        self._fill()

    def _number(self, name: str, family: str, metric: Metric) -> _Named:
        if name not in self.numbers:
            self.numbers[name] = _Named(name, family, metric, [UNDEFINED] * len(self.problems))
        return self.numbers[name]

    def _fill(self) -> None:
        for number in self.numbers.values():
            if len(number.values) < len(self.problems):
                number.values.append(UNDEFINED)


def measure_groups(
    groups: Iterable[Group],
    settings: MetricSettings,
    metrics: Mapping[str, Metric],
    *,
    cluster: str | None = None,
    level: float = 0.95,
) -> MetricTable:
    """Measure one checkpoint on one benchmark; groups are read once and not kept.

    Every group has at least `settings.n` samples and is of the same checkpoint and benchmark. Metrics
    that need grades are given graded groups only. cluster: a tag, such as the exam; intervals over problems
    like these then draw the problems of one exam together. Raises InputError where there is no group,
    UsageError where a problem does not have that tag.
    """
    measured, checkpoint = _Measured(settings), ""
    for group in groups:
        checkpoint = group.checkpoint
        measured.add(group, metrics)
    if not measured.problems:
        raise InputError("there is no problem with samples to measure: sample or import some first")
    definitions = {family: inspect.getdoc(metric.measure) or "" for family, metric in metrics.items()}
    return replace(_table(checkpoint, measured, cluster, level), definitions=definitions)


def _table(checkpoint: str, measured: _Measured, cluster: str | None, level: float) -> MetricTable:
    problems = measured.problems
    clusters = None if cluster is None else tuple(_cluster_of(problem, cluster) for problem in problems)
    rows: list[MetricRow] = []
    for subset, members in _subsets(problems):
        numbers = [n for n in measured.numbers.values() if any(n.values[i].denominator for i in members)]
        labels = None if clusters is None else [clusters[i] for i in members]
        columns = [number.column(members) for number in numbers]
        intervals = row_intervals(columns, clusters=labels, kind=like_these(cluster), level=level)
        given = zip(numbers, columns, intervals, strict=True)
        rows += (_row(checkpoint, subset, members, measured, *each) for each in given)
    return MetricTable(
        checkpoint=checkpoint,
        benchmark=problems[0].benchmark,
        n=measured.settings.n,
        problem_ids=tuple(problem.id for problem in problems),
        cluster=cluster,
        clusters=clusters,
        rows=tuple(rows),
        statistics=tuple(_statistics(number, measured.n_samples) for number in measured.numbers.values()),
        outcomes=_column_wise(measured.outcomes),
        counts={"problems": len(problems), **measured.counts},
    )


def _cluster_of(problem: Problem, tag: str) -> str:
    if tag not in problem.tags:
        has = f"its tags are {', '.join(sorted(problem.tags))}" if problem.tags else "it has none"
        raise UsageError(
            f"--cluster {tag!r} is no tag of problem {problem.source_id} ({has}): choose a tag of all "
            "problems, or leave --cluster out"
        )
    return problem.tags[tag]


def _row(
    checkpoint: str,
    subset: str,
    members: Sequence[int],
    measured: _Measured,
    number: _Named,
    column: Column,
    intervals: RowIntervals,
) -> MetricRow:
    settings, metric = measured.settings, number.metric
    n_defined = int(np.count_nonzero(column.pairs[1]))
    return MetricRow(
        checkpoint=checkpoint,
        benchmark=measured.problems[0].benchmark,
        subset=subset,
        metric=number.name,
        family=number.family,
        value=float(ratio(*column.pairs)),
        interval=intervals.like_these,
        interval_these=intervals.these,
        band=intervals.band,
        unit=metric.unit,
        better=metric.better,
        n_problems=n_defined,
        n_samples=sum(measured.n_samples[i] for i in members),
        n_problems_left_out=len(members) - n_defined,
        n_samples_left_out=sum(number.values[i].n_left_out for i in members),
        signature="|".join(filter(None, (metric.signature(settings), settings.sampling))),
    )


def _subsets(problems: Sequence[Problem]) -> Iterator[tuple[str, list[int]]]:
    """All problems; then, of every tag that tells groups apart, the problems of each value."""
    yield "all", list(range(len(problems)))
    for tag in sorted({tag for problem in problems for tag in problem.tags}):
        values = Counter(problem.tags[tag] for problem in problems if tag in problem.tags)
        if 1 < len(values) <= min(_MOST_TAG_VALUES, len(problems) - 1):
            for value in sorted(values, key=_natural):
                yield f"{tag}={value}", [i for i, p in enumerate(problems) if p.tags.get(tag) == value]


def _natural(value: str) -> tuple[int, float, str]:
    return (0, float(value), "") if value.isdecimal() else (1, 0.0, value)


def _statistics(number: _Named, n_samples: list[int]) -> ProblemStatistics:
    spreads = _spreads(number.values)
    numerators, denominators = zip(*(value[:2] for value in number.values), strict=True)
    return ProblemStatistics(
        metric=number.name,
        numerators=numerators,
        denominators=denominators,
        spreads=None if spreads is None else tuple(map(tuple, spreads.T.tolist())),
        n_samples=tuple(n_samples),
        n_samples_left_out=tuple(value.n_left_out for value in number.values),
    )


def _outcomes(problem: int, group: Group) -> Iterator[tuple[Any, ...]]:
    for graded in group.samples:
        sample, verdict = graded.sample, graded.grade and graded.grade.verdict
        yield problem, sample.index, verdict, sample.finish, len(sample.text), sample.n_tokens


def _column_wise(outcomes: Sequence[tuple[Any, ...]]) -> SampleOutcomes:
    names = (field.name for field in fields(SampleOutcomes))
    return SampleOutcomes(**dict(zip(names, zip(*outcomes, strict=True), strict=True)))


def _count(group: Group) -> Counter[str]:
    counts = Counter({"samples": len(group.samples)})
    for graded in group.samples:
        sample, grade = graded.sample, graded.grade
        counts["empty"] += not sample.text.strip()
        counts["truncated"] += sample.finish is Finish.LENGTH
        counts["finish_unknown"] += sample.finish is None
        counts["scored"] += bool(graded.token_stats)
        if grade is not None:
            counts[grade.verdict.value] += 1
            counts["strict_lenient_disagree"] += verdicts_disagree(grade.verdict, grade.lenient_verdict)
    return counts
