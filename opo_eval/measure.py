"""A run directory → its table of metrics."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import orjson

from opo_eval.errors import InputError, StoreError, UsageError
from opo_eval.metrics import METRICS
from opo_eval.metrics.core import MetricSettings
from opo_eval.metrics.table import measure_groups
from opo_eval.records import Group, MetricTable
from opo_eval.store import RunDir, write_atomically

METRICS_SCHEMA = "opo_eval.metrics/1"


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """What a user may choose about how runs are measured."""

    n: int | None = None
    """Samples a problem; default: the smallest number that any problem has."""
    grader: str | None = None
    """Part of the signature of the grader to use; default: the last that graded the most samples."""
    tokenize: str = "13a"
    max_order: int = 4
    smooth: str = "exp"
    references: str = "others"
    rep_order: int = 5
    think_section: bool = True
    """Whether diversity is measured on texts with their think section."""


def measure_run(
    run: RunDir, options: MeasureOptions | None = None, *, only: Collection[str] | None = None
) -> MetricTable:
    """Measure a run at n samples a problem (see `MeasureOptions.n`); texts are read problem by problem.

    only: ids of the problems to measure; default: all that have samples. Without any grades only what
    needs none is measured. Raises StoreError where some samples lack a grade, InputError where n is more
    than a problem has, UsageError for n below 1.
    """
    options = options or MeasureOptions()
    grader = choose_grader(run, options.grader)
    settings = MetricSettings(
        n=samples_per_problem(run, only) if options.n is None else options.n,
        tokenize=options.tokenize,
        max_order=options.max_order,
        smooth=options.smooth,
        references=options.references,
        rep_order=options.rep_order,
        think=run.manifest.settings.think,
        think_section=options.think_section,
        grader=grader or "none",
        sampling=_sampling_signature(run),
    )
    metrics = {name: metric for name, metric in METRICS.items() if grader or not metric.needs_grades}
    groups = (g for g in _graded_groups(run, grader) if only is None or g.problem.id in only)
    table = measure_groups(groups, settings, metrics)
    missing = len(run.problems()) - len(samples_by_problem(run))
    return replace(table, counts={**table.counts, "problems_without_samples": missing})


def samples_by_problem(run: RunDir) -> Counter[str]:
    """How many samples each problem has that has any. Raises InputError where none has."""
    counts = Counter(problem_id for problem_id, _ in run.sample_keys())
    if not counts:
        raise InputError(f"{run.path} has no samples yet: run `opo-eval sample` or `opo-eval import` first")
    return counts


def samples_per_problem(run: RunDir, only: Collection[str] | None = None) -> int:
    """The smallest number of samples that a problem (of `only`) with any has."""
    return min(n for problem, n in samples_by_problem(run).items() if only is None or problem in only)


def _sampling_signature(run: RunDir) -> str:
    drawn = run.manifest.settings.sampling
    if drawn is None:
        return "sampling:unknown"
    return f"T:{drawn.temperature:g}|top_p:{drawn.top_p:g}|top_k:{drawn.top_k}|max_tokens:{drawn.max_tokens}"


def choose_grader(run: RunDir, wanted: str | None) -> str | None:
    """Signature of the grader whose verdicts count; None where nobody graded.

    Raises UsageError where `wanted` is part of no signature or of several.
    """
    counts = Counter(grade.grader for grade in run.grades())
    graders = list(counts)
    if wanted is None:
        # A later grading that was interrupted does not take the place of a complete one.
        complete = [grader for grader in graders if counts[grader] == max(counts.values())]
        return complete[-1] if complete else None
    fitting = [grader for grader in graders if wanted in grader]
    fitting = [grader for grader in fitting if grader == wanted] or fitting
    if len(fitting) != 1:
        found = ", ".join(graders) or "none"
        raise UsageError(
            f"--grader {wanted!r} fits {len(fitting)} graders of {run.path}: it has to fit one of: {found}"
        )
    return fitting[0]


def write_metrics(run: RunDir, table: MetricTable) -> None:
    """Write `metrics.json` into the run directory."""
    document = {"schema": METRICS_SCHEMA, "tables": [table]}
    write_atomically(run.path / "metrics.json", orjson.dumps(document, option=orjson.OPT_INDENT_2))


def _graded_groups(run: RunDir, grader: str | None) -> Iterator[Group]:
    for group in run.groups(grader):
        missing = sum(graded.grade is None for graded in group.samples)
        if grader and missing:
            raise StoreError(
                f"{missing} of {len(group.samples)} samples of problem {group.problem.source_id} in "
                f"{run.path} have no grade by {grader}: run `opo-eval grade {run.path}` with the settings "
                "that this names, or choose another grader with --grader"
            )
        yield group
