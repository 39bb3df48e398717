"""The report for the page: verdicts, warnings, and for each benchmark its tables and figures."""

import base64
import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from opo_eval.records import Comparison
from opo_eval.report.data import arms_csv, differences_csv, metrics_csv, over_steps_csv, per_problem_csv
from opo_eval.report.figures import Drawing
from opo_eval.report.intervals import interval_sentences
from opo_eval.report.names import one_line
from opo_eval.report.page.tables import Cell, Table, main_tables, more_tables
from opo_eval.report.truncation import truncation_warnings
from opo_eval.report.values import reading
from opo_eval.report.verdicts import (
    claim,
    family_sentences,
    main_row,
    overall,
    pairs_not_shown,
    pairs_shown,
    power,
    scope,
    verdict,
)
from opo_eval.report.views import ALL, BenchmarkView

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

_NOTE_LIMIT = 600
_MOST_ROWS = 5000
"""A figure's data with more rows is in the file that is named, not in the page."""
RowsOf = Callable[[Callable[..., bytes]], list[dict[str, str]]]
"""A function of `report.data` → the rows of its file for one benchmark."""
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")


def report_json(
    compared: "ComparedRuns", views: Sequence[BenchmarkView], drawings: Sequence[Drawing]
) -> dict[str, Any]:
    """Everything of the page but the samples."""
    return {
        "scope": scope(compared, views[0].arms),
        "overall": overall(views),
        "verdicts": [line for view in views for line in _verdicts(view)],
        "warnings": truncation_warnings(views),
        "family": list(family_sentences(compared)),
        "notes": [
            *(one_line(note, _NOTE_LIMIT) for note in compared.notes),
            *interval_sentences(views),
        ],
        "sections": [_section(view, place, drawings) for place, view in enumerate(views)],
        "definitions": list(_definitions(views)),
    }


# --- verdicts ---------------------------------------------------------------------------------------


def _verdicts(view: BenchmarkView) -> Iterator[dict[str, Any]]:
    for rows, names, between in pairs_shown(view):
        own = _verdict(rows, names, view, f"On {view.label}{between}, ")
        yield own if between else own | {"a": rows[0].a, "b": rows[0].b}
    for rest in pairs_not_shown(view, "the table of differences"):
        yield _said(view, f"On {view.label}, {rest}")


def _verdict(
    rows: Sequence[Comparison], names: Mapping[str, str], view: BenchmarkView, opening: str
) -> dict[str, Any]:
    main = main_row(rows, view)
    first = f"{claim(main, names)}{power(main, brief=True)}."
    rest = verdict(rows, names, view, brief=True).removeprefix(first).strip()
    return _said(view, f"{opening}{first}", *filter(None, [rest]), reading=reading(main).partition(",")[0])


def _said(view: BenchmarkView, *sentences: str, reading: str = "") -> dict[str, Any]:
    return {"benchmark": view.benchmark, "sentences": sentences, "reading": reading}


def _definitions(views: Sequence[BenchmarkView]) -> Iterator[dict[str, Any]]:
    tables = [table for view in views for table in view.tables]
    for family, text in {name: own for table in tables for name, own in table.definitions.items()}.items():
        parts = (" ".join(part.replace("`", "").split()) for part in text.split("\n\n"))
        yield {"family": family, "text": list(parts)}


# --- benchmarks and their figures -------------------------------------------------------------------


def _section(view: BenchmarkView, place: int, drawings: Sequence[Drawing]) -> dict[str, Any]:
    own = [drawing for drawing in drawings if drawing.benchmark == view.benchmark]
    names, rows = f"b{place}", cache(lambda file: _rows(file([view])))
    return {
        "title": view.label,
        "id": names,
        "tables": list(main_tables(view, names)),
        "more": list(more_tables(view, names)),
        "figures": [_figure(drawing, view, names, rows) for drawing in own if drawing.files],
        "absent": [f"No figure of {_title(d)}: {d.reason}." for d in own if not d.files],
    }


def _title(drawing: Drawing) -> str:
    return drawing.name.replace("_at_", "@").replace("_", " ")


def _figure(drawing: Drawing, view: BenchmarkView, place: str, rows: RowsOf) -> dict[str, Any]:
    image = base64.b64encode(drawing.files[f"{drawing.stem}.svg"]).decode()
    return {
        "id": f"{place}-{drawing.name}",
        "title": f"{_title(drawing)} on {view.label}",
        "image": f"data:image/svg+xml;base64,{image}",
        "data": _data(drawing, view, rows),
    }


def _data(drawing: Drawing, view: BenchmarkView, rows_of: RowsOf) -> Table:
    """What the figure shows: its own CSV file where it has one, else the report's rows behind it."""
    if drawing.name in _OF_SAMPLES:
        return {"samples": view.benchmark}
    own = drawing.files.get(f"{drawing.stem}.csv")
    rows = _rows(own) if own is not None else list(_behind(drawing.name, rows_of))
    columns = [name for name in (rows[0] if rows else {}) if any(row[name] not in ("", ALL) for row in rows)]
    note = f"{len(rows):,} rows; the first {_MOST_ROWS:,} are here." if len(rows) > _MOST_ROWS else ""
    cells = [[_cell(row[name]) for name in columns] for row in rows[:_MOST_ROWS]]
    return {"title": "", "columns": columns, "rows": cells, "note": note}


def _rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


_OF_SAMPLES = {"lengths", "truncation"}
"""Figures of single samples, of which the page has every number already."""


def _behind(name: str, rows_of: RowsOf) -> Iterator[dict[str, str]]:
    """The rows of the report's files that a figure is drawn from."""
    file, wanted = _BEHIND.get(name, (metrics_csv, {"subset": ALL}))
    for row in rows_of(file):
        if all(re.fullmatch(pattern, row[column]) for column, pattern in wanted.items()):
            yield {column: value for column, value in row.items() if column not in _LEFT_OUT}


_BEHIND: dict[str, tuple[Callable[..., bytes], dict[str, str]]] = {
    "pass_at_k": (metrics_csv, {"subset": ALL, "metric": r"pass@\d+"}),
    "differences": (differences_csv, {}),
    "arm_differences": (arms_csv, {}),
    "over_steps": (over_steps_csv, {}),
    "over_steps_differences": (over_steps_csv, {}),
    "diversity": (metrics_csv, {"subset": ALL, "metric": r"self_bleu|(rep|distinct)_.*"}),
    "diversity_and_accuracy": (metrics_csv, {"subset": ALL, "metric": r"pass@1|self_bleu|rep_\d+"}),
    "kl_against_accuracy": (metrics_csv, {"subset": ALL, "metric": r"pass@1|kl(_t.*)?"}),
    "entropy_along_response": (metrics_csv, {"subset": ALL, "metric": r"(entropy|kl)_tenth_.*"}),
    "solved": (per_problem_csv, {"metric": r"pass@1"}),
    "flips": (per_problem_csv, {"metric": r"pass@1"}),
    "subsets": (metrics_csv, {"metric": r"pass@1"}),
}
"""Figure → the file behind it, and patterns that the values of its columns have; else all metrics."""
_LEFT_OUT = {"benchmark", "family", "signature", "kind", "level", "better", "problem_id"}


def _cell(text: str) -> Cell:
    """A number is shown short and sorted as it is."""
    if not _NUMBER.fullmatch(text):
        return text
    return f"{float(text):.6g}", float(text)
