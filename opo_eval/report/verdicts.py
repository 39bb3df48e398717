"""What a comparison comes to in sentences: whose training it speaks of, what came out, what could have."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from opo_eval.family import stated
from opo_eval.records import Comparison, Unit
from opo_eval.report.grid import NONE
from opo_eval.report.values import (
    NOT_DISTINGUISHABLE,
    NOT_TESTED,
    UNADJUSTED,
    comparison_digits,
    detectable,
    direction,
    number,
    p_text,
    problems_needed,
    reading,
)
from opo_eval.report.views import BenchmarkView, headline_metrics
from opo_eval.wording import counted

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

PAIRS_AT_MOST = 5
"""More pairs on one benchmark are a table, or are counted."""
_UNITS = {Unit.SHARE: "points", Unit.PERCENT: "points", Unit.LOG_RATIO: "nats"}

Names = Mapping[str, str]
"""Checkpoint or arm → its name fit to print."""


# --- whose training it speaks of --------------------------------------------------------------------


def scope(compared: "ComparedRuns", arms: Names) -> str:
    """Whether what follows is about methods or about training runs: the first thing to know."""
    spelled = [f"{arms[arm.name]} ({len(arm.checkpoints)} training seeds)" for arm in compared.arms]
    if not spelled:
        return (
            "This speaks of these training runs (one seed each), not of the method that trained them: a "
            "claim about a method takes several training runs that differ by seed."
        )
    if len(spelled) == 1:
        return (
            f"{spelled[0]} is the only arm, so no methods are compared: every difference speaks of the "
            "training runs at hand (one seed each)."
        )
    return (
        f"Arms: {', '.join(spelled)}. What compares arms speaks of the methods; what compares single "
        "checkpoints speaks of those training runs (one seed each)."
    )


# --- what was told apart ----------------------------------------------------------------------------


def pairs_of(comparisons: Sequence[Comparison]) -> list[list[Comparison]]:
    """The comparisons of each pair, in order."""
    by_pair: dict[tuple[str, str], list[Comparison]] = defaultdict(list)
    for row in comparisons:
        by_pair[row.b, row.a].append(row)
    return list(by_pair.values())


def pairs_shown(view: BenchmarkView) -> Iterator[tuple[list[Comparison], Names, str]]:
    """The comparisons of every pair that has sentences of its own, its names, and what to say before them."""
    for rows in pairs_of(view.arm_comparisons):
        yield rows, view.arms, ", between arms"
    for rows in pairs_of(view.comparisons)[:PAIRS_AT_MOST]:
        yield rows, view.checkpoints, ""


def pairs_not_shown(view: BenchmarkView, where: str) -> Iterator[str]:
    """The end of a sentence on the others, which are somewhere else, or on that there are none at all."""
    n_more = len(pairs_of(view.comparisons)) - PAIRS_AT_MOST
    if n_more > 0:
        yield f"{n_more} more {'checkpoints are' if n_more > 1 else 'checkpoint is'} in {where}."
    if not view.comparisons and not view.arm_comparisons:
        yield "there is nothing to compare."


def overall(views: Sequence[BenchmarkView]) -> list[str]:
    """For each pair that was compared on several benchmarks, a sentence over all of them.

    `B against A on pass@1: better on math500 (+1.2 ± 0.8 points); not distinguishable on aime24 (...).`
    """
    found: dict[tuple[str, str, str], list[tuple[str, Comparison]]] = defaultdict(list)
    for view in views:
        for rows, names, _ in pairs_shown(view):
            row = main_row(rows, view)
            found[names[row.b], names[row.a], row.metric].append((view.label, row))
    return [_over_benchmarks(*pair, rows) for pair, rows in found.items() if len(rows) > 1]


def _over_benchmarks(b: str, a: str, metric: str, rows: Sequence[tuple[str, Comparison]]) -> str:
    by_word: dict[str, list[str]] = defaultdict(list)
    for label, row in rows:
        by_word[reading(row)].append(f"{label} ({_plus_minus(row)})")
    said = "; ".join(f"{word} on {', '.join(where)}" for word, where in by_word.items())
    levels = {f"{100 * row.interval.level:g}" for _, row in rows if row.interval}
    half = f" ± is half of the {'/'.join(sorted(levels))} % interval." if levels else ""
    return f"{b} against {a} on {metric}: {said}.{half}"


def _plus_minus(row: Comparison) -> str:
    delta = _number(row, row.delta, signed=True)
    if row.interval is None:
        return f"{delta} {_unit(row)}"
    return f"{delta} ± {_number(row, (row.interval.high - row.interval.low) / 2, signed=False)} {_unit(row)}"


def main_row(rows: Sequence[Comparison], view: BenchmarkView) -> Comparison:
    """What a verdict is about: pass@1, or the first metric of the family, or of all where it has none."""
    by_metric = {row.metric: row for row in rows if row.p_adjusted is not None}
    by_metric = by_metric or {row.metric: row for row in rows}
    headline = [name for name in headline_metrics(view.tables) if name in by_metric]
    return by_metric[headline[0]] if headline else next(iter(by_metric.values()))


def verdict(rows: Sequence[Comparison], names: Names, view: BenchmarkView, *, brief: bool = False) -> str:
    """What the comparisons of one pair come to, a sentence on the main metric and one on the others."""
    first = main_row(rows, view)
    others = [row for row in rows if row.p_adjusted is not None and row is not first]
    return " ".join([f"{claim(first, names)}{power(first, brief=brief)}.", *_others(others)])


def claim(row: Comparison, names: Names) -> str:
    """`late is better than early on pass@1 by 17.2 points (95 % 12.1 to 22.0 over ..., p = 0.0014)`."""
    a, b, word = names[row.a], names[row.b], reading(row)
    if word == NOT_TESTED:
        apart = f"{b} and {a} differ by {_amount(row)} on {row.metric}"
        return f"{apart}, which is not tested: problems, or clusters of them, are too few or do not vary"
    if word == NOT_DISTINGUISHABLE:
        return f"{b} is {word} from {a} on {row.metric}: difference {_amount(row)}, {_evidence(row)}"
    return f"{b} is {direction(row)} than {a} on {row.metric} by {_amount(row)}, {_evidence(row)}"


def power(row: Comparison, *, brief: bool) -> str:
    """What could have been seen, where nothing was."""
    if reading(row) != NOT_DISTINGUISHABLE or detectable(row) == NONE:
        return ""
    seeds = f" with {row.n_train_seeds} training seeds an arm or more" if row.n_train_seeds > 1 else ""
    seen = f"{counted(row.n_problems, 'problem')}{seeds} would show a difference of {detectable(row)}"
    return f"; {seen} {_unit(row)} with 80 % power in a single test{'' if brief else _would_take(row)}"


def _would_take(row: Comparison) -> str:
    """How many problems the difference at hand would take, where there are fewer."""
    if (row.problems_needed or 0) <= row.n_problems or problems_needed(row) == NONE:
        return ""
    size = _number(row, abs(row.delta), signed=False)
    needed = f"about {problems_needed(row)} problems like these"
    return f", and telling {size} {_unit(row)} apart would take {needed}"


def _others(rows: Sequence[Comparison]) -> Iterator[str]:
    """The other metrics of the family, by how they read: those told apart come first."""
    by_word: dict[str, list[str]] = defaultdict(list)
    for row in sorted(rows, key=_told_apart, reverse=True):
        by_word[reading(row)].append(f"{row.metric} by {_amount(row)}" if _told_apart(row) else row.metric)
    if by_word:
        said = (f"{word} on {', '.join(metrics)}" for word, metrics in by_word.items())
        yield f"Of the rest of the family: {'; '.join(said)}."


# --- the family -------------------------------------------------------------------------------------


def family_sentences(compared: "ComparedRuns") -> Iterator[str]:
    """Which p-values are adjusted together, for arms and for checkpoints."""
    for what, rows in (("arms", compared.arm_comparisons), ("checkpoints", compared.comparisons)):
        if any(row.p_adjusted is not None for row in rows):
            yield f"Between {what}, p is adjusted by {stated(rows)}."


# --- pieces -----------------------------------------------------------------------------------------


def _evidence(row: Comparison) -> str:
    p = p_text(row.p_value)
    p = f"p {p}" if p.startswith("<") else f"p = {p}"
    adjusted = UNADJUSTED if row.p_adjusted is None else f"adjusted {p_text(row.p_adjusted)}"
    return f"{_range(row)}, {p} ({adjusted})"


def _amount(row: Comparison) -> str:
    """How far apart, without a sign where a word gives the direction."""
    return f"{_number(row, _sign(row) * row.delta, signed=not _told_apart(row))} {_unit(row)}"


def _range(row: Comparison) -> str:
    if row.interval is None:
        return "the same on every problem"
    signed = not _told_apart(row) or row.interval.low * row.interval.high < 0
    low, high = sorted(_sign(row) * bound for bound in (row.interval.low, row.interval.high))
    shown = " to ".join(_number(row, bound, signed=signed) for bound in (low, high))
    return f"{100 * row.interval.level:g} % {shown} over {row.interval.kind}"


def _sign(row: Comparison) -> int:
    return -1 if _told_apart(row) and row.delta < 0 else 1


def _told_apart(row: Comparison) -> bool:
    return reading(row) not in (NOT_TESTED, NOT_DISTINGUISHABLE)


def _number(row: Comparison, value: float, *, signed: bool) -> str:
    return number(value, row.unit, comparison_digits(row), signed=signed)


def _unit(row: Comparison) -> str:
    return _UNITS.get(row.unit, row.unit.value)
