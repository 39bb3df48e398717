"""The paper's tables from ours: pass@k (Tables 1 and 2), repetition and diversity (Tables 3 and 4).

Each is a function from views, and the settings that their runs were made with, to a `PaperTable`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import mode
from typing import Any

from opo_eval.records import RunSettings, Unit
from opo_eval.report.data import csv_table
from opo_eval.report.figures.style import NothingToDraw, evenly
from opo_eval.report.names import labels
from opo_eval.report.paper.captions import (
    ONE_RUN,
    interval_said,
    marks_said,
    not_everywhere,
    sampling,
    scope,
    shown_of,
)
from opo_eval.report.paper.marks import Mark
from opo_eval.report.paper.numbers import Number, Numbers, of_arms, of_checkpoints, of_last_checkpoints
from opo_eval.report.paper.table import Cell, PaperTable, Section, TableRow
from opo_eval.report.values import VALUE_UNITS, digits, number
from opo_eval.report.views import SELF_BLEU, BenchmarkView, is_power_of_two, k_of

NAME_LIMIT = 28
_ROWS_AT_MOST = 24
"""Of all benchmarks together: as many as a page holds."""
_FEWEST_ROWS = 2
_COLUMNS_AT_MOST = 6
_REP = re.compile(r"rep_(\d+)(_per_sequence)?")
_LENGTHS = ("tokens", "characters")
_CSV_COLUMNS = (
    "benchmark", "row", "metric", "value", "low", "high", "level", "interval", "interval_of", "unit", "n",
    "baseline", "difference", "n_problems", "p_value", "p_adjusted", "mark",
)  # fmt: skip

Views = Sequence[BenchmarkView]
Settings = Sequence[RunSettings]
Choose = Callable[[Sequence[str]], list[str]]
"""From all metrics to those that are columns."""


# --- the tables -------------------------------------------------------------------------------------


def pass_at_k(views: Views, settings: Settings) -> PaperTable:
    """pass@k of every checkpoint, as the paper's Tables 1 and 2.

    Raises NothingToDraw where nothing is graded.
    """
    return _of_checkpoints("pass_at_k", "pass@k (%)", over_k, views, settings)


def diversity(views: Views, settings: Settings) -> PaperTable:
    """Rep-n, Self-BLEU and length of every checkpoint, as the paper's Tables 3 and 4.

    Raises NothingToDraw where neither is defined.
    """
    return _of_checkpoints(
        "diversity", "Repetition and diversity (lower is better)", diverse, views, settings
    )


def arms_pass_at_k(views: Views, settings: Settings) -> PaperTable:
    """pass@k of every arm, the mean over its training seeds. Raises NothingToDraw where none is compared."""
    return _of_arms("arms_pass_at_k", "pass@k (%) by method", over_k, views, settings)


def arms_diversity(views: Views, settings: Settings) -> PaperTable:
    """The same of Rep-n, Self-BLEU and length."""
    title = "Repetition and diversity by method (lower is better)"
    return _of_arms("arms_diversity", title, diverse, views, settings)


def last_checkpoints(views: Views, settings: Settings) -> PaperTable:
    """Means over the last checkpoints of training runs, which is what the paper's tables show.

    Raises NothingToDraw where no training run has so many.
    """
    followed = [view for view in views if view.last_means]
    if not followed:
        raise NothingToDraw("no training run has as many checkpoints as the mean over the last ones takes")
    sizes = sorted({len(mean.steps) for view in followed for mean in view.last_means})
    said = (
        f"A training run's row is its mean over the last {' or '.join(map(str, sizes))} checkpoints: steps "
        "of one run, which say nothing of what another seed would give. Nothing is marked: these differences "
        "are no part of the adjusted family."
    )
    numbers = [of_last_checkpoints(view) for view in followed]
    title = "Means of the last checkpoints"
    return _table("last_checkpoints", title, numbers, _chosen(numbers, both), settings, [said], marked=False)


TABLES: Mapping[str, Callable[[Views, Settings], PaperTable]] = {
    "pass_at_k": pass_at_k,
    "diversity": diversity,
    "arms_pass_at_k": arms_pass_at_k,
    "arms_diversity": arms_diversity,
    "last_checkpoints": last_checkpoints,
}
"""Name of its files → table."""


def _of_checkpoints(key: str, title: str, choose: Choose, views: Views, settings: Settings) -> PaperTable:
    numbers = [of_checkpoints(view) for view in views]
    return _table(key, title, numbers, _chosen(numbers, choose), settings, [ONE_RUN])


def _of_arms(key: str, title: str, choose: Choose, views: Views, settings: Settings) -> PaperTable:
    compared = [view for view in views if view.arm_comparisons]
    if not compared:
        raise NothingToDraw("no methods are compared: that takes two, each trained with several seeds")
    numbers = [of_arms(view) for view in compared]
    (first, *_) = compared
    seeds = {first.arms[arm.name]: len(arm.checkpoints) for arm in first.arm_members}
    said = f"A row is the mean over training seeds ({', '.join(f'{n}: {m}' for n, m in seeds.items())})."
    return _table(key, title, numbers, _chosen(numbers, choose), settings, [said])


# --- which columns ----------------------------------------------------------------------------------


def over_k(metrics: Sequence[str]) -> list[str]:
    """pass@k for powers of two and the largest k; of many the first ones and the last."""
    ks = sorted(k for k in map(k_of, metrics) if k)
    shown = [k for k in ks if is_power_of_two(k) or k == ks[-1]]
    if len(shown) > _COLUMNS_AT_MOST:
        shown = [*shown[: _COLUMNS_AT_MOST - 1], shown[-1]]
    return [f"pass@{k}" for k in shown]


def diverse(metrics: Sequence[str]) -> list[str]:
    """Rep-n by n-gram and by response, Self-BLEU, and the length, on which both depend."""
    found = [name for name in metrics if _REP.fullmatch(name)]
    found += [SELF_BLEU] if SELF_BLEU in metrics else []
    return [*found, *[name for name in _LENGTHS if name in metrics][:1]] if found else []


def both(metrics: Sequence[str]) -> list[str]:
    """pass@k, then repetition and diversity."""
    return [*over_k(metrics), *diverse(metrics)]


def column_label(metric: str, unit: Unit) -> str:
    """The metric as the head of a column."""
    if rep := _REP.fullmatch(metric):
        return f"Rep-{rep[1]}{' by response' if rep[2] else ''} (%)"
    if metric in _LENGTHS:
        return f"length ({metric})"
    if k_of(metric):
        return metric
    return "Self-BLEU" if metric == SELF_BLEU else f"{metric} ({VALUE_UNITS[unit]})"


def _chosen(numbers: Sequence[Numbers], choose: Choose) -> list[str]:
    metrics = dict.fromkeys(name for own in numbers for row in own.rows.values() for name in row)
    chosen = choose(list(metrics))
    if not chosen:
        raise NothingToDraw("no checkpoint has the numbers of this table: grade the runs, or sample more")
    return chosen


# --- from numbers to print --------------------------------------------------------------------------


def _table(
    key: str,
    title: str,
    numbers: Sequence[Numbers],
    metrics: Sequence[str],
    settings: Settings,
    said: Sequence[str],
    *,
    marked: bool = True,
) -> PaperTable:
    known = [own for own in numbers if any(metric in row for row in own.rows.values() for metric in metrics)]
    at_most = max(_ROWS_AT_MOST // len(known), _FEWEST_ROWS)
    rows = [list(evenly([row for row in own.rows if row not in own.passed], at_most)) for own in known]
    found = [_Benchmark(own, shown, metrics, marked) for own, shown in zip(known, rows, strict=True)]
    units = {
        metric: value.unit for own in known for row in own.rows.values() for metric, value in row.items()
    }
    return PaperTable(
        key=key,
        title=title,
        columns=tuple(column_label(metric, units[metric]) for metric in metrics),
        sections=tuple(one.section() for one in found),
        caption=tuple(_caption(title, found, settings, said)),
        data=csv_table(_CSV_COLUMNS, (row for one in found for row in one.data())),
    )


class _Benchmark:
    """One benchmark on the way to print."""

    def __init__(self, numbers: Numbers, shown: Sequence[str], metrics: Sequence[str], marked: bool) -> None:
        self.numbers, self.shown, self.metrics = numbers, shown, metrics
        self.marks = {metric: numbers.marks(metric, shown) if marked else {} for metric in metrics}

    def section(self) -> Section:
        """The rows that are shown."""
        names = labels((self.numbers.names[row] for row in self.shown), NAME_LIMIT)
        rows = (
            TableRow(name=names[self.numbers.names[row]], cells=tuple(self._cells(row))) for row in self.shown
        )
        return Section(title=self.numbers.view.label, rows=tuple(rows))

    def _cells(self, row: str) -> Iterator[Cell]:
        own = self.numbers.rows[row]
        for metric in self.metrics:
            if found := own.get(metric):
                mark = self.marks[metric].get(row, Mark.NONE)
                places = self._places(metric)
                text = number(found.value, found.unit, places)
                yield Cell(text=text, below=found.below(places), mark=mark)
            else:
                yield Cell()

    def _places(self, metric: str) -> int:
        """Of all numbers of a column alike: what most of their intervals justify."""
        known = [self.numbers.rows[row].get(metric) for row in self.shown]
        places = [digits(own.interval, own.unit) for own in known if own and own.interval]
        return mode(places) if places else 1

    def data(self) -> Iterator[dict[str, Any]]:
        """All rows, shown or not."""
        for row, own in self.numbers.rows.items():
            for metric in (metric for metric in self.metrics if metric in own):
                yield {**self._described(row, metric), **_number(own[metric]), **self._tested(row, metric)}

    def _described(self, row: str, metric: str) -> dict[str, Any]:
        view = self.numbers.view
        mark = self.marks[metric].get(row, Mark.NONE).value
        return {
            "benchmark": view.benchmark, "row": row, "metric": metric, "n": view.tables[0].n, "mark": mark,
        }  # fmt: skip

    def _tested(self, row: str, metric: str) -> dict[str, Any]:
        rows = (one for one in self.numbers.comparisons if (one.b, one.metric) == (row, metric))
        found = next(rows, None)
        if found is None:
            return {}
        return {
            "baseline": found.a, "difference": found.delta, "n_problems": found.n_problems,
            "p_value": found.p_value, "p_adjusted": found.p_adjusted,
        }  # fmt: skip


def _number(found: Number) -> dict[str, Any]:
    interval = found.interval
    cells: dict[str, Any] = {"value": found.value, "unit": found.unit.value}
    if interval is None:
        return cells
    of = "difference" if found.is_difference else "value"
    ends = {"low": interval.low, "high": interval.high, "level": interval.level, "interval": interval.kind}
    return cells | ends | {"interval_of": of}


def _caption(
    title: str, found: Sequence[_Benchmark], settings: Settings, said: Sequence[str]
) -> Iterator[str]:
    views = [one.numbers.view for one in found]
    yield f"{title} on {scope(views)}."
    yield sampling(own for own in settings if own.benchmark in {view.benchmark for view in views})
    yield from said
    shown = [one.numbers.rows[row].get(m) for one in found for row in one.shown for m in one.metrics]
    of = "In brackets, of the difference" if any(n and n.is_difference for n in shown) else "In brackets"
    yield from interval_said((n.interval for n in shown if n), of)
    comparisons = [row for one in found for row in one.numbers.comparisons]
    compared = [one.numbers for one in found if one.numbers.comparisons]
    baselines = list(dict.fromkeys(own.names[own.baseline] for own in compared))
    given = [mark for one in found for own in one.marks.values() for mark in own.values()]
    yield from marks_said(given, comparisons, baselines)
    yield from not_everywhere(views)
    if any(one.numbers.passed for one in found):
        yield "Of a training run its last checkpoint; the others are in the CSV file."
    candidates = sum(len(one.numbers.rows) - len(one.numbers.passed) for one in found)
    yield from shown_of(sum(len(one.shown) for one in found), candidates, "rows")
