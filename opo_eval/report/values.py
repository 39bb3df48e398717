"""Numbers as a reader sees them: units, digits, intervals, p-values, and the plain word for a difference."""

from collections.abc import Iterable
from math import ceil, floor, log10

from opo_eval.family import ALPHA, is_told_apart
from opo_eval.records import Better, Comparison, Interval, Unit
from opo_eval.report.grid import NONE

VALUE_UNITS = {
    Unit.SHARE: "%",
    Unit.PERCENT: "0 to 100",
    Unit.RATIO: "times",
    Unit.NATS: "nats",
    Unit.LOG_RATIO: "nats",
    Unit.TOKENS: "tokens",
    Unit.CHARACTERS: "characters",
}
DIFFERENCE_UNITS = {
    Unit.SHARE: "percentage points",
    Unit.PERCENT: "points of 100",
    Unit.RATIO: "times",
    Unit.NATS: "nats",
    Unit.LOG_RATIO: "nats",
    Unit.TOKENS: "tokens",
    Unit.CHARACTERS: "characters",
}
NOT_DISTINGUISHABLE = "not distinguishable"
NOT_TESTED = "not tested"
UNADJUSTED = "unadjusted"
_MOST_DIGITS = 3
_MOST_DIGITS_OF_NATS = 6
"""A divergence of 0.0004 nats is an ordinary one."""
_NATS = (Unit.NATS, Unit.LOG_RATIO)
_ROUNDING = 1e-9
"""Less than this is what floating point leaves of 0."""
_SMALLEST_P = 0.0001
_MOST_PROBLEMS = 1_000_000


# --- values and intervals ---------------------------------------------------------------------------


def scaled(value: float, unit: Unit) -> float:
    """The value in the unit that is shown: shares in percent."""
    return 100 * value if unit is Unit.SHARE else value


def digits(interval: Interval | None, unit: Unit, value: float = 0.0) -> int:
    """Decimal places that an interval justifies: two significant digits of half its width.

    (JCGM 100:2008, 7.2.6, on the digits of an uncertainty.) Where there is no interval, or no width: one; in
    nats as many as show three significant digits of the value.
    """
    size = scaled(interval.high - interval.low, unit) / 2 if interval else 0.0
    if size <= 0 and unit in _NATS and abs(value) > _ROUNDING:
        size = abs(value) / 10
    return min(max(1 - floor(log10(size)), 0), _most_digits(unit)) if size > 0 else 1


def value_digits(value: float, interval: Interval | None, unit: Unit) -> int:
    """The same for a value, and in nats as many more as it takes not to show it as 0."""
    places = digits(interval, unit, value)
    return _beside_zero([value], places, unit) if unit in _NATS and abs(value) > _ROUNDING else places


def difference_digits(interval: Interval | None, unit: Unit, delta: float = 0.0) -> int:
    """The same for a difference, and as many more as it takes not to show a bound beside 0 as 0."""
    ends = [scaled(bound, unit) for bound in (interval.low, interval.high)] if interval else []
    return _beside_zero(ends, digits(interval, unit, delta), unit)


def _beside_zero(numbers: Iterable[float], places: int, unit: Unit) -> int:
    """So many places, or as many more as it takes not to show as 0 what is not."""
    most, numbers = _most_digits(unit), [x for x in numbers if x]
    return next((n for n in range(places, most) if all(round(x, n) for x in numbers)), most)


def _most_digits(unit: Unit) -> int:
    return _MOST_DIGITS_OF_NATS if unit in _NATS else _MOST_DIGITS


def number(value: float, unit: Unit, places: int, *, signed: bool = False) -> str:
    """The value in its unit's scale, without the unit's name; never a negative zero.

    What is not 0 and too small for the most digits that are shown is `<0.001`, in nats `<0.000001`.
    """
    shown = scaled(value, unit)
    rounded = round(shown, places) + 0.0
    if not rounded and places == _most_digits(unit) and abs(shown) > _ROUNDING:
        return f"{'<' if shown > 0 else '>-'}{10**-places:.{places}f}"
    return f"{rounded:{'+' if signed and rounded else ''}.{places}f}"


def with_interval(value: float, interval: Interval | None, unit: Unit) -> str:
    """`61.2 [56.3, 66.1]`; the brackets are absent where there is no interval."""
    places = value_digits(value, interval, unit)
    shown = number(value, unit, places)
    return f"{shown} {_within(interval, unit, places)}" if interval else shown


def bounds(interval: Interval | None, unit: Unit) -> str:
    """`[56.3, 66.1]`, with the digits that this interval justifies."""
    if interval is None:
        return NONE
    return _within(interval, unit, digits(interval, unit))


def _within(interval: Interval, unit: Unit, places: int) -> str:
    return f"[{number(interval.low, unit, places)}, {number(interval.high, unit, places)}]"


def comparison_digits(comparison: Comparison) -> int:
    """Decimal places of a difference and of the two values that it is between."""
    return difference_digits(comparison.interval, comparison.unit, comparison.delta)


def sides(comparison: Comparison) -> tuple[str, str]:
    """The values of `a` and `b`, with the digits of their difference."""
    unit, places = comparison.unit, comparison_digits(comparison)
    return number(comparison.value_a, unit, places), number(comparison.value_b, unit, places)


def difference_with_interval(comparison: Comparison) -> str:
    """`+17.2 [+12.1, +22.0]`."""
    unit, interval = comparison.unit, comparison.interval
    shown = number(comparison.delta, unit, comparison_digits(comparison), signed=True)
    return f"{shown} {difference_bounds(interval, unit)}" if interval else shown


def difference_bounds(interval: Interval | None, unit: Unit) -> str:
    """`[+12.1, +22.0]`."""
    if interval is None:
        return NONE
    places = difference_digits(interval, unit)
    low, high = (number(bound, unit, places, signed=True) for bound in (interval.low, interval.high))
    return f"[{low}, {high}]"


def interval_label(intervals: Iterable[Interval | None]) -> str | None:
    """`95 % over problems like these`; None where no number has an interval."""
    kinds = dict.fromkeys(f"{100 * i.level:g} % over {i.kind}" for i in intervals if i)
    return " and ".join(kinds) or None


# --- tests ------------------------------------------------------------------------------------------


def reading(comparison: Comparison) -> str:
    """The difference in words, by its test: better, worse, higher, lower or not distinguishable.

    What only a p-value outside the family tells apart, which is not adjusted, is called `unadjusted`.
    """
    if comparison.p_value is None:
        return NOT_TESTED
    if not is_told_apart(comparison):
        return NOT_DISTINGUISHABLE
    word = direction(comparison)
    return word if comparison.p_adjusted is not None else f"{word}, {UNADJUSTED}"


def direction(comparison: Comparison) -> str:
    """Which way it went: better or worse, where one of the two is better; otherwise higher or lower."""
    rose = comparison.delta > 0
    if comparison.better is Better.NEITHER:
        return "higher" if rose else "lower"
    return "better" if rose == (comparison.better is Better.HIGHER) else "worse"


def p_text(p: float | None) -> str:
    """A p-value to two digits, or as many as it takes to stand on its own side of 5 %; never 0."""
    if p is None:
        return NONE
    if p < _SMALLEST_P:
        return f"< {_SMALLEST_P:g}"
    shown = (f"{p:.{places}g}" for places in range(2, 18))
    return next(text for text in shown if (float(text) < ALPHA) == (p < ALPHA))


def detectable(comparison: Comparison) -> str:
    """The difference that would be found with 80 % power, with the digits of the difference."""
    unit = comparison.unit
    if comparison.mde80 is None or scaled(comparison.mde80, unit) < _ROUNDING:
        return NONE
    return number(comparison.mde80, unit, comparison_digits(comparison))


def problems_needed(comparison: Comparison) -> str:
    """How many problems it would take, up to two digits: an estimate from few problems has no more."""
    needed = comparison.problems_needed
    if needed is None or abs(scaled(comparison.delta, comparison.unit)) < _ROUNDING:
        return NONE
    if needed > _MOST_PROBLEMS:
        return f"> {_MOST_PROBLEMS:,}"
    step = 10 ** max(len(str(needed)) - 2, 0)
    return f"{ceil(needed / step) * step:,}"
