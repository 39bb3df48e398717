"""The paper's numbers beside ours in print: a section of report.md, a CSV file, and tables for a paper."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from opo_eval.records import Interval, Unit
from opo_eval.report.data import csv_table
from opo_eval.report.markdown import bullets, heading, paragraph
from opo_eval.report.paper.against import AgainstPaper, Beside, Ours
from opo_eval.report.paper.aspects import differing, open_ones
from opo_eval.report.paper.captions import NOT_HELD, interval_said
from opo_eval.report.paper.markdown import markdown_table
from opo_eval.report.paper.marks import Mark
from opo_eval.report.paper.table import Cell, PaperTable, Section, TableRow
from opo_eval.report.paper.tables import column_label
from opo_eval.report.published import SOURCE, TITLES
from opo_eval.report.values import digits, number, scaled
from opo_eval.wording import counted

_PAPER_PLACES = 2
_COLUMNS = (
    "table", "benchmark", "method", "metric", "published", "headline", "ours", "value", "low", "high",
    "level", "interval", "unit", "difference", "difference_low", "difference_high", "differs", "not_known",
)  # fmt: skip
_FROM_0_TO_100 = Unit.PERCENT
"""The paper prints percentages and Self-BLEU on one scale."""
_DIFFERENCE = (
    "Differences are ours minus the paper's. Their intervals are those of our numbers alone: the paper gives "
    "none, so a difference whose interval excludes 0 need not be one."
)


# --- report.md --------------------------------------------------------------------------------------


def against_section(found: AgainstPaper) -> Iterator[str]:
    """The blocks of a section of Markdown."""
    yield heading(2, "Beside the paper")
    yield paragraph(
        f"Tables 1 to 4 of {SOURCE}, as printed, beside what is here. {_DIFFERENCE} {_headline(found)}"
    )
    if found.left_out:
        yield bullets(found.left_out)
    for number_of, table in _tables(found).items():
        cells = _shown(found, number_of)
        yield heading(3, table.title)
        yield markdown_table(table)
        yield from map(paragraph, _reservations(found, cells))
        if said := list(_not_comparable(cells)):
            yield bullets(said)


def _headline(found: AgainstPaper) -> str:
    """Where the paper's own numbers go against what it holds."""
    against = [beside for beside in found.cells if beside.beaten_by]
    cells = "; ".join(f"{_place(one)} ({', '.join(one.beaten_by)})" for one in against)
    return (
        f"{NOT_HELD} marks the {counted(len(against), 'cell')} where the paper's headline, that exact "
        f"on-policy training and OPO are better, does not hold in its own numbers, with the method that is "
        f"as good or better there: {cells}."
    )


def _place(beside: Beside) -> str:
    cell = beside.cell
    return f"{cell.benchmark} {_label(cell.metric)} of {cell.method} in Table {cell.table}"


def _not_comparable(cells: Sequence[Beside]) -> Iterator[str]:
    """For each of our rows, in what its numbers are not of the paper's kind."""
    said: dict[str, dict[str, None]] = {}
    for beside in cells:
        cell = beside.cell
        for ours in beside.ours:
            key = f"{cell.benchmark}, {ours.name} beside {cell.method}: {_unlike([ours])}"
            said.setdefault(key, {})[_label(cell.metric)] = None
    yield from (f"{key} ({', '.join(metrics)})." for key, metrics in said.items())


def _unlike(ours: Iterable[Ours]) -> str:
    found = list(ours)
    differs = dict.fromkeys(said for one in found for said in differing(one.aspects))
    unknown = dict.fromkeys(said for one in found for said in open_ones(one.aspects))
    first = f"differs in {'; '.join(differs)}" if differs else "differs in nothing that is known"
    return f"{first}. Cannot be told: {'; '.join(unknown)}" if unknown else first


# --- tables -----------------------------------------------------------------------------------------


def against_tables(found: AgainstPaper) -> list[PaperTable]:
    """Each of the paper's tables whose benchmarks are here too, its rows and ours one below the other."""
    return list(_tables(found).values())


def _tables(found: AgainstPaper) -> dict[int, PaperTable]:
    return {table: _table(found, table) for table in TITLES if _shown(found, table)}


def _shown(found: AgainstPaper, table: int) -> list[Beside]:
    return [one for one in found.cells if one.cell.table == table and one.cell.benchmark in found.benchmarks]


def _table(found: AgainstPaper, table: int) -> PaperTable:
    cells = _shown(found, table)
    metrics = list(dict.fromkeys(one.cell.metric for one in cells))
    metrics.sort(key=lambda metric: int(metric.partition("@")[2] or 0))
    sections = [
        Section(
            title=benchmark, rows=tuple(_rows([c for c in cells if c.cell.benchmark == benchmark], metrics))
        )
        for benchmark in dict.fromkeys(one.cell.benchmark for one in cells)
    ]
    return PaperTable(
        key=f"against_paper_{table}",
        title=TITLES[table],
        columns=tuple(map(_label, metrics)),
        sections=tuple(sections),
        caption=tuple(_caption(found, table, cells)),
        data=against_csv(replace(found, cells=tuple(c for c in found.cells if c.cell.table == table))),
    )


def _label(metric: str) -> str:
    return column_label(metric, _FROM_0_TO_100)


def _rows(cells: Sequence[Beside], metrics: Sequence[str]) -> Iterator[TableRow]:
    for method in dict.fromkeys(one.cell.method for one in cells):
        own = {one.cell.metric: one for one in cells if one.cell.method == method}
        yield TableRow(name=f"{method}, paper", cells=tuple(_published(own.get(m)) for m in metrics))
        for name in dict.fromkeys(ours.name for one in own.values() for ours in one.ours):
            pairs = {metric: _ours_of(one, name) for metric, one in own.items()}
            yield TableRow(name=f"{name}, here", cells=tuple(_here(pairs.get(m)) for m in metrics))
            yield TableRow(name="difference", cells=tuple(_apart(own.get(m), pairs.get(m)) for m in metrics))


def _ours_of(beside: Beside, name: str) -> Ours | None:
    return next((ours for ours in beside.ours if ours.name == name), None)


def _published(beside: Beside | None) -> Cell:
    if beside is None:
        return Cell()
    return Cell(text=beside.cell.printed, mark=Mark.NOT_HELD if beside.beaten_by else Mark.NONE)


def _here(ours: Ours | None) -> Cell:
    if ours is None:
        return Cell()
    places = digits(ours.interval, ours.unit)
    return Cell(text=number(ours.value, ours.unit, places), below=_range(ours, 0.0, places, signed=False))


def _apart(beside: Beside | None, ours: Ours | None) -> Cell:
    if beside is None or ours is None:
        return Cell()
    places = min(digits(ours.interval, ours.unit), _PAPER_PLACES)
    delta = scaled(ours.value, ours.unit) - beside.cell.value
    text = number(delta, _FROM_0_TO_100, places, signed=True)
    return Cell(text=text, below=_range(ours, beside.cell.value, places, signed=True))


def _range(ours: Ours, less: float, places: int, *, signed: bool) -> str:
    """The interval of our number, less another one."""
    if ours.interval is None:
        return ""
    ends = (scaled(end, ours.unit) - less for end in (ours.interval.low, ours.interval.high))
    return f"[{', '.join(number(end, _FROM_0_TO_100, places, signed=signed) for end in ends)}]"


def _caption(found: AgainstPaper, table: int, cells: Sequence[Beside]) -> Iterator[str]:
    number_of, _, what = TITLES[table].partition(": ")
    benchmarks = list(dict.fromkeys(one.cell.benchmark for one in cells))
    yield f"Ours beside {number_of} of {SOURCE} ({what}) on {', '.join(benchmarks)}. {_DIFFERENCE}"
    yield from _reservations(found, cells)
    for benchmark in benchmarks:
        if ours := [own for one in cells if one.cell.benchmark == benchmark for own in one.ours]:
            yield f"On {benchmark} how it was measured {_unlike(ours)}."


def _reservations(found: AgainstPaper, cells: Sequence[Beside]) -> Iterator[str]:
    yield from interval_said(ours.interval for one in cells for ours in one.ours)
    if any(one.beaten_by for one in cells):
        yield f"{NOT_HELD}: in the paper's own numbers another of its methods is as good or better here."
    if not any(one.ours for one in cells):
        yield "Nothing of ours stands for one of its methods."
    absent = dict.fromkeys(one.cell.benchmark for one in found.cells)
    if lacking := [name for name in absent if name not in found.benchmarks]:
        yield f"Not sampled here, so not shown: {', '.join(lacking)}."


# --- CSV --------------------------------------------------------------------------------------------


def against_csv(found: AgainstPaper) -> bytes:
    """A row for every number of ours beside a cell, or for the cell alone; all numbers are from 0 to 100."""
    return csv_table(_COLUMNS, (row for one in found.cells for row in _csv_rows(one)))


def _csv_rows(beside: Beside) -> Iterable[dict[str, Any]]:
    cell = beside.cell
    own = {
        "table": cell.table,
        "benchmark": cell.benchmark,
        "method": cell.method,
        "metric": cell.metric,
        "published": cell.printed,
        "headline": f"does not hold against {', '.join(beside.beaten_by)}" if beside.beaten_by else "",
    }
    return [own | _csv_of(cell.value, ours) for ours in beside.ours] or [own]


def _csv_of(published: float, ours: Ours) -> dict[str, Any]:
    value = scaled(ours.value, ours.unit)
    return {
        "ours": ours.name,
        "value": value,
        "unit": "0 to 100",
        "difference": value - published,
        **_csv_interval(published, ours.interval, ours.unit),
        "differs": "; ".join(differing(ours.aspects)),
        "not_known": "; ".join(open_ones(ours.aspects)),
    }


def _csv_interval(published: float, interval: Interval | None, unit: Unit) -> dict[str, Any]:
    if interval is None:
        return {}
    low, high = scaled(interval.low, unit), scaled(interval.high, unit)
    apart = {"difference_low": low - published, "difference_high": high - published}
    return {"low": low, "high": high, "level": interval.level, "interval": interval.kind, **apart}
