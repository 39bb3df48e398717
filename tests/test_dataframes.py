"""Responses in a pandas frame: the numbers of the command line, in whatever order, or one clear sentence."""

import io
import json
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from builders import group, problem
from pandas.testing import assert_frame_equal
from test_training_runs import steps, trained

import opo_eval
from opo_eval.audit import AuditOptions, audit_file
from opo_eval.cli import run
from opo_eval.compare import ComparedRuns, CompareOptions, compare_runs
from opo_eval.dataframes import MeasuredFrame, measure_frame, training_frame
from opo_eval.errors import InputError, UsageError
from opo_eval.measure import MeasureOptions
from opo_eval.metrics import METRICS, MetricSettings, measure_groups
from opo_eval.records import Verdict
from opo_eval.report.data import differences_csv, metrics_csv
from opo_eval.report.views import benchmark_views
from opo_eval.store import find_runs

WORDS = [
    "so",
    "we",
    "add",
    "and",
    "find",
    "that",
    "the",
    "sum",
    "of",
    "both",
    "is",
    "what",
    "we",
    "asked",
    "for",
]
MAPPED = {
    "problem": "question", "response": "text", "gold": "answer", "checkpoint": "model", "benchmark": "set",
    "n_tokens": "length", "finish": "end", "tags": "level",
}  # fmt: skip
SCORED = {"problem": "question", "score": "correct", "checkpoint": "model"}


def rows() -> list[dict[str, Any]]:
    """Two checkpoints on two benchmarks of five problems, four responses each, some of them cut."""
    rng = np.random.default_rng(3)
    found = []
    for model, right in (("sft", 0.4), ("opo", 0.7)):
        for number in range(10):
            for _ in range(4):
                correct = rng.random() < right
                said = " ".join(rng.choice(WORDS, 12))
                answer = rf"\boxed{{{2 * number + (0 if correct else int(rng.integers(1, 4)))}}}"
                cut = rng.random() < 0.2
                found.append(
                    {
                        "question": f"{number}+{number}",
                        "answer": 2 * number,
                        "text": said if cut else f"{said} {answer}",
                        "model": model,
                        "set": "easy" if number % 2 else "hard",
                        "level": str(number % 3),
                        "length": None if rng.random() < 0.1 else int(rng.integers(10, 90)),
                        "end": "length" if cut else "stop",
                        "correct": correct and not cut,
                    }
                )
    return found


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame(rows())


@pytest.fixture(scope="module")
def measured(frame: pd.DataFrame) -> MeasuredFrame:
    return measure_frame(frame, **MAPPED)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same rows as a file, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return path


def compared(*, checkpoints: tuple[str, ...] = ("sft", "opo"), **options: Any) -> ComparedRuns:
    found = sorted(find_runs("runs"), key=lambda at: checkpoints.index(at.manifest.settings.checkpoint.name))
    return compare_runs(found, MeasureOptions(**options), CompareOptions(baseline="sft"), quiet=True)


def from_csv(data: bytes, like: pd.DataFrame) -> pd.DataFrame:
    # As text first: how pandas reads a number may cost its last bit.
    return pd.read_csv(io.BytesIO(data), dtype=str).astype(like.dtypes.to_dict())


def in_order(found: pd.DataFrame) -> pd.DataFrame:
    keys = [name for name in ("benchmark", "b", "checkpoint", "subset", "metric") if name in found]
    return found.sort_values(keys, ignore_index=True)


def value(found: pd.DataFrame, metric: str, checkpoint: str = "sft") -> float:
    (one,) = found[(found.metric == metric) & (found.checkpoint == checkpoint)].value
    return one


# --- the same numbers as the command line -----------------------------------------------------------


def test_the_numbers_are_those_of_import_grade_and_compare(table: Path, measured: MeasuredFrame) -> None:
    columns = [f"{role}={column}" for role, column in MAPPED.items()]
    assert run(["import", str(table), "--map", *columns]) == 0
    assert run(["grade", "runs", "--quiet"]) == 0
    views = benchmark_views(compared())
    assert len(measured.metrics) > 200 and len(measured.metrics.subset.unique()) == 4
    assert_frame_equal(
        in_order(measured.metrics), in_order(from_csv(metrics_csv(views), measured.metrics)), check_exact=True
    )
    differences = measured.differences("sft")
    assert differences.p_adjusted.notna().sum() == 2 * 5 and differences.reading.nunique() > 1
    assert_frame_equal(
        in_order(differences), in_order(from_csv(differences_csv(views), differences)), check_exact=True
    )


def test_scores_are_verdicts_as_in_an_imported_table(table: Path, frame: pd.DataFrame) -> None:
    columns = {**MAPPED, "score": "correct"}
    assert run(["import", str(table), "--map", *(f"{role}={name}" for role, name in columns.items())]) == 0
    measured = measure_frame(frame, options=MeasureOptions(rep_order=3, smooth="method1"), **columns)
    views = benchmark_views(compared(rep_order=3, smooth="method1"))
    expected = from_csv(metrics_csv(views), measured.metrics)
    assert_frame_equal(in_order(measured.metrics), in_order(expected), check_exact=True)
    assert measured.metrics.signature.str.contains("grader:[source:correct]", regex=False).any()


def test_texts_are_measured_as_an_audit_measures_them(table: Path, frame: pd.DataFrame) -> None:
    families = ["self_bleu", "repetition", "distinct_n"]
    found = measure_frame(frame, problem="question", response="text", checkpoint="model", metrics=families)
    audited = audit_file(table, text="text", group="question", by="model", options=AuditOptions(), quiet=True)
    expected = {
        (row.checkpoint, row.metric): row.value
        for of in audited.tables
        for row in of.rows
        if row.family in families
    }
    assert {(r.checkpoint, r.metric): r.value for r in found.metrics.itertuples()} == expected


# --- what it takes ----------------------------------------------------------------------------------


def test_pass_at_k_takes_a_problem_and_a_score() -> None:
    right = [3, 0, 1, 4, 2]
    frame = pd.DataFrame({"problem": q, "ok": i < c} for q, c in enumerate(right) for i in range(4))
    found = measure_frame(frame, score="ok", metrics=["pass@k"]).metrics
    assert found.metric.tolist() == ["pass@1", "pass@2", "pass@3", "pass@4"]
    for k in (1, 2, 3, 4):
        expected = np.mean([1 - comb(4 - c, k) / comb(4, k) for c in right])
        assert value(found, f"pass@{k}", "frame") == pytest.approx(expected, abs=1e-12)


def test_without_responses_nothing_is_measured_that_looks_at_them() -> None:
    """What needs no text is the same whatever the texts are; all else says that it does."""
    verdicts = [Verdict.CORRECT, Verdict.WRONG, Verdict.CORRECT, Verdict.WRONG]
    long = ["one two three four five six one two three four five six seven" + " x" * i for i in range(4)]
    values = []
    for texts in (["", "", "", ""], long):
        groups = [group(problem(i), texts, verdicts, extracted=str(i)) for i in range(3)]
        free = {name: metric for name, metric in METRICS.items() if not metric.needs_scores}
        table = measure_groups(groups, MetricSettings(n=4), free)
        values.append({(row.family, row.metric): row.value for row in table.rows})
    empty, full = values
    differ = {
        family for family, name in empty | full if empty.get((family, name)) != full.get((family, name))
    }
    assert differ == {name for name, metric in METRICS.items() if metric.needs_text}


def test_verdicts_may_be_those_of_grade_answers(frame: pd.DataFrame, measured: MeasuredFrame) -> None:
    outcomes = opo_eval.grade_answers([str(gold) for gold in frame.answer], list(frame.text))
    named = frame.assign(verdict=[outcome.verdict for outcome in outcomes])
    assert set(named.verdict) == {"correct", "wrong", "no_answer"}
    columns = {key: MAPPED[key] for key in ("problem", "checkpoint", "benchmark")}
    found = measure_frame(named, score="verdict", metrics=["mean", "no_answer"], **columns).metrics
    whole = measured.metrics.query("subset == 'all' and metric in ['mean@4', 'no_answer']")
    shared = ["checkpoint", "benchmark", "metric", "value", "low", "high", "n_problems"]
    assert_frame_equal(found[shared], whole[shared].reset_index(drop=True), check_exact=True)


def test_a_column_that_is_usually_the_golds_is_not_looked_at_where_nothing_is_graded(
    frame: pd.DataFrame,
) -> None:
    own = frame.assign(answer=frame.text.str[-3:])
    found = measure_frame(own, **SCORED, metrics="mean").metrics
    assert value(found, "mean@4") == pytest.approx(own[own.model == "sft"].correct.mean())


def test_a_row_may_hold_a_list_of_responses(frame: pd.DataFrame) -> None:
    lists = frame.groupby(["model", "question"], sort=False).agg(list).reset_index()
    columns = {**SCORED, "response": "text", "metrics": ["mean", "characters"]}
    assert_frame_equal(measure_frame(lists, **columns).metrics, measure_frame(frame, **columns).metrics)


@pytest.mark.parametrize("dtype", ["boolean", "Int64", "category", "object", "string"])
def test_cells_may_be_of_any_type_that_pandas_has(frame: pd.DataFrame, dtype: str) -> None:
    scores = frame.correct.astype(int) if dtype == "Int64" else frame.correct
    cells = frame.assign(correct=scores.astype(dtype), model=frame.model.astype("category"))
    expected = measure_frame(frame, **SCORED, metrics="pass@k").metrics
    assert_frame_equal(measure_frame(cells, **SCORED, metrics="pass@k").metrics, expected)


# --- order and gaps ---------------------------------------------------------------------------------


def test_a_shuffled_frame_gives_the_same(frame: pd.DataFrame, measured: MeasuredFrame) -> None:
    some = {**MAPPED, "metrics": ["pass@k", "self_bleu", "tokens"]}
    shuffled = measure_frame(frame.sample(frac=1, random_state=5), **some)
    kept = measured.metrics[measured.metrics.family.isin(some["metrics"])].reset_index(drop=True)
    assert_frame_equal(shuffled.metrics, kept, check_exact=True)
    in_frame = measure_frame(frame, **some).differences("sft")
    assert_frame_equal(shuffled.differences("sft"), in_frame, check_exact=True)


def test_numbers_of_responses_say_which_are_compared(frame: pd.DataFrame) -> None:
    numbered = frame.assign(draw=frame.groupby(["model", "question"]).cumcount(ascending=False))
    options = MeasureOptions(n=2)
    last = frame[numbered.draw < 2].iloc[::-1].reset_index(drop=True)
    texts = {"problem": "question", "response": "text", "checkpoint": "model", "metrics": "self_bleu"}
    found = measure_frame(numbered, **texts, index="draw", options=options).metrics
    assert value(found, "self_bleu") == pytest.approx(
        value(measure_frame(last, **texts).metrics, "self_bleu")
    )


def test_what_is_undefined_has_no_row_and_is_counted(frame: pd.DataFrame) -> None:
    short = frame.assign(text="too short")
    found = measure_frame(
        short, problem="question", response="text", checkpoint="model", metrics="repetition"
    )
    assert found.metrics.empty and list(found.metrics) == list(measure_frame(frame, **SCORED).metrics)
    assert found.undefined.query("metric == 'rep_5'")[["checkpoint", "n_problems"]].values.tolist() == [
        ["sft", 10],
        ["opo", 10],
    ]


def test_what_is_partly_undefined_is_counted(measured: MeasuredFrame, frame: pd.DataFrame) -> None:
    tokens = measured.metrics.query("metric == 'tokens' and subset == 'all'")
    missing = frame[frame.length.isna()].groupby(["set", "model"]).size()
    assert tokens.n_samples_left_out.sum() == missing.sum() > 0


def test_unequal_numbers_of_responses_are_compared_where_n_is_given(frame: pd.DataFrame) -> None:
    less = frame.drop(index=frame.index[:1])
    with pytest.raises(InputError, match=r"not every problem .*has 3 and .* has 4; .*MeasureOptions\(n=3\)"):
        measure_frame(less, **SCORED)
    found = measure_frame(less, **SCORED, metrics="mean", options=MeasureOptions(n=3)).metrics
    assert set(found.metric) == {"mean@3"} and set(found.n) == {3}


def test_clusters_are_tags(frame: pd.DataFrame) -> None:
    exams = frame.assign(exam=frame.level)
    options = MeasureOptions(cluster="exam")
    found = measure_frame(exams, **SCORED, tags=["level", "exam"], metrics="mean", options=options).metrics
    assert set(found[found.subset == "all"].kind) == {"problems like these, drawn by exam"}


# --- refusals ---------------------------------------------------------------------------------------


def cell(frame: pd.DataFrame, column: str, what: Any) -> pd.DataFrame:
    changed = frame.astype({column: object})
    changed.loc[7, column] = what
    return changed


REFUSED = {
    "no problem": (lambda f: f.drop(columns="question"), {"score": "correct"}, r"which responses are to the"),
    "no column": (lambda f: f, {**SCORED, "score": "corect"}, r"no column 'corect' .did you mean 'correct'"),
    "no role": (lambda f: f, {"correct": "correct"}, r"correct= names no column .did you mean 'score'"),
    "no name": (lambda f: f, {**SCORED, "checkpoint": 3}, r"checkpoint=3 is not the name of a column"),
    "no names": (lambda f: f, {**SCORED, "tags": ["level", 3]}, r"tags=.'level', 3. is not the name"),
    "nothing": (lambda f: f[["question"]], {"problem": "question"}, r"nothing to measure: name a column"),
    "no rows": (lambda f: f[:0], SCORED, r"the frame has no rows"),
    "a gap": (lambda f: cell(f, "correct", None), SCORED, r"index 7: score .column 'correct'. is nothing"),
    "NaN": (lambda f: cell(f, "correct", float("nan")), SCORED, r"index 7: score .* is nothing"),
    "half": (lambda f: cell(f, "correct", 0.5), SCORED, r"index 7: score .* is 0.5, .*correct_from="),
    "nobody": (lambda f: cell(f, "model", None), SCORED, r"no checkpoint .column 'model'. in 1 row, .*ex 7"),
    "unasked": (lambda f: cell(f, "question", None), SCORED, r"index 7 names no problem"),
    "no gold": (lambda f: cell(f, "answer", None), MAPPED, r"index 7: gold .* is nothing"),
    "two golds": (lambda f: cell(f, "answer", 5), MAPPED, r"index 7 gives problem '1\+1' the gold '5'"),
    "no text": (lambda f: cell(f, "text", 3), MAPPED, r"index 7: response .* is 3, it has to be text"),
    "index": (lambda f: f, {**SCORED, "index": "correct"}, r"repeats sample \d .*map no column to `index`"),
    "order": (
        lambda f: f.set_axis(["a", 1] * (len(f) // 2)),
        SCORED,
        r"no order among them: frame.reset_index",
    ),
    "twice": (lambda f: pd.concat([f, f[["model"]]], axis=1), SCORED, r"several columns named 'model'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_named(case: str, frame: pd.DataFrame) -> None:
    change, columns, said = REFUSED[case]
    with pytest.raises((InputError, UsageError), match=said) as refused:
        measure_frame(change(frame), **columns)
    assert "--map" not in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"metrics": ["pass@1"]}, r"no 'pass@1' .did you mean 'pass@k'"),
        ({"metrics": ["self_bleu"]}, r"from responses: name their column with response="),
        ({"metrics": ["kl"]}, r"`opo-eval score` gives them"),
        ({"metrics": ["tokens"]}, r"n_tokens="),
        ({"metrics": []}, r"metrics= is empty"),
        ({"options": MeasureOptions(n=5)}, r"fewer than n = 5"),
        ({"options": MeasureOptions(grader="x")}, r"grader='x' chooses among those of a run directory"),
        ({"options": MeasureOptions(cluster="exam")}, r"cluster='exam' is no column .*tags="),
        ({"think": "maybe"}, r"tagged, prefilled, none"),
    ],
)
def test_a_choice_that_cannot_be_had_is_named(choice: dict[str, Any], said: str, frame: pd.DataFrame) -> None:
    with pytest.raises((InputError, UsageError), match=said):
        measure_frame(frame, **SCORED, **choice)


def test_verdicts_are_asked_for_where_there_are_none(frame: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="score=, or golds and responses with gold= and response="):
        measure_frame(frame, problem="question", metrics=["pass@k"])
    with pytest.raises(UsageError, match="give a pandas DataFrame"):
        measure_frame(rows(), **SCORED)  # type: ignore[arg-type]


def test_a_comparison_that_makes_no_sense_is_refused(frame: pd.DataFrame) -> None:
    few = {**SCORED, "metrics": ["mean"]}
    found = measure_frame(frame, **few)
    with pytest.raises(UsageError, match=r"baseline 'sff' is none of the checkpoints .did you mean 'sft'"):
        found.differences("sff")
    with pytest.raises(UsageError, match="family 'pass@9' is no metric"):
        found.differences("sft", family=["pass@9"])
    with pytest.raises(UsageError, match="one checkpoint, 'sft', and nothing to compare it with"):
        measure_frame(frame[frame.model == "sft"], **few).differences("sft")
    with pytest.raises(InputError, match=r"'sft' on 'frame' and 'opo' on 'frame' differ in 1 problem"):
        measure_frame(frame[4:], **few).differences("sft")


# --- training ---------------------------------------------------------------------------------------


def test_steps_of_training_runs_are_one_frame(tmp_path: Path) -> None:
    folders = [trained(tmp_path, f"opo_{seed}", steps(seed)) for seed in (0, 1)]
    found = training_frame(*folders)
    assert found.groupby("training_run").step.apply(list).to_dict() == {
        name: [1, 2, 3, 4] for name in ("opo_0", "opo_1")
    }
    assert found.reward.tolist() == [step.reward for seed in (0, 1) for step in steps(seed)]
