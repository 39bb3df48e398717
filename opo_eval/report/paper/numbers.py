"""The numbers of one benchmark as the rows of a table: of checkpoints, of arms, of last checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from opo_eval.records import Better, Comparison, Interval, MetricRow, Unit
from opo_eval.report.paper.marks import Mark, marks
from opo_eval.report.values import number
from opo_eval.report.views import BenchmarkView, metric_rows, rows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A value and what it may be read with."""

    value: float
    unit: Unit
    better: Better
    interval: Interval | None
    is_difference: bool = False
    """Whether the interval is that of the difference from the baseline."""

    def below(self, places: int) -> str:
        """The interval in print; nothing where there is none."""
        if self.interval is None:
            return ""
        ends = (self.interval.low, self.interval.high)
        shown = (number(end, self.unit, places, signed=self.is_difference) for end in ends)
        return f"[{', '.join(shown)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Those of one benchmark."""

    view: BenchmarkView
    rows: Mapping[str, Mapping[str, Number]]
    """Row → metric → number; the baseline's row is the first, where it has one."""
    names: Mapping[str, str]
    """Row → its name in full."""
    comparisons: tuple[Comparison, ...]
    """Of rows with the baseline."""
    baseline: str
    """Row that the others are compared with."""
    passed: frozenset[str] = frozenset()
    """Rows that a table leaves to the CSV file: checkpoints of training runs that went on."""

    def marks(self, metric: str, shown: Sequence[str]) -> dict[str, Mark]:
        """Of the rows that are shown."""
        known = {row: self.rows[row][metric] for row in shown if metric in self.rows[row]}
        compared = {row.b: row for row in self.comparisons if row.metric == metric}
        better = next((number.better for number in known.values()), Better.NEITHER)
        values = {row: number.value for row, number in known.items()}
        return marks(values, better, compared, self.baseline)


def of_checkpoints(view: BenchmarkView) -> Numbers:
    """Each checkpoint with its own intervals."""
    return Numbers(
        view=view,
        rows={table.checkpoint: _numbers(rows_of(table)) for table in view.tables},
        names=view.checkpoints,
        comparisons=view.comparisons,
        baseline=view.comparisons[0].a if view.comparisons else view.tables[0].checkpoint,
        passed=passed_checkpoints(view),
    )


def passed_checkpoints(view: BenchmarkView) -> frozenset[str]:
    """Every checkpoint of a training run but its last one and what it is compared with."""
    references = {curve.reference.checkpoint for curve in view.curves if curve.reference}
    earlier = {point.checkpoint for curve in view.curves for point in curve.points[:-1]}
    return frozenset(earlier - references)


def of_arms(view: BenchmarkView) -> Numbers:
    """Each arm's mean over its seeds, with the interval of its difference from the baseline's arm."""
    rows: dict[str, dict[str, Number]] = {row.a: {} for row in view.arm_comparisons[:1]}
    for row in view.arm_comparisons:
        kind = {"unit": row.unit, "better": row.better}
        rows[row.a].setdefault(row.metric, Number(value=row.value_a, interval=None, **kind))
        own = Number(value=row.value_b, interval=row.interval, is_difference=True, **kind)
        rows.setdefault(row.b, {})[row.metric] = own
    compared = view.arm_comparisons
    return Numbers(view=view, rows=rows, names=view.arms, comparisons=compared, baseline=next(iter(rows), ""))


def of_last_checkpoints(view: BenchmarkView) -> Numbers:
    """Each training run's mean over its last checkpoints, below the checkpoint that it is compared with."""
    compared = tuple(replace(m.difference, b=m.series) for m in view.last_means if m.difference)
    kinds, followed = metric_rows(view), {mean.metric for mean in view.last_means}
    own = {table.checkpoint: rows_of(table) for table in view.tables}
    baseline = compared[0].a if compared else ""
    kept = {name: row for name, row in own.get(baseline, {}).items() if name in followed}
    rows: dict[str, dict[str, Number]] = {baseline: _numbers(kept)} if kept else {}
    for mean in view.last_means:
        kind = {"unit": kinds[mean.metric].unit, "better": kinds[mean.metric].better}
        rows.setdefault(mean.series, {})[mean.metric] = Number(
            value=mean.value, interval=mean.interval, **kind
        )
    names = {**view.checkpoints, **view.runs}
    return Numbers(view=view, rows=rows, names=names, comparisons=compared, baseline=baseline)


def _numbers(rows: Mapping[str, MetricRow]) -> dict[str, Number]:
    return {
        metric: Number(value=row.value, unit=row.unit, better=row.better, interval=row.interval)
        for metric, row in rows.items()
    }
