"""What the command line prints: a run's table, and what a comparison comes to in sentences."""

from collections.abc import Iterator
from textwrap import wrap
from typing import TYPE_CHECKING

from opo_eval.records import MetricTable
from opo_eval.report.counts import accounting, coverage, left_out
from opo_eval.report.names import one_line
from opo_eval.report.spending import time_sentence, tokens_sentence
from opo_eval.report.token_statistics import is_scored, scored_sentence
from opo_eval.report.truncation import truncation_warnings
from opo_eval.report.values import VALUE_UNITS, interval_label, with_interval
from opo_eval.report.verdicts import family_sentences, overall, pairs_not_shown, pairs_shown, scope, verdict
from opo_eval.report.views import BenchmarkView, benchmark_views, rows_of, shown_metrics
from opo_eval.wording import counted

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

_WIDTH = 80
_NAME_LIMIT = 30


def terminal_table(table: MetricTable) -> str:
    """The metrics over all problems, then the counts, as plain text at most 80 columns wide."""
    title = f"{one_line(table.checkpoint, _NAME_LIMIT)} on {one_line(table.benchmark, _NAME_LIMIT)}"
    lines = [title, *_scope(table), "", *_metric_lines(table), ""]
    lines += [line for sentence in _count_sentences(table) for line in _wrapped(sentence)]
    return "\n".join(lines)


def verdict_sentence(compared: "ComparedRuns") -> str:
    """What the comparison comes to: sentences for each benchmark and pair, at most 80 columns wide."""
    views = benchmark_views(compared)
    verdicts = [sentence for view in views for sentence in _verdicts(view)]
    warnings = truncation_warnings(views)
    said = [scope(compared, views[0].arms), *warnings, *verdicts, *overall(views)]
    said += family_sentences(compared)
    said += [tokens_sentence(views), *filter(None, [time_sentence(compared)])]
    return "\n".join(line for sentence in said for line in _wrapped(sentence))


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
    if is_scored(table):
        yield scored_sentence(table)
    yield from left_out(table)


def _wrapped(sentence: str) -> list[str]:
    return wrap(sentence, _WIDTH, subsequent_indent="  ")


# --- a comparison -----------------------------------------------------------------------------------


def _verdicts(view: BenchmarkView) -> Iterator[str]:
    for rows, names, between in pairs_shown(view):
        yield f"{view.label}{between}: {verdict(rows, names, view, brief=True)}"
    for rest in pairs_not_shown(view, "the report"):
        yield f"{view.label}: {rest}"
