"""Numbers as a reader sees them: units, digits, intervals, and the plain word for a difference."""

from collections.abc import Iterable
from math import floor, log10

from opo_eval.records import Better, Comparison, Interval, Unit

VALUE_UNITS = {
    Unit.SHARE: "%",
    Unit.PERCENT: "0 to 100",
    Unit.RATIO: "times",
    Unit.NATS: "nats",
    Unit.TOKENS: "tokens",
    Unit.CHARACTERS: "characters",
}
DIFFERENCE_UNITS = {
    Unit.SHARE: "percentage points",
    Unit.PERCENT: "points of 100",
    Unit.RATIO: "times",
    Unit.NATS: "nats",
    Unit.TOKENS: "tokens",
    Unit.CHARACTERS: "characters",
}
NOT_DISTINGUISHABLE = "not distinguishable"
NO_INTERVAL = "no interval"
_MOST_DIGITS = 3


def scaled(value: float, unit: Unit) -> float:
    """The value in the unit that is shown: shares in percent."""
    return 100 * value if unit is Unit.SHARE else value


def digits(interval: Interval | None, unit: Unit) -> int:
    """Decimal places that an interval justifies: two significant digits of half its width.

    (JCGM 100:2008, 7.2.6, on the digits of an uncertainty.) One where there is no interval, or no width.
    """
    half = scaled(interval.high - interval.low, unit) / 2 if interval else 0.0
    if half <= 0:
        return 1
    return min(max(1 - floor(log10(half)), 0), _MOST_DIGITS)


def difference_digits(interval: Interval | None, unit: Unit) -> int:
    """The same, and as many more as it takes not to show a bound beside 0 as 0."""
    places = digits(interval, unit)
    bounds = [scaled(bound, unit) for bound in (interval.low, interval.high)] if interval else []
    while places < _MOST_DIGITS and any(bound and not round(bound, places) for bound in bounds):
        places += 1
    return places


def number(value: float, unit: Unit, places: int, *, signed: bool = False) -> str:
    """The value in its unit's scale, without the unit's name; never a negative zero."""
    rounded = round(scaled(value, unit), places) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{places}f}"


def with_interval(value: float, interval: Interval | None, unit: Unit) -> str:
    """`61.2 [56.3, 66.1]`; the brackets are absent where there is no interval."""
    return _bracketed(value, interval, unit, digits(interval, unit), signed=False)


def difference_with_interval(comparison: Comparison) -> str:
    """`+17.2 [+12.1, +22.0]`."""
    unit, interval = comparison.unit, comparison.interval
    return _bracketed(comparison.delta, interval, unit, difference_digits(interval, unit), signed=True)


def reading(comparison: Comparison) -> str:
    """The difference in a word: better, worse, higher, lower or not distinguishable."""
    interval = comparison.interval
    if interval is None:
        return NO_INTERVAL
    if interval.low <= 0 <= interval.high:
        return NOT_DISTINGUISHABLE
    rose = interval.low > 0
    if comparison.better is Better.NEITHER:
        return "higher" if rose else "lower"
    return "better" if rose == (comparison.better is Better.HIGHER) else "worse"


def interval_label(intervals: Iterable[Interval | None]) -> str | None:
    """`95 % over problems like these`; None where no number has an interval."""
    kinds = dict.fromkeys(f"{100 * i.level:g} % over {i.kind}" for i in intervals if i)
    return " and ".join(kinds) or None


def _bracketed(value: float, interval: Interval | None, unit: Unit, places: int, *, signed: bool) -> str:
    shown = number(value, unit, places, signed=signed)
    if interval is None:
        return shown
    bounds = (number(bound, unit, places, signed=signed) for bound in (interval.low, interval.high))
    return f"{shown} [{', '.join(bounds)}]"
