"""Every sample accounted for: how grading ended, what was cut short, where metrics are undefined."""

from collections import defaultdict
from collections.abc import Sequence

from opo_eval.errors import InputError
from opo_eval.records import MetricRow, MetricTable, Verdict
from opo_eval.report.grid import Grid, grid_of
from opo_eval.report.signatures import measured_differently
from opo_eval.report.token_metrics import is_of_a_part, token_metric
from opo_eval.report.views import BenchmarkView, family, rows_of
from opo_eval.wording import counted

NOT_GRADED = "not graded"


def accounting(table: MetricTable) -> dict[str, int]:
    """Samples by how grading ended; they add up to `table.counts["samples"]`.

    Raises InputError where they do not. A table without any grades has all of them `not graded`.
    """
    samples = table.counts["samples"]
    parts = {verdict.value.replace("_", " "): table.counts.get(verdict.value, 0) for verdict in Verdict}
    graded = sum(parts.values())
    if graded not in (0, samples):
        raise InputError(
            f"{table.checkpoint} on {table.benchmark} has {samples} samples but {graded} verdicts: run "
            "`opo-eval grade` on its run directory and measure again"
        )
    return parts if graded else {**parts, NOT_GRADED: samples}


def accounting_grid(view: BenchmarkView) -> Grid:
    """One row a checkpoint; read across, each is a sum."""
    sums = [accounting(table) for table in view.tables]
    parts = list(dict.fromkeys(part for parts in sums for part in parts))
    columns = [f"{'+' if i else '='} {part}" for i, part in enumerate(parts)]
    rows = [
        (view.checkpoints[table.checkpoint], table.counts["samples"], *(found.get(p, 0) for p in parts))
        for table, found in zip(view.tables, sums, strict=True)
    ]
    return grid_of(("checkpoint", "samples", *columns), rows)


def coverage(table: MetricTable) -> dict[str, int]:
    """What a reader should know of the samples beside their verdicts."""
    sizes = table.statistics[0].n_samples if table.statistics else ()
    return {
        "problems": table.counts["problems"],
        "problems with fewer samples than others": sum(size < max(sizes) for size in sizes),
        "strict and lenient verdict disagree": table.counts.get("strict_lenient_disagree", 0),
        "truncated": table.counts.get("truncated", 0),
        "end unknown": table.counts.get("finish_unknown", 0),
        "empty": table.counts.get("empty", 0),
        "problems without samples": table.counts.get("problems_without_samples", 0),
    }


def coverage_grid(view: BenchmarkView) -> Grid:
    """One row a checkpoint: its problems, and samples that a reader should know of."""
    counts = [coverage(table) for table in view.tables]
    rows = [
        (view.checkpoints[table.checkpoint], table.n, *count.values())
        for table, count in zip(view.tables, counts, strict=True)
    ]
    return grid_of(("checkpoint", "n compared", *counts[0]), rows)


# --- where metrics are undefined --------------------------------------------------------------------


def left_out(table: MetricTable) -> list[str]:
    """Which metrics are not defined everywhere, a sentence for each extent.

    Those of parts of responses, such as the entropy of correct ones, leave out the others by definition.
    """
    rows = rows_of(table)
    by_extent: dict[str, dict[str, None]] = defaultdict(dict)
    for metric in (statistics.metric for statistics in table.statistics):
        if not is_of_a_part(metric):
            by_extent[_extent(rows.get(metric))][_named(metric)] = None
    return [f"{', '.join(names)}: undefined on {extent}" for extent, names in by_extent.items() if extent]


def _named(metric: str) -> str:
    """One name for what has one extent: all numbers over k, all of one temperature."""
    token = token_metric(metric)
    return f"token statistics at temperature {token.temperature}" if token else family(metric)


def _extent(row: MetricRow | None) -> str:
    """Where a metric is undefined; nothing where it is defined everywhere."""
    if row is None:
        return "every problem"
    counts = ((row.n_problems_left_out, "problem"), (row.n_samples_left_out, "sample"))
    parts = [counted(count, noun) for count, noun in counts if count]
    return " and ".join(parts) + ", which the value leaves out" if parts else ""


def reservations(view: BenchmarkView) -> list[str]:
    """What cannot be read off the main table: where metrics are undefined or were not measured alike."""
    by_sentence: dict[str, list[str]] = defaultdict(list)
    for table in view.tables:
        for sentence in left_out(table):
            by_sentence[sentence].append(view.checkpoints[table.checkpoint])
    said = [f"{sentence} ({_whose(names, view)})." for sentence, names in by_sentence.items()]
    if unequal := measured_differently(view):
        said.append(
            f"{', '.join(unequal)}: the checkpoints were not measured alike (their signatures differ, see "
            "the definitions), so a difference may be one of measurement."
        )
    return said


def _whose(names: Sequence[str], view: BenchmarkView) -> str:
    return "all checkpoints" if len(names) == len(view.tables) > 1 else ", ".join(names)
