"""How numbers are written: digits, signs, words."""

import pytest
from report.handmade import comparison, interval

from opo_eval.records import Better, Unit
from opo_eval.report.values import (
    DIFFERENCE_UNITS,
    VALUE_UNITS,
    bounds,
    detectable,
    difference_bounds,
    difference_with_interval,
    interval_label,
    number,
    p_text,
    problems_needed,
    reading,
    sides,
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


# --- nats: a divergence of 0.0004 is an ordinary one --------------------------------------------------


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.00041234, 0.000393, 0.000431, "0.000412 [0.000393, 0.000431]"),
        (0.00041234, 0.0, 0.02, "0.0004 [0.0000, 0.0200]"),  # the value is not 0
        (4.1e-7, 3e-7, 5e-7, "<0.000001 [<0.000001, <0.000001]"),  # never more than six
        (2.345, 2.2, 2.5, "2.35 [2.20, 2.50]"),
        (0.0, 0.0, 0.002, "0.0000 [0.0000, 0.0020]"),
    ],
)
@pytest.mark.parametrize("unit", [Unit.NATS, Unit.LOG_RATIO])
def test_nats_have_up_to_six_digits(value: float, low: float, high: float, shown: str, unit: Unit) -> None:
    assert with_interval(value, interval(low, high), unit) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.00041234, "0.000412"),
        (0.5234, "0.523"),
        (1.2345, "1.23"),
        (123.4, "123"),
        (0.0, "0.0"),
        (1e-17, "0.0"),
    ],
)
def test_nats_without_an_interval_have_three_significant_digits(value: float, shown: str) -> None:
    assert with_interval(value, None, Unit.NATS) == shown
    assert with_interval(value, interval(value, value), Unit.NATS).split()[0] == shown


def test_differences_of_nats_keep_their_digits() -> None:
    row = comparison("kl", (0.00042, 0.00031, 0.00053), value_a=0.0, value_b=0.00042, mde80=0.00016)
    assert difference_with_interval(row) == "+0.00042 [+0.00031, +0.00053]"
    assert (sides(row), detectable(row)) == (("0.00000", "0.00042"), "0.00016")
    alone = comparison("kl", (0.00042,), value_a=0.0, value_b=0.00042)
    assert (difference_with_interval(alone), sides(alone)) == ("+0.000420", ("0.000000", "0.000420"))
    unclear = comparison("kl", (1e-7, -0.01, 0.01))
    assert difference_with_interval(unclear) == "0.000 [-0.010, +0.010]"


@pytest.mark.parametrize("unit", [Unit.SHARE, Unit.PERCENT, Unit.RATIO, Unit.TOKENS, Unit.CHARACTERS])
def test_other_units_have_three_digits_at_most(unit: Unit) -> None:
    assert number(1e-6, unit, 3) == "<0.001"
    assert with_interval(1e-6, interval(0.9e-6, 1.1e-6), unit) == "<0.001 [<0.001, <0.001]"
    assert with_interval(0.00041234, None, unit) == "0.0"


# --- differences ------------------------------------------------------------------------------------


def test_differences_carry_signs_and_no_negative_zero() -> None:
    assert difference_with_interval(comparison("pass@1", (0.172, 0.121, 0.22))) == "+17.2 [+12.1, +22.0]"
    assert difference_with_interval(comparison("pass@1", (-0.03, -0.15, 0.09))) == "-3 [-15, +9]"
    assert number(-0.0001, Unit.SHARE, 1, signed=True) == "0.0"


def test_a_bound_beside_zero_is_not_shown_as_zero() -> None:
    """Or a row would read `better` with an interval that seems to hold 0."""
    row = comparison("pass@1", (0.0162, 0.0004, 0.032))
    assert reading(row) == "better"
    assert difference_with_interval(row) == "+1.62 [+0.04, +3.20]"


def test_what_is_not_0_is_not_shown_as_0() -> None:
    assert number(4e-6, Unit.SHARE, 3) == number(4e-6, Unit.SHARE, 3, signed=True) == "<0.001"
    assert number(-4e-6, Unit.SHARE, 3, signed=True) == ">-0.001"
    assert number(1e-17, Unit.SHARE, 3, signed=True) == "0.000"  # floating point's 0
    assert bounds(interval(0.0, 4e-6), Unit.SHARE) == "[0.000, <0.001]"


def test_bounds_stand_alone_with_their_own_digits() -> None:
    assert bounds(interval(0.49, 0.73), Unit.SHARE) == "[49, 73]"
    assert difference_bounds(interval(-0.007, 0.014), Unit.SHARE) == "[-0.7, +1.4]"
    assert bounds(None, Unit.SHARE) == difference_bounds(None, Unit.SHARE) == "—"


# --- tests ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delta", "better", "word"),
    [
        (0.1, Better.HIGHER, "better"),
        (-0.1, Better.HIGHER, "worse"),
        (0.1, Better.LOWER, "worse"),
        (-0.1, Better.LOWER, "better"),
        (0.1, Better.NEITHER, "higher"),
        (-0.1, Better.NEITHER, "lower"),
    ],
)
def test_the_word_respects_direction(delta: float, better: Better, word: str) -> None:
    told = comparison("pass@1", (delta,), better=better, p_value=0.004, p_adjusted=0.049)
    assert reading(told) == word
    outside = comparison("pass@1", (delta,), better=better, p_value=0.049, p_adjusted=None)
    assert reading(outside) == f"{word}, unadjusted"


def test_the_word_comes_from_the_adjusted_test_and_not_from_the_interval() -> None:
    wide, narrow = (0.1, -0.01, 0.21), (0.1, 0.05, 0.15)
    assert reading(comparison("pass@1", wide, p_value=0.01, p_adjusted=0.04)) == "better"
    assert reading(comparison("pass@1", narrow, p_value=0.01, p_adjusted=0.05)) == "not distinguishable"
    assert reading(comparison("pass@1", narrow, p_value=0.05, p_adjusted=None)) == "not distinguishable"
    assert reading(comparison("pass@1", (0.1,), p_value=None, p_adjusted=None)) == "not tested"


def test_problems_that_are_all_alike_are_tested_without_an_interval() -> None:
    still = comparison("pass@1", (0.0,), p_value=1.0, p_adjusted=1.0, mde80=None, problems_needed=None)
    assert reading(still) == "not distinguishable"
    assert (difference_with_interval(still), detectable(still), problems_needed(still)) == ("0.0", "—", "—")
    moved = comparison("pass@1", (0.25,), p_value=0.002, p_adjusted=0.01)
    assert (reading(moved), difference_with_interval(moved)) == ("better", "+25.0")


@pytest.mark.parametrize(
    ("p", "shown"),
    [
        (None, "—"),
        (1.0, "1"),
        (0.9996, "1"),
        (0.7777, "0.78"),
        (0.2, "0.2"),
        (0.0344, "0.034"),
        (0.00123, "0.0012"),
        (0.0001, "0.0001"),
        (0.0000999, "< 0.0001"),
        (0.0, "< 0.0001"),
        (0.0499, "0.0499"),  # not 0.050, which would not be told apart
        (0.049999, "0.049999"),
        (0.0501, "0.05"),
        (0.05, "0.05"),
    ],
)
def test_p_values_stay_on_their_side_of_5_percent(p: float | None, shown: str) -> None:
    assert p_text(p) == shown


def test_power_is_shown_in_the_units_and_digits_of_the_difference() -> None:
    row = comparison("pass@1", (0.003, -0.019, 0.024), mde80=0.0312, problems_needed=2841)
    assert (detectable(row), problems_needed(row)) == ("3.1", "2,900")
    needed = [comparison("pass@1", (0.1,), problems_needed=n) for n in (2, 38, 104, 10**9)]
    assert [problems_needed(row) for row in needed] == ["2", "38", "110", "> 1,000,000"]
    rounding = comparison("pass@1", (1e-17, 0.0, 0.0), mde80=1e-16, problems_needed=30)
    assert (detectable(rounding), problems_needed(rounding)) == ("—", "—")


def test_intervals_are_labelled_by_level_and_kind() -> None:
    assert interval_label([None, interval(0, 1), interval(1, 2)]) == "95 % over problems like these"
    assert interval_label([None]) is None
