"""Evaluated checkpoints as tables: of each run, of the mean of its last checkpoints, of each arm."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from opo_eval.arms import Arm
from opo_eval.differences import compare_arms
from opo_eval.measure import MeasureOptions, choose_grader, measure_all
from opo_eval.metrics import METRICS, MetricSettings, measure_groups
from opo_eval.processors import run_all
from opo_eval.progress import Progress
from opo_eval.records import Comparison, MetricRow, MetricTable, ProblemStatistics, SampleOutcomes
from opo_eval.stats import ratio
from opo_eval.store import RunDir
from opo_eval.study.settings import START, RunPlan, Study
from opo_eval.study.stages import CheckpointPlan, checkpoint_plans, start_plan

_AT_THE_END = ("pass@k", "self_bleu", "repetition")
_BEFORE = ("mean",)
"""The share of correct samples, problem by problem, which is pass@1."""
_NO_OUTCOMES = SampleOutcomes(problem=(), index=(), verdict=(), finish=(), characters=(), tokens=())


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What the checkpoints of a study came to."""

    start: MetricTable
    last: Mapping[str, Mapping[int, MetricTable]]
    """Arm → seed → its run's last checkpoint."""
    last_mean: Mapping[str, Mapping[int, MetricTable]]
    """Arm → seed → the mean of its run's last checkpoints."""
    pass_at_1: Mapping[str, Mapping[int, Mapping[int, float]]]
    """Arm → seed → step → pass@1; step 0 is the start."""


def evaluate(study: Study, trained: Sequence[RunPlan], *, workers: int | None, quiet: bool) -> Evaluated:
    """Measure the start and every checkpoint of the trained runs, so many at once."""
    of_runs = {plan.name: list(checkpoint_plans(study, plan)) for plan in trained}
    ends = [start_plan(study), *(own[-1] for own in of_runs.values())]
    options = MeasureOptions(n=study.evaluation.samples, tokenize=study.evaluation.tokenize)
    whole = measure_all([RunDir(end.path) for end in ends], options, workers=workers, quiet=quiet)
    found = {end.path: table for end, table in zip(ends, whole, strict=True)}
    found |= _measure_few(study, of_runs.values(), workers, quiet)
    curve = {path: _pass_at_1(table) for path, table in found.items()}
    return _by_arm(study, trained, of_runs, found, curve)


def _measure_few(
    study: Study, runs: Iterable[Sequence[CheckpointPlan]], workers: int | None, quiet: bool
) -> dict[Path, MetricTable]:
    """The checkpoints but each run's last, with the metrics that are looked at."""
    asked = [(c, _AT_THE_END) for own in runs for c in _last(study, own)[:-1]]
    asked += [(c, _BEFORE) for own in runs for c in own[: -study.evaluation.last]]
    tasks = [partial(_measure, c.path, c.samples, study.evaluation.tokenize, names) for c, names in asked]
    with Progress("measured", len(tasks), unit="checkpoints", quiet=quiet or not tasks) as progress:
        tables = list(progress.watch(run_all(tasks, workers=workers)))
    return {c.path: table for (c, _), table in zip(asked, tables, strict=True)}


def _measure(path: Path, n: int, tokenize: str, names: Sequence[str]) -> MetricTable:
    index = RunDir(path).index()
    grader = choose_grader(index, None) or ""
    settings = MetricSettings(n=n, tokenize=tokenize, grader=grader, think=index.run.manifest.settings.think)
    return measure_groups(index.groups(grader), settings, {name: METRICS[name] for name in names})


def _by_arm(
    study: Study,
    trained: Sequence[RunPlan],
    of_runs: Mapping[str, Sequence[CheckpointPlan]],
    tables: Mapping[Path, MetricTable],
    curve: Mapping[Path, float],
) -> Evaluated:
    start = start_plan(study).path
    last: dict[str, dict[int, MetricTable]] = {}
    last_mean: dict[str, dict[int, MetricTable]] = {}
    pass_at_1: dict[str, dict[int, dict[int, float]]] = {}
    for plan in trained:
        own = of_runs[plan.name]
        last.setdefault(plan.arm, {})[plan.seed] = tables[own[-1].path]
        mean = mean_table([tables[checkpoint.path] for checkpoint in _last(study, own)])
        last_mean.setdefault(plan.arm, {})[plan.seed] = mean
        steps = {checkpoint.checkpoint.step or 0: curve[checkpoint.path] for checkpoint in own}
        pass_at_1.setdefault(plan.arm, {})[plan.seed] = {0: curve[start], **steps}
    return Evaluated(start=tables[start], last=last, last_mean=last_mean, pass_at_1=pass_at_1)


def _last(study: Study, checkpoints: Sequence[CheckpointPlan]) -> Sequence[CheckpointPlan]:
    return checkpoints[-study.evaluation.last :]


def _pass_at_1(table: MetricTable) -> float:
    values = {row.metric: row.value for row in table.rows if row.subset == "all"}
    return values["pass@1"] if "pass@1" in values else values[f"mean@{table.n}"]


# --- several tables as one --------------------------------------------------------------------------


def mean_table(tables: Sequence[MetricTable]) -> MetricTable:
    """Several checkpoints of one run as one: each metric's pairs are added up, problem by problem.

    Where every checkpoint defines a metric on the same problems and weighs them alike, as with pass@k, its
    value is the mean of theirs. A metric that not all have, or that is nowhere defined, is left out. Rows are
    of all problems and have no interval.
    """
    first = tables[0]
    by_name = [{statistics.metric: statistics for statistics in table.statistics} for table in tables]
    shared = [name for name in by_name[0] if all(name in own for own in by_name)]
    added = [_added([own[name] for own in by_name]) for name in shared]
    known = tuple(statistics for statistics in added if any(statistics.denominators))
    rows = {row.metric: row for row in first.rows if row.subset == "all"}
    own_rows = tuple(_row_of(rows[statistics.metric], statistics) for statistics in known)
    return replace(first, statistics=known, rows=own_rows)


def _row_of(row: MetricRow, statistics: ProblemStatistics) -> MetricRow:
    """The row with the value and the counts of other statistics of its metric."""
    defined = np.array(statistics.denominators) > 0
    return replace(
        row,
        value=float(ratio(statistics.numerators, statistics.denominators)),
        interval=None,
        interval_these=None,
        band=None,
        n_problems=int(defined.sum()),
        n_problems_left_out=int((~defined).sum()),
        n_samples=sum(statistics.n_samples),
        n_samples_left_out=sum(statistics.n_samples_left_out),
    )


def _added(statistics: Sequence[ProblemStatistics]) -> ProblemStatistics:
    columns = ("numerators", "denominators", "n_samples", "n_samples_left_out")
    sums = {
        name: tuple(np.sum([getattr(own, name) for own in statistics], axis=0).tolist()) for name in columns
    }
    return replace(statistics[0], spreads=None, **sums)


# --- arms -------------------------------------------------------------------------------------------


def between(
    a: tuple[str, Sequence[MetricTable]], b: tuple[str, Sequence[MetricTable]]
) -> dict[str, Comparison]:
    """`b` minus `a` of (arm, its seeds' tables) each, by metric, over training seeds and problems."""
    (name_a, tables_a), (name_b, tables_b) = a, b
    rows = compare_arms(_arm(name_a, tables_a), tables_a, _arm(name_b, tables_b), tables_b)
    return {row.metric: row for row in rows}


def over_start(
    start: MetricTable, b: tuple[str, Sequence[MetricTable]], *, name: str = START
) -> dict[str, Comparison]:
    """An arm minus the checkpoint that its runs begin from, by metric.

    The question is what the method does to this checkpoint: it has no seeds that could have come out
    otherwise, so its part of the error is over problems alone, paired with the arm's.
    """
    rows = between((name, [start, start]), b)
    return {metric: replace(row, n_train_seeds=len(b[1])) for metric, row in rows.items()}


def values_of(arm: str, tables: Sequence[MetricTable]) -> dict[str, Comparison]:
    """An arm's own values over training seeds and problems, by metric: `value_b` and `interval`.

    They are its differences from an arm that is 0 everywhere, which has no spread of its own.
    """
    nothing = replace(tables[0], statistics=tuple(map(_zero, tables[0].statistics)))
    return between(("0", [nothing, nothing]), (arm, tables))


def _zero(statistics: ProblemStatistics) -> ProblemStatistics:
    return replace(statistics, numerators=(0.0,) * len(statistics.numerators))


def _arm(name: str, tables: Sequence[MetricTable]) -> Arm:
    return Arm(name=name, checkpoints=tuple(table.checkpoint for table in tables))


def arm_table(arm: str, tables: Sequence[MetricTable], metrics: Sequence[str]) -> MetricTable:
    """An arm as one table: rows of these metrics, with intervals over training seeds and problems."""
    values = values_of(arm, tables)
    rows = (_arm_row(arm, tables, values[name]) for name in metrics if name in values)
    return replace(tables[0], checkpoint=arm, rows=tuple(rows), statistics=(), outcomes=_NO_OUTCOMES)


def start_table(name: str, start: MetricTable, metrics: Sequence[str]) -> MetricTable:
    """The start as a table beside those of the arms; its intervals are over problems."""
    rows = {row.metric: row for row in start.rows if row.subset == "all"}
    kept = [replace(rows[m], checkpoint=name, interval_these=None, band=None) for m in metrics if m in rows]
    return replace(start, checkpoint=name, rows=tuple(kept), statistics=(), outcomes=_NO_OUTCOMES)


def _arm_row(arm: str, tables: Sequence[MetricTable], value: Comparison) -> MetricRow:
    own = list(_rows_of(tables, value.metric))
    return replace(
        own[0],
        checkpoint=arm,
        value=value.value_b,
        interval=value.interval,
        interval_these=None,
        band=None,
        n_problems=value.n_problems,
        n_samples=sum(row.n_samples for row in own),
        n_problems_left_out=len(tables[0].problem_ids) - value.n_problems,
        n_samples_left_out=sum(row.n_samples_left_out for row in own),
    )


def _rows_of(tables: Sequence[MetricTable], metric: str) -> Iterator[MetricRow]:
    for table in tables:
        yield next(row for row in table.rows if row.metric == metric and row.subset == "all")
