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

from opo_eval.arms import Arm
from opo_eval.compare import ComparedRuns, CompareOptions, compare_runs
from opo_eval.errors import UsageError
from opo_eval.metrics import METRICS
from opo_eval.records import Comparison, Manifest, MetricTable, Verdict, from_dict
from opo_eval.report import write_report
from opo_eval.report.markdown import escape
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
    tables = ["differences.csv", "metrics.csv", "metrics.json", "per_problem.csv", "samples.csv"]
    pages = ["definitions.md", "manifest.json", "report.html", "report.md"]
    found = [name for name in _files(report) if not name.startswith("figures/")]
    assert sorted(found) == sorted([*tables, *pages])
    assert {name for name in _files(report) if name.startswith("figures/")} >= set(figures)


def test_the_page_begins_with_whose_training_it_speaks_of_and_what_came_out(report: Path) -> None:
    blocks = (report / "report.md").read_text().split("\n\n")
    assert blocks[0].startswith("This speaks of these training runs (one seed each), not of the method that")
    assert blocks[1] == "# first report"
    assert blocks[2].startswith("2 checkpoints (early, a\\|b&lt;script&gt;) on 1 benchmark: sums (4 problems")
    assert blocks[3] == "## What it comes to"
    assert blocks[4].startswith(
        "- On sums, a\\|b&lt;script&gt; is not distinguishable from early on pass@1: difference +69 points, "
    )
    assert blocks[5].startswith("Between checkpoints, p is adjusted by Holm over 5 tests: 1 benchmark × 5 ")
    assert blocks[6] == "## How to read the numbers"


def test_the_page_says_what_the_counts_say(report: Path, runs: ComparedRuns) -> None:
    text = (report / "report.md").read_text()
    number = r"-?\d+(?:\.\d+)?"
    (low, high) = re.findall(rf"^\| pass@1 \| % \| 25 \[({number}), ({number})\] \| ", text, re.M)[0]
    early = runs.tables[0].rows[0].interval
    assert early and (float(low), float(high)) == (round(100 * early.low), round(100 * early.high))
    assert re.search(r"^\| pass@1 \| 25 \| 94 \| \+69 \[.*\] \| percentage points \| 0\.\d+ \| ", text, re.M)
    assert re.search(r"^\| pass@1 \| % \| early \| 25 \| \[.*\] \| \[.*\] \|", text, re.M)
    assert "| early | 16 | 4 | 12 | 0 | 0 | 0 |" in text
    assert "| a\\|b&lt;script&gt; | 16 | 15 | 1 | 0 | 0 | 0 |" in text
    assert "### By level\n\nLeft out, with fewer than 5 problems each: 3, 5.\n" in text
    assert "[definitions.md](definitions.md)" in text
    assert "<script>" not in text


def test_figures_are_embedded_by_paths_that_exist(report: Path) -> None:
    links = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", (report / "report.md").read_text())
    assert {"figures/pass_at_k_sums.png", "figures/diversity_sums.png"} <= set(links)
    assert all((report / link).is_file() for link in links)


def test_every_family_has_its_definition_and_signatures(report: Path, runs: ComparedRuns) -> None:
    text = (report / "definitions.md").read_text()
    measured = [name for name, metric in METRICS.items() if not metric.needs_scores]
    assert re.findall(r"^## (.*)$", text, re.M) == [escape(name) for name in measured]
    for signature in {r.signature for t in runs.tables for r in t.rows}:
        assert signature.replace("|", "\\|").replace(">", "&gt;") in text
    assert "the chance that at least one of k responses to a problem is correct." in text
    assert (
        "Names: pass@1, pass@2, pass@3, pass@4\n- Unit: %; higher is better\n- Intervals over problems like"
        in text
    )


def test_json_reads_back_as_the_records(report: Path, runs: ComparedRuns) -> None:
    document = orjson.loads((report / "metrics.json").read_bytes())
    assert document["schema"] == "opo_eval.report/1"
    assert tuple(from_dict(MetricTable, row) for row in document["tables"]) == runs.tables
    assert tuple(from_dict(Comparison, row) for row in document["comparisons"]) == runs.comparisons
    assert document["arms"] == document["arm_comparisons"] == []


def test_csv_files_hold_every_row_in_full_precision(report: Path, runs: ComparedRuns) -> None:
    metrics, differences = _rows(report / "metrics.csv"), _rows(report / "differences.csv")
    rows = [row for table in runs.tables for row in table.rows]
    assert [(r["checkpoint"], r["subset"], r["metric"], float(r["value"])) for r in metrics] == [
        (row.checkpoint, row.subset, row.metric, row.value) for row in rows
    ]
    assert {r["checkpoint"] for r in metrics} == {"early", HOSTILE}
    lows = [c.interval.low for c in runs.comparisons if c.interval]
    assert [float(r["low"]) for r in differences if r["low"]] == lows
    by_metric = {r["metric"]: r for r in differences}
    assert by_metric["pass@1"]["reading"] == by_metric["tokens"]["reading"] == "not distinguishable"


def test_csv_files_hold_every_interval_and_test(report: Path, runs: ComparedRuns) -> None:
    metrics, differences = _rows(report / "metrics.csv"), _rows(report / "differences.csv")
    for found, made in zip(metrics, [r for t in runs.tables for r in t.rows], strict=True):
        assert found["family"] == made.family
        for field, prefix in (("interval", ""), ("interval_these", "these_"), ("band", "band_")):
            interval = getattr(made, field)
            expected = [str(interval.low), str(interval.high)] if interval else ["", ""]
            assert [found[f"{prefix}low"], found[f"{prefix}high"]] == expected
    fields = ("p_value", "p_adjusted", "mde80", "problems_needed", "n_train_seeds")
    for found, made in zip(differences, runs.comparisons, strict=True):
        values = [getattr(made, field) for field in fields]
        assert [found[field] for field in fields] == ["" if v is None else str(v) for v in values]
    assert {r["metric"]: r["family"] for r in differences}["rep_5_per_sequence"] == "repetition"


def test_every_sample_has_its_row_and_no_text(report: Path, runs: ComparedRuns) -> None:
    rows = _rows(report / "samples.csv")
    assert list(rows[0]) == [
        "checkpoint", "benchmark", "problem_id", "source_id", "index", "verdict", "finish", "characters",
        "tokens",
    ]  # fmt: skip
    stored = {
        (run.manifest.settings.checkpoint.name, s.problem_id, s.index): (len(s.text), s.n_tokens)
        for run in runs.runs
        for s in run.samples()
    }
    found = {
        (r["checkpoint"], r["problem_id"], int(r["index"])): (int(r["characters"]), int(r["tokens"]))
        for r in rows
    }
    assert found == stored and len(rows) == 32
    correct = [r["source_id"] for r in rows if (r["checkpoint"], r["verdict"]) == ("early", "correct")]
    assert sorted(correct) == ["p1", "p2", "p2", "p3"]


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
    figures = {name for name in _files(tmp_path) if name.startswith("figures/")}
    assert figures >= {"figures/diversity_sums.png", "figures/diversity_sums.svg", "figures/mine.png"}
    assert not any("pass_at_k" in name for name in figures)
    assert (tmp_path / "notes.txt").read_text() == "kept"
    assert "| pass@1 |" not in (tmp_path / "report.md").read_text()


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
    assert "No figure of pass@k: there is no pass@k, because no checkpoint is graded." in text
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
    assert "| pass@1 | % | 50.0 | 50.0 |" in text and "| not tested |" in text
    assert "which is not tested: problems, or clusters of them, are too few or do not vary." in text


def test_several_benchmarks_with_odd_names_have_their_own_files(tmp_path: Path) -> None:
    names = ["a/b", "a b", "A/B", "../x", "[l](u)"]
    text = _page(tmp_path, compared([curve("early", [0.5, 0.6], benchmark=b) for b in names]))
    links = re.findall(r"\]\((figures/[^)]*)\)", text)
    assert len(links) == len(set(links))
    assert sum("pass_at_k" in link for link in links) == len(names)
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
    assert max(map(len, text.splitlines())) < 900
    columns = [line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("|")]
    assert all(count > 2 for count in columns)


def test_forty_checkpoints_make_a_whole_report(tmp_path: Path) -> None:
    names = [f"step_{i}" for i in range(40)]
    tables = [curve(name, [0.1, 0.2, 0.3]) for name in names]
    rows = [comparison("pass@1", (0.1, 0.05, 0.15), a=names[0], b=name) for name in names[1:]]
    text = _page(tmp_path, compared(tables, rows))
    assert text.index("| step_39 | pass@1 | +10.0 [+5.0, +15.0] |") < text.index("## How to read the numbers")
    for name in names[1:]:
        assert f"### {name} minus step_0" in text
        assert f"\n| {name} | 32 | 20 |" in text
    assert (
        "40 checkpoints (step_0, step_1, step_2, step_3, step_4, step_5, step_6, step_7 and 32 more)" in text
    )


# --- arms -------------------------------------------------------------------------------------------


def _arms(directory: Path) -> ComparedRuns:
    arms = {"grpo": ("g0", "g1"), HOSTILE: ("o0", "o1")}
    solved = ((0, 1, 2, 1), (1, 1, 2, 0), (4, 3, 4, 4), (4, 4, 3, 4))
    members = [name for its in arms.values() for name in its]
    runs = [_run(directory / name, name, own) for name, own in zip(members, solved, strict=True)]
    return compare_runs(runs, choices=CompareOptions(arms=arms))


def test_arms_stand_before_checkpoints_and_have_their_own_file(tmp_path: Path) -> None:
    text = _page(tmp_path / "report", _arms(tmp_path / "runs"))
    first, *_ = text.splitlines()
    assert first.startswith(
        "Arms: grpo (2 training seeds), a\\|b&lt;script&gt; (2 training seeds). What compares"
    )
    assert "- On sums, between arms, a\\|b&lt;script&gt; is " in text
    order = ["## What it comes to", "\n## Arms\n", "### sums: a\\|b&lt;script&gt; minus grpo", "\n## sums\n"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    rows = _rows(tmp_path / "report/arms.csv")
    assert {(r["a"], r["b"], r["n_train_seeds"]) for r in rows} == {("grpo", HOSTILE, "2")}
    assert {r["kind"] for r in rows} <= {"training seeds and problems like these", ""}
    assert (
        text.index("\n## Arms\n")
        < text.index("](figures/arm_differences_sums.png)")
        < text.index("\n## sums\n")
    )


def test_an_earlier_report_of_arms_leaves_no_arms_behind(tmp_path: Path) -> None:
    _page(tmp_path / "report", _arms(tmp_path / "runs"))
    _page(tmp_path / "report", compared([table()]))
    assert not (tmp_path / "report/arms.csv").exists()


def test_a_benchmark_that_lacks_a_seed_is_not_compared_and_says_so(tmp_path: Path) -> None:
    arms = (Arm(name="grpo", checkpoints=("a", "b")), Arm(name="opo", checkpoints=("c", "d")))
    text = _page(tmp_path, compared([table("a"), table("c")], arms=arms))
    assert "sums: not compared, since not every seed of two arms has a run on it." in text
