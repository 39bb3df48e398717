"""From the samples of every problem to a table with intervals."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from opo_eval.errors import InputError
from opo_eval.metrics.core import Metric, MetricSettings, ProblemSamples, Value
from opo_eval.records import (
    Finish,
    Group,
    Interval,
    MetricRow,
    MetricTable,
    Problem,
    ProblemStatistics,
    verdicts_disagree,
)
from opo_eval.stats import Floats, bootstrap_intervals, ratio

UNDEFINED = Value(0.0, 0.0)
_MOST_TAG_VALUES = 20
SEED = 20250529
"""Of the resampling; intervals are the same each time."""


@dataclass(eq=False)
class _Column:
    """One named number on every problem so far."""

    name: str
    metric: Metric
    values: list[Value]

    @property
    def pairs(self) -> Floats:
        """[2, problems]: numerators and denominators."""
        return np.array([(v.numerator, v.denominator) for v in self.values], dtype=np.float64).T


@dataclass(eq=False)
class _Measured:
    """What is kept of the samples once they have been read: small, whatever the texts' size."""

    settings: MetricSettings
    columns: dict[str, _Column] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    n_samples: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, group: Group, metrics: Mapping[str, Metric]) -> None:
        samples = ProblemSamples(group, self.settings)
        for metric in metrics.values():
            for name, value in metric.measure(samples).items():
                self._column(name, metric).values.append(value)
        self.problems.append(group.problem)
        self.n_samples.append(len(group.samples))
        self.counts.update(_count(group))
        self._fill()

    def _column(self, name: str, metric: Metric) -> _Column:
        if name not in self.columns:
            self.columns[name] = _Column(name, metric, [UNDEFINED] * len(self.problems))
        return self.columns[name]

    def _fill(self) -> None:
        for column in self.columns.values():
            if len(column.values) < len(self.problems):
                column.values.append(UNDEFINED)


def measure_groups(
    groups: Iterable[Group],
    settings: MetricSettings,
    metrics: Mapping[str, Metric],
    *,
    level: float = 0.95,
) -> MetricTable:
    """Measure one checkpoint on one benchmark; groups are read once and not kept.

    Every group has at least `settings.n` samples and is of the same checkpoint and benchmark. Metrics
    that need grades are given graded groups only. Raises InputError where there is no group.
    """
    measured, checkpoint = _Measured(settings), ""
    for group in groups:
        checkpoint = group.checkpoint
        measured.add(group, metrics)
    if not measured.problems:
        raise InputError("there is no problem with samples to measure: sample or import some first")
    return _table(checkpoint, measured, level)


def _table(checkpoint: str, measured: _Measured, level: float) -> MetricTable:
    benchmark = measured.problems[0].benchmark
    rows = [
        row
        for subset, members in _subsets(measured.problems)
        for row in _rows(checkpoint, benchmark, subset, members, measured, level)
    ]
    return MetricTable(
        checkpoint=checkpoint,
        benchmark=benchmark,
        n=measured.settings.n,
        problem_ids=tuple(problem.id for problem in measured.problems),
        rows=tuple(rows),
        statistics=tuple(_statistics(c, measured.n_samples) for c in measured.columns.values()),
        counts={"problems": len(measured.problems), **measured.counts},
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


def _rows(
    checkpoint: str, benchmark: str, subset: str, members: list[int], measured: _Measured, level: float
) -> Iterator[MetricRow]:
    settings = measured.settings
    columns = [c for c in measured.columns.values() if c.pairs[1, members].sum() > 0]
    pairs = np.array([column.pairs[:, members] for column in columns]).reshape(-1, 2, len(members))
    values = ratio(pairs[:, 0], pairs[:, 1])
    for column, value, interval in zip(columns, values, _intervals(pairs, level), strict=True):
        defined = [column.values[i].denominator > 0 for i in members]
        yield MetricRow(
            checkpoint=checkpoint,
            benchmark=benchmark,
            subset=subset,
            metric=column.name,
            value=float(value),
            interval=interval if sum(defined) > 1 else None,
            unit=column.metric.unit,
            better=column.metric.better,
            n_problems=sum(defined),
            n_samples=sum(measured.n_samples[i] for i in members),
            n_problems_left_out=len(members) - sum(defined),
            n_samples_left_out=sum(column.values[i].n_left_out for i in members),
            signature="|".join(filter(None, (column.metric.signature(settings), settings.sampling))),
        )


def _intervals(pairs: Floats, level: float) -> Sequence[Interval | None]:
    if pairs.shape[-1] < 2:
        return [None] * len(pairs)
    rng = np.random.default_rng(SEED)
    return bootstrap_intervals(pairs[:, 0], pairs[:, 1], rng=rng, level=level)


def _statistics(column: _Column, n_samples: list[int]) -> ProblemStatistics:
    return ProblemStatistics(
        metric=column.name,
        numerators=tuple(value.numerator for value in column.values),
        denominators=tuple(value.denominator for value in column.values),
        n_samples=tuple(n_samples),
        n_samples_left_out=tuple(value.n_left_out for value in column.values),
    )


def _count(group: Group) -> Counter[str]:
    counts = Counter({"samples": len(group.samples)})
    for graded in group.samples:
        sample, grade = graded.sample, graded.grade
        counts["empty"] += not sample.text.strip()
        counts["truncated"] += sample.finish is Finish.LENGTH
        counts["finish_unknown"] += sample.finish is None
        if grade is not None:
            counts[grade.verdict.value] += 1
            counts["strict_lenient_disagree"] += verdicts_disagree(grade.verdict, grade.lenient_verdict)
    return counts
