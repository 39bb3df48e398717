"""A report as a folder: complete, the same byte for byte when rebuilt, and safe to write again."""

import csv
import io
import platform
import re
from pathlib import Path

import orjson
import pytest
from builders import grade, problem, sample, settings
from report.handmade import compared, comparison, curve, row, table

from opo_eval.compare import ComparedRuns, compare_runs
from opo_eval.errors import UsageError
from opo_eval.records import Comparison, Manifest, MetricTable, Verdict, from_dict
from opo_eval.report import write_report
from opo_eval.store import RunDir, RunWriter

HOSTILE = "a|b<script>"
PROBLEMS = tuple(problem(i, level="3" if i < 2 else "5") for i in range(4))
TEXTS = ("the answer to it is four, I think", "one two three four five six seven", "no idea at all of it")


def _run(path: Path, checkpoint: str, n_correct: tuple[int, ...], *, graded: bool = True) -> RunDir:
    """4 problems with 4 samples each, the first so many of each correct."""
    with RunWriter(path, settings(PROBLEMS, checkpoint=checkpoint), PROBLEMS) as writer:
        for asked, correct in zip(PROBLEMS, n_correct, strict=True):
            for i in range(4):
                text = f"{TEXTS[i % len(TEXTS)]} {i} \\boxed{{{i}}}"
                writer.append_samples([sample(asked, i, text, checkpoint=checkpoint, n_tokens=5 + i)])
                if graded:
                    verdict = Verdict.CORRECT if i < correct else Verdict.WRONG
                    writer.append_grades([grade(asked, i, verdict, extracted=str(i))])
    return RunDir(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> ComparedRuns:
    root = tmp_path_factory.mktemp("runs")
    early = _run(root / "early", "early", (0, 1, 2, 1))
    return compare_runs([early, _run(root / "late", HOSTILE, (4, 3, 4, 4))])


@pytest.fixture(scope="module")
def report(runs: ComparedRuns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports") / "first"
    write_report(runs, path, name="first report")
    return path


def _files(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


# --- what is in it ----------------------------------------------------------------------------------


def test_the_folder_holds_every_file_and_no_leftover(report: Path) -> None:
    figures = [f"figures/{name}_sums.{s}" for name in ("diversity", "pass_at_k") for s in ("png", "svg")]
    tables = ["differences.csv", "metrics.csv", "metrics.json", "per_problem.csv"]
    assert sorted(_files(report)) == sorted([*figures, *tables, "manifest.json", "report.md"])


def test_the_page_says_what_the_counts_say(report: Path, runs: ComparedRuns) -> None:
    text = (report / "report.md").read_text()
    assert text.startswith(
        "# first report\n\n2 checkpoints (early, a\\|b&lt;script&gt;) on 1 benchmark: sums"
    )
    (bounds,) = re.findall(
        r"^\| pass@1 \| % \| 25 \[(\d+), (\d+)\] \| 93\.8 \[81\.2, 100\.0\] \|$", text, re.M
    )
    early = runs.tables[0].rows[0].interval
    assert early and tuple(map(int, bounds)) == (round(100 * early.low), round(100 * early.high))
    assert re.search(r"^\| pass@1 \| 25 \| 94 \| \+69 \[.*\] \| percentage points \| better \|$", text, re.M)
    assert "| early | 16 | 4 | 12 | 0 | 0 | 0 |" in text
    assert "| a\\|b&lt;script&gt; | 16 | 15 | 1 | 0 | 0 | 0 |" in text
    assert "### By level" in text and "| 3 | early | 2 |" in text
    assert "speak of this run, not of the method" in text
    assert text.count("95 % over problems like these") == 1
    assert "<script>" not in text


def test_figures_are_embedded_by_paths_that_exist(report: Path) -> None:
    links = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", (report / "report.md").read_text())
    assert links == ["figures/pass_at_k_sums.png", "figures/diversity_sums.png"]
    assert all((report / link).is_file() for link in links)


def test_every_shown_metric_has_its_signature(report: Path, runs: ComparedRuns) -> None:
    _, _, signatures = (report / "report.md").read_text().partition("## Signatures")
    for signature in {r.signature for t in runs.tables for r in t.rows}:
        assert signature.replace("|", "\\|").replace(">", "&gt;") in signatures


def test_json_reads_back_as_the_records(report: Path, runs: ComparedRuns) -> None:
    document = orjson.loads((report / "metrics.json").read_bytes())
    assert document["schema"] == "opo_eval.report/1"
    assert tuple(from_dict(MetricTable, row) for row in document["tables"]) == runs.tables
    assert tuple(from_dict(Comparison, row) for row in document["comparisons"]) == runs.comparisons


def test_csv_files_hold_every_row_in_full_precision(report: Path, runs: ComparedRuns) -> None:
    metrics, differences = _rows(report / "metrics.csv"), _rows(report / "differences.csv")
    rows = [row for table in runs.tables for row in table.rows]
    assert [(r["checkpoint"], r["subset"], r["metric"], float(r["value"])) for r in metrics] == [
        (row.checkpoint, row.subset, row.metric, row.value) for row in rows
    ]
    assert {r["checkpoint"] for r in metrics} == {"early", HOSTILE}
    lows = [c.interval.low for c in runs.comparisons if c.interval]
    assert [float(r["low"]) for r in differences if r["low"]] == lows
    by_metric = {r["metric"]: r["reading"] for r in differences}
    assert by_metric["pass@1"] == "better" and by_metric["tokens"] == "not distinguishable"


def test_the_pairs_of_every_problem_give_the_values_back(report: Path, runs: ComparedRuns) -> None:
    pairs = _rows(report / "per_problem.csv")
    assert {r["source_id"] for r in pairs} == {"p0", "p1", "p2", "p3"}
    for made in runs.tables:
        for of in (r for r in made.rows if r.subset == "all"):
            mine = [p for p in pairs if (p["checkpoint"], p["metric"]) == (of.checkpoint, of.metric)]
            top, bottom = (sum(float(p[side]) for p in mine) for side in ("numerator", "denominator"))
            assert len(mine) == 4 and top / bottom == pytest.approx(of.value, rel=1e-12)


def test_the_manifest_says_how_it_was_made(report: Path, runs: ComparedRuns) -> None:
    manifest = orjson.loads((report / "manifest.json").read_bytes())
    assert manifest["schema"] == "opo_eval.report_manifest/1"
    assert manifest["provenance"]["created"]
    assert [row["path"] for row in manifest["runs"]] == [str(run.path) for run in runs.runs]
    assert [from_dict(Manifest, row["manifest"]) for row in manifest["runs"]] == [
        run.manifest for run in runs.runs
    ]
    assert manifest["runs"][0]["manifest"]["settings"]["dataset_sha256"]
    assert manifest["files"].keys() == _files(report).keys() - {"manifest.json"}


# --- written again ----------------------------------------------------------------------------------


def test_rebuilt_from_the_same_runs_every_other_file_is_the_same(
    report: Path, runs: ComparedRuns, tmp_path: Path
) -> None:
    again = compare_runs([RunDir(run.path) for run in runs.runs])
    write_report(again, tmp_path / "elsewhere", name="first report")
    first, second = _files(report), _files(tmp_path / "elsewhere")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] in ([], ["manifest.json"])


def test_no_other_file_holds_a_path_or_a_machine(report: Path, runs: ComparedRuns) -> None:
    hidden = [str(runs.runs[0].path.parent).encode(), platform.platform().encode(), str(report).encode()]
    for name, data in _files(report).items():
        assert name == "manifest.json" or not any(word in data for word in hidden), name


def test_an_earlier_report_is_replaced_with_its_figures(tmp_path: Path) -> None:
    write_report(compared([curve("early", [0.5, 0.6])]), tmp_path, name="r")
    (tmp_path / "figures" / "mine.png").write_bytes(b"kept")
    (tmp_path / "notes.txt").write_text("kept")
    write_report(compared([table("early", {"rep_5": (0.1, 0.05, 0.2)})]), tmp_path, name="r")
    figures = {"figures/diversity_sums.png", "figures/diversity_sums.svg", "figures/mine.png"}
    assert {name for name in _files(tmp_path) if name.startswith("figures/")} == figures
    assert (tmp_path / "notes.txt").read_text() == "kept"
    assert "pass@1" not in (tmp_path / "report.md").read_text()


def test_only_figures_are_removed_whatever_the_manifest_lists(tmp_path: Path) -> None:
    report = tmp_path / "report"
    write_report(compared([curve("early", [0.5, 0.6])]), report, name="r")
    (tmp_path / "precious.png").write_bytes(b"kept")
    manifest = orjson.loads((report / "manifest.json").read_bytes())
    for name in ("../precious.png", str(tmp_path / "precious.png"), "figures/../../precious.png"):
        manifest["files"][name] = ""
    (report / "manifest.json").write_bytes(orjson.dumps(manifest))
    write_report(compared([curve("early", [0.5, 0.6])]), report, name="r")
    assert (tmp_path / "precious.png").read_bytes() == b"kept"


def test_a_run_directory_is_never_overwritten(tmp_path: Path) -> None:
    run = _run(tmp_path / "run", "early", (1, 1, 1, 1))
    before = _files(run.path)
    with pytest.raises(UsageError, match=r"holds a manifest of 'opo_eval\.manifest/1', not of a report"):
        write_report(compare_runs([run]), run.path, name="r")
    assert _files(run.path) == before


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("mine")
    with pytest.raises(UsageError, match="is a file: give a report another name"):
        write_report(compared([table()]), tmp_path / "r", name="r")


# --- odd reports ------------------------------------------------------------------------------------


def _page(tmp_path: Path, what: ComparedRuns, name: str = "r") -> str:
    write_report(what, tmp_path, name=name)
    return (tmp_path / "report.md").read_text()


def test_ungraded_runs_have_a_report_that_says_so(tmp_path: Path) -> None:
    runs = [_run(tmp_path / c, c, (0, 0, 0, 0), graded=False) for c in ("early", "late")]
    text = _page(tmp_path / "report", compare_runs(runs))
    assert "early is not graded, so only what needs no grades is shown" in text
    assert "No figure of pass@k on sums: there is no pass@k, because no checkpoint is graded." in text
    assert "| early | 16 | 0 | 0 | 0 | 0 | 0 | 16 |" in text
    assert "| self_bleu |" in text and "| pass@1 |" not in text


def test_problems_without_samples_are_counted(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run", settings(PROBLEMS), PROBLEMS) as writer:
        writer.append_samples([sample(PROBLEMS[0], i, "some words of a text here") for i in range(3)])
        writer.append_samples([sample(PROBLEMS[1], i, "some words of a text here") for i in range(2)])
    text = _page(tmp_path / "report", compare_runs([RunDir(tmp_path / "run")]))
    # n, problems, short of samples, disagreements, truncated, end unknown, empty, without samples
    assert "| c | 2 | 2 | 1 | 0 | 0 | 0 | 0 | 2 |" in text


def test_one_problem_has_numbers_and_no_intervals(tmp_path: Path) -> None:
    tables = [table(c, {"pass@1": (0.5,), "pass@2": (1.0,)}, n=2) for c in ("early", "late")]
    text = _page(tmp_path, compared(tables, [comparison("pass@1", (0.0,))]))
    assert "No number has an interval" in text
    assert "| pass@1 | % | 50.0 | 50.0 |" in text and "no interval |" in text


def test_several_benchmarks_with_odd_names_have_their_own_files(tmp_path: Path) -> None:
    names = ["a/b", "a b", "A/B", "../x", "[l](u)"]
    text = _page(tmp_path, compared([curve("early", [0.5, 0.6], benchmark=b) for b in names]))
    links = re.findall(r"\]\((figures/[^)]*)\)", text)
    assert len(links) == len(set(links)) == len(names)
    assert all((tmp_path / link).is_file() for link in links)
    assert not (tmp_path.parent / "x").exists()


def test_notes_and_long_names_are_escaped_and_bounded(tmp_path: Path) -> None:
    note, name = f"{HOSTILE}\n# not a title", "n" * 500
    tables = [curve("c" * 200, [0.5, 0.6], benchmark=HOSTILE)]
    odd = row(
        "pass@1", (0.5,), benchmark=HOSTILE, subset=f"subject={HOSTILE}\n{HOSTILE}", signature="s" * 9999
    )
    tables.append(table("late", {}, rows=[odd], benchmark=HOSTILE, statistics=()))
    text = _page(tmp_path, compared(tables, notes=[note]), name=name)
    assert "- a\\|b&lt;script&gt; \\# not a title\n" in text
    assert "<script>" not in text
    assert max(map(len, text.splitlines())) < 700
    columns = [line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")]
    assert all(count > 2 for count in columns)


def test_forty_checkpoints_make_a_whole_report(tmp_path: Path) -> None:
    names = [f"step_{i}" for i in range(40)]
    tables = [curve(name, [0.1, 0.2, 0.3]) for name in names]
    rows = [comparison("pass@1", (0.1, 0.05, 0.15), a=names[0], b=name) for name in names[1:]]
    text = _page(tmp_path, compared(tables, rows))
    for name in names[1:]:
        assert f"### {name} minus step_0" in text
        assert f"\n| {name} | 32 | 20 |" in text
    assert (
        "40 checkpoints (step_0, step_1, step_2, step_3, step_4, step_5, step_6, step_7 and 32 more)" in text
    )
