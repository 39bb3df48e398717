"""The paper's numbers as data: cells as printed, and where its headline does not hold."""

import pytest

from opo_eval.report.published import (
    PublishedCell,
    beaten_by,
    protocol,
    published_cells,
    published_methods,
)

CELLS = {(c.table, c.benchmark, c.method, c.metric): c for c in published_cells()}


def test_every_cell_of_the_four_tables_is_there_once() -> None:
    by_table = {table: sum(key[0] == table for key in CELLS) for table in (1, 2, 3, 4)}
    assert by_table == {1: 28, 2: 42, 3: 12, 4: 12}
    assert len(list(published_cells())) == len(CELLS)
    assert published_methods() == ["Off-Policy", "On-Policy", "SFT", "GRPO", "OPO"]


@pytest.mark.parametrize(
    ("place", "printed"),
    [
        ((1, "AIME 2025", "On-Policy", "pass@16"), "62.66"),
        ((2, "MATH-500", "SFT", "pass@8"), "98.40"),
        ((3, "AIME 2024", "Off-Policy", "rep_5_per_sequence"), "25.71"),
        ((4, "AIME 2025", "OPO", "self_bleu"), "63.20"),
    ],
)
def test_cells_are_as_printed(place: tuple, printed: str) -> None:
    assert CELLS[place].printed == printed
    assert CELLS[place].value == float(printed)


def test_the_headline_fails_where_the_numbers_say_so_and_nowhere_else() -> None:
    """By hand from the tables of arXiv 2505.23585v2, pages 6 and 8."""
    against = {key: beaten_by(cell) for key, cell in CELLS.items() if beaten_by(cell)}
    assert against == {
        (1, "MATH-500", "On-Policy", "pass@8"): ["Off-Policy"],
        (1, "AIME 2025", "On-Policy", "pass@8"): ["Off-Policy"],
        (1, "AIME 2025", "On-Policy", "pass@16"): ["Off-Policy"],
        (2, "AIME 2024", "OPO", "pass@4"): ["SFT"],
        (2, "AIME 2025", "OPO", "pass@1"): ["GRPO"],
        (2, "AIME 2025", "OPO", "pass@2"): ["GRPO"],
        (2, "AIME 2025", "OPO", "pass@4"): ["GRPO"],
        (4, "MATH-500", "OPO", "self_bleu"): ["GRPO"],
    }


def test_how_a_cell_was_measured() -> None:
    graded = protocol(CELLS[2, "AIME 2024", "OPO", "pass@1"])
    assert (graded.problems, graded.n, graded.checkpoints, graded.grader) == (30, 16, 5, "Math-Verify")
    assert protocol(CELLS[2, "AIME 2024", "SFT", "pass@1"]).checkpoints == 1
    diversity = protocol(CELLS[4, "AIME 2024", "OPO", "self_bleu"])
    assert (diversity.n, diversity.grader, diversity.checkpoints) == (None, None, None)


def test_a_cell_of_a_method_that_is_held_to_be_worse_is_beaten_by_none() -> None:
    cell = PublishedCell(table=2, benchmark="AIME 2025", method="GRPO", metric="pass@1", printed="50.21")
    assert beaten_by(cell) == []
