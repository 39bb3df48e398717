"""Bold and daggers: a number is the best only where a test against the baseline says so."""

from dataclasses import replace

import pytest
from report.handmade import comparison

from opo_eval.records import Better, Comparison
from opo_eval.report.paper.marks import Mark, marks

HIGHER, LOWER = Better.HIGHER, Better.LOWER


def rows(**p_adjusted: float | None) -> dict[str, Comparison]:
    """With the baseline `early`, better by a tenth, or worse where the name begins with `bad`."""
    found = {}
    for name, p in p_adjusted.items():
        delta = -0.1 if name.startswith("bad") else 0.1
        ends = (delta, delta - 0.05, delta + 0.05)
        found[name] = replace(comparison("pass@1", ends, b=name), p_adjusted=p)
    return found


def test_the_best_is_bold_where_it_is_told_apart_from_the_baseline() -> None:
    values = {"early": 0.5, "late": 0.6, "later": 0.7}
    assert marks(values, HIGHER, rows(late=0.01, later=0.01), "early") == {"later": Mark.TOLD_APART}


def test_the_best_has_a_dagger_where_it_is_not() -> None:
    values = {"early": 0.5, "late": 0.6, "later": 0.7}
    assert marks(values, HIGHER, rows(late=0.01, later=0.05), "early") == {"later": Mark.NOT_TOLD_APART}


@pytest.mark.parametrize("p", [0.04, 0.06])
def test_the_baseline_is_bold_where_all_others_are_told_apart_as_worse(p: float) -> None:
    values = {"early": 0.8, "bad_1": 0.6, "bad_2": 0.7}
    expected = Mark.TOLD_APART if p < 0.05 else Mark.NOT_TOLD_APART
    assert marks(values, HIGHER, rows(bad_1=0.001, bad_2=p), "early") == {"early": expected}


def test_lower_is_better_where_the_metric_says_so() -> None:
    compared = {"late": replace(comparison("self_bleu", (-5.0, -7.0, -3.0)), p_adjusted=0.01)}
    assert marks({"early": 70, "late": 65}, LOWER, compared, "early") == {"late": Mark.TOLD_APART}


def test_outside_the_family_nothing_is_bold() -> None:
    untested = replace(comparison("pass@1", (0.1, 0.05, 0.15)), p_value=0.001, p_adjusted=None)
    assert marks({"early": 0.5, "late": 0.6}, HIGHER, {"late": untested}, "early") == {
        "late": Mark.NOT_TESTED
    }
    assert marks({"early": 0.5, "late": 0.6}, HIGHER, {}, "early") == {"late": Mark.NOT_TESTED}


def test_a_test_that_says_worse_is_no_reason_for_bold() -> None:
    """The best by its own problems, worse on those that both have."""
    assert marks({"early": 0.5, "bad": 0.6}, HIGHER, rows(bad=0.001), "early") == {"bad": Mark.NOT_TOLD_APART}


def test_equals_share_the_mark_and_the_baseline_among_them_is_never_bold() -> None:
    values = {"early": 0.7, "late": 0.7, "bad": 0.5}
    found = marks(values, HIGHER, rows(late=1.0, bad=0.001), "early")
    assert found == {"early": Mark.NOT_TOLD_APART, "late": Mark.NOT_TOLD_APART}


@pytest.mark.parametrize(
    ("values", "better"), [({"late": 0.5}, HIGHER), ({}, HIGHER), ({"a": 1.0, "b": 2.0}, Better.NEITHER)]
)
def test_what_stands_alone_or_has_no_direction_is_not_the_best(
    values: dict[str, float], better: Better
) -> None:
    assert marks(values, better, {}, "early") == {}
