"""Curves over steps and the mean of the last checkpoints: against arithmetic done here, and pair by pair."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import grade, problem, sample, settings, token_stats
from stats.enumerated import every_swap

from opo_eval.compare import ComparedRuns, CompareOptions, compare_runs
from opo_eval.errors import UsageError
from opo_eval.measure import MeasureOptions
from opo_eval.over_steps import ALL_STEPS, LastMean, StepCurve
from opo_eval.records import Checkpoint, Comparison, Finish, Verdict
from opo_eval.report import write_report
from opo_eval.report.figures import FIGURES
from opo_eval.report.over_steps import FIGURES as OVER_STEPS
from opo_eval.store import RunDir, RunWriter

N_PROBLEMS, N = 12, 4
PROBLEMS = tuple(problem(number, exam="ABCD"[number % 4]) for number in range(N_PROBLEMS))
RNG = np.random.default_rng(7)
STEPS = (2, 9, 10, 20, 30, 40)
START = Checkpoint(name="base", path="/models/base")
SOLVED = {step: RNG.integers(0, N + 1, size=N_PROBLEMS) for step in (0, *STEPS)}
"""Step → of each problem how many of its samples are correct; 0: the start."""


def make(path: Path, checkpoint: Checkpoint, solved: np.ndarray, problems=PROBLEMS, cut: int = 0) -> RunDir:
    """A graded run; of each problem the last `cut` samples that are wrong were cut at the limit."""
    made = replace(settings(problems, model_sha256=checkpoint.name), checkpoint=checkpoint)
    with RunWriter(path, made, problems) as writer:
        for asked, right in zip(problems, solved, strict=True):
            for i in range(N):
                finish = Finish.LENGTH if i >= max(right, N - cut) else Finish.STOP
                # Of unequal lengths, some of which repeat themselves: their denominators differ.
                text = f"the answer to {i} and {right} is {asked.prompt} " * int(1 + (right + i) % 3)
                writer.append_samples(
                    [sample(asked, i, text, checkpoint=checkpoint.name, n_tokens=7 + i, finish=finish)]
                )
                verdict = Verdict.CORRECT if i < right else Verdict.WRONG
                writer.append_grades([grade(asked, i, verdict, extracted="1")])
    return RunDir(path)


def step(number: int, run: str = "opo_seed0", **fields: object) -> Checkpoint:
    said = {"method": "opo", "train_seed": 0, "start": "base"} | fields
    return Checkpoint(name=f"{run}_step{number}", step=number, path=f"/t/{run}/step_{number:06d}", **said)


def sweep(
    root: Path, steps: tuple[int, ...] = STEPS, run: str = "opo_seed0", **fields: object
) -> list[RunDir]:
    return [make(root / f"{run}_{number}", step(number, run, **fields), SOLVED[number]) for number in steps]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunDir]:
    root = tmp_path_factory.mktemp("sweep")
    return [make(root / "base", START, SOLVED[0]), *sweep(root)]


@pytest.fixture(scope="module")
def compared(runs: list[RunDir]) -> ComparedRuns:
    return compare_runs(runs)


def curve(compared: ComparedRuns, metric: str = "pass@1") -> StepCurve:
    return next(found for found in compared.over_steps.curves if found.metric == metric)


def mean(compared: ComparedRuns, metric: str = "pass@1") -> LastMean:
    return next(found for found in compared.over_steps.means if found.metric == metric)


# --- curves -----------------------------------------------------------------------------------------


def test_the_start_is_step_0_and_the_steps_follow_in_order(compared: ComparedRuns) -> None:
    found = curve(compared)
    assert [point.step for point in found.points] == [0, *STEPS]
    assert [point.value for point in found.points] == pytest.approx(
        [SOLVED[number].mean() / N for number in (0, *STEPS)]
    )
    assert (found.points[0].checkpoint, found.points[0].delta) == ("base", None)
    assert {c.metric for c in compared.over_steps.curves} == {
        "pass@1", "pass@4", "self_bleu", "rep_5", "tokens", "truncated",
    }  # fmt: skip


# --- entropy and KL ---------------------------------------------------------------------------------


def score(run: RunDir, kl: float, temperatures: tuple[float, ...] = (1.0,)) -> RunDir:
    """Every sample of a run: 10 tokens of which each has so much KL, and twice as much at temperature 0.6."""
    with run.writer() as writer:
        for drawn in run.samples():
            asked = next(p for p in PROBLEMS if p.id == drawn.problem_id)
            for temperature in temperatures:
                entropy = [0.1 * (1 + drawn.index)] * 10
                options = {"kl": [kl if temperature == 1 else 2 * kl] * 10, "temperature": temperature}
                writer.append_token_stats([token_stats(asked, drawn.index, entropy, **options)])
    return run


def scored_sweep(root: Path, *temperatures: float, steps: tuple[int, ...] = (2, 9)) -> list[RunDir]:
    """The start against itself, then steps ever further from it."""
    runs = [make(root / "base", START, SOLVED[0]), *sweep(root, steps)]
    return [score(run, 0.001 * i, temperatures) for i, run in enumerate(runs)]


def test_entropy_and_kl_are_followed_where_every_step_has_them(tmp_path: Path) -> None:
    compared = compare_runs(scored_sweep(tmp_path, 0.6, 1.0))
    assert [c.metric for c in compared.over_steps.curves] == [
        "pass@1", "pass@4", "self_bleu", "rep_5", "entropy", "kl", "tokens", "truncated",
    ]  # fmt: skip
    found = curve(compared, "kl")
    assert [point.step for point in found.points] == [0, 2, 9]
    assert [point.value for point in found.points] == pytest.approx([0.0, 0.001, 0.002])
    assert [point.delta for point in found.points[1:]] == pytest.approx([0.001, 0.002])
    # The start has no divergence from itself on any problem, and the others the same on all: no interval.
    assert [point.interval for point in found.points] == [None] * 3


def test_without_temperature_1_the_lowest_that_all_have_is_followed(tmp_path: Path) -> None:
    compared = compare_runs(scored_sweep(tmp_path, 2.0, 0.6, 10.0))
    assert [c.metric for c in compared.over_steps.curves][4:6] == ["entropy_t0.6", "kl_t0.6"]
    assert [p.value for p in curve(compared, "kl_t0.6").points] == pytest.approx([0.0, 0.002, 0.004])


def test_a_step_that_is_not_scored_leaves_no_curve_and_one_start_that_is_not_no_reference(
    tmp_path: Path,
) -> None:
    base, *steps = scored_sweep(tmp_path / "a", 1.0)
    bare = make(tmp_path / "bare", step(20), SOLVED[20])
    assert not {"kl", "entropy"} & {c.metric for c in compare_runs([base, *steps, bare]).over_steps.curves}
    start = make(tmp_path / "start", START, SOLVED[0])
    found = curve(compare_runs([start, *steps]), "kl")
    assert found.reference is None and [point.step for point in found.points] == [2, 9]


def test_a_kl_of_0_at_step_0_is_drawn_and_reported(tmp_path: Path) -> None:
    compared = compare_runs(scored_sweep(tmp_path / "runs", 1.0))
    write_report(compared, tmp_path / "report", name="r")
    text = (tmp_path / "report/report.md").read_text()
    assert "kl, nats:\n" in text and "| opo_seed0 | 0 | 0.0 | — |" in text
    assert "| opo_seed0 | 2 | 0.00100 | +0.00100 |" in text
    for name in ("over_steps", "over_steps_differences", "kl_against_accuracy"):
        assert (tmp_path / f"report/figures/{name}_sums.svg").stat().st_size


def test_the_order_in_which_runs_are_given_does_not_matter(
    runs: list[RunDir], compared: ComparedRuns
) -> None:
    turned = compare_runs([runs[0], *reversed(runs[1:])])
    assert curve(turned) == curve(compared)


def test_each_step_alone_is_what_the_pair_says(compared: ComparedRuns) -> None:
    pairs = {row.b: row for row in compared.comparisons if row.metric == "pass@1"}
    for point in curve(compared).points[1:]:
        pair = pairs[point.checkpoint]
        assert point.delta == pytest.approx(pair.delta)
        assert point.difference and pair.interval
        assert (point.difference.low, point.difference.high) == pytest.approx(
            (pair.interval.low, pair.interval.high)
        )
        assert point.difference.kind == pair.interval.kind


def test_bands_hold_all_steps_and_contain_each_interval(compared: ComparedRuns) -> None:
    for point in curve(compared).points[1:]:
        assert point.band and point.difference and point.band.kind == f"problems like these, {ALL_STEPS}"
        assert point.band.low < point.difference.low and point.difference.high < point.band.high


def test_a_reference_of_another_kind_is_not_step_0(runs: list[RunDir], tmp_path: Path) -> None:
    other = make(tmp_path / "sft", Checkpoint(name="sft", path="/models/sft"), SOLVED[0])
    found = curve(compare_runs([other, *runs[1:]]))
    assert found.points[0].step == STEPS[0] and found.points[0].delta is not None
    assert found.reference and found.reference.checkpoint == "sft"


def test_without_a_reference_the_first_step_is_what_others_are_compared_with(runs: list[RunDir]) -> None:
    compared = compare_runs(runs[1:])
    found = curve(compared)
    assert [point.delta is None for point in found.points] == [True] + [False] * (len(STEPS) - 1)
    assert mean(compared).difference is not None  # the last five of six: the first is none of them
    assert mean(compare_runs(runs[2:])).difference is None


def test_problems_are_drawn_by_cluster(runs: list[RunDir]) -> None:
    found = compare_runs(runs, MeasureOptions(cluster="exam"))
    point = curve(found).points[1]
    assert point.difference and point.difference.kind == "problems like these, drawn by exam"
    assert point.band is None  # 4 exams are too few
    pair = next(row for row in found.comparisons if (row.b, row.metric) == (point.checkpoint, "pass@1"))
    assert pair.interval and point.difference.low == pytest.approx(pair.interval.low)
    own = mean(found)
    assert own.interval and own.interval.kind.endswith("drawn by exam")


def test_one_step_is_no_curve(runs: list[RunDir]) -> None:
    assert compare_runs(runs[:2]).over_steps.curves == ()


# --- the mean of the last checkpoints ---------------------------------------------------------------


def test_the_mean_of_the_last_five_is_paired_over_problems(compared: ComparedRuns) -> None:
    found = mean(compared)
    last = np.array([SOLVED[number] / N for number in STEPS[-5:]]).mean(axis=0)
    start = SOLVED[0] / N
    assert found.steps == STEPS[-5:] and found.value == pytest.approx(last.mean())
    difference = found.difference
    assert difference and (difference.a, difference.value_a) == ("base", pytest.approx(start.mean()))
    assert difference.b == "opo_seed0, mean of the last 5"
    assert difference.delta == pytest.approx((last - start).mean())
    ones = np.ones(N_PROBLEMS)
    assert difference.p_value == pytest.approx(every_swap((start, ones), (last, ones)))
    # Student's t of the paired differences is what an interval over problems reaches at least.
    half = 2.2009851600916 * (last - start).std(ddof=1) / np.sqrt(N_PROBLEMS)
    assert difference.interval
    assert difference.interval.low <= difference.delta - half + 1e-9
    assert difference.interval.high >= difference.delta + half - 1e-9


def test_the_mean_of_equal_checkpoints_is_no_narrower_than_one(tmp_path: Path) -> None:
    """Five copies of a checkpoint say what one says: its difference and interval, not a fifth of it."""
    base = make(tmp_path / "base", START, SOLVED[0])
    copies = [make(tmp_path / str(i), step(i), SOLVED[20]) for i in range(1, 6)]
    found = compare_runs([base, *copies])
    for metric in ("pass@1", "pass@4", "self_bleu", "rep_5", "tokens"):
        own = mean(found, metric).difference
        pair = next(row for row in found.comparisons if row.metric == metric)
        assert own and (own.delta, own.p_value) == pytest.approx((pair.delta, pair.p_value))
        assert _ends(own) == pytest.approx(_ends(pair))
    row = next(row for row in found.tables[1].rows if row.metric == "pass@1")
    assert mean(found).interval == row.interval


def _ends(row: Comparison) -> tuple[float, float] | None:
    return row.interval and (row.interval.low, row.interval.high)


def test_fewer_checkpoints_than_that_have_no_mean_and_it_is_said(runs: list[RunDir]) -> None:
    few = compare_runs(runs[:4])
    assert few.over_steps.means == ()
    assert "opo_seed0 has 3 checkpoints on sums, so there is no mean of the last 5: " in few.notes[-1]
    assert mean(compare_runs(runs[:4], choices=CompareOptions(last=3))).steps == STEPS[:3]
    off = compare_runs(runs[:4], choices=CompareOptions(last=0))
    assert off.over_steps.means == () and not off.notes
    with pytest.raises(UsageError, match="--last -1 takes no checkpoints"):
        compare_runs(runs, choices=CompareOptions(last=-1))


# --- several training runs --------------------------------------------------------------------------


def test_arms_are_of_the_last_step_that_all_runs_have(tmp_path: Path, runs: list[RunDir]) -> None:
    other = sweep(tmp_path, STEPS[:-1], "opo_seed1", train_seed=1)
    found = compare_runs([*runs, *other])
    (arm,) = found.arms
    assert (arm.name, arm.checkpoints) == ("opo", ("opo_seed0_step30", "opo_seed1_step30"))
    assert "Arms are compared at step 30, the last that all training runs have here." in found.notes
    assert {c.series for c in found.over_steps.curves} == {"opo_seed0", "opo_seed1"}


def test_two_runs_of_one_method_and_seed_are_followed_but_make_no_arm(
    tmp_path: Path, runs: list[RunDir]
) -> None:
    found = compare_runs([*runs, *sweep(tmp_path, run="opo_fast")])
    assert found.arms == () and {c.series for c in found.over_steps.curves} == {"opo_seed0", "opo_fast"}


# --- the report -------------------------------------------------------------------------------------


def test_the_report_shows_them_and_is_the_same_when_rebuilt(
    compared: ComparedRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in FIGURES.keys() - set(OVER_STEPS):
        monkeypatch.delitem(FIGURES, other)
    for name in ("first", "second"):
        write_report(compared, tmp_path / name, name="sweep")
    first, second = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("first", "second")
    )
    manifest = Path("manifest.json")
    assert {k: v for k, v in first.items() if k != manifest} == {
        k: v for k, v in second.items() if k != manifest
    }
    text = first[Path("report.md")].decode()
    section = text.split("## Over steps")[1].split("\n## ")[0]
    assert "The reference is base; training began from it, so it is step 0 of opo_seed0." in section
    assert "figures/over_steps_sums.png" in section and "over_steps_differences_sums.png" in section
    assert section.count("| opo_seed0 | 40 | ") == 6
    assert "it says nothing of what another seed would give" in section
    assert "| opo_seed0 | pass@1 | % | 9, 10, 20, 30, 40 | " in section
    rows = first[Path("over_steps.csv")].decode().splitlines()
    assert len(rows) == 1 + 6 * (1 + len(STEPS))
    assert len(first[Path("last_means.csv")].decode().splitlines()) == 1 + 6
    assert "over_steps" in json.loads(first[Path("metrics.json")])


@pytest.mark.usefixtures("one_figure")
def test_hostile_names_are_escaped(tmp_path: Path) -> None:
    hostile = "a|b<script>$x$"
    runs = sweep(tmp_path, STEPS[:2], hostile)
    write_report(compare_runs(runs), tmp_path / "out", name="x")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| a\\|b&lt;script&gt;\\$x\\$ | 9 | " in text and "<script>" not in text


@pytest.mark.usefixtures("one_figure")
def test_a_report_without_training_runs_says_nothing_of_steps(runs: list[RunDir], tmp_path: Path) -> None:
    write_report(compare_runs(runs[:2]), tmp_path / "out", name="x")
    text = (tmp_path / "out" / "report.md").read_text()
    assert "over steps" not in text.lower()
    assert not (tmp_path / "out" / "over_steps.csv").exists()
