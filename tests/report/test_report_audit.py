"""An audit as a folder: complete, the same byte for byte when rebuilt, and safe with hostile texts."""

import csv
import io
import json
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from markdown_it import MarkdownIt

from opo_eval.audit import Audit, AuditOptions, audit_file
from opo_eval.errors import UsageError
from opo_eval.records import MetricTable, from_dict
from opo_eval.report.audit import audit_sentences, audit_view, write_audit
from opo_eval.report.audit_page import QUOTE_LIMIT, fenced, verdicts

HOSTILE = "`````\n# title\n<script>alert(1)</script> | a | [l](http://x) ~~~ $x$ \x1b[31m \u202e ``` **b**"
FILES = [
    "audit.json", "differences.csv", "figures/metrics.png", "figures/metrics.svg",
    "figures/self_bleu_by_group.png", "figures/self_bleu_by_group.svg", "manifest.json", "metrics.csv",
    "near_duplicates.csv", "per_group.csv", "phrases.csv", "report.md",
]  # fmt: skip


def _rows(hostile: str = "") -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    rows = []
    for model, n_words in (("small", 12), ("large", 400)):
        for i in range(40):
            words = [f"w{w}" for w in rng.integers(n_words, size=40)]
            said = "and they lived happily ever after in the green house"
            text = " ".join(["once", hostile, *words, said])
            rows.append({"model": f"{model}{hostile}", "opening": f"g{i // 4}{hostile}", "story": text})
    rows.append(rows[-1] | {"story": f"but {rows[-1]['story']}"})
    return [*rows, rows[0], rows[0] | {"story": ""}]


def _audit(path: Path, hostile: str = "", **options: Any) -> Audit:
    path.mkdir(exist_ok=True)
    table = path / "stories.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in _rows(hostile)))
    by = options.pop("by", "model")
    columns = {"text": "story", "group": "opening", "by": by}
    return audit_file(table, **columns, options=AuditOptions(**options), quiet=True)


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    return _audit(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module")
def report(audit: Audit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports") / "first"
    write_audit(audit, path, name="first audit")
    return path


def _files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def _csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


# --- what is in it ----------------------------------------------------------------------------------


def test_the_folder_holds_every_file_and_no_leftover(report: Path) -> None:
    assert sorted(_files(report)) == FILES


def test_the_page_says_what_was_audited_and_where_the_rows_went(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert text.startswith(
        "# first audit\n\n83 rows of stories.jsonl: the texts of column story, in groups by opening, "
        "compared by model (small, large). 80 texts are compared, n = 4 of each group; 3 rows are not"
    )
    assert re.search(r"^\| small \| 42 \| 40 \| 1 \| 0 \| 0 \| 1 \| 0 \| 0 \| 0 \| 10 \|$", text, re.M)
    assert re.search(r"^\| large \| 41 \| 40 \| 1 \| 0 \| 0 \| 0 \| 0 \| 0 \| 0 \| 10 \|$", text, re.M)
    assert "95 % over groups like these" in text and "problem" not in text and "checkpoint" not in text


def test_verdicts_name_the_more_diverse_side(audit: Audit, report: Path) -> None:
    said = {sentence.split()[0]: sentence for sentence in verdicts(audit_view(audit))}
    assert list(said) == ["self_bleu", "distinct_4", "compression_ratio", "rep_5", "looping", "characters"]
    assert re.search(
        r"against small: more diverse: large \(-\d+\.\d+ \[.*\] points of 100\)\.$", said["self_bleu"]
    )
    assert "longer: large" in said["characters"] and "small: not distinguishable: large" in said["rep_5"]
    assert "looping (how many texts end in a loop), against small: not distinguishable" in said["looping"]
    assert all(f"- {sentence}"[:40] in (report / "report.md").read_text() for sentence in said.values())


def test_without_a_comparison_a_verdict_is_the_value(tmp_path: Path) -> None:
    audit = _audit(tmp_path / "t", by=None)
    (first, *_) = verdicts(audit_view(audit))
    assert re.fullmatch(r"self_bleu \(how much .* group\): \d+\.\d+ \[.*\] of 100\.", first)
    write_audit(audit, tmp_path / "r", name="r")
    assert "minus" not in (tmp_path / "r" / "report.md").read_text()


def test_phrases_pairs_and_copies_are_shown(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert "| 10 | 41 | 41 | 10 | and they lived happily ever after in the green house |" in text
    assert "| large | 41 | 0 | 1 | 0 | 2 | 4.9 | 0 |" in text and "| small | 41 | 1 |" in text
    assert re.search(r"^\| 0\.9\d+ \| 80 and 81 \| g9 \| once .* \| once .* \| but once .* \|$", text, re.M)
    assert re.search(r"^\| 2 \| 1 \| 1 \| once .* \|$", text, re.M)


def test_tables_for_programs_hold_everything(audit: Audit, report: Path) -> None:
    document = orjson.loads((report / "audit.json").read_bytes())
    assert document["schema"] == "opo_eval.audit/1" and document["n"] == 4 and document["n_rows"] == 83
    assert tuple(from_dict(MetricTable, row) for row in document["tables"]) == audit.tables
    assert document["near_duplicates"]["large"]["n_within"] == 1
    assert document["accounting"]["small"]["blank"] == 1
    assert len(_csv(report / "phrases.csv")) == sum(len(value.findings.phrases) for value in audit.values)
    (pair,) = _csv(report / "near_duplicates.csv")
    assert (pair["value"], pair["row_a"], pair["row_b"]) == ("large", "80", "81")
    values = {(r["checkpoint"], r["metric"]): float(r["value"]) for r in _csv(report / "metrics.csv")}
    assert values == {(r.checkpoint, r.metric): r.value for table in audit.tables for r in table.rows}
    assert {r["problem_id"] for r in _csv(report / "per_group.csv")} == {f"g{i}" for i in range(10)}
    assert len(_csv(report / "differences.csv")) == len(audit.comparisons)


def test_figures_are_embedded_by_paths_that_exist(report: Path) -> None:
    links = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", (report / "report.md").read_text())
    assert links == ["figures/metrics.png", "figures/self_bleu_by_group.png"]
    assert all((report / link).is_file() for link in links)


def test_every_shown_metric_has_its_signature(report: Path, audit: Audit) -> None:
    _, _, signatures = (report / "report.md").read_text().partition("## Signatures")
    for signature in {row.signature for table in audit.tables for row in table.rows}:
        assert signature.replace("|", "\\|").replace(">", "&gt;") in signatures


def test_sentences_for_a_terminal(audit: Audit) -> None:
    first, second, *others = audit_sentences(audit)
    assert first.startswith(
        "small: 42 rows = 40 compared + 1 beyond n + 0 in small groups + 0 alone + 1 blank"
    )
    assert second.endswith("10 groups, n = 4")
    assert others[-6:] == verdicts(audit_view(audit))


# --- written again ----------------------------------------------------------------------------------


def test_rebuilt_from_the_table_every_other_file_is_the_same(report: Path, tmp_path: Path) -> None:
    write_audit(_audit(tmp_path / "again"), tmp_path / "elsewhere", name="first audit")
    first, second = _files(report), _files(tmp_path / "elsewhere")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == ["manifest.json"]


def test_only_the_manifest_holds_a_path_or_a_machine(audit: Audit, report: Path) -> None:
    hidden = [str(Path(audit.path).parent).encode(), platform.platform().encode(), str(report).encode()]
    for name, data in _files(report).items():
        assert name == "manifest.json" or not any(word in data for word in hidden), name
    manifest = orjson.loads((report / "manifest.json").read_bytes())
    assert manifest["audit"]["path"] == audit.path and manifest["audit"]["sha256"] == audit.sha256
    assert manifest["files"].keys() == _files(report).keys() - {"manifest.json"}


def test_an_earlier_audit_is_replaced_with_its_figures(audit: Audit, tmp_path: Path) -> None:
    write_audit(audit, tmp_path, name="r")
    (tmp_path / "notes.txt").write_text("kept")
    table = tmp_path / "one.jsonl"
    table.write_text("".join(json.dumps({"g": "g", "t": f"some words {i} here"}) + "\n" for i in range(3)))
    write_audit(audit_file(table, text="t", group="g", quiet=True), tmp_path, name="r")
    names = _files(tmp_path).keys()
    assert "figures/metrics.png" in names and "figures/self_bleu_by_group.png" not in names
    assert "notes.txt" in names
    assert "No number has an interval" in (tmp_path / "report.md").read_text()


def test_a_folder_of_something_else_is_left_alone(audit: Audit, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schema": "opo_eval.manifest/1"}')
    with pytest.raises(UsageError, match="not of a report"):
        write_audit(audit, tmp_path, name="r")
    assert list(_files(tmp_path)) == ["manifest.json"]


# --- hostile texts ----------------------------------------------------------------------------------


def test_nothing_in_a_text_can_act(tmp_path: Path) -> None:
    write_audit(_audit(tmp_path / "t", HOSTILE), tmp_path / "r", name=HOSTILE)
    text = (tmp_path / "r" / "report.md").read_text()
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or []]
    assert not [t for t in tokens if t.type == "html_block"]
    assert not [t for t in inline if t.type in ("html_inline", "link_open", "code_inline", "strong_open")]
    assert len([t for t in inline if t.type == "image"]) == 2
    headings = [
        tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open" and t.tag != "h3"
    ]
    assert headings[1:] == [
        "Where the rows went", "In short", "Metrics", "Phrases", "Near-duplicates", "Least diverse groups",
        "Signatures",
    ]  # fmt: skip
    assert len([t for t in tokens if t.type == "fence"]) == 2 * 5 * 2
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", text)


@pytest.mark.parametrize("text", ["```", "`" * 50, "a\n```\nb", "~~~\n", "\r\n````\r\n", HOSTILE, "x" * 9999])
def test_a_fence_holds_whatever_stands_in_it(text: str) -> None:
    (token,) = MarkdownIt().parse(fenced(text))
    assert token.type == "fence" and token.content.count("\n") == 1
    assert len(token.content) <= QUOTE_LIMIT + 1


def test_many_values_make_a_whole_report(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"step": step, "g": f"g{i // 2}", "t": " ".join(f"w{w}" for w in rng.integers(50, size=12))}
        for step in range(30)
        for i in range(6)
    ]
    table = tmp_path / "t.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_audit(audit_file(table, text="t", group="g", by="step", quiet=True), tmp_path / "r", name="r")
    text = (tmp_path / "r" / "report.md").read_text()
    assert all(f"### {step} minus 0" in text for step in range(1, 30))
    assert "(0, 1, 2, 3, 4, 5, 6, 7 and 22 more)" in text
