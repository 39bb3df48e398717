"""Which number of a column is the best, and whether a test says that it is: never a bold by eye."""

from collections.abc import Mapping
from enum import StrEnum
from math import isclose

from opo_eval.family import is_told_apart, is_worse
from opo_eval.records import Better, Comparison


class Mark(StrEnum):
    """What a table says of a number beside its value."""

    NONE = ""
    TOLD_APART = "best"
    """The best of its column, told apart from the baseline."""
    NOT_TOLD_APART = "best, not told apart"
    NOT_TESTED = "best, not tested"
    NOT_HELD = "not held"
    """A published number that goes against what the paper holds."""


def marks(
    values: Mapping[str, float], better: Better, comparisons: Mapping[str, Comparison], baseline: str
) -> dict[str, Mark]:
    """The marks of the numbers of a column, by checkpoint; of no other number there is one.

    comparisons: with the baseline, by the other checkpoint. The best is marked by its adjusted test against
    the baseline, the baseline where it is the best by those of all others against it. Where one number stands
    alone, or neither direction is better, nothing is the best.
    """
    if better is Better.NEITHER or len(values) < 2:
        return {}
    best = max(values.values()) if better is Better.HIGHER else min(values.values())
    leading = [name for name, value in values.items() if isclose(value, best, rel_tol=1e-12, abs_tol=1e-15)]
    found = {}
    for name in leading:
        others = [other for other in values if other != name] if name == baseline else [name]
        found[name] = _mark([comparisons.get(other) for other in others], is_baseline=name == baseline)
    return found


def _mark(rows: list[Comparison | None], *, is_baseline: bool) -> Mark:
    tested = [row for row in rows if row is not None and row.p_adjusted is not None]
    if len(tested) < len(rows):
        return Mark.NOT_TESTED
    told = all(is_told_apart(row) and is_worse(row) == is_baseline for row in tested)
    return Mark.TOLD_APART if told else Mark.NOT_TOLD_APART
