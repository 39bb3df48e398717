"""What a report says about one benchmark, sorted once for tables, sentences and figures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opo_eval.arms import Arm
from opo_eval.over_steps import LastMean, StepCurve
from opo_eval.records import Comparison, MetricRow, MetricTable
from opo_eval.report.names import labels
from opo_eval.report.token_metrics import ESTIMATES, OWN_TEMPERATURE, token_metric

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns
    from opo_eval.store import RunDir

ALL = "all"
SELF_BLEU = "self_bleu"
TRUNCATED = "truncated"
_OVER_K = re.compile(r"(pass@|pass\^|maj@|m?g_pass@)(\d+)(_[\d.]+)?")
_ONLY_IN_FILES = re.compile(r"m?g_pass@.*|distinct_[1-3]|rep_\d+_q[1-4]")
_REP_N = re.compile(r"rep_\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkView:
    """The tables of one benchmark, the baseline's first."""

    benchmark: str
    label: str
    """The benchmark's name, fit to print."""
    checkpoints: Mapping[str, str]
    """Names fit to print."""
    tables: tuple[MetricTable, ...]
    comparisons: tuple[Comparison, ...]
    """Of checkpoints with the baseline."""
    arm_comparisons: tuple[Comparison, ...]
    """Of arms with the baseline's arm."""
    arms: Mapping[str, str]
    """Names fit to print."""
    source_ids: Mapping[str, str]
    """The benchmark's own ids of all problems that were asked."""
    arm_members: tuple[Arm, ...] = ()
    """The checkpoints of each arm."""
    curves: tuple[StepCurve, ...] = ()
    """Of training runs over their steps."""
    last_means: tuple[LastMean, ...] = ()
    """Of training runs, over their last checkpoints."""
    runs: Mapping[str, str] = field(default_factory=dict)
    """Names of training runs fit to print."""


def benchmark_views(compared: "ComparedRuns") -> tuple[BenchmarkView, ...]:
    """One view a benchmark, in the order of the tables."""
    benchmarks = labels(table.benchmark for table in compared.tables)
    checkpoints = labels(table.checkpoint for table in compared.tables)
    arms = labels(arm.name for arm in compared.arms)
    curves, means = compared.over_steps.curves, compared.over_steps.means
    runs = labels(curve.series for curve in curves)
    return tuple(
        BenchmarkView(
            benchmark=benchmark,
            label=label,
            checkpoints=checkpoints,
            tables=tuple(t for t in compared.tables if t.benchmark == benchmark),
            comparisons=tuple(c for c in compared.comparisons if c.benchmark == benchmark),
            arm_comparisons=tuple(c for c in compared.arm_comparisons if c.benchmark == benchmark),
            arms=arms,
            source_ids=_source_ids(compared.runs, benchmark),
            arm_members=compared.arms,
            curves=tuple(curve for curve in curves if curve.benchmark == benchmark),
            last_means=tuple(mean for mean in means if mean.benchmark == benchmark),
            runs=runs,
        )
        for benchmark, label in benchmarks.items()
    )


def rows_of(table: MetricTable, subset: str = ALL) -> dict[str, MetricRow]:
    """The rows of a subset by metric, in their order."""
    return {row.metric: row for row in table.rows if row.subset == subset}


def metric_rows(view: BenchmarkView) -> dict[str, MetricRow]:
    """A row over all problems of every metric, of the first table that has it: for units and directions."""
    found: dict[str, MetricRow] = {}
    for table in view.tables:
        found = rows_of(table) | found
    return found


def shown_metrics(tables: Sequence[MetricTable]) -> list[str]:
    """The metrics that tables show; the others are in the files that programs read.

    Left out are pass@k, pass^k and maj@k for k between powers of two, G-Pass@k, Distinct-n below its
    largest n, Rep-n by quarter of the response, and of token statistics the parts of responses and the
    estimates of KL.
    """
    found = dict.fromkeys(name for table in tables for name in rows_of(table))
    sizes = {table.n for table in tables}
    return [name for name in found if _is_shown(name, sizes)]


def headline_metrics(tables: Sequence[MetricTable]) -> list[str]:
    """pass@1, pass@n, Self-BLEU, Rep-n and the truncated share, as far as the tables have them."""
    ends = {1} | {table.n for table in tables}
    found = [name for name in shown_metrics(tables) if k_of(name) in ends or is_diversity(name)]
    known = any(TRUNCATED in rows_of(table) for table in tables)
    return [*found, *([TRUNCATED] if known else [])]


def is_diversity(metric: str) -> bool:
    """Self-BLEU, or Rep-n of any n."""
    return metric == SELF_BLEU or _REP_N.fullmatch(metric) is not None


def family(metric: str) -> str:
    """The metric's name; `pass@k`, `pass^k`, `maj@k`, `g_pass@k` and `mg_pass@k` for every k, and that of
    token statistics without their temperature."""
    if token := token_metric(metric):
        return token._replace(temperature=OWN_TEMPERATURE).name
    match = _OVER_K.fullmatch(metric)
    return f"{match[1]}k" if match else metric


def is_over_k(metric: str) -> bool:
    """Whether there is one for every k."""
    return _OVER_K.fullmatch(metric) is not None


def k_of(metric: str) -> int | None:
    """The k of `pass@k`; None for any other metric."""
    match = _OVER_K.fullmatch(metric)
    return int(match[2]) if match and match[1] == "pass@" else None


def is_power_of_two(k: int) -> bool:
    """1, 2, 4, 8, ..."""
    return k & (k - 1) == 0


def _is_shown(metric: str, sizes: set[int]) -> bool:
    if _ONLY_IN_FILES.fullmatch(metric):
        return False
    if token := token_metric(metric):
        return not token.part and token.quantity not in ESTIMATES
    match = _OVER_K.fullmatch(metric)
    return match is None or is_power_of_two(int(match[2])) or int(match[2]) in sizes


def _source_ids(runs: "Sequence[RunDir]", benchmark: str) -> dict[str, str]:
    its_runs = (run for run in runs if run.manifest.settings.benchmark == benchmark)
    # All runs of a benchmark ask the same problems: `compare_runs` refuses others.
    return {p.id: p.source_id for run in list(its_runs)[:1] for p in run.problems()}
