"""What the numbers were measured with: equal signatures, comparable numbers."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from opo_eval.report.views import BenchmarkView, family, rows_of

Sources = dict[str, list[tuple[str, str]]]
"""Signature → the (benchmark, checkpoint) that were measured so, by names fit to print."""


def signatures_of(views: Iterable[BenchmarkView], metric_family: str) -> Sources:
    """Those of a family, an entry of `METRICS`."""
    found: dict[str, dict[tuple[str, str], None]] = defaultdict(dict)
    for view in views:
        for table in view.tables:
            for row in (row for row in table.rows if row.family == metric_family):
                found[row.signature][view.label, view.checkpoints[table.checkpoint]] = None
    return {signature: list(sources) for signature, sources in found.items()}


def measured_differently(view: BenchmarkView) -> list[str]:
    """The metrics whose signature is not the same for all checkpoints."""
    measured = {
        (family(row.metric), row.signature): None for table in view.tables for row in rows_of(table).values()
    }
    times_seen = Counter(name for name, _ in measured)
    return [name for name, times in times_seen.items() if times > 1]
