"""What the command line prints: a run's table, and what a comparison comes to in a sentence."""

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from opo_eval.records import Comparison, MetricTable, Unit
from opo_eval.report.names import one_line
from opo_eval.report.tables import accounting, coverage, left_out
from opo_eval.report.values import (
    NO_INTERVAL,
    NOT_DISTINGUISHABLE,
    VALUE_UNITS,
    difference_digits,
    interval_label,
    number,
    reading,
    with_interval,
)
from opo_eval.report.views import (
    BenchmarkView,
    benchmark_views,
    headline_metrics,
    k_of,
    rows_of,
    shown_metrics,
)
from opo_eval.wording import counted

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

_WIDTH = 80
_NAME_LIMIT = 30
_CHECKPOINTS_AT_MOST = 5
_POINTS = {Unit.SHARE: "points", Unit.PERCENT: "points"}


def terminal_table(table: MetricTable) -> str:
    """The metrics over all problems, then the counts, as plain text at most 80 columns wide."""
    title = f"{one_line(table.checkpoint, _NAME_LIMIT)} on {one_line(table.benchmark, _NAME_LIMIT)}"
    lines = [title, *_scope(table), "", *_metric_lines(table), ""]
    lines += [line for sentence in _count_sentences(table) for line in _wrapped(sentence)]
    return "\n".join(lines)


def verdict_sentence(compared: "ComparedRuns") -> str:
    """What the comparison comes to: a line for each benchmark and checkpoint, in the order given."""
    return "\n".join(line for view in benchmark_views(compared) for line in _verdicts(view))


# --- one run ----------------------------------------------------------------------------------------


def _scope(table: MetricTable) -> list[str]:
    label = interval_label(row.interval for row in rows_of(table).values())
    said = f"in brackets {label}" if label else "no intervals, which take two problems or more"
    return _wrapped(f"{counted(table.counts['problems'], 'problem')}, n = {table.n} samples each; {said}")


def _metric_lines(table: MetricTable) -> Iterator[str]:
    rows = rows_of(table)
    for row in (rows[name] for name in shown_metrics([table])):
        value, _, bounds = with_interval(row.value, row.interval, row.unit).partition(" ")
        yield f"{row.metric:<20} {value:>10}  {bounds:<22} {VALUE_UNITS[row.unit]}".rstrip()


def _count_sentences(table: MetricTable) -> Iterator[str]:
    parts = " + ".join(f"{count} {name}" for name, count in accounting(table).items())
    yield f"{table.counts['samples']} samples = {parts}"
    yield "; ".join(f"{name}: {count}" for name, count in coverage(table).items())
    yield from left_out(table)


def _wrapped(sentence: str) -> list[str]:
    return wrap(sentence, _WIDTH, subsequent_indent="  ")


# --- a comparison -----------------------------------------------------------------------------------


def _verdicts(view: BenchmarkView) -> Iterator[str]:
    others = list(dict.fromkeys((row.b, row.a) for row in view.comparisons))
    if not others:
        yield f"{view.label}: there is nothing to compare."
    for b, a in others[:_CHECKPOINTS_AT_MOST]:
        rows = {row.metric: row for row in view.comparisons if (row.b, row.a) == (b, a)}
        first, *rest = [rows[name] for name in _said_of(view) if name in rows] or list(rows.values())
        said = [_full_clause(view, first), *map(_short_clause, rest)]
        yield f"{view.label}: {'; '.join(said)}."
    if len(others) > _CHECKPOINTS_AT_MOST:
        yield f"{view.label}: {len(others) - _CHECKPOINTS_AT_MOST} more checkpoints are in the report."


def _said_of(view: BenchmarkView) -> list[str]:
    """pass@1 and pass@n; what is known of diversity where nobody graded."""
    headline = headline_metrics(view.tables)
    return [name for name in headline if k_of(name)] or headline


def _full_clause(view: BenchmarkView, row: Comparison) -> str:
    a, b, word = view.checkpoints[row.a], view.checkpoints[row.b], reading(row)
    if word == NO_INTERVAL:
        return f"{b} and {a} differ by {_amount(row)} on {row.metric} (too few problems for an interval)"
    if word == NOT_DISTINGUISHABLE:
        apart = f"difference {_amount(row)}, {_range(row, True)}"
        return f"{b} is not distinguishable from {a} on {row.metric} ({apart})"
    return f"{b} is {word} than {a} on {row.metric} by {_amount(row)} ({_range(row, True)})"


def _short_clause(row: Comparison) -> str:
    word = reading(row)
    if word in (NO_INTERVAL, NOT_DISTINGUISHABLE):
        return f"{row.metric}: {word}"
    return f"{row.metric}: {word} by {_amount(row)} ({_range(row, False)})"


def _amount(row: Comparison) -> str:
    """How far apart, without a sign where a word gives the direction."""
    return f"{_number(row, _sign(row) * row.delta)} {_POINTS.get(row.unit, row.unit.value)}"


def _range(row: Comparison, with_kind: bool) -> str:
    assert row.interval is not None
    low, high = sorted(_sign(row) * bound for bound in (row.interval.low, row.interval.high))
    kind = f" over {row.interval.kind}" if with_kind else ""
    return f"{100 * row.interval.level:g} % {_number(row, low)} to {_number(row, high)}{kind}"


def _sign(row: Comparison) -> int:
    return -1 if row.interval and row.interval.high < 0 else 1


def _number(row: Comparison, value: float) -> str:
    signed = reading(row) in (NO_INTERVAL, NOT_DISTINGUISHABLE)
    return number(value, row.unit, difference_digits(row.interval, row.unit), signed=signed)
