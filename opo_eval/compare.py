"""Run directories → tables at a common n, and the differences between checkpoints."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from opo_eval.arms import Arm, choose_arms
from opo_eval.differences import compare_arms, compare_tables
from opo_eval.errors import InputError, UsageError, Worse
from opo_eval.family import ALPHA, adjust, family_metrics, is_worse
from opo_eval.lineage import Series, is_start, series_over_steps, training_run
from opo_eval.measure import (
    MeasureOptions,
    choose_grader,
    choose_scorer,
    measure_all,
    samples_by_problem,
)
from opo_eval.over_steps import OverSteps, StepsChoice, over_steps
from opo_eval.records import Checkpoint, Comparison, MetricTable, Problem
from opo_eval.scorers import scored_unlike
from opo_eval.store import RunDir, RunIndex, settings_differences
from opo_eval.wording import counted, listed, nearest, some_of


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What a user may choose about a comparison."""

    baseline: str | None = None
    """Checkpoint that the others are compared with; default: that of the first run."""
    family: tuple[str, ...] | None = None
    """Metrics whose tests are adjusted together; see `opo_eval.family`."""
    arms: Mapping[str, tuple[str, ...]] | None = None
    """Arm → its checkpoints; default: those whose records differ in `train_seed` only, at the last step that
    all training runs have."""
    last: int = 5
    """Checkpoints that the mean over the last steps of a training run takes; 0: no such mean."""


@dataclass(frozen=True, kw_only=True)
class ComparedRuns:
    """What a report is drawn from."""

    runs: tuple[RunDir, ...]
    tables: tuple[MetricTable, ...]
    comparisons: tuple[Comparison, ...]
    """Of every checkpoint with the baseline."""
    arms: tuple[Arm, ...] = ()
    """The baseline's first; none where no method was trained with several seeds."""
    arm_comparisons: tuple[Comparison, ...] = ()
    """Of every arm with the baseline's."""
    over_steps: OverSteps = field(default_factory=OverSteps)
    """Of training runs of which two steps or more are compared."""
    notes: tuple[str, ...]
    """What a reader has to know before the numbers, one sentence each."""


def compare_runs(
    runs: Sequence[RunDir],
    options: MeasureOptions | None = None,
    choices: CompareOptions | None = None,
    *,
    workers: int | None = 1,
    quiet: bool = False,
) -> ComparedRuns:
    """Measure every run at the common n of its benchmark and compare the checkpoints with the baseline.

    workers: how many runs are measured at once, each in a process of its own; None: all processors. A long
    measurement shows its progress unless it is to be `quiet`. Raises InputError where two runs are
    of the same checkpoint and benchmark or do not ask the same problems; UsageError for a baseline, a
    family or an arm of what is not there, and for a mean over less than no steps.
    """
    options, choices = options or MeasureOptions(), choices or CompareOptions()
    if choices.last < 0:
        raise UsageError(f"--last {choices.last} takes no checkpoints: give 1 or more, or 0 for no mean")
    by_benchmark = _by_benchmark(runs)
    names = list(dict.fromkeys(_name(run) for run in runs))
    baseline = known_baseline(choices.baseline, names)
    checkpoints = {_name(run): run.manifest.settings.checkpoint for run in runs}
    training_runs, notes = series_over_steps(checkpoints.values())
    of_arms, said = (checkpoints, []) if choices.arms else _for_arms(checkpoints, training_runs)
    arms = choose_arms(of_arms, choices.arms, baseline)
    notes += said if arms else []
    tables: list[MetricTable] = []
    for benchmark, its_runs in by_benchmark.items():
        measured, said = _measure_alike(benchmark, its_runs, options, baseline, workers, quiet)
        tables += measured
        notes += said
    family = family_metrics(choices.family, tables, options.rep_order)
    choice = StepsChoice(
        reference=baseline,
        starts={series.name for series in training_runs if _is_start(series, runs, baseline)},
        last=choices.last,
        rep_order=options.rep_order,
    )
    followed = over_steps(tables, training_runs, choice)
    return ComparedRuns(
        runs=tuple(runs),
        tables=tuple(tables),
        comparisons=tuple(adjust(compare_with(tables, baseline), family)),
        arms=arms,
        arm_comparisons=tuple(adjust(_between_arms(tables, arms), family)),
        over_steps=followed,
        notes=(*notes, *followed.notes),
    )


def refuse_worse(compared: ComparedRuns) -> None:
    """Raise `Worse` where the test of a family's metric, adjusted, says worse than the baseline or its arm.

    Raises InputError where nothing was tested.
    """
    tested = [row for row in compared.comparisons if row.p_adjusted is not None]
    if compared.arms and any(row.a in compared.arms[0].checkpoints for row in tested):
        tested += [row for row in compared.arm_comparisons if row.p_adjusted is not None]
    if not tested:
        raise InputError(
            "--fail-if-worse has nothing to go by: no metric of the family was tested against the baseline; "
            "grade the runs, or choose the family with --family"
        )
    worse = [row for row in tested if is_worse(row)]
    if worse:
        said = (f"{row.b} than {row.a} on {row.benchmark} {row.metric}" for row in worse)
        raise Worse(f"worse after adjustment (p < {ALPHA:g}): {'; '.join(said)}")


def _measure_alike(
    benchmark: str,
    runs: Sequence[RunDir],
    options: MeasureOptions,
    baseline: str,
    workers: int | None,
    quiet: bool,
) -> tuple[list[MetricTable], list[str]]:
    """The tables of one benchmark, the baseline's first, and what a reader has to know of them."""
    ordered = [run.index() for run in sorted(runs, key=lambda run: _name(run) != baseline)]
    refuse_other_problems([(str(index.run.path), index.problems) for index in ordered])
    shared, said = _shared_problems(benchmark, ordered)
    n, more = _common_n(benchmark, ordered, options, shared)
    at_n = replace(options, n=n)
    tables = list(measure_all(ordered, at_n, only=shared, workers=workers, quiet=quiet))
    missing = [*_missing_graders(tables), *_missing_scorers(tables)]
    notes = [*said, *more, *_unlike(benchmark, ordered, at_n), *missing]
    if _name(ordered[0].run) != baseline:
        notes.append(f"{benchmark}: the baseline {baseline} has no run, so nothing is compared with it.")
    return tables, notes


def compare_with(tables: Sequence[MetricTable], baseline: str) -> list[Comparison]:
    """Every other checkpoint with the baseline on the same benchmark; p-values are those of each test."""
    first = {table.benchmark: table for table in tables if table.checkpoint == baseline}
    return [
        comparison
        for table in tables
        if table.checkpoint != baseline and table.benchmark in first
        for comparison in compare_tables(first[table.benchmark], table)
    ]


def _between_arms(tables: Sequence[MetricTable], arms: Sequence[Arm]) -> list[Comparison]:
    """Every arm with the first, on the benchmarks on which all checkpoints of both have a run."""
    found: list[Comparison] = []
    for benchmark in dict.fromkeys(table.benchmark for table in tables):
        own = {table.checkpoint: table for table in tables if table.benchmark == benchmark}
        measured = {arm: [own[name] for name in arm.checkpoints if name in own] for arm in arms}
        whole = [arm for arm in arms if len(measured[arm]) == len(arm.checkpoints)]
        for arm in whole[1:] if whole[:1] == list(arms[:1]) else ():
            found += compare_arms(whole[0], measured[whole[0]], arm, measured[arm])
    return found


# --- training runs ----------------------------------------------------------------------------------


def _is_start(series: Series, runs: Sequence[RunDir], baseline: str) -> bool:
    """Whether the training began from the baseline, by any of its runs."""
    made = (run.manifest.settings for run in runs if _name(run) == baseline)
    if baseline in series.checkpoints:
        return False
    return any(is_start(series, s.checkpoint, s.sampling and s.sampling.model_sha256) for s in made)


def _for_arms(
    checkpoints: Mapping[str, Checkpoint], training_runs: Sequence[Series]
) -> tuple[Mapping[str, Checkpoint], list[str]]:
    """The checkpoints that may make up arms: of training runs those of one step, the last that all have.

    Training runs of one method with the same seed differ by something else, so they make up no arm.
    """
    kept, notes = dict(checkpoints), []
    if training_runs:
        shared = set.intersection(*(set(series.steps) for series in training_runs))
        last = max(shared, default=None)
        for series in training_runs:
            for step, name in zip(series.steps, series.checkpoints, strict=True):
                if step != last:
                    del kept[name]
        notes.append(
            "The training runs have no step in common, so no arms are made of them; --arm names them."
            if last is None
            else f"Arms are compared at step {last}, the last that all training runs have here."
        )
    unlike = _methods_with_a_seed_twice(kept.values())
    notes += [
        f"Several training runs of {method} have the same seed, so they differ by more than that and make up "
        "no arm; --arm says which do."
        for method in unlike
    ]
    return {name: its for name, its in kept.items() if its.method not in unlike}, notes


def _methods_with_a_seed_twice(checkpoints: Iterable[Checkpoint]) -> list[str]:
    """Of training runs that are known by their folders."""
    runs: dict[tuple[str, int, int | None], set[Hashable]] = defaultdict(set)
    for checkpoint in checkpoints:
        if checkpoint.method is not None and checkpoint.train_seed is not None:
            key = checkpoint.method, checkpoint.train_seed, checkpoint.step
            runs[key].add(training_run(checkpoint))
    return list(dict.fromkeys(method for (method, _, _), own in runs.items() if len(own) > 1))


# --- what may be compared ---------------------------------------------------------------------------


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


def known_baseline(baseline: str | None, names: Sequence[str], *, option: str = "--baseline") -> str:
    """The baseline, by default the first name. Raises UsageError, naming the option, for another name."""
    if baseline is None:
        return names[0]
    if baseline not in names:
        raise UsageError(
            f"{option} {baseline!r} is none of the checkpoints{nearest(baseline, names)}: {listed(names)}"
        )
    return baseline


def refuse_other_problems(asked: Sequence[tuple[str, Iterable[Problem]]]) -> None:
    """Raise InputError where two of these, each with its name, differ in their problems or golds."""
    (first_name, first), *others = [(name, {problem.id: problem for problem in its}) for name, its in asked]
    for name, problems in others:
        different = [(first | problems)[i].source_id for i in first.keys() ^ problems.keys()]
        regolded = [p.source_id for i, p in problems.items() if i in first and first[i].answer != p.answer]
        if different or regolded:
            what, odd = ("problem", different) if different else ("gold", regolded)
            raise InputError(
                f"{first_name} and {name} differ in {counted(len(odd), what)} "
                f"({some_of(sorted(odd))}): a comparison needs the same problems "
                "with the same golds; sample or import both from the same set"
            )


def _shared_problems(benchmark: str, indexes: Sequence[RunIndex]) -> tuple[set[str], list[str]]:
    """The problems that every run has samples of; the others would be compared with nothing."""
    sampled = [samples_by_problem(index).keys() for index in indexes]
    shared, asked = set.intersection(*map(set, sampled)), len(indexes[0].problems)
    if not shared:
        raise InputError(f"no problem of {benchmark} has samples of every checkpoint: sample them further")
    if len(shared) == asked:
        return shared, []
    lacking = ", ".join(
        f"{_name(index.run)} has {len(keys)}"
        for index, keys in zip(indexes, sampled, strict=True)
        if len(keys) < asked
    )
    return shared, [
        f"{benchmark}: only {len(shared)} of {asked} problems have samples of every checkpoint ({lacking}); "
        "the others are left out. Those that are there need not be a fair sample of them all."
    ]


def _common_n(
    benchmark: str, indexes: Sequence[RunIndex], options: MeasureOptions, shared: set[str]
) -> tuple[int, list[str]]:
    have = {_name(index.run): min(samples_by_problem(index, shared).values()) for index in indexes}
    n = min(have.values()) if options.n is None else options.n
    if len(set(have.values())) == 1:
        return n, []
    spelled = ", ".join(f"{name} has {count}" for name, count in have.items())
    return n, [
        f"{benchmark}: the checkpoints have unequal numbers of samples a problem ({spelled}); all are "
        f"compared at n = {n}. What is "
        "estimated without bias from all samples (pass@k, pass^k, G-Pass@k, maj@k) uses all of them, so its "
        "tests are approximate here."
    ]


def _unlike(benchmark: str, indexes: Sequence[RunIndex], options: MeasureOptions) -> Iterator[str]:
    """What beside the checkpoint differs between the runs and may be behind a difference."""
    graders = {_name(index.run): choose_grader(index, options.grader) for index in indexes}
    if len(set(graders.values()) - {None}) > 1:
        spelled = "; ".join(f"{name} by {grader}" for name, grader in graders.items())
        yield (
            f"{benchmark}: the checkpoints were not graded alike ({spelled}); differences may be the "
            "graders'."
        )
    scorers = {_name(index.run): choose_scorer(index, options.scorer) for index in indexes}
    if unlike := scored_unlike({name: scorer for name, scorer in scorers.items() if scorer}):
        yield (
            f"{benchmark}: the checkpoints were not scored alike ({'; '.join(unlike)}); differences in "
            "entropy, KL and perplexity may come from that."
        )
    first, *others = (index.run for index in indexes)
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


def _missing_scorers(tables: Sequence[MetricTable]) -> Iterator[str]:
    """Which checkpoints are not scored, or not wholly, where others are."""
    scored = {t.checkpoint: (t.counts.get("scored", 0), t.counts["samples"]) for t in tables}
    without = [name for name, (n, _) in scored.items() if not n]
    partly = [f"{name} {n} of {n_samples}" for name, (n, n_samples) in scored.items() if 0 < n < n_samples]
    if without and len(without) < len(tables):
        yield (
            f"{tables[0].benchmark}: not scored, so without entropy, KL and perplexity: {some_of(without)}; "
            "run `opo-eval score`."
        )
    if partly:
        yield (
            f"{tables[0].benchmark}: not every sample is scored ({some_of(partly)}). Entropy, KL and "
            "perplexity are of those that are, which need not be a fair sample of all; `opo-eval score` "
            "scores the others, or says why it cannot."
        )
