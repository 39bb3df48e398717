"""A study of gradients as a folder: what it says follows from its numbers, and it is complete."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from builders import grade, problem, write_run
from markdown_it import MarkdownIt

from opo_eval.errors import InputError, UsageError
from opo_eval.records import Verdict
from opo_eval.report.variance import variance_files, variance_sentences, write_variance
from opo_eval.rl.variance import ScoreProducts
from opo_eval.store import RunDir
from opo_eval.variance import VarianceOptions, VarianceStudy, study_variance

N, N_PROBLEMS = 12, 20
SIGNATURE = "projection|temperature:1|dtype:float32|d:800|seed:0"
FILES = [
    "figures/norm_against_length.png", "figures/norm_against_length.svg", "figures/variance_ratios.png",
    "figures/variance_ratios.svg", "manifest.json", "per_problem.csv", "report.md", "samples.csv",
    "variance.csv", "variance.json",
]  # fmt: skip


def _run(path: Path, verdicts: list[list[Verdict]]) -> RunDir:
    problems = [problem(number) for number in range(len(verdicts))]
    run = write_run(path, problems, {p.source_id: ["text"] * N for p in problems})
    with run.writer() as writer:
        for asked, row in zip(problems, verdicts, strict=True):
            writer.append_grades(grade(asked, index, verdict) for index, verdict in enumerate(row))
    return run


def _verdicts(rng: np.random.Generator, chance: float = 0.4) -> list[list[Verdict]]:
    rows = rng.random((N_PROBLEMS, N)) < chance
    return [[Verdict.CORRECT if right else Verdict.WRONG for right in row] for row in rows]


def _products(
    run: RunDir, rng: np.random.Generator, *, exponent: float, factor: float
) -> dict[str, ScoreProducts]:
    """Score vectors of which the squared norm goes as length^exponent, times `factor` where correct."""
    made = {}
    for group in run.groups("g"):
        right = np.array([graded.grade.verdict is Verdict.CORRECT for graded in group.samples])
        lengths = rng.integers(5, 200, size=N)
        vectors = (
            rng.normal(size=(N, 30)) * np.sqrt(lengths**exponent * np.where(right, factor, 1.0))[:, None]
        )
        products = vectors @ vectors.T
        made[group.problem.id] = ScoreProducts.of(group.problem.id, SIGNATURE, lengths.tolist(), products)
    return made


def _study(path: Path, *, exponent: float = 2.0, factor: float = 0.1, **options: int) -> VarianceStudy:
    rng = np.random.default_rng(0)
    run = _run(path, _verdicts(rng))
    products = _products(run, rng, exponent=exponent, factor=factor)
    return study_variance(run, products, VarianceOptions(**{"n_orders": 50} | options), quiet=True)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> VarianceStudy:
    return _study(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def report(study: VarianceStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports") / "first"
    write_variance(study, path, name="first study")
    return path


def _csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def _names(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


# --- what is said -----------------------------------------------------------------------------------


def test_first_it_is_said_what_holds_and_what_does_not(study: VarianceStudy, report: Path) -> None:
    said = variance_sentences(study)
    assert re.match(r"‖∇ log π‖² grows as length to the power (1\.9|2\.0)\d* \(95 %: ", said[0])
    assert said[0].count("longer responses weigh more than OPO assumes (1)") == 2
    assert re.search(r"has 0\.\d+ \(95 %: .* \(smaller\)", said[1]) and "by -" in said[1]
    assert re.search(r"The optimal weighting.*-\d.*: lower; no constant", " ".join(said))
    assert "dr_grpo 0.6667 times as long, at a cosine of 1;" in said[-1]
    text = (report / "report.md").read_text()
    assert text.index("grows as length") < text.index("## Gradients and lengths")


@pytest.mark.parametrize(
    ("exponent", "reading"),
    [(0.2, "longer responses weigh less than OPO assumes"), (1.0, "not distinguishable from the 1 that OPO")],
)
def test_the_reading_of_an_exponent_follows_its_interval(
    tmp_path: Path, exponent: float, reading: str
) -> None:
    assert reading in variance_sentences(_study(tmp_path, exponent=exponent, factor=1.0))[0]


def test_without_both_rewards_nothing_is_claimed_of_baselines(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    run = _run(tmp_path / "run", [[Verdict.WRONG] * N] * N_PROBLEMS)
    products = _products(run, rng, exponent=1.0, factor=1.0)
    made = study_variance(run, products, VarianceOptions(n_orders=5), quiet=True)
    first, second = variance_sentences(made)
    assert "grows as length" in first and "No problem has both correct and other samples" in second
    assert made.n_mixed == 0 and all(own.to_rloo is None for own in made.baselines)
    assert "| rloo | mean of the others | undefined |" in variance_files(made, name="r")["report.md"].decode()


def test_the_table_has_a_row_for_every_baseline(study: VarianceStudy, report: Path) -> None:
    text = (report / "report.md").read_text()
    for own in study.baselines:
        assert text.count(f"| {own.baseline.name} | {own.baseline.meaning} |") == 1
    assert re.search(r"\| rloo \| mean of the others \| \d\.\d+ \[[\d., ]+\] \| 1 \| 1 \| 1 \| 1 \|", text)
    assert re.search(r"\| dr_grpo \|.* \| 1 \| 0\.4444 \| 0\.6667 \| 1 \|", text)


def test_the_method_and_its_error_are_named(report: Path) -> None:
    text = (report / "report.md").read_text()
    assert "gradients: projection\\|temperature:1" in text and "at most 5 % to each" in text
    assert "grader: g" in text and "50 random orders" in text and "groups of 3" in text


def test_without_samples_to_hold_out_it_is_said_why(tmp_path: Path) -> None:
    made = _study(tmp_path, group_size=6)
    text = variance_files(made, name="r")["report.md"].decode()
    assert "There are no held-out baselines: groups of 6 leave none of 12 samples over" in text
    assert len(made.baselines) == 6 and set(made.ratios) == {("opo_loo", "rloo"), ("optimal_loo", "rloo")}


def test_zero_norms_are_named(tmp_path: Path, study: VarianceStudy) -> None:
    text = variance_files(replace(study, fit=replace(study.fit, n_zero=3)), name="r")["report.md"].decode()
    assert "3 samples whose gradient is exactly 0" in text


# --- the folder -------------------------------------------------------------------------------------


def test_the_folder_is_complete_and_its_figures_are_there(report: Path) -> None:
    assert _names(report) == FILES
    links = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", (report / "report.md").read_text())
    assert links == ["figures/norm_against_length.png", "figures/variance_ratios.png"]


def test_every_sample_is_in_the_table_of_samples(study: VarianceStudy, report: Path) -> None:
    rows = _csv(report / "samples.csv")
    assert len(rows) == N * N_PROBLEMS
    some = study.problems[3]
    own = [row for row in rows if row["problem_id"] == some.problem_id]
    assert [int(row["index"]) for row in own] == list(range(N))
    np.testing.assert_allclose([float(row["squared_norm"]) for row in own], some.squared_norms, rtol=1e-6)
    assert [float(row["reward"]) for row in own] == some.rewards.tolist()


def test_tables_for_programs_agree_with_the_study(study: VarianceStudy, report: Path) -> None:
    document = orjson.loads((report / "variance.json").read_bytes())
    assert document["schema"] == "opo_eval.variance/1" and document["fit"]["n_samples"] == N * N_PROBLEMS
    assert document["fit"]["exponent"]["value"] == study.fit.exponent.value
    by_name = {row["baseline"]: row for row in _csv(report / "variance.csv")}
    for own in study.baselines:
        assert float(by_name[own.baseline.name]["to_rloo"]) == own.to_rloo.value
        assert float(by_name[own.baseline.name]["to_none_low"]) == own.to_none.interval.low
    totals = dict.fromkeys(by_name, 0.0)
    for row in _csv(report / "per_problem.csv"):
        totals[row["baseline"]] += float(row["variance"])
    assert totals["opo"] / totals["rloo"] == pytest.approx(float(by_name["opo"]["to_rloo"]), rel=1e-6)


def test_the_same_study_gives_the_same_files(study: VarianceStudy, report: Path) -> None:
    for name, data in variance_files(study, name="first study").items():
        assert (report / name).read_bytes() == data, name


def test_hostile_names_cannot_act(study: VarianceStudy) -> None:
    hostile = "<b>x</b> | [l](http://x) # $y$\n# title"
    made = replace(study, checkpoint=hostile, benchmark=hostile, grader=hostile)
    tokens = (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .parse(variance_files(made, name=hostile)["report.md"].decode())
    )
    inline = [child for token in tokens for child in token.children or []]
    assert not [t for t in inline if t.type in ("html_inline", "link_open", "code_inline")]
    assert len([t for t in tokens if t.type == "heading_open" and t.tag == "h1"]) == 1


def test_a_folder_of_something_else_is_left_alone(study: VarianceStudy, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"schema": "opo_eval.manifest/1"}')
    with pytest.raises(UsageError, match="not of a report"):
        write_variance(study, tmp_path, name="r")


# --- from a run -------------------------------------------------------------------------------------


def test_a_run_that_is_not_graded_is_refused(tmp_path: Path) -> None:
    asked = problem(1)
    run = write_run(tmp_path, [asked], {asked.source_id: ["text"] * N})
    products = {asked.id: ScoreProducts.of(asked.id, "exact", [1] * N, np.eye(N))}
    with pytest.raises(InputError, match="is not graded: run `opo-eval grade"):
        study_variance(run, products, quiet=True)


def test_a_problem_of_which_too_little_was_graded_is_left_out(tmp_path: Path) -> None:
    """Groups of 3 and something to hold out take 7 samples."""
    rng = np.random.default_rng(0)
    rows = _verdicts(rng)
    rows[0][:6] = [Verdict.TIMED_OUT] * 6
    rows[1][:5] = [Verdict.TIMED_OUT] * 5
    run = _run(tmp_path / "run", rows)
    products = _products(run, rng, exponent=1.0, factor=1.0)
    made = study_variance(run, products, VarianceOptions(n_orders=5), quiet=True)
    assert (made.n_unscorable, made.n_problems_left_out, len(made.problems)) == (11, 1, N_PROBLEMS - 1)
    assert len(made.problems[0].rewards) == 7
    assert all(np.isfinite(own.power).all() for own in made.moments)
    nothing = _run(tmp_path / "nothing", [[Verdict.TIMED_OUT] * N] * 2)
    products = _products(nothing, rng, exponent=1.0, factor=1.0)
    with pytest.raises(InputError, match=r"no problem of .* has 7 samples that could be graded"):
        study_variance(nothing, products, quiet=True)


def test_a_sample_without_a_grade_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    run = _run(tmp_path, [row[: N - 1] for row in _verdicts(rng)])
    asked = run.problems()
    products = {p.id: ScoreProducts.of(p.id, "exact", [1] * N, np.eye(N)) for p in asked}
    with pytest.raises(InputError, match="sample 11 of problem p0 is not graded by g"):
        study_variance(run, products, quiet=True)


def test_what_cannot_be_graded_is_left_out_as_in_training_and_counted(tmp_path: Path) -> None:
    row = [Verdict.CORRECT, Verdict.NO_ANSWER, Verdict.TIMED_OUT, Verdict.GRADER_ERROR] + [Verdict.WRONG] * 8
    run = _run(tmp_path, [row] * N_PROBLEMS)
    products = _products(run, np.random.default_rng(0), exponent=1.0, factor=1.0)
    made = study_variance(run, products, VarianceOptions(n_orders=5), quiet=True)
    first = made.problems[0]
    assert first.rewards.tolist() == [1.0] + [0.0] * 9
    assert first.indices == (0, 1, *range(4, N))
    whole = products[first.problem_id]
    assert first.lengths.tolist() == [whole.lengths[place] for place in first.indices]
    np.testing.assert_array_equal(first.products, whole.matrix()[np.ix_(first.indices, first.indices)])
    assert (made.n_unscorable, made.n_problems_left_out, made.n) == (2 * N_PROBLEMS, 0, N)
    assert made.verdicts == {
        "correct": 20,
        "wrong": 160,
        "no_answer": 20,
        "timed_out": 20,
        "grader_error": 20,
    }
