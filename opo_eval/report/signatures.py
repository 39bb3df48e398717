"""What the numbers were measured with: equal signatures, comparable numbers."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from opo_eval.report.token_metrics import is_of_a_part
from opo_eval.report.views import BenchmarkView, family, rows_of
from opo_eval.scorers import without_policy

Sources = dict[str, list[tuple[str, str]]]
"""Signature → the (benchmark, checkpoint) that were measured so, by names fit to print."""


def signatures_of(views: Iterable[BenchmarkView], metric_family: str) -> Sources:
    """Those of a family, an entry of `METRICS`; those that differ in the policy that was scored are one."""
    found: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    spelled: dict[str, dict[str, None]] = defaultdict(dict)
    for view in views:
        for table in view.tables:
            for row in (row for row in table.rows if row.family == metric_family):
                alike = without_policy(row.signature)
                found[alike][view.label, view.checkpoints[table.checkpoint]] = None
                spelled[alike][row.signature] = None
    # The only one of its kind is whole, with its policy.
    return {
        next(iter(whole)) if len(whole := spelled[alike]) == 1 else alike: list(sources)
        for alike, sources in found.items()
    }


def measured_differently(view: BenchmarkView) -> list[str]:
    """The metrics whose signature is not the same for all checkpoints; the whole stands for its parts."""
    measured = {
        (family(row.metric), without_policy(row.signature)): None
        for table in view.tables
        for row in rows_of(table).values()
        if not is_of_a_part(row.metric)
    }
    times_seen = Counter(name for name, _ in measured)
    return [name for name, times in times_seen.items() if times > 1]
