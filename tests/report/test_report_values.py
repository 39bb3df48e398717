"""How numbers are written: digits, signs, words."""

import pytest
from report.handmade import comparison, interval

from opo_eval.records import Better, Unit
from opo_eval.report.values import (
    DIFFERENCE_UNITS,
    VALUE_UNITS,
    difference_with_interval,
    interval_label,
    number,
    reading,
    with_interval,
)


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.61234, 0.563, 0.661, "61.2 [56.3, 66.1]"),  # half the width is 4.9 points: tenths
        (0.61234, 0.49, 0.73, "61 [49, 73]"),  # 12 points: whole ones
        (0.61234, 0.607, 0.617, "61.23 [60.70, 61.70]"),  # 0.5 points: hundredths
        (0.61234, 0.6123, 0.6124, "61.234 [61.230, 61.240]"),  # never more than three
        (1.0, 1.0, 1.0, "100.0 [100.0, 100.0]"),
    ],
)
def test_an_interval_decides_the_digits(value: float, low: float, high: float, shown: str) -> None:
    assert with_interval(value, interval(low, high), Unit.SHARE) == shown


def test_units_decide_the_scale() -> None:
    assert with_interval(84.35988, interval(82.1, 86.0), Unit.PERCENT) == "84.4 [82.1, 86.0]"
    assert with_interval(1902.4, interval(1756, 2053), Unit.CHARACTERS) == "1902 [1756, 2053]"
    assert with_interval(17.25, interval(16.5, 18.1), Unit.TOKENS) == "17.25 [16.50, 18.10]"
    assert with_interval(2.345, interval(2.3, 2.4), Unit.RATIO) == "2.345 [2.300, 2.400]"
    assert with_interval(0.693, interval(0.5, 0.9), Unit.NATS) == "0.69 [0.50, 0.90]"


def test_every_unit_has_a_name() -> None:
    assert VALUE_UNITS.keys() == DIFFERENCE_UNITS.keys() == set(Unit)


def test_without_an_interval_there_are_no_brackets() -> None:
    assert with_interval(0.4375, None, Unit.SHARE) == "43.8"
    assert with_interval(1902.4, None, Unit.TOKENS) == "1902.4"


def test_differences_carry_signs_and_no_negative_zero() -> None:
    assert difference_with_interval(comparison("pass@1", (0.172, 0.121, 0.22))) == "+17.2 [+12.1, +22.0]"
    assert difference_with_interval(comparison("pass@1", (-0.03, -0.15, 0.09))) == "-3 [-15, +9]"
    assert number(-0.0001, Unit.SHARE, 1, signed=True) == "0.0"


def test_a_bound_beside_zero_is_not_shown_as_zero() -> None:
    """Or a row would read `better` with an interval that seems to hold 0."""
    row = comparison("pass@1", (0.0162, 0.0004, 0.032))
    assert reading(row) == "better"
    assert difference_with_interval(row) == "+1.62 [+0.04, +3.20]"


@pytest.mark.parametrize(
    ("bounds", "better", "word"),
    [
        ((0.1, 0.05, 0.2), Better.HIGHER, "better"),
        ((-0.1, -0.2, -0.05), Better.HIGHER, "worse"),
        ((0.1, 0.05, 0.2), Better.LOWER, "worse"),
        ((-0.1, -0.2, -0.05), Better.LOWER, "better"),
        ((0.1, 0.05, 0.2), Better.NEITHER, "higher"),
        ((-0.1, -0.2, -0.05), Better.NEITHER, "lower"),
        ((0.1, -0.05, 0.2), Better.HIGHER, "not distinguishable"),
        ((0.1, 0.0, 0.2), Better.LOWER, "not distinguishable"),
        ((0.0, 0.0, 0.0), Better.NEITHER, "not distinguishable"),
        ((0.1,), Better.HIGHER, "no interval"),
    ],
)
def test_the_word_respects_direction_and_interval(bounds, better: Better, word: str) -> None:
    assert reading(comparison("pass@1", bounds, better=better)) == word


def test_intervals_are_labelled_by_level_and_kind() -> None:
    assert interval_label([None, interval(0, 1), interval(1, 2)]) == "95 % over problems like these"
    assert interval_label([None]) is None
