"""The family of a comparison: the tests whose errors are counted together, chosen before the numbers.

Everything that a report compares is tested, and some of it differs by chance. The p-values of the family
are adjusted (Holm 1979), so that any false claim among them has a chance of at most 5 %; what is outside
the family is there to explore.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from opo_eval.errors import UsageError
from opo_eval.metrics.passk import powers_of_two
from opo_eval.records import Better, Comparison, MetricTable
from opo_eval.stats import holm
from opo_eval.wording import counted, nearest

ALPHA = 0.05
OVER_K = "pass@k"
"""Stands for pass@1, pass@2, pass@4, ... and pass@n."""


def family_metrics(
    wanted: Sequence[str] | None,
    tables: Sequence[MetricTable],
    rep_order: int,
    *,
    option: str = "--family",
) -> list[str]:
    """The metrics of the family; default: pass@k, Self-BLEU and Rep-n.

    Raises UsageError, naming the option, for a name that no table has.
    """
    sizes = sorted({k for table in tables for k in powers_of_two(table.n)})
    over_k = [f"pass@{k}" for k in sizes]
    names = [OVER_K, "self_bleu", f"rep_{rep_order}"] if wanted is None else wanted
    spelled = dict.fromkeys(name for given in names for name in (over_k if given == OVER_K else [given]))
    known = {row.metric for table in tables for row in table.rows}
    for name in spelled:
        if wanted is not None and name not in known and name not in over_k:
            raise UsageError(
                f"{option} {name!r} is no metric of these runs{nearest(name, sorted(known))}: give names "
                f"of metrics that were measured, or {OVER_K} for all its k"
            )
    return [name for name in spelled if name in known]


def adjust(comparisons: Sequence[Comparison], family: Sequence[str]) -> list[Comparison]:
    """The comparisons, those of the family's metrics with `p_adjusted`: one family over all that is given."""
    tested = [i for i, row in enumerate(comparisons) if row.metric in family and row.p_value is not None]
    adjusted = dict(zip(tested, holm([comparisons[i].p_value or 0.0 for i in tested]).tolist(), strict=True))
    return [replace(row, p_adjusted=adjusted.get(i)) for i, row in enumerate(comparisons)]


def stated(comparisons: Sequence[Comparison]) -> str:
    """The family in words: `Holm over 14 tests: 2 benchmarks × 7 metrics (...) × 1 pair`.

    Where a benchmark lacks a metric or a checkpoint: `Holm over 13 tests (7, 6) on 2 benchmarks: ...`.
    """
    members = [row for row in comparisons if row.p_adjusted is not None]
    metrics = list(dict.fromkeys(row.metric for row in members))
    by_benchmark = list(Counter(row.benchmark for row in members).values())
    n_pairs = len({(row.a, row.b) for row in members})
    pairs = counted(n_pairs, "pair")
    tests, benchmarks = counted(len(members), "test"), counted(len(by_benchmark), "benchmark")
    named = f"{counted(len(metrics), 'metric')} ({', '.join(metrics)})"
    if len(members) == len(by_benchmark) * len(metrics) * n_pairs:
        return f"Holm over {tests}: {benchmarks} × {named} × {pairs}"
    numbers = f" ({', '.join(map(str, by_benchmark))})" if len(by_benchmark) > 1 else ""
    return f"Holm over {tests}{numbers} on {benchmarks}: {named}, {pairs}, not every metric for every pair"


def is_told_apart(comparison: Comparison) -> bool:
    """Whether its test rejects "no difference" at 5 %, adjusted for the family where it is part of it."""
    p = comparison.p_value if comparison.p_adjusted is None else comparison.p_adjusted
    return p is not None and p < ALPHA


def is_worse(comparison: Comparison) -> bool:
    """Whether `b` is told apart from `a` in the wrong direction."""
    wrong = {Better.HIGHER: -1, Better.LOWER: 1, Better.NEITHER: 0}[comparison.better]
    return is_told_apart(comparison) and wrong * comparison.delta > 0
