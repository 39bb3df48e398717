"""A run directory → its table of metrics."""

from collections.abc import Iterator
from dataclasses import dataclass

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
    """Part of the signature of the grader to use; default: the one that graded last."""
    tokenize: str = "13a"
    max_order: int = 4
    smooth: str = "exp"
    references: str = "others"
    rep_order: int = 5
    think_section: bool = True
    """Whether diversity is measured on texts with their think section."""


def measure_run(run: RunDir, options: MeasureOptions | None = None, *, n: int | None = None) -> MetricTable:
    """Measure a run at n samples a problem (see `MeasureOptions.n`); texts are read problem by problem.

    Without any grades only what needs none is measured. Raises StoreError where some samples lack a
    grade, InputError where n is more than a problem has.
    """
    options = options or MeasureOptions()
    grader = choose_grader(run, options.grader)
    settings = MetricSettings(
        n=n or options.n or samples_per_problem(run),
        tokenize=options.tokenize,
        max_order=options.max_order,
        smooth=options.smooth,
        references=options.references,
        rep_order=options.rep_order,
        think=run.manifest.settings.think,
        think_section=options.think_section,
        grader=grader or "none",
    )
    metrics = {name: metric for name, metric in METRICS.items() if grader or not metric.needs_grades}
    return measure_groups(_graded_groups(run, grader), settings, metrics)


def samples_per_problem(run: RunDir) -> int:
    """The smallest number of samples that a problem with any has. Raises InputError without samples."""
    counts: dict[str, int] = {}
    for problem_id, _ in run.sample_keys():
        counts[problem_id] = counts.get(problem_id, 0) + 1
    if not counts:
        raise InputError(f"{run.path} has no samples yet: run `opo-eval sample` or `opo-eval import` first")
    return min(counts.values())


def choose_grader(run: RunDir, wanted: str | None) -> str | None:
    """Signature of the grader whose verdicts count; None where nobody graded.

    Raises UsageError where `wanted` is part of no signature or of several.
    """
    graders = run.graders()
    if wanted is None:
        return graders[-1] if graders else None
    fitting = [grader for grader in graders if wanted in grader]
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
                f"{run.path} have no grade by {grader}: run `opo-eval grade {run.path}`"
            )
        yield group
