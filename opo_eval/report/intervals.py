"""What a report says of its intervals: which question each answers, and which numbers lack it and why."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

from opo_eval.records import Interval, MetricRow, MetricTable
from opo_eval.report.token_statistics import token_metrics
from opo_eval.report.values import interval_label
from opo_eval.report.views import BenchmarkView, family, is_over_k, rows_of, shown_metrics

Shown = list[tuple[MetricTable, MetricRow]]
"""The numbers over all problems that tables show."""

FEWEST_FOR_BANDS = 10
"""Of `opo_eval.stats.bootstrap`, which reports do not import."""


def interval_sentences(views: Sequence[BenchmarkView]) -> Iterator[str]:
    """One for each kind of interval that the report has."""
    shown = [pair for view in views for pair in _shown(view)]
    in_brackets = [pair for view in views for pair in _shown(view, token_metrics(view.tables))]
    yield _over_problems(in_brackets, [row.interval for view in views for row in view.comparisons])
    if label := interval_label(row.interval_these for _, row in shown):
        giving = {row.family for _, row in shown if row.interval_these}
        absent = _absent(len(shown), [(row, _why_not_these(table, row, giving)) for table, row in shown])
        yield (
            f"{label}: where the number would lie if the checkpoint answered the same problems "
            f"again. {absent}"
        )
    if label := interval_label(row.band for _, row in shown):
        yield _over_k(label, shown)
    if label := interval_label(row.interval for view in views for row in view.arm_comparisons):
        yield (
            f"{label}: where the difference between two arms would lie if the methods were "
            "trained again with other seeds and asked other problems of this kind."
        )


def _shown(view: BenchmarkView, more: Collection[str] = ()) -> Shown:
    metrics = {*shown_metrics(view.tables), *more}
    return [(t, row) for t in view.tables for name, row in rows_of(t).items() if name in metrics]


def _over_problems(shown: Shown, of_differences: Iterable[Interval | None]) -> str:
    label = interval_label([*(row.interval for _, row in shown), *of_differences])
    if label is None:
        return (
            "No number has an interval over problems like these: that takes two problems, or clusters of "
            "them, or more."
        )
    absent = _absent(len(shown), [(row, _why_not_like_these(table, row)) for table, row in shown])
    return (
        f"{label}, in brackets wherever nothing else is said: where the number would lie with "
        f"other problems of this kind. {absent} Digits go as far as the interval justifies."
    )


def _over_k(label: str, shown: Shown) -> str:
    curves = {row.family for _, row in shown if row.band}
    points = [(table, row) for table, row in shown if row.family in curves]
    lacking = [(row, _why_no_band(table, row)) for table, row in points]
    return (
        f"{label}: a band that holds the whole curve over k, so that its points may be read "
        f"together. {_absent(len(points), lacking, 'points of curves')}"
    )


# --- which numbers lack one -------------------------------------------------------------------------


def _why_not_like_these(table: MetricTable, row: MetricRow) -> str | None:
    if row.interval:
        return None
    if row.n_problems < 2:
        return "they are defined on one problem only"
    return "all problems are alike" + (f", or of one {table.cluster}" if table.cluster else "")


def _why_no_band(table: MetricTable, row: MetricRow) -> str | None:
    if row.band:
        return None
    if len(set(table.clusters or table.problem_ids)) < FEWEST_FOR_BANDS:
        return f"that takes {FEWEST_FOR_BANDS} problems, or clusters of them, or more"
    return "all problems are alike"


def _why_not_these(table: MetricTable, row: MetricRow, giving: set[str]) -> str | None:
    """giving: the families that give this interval somewhere in the report."""
    if row.interval_these:
        return None
    spreads = next(s.spreads for s in table.statistics if s.metric == row.metric)
    if spreads is not None:
        return "all samples of a problem are alike"
    if table.n == 1:
        return "that takes two samples a problem"
    if row.family not in giving:
        return "they compare a problem's samples with one another"
    if is_over_k(row.metric):
        return "at k = n no sample can be left out"
    return "on some problem they are defined on one sample only"


def _absent(
    n_shown: int, reasons: Iterable[tuple[MetricRow, str | None]], what: str = "numbers in the tables"
) -> str:
    """`3 of 40 numbers in the tables have none: 2 because all problems are alike (rep_5), ...`"""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for row, reason in reasons:
        if reason is not None:
            by_reason[reason].append(family(row.metric))
    n_absent = sum(map(len, by_reason.values()))
    if not n_absent:
        return f"All {n_shown} {what} have one."
    said = "; ".join(
        f"{len(names)} because {reason} ({', '.join(dict.fromkeys(names))})"
        for reason, names in by_reason.items()
    )
    return f"{n_absent} of {n_shown} {what} have none: {said}."
