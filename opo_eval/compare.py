"""Run directories → tables at a common n, and the differences between checkpoints."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from opo_eval.errors import InputError, UsageError
from opo_eval.measure import MeasureOptions, choose_grader, measure_run, samples_per_problem
from opo_eval.metrics.table import SEED
from opo_eval.records import Comparison, Interval, MetricTable
from opo_eval.stats import Floats, paired_differences
from opo_eval.store import RunDir
from opo_eval.wording import counted, listed, nearest, some_of


@dataclass(frozen=True, kw_only=True)
class ComparedRuns:
    """What a report is drawn from."""

    runs: tuple[RunDir, ...]
    tables: tuple[MetricTable, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    """What a reader has to know before the numbers, one sentence each."""


def compare_runs(
    runs: Sequence[RunDir], options: MeasureOptions | None = None, *, baseline: str | None = None
) -> ComparedRuns:
    """Measure every run at the common n of its benchmark and compare the checkpoints with the baseline.

    The baseline is the first run's checkpoint unless one is named. Raises InputError where two runs are
    of the same checkpoint and benchmark or do not ask the same problems.
    """
    by_benchmark = _by_benchmark(runs)
    names = list(dict.fromkeys(_name(run) for run in runs))
    baseline = _known_baseline(baseline, names)
    tables: list[MetricTable] = []
    comparisons: list[Comparison] = []
    notes: list[str] = []
    for benchmark, its_runs in by_benchmark.items():
        ordered = sorted(its_runs, key=lambda run: _name(run) != baseline)
        _refuse_other_problems(ordered)
        n, said = _common_n(benchmark, ordered, options)
        said += _unlike_graders(benchmark, ordered, options)
        measured = [measure_run(run, options, n=n) for run in ordered]
        notes += [*said, *_missing_graders(measured)]
        tables += measured
        comparisons += [row for other in measured[1:] for row in _compare(measured[0], other)]
    return ComparedRuns(
        runs=tuple(runs), tables=tuple(tables), comparisons=tuple(comparisons), notes=tuple(notes)
    )


def _name(run: RunDir) -> str:
    return run.manifest.settings.checkpoint.name


def _by_benchmark(runs: Sequence[RunDir]) -> dict[str, list[RunDir]]:
    found: dict[str, list[RunDir]] = defaultdict(list)
    seen: dict[tuple[str, str], RunDir] = {}
    for run in runs:
        key = (_name(run), run.manifest.settings.benchmark)
        if key in seen:
            raise InputError(
                f"{seen[key].path} and {run.path} are both {key[0]} on {key[1]}: give one of them, or sample "
                "or import the other under another checkpoint name"
            )
        seen[key] = run
        found[key[1]].append(run)
    return found


def _known_baseline(baseline: str | None, names: list[str]) -> str:
    if baseline is None:
        return names[0]
    if baseline not in names:
        raise UsageError(
            f"--baseline {baseline!r} is none of the checkpoints{nearest(baseline, names)}: {listed(names)}"
        )
    return baseline


def _refuse_other_problems(runs: Sequence[RunDir]) -> None:
    asked = [(run, {problem.id: problem for problem in run.problems()}) for run in runs]
    first_run, first = asked[0]
    for run, problems in asked[1:]:
        different = [(first | problems)[i].source_id for i in first.keys() ^ problems.keys()]
        regolded = [p.source_id for i, p in problems.items() if i in first and first[i].answer != p.answer]
        if different or regolded:
            what, odd = ("problem", different) if different else ("gold", regolded)
            raise InputError(
                f"{first_run.path} and {run.path} differ in {counted(len(odd), what)} "
                f"({some_of(sorted(odd))}): a comparison needs the same problems "
                "with the same golds; sample or import both from the same set"
            )


def _common_n(
    benchmark: str, runs: Sequence[RunDir], options: MeasureOptions | None
) -> tuple[int, list[str]]:
    have = {_name(run): samples_per_problem(run) for run in runs}
    n = options.n if options and options.n else min(have.values())
    if len(set(have.values())) == 1:
        return n, []
    spelled = ", ".join(f"{name} has {count}" for name, count in have.items())
    return n, [
        f"{benchmark}: the checkpoints have unequal numbers of samples a problem ({spelled}); all are "
        f"compared at n = {n}."
    ]


def _unlike_graders(benchmark: str, runs: Sequence[RunDir], options: MeasureOptions | None) -> list[str]:
    graders = {_name(run): choose_grader(run, options.grader if options else None) for run in runs}
    if len(set(graders.values()) - {None}) < 2:
        return []
    spelled = "; ".join(f"{name} by {grader}" for name, grader in graders.items())
    return [
        f"{benchmark}: the checkpoints were not graded alike ({spelled}); differences may be the graders'."
    ]


def _missing_graders(tables: Sequence[MetricTable]) -> Iterator[str]:
    verdicts = ("correct", "wrong", "no_answer", "timed_out", "grader_error")
    for table in tables:
        if not any(table.counts.get(verdict) for verdict in verdicts):
            yield (
                f"{table.benchmark}: {table.checkpoint} is not graded, so only what needs no grades is "
                "shown; run `opo-eval grade`."
            )


def _compare(a: MetricTable, b: MetricTable) -> Iterator[Comparison]:
    """`b` minus `a` for every metric that both have, over the problems that both have samples of."""
    shared = [problem for problem in a.problem_ids if problem in set(b.problem_ids)]
    pairs_a, pairs_b = _pairs(a, shared), _pairs(b, shared)
    names = [name for name in pairs_a if name in pairs_b and _both_defined(pairs_a[name], pairs_b[name])]
    if not names:
        return
    side_a, side_b = (np.array([pairs[name] for name in names]) for pairs in (pairs_a, pairs_b))
    deltas, intervals = _differences(side_a, side_b)
    rows = {row.metric: row for row in a.rows if row.subset == "all"}
    for i, name in enumerate(names):
        yield Comparison(
            benchmark=a.benchmark,
            metric=name,
            a=a.checkpoint,
            b=b.checkpoint,
            value_a=float(side_a[i, 0].sum() / side_a[i, 1].sum()),
            value_b=float(side_b[i, 0].sum() / side_b[i, 1].sum()),
            delta=float(deltas[i]),
            interval=intervals[i],
            unit=rows[name].unit,
            better=rows[name].better,
            n_problems=len(shared),
            signature=rows[name].signature,
        )


def _pairs(table: MetricTable, problems: Sequence[str]) -> dict[str, Floats]:
    """Metric → [2, problems]."""
    position = {problem: i for i, problem in enumerate(table.problem_ids)}
    members = [position[problem] for problem in problems]
    return {
        statistic.metric: np.array([statistic.numerators, statistic.denominators])[:, members]
        for statistic in table.statistics
    }


def _both_defined(a: Floats, b: Floats) -> bool:
    return bool(a[1].sum() > 0 and b[1].sum() > 0)


def _differences(a: Floats, b: Floats) -> tuple[Floats, Sequence[Interval | None]]:
    if a.shape[-1] < 2:
        values = (side[:, 0].sum(axis=-1) / side[:, 1].sum(axis=-1) for side in (b, a))
        return np.subtract(*values), [None] * len(a)
    rng = np.random.default_rng(SEED)
    return paired_differences((a[:, 0], a[:, 1]), (b[:, 0], b[:, 1]), rng=rng)
