"""Run directories → tables at a common n, and the differences between checkpoints."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from opo_eval.errors import InputError, UsageError
from opo_eval.measure import (
    MeasureOptions,
    choose_grader,
    measure_run,
    samples_by_problem,
    samples_per_problem,
)
from opo_eval.metrics.table import SEED
from opo_eval.records import Comparison, Interval, MetricTable
from opo_eval.stats import Floats, paired_differences
from opo_eval.store import RunDir, settings_differences
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
        shared, said = _shared_problems(benchmark, ordered)
        n, more = _common_n(benchmark, ordered, options, shared)
        at_n = replace(options or MeasureOptions(), n=n)
        measured = [measure_run(run, at_n, only=shared) for run in ordered]
        notes += [*said, *more, *_unlike(benchmark, ordered, at_n), *_missing_graders(measured)]
        tables += measured
        if _name(ordered[0]) == baseline:
            comparisons += [row for other in measured[1:] for row in _compare(measured[0], other)]
        else:
            notes.append(f"{benchmark}: the baseline {baseline} has no run, so nothing is compared with it.")
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


def _shared_problems(benchmark: str, runs: Sequence[RunDir]) -> tuple[set[str], list[str]]:
    """The problems that every run has samples of; the others would be compared with nothing."""
    sampled = [samples_by_problem(run).keys() for run in runs]
    shared, asked = set.intersection(*map(set, sampled)), len(runs[0].problems())
    if not shared:
        raise InputError(f"no problem of {benchmark} has samples of every checkpoint: sample them further")
    if len(shared) == asked:
        return shared, []
    lacking = ", ".join(
        f"{_name(run)} has {len(keys)}" for run, keys in zip(runs, sampled, strict=True) if len(keys) < asked
    )
    return shared, [
        f"{benchmark}: only {len(shared)} of {asked} problems have samples of every checkpoint ({lacking}); "
        "the others are left out. Those that are there need not be a fair sample of them all."
    ]


def _common_n(
    benchmark: str, runs: Sequence[RunDir], options: MeasureOptions | None, shared: set[str]
) -> tuple[int, list[str]]:
    have = {_name(run): samples_per_problem(run, shared) for run in runs}
    n = min(have.values()) if options is None or options.n is None else options.n
    if len(set(have.values())) == 1:
        return n, []
    spelled = ", ".join(f"{name} has {count}" for name, count in have.items())
    return n, [
        f"{benchmark}: the checkpoints have unequal numbers of samples a problem ({spelled}); all are "
        f"compared at n = {n}."
    ]


def _unlike(benchmark: str, runs: Sequence[RunDir], options: MeasureOptions) -> Iterator[str]:
    """What beside the checkpoint differs between the runs and may be behind a difference."""
    graders = {_name(run): choose_grader(run, options.grader) for run in runs}
    if len(set(graders.values()) - {None}) > 1:
        spelled = "; ".join(f"{name} by {grader}" for name, grader in graders.items())
        yield (
            f"{benchmark}: the checkpoints were not graded alike ({spelled}); differences may be the "
            "graders'."
        )
    first, *others = runs
    for run in others:
        unlike = _differences_in_making(first, run)
        if unlike:
            yield (
                f"{benchmark}: {_name(run)} was not made as {_name(first)} was ({'; '.join(unlike)}); "
                "differences may come from that."
            )


def _differences_in_making(a: RunDir, b: RunDir) -> list[str]:
    """Sampling, prompt and think settings of `b` that differ from those of `a`; the model may."""
    differences = settings_differences(a.manifest.settings, b.manifest.settings)
    made = ("sampling.", "prompting.", "think ", "sampling ", "prompting ")
    return [d for d in differences if d.startswith(made) and "model_sha256" not in d]


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
    both = {name: _both_defined(pairs_a[name], pairs_b[name]) for name in pairs_a if name in pairs_b}
    names = [name for name, defined in both.items() if defined.any()]
    if not names:
        return
    # A problem on which a metric is undefined on one side says nothing of the difference.
    side_a, side_b = (np.array([pairs[name] * both[name] for name in names]) for pairs in (pairs_a, pairs_b))
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
            interval=intervals[i] if both[name].sum() > 1 else None,
            unit=rows[name].unit,
            better=rows[name].better,
            n_problems=int(both[name].sum()),
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


def _both_defined(a: Floats, b: Floats) -> NDArray[np.bool_]:
    """On which problems: [problems]."""
    return (a[1] > 0) & (b[1] > 0)


def _differences(a: Floats, b: Floats) -> tuple[Floats, Sequence[Interval | None]]:
    if a.shape[-1] < 2:
        values = (side[:, 0].sum(axis=-1) / side[:, 1].sum(axis=-1) for side in (b, a))
        return np.subtract(*values), [None] * len(a)
    rng = np.random.default_rng(SEED)
    return paired_differences((a[:, 0], a[:, 1]), (b[:, 0], b[:, 1]), rng=rng)
