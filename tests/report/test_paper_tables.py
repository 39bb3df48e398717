"""Tables for a paper: every cell is one of the numbers, and the caption says what they are."""

import csv
import io
from dataclasses import replace

import pytest
from report.handmade import comparison, interval, row, step_curve, table
from report.paper_material import LONG, settings, views_of

from opo_eval.arms import Arm
from opo_eval.over_steps import LastMean, OverSteps
from opo_eval.records import Comparison, MetricTable
from opo_eval.report.figures import NothingToDraw
from opo_eval.report.paper.marks import Mark
from opo_eval.report.paper.table import PaperTable, TableRow
from opo_eval.report.paper.tables import (
    arms_pass_at_k,
    diverse,
    diversity,
    last_checkpoints,
    over_k,
    pass_at_k,
)

EARLY = {"pass@1": (0.5, 0.45, 0.55), "pass@2": (0.6, 0.55, 0.65)}
LATE = {"pass@1": (0.7, 0.65, 0.75), "pass@2": (0.62, 0.57, 0.67)}
COMPARED = (comparison("pass@1", (0.2, 0.1, 0.3)), comparison("pass@2", (0.02, -0.1, 0.14)))


def cells(found: PaperTable) -> dict[tuple[str, str], TableRow]:
    """By benchmark and name."""
    return {(section.title, row.name): row for section in found.sections for row in section.rows}


def texts(found: TableRow) -> list[str]:
    return [cell.text for cell in found.cells]


def data(found: PaperTable) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(found.data.decode())))


def two(early: dict = EARLY, late: dict = LATE, **fields: object) -> list[MetricTable]:
    return [table("early", early, **fields), table("late", late, **fields)]


def test_values_intervals_and_marks() -> None:
    found = pass_at_k(views_of(two(), COMPARED), [])
    assert found.columns == ("pass@1", "pass@2")
    late = cells(found)["sums", "late"]
    assert [(cell.text, cell.below, cell.mark) for cell in late.cells] == [
        ("70.0", "[65.0, 75.0]", Mark.TOLD_APART),
        ("62.0", "[57.0, 67.0]", Mark.NOT_TOLD_APART),
    ]
    assert {cell.mark for cell in cells(found)["sums", "early"].cells} == {Mark.NONE}


def test_the_caption_states_n_problems_sampling_test_and_rule() -> None:
    drawn = [settings("early"), settings("late")]
    said = " ".join(pass_at_k(views_of(two(), COMPARED), drawn).caption)
    assert "sums (4 problems, n = 8)" in said
    assert "Drawn at temperature 0.6, top-p 1, at most 32,768 tokens, prompt template boxed." in said
    assert "In brackets: 95 % intervals over problems like these." in said
    assert "Bold: the best of its column, told apart from early;" in said
    assert "†: the best of its column, but not told apart" in said and "‡" not in said
    assert "sign-flip test, paired over problems, p < 0.05 after Holm over 2 tests" in said
    assert "not of the methods that trained them" in said


def test_settings_that_differ_or_are_not_known_are_said() -> None:
    drawn = [settings("early"), settings("late", temperature=1.0), settings("other", sampling=None)]
    said = " ".join(pass_at_k(views_of(two(), COMPARED), drawn).caption)
    assert "temperature 0.6, 1," in said and "of other runs it is not known" in said
    assert "How the responses were drawn is not known." in pass_at_k(views_of(two(), COMPARED), []).caption


def test_the_file_has_every_number_in_full() -> None:
    rows = data(pass_at_k(views_of(two(), COMPARED), []))
    assert [(r["row"], r["metric"], r["value"], r["mark"]) for r in rows] == [
        ("early", "pass@1", "0.5", ""),
        ("early", "pass@2", "0.6", ""),
        ("late", "pass@1", "0.7", "best"),
        ("late", "pass@2", "0.62", "best, not told apart"),
    ]
    assert (rows[2]["baseline"], rows[2]["difference"], rows[2]["p_adjusted"]) == ("early", "0.2", "0.004")


def test_columns_are_powers_of_two_and_the_largest_k() -> None:
    assert over_k([f"pass@{k}" for k in range(1, 13)]) == [f"pass@{k}" for k in (1, 2, 4, 8, 12)]
    assert over_k([f"pass@{k}" for k in range(1, 257)]) == [f"pass@{k}" for k in (1, 2, 4, 8, 16, 256)]
    names = ["pass@1", "self_bleu_1", "self_bleu", "rep_5", "rep_5_q1", "rep_5_per_sequence", "tokens"]
    assert diverse(names) == ["rep_5", "rep_5_per_sequence", "self_bleu", "tokens"]
    assert diverse(["tokens", "characters"]) == []


def test_repetition_and_diversity_with_the_length_unmarked() -> None:
    values = {"rep_5": (0.1, 0.08, 0.12), "self_bleu": (70.0, 68.0, 72.0), "tokens": (900.0, 880.0, 920.0)}
    lower = {**values, "self_bleu": (60.0, 58.0, 62.0), "tokens": (500.0, 480.0, 520.0)}
    compared = [comparison("self_bleu", (-10.0, -12.0, -8.0)), comparison("tokens", (-400.0, -430.0, -370.0))]
    found = diversity(views_of(two(values, lower), compared), [])
    assert found.columns == ("Rep-5 (%)", "Self-BLEU", "length (tokens)")
    assert texts(cells(found)["sums", "late"]) == ["10.0", "60.0", "500"]
    marks = [cell.mark for cell in cells(found)["sums", "late"].cells]
    assert marks == [Mark.NOT_TESTED, Mark.TOLD_APART, Mark.NONE]


# --- arms and last checkpoints ----------------------------------------------------------------------


def _arm_row(metric: str, bounds: tuple[float, float, float]) -> Comparison:
    kind = {"a": "grpo", "b": "opo", "n_train_seeds": 2}
    return replace(
        comparison(metric, bounds, **kind),
        interval=interval(bounds[1], bounds[2], "training seeds and problems"),
    )


def test_an_arm_is_its_mean_with_the_interval_of_its_difference() -> None:
    arms = (Arm(name="grpo", checkpoints=("g1", "g2")), Arm(name="opo", checkpoints=("o1", "o2")))
    tables = [table(name, EARLY) for name in ("g1", "g2", "o1", "o2")]
    compared = (_arm_row("pass@1", (0.2, 0.1, 0.3)), _arm_row("pass@2", (0.02, -0.1, 0.14)))
    found = arms_pass_at_k(views_of(tables, arms=arms, arm_comparisons=compared), [])
    baseline, other = (cells(found)["sums", name].cells for name in ("grpo", "opo"))
    assert [(cell.text, cell.below) for cell in baseline] == [("50", ""), ("50", "")]
    assert [(cell.text, cell.below, cell.mark) for cell in other] == [
        ("70", "[+10, +30]", Mark.TOLD_APART),
        ("52", "[-10, +14]", Mark.NOT_TOLD_APART),
    ]
    said = " ".join(found.caption)
    assert "A row is the mean over training seeds (grpo: 2, opo: 2)." in said
    assert "In brackets, of the difference: 95 % intervals over training seeds and problems." in said
    assert "Test: Student's t over training seeds and problems" in said
    assert data(found)[-1]["interval_of"] == "difference"


def _mean(metric: str, value: float, difference: Comparison | None) -> LastMean:
    ends = interval(value - 0.05, value + 0.05)
    return LastMean(
        benchmark="sums", series="opo_seed0", metric=metric, steps=(20, 40), value=value, interval=ends,
        difference=difference,
    )  # fmt: skip


def test_means_of_last_checkpoints_stand_below_the_reference_and_are_not_marked() -> None:
    compared = replace(
        comparison("pass@1", (0.3, 0.2, 0.4), b="opo_seed0, mean of the last 2"), p_adjusted=None
    )
    steps = OverSteps(curves=(step_curve(),), means=(_mean("pass@1", 0.8, compared),))
    tables = [table("early", EARLY), table("opo_seed0_step20", LATE), table("opo_seed0_step40", LATE)]
    found = last_checkpoints(views_of(tables, over_steps=steps), [])
    assert [(row.name, texts(row)) for row in found.sections[0].rows] == [
        ("early", ["50.0"]),
        ("opo_seed0", ["80.0"]),
    ]
    assert {cell.mark for cell in found.cells} == {Mark.NONE}
    assert "mean over the last 2 checkpoints" in " ".join(found.caption)
    assert "Nothing is marked" in " ".join(found.caption)


def test_of_a_training_run_a_table_has_the_last_checkpoint_and_the_file_all() -> None:
    steps = OverSteps(curves=(step_curve(),))
    tables = [table("early", EARLY), table("opo_seed0_step20", LATE), table("opo_seed0_step40", LATE)]
    found = pass_at_k(views_of(tables, over_steps=steps), [])
    assert [row.name for row in found.sections[0].rows] == ["early", "opo_seed0_step40"]
    assert "Of a training run its last checkpoint; the others are in the CSV file." in found.caption
    assert {line["row"] for line in data(found)} == {"early", "opo_seed0_step20", "opo_seed0_step40"}


# --- bad input --------------------------------------------------------------------------------------


def test_a_checkpoint_without_grades_has_dashes_and_a_benchmark_without_any_is_left_out() -> None:
    ungraded = table("late", {"tokens": (5.0, 4.0, 6.0)})
    found = pass_at_k(views_of([table("early", EARLY), ungraded]), [])
    assert texts(cells(found)["sums", "late"]) == ["—", "—"]
    with pytest.raises(NothingToDraw, match="no checkpoint has the numbers of this table"):
        pass_at_k(views_of([ungraded]), [])


def test_a_benchmark_that_only_one_side_has() -> None:
    other = table("late", {"pass@1": (0.2, 0.1, 0.3)}, benchmark="primes")
    found = pass_at_k(views_of([*two(), other], COMPARED), [])
    assert texts(cells(found)["primes", "late"]) == ["20", "—"]
    assert ("primes", "early") not in cells(found)
    assert "No run on primes: early." in found.caption


def test_forty_checkpoints_are_shown_in_part_and_written_in_full() -> None:
    tables = [table("early", EARLY), *(table(f"step_{i}", LATE) for i in range(39))]
    found = pass_at_k(views_of(tables), [])
    names = [row.name for row in found.sections[0].rows]
    assert len(names) == 24 and names[0] == "early" and names[-1] == "step_38"
    assert "24 of 40 rows, at even steps; all numbers are in the CSV file." in found.caption
    assert len({line["row"] for line in data(found)}) == 40


def test_long_names_stay_different_and_are_whole_in_the_file() -> None:
    tables = [table(LONG + "a", EARLY), table(LONG + "b", LATE)]
    found = pass_at_k(views_of(tables), [])
    names = [row.name for row in found.sections[0].rows]
    assert len(set(names)) == 2 and max(map(len, names)) <= 32
    assert {line["row"] for line in data(found)} == {LONG + "a", LONG + "b"}


def test_a_single_problem_has_no_interval_and_the_best_is_called_untested() -> None:
    bare = replace(comparison("pass@1", (0.5,)), p_value=None, p_adjusted=None)
    tables = two({"pass@1": (0.5,)}, {"pass@1": (1.0,)}, problem_ids=("p0",))
    found = pass_at_k(views_of(tables, [bare]), [])
    (cell,) = cells(found)["sums", "late"].cells
    assert (cell.text, cell.below, cell.mark) == ("100.0", "", Mark.NOT_TESTED)
    said = " ".join(found.caption)
    assert "sums (1 problem, n = 8)" in said and "In brackets" not in said and "Test:" not in said


@pytest.mark.parametrize(("share", "text"), [(0.0, "0.0"), (1.0, "100.0")])
def test_all_right_or_all_wrong_is_no_win(share: float, text: str) -> None:
    same = replace(comparison("pass@1", (0.0,)), p_value=1.0, p_adjusted=1.0)
    tables = two({"pass@1": (share,)}, {"pass@1": (share,)})
    found = pass_at_k(views_of(tables, [same]), [])
    assert {cell.text for cell in found.cells} == {text}
    assert {cell.mark for cell in found.cells} == {Mark.NOT_TOLD_APART}


def test_one_checkpoint_is_a_table_without_marks() -> None:
    found = pass_at_k(views_of([table("early", EARLY)]), [])
    assert {cell.mark for cell in found.cells} == {Mark.NONE}
    assert "Bold" not in " ".join(found.caption)


def test_numbers_by_subset_are_not_in_the_tables() -> None:
    with_subset = table("early", EARLY, rows=[row("pass@1", (0.1, 0.0, 0.2), subset="level=5")])
    found = pass_at_k(views_of([with_subset, table("late", LATE)], COMPARED), [])
    assert texts(cells(found)["sums", "early"]) == ["50.0", "60.0"]
