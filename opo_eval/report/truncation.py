"""Warnings about the token limit: before the numbers, since it may be what the numbers show."""

from collections.abc import Iterator, Mapping, Sequence

from opo_eval.records import Unit
from opo_eval.report.values import number
from opo_eval.report.views import BenchmarkView
from opo_eval.truncation import MUCH, Explained, explained_by_truncation, much_truncated
from opo_eval.wording import some_of

_NAMED_AT_MOST = 5


def truncation_warnings(views: Sequence[BenchmarkView]) -> list[str]:
    """One sentence for each benchmark and kind: many responses cut, differences that this can explain."""
    return [sentence for view in views for sentence in (*_many(view), *_explained(view))]


def _many(view: BenchmarkView) -> Iterator[str]:
    if cut := much_truncated(view.tables):
        worst = sorted(cut, key=lambda checkpoint: -cut[checkpoint])
        named = [f"{view.checkpoints[name]} {_percent(cut[name])}" for name in worst]
        yield (
            f"Warning: on {view.label}, more than {_percent(MUCH)} of the responses were cut at the token "
            f"limit ({some_of(named, _NAMED_AT_MOST)}). What was cut before its answer counts as not "
            "correct: sample with a larger --max-tokens."
        )


def _explained(view: BenchmarkView) -> Iterator[str]:
    for rows, names in ((view.comparisons, view.checkpoints), (view.arm_comparisons, view.arms)):
        found = explained_by_truncation(view.tables, rows, view.arm_members)
        if found:
            told = [_told(each, names) for each in found]
            yield (
                f"Warning: on {view.label}, the token limit can explain a difference in pass@1, since the "
                f"worse side was cut more often: {some_of(told, _NAMED_AT_MOST)}. Had all that was cut been "
                "right, the difference could be gone or reversed."
            )


def _told(each: Explained, names: Mapping[str, str]) -> str:
    row = each.difference
    other = row.b if each.worse == row.a else row.a
    values = {row.a: row.value_a, row.b: row.value_b}
    return (
        f"{names[each.worse]} at {_percent(values[each.worse])} with {_percent(each.truncated_worse)} cut "
        f"(at most {_percent(each.at_most)}) against {names[other]} at {_percent(values[other])} with "
        f"{_percent(each.truncated_better)} cut"
    )


def _percent(share: float) -> str:
    return f"{number(share, Unit.SHARE, 0 if share == MUCH else 1)} %"
