"""The tables of a report as grids of plain text; how a grid is written down is another module's matter."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from opo_eval.errors import InputError
from opo_eval.records import Comparison, MetricRow, MetricTable, Verdict
from opo_eval.report.names import one_line
from opo_eval.report.values import (
    DIFFERENCE_UNITS,
    VALUE_UNITS,
    difference_digits,
    difference_with_interval,
    number,
    reading,
    with_interval,
)
from opo_eval.report.views import (
    ALL,
    BenchmarkView,
    family,
    headline_metrics,
    rows_of,
    shown_metrics,
)
from opo_eval.wording import counted

UNDEFINED = "undefined"
NOT_GRADED = "not graded"
_CHECKPOINTS_ABREAST = 6
_SIGNATURE_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text: the names of its columns, and its rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


# --- values and differences -------------------------------------------------------------------------


def metric_grids(view: BenchmarkView) -> Iterator[Grid]:
    """One row a metric, one column a checkpoint; many checkpoints make several grids."""
    metrics = shown_metrics(view.tables)
    units = {row.metric: VALUE_UNITS[row.unit] for table in view.tables for row in table.rows}
    for start in range(0, len(view.tables), _CHECKPOINTS_ABREAST):
        tables = view.tables[start : start + _CHECKPOINTS_ABREAST]
        columns = [rows_of(table) for table in tables]
        yield Grid(
            ("metric", "unit", *(view.checkpoints[table.checkpoint] for table in tables)),
            tuple((name, units[name], *(_value(rows.get(name)) for rows in columns)) for name in metrics),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """One checkpoint against the baseline; the names are fit to print."""

    checkpoint: str
    baseline: str
    grid: Grid
    missing: tuple[str, ...]
    """Metrics that are shown but undefined on one of the two sides."""


def differences(view: BenchmarkView) -> Iterator[Differences]:
    """For each checkpoint that is compared: one row a metric."""
    metrics = shown_metrics(view.tables)
    for b, a in dict.fromkeys((row.b, row.a) for row in view.comparisons):
        pair = {row.metric: row for row in view.comparisons if (row.b, row.a) == (b, a)}
        checkpoint, baseline = view.checkpoints[b], view.checkpoints[a]
        yield Differences(
            checkpoint=checkpoint,
            baseline=baseline,
            grid=Grid(
                ("metric", baseline, checkpoint, "difference", "unit", "reading"),
                tuple(_difference(pair[name]) for name in metrics if name in pair),
            ),
            missing=tuple(name for name in metrics if name not in pair),
        )


def _value(row: MetricRow | None) -> str:
    return UNDEFINED if row is None else with_interval(row.value, row.interval, row.unit)


def _difference(row: Comparison) -> tuple[str, ...]:
    places = difference_digits(row.interval, row.unit)
    sides = (number(value, row.unit, places) for value in (row.value_a, row.value_b))
    return (row.metric, *sides, difference_with_interval(row), DIFFERENCE_UNITS[row.unit], reading(row))


# --- counts -----------------------------------------------------------------------------------------


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
    return _grid(("checkpoint", "samples", *columns), rows)


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
    return _grid(("checkpoint", "n compared", *counts[0]), rows)


def left_out(table: MetricTable) -> list[str]:
    """Which metrics are not defined everywhere, a sentence for each extent."""
    rows = rows_of(table)
    by_extent: dict[str, dict[str, None]] = defaultdict(dict)
    for metric in (statistics.metric for statistics in table.statistics):
        by_extent[_extent(rows.get(metric))][family(metric)] = None
    return [f"{', '.join(names)}: undefined on {extent}" for extent, names in by_extent.items() if extent]


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
            "the end), so a difference may be one of measurement."
        )
    return said


def _whose(names: Sequence[str], view: BenchmarkView) -> str:
    return "all checkpoints" if len(names) == len(view.tables) > 1 else ", ".join(names)


def _grid(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Grid:
    return Grid(tuple(columns), tuple(tuple(map(str, row)) for row in rows))


# --- by tag -----------------------------------------------------------------------------------------


def breakdown_grids(view: BenchmarkView) -> Iterator[tuple[str, Grid]]:
    """For each tag, such as level: one row for each of its values and each checkpoint."""
    subsets = dict.fromkeys(row.subset for table in view.tables for row in table.rows if row.subset != ALL)
    units = {row.metric: VALUE_UNITS[row.unit] for table in view.tables for row in table.rows}
    metrics = headline_metrics(view.tables)
    columns = [f"{name} ({units[name]})" for name in metrics]
    by_tag: dict[str, list[str]] = defaultdict(list)
    for subset in subsets:
        by_tag[subset.partition("=")[0]].append(subset)
    for tag, its_subsets in by_tag.items():
        rows = tuple(row for subset in its_subsets for row in _breakdown_rows(view, subset, metrics))
        yield one_line(tag), Grid((one_line(tag), "checkpoint", "problems", *columns), rows)


def _breakdown_rows(view: BenchmarkView, subset: str, metrics: Sequence[str]) -> Iterator[tuple[str, ...]]:
    value = one_line(subset.partition("=")[2])
    for table in view.tables:
        rows = rows_of(table, subset)
        n_problems = max((row.n_problems + row.n_problems_left_out for row in rows.values()), default=0)
        values = (_value(rows.get(name)) for name in metrics)
        yield value, view.checkpoints[table.checkpoint], str(n_problems), *values


# --- signatures -------------------------------------------------------------------------------------


def signature_grid(views: Iterable[BenchmarkView]) -> Grid:
    """What every number was measured with; checkpoints are named where they differ."""
    rows = [row for view in views for row in _signature_rows(view)]
    return Grid(("benchmark", "metrics", "checkpoints", "signature"), tuple(rows))


def measured_differently(view: BenchmarkView) -> list[str]:
    """The metrics whose signature is not the same for all checkpoints."""
    times_seen = Counter(metric for metric, _ in _signatures(view))
    return [metric for metric, times in times_seen.items() if times > 1]


def _signature_rows(view: BenchmarkView) -> Iterator[tuple[str, ...]]:
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (metric, signature), checkpoints in _signatures(view).items():
        alike[signature, _whose(checkpoints, view)].append(metric)
    for (signature, whose), metrics in alike.items():
        yield view.label, ", ".join(metrics), whose, one_line(signature, _SIGNATURE_LIMIT)


def _signatures(view: BenchmarkView) -> dict[tuple[str, str], list[str]]:
    """(metric, signature) → checkpoints; every k of pass@k is the same metric here."""
    found: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for table in view.tables:
        for row in rows_of(table).values():
            found[family(row.metric), row.signature][view.checkpoints[table.checkpoint]] = None
    return {key: list(checkpoints) for key, checkpoints in found.items()}
