"""The steps of a training run on one benchmark: curves beside a reference, and the mean of the last steps.

All checkpoints answer the same problems, so what makes a problem hard for all of them cancels in a
difference; the same problems are drawn for every step and for the reference in every resample.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from opo_eval.differences import LEVEL, SharedProblems, labelled
from opo_eval.lineage import Series
from opo_eval.metrics.intervals import SEED, Column, row_intervals
from opo_eval.records import Comparison, Interval, MetricRow, MetricTable
from opo_eval.stats import (
    Floats,
    Resampled,
    like_these,
    mean_of_ratios,
    ratio,
    sign_flip_test,
)
from opo_eval.wording import counted

ALL_STEPS = "all steps at once"
_LENGTHS = ("tokens", "characters")
_SCORED = ("entropy", "kl")
_NUMBER = re.compile(r"[\d.e+-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPoint:
    """A checkpoint on a curve."""

    step: int
    checkpoint: str
    value: float
    interval: Interval | None
    """Over problems like these; None with fewer than two problems, or where all problems are alike."""
    delta: float | None = None
    """Less the reference, on the problems on which all of the curve and the reference define the metric;
    None for the reference itself, and without one."""
    difference: Interval | None = None
    """Of `delta`, over problems like these, this step alone; None where `delta` is, with fewer than two
    problems, or where nothing varies."""
    band: Interval | None = None
    """Of `delta`, all steps of the curve at once; None where `difference` is, or with fewer than ten
    problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCurve:
    """A metric over the steps of a training run."""

    benchmark: str
    series: str
    metric: str
    reference: MetricRow | None
    """Of the checkpoint that the others are compared with; None where it lacks the metric or the run."""
    points: tuple[StepPoint, ...]
    """In order of the steps."""
    n_problems: int
    """Those that the differences are over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastMean:
    """The mean of a metric over the last checkpoints of a training run."""

    benchmark: str
    series: str
    metric: str
    steps: tuple[int, ...]
    value: float
    interval: Interval | None
    """Over problems like these; None with fewer than two problems, or where all problems are alike."""
    difference: Comparison | None
    """Less the reference, paired over problems; None where there is none, or it is one of the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverSteps:
    """What there is to say of training runs over their steps."""

    curves: tuple[StepCurve, ...] = ()
    means: tuple[LastMean, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsChoice:
    """What curves are drawn of."""

    reference: str
    """Checkpoint that the others are compared with."""
    starts: Collection[str]
    """Names of the training runs that began from the reference: there it is step 0."""
    last: int
    """Checkpoints that the mean over the last steps takes; 0: no mean."""
    rep_order: int


def over_steps(
    tables: Sequence[MetricTable], training_runs: Sequence[Series], choice: StepsChoice
) -> OverSteps:
    """Curves of every training run on every benchmark on which two or more of its steps are measured."""
    curves, means, notes = [], [], []
    for benchmark in dict.fromkeys(table.benchmark for table in tables):
        own = {table.checkpoint: table for table in tables if table.benchmark == benchmark}
        for series in (_measured(series, own) for series in training_runs):
            if len(series.steps) > 1:
                run = _Run(series, own, choice)
                curves += run.curves()
                means += run.means()
                notes += run.notes()
    return OverSteps(curves=tuple(curves), means=tuple(means), notes=tuple(dict.fromkeys(notes)))


def step_metrics(tables: Sequence[MetricTable], rep_order: int) -> list[str]:
    """What is followed over steps: pass@1, pass@n, Self-BLEU, Rep-n, entropy, KL, length, truncated share.

    Only what every table has; of the lengths, tokens where they are known; entropy and KL at temperature 1,
    or else the lowest that every table has.
    """
    everywhere = set.intersection(*({row.metric for row in table.rows} for table in tables))
    length = next((name for name in _LENGTHS if name in everywhere), _LENGTHS[-1])
    scored = [_at_a_temperature(name, everywhere) for name in _SCORED]
    wanted = ("pass@1", f"pass@{tables[0].n}", "self_bleu", f"rep_{rep_order}", *scored, length, "truncated")
    return [name for name in dict.fromkeys(wanted) if name in everywhere]


def _at_a_temperature(name: str, known: Collection[str]) -> str:
    """`kl`, or where that is not known the `kl_t0.6` of the lowest temperature."""
    prefix = f"{name}_t"
    others = (metric.removeprefix(prefix) for metric in known if metric.startswith(prefix))
    temperatures = [other for other in others if _NUMBER.fullmatch(other)]
    return name if name in known or not temperatures else f"{prefix}{min(temperatures, key=float)}"


def _measured(series: Series, tables: Mapping[str, MetricTable]) -> Series:
    kept = [i for i, name in enumerate(series.checkpoints) if name in tables]
    return replace(
        series,
        steps=tuple(series.steps[i] for i in kept),
        checkpoints=tuple(series.checkpoints[i] for i in kept),
    )


class _Run:
    """One training run on one benchmark."""

    def __init__(self, series: Series, tables: Mapping[str, MetricTable], choice: StepsChoice) -> None:
        self.series, self.choice = series, choice
        self.steps = [tables[name] for name in series.checkpoints]
        self.reference = tables.get(choice.reference)
        self.is_step = choice.reference in series.checkpoints
        self.metrics = step_metrics(self.steps, choice.rep_order)

    # --- curves -------------------------------------------------------------------------------------

    def curves(self) -> list[StepCurve]:
        """In the order of `step_metrics`."""
        found = {} if self.reference is None else dict(self._compared(self.reference))
        bare = {metric: self._curve(metric, [None] * len(self.steps), 0) for metric in self.metrics}
        return list((bare | found).values())

    def _compared(self, reference: MetricTable) -> Iterator[tuple[str, StepCurve]]:
        shared = SharedProblems([reference, *self.steps])
        for names, kept in shared.extents():
            for metric in (name for name in names if name in self.metrics):
                yield metric, self._curve(metric, self._differences(shared, metric, kept), len(kept))

    def _curve(self, metric: str, differences: Sequence["_Difference | None"], n_problems: int) -> StepCurve:
        reference = None if self.reference is None else _rows(self.reference).get(metric)
        points = [
            _point(step, _rows(table)[metric], found)
            for step, table, found in zip(self.series.steps, self.steps, differences, strict=True)
        ]
        if reference and self.series.name in self.choice.starts and self.series.steps[0] > 0:
            points.insert(0, _point(0, reference, None))
        return StepCurve(
            benchmark=self.steps[0].benchmark,
            series=self.series.name,
            metric=metric,
            reference=reference,
            points=tuple(points),
            n_problems=n_problems,
        )

    def _differences(
        self, shared: SharedProblems, metric: str, kept: list[int]
    ) -> list["_Difference | None"]:
        units = _units(shared, metric, kept)
        less_reference = np.hstack([-np.ones((len(self.steps), 1)), np.eye(len(self.steps))])
        others = [i for i, name in enumerate(self.series.checkpoints) if name != self.choice.reference]
        found: list[_Difference | None] = [None] * len(self.steps)
        for i, difference in zip(others, _intervals(units, less_reference[others]), strict=True):
            found[i] = difference.labelled(self.steps[0].cluster)
        return found

    # --- the mean of the last steps -----------------------------------------------------------------

    def means(self) -> list[LastMean]:
        """Of every metric; none where there are fewer steps than it takes."""
        last = self.choice.last
        if not last or len(self.steps) < last:
            return []
        tables = self.steps[-last:]
        compared = self.reference is not None and self.choice.reference not in self.series.checkpoints[-last:]
        found = {}
        shared = SharedProblems(tables)
        for names, kept in shared.extents():
            found |= {name: self._mean(shared, name, kept) for name in names if name in self.metrics}
        if compared and self.reference is not None:
            shared = SharedProblems([self.reference, *tables])
            for names, kept in shared.extents():
                for name in (name for name in names if name in found):
                    found[name] = replace(found[name], difference=self._mean_difference(shared, name, kept))
        return [found[metric] for metric in self.metrics if metric in found]

    def _mean(self, shared: SharedProblems, metric: str, kept: list[int]) -> LastMean:
        num, den = mean_of_ratios(*_pairs(shared, metric, kept))
        row = shared.rows[metric]
        column = Column(unit=row.unit, pairs=np.stack([num, den]), spreads=None, curve=None)
        labels = [shared.labels[i] for i in kept]
        (intervals,) = row_intervals(
            [column], clusters=labels, kind=like_these(self.steps[0].cluster), level=LEVEL
        )
        return LastMean(
            benchmark=row.benchmark,
            series=self.series.name,
            metric=metric,
            steps=self.series.steps[-self.choice.last :],
            value=float(ratio(num, den)),
            interval=intervals.like_these,
            difference=None,
        )

    def _mean_difference(self, shared: SharedProblems, metric: str, kept: list[int]) -> Comparison:
        """Two-sided sign-flip test over problems; approximate, as a mean varies less than one checkpoint."""
        pairs, units = _pairs(shared, metric, kept), _units(shared, metric, kept)
        last = len(shared.tables) - 1
        weights = np.array([[-1.0, *np.full(last, 1 / last)]])
        (found,) = _intervals(units, weights)
        row = shared.rows[metric]
        values = ratio(*pairs)
        return Comparison(
            benchmark=row.benchmark,
            metric=metric,
            a=self.choice.reference,
            b=f"{self.series.name}, mean of the last {last}",
            value_a=float(values[0]),
            value_b=float(values[1:].mean()),
            delta=float(values[1:].mean() - values[0]),
            interval=found.labelled(self.steps[0].cluster).interval,
            p_value=_test(units),
            unit=row.unit,
            better=row.better,
            n_problems=len(kept),
            signature=row.signature,
        )

    def notes(self) -> Iterator[str]:
        """Why there is no mean of the last steps."""
        last, n_steps = self.choice.last, len(self.steps)
        if n_steps < last:
            yield (
                f"{self.series.name} has {counted(n_steps, 'checkpoint')} on {self.steps[0].benchmark}, so "
                f"there is no mean of the last {last}: sample more of its steps, or give a smaller --last."
            )


# --- pairs and intervals ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Difference:
    delta: float
    interval: Interval | None
    band: Interval | None

    def labelled(self, cluster: str | None) -> "_Difference":
        """With the name of what problems are drawn by; an interval without width is none."""
        kind = f"{like_these(cluster)}, {ALL_STEPS}"
        return _Difference(
            self.delta,
            self.interval and labelled(self.interval, cluster),
            self.band and replace(self.band, kind=kind),
        )


def _rows(table: MetricTable) -> dict[str, MetricRow]:
    return {row.metric: row for row in table.rows if row.subset == "all"}


def _point(step: int, row: MetricRow, found: _Difference | None) -> StepPoint:
    return StepPoint(
        step=step,
        checkpoint=row.checkpoint,
        value=row.value,
        interval=row.interval,
        delta=found.delta if found else None,
        difference=found.interval if found else None,
        band=found.band if found else None,
    )


def _pairs(shared: SharedProblems, metric: str, kept: list[int]) -> tuple[Floats, Floats]:
    """Numerators and denominators: [tables, problems] each."""
    sides = [shared.pairs(table, [metric], kept) for table in range(len(shared.tables))]
    return np.concatenate([num for num, _ in sides]), np.concatenate([den for _, den in sides])


def _units(shared: SharedProblems, metric: str, kept: list[int]) -> tuple[Floats, Floats]:
    """The same by what is drawn independently."""
    return shared.units(_pairs(shared, metric, kept), kept)


def _intervals(units: tuple[Floats, Floats], weights: Floats) -> list[_Difference]:
    """Weighted sums of the tables' values, [sums, tables], each alone and all of them at once."""
    deltas = weights @ ratio(*units)
    if units[0].shape[-1] < 2:
        return [_Difference(float(delta), None, None) for delta in deltas]
    values = Resampled.values(*units, rng=np.random.default_rng(SEED))
    resampled = values.combined(weights)
    ends = zip(
        resampled.estimates.tolist(),
        resampled.intervals(LEVEL),
        resampled.bands(LEVEL, list(range(len(weights)))),
        strict=True,
    )
    return [_Difference(*each) for each in ends]


def _test(units: tuple[Floats, Floats]) -> float | None:
    """Of the mean of all tables but the first against the first; None with fewer than two problems."""
    num, den = units
    if num.shape[-1] < 2:
        return None
    mean = mean_of_ratios(num[1:], den[1:])
    sides = [(x[None], y[None]) for x, y in ((num[0], den[0]), mean)]
    return float(sign_flip_test(sides[0], sides[1], rng=np.random.default_rng(SEED))[0])
