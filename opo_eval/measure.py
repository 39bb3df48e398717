"""A run directory → its table of metrics."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import orjson

from opo_eval.errors import InputError, StoreError, UsageError
from opo_eval.metrics import METRICS
from opo_eval.metrics.core import MetricSettings
from opo_eval.metrics.table import measure_groups
from opo_eval.processors import at_once, run_all
from opo_eval.progress import Progress
from opo_eval.records import MetricTable, SamplingSettings, Think
from opo_eval.store import RunDir, RunIndex, write_atomically

METRICS_SCHEMA = "opo_eval.metrics/1"
_SHORT_S = 3.0
"""What takes less shows no progress."""


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """What a user may choose about how runs are measured."""

    n: int | None = None
    """Samples a problem; default: the smallest number that any problem has."""
    grader: str | None = None
    """Part of the signature of the grader to use; default: the last that graded the most samples."""
    scorer: str | None = None
    """Part of the signature of the scorer to use; default: the last that scored the most samples."""
    tokenize: str = "13a"
    max_order: int = 4
    smooth: str = "exp"
    references: str = "others"
    rep_order: int = 5
    think_section: bool = True
    """Whether diversity is measured on texts with their think section."""
    cluster: str | None = None
    """A tag, such as the exam: intervals over problems like these draw its problems together."""


def measure_all(
    runs: Sequence[RunDir | RunIndex],
    options: MeasureOptions | None = None,
    *,
    only: Collection[str] | None = None,
    workers: int | None = 1,
    quiet: bool = False,
) -> Iterator[MetricTable]:
    """Yield `measure_run` of every run, in their order, so many at once; None: one a processor.

    Raises UsageError for fewer than one worker.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"--measure-workers {workers} measures nothing: give 1 or more, or leave it out")
    together = at_once(workers, len(runs))
    # Runs that are measured at once would write their progress over one another.
    own = partial(measure_run, options=options, only=only, quiet=quiet or together > 1)
    tables = run_all([partial(own, run) for run in runs], workers=together, costs=list(map(_n_bytes, runs)))
    with Progress(
        "measured", len(runs), unit="runs", quiet=quiet or together < 2, after_s=_SHORT_S
    ) as progress:
        yield from progress.watch(tables)


def _n_bytes(run: RunDir | RunIndex) -> int:
    """Of the samples: how long it takes to measure them."""
    samples = (run if isinstance(run, RunDir) else run.run).samples_path
    return samples.stat().st_size if samples.exists() else 0


def measure_run(
    run: RunDir | RunIndex,
    options: MeasureOptions | None = None,
    *,
    only: Collection[str] | None = None,
    quiet: bool = False,
) -> MetricTable:
    """Measure a run at n samples a problem (see `MeasureOptions.n`); texts are read problem by problem.

    run: the directory as it is now, or what was found in it before. only: ids of the problems to measure;
    default: all that have samples. Without any grades only what needs none is measured. A long measurement
    shows its progress unless it is to be `quiet`. Raises StoreError where some samples lack a grade,
    InputError where n is more than a problem has, UsageError for n below 1.
    """
    options = options or MeasureOptions()
    index = run.index() if isinstance(run, RunDir) else run
    asked = samples_by_problem(index, only)
    grader, scorer = choose_grader(index, options.grader), choose_scorer(index, options.scorer)
    if grader:
        _refuse_ungraded(index, grader, asked)
    settings = metric_settings(
        options,
        n=min(asked.values()) if options.n is None else options.n,
        think=index.run.manifest.settings.think,
        grader=grader,
        scorer=scorer,
        sampling=sampling_signature(index.run.manifest.settings.sampling),
    )
    metrics = {
        name: metric
        for name, metric in METRICS.items()
        if (grader or not metric.needs_grades) and (scorer or not metric.needs_scores)
    }
    with Progress(
        f"measuring {index.run.path}", len(asked), unit="problems", quiet=quiet, after_s=_SHORT_S
    ) as progress:
        groups = progress.watch(index.groups(grader, asked, scorer=scorer))
        table = measure_groups(groups, settings, metrics, cluster=options.cluster)
    missing = len(index.problems) - len(index.samples)
    return replace(table, counts={**table.counts, "problems_without_samples": missing})


def samples_by_problem(index: RunIndex, only: Collection[str] | None = None) -> dict[str, int]:
    """How many samples each problem (of `only`) has that has any. Raises InputError where none has."""
    if not index.samples:
        raise InputError(
            f"{index.run.path} has no samples yet: run `opo-eval sample` or `opo-eval import` first"
        )
    return {name: len(places) for name, places in index.samples.items() if only is None or name in only}


def metric_settings(
    options: MeasureOptions,
    *,
    n: int,
    think: Think,
    grader: str | None,
    scorer: str | None = None,
    sampling: str,
) -> MetricSettings:
    """What a user chose, with what the samples themselves say; grader and scorer: None: nobody."""
    return MetricSettings(
        n=n,
        tokenize=options.tokenize,
        max_order=options.max_order,
        smooth=options.smooth,
        references=options.references,
        rep_order=options.rep_order,
        think=think,
        think_section=options.think_section,
        grader=grader or "none",
        scorer=scorer or "none",
        sampling=sampling,
    )


def sampling_signature(drawn: SamplingSettings | None) -> str:
    """How samples were drawn, as every signature ends with; None: made elsewhere."""
    if drawn is None:
        return "sampling:unknown"
    return f"T:{drawn.temperature:g}|top_p:{drawn.top_p:g}|top_k:{drawn.top_k}|max_tokens:{drawn.max_tokens}"


def choose_grader(index: RunIndex, wanted: str | None) -> str | None:
    """Signature of the grader whose verdicts count; None where nobody graded.

    Raises UsageError where `wanted` is part of no signature or of several.
    """
    counts = {grader: sum(map(len, of.values())) for grader, of in index.grades.items()}
    return _choose("grader", counts, wanted, index)


def choose_scorer(index: RunIndex, wanted: str | None) -> str | None:
    """Signature of the scorer whose token statistics are used; None where nobody scored.

    Raises UsageError where `wanted` is part of no signature or of several.
    """
    counts = {scorer: len(of) for scorer, of in index.token_stats.items()}
    return _choose("scorer", counts, wanted, index)


def _choose(kind: str, counts: Mapping[str, int], wanted: str | None, index: RunIndex) -> str | None:
    """counts: signature → samples that it is of, the latest to start last."""
    if wanted is None:
        # A later one that was interrupted does not take the place of a complete one.
        complete = [name for name in counts if counts[name] == max(counts.values())]
        return complete[-1] if complete else None
    fitting = [name for name in counts if wanted in name]
    fitting = [name for name in fitting if name == wanted] or fitting
    if len(fitting) != 1:
        found = ", ".join(counts) or "none"
        raise UsageError(
            f"--{kind} {wanted!r} fits {len(fitting)} {kind}s of {index.run.path}: it has to fit one of: "
            f"{found}"
        )
    return fitting[0]


def write_metrics(run: RunDir, table: MetricTable) -> None:
    """Write `metrics.json` into the run directory."""
    document = {"schema": METRICS_SCHEMA, "tables": [table]}
    write_atomically(run.path / "metrics.json", orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _refuse_ungraded(index: RunIndex, grader: str, problem_ids: Collection[str]) -> None:
    for problem in index.problems:
        samples, graded = index.samples.get(problem.id, {}), index.grades[grader].get(problem.id, {})
        missing = len(samples.keys() - graded.keys())
        if missing and problem.id in problem_ids:
            path = index.run.path
            raise StoreError(
                f"{missing} of {len(samples)} samples of problem {problem.source_id} in {path} have no grade "
                f"by {grader}: run `opo-eval grade {path}` with the settings that this names, or choose "
                "another grader with --grader"
            )
