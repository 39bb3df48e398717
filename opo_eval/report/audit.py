"""An audit as a folder: report.md, figures, JSON and CSV, and a manifest."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opo_eval.report.audit_figures import draw_figures
from opo_eval.report.audit_page import audit_markdown, verdicts
from opo_eval.report.data import csv_table, differences_csv, dump, metrics_csv, per_problem_csv
from opo_eval.report.folder import refuse_other_folder, replace_report
from opo_eval.report.names import labels, one_line
from opo_eval.report.views import BenchmarkView
from opo_eval.wording import counted

if TYPE_CHECKING:
    from opo_eval.audit import Audit

SCHEMA = "opo_eval.audit/1"
_PHRASES = ("value", "n_groups", "n_texts", "n_occurrences", "n_tokens", "phrase")
_PAIRS = (
    "value", "similarity", "row_a", "row_b", "group_a", "group_b", "shared", "only_a", "only_b",
)  # fmt: skip


def write_audit(audit: "Audit", path: Path, *, name: str) -> None:
    """Write the report into the folder `path`, as `replace_report` does, with its errors."""
    refuse_other_folder(path)
    made_of = {field: getattr(audit, field) for field in ("path", "sha256", "columns", "options")}
    replace_report(path, audit_files(audit, name=name), {"name": name, "audit": made_of})


def audit_files(audit: "Audit", *, name: str) -> dict[str, bytes]:
    """Every file of the report but the manifest, by its path in the report."""
    view = audit_view(audit)
    drawn, figures = draw_figures(view)
    return {
        "report.md": audit_markdown(name, audit, view, figures).encode(),
        "audit.json": dump(_document(audit)),
        "metrics.csv": metrics_csv([view]),
        "differences.csv": differences_csv([view]),
        "per_group.csv": per_problem_csv([view]),
        "phrases.csv": csv_table(_PHRASES, _phrases(audit)),
        "near_duplicates.csv": csv_table(_PAIRS, _pairs(audit)),
        **drawn,
    }


def audit_sentences(audit: "Audit") -> Iterator[str]:
    """What an audit comes to, for a terminal: where the rows went, what to know, a sentence a metric."""
    view = audit_view(audit)
    for value in audit.values:
        counts = asdict(value.accounting)
        rows, groups = counts.pop("rows"), counts.pop("groups")
        parts = " + ".join(f"{count} {part.replace('_', ' ')}" for part, count in counts.items())
        name = view.checkpoints[value.value]
        yield f"{name}: {counted(rows, 'row')} = {parts}; {counted(groups, 'group')}, n = {audit.n}"
    if audit.n_without_value:
        yield f"rows without a value of {one_line(audit.columns['by'])}: {audit.n_without_value}"
    yield from audit.notes
    yield from verdicts(view)


def audit_view(audit: "Audit") -> BenchmarkView:
    """The audit as what tables and figures are drawn from: a value stands for a checkpoint."""
    benchmark = audit.tables[0].benchmark
    groups = dict.fromkeys(group for table in audit.tables for group in table.problem_ids)
    return BenchmarkView(
        benchmark=benchmark,
        label=one_line(benchmark),
        checkpoints=labels(value.value for value in audit.values),
        tables=audit.tables,
        comparisons=audit.comparisons,
        arm_comparisons=(),
        arms={},
        source_ids={group: group for group in groups},
    )


def _document(audit: "Audit") -> dict[str, Any]:
    """Everything but the texts."""
    return {
        "schema": SCHEMA,
        "file": audit.file,
        "sha256": audit.sha256,
        "columns": audit.columns,
        "options": audit.options,
        "n": audit.n,
        "n_rows": audit.n_rows,
        "n_without_value": audit.n_without_value,
        "notes": audit.notes,
        "accounting": {value.value: value.accounting for value in audit.values},
        "near_duplicates": {value.value: _near(value.findings.near) for value in audit.values},
        "tables": audit.tables,
        "comparisons": audit.comparisons,
    }


def _near(near: Any) -> dict[str, int]:
    return {name: count for name, count in asdict(near).items() if isinstance(count, int)}


def _phrases(audit: "Audit") -> Iterator[dict[str, Any]]:
    for value in audit.values:
        yield from ({"value": value.value} | asdict(phrase) for phrase in value.findings.phrases)


def _pairs(audit: "Audit") -> Iterator[dict[str, Any]]:
    for value in audit.values:
        yield from ({"value": value.value} | asdict(pair) for pair in value.findings.near.pairs)
