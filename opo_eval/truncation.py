"""Responses that were cut at the token limit, and which differences they may explain.

A response that was cut before its answer counts as not correct. Where one checkpoint is cut more often than
another, its lower pass@1 may be the limit's doing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from opo_eval.arms import Arm
from opo_eval.family import is_told_apart
from opo_eval.records import Comparison, Finish, MetricTable, Verdict

NOT_CORRECT, CORRECT, NOT_GRADED = "not correct", "correct", "not graded"
MUCH = 0.05
"""Share of responses cut from which on a report warns, whatever is compared."""
_METRIC = "pass@1"
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A difference in pass@1 that the token limit can explain."""

    difference: Comparison
    worse: str
    """Checkpoint or arm with the lower pass@1."""
    truncated_worse: float
    """Share of its responses that were cut."""
    truncated_better: float
    at_most: float
    """Pass@1 of the worse one if all its responses that were cut had been right."""


def cut_by_outcome(table: MetricTable) -> dict[str, float]:
    """Shares of samples that were cut, by what came of them; they add up to the metric `truncated`.

    As the metric does, it looks at the n compared samples of each problem whose end is known, and every
    problem weighs the same. Empty where no end is known.
    """
    known: Counter[int] = Counter()
    cut: Counter[tuple[str, int]] = Counter()
    for problem, verdict, finish in _compared(table):
        known[problem] += finish is not None
        cut[_kind(verdict), problem] += finish is Finish.LENGTH
    asked = [problem for problem in known if known[problem]]
    kinds = dict.fromkeys(kind for kind, _ in cut) if asked else {}
    return {kind: sum(cut[kind, p] / known[p] for p in asked) / len(asked) for kind in kinds}


def much_truncated(tables: Sequence[MetricTable]) -> dict[str, float]:
    """Checkpoint → share of its responses that were cut, where that is more than `MUCH`."""
    shares = {table.checkpoint: sum(cut_by_outcome(table).values()) for table in tables}
    return {checkpoint: share for checkpoint, share in shares.items() if share > MUCH + _ROUNDING}


def explained_by_truncation(
    tables: Sequence[MetricTable], comparisons: Sequence[Comparison], arms: Sequence[Arm] = ()
) -> list[Explained]:
    """The differences in pass@1 of one benchmark that the token limit can explain.

    Bounds: had every cut response of the worse side been right, its pass@1 would be higher by the share of
    its responses that were cut and not correct. The limit can explain a difference where the worse side was
    cut more often, and

    - the test tells the two apart, and with that bound the interval of the difference would reach 0 (the
      difference itself, where there is no interval): the verdict could go;
    - or the test does not, the worse side was cut more often by more than `MUCH`, and with that bound it
      would be level or ahead: the sign could change.

    A side of which not every end is known, or that is not graded, is judged by what is known of it. An arm's
    shares are the means of its checkpoints'.
    """
    cut = {table.checkpoint: cut_by_outcome(table) for table in tables}
    cut |= {arm.name: _mean([cut[name] for name in arm.checkpoints if name in cut]) for arm in arms}
    rows = (row for row in comparisons if row.metric == _METRIC and row.delta)
    return list(_explained(rows, {name: shares for name, shares in cut.items() if shares}))


def _explained(rows: Iterator[Comparison], cut: Mapping[str, Mapping[str, float]]) -> Iterator[Explained]:
    for row in rows:
        worse, better = (row.a, row.b) if row.delta > 0 else (row.b, row.a)
        if worse not in cut or better not in cut:
            continue
        truncated = {name: sum(cut[name].values()) for name in (worse, better)}
        credit = cut[worse].get(NOT_CORRECT, 0.0)
        if credit and _may_explain(row, credit, truncated[worse] - truncated[better]):
            yield Explained(
                difference=row,
                worse=worse,
                truncated_worse=truncated[worse],
                truncated_better=truncated[better],
                at_most=min(min(row.value_a, row.value_b) + credit, 1.0),
            )


def _may_explain(row: Comparison, credit: float, excess: float) -> bool:
    """credit: what the worse side could gain; excess: how much more often it was cut."""
    if not is_told_apart(row):
        return excess > MUCH + _ROUNDING and credit >= abs(row.delta) - _ROUNDING
    ends = (row.interval.low, row.interval.high) if row.interval else (row.delta, row.delta)
    # An interval that holds 0 already, beside a test that rejects, is near enough to it.
    nearest = max(min(ends) if row.delta > 0 else -max(ends), 0.0)
    return excess > _ROUNDING and credit >= nearest - _ROUNDING


def _mean(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    kinds = dict.fromkeys(kind for own in shares for kind in own)
    return {kind: sum(own.get(kind, 0.0) for own in shares) / len(shares) for kind in kinds}


def _compared(table: MetricTable) -> Iterator[tuple[int, Verdict | None, Finish | None]]:
    outcomes, seen = table.outcomes, Counter[int]()
    for problem, verdict, finish in zip(outcomes.problem, outcomes.verdict, outcomes.finish, strict=True):
        seen[problem] += 1
        if seen[problem] <= table.n:
            yield problem, verdict, finish


def _kind(verdict: Verdict | None) -> str:
    if verdict is None:
        return NOT_GRADED
    return CORRECT if verdict is Verdict.CORRECT else NOT_CORRECT
