"""Runs measured at a common n, differences on the same problems, and what is refused."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from builders import grade, problem, sample, settings, token_stats, write_run

from opo_eval.compare import ComparedRuns, CompareOptions, compare_runs
from opo_eval.errors import InputError, StoreError, UsageError
from opo_eval.measure import MeasureOptions, choose_grader, measure_run, write_metrics
from opo_eval.records import Comparison, Verdict
from opo_eval.store import RunDir, RunWriter

PROBLEMS = tuple(problem(number, level=str(number % 2)) for number in range(8))


def make(path: Path, correct: Sequence[int], n: int = 4, **options: object) -> RunDir:
    """A graded run in which problem i has `correct[i]` correct of n samples."""
    problems = options.pop("problems", PROBLEMS)
    texts = {p.source_id: [f"answer {i} of {p.prompt}" for i in range(n)] for p in problems}
    run = write_run(path / "run", problems, texts, checkpoint=path.name)
    with run.writer() as writer:
        for p, right in zip(problems, correct, strict=True):
            verdicts = [Verdict.CORRECT if i < right else Verdict.WRONG for i in range(n)]
            writer.append_grades([grade(p, i, v, extracted="1", **options) for i, v in enumerate(verdicts)])
    return run


def difference(compared: ComparedRuns, metric: str) -> Comparison:
    return next(row for row in compared.comparisons if row.metric == metric)


def test_the_difference_is_b_minus_a(tmp_path: Path) -> None:
    a = make(tmp_path / "a", [0, 1, 2, 3, 0, 0, 1, 1])
    b = make(tmp_path / "b", [1, 2, 3, 4, 1, 1, 2, 2])
    found = difference(compare_runs([a, b]), "pass@1")
    assert (found.a, found.b, found.n_problems) == ("a", "b", 8)
    assert (found.value_a, found.value_b) == pytest.approx((0.25, 0.5))
    assert found.delta == pytest.approx(0.25)
    # All 8 problems gained a quarter: nothing varies, so nothing is said of other problems but by the test.
    assert (found.interval, found.mde80) == (None, None)
    assert found.p_value == pytest.approx(2 / 2**8)
    turned = difference(compare_runs([a, b], choices=CompareOptions(baseline="b")), "pass@1")
    assert (turned.a, turned.b, turned.delta) == ("b", "a", pytest.approx(-0.25))


def test_unequal_n_is_compared_at_the_common_n_and_said(tmp_path: Path) -> None:
    compared = compare_runs([make(tmp_path / "a", [1] * 8, n=6), make(tmp_path / "b", [1] * 8, n=4)])
    assert [table.n for table in compared.tables] == [4, 4]
    assert {row.metric for row in compared.tables[0].rows if row.metric.startswith("pass@")} == {
        "pass@1",
        "pass@2",
        "pass@3",
        "pass@4",
    }
    assert compared.notes == (
        "sums: the checkpoints have unequal numbers of samples a problem (a has 6, b has 4); all are "
        "compared at n = 4. What is estimated without bias from all samples (pass@k, pass^k, G-Pass@k, "
        "maj@k) uses all of them, so its tests are approximate here.",
    )


def test_three_checkpoints_are_each_compared_with_the_baseline(tmp_path: Path) -> None:
    runs = [make(tmp_path / name, [i] * 8) for i, name in enumerate("abc")]
    pairs = {(row.a, row.b) for row in compare_runs(runs).comparisons}
    assert pairs == {("a", "b"), ("a", "c")}


def test_a_single_problem_has_a_difference_and_no_interval(tmp_path: Path) -> None:
    runs = [make(tmp_path / name, [i], problems=PROBLEMS[:1]) for i, name in enumerate("ab")]
    found = difference(compare_runs(runs), "pass@1")
    assert found.delta == pytest.approx(0.25) and found.interval is None


def test_other_problems_and_other_golds_are_refused_by_name(tmp_path: Path) -> None:
    a = make(tmp_path / "a", [1] * 8)
    fewer = make(tmp_path / "fewer", [1] * 7, problems=PROBLEMS[1:])
    with pytest.raises(InputError, match=r"differ in 1 problem \(p0\): a comparison needs the same"):
        compare_runs([a, fewer])
    regolded = tuple(type(p)(**{**_fields(p), "answer": "9"}) for p in PROBLEMS)
    other = make(tmp_path / "other", [1] * 8, problems=regolded)
    with pytest.raises(InputError, match=r"differ in 8 golds \(p0, p1, p2 and 5 more\)"):
        compare_runs([a, other])


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__slots__}  # type: ignore[attr-defined]


def test_the_same_checkpoint_twice_is_refused(tmp_path: Path) -> None:
    a, again = make(tmp_path / "a", [1] * 8), make(tmp_path / "x" / "a", [1] * 8)
    with pytest.raises(InputError, match="are both a on sums"):
        compare_runs([a, again])


def test_an_unknown_baseline_is_named(tmp_path: Path) -> None:
    runs = [make(tmp_path / "late", [1] * 8), make(tmp_path / "early", [1] * 8)]
    with pytest.raises(UsageError, match=r"--baseline 'ealry' .*did you mean 'early'"):
        compare_runs(runs, choices=CompareOptions(baseline="ealry"))


def test_unlike_graders_are_said(tmp_path: Path) -> None:
    runs = [make(tmp_path / name, [1] * 8, grader=f"by {name}") for name in "ab"]
    (note,) = compare_runs(runs).notes
    assert "not graded alike (a by by a; b by by b)" in note


def score(run: RunDir, scorer: str, n: int = 4) -> RunDir:
    """The first n samples of every problem."""
    with run.writer() as writer:
        for asked in PROBLEMS:
            stats = [token_stats(asked, i, [0.5] * 10, kl=[0.1] * 10, scorer=scorer) for i in range(n)]
            writer.append_token_stats(stats)
    return run


def scorer(policy: str, reference: str = "start@22222222", dtype: str = "float32") -> str:
    return f"exact|policy:{policy}|reference:{reference}|dtype:{dtype}|vocab:96|prompt:sampled"


def test_each_scored_by_its_own_policy_is_alike(tmp_path: Path) -> None:
    runs = [score(make(tmp_path / name, [1] * 8), scorer(f"{name}@00000000")) for name in "ab"]
    assert compare_runs(runs).notes == ()


def test_unlike_scorers_are_said(tmp_path: Path) -> None:
    scorers = {"a": scorer("a"), "b": scorer("b"), "c": scorer("c", "base@33333333", "bfloat16")}
    runs = [score(make(tmp_path / name, [1] * 8), own) for name, own in scorers.items()]
    assert compare_runs(runs).notes == (
        "sums: the checkpoints were not scored alike (reference start@22222222 (a, b), base@33333333 (c); "
        "dtype float32 (a, b), bfloat16 (c)); differences in entropy, KL and perplexity may come from that.",
    )


def test_what_is_not_scored_beside_what_is_is_said_and_counted(tmp_path: Path) -> None:
    a = score(make(tmp_path / "a", [1] * 8), scorer("a"))
    b = score(make(tmp_path / "b", [1] * 8), scorer("b"), n=1)
    others = [make(tmp_path / name, [1] * 8) for name in "cdefg"]
    compared = compare_runs([a, b, *others])
    assert compared.notes == (
        "sums: not scored, so without entropy, KL and perplexity: c, d, e and 2 more; run `opo-eval score`.",
        "sums: not every sample is scored (b 8 of 32). Entropy, KL and perplexity are of those that are, "
        "which need not be a fair sample of all; `opo-eval score` scores the others, or says why it cannot.",
    )
    kls = {t.checkpoint: row.value for t in compared.tables for row in t.rows if row.metric == "kl"}
    assert kls == pytest.approx({"a": 0.1, "b": 0.1})
    assert compare_runs(others).notes == ()


def test_an_ungraded_run_is_compared_by_its_texts_and_said(tmp_path: Path) -> None:
    texts = {p.source_id: ["one two three", "four five six"] for p in PROBLEMS}
    runs = [write_run(tmp_path / name, PROBLEMS, texts, checkpoint=name) for name in "ab"]
    compared = compare_runs(runs)
    assert difference(compared, "self_bleu_1").delta == 0
    assert not [row for row in compared.comparisons if row.metric.startswith("pass@")]
    assert "a is not graded, so only what needs no grades is shown" in compared.notes[0]


def test_more_samples_than_there_are_is_refused(tmp_path: Path) -> None:
    run = make(tmp_path / "a", [1] * 8)
    with pytest.raises(InputError, match=r"problem p0 has 4 samples of a, fewer than n = 9"):
        measure_run(run, MeasureOptions(n=9))


def test_half_graded_runs_are_refused_with_the_command(tmp_path: Path) -> None:
    run = make(tmp_path / "a", [1] * 8)
    lines = (run.path / "grades.jsonl").read_text().splitlines(keepends=True)
    (run.path / "grades.jsonl").write_text("".join(lines[:-3]))
    with pytest.raises(StoreError, match=r"3 of 4 samples of problem p7 .* run `opo-eval grade"):
        measure_run(run)


def test_a_run_without_samples_says_what_to_do(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", PROBLEMS, {p.source_id: [] for p in PROBLEMS})
    with pytest.raises(InputError, match="has no samples yet: run `opo-eval sample`"):
        measure_run(run)


def test_the_last_grader_counts_unless_one_is_named(tmp_path: Path) -> None:
    run = make(tmp_path / "a", [4] * 8, grader="strict:1")
    with run.writer() as writer:
        writer.append_grades([grade(p, i, Verdict.WRONG, grader="own:f") for p in PROBLEMS for i in range(4)])
    assert choose_grader(run.index(), None) == "own:f"
    assert choose_grader(run.index(), "strict") == "strict:1"
    with pytest.raises(UsageError, match=r"'nobody' fits 0 graders of .* one of: strict:1, own:f"):
        choose_grader(run.index(), "nobody")
    best = {o: measure_run(run, MeasureOptions(grader=o)).rows[0].value for o in ("strict", "own")}
    assert best == {"strict": 1, "own": 0}


def test_metrics_are_written_with_their_schema(tmp_path: Path) -> None:
    run = make(tmp_path / "a", [1] * 8)
    write_metrics(run, measure_run(run))
    assert '"schema": "opo_eval.metrics/1"' in (run.path / "metrics.json").read_text()


def test_problems_that_one_side_lacks_are_left_out_and_said(tmp_path: Path) -> None:
    a = make(tmp_path / "a", [4] * 8)
    texts = {p.source_id: ["x"] * 4 * (i < 3) for i, p in enumerate(PROBLEMS)}
    b = write_run(tmp_path / "b" / "run", PROBLEMS, texts, checkpoint="b")
    with b.writer() as writer:
        writer.append_grades([grade(p, i, extracted="1") for p in PROBLEMS[:3] for i in range(4)])
    compared = compare_runs([a, b])
    assert [len(table.problem_ids) for table in compared.tables] == [3, 3]
    assert "only 3 of 8 problems have samples of every checkpoint (b has 3)" in compared.notes[0]
    assert measure_run(b).counts["problems_without_samples"] == 5


def test_a_metric_is_compared_where_both_sides_define_it(tmp_path: Path) -> None:
    """Self-BLEU needs two texts with words: side a has them on problems 0 to 5, side b on 5 to 7."""
    words = ["one two three four", "one two three five"]
    runs = [
        write_run(
            tmp_path / name,
            PROBLEMS,
            {p.source_id: words if i in defined else ["", ""] for i, p in enumerate(PROBLEMS)},
            checkpoint=name,
        )
        for name, defined in (("a", range(6)), ("b", range(5, 8)))
    ]
    found = difference(compare_runs(runs), "self_bleu_1")
    assert (found.n_problems, found.delta, found.interval) == (1, 0, None)


def test_other_sampling_is_said(tmp_path: Path) -> None:
    texts = {p.source_id: ["one two", "three four"] for p in PROBLEMS}
    runs = []
    for name, temperature in (("a", 1.0), ("b", 0.2)):
        made = settings(PROBLEMS, checkpoint=name, temperature=temperature)
        with RunWriter(tmp_path / name, made, PROBLEMS) as writer:
            for p in PROBLEMS:
                writer.append_samples(
                    sample(p, i, t, checkpoint=name) for i, t in enumerate(texts[p.source_id])
                )
        runs.append(RunDir(tmp_path / name))
    compared = compare_runs(runs)
    assert "b was not made as a was (sampling.temperature was 1.0, now 0.2)" in compared.notes[0]
    assert {row.signature.split("|T:")[1] for row in compared.tables[1].rows} == {
        "0.2|top_p:1|top_k:0|max_tokens:64"
    }


def test_a_benchmark_without_the_baseline_is_not_compared_with_another(tmp_path: Path) -> None:
    other = tuple(problem(number, benchmark="other") for number in range(3))
    runs = [
        make(tmp_path / "base", [1] * 8),
        make(tmp_path / "x", [1] * 8),
        make(tmp_path / "two" / "x", [1] * 3, problems=other),
        make(tmp_path / "two" / "y", [1] * 3, problems=other),
    ]
    compared = compare_runs(runs, choices=CompareOptions(baseline="base"))
    assert {(row.benchmark, row.a, row.b) for row in compared.comparisons} == {("sums", "base", "x")}
    assert "other: the baseline base has no run, so nothing is compared with it." in compared.notes


@pytest.mark.parametrize("n", [0, -1])
def test_an_n_below_one_is_refused(tmp_path: Path, n: int) -> None:
    with pytest.raises(UsageError, match=f"n must be at least 1 sample a problem, not {n}"):
        measure_run(make(tmp_path / "a", [1] * 8), MeasureOptions(n=n))


def test_an_interrupted_regrading_does_not_take_the_place_of_a_complete_one(tmp_path: Path) -> None:
    run = make(tmp_path / "a", [1] * 8, grader="strict:1|limit:5s")
    with run.writer() as writer:
        writer.append_grades([grade(PROBLEMS[0], 0, grader="strict:1|limit:9s")])
    assert choose_grader(run.index(), None) == "strict:1|limit:5s"
    with pytest.raises(StoreError, match="or choose another grader with --grader"):
        measure_run(run, MeasureOptions(grader="limit:9s"))
