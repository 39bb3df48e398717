"""The paper beside ours: who stands for whom, every cell, and what is not comparable."""

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from report.handmade import interval, step_curve, table
from report.paper_material import settings, views_of

from opo_eval.errors import UsageError
from opo_eval.over_steps import LastMean, OverSteps
from opo_eval.records import MetricTable, RunSettings
from opo_eval.report.paper.against import AgainstPaper, Beside, against_paper, methods_named
from opo_eval.report.paper.against_tables import against_csv, against_section, against_tables
from opo_eval.report.paper.aspects import Aspect, differing, open_ones
from opo_eval.report.paper.marks import Mark
from opo_eval.report.published import published_cells

PASS = {"pass@1": (0.5, 0.4, 0.6), "pass@2": (0.6, 0.5, 0.7)}
SIGNATURE = "pass@k|unbiased|n:all>=8|grader:[strict:1|at:boxed|lenient:5000|math-verify:0.9.0]|sampling:x"


def measured(name: str, benchmark: str = "aime25", **fields: Any) -> MetricTable:
    return table(name, PASS, benchmark=benchmark, **fields)


def beside(
    tables: Sequence[MetricTable], drawn: Sequence[RunSettings], named: Any = None, **fields: Any
) -> AgainstPaper:
    return against_paper(views_of(tables, **fields), drawn, named)


def cell(found: AgainstPaper, table_: int, benchmark: str, method: str, metric: str) -> Beside:
    place = (table_, benchmark, method, metric)
    return next(
        b for b in found.cells if (b.cell.table, b.cell.benchmark, b.cell.method, b.cell.metric) == place
    )


def aspect(found: Beside, name: str) -> Aspect:
    return next(one for one in found.ours[0].aspects if one.name == name)


# --- who stands for whom ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checkpoint", "places"),
    [
        (settings("a", "aime25", method="opo", step=20), {(2, "OPO")}),
        (settings("a", "aime25", method="grpo"), {(1, "On-Policy"), (2, "GRPO")}),
        (settings("a", "aime25", method="grpo_loose"), {(1, "Off-Policy")}),
        (settings("a", "aime25", step=0), {(2, "SFT")}),
        (settings("On-Policy", "aime25"), {(1, "On-Policy")}),
        (settings("a", "aime25", method="rloo"), set()),
    ],
)
def test_records_say_which_method_a_checkpoint_stands_for(checkpoint: RunSettings, places: set) -> None:
    found = beside([measured(checkpoint.checkpoint.name)], [checkpoint])
    assert {(b.cell.table, b.cell.method) for b in found.cells if b.ours} == places
    assert bool(places) != any("No record says of a" in said for said in found.left_out)


def test_a_name_on_the_command_line_goes_before_the_record() -> None:
    drawn = [settings("a", "aime25", method="grpo")]
    found = beside([measured("a")], drawn, methods_named(["paper", "OPO=a"]))
    assert {b.cell.method for b in found.cells if b.ours} == {"OPO"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "begins with no source: give 'paper'"),
        (["deepseek"], "'deepseek' begins with no source"),
        (["paper", "OPO"], "takes METHOD=CHECKPOINT after it, not 'OPO'"),
        (["paper", "OPPO=a"], r"'OPPO' is no method of the paper \(did you mean 'OPO'\?\): 'Off-Policy'"),
        (["paper", "OPO=b"], "'b' is no checkpoint.*: 'a'"),
    ],
)
def test_what_is_not_there_is_one_sentence(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        beside([measured("a")], [], methods_named(words))


def test_a_benchmark_that_the_paper_lacks_is_beside_nothing_and_said() -> None:
    found = beside([measured("a", "sums")], [settings("a", method="opo")])
    assert not any(b.ours for b in found.cells) and len(found.cells) == len(list(published_cells()))
    assert found.left_out == (
        "The paper has no sums, so nothing of it is beside its numbers; its benchmarks are MATH-500, AIME "
        "2024, AIME 2025.",
    )
    assert against_tables(found) == []


# --- in what they differ ----------------------------------------------------------------------------


def test_what_differs_and_what_nobody_can_tell() -> None:
    drawn = settings("a", "aime25", method="opo", max_tokens=8192, start="deepseek-ai/DeepSeek-R1")
    found = cell(beside([measured("a")], [drawn]), 2, "AIME 2025", "OPO", "pass@1")
    said = list(differing(found.ours[0].aspects))
    assert said == [
        "start of training: a model fine-tuned on long reasoning, not named there, DeepSeek-R1 here",
        "problems: 30 there, 4 here",
        "n: 16 there, 8 here",
        "most tokens: 32,768 there, 8,192 here",
        "checkpoints: 5 there, 1 here",
    ]
    assert list(open_ones(found.ours[0].aspects)) == ["template", "think section", "tokens and counting"]


def test_settings_that_are_not_known_are_open() -> None:
    found = cell(beside([measured("a")], [], {"a": "OPO"}), 2, "AIME 2025", "OPO", "pass@1")
    unknown = [a.name for a in found.ours[0].aspects if a.is_open]
    assert {"temperature", "top-p", "most tokens", "start of training", "template"} <= set(unknown)
    assert "temperature: 0.6 there, not known here" in list(open_ones(found.ours[0].aspects))


def test_the_grader_and_how_often_it_disagrees() -> None:
    made = measured("a", counts={"problems": 4, "samples": 32, "correct": 32, "strict_lenient_disagree": 3})
    made = replace(made, rows=tuple(replace(row, signature=SIGNATURE) for row in made.rows))
    found = cell(beside([made], [], {"a": "OPO"}), 2, "AIME 2025", "OPO", "pass@1")
    grader = aspect(found, "grader")
    assert grader.there == "Math-Verify" and grader.differs
    assert grader.here == "strict (3 of 32 verdicts are not Math-Verify's)"


def test_of_diversity_the_paper_states_nothing_but_how_responses_were_drawn() -> None:
    own = table("a", {"self_bleu": (60.0, 55.0, 65.0)}, benchmark="aime25")
    found = cell(beside([own], [], {"a": "OPO"}), 4, "AIME 2025", "OPO", "self_bleu")
    assert {"n", "checkpoints", "tokens and counting"} <= {a.name for a in found.ours[0].aspects if a.is_open}


def test_the_mean_of_five_checkpoints_is_taken_where_there_is_one() -> None:
    steps = (100, 120, 140, 160, 180)
    mean = LastMean(
        benchmark="aime25", series="opo", metric="pass@1", steps=steps, value=0.55,
        interval=interval(0.5, 0.6), difference=None,
    )  # fmt: skip
    curve = step_curve("opo", steps=steps, benchmark="aime25", reference=None)
    tables = [measured(f"opo_step{step}") for step in steps]
    drawn = [settings(f"opo_step{step}", "aime25", method="opo", step=step) for step in steps]
    found = beside(tables, drawn, over_steps=OverSteps(curves=(curve,), means=(mean,)))
    at_1 = cell(found, 2, "AIME 2025", "OPO", "pass@1")
    assert [(ours.name, ours.value) for ours in at_1.ours] == [("opo", 0.55)]
    assert not aspect(at_1, "checkpoints").differs
    at_2 = cell(found, 2, "AIME 2025", "OPO", "pass@2")
    assert [(ours.name, ours.value) for ours in at_2.ours] == [("opo_step180", 0.6)]
    assert aspect(at_2, "checkpoints").here == "1"


# --- in print ---------------------------------------------------------------------------------------


def found_opo() -> AgainstPaper:
    return beside([measured("mine")], [settings("mine", "aime25", method="opo")])


def test_tables_have_the_paper_ours_and_the_difference_below_one_another() -> None:
    (table_1, table_2, *_) = against_tables(found_opo())
    rows = {row.name: row.cells for row in table_2.sections[0].rows}
    assert list(rows) == ["SFT, paper", "GRPO, paper", "OPO, paper", "mine, here", "difference"]
    assert [c.text for c in rows["OPO, paper"]] == ["50.00", "60.88", "70.37", "78.02", "85.33"]
    assert [c.mark for c in rows["OPO, paper"]] == [Mark.NOT_HELD] * 3 + [Mark.NONE] * 2
    assert [(c.text, c.below) for c in rows["mine, here"]][:3] == [
        ("50.0", "[40.0, 60.0]"),
        ("60.0", "[50.0, 70.0]"),
        ("—", ""),
    ]
    assert [(c.text, c.below) for c in rows["difference"]][:2] == [
        ("0.0", "[-10.0, +10.0]"),
        ("-0.9", "[-10.9, +9.1]"),
    ]
    assert "Nothing of ours stands for one of its methods." in table_1.caption
    assert "Not sampled here, so not shown: MATH-500, AIME 2024." in table_2.caption
    said = " ".join(table_2.caption)
    assert said.startswith(
        "Ours beside Table 2 of arXiv 2505.23585v2 (OPO and GRPO, exact on-policy, pass@k) on"
    )
    assert "On AIME 2025 how it was measured differs in problems: 30 there, 4 here; n: 16 there, 8" in said


def test_the_section_says_where_the_headline_fails_and_what_differs() -> None:
    text = "\n".join(against_section(found_opo()))
    assert text.startswith("## Beside the paper")
    assert "marks the 8 cells where the paper's headline" in text
    assert "AIME 2025 pass@1 of OPO in Table 2 (GRPO)" in text
    assert "| AIME 2025 | OPO, paper | 50.00× | 60.88× | 70.37× | 78.02 | 85.33 |" in text
    assert "- AIME 2025, mine beside OPO: differs in problems: 30 there, 4 here; n: 16 there, 8 here;" in text
    assert "(pass@1, pass@2)." in text


def test_the_file_has_every_cell() -> None:
    rows = list(csv.DictReader(io.StringIO(against_csv(found_opo()).decode())))
    assert len(rows) == len(list(published_cells()))
    ours = [row for row in rows if row["ours"]]
    assert [(r["table"], r["metric"], r["published"], r["value"], r["difference"]) for r in ours] == [
        ("2", "pass@1", "50.00", "50.0", "0.0"),
        ("2", "pass@2", "60.88", "60.0", "-0.8800000000000026"),
    ]
    assert ours[0]["headline"] == "does not hold against GRPO"
    assert "n: 16 there, 8 here" in ours[0]["differs"] and "template" in ours[0]["not_known"]
