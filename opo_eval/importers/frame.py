"""Responses in a pandas frame, as a log.

Rows are read in the order of the frame's index and named by their labels, by which `frame.loc` finds them.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from opo_eval.errors import InputError, UsageError
from opo_eval.importers.log import Log, PlacedRows
from opo_eval.importers.plan import usual_columns
from opo_eval.tabular import require_columns
from opo_eval.wording import counted, listed, nearest

if TYPE_CHECKING:
    import pandas as pd

NAME = "the frame"
UNNAMED = "frame"
"""The checkpoint, and the benchmark, where no column names one."""
_STAND_INS = {"response": "", "gold": "not given"}
"""Cells of roles that no column has; what would look at them must not be measured."""


class Columns(TypedDict, total=False):
    """Which column of a frame holds what; the names are those of `opo-eval import --map`.

    Where none is named, `problem`, `response`, `gold` and `id` are the columns that are usually called so, as
    `import` has it; nothing is known then of the others.
    """

    problem: str
    """The statement, or whatever the responses to one problem share and no others."""
    id: str
    """The problem's own id, which stands in for a statement."""
    response: str
    gold: str
    score: str
    """Verdicts: 0 or 1, true or false, or a `Verdict`. Without them responses are graded against the gold."""
    checkpoint: str
    """Who answered; without it, one checkpoint called `frame`."""
    benchmark: str
    """What was asked; without it, one benchmark called `frame`."""
    index: str
    """Number of a response among those to its problem; without it, the order of the rows."""
    finish: str
    """How generation ended: `stop`, `length` and the like."""
    n_tokens: str
    tags: str | Sequence[str]
    """What results are broken down by, such as a level: a column or several."""


def frame_log(frame: "pd.DataFrame", columns: Mapping[str, str]) -> Log:
    """The frame as a log, its columns in the roles that `frame_columns` has found."""
    missing = {_stand_in(role): cell for role, cell in _STAND_INS.items() if role not in columns}
    needed: Any = _in_order(frame)[list(dict.fromkeys(name for _, name in _each(columns)))]
    return Log(
        format="pandas",
        path=Path(NAME),
        rows=partial(_rows, needed, missing),
        columns={**columns, **{role: _stand_in(role) for role in _STAND_INS if role not in columns}},
        checkpoint=UNNAMED,
        benchmark=UNNAMED,
    )


def frame_columns(frame: "pd.DataFrame", named: Columns) -> dict[str, str]:
    """Role → column: those that are named, and of problems, responses and golds those that usually are.

    Raises UsageError for a frame that is none, a role that is none and a frame without problems, InputError
    for a column that is not there or is there twice, and for one of names that has gaps.
    """
    if not hasattr(frame, "itertuples"):
        raise UsageError(f"a frame is {frame!r:.60} of type {type(frame).__name__}: give a pandas DataFrame")
    columns = usual_columns(frame.columns) | {role: _joined(role, names) for role, names in named.items()}
    require_columns(frame.columns, [name for _, name in _each(columns)], NAME)
    if not {"problem", "id"} & columns.keys():
        raise UsageError(
            f"{NAME} has no column named 'problem', 'question' or 'prompt': name the one that says which "
            f"responses are to the same problem with problem=; it has {listed(map(str, frame.columns))}"
        )
    for role, name in _each(columns):
        _refuse_unusable(frame, role, name)
    return columns


def _refuse_unusable(frame: "pd.DataFrame", role: str, name: str) -> None:
    if list(frame.columns).count(name) > 1:
        raise InputError(f"{NAME} has several columns named {name!r}: give each its own name")
    if not len(frame):
        raise InputError(f"{NAME} has no rows: there is nothing to measure")
    gaps: Any = frame[name].isna()
    empty = frame.index[gaps]
    if role in ("checkpoint", "benchmark") and len(empty):
        raise InputError(
            f"{NAME} says no {role} (column {name!r}) in {counted(len(empty), 'row')}, the first at index "
            f"{empty[0]!r}: fill it in, or drop them with frame.dropna(subset=[{name!r}])"
        )


def _joined(role: str, names: object) -> str:
    """The column of a role, or the columns of tags, as `ReadPlan` has them."""
    known = list(Columns.__annotations__)
    if role not in known:
        raise UsageError(f"{role}= names no column{nearest(role, known)}: choose among {listed(known)}")
    several = [names] if isinstance(names, str) or role != "tags" else names
    if not isinstance(several, Sequence) or not all(isinstance(name, str) for name in several):
        raise UsageError(f"{role}={names!r:.60} is not the name of a column: give text (str)")
    return ",".join(several)


def _each(columns: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Role and column; `tags` may have several."""
    for role, names in columns.items():
        yield from ((role, name) for name in (names.split(",") if role == "tags" else [names]))


def _stand_in(role: str) -> str:
    return f"(no {role})"


def _in_order(frame: "pd.DataFrame") -> "pd.DataFrame":
    if frame.index.is_monotonic_increasing:
        return frame
    try:
        return frame.sort_index(kind="stable")
    except TypeError:
        raise InputError(
            f"the index of {NAME} holds values that have no order among them: "
            "frame.reset_index(drop=True) numbers the rows as they stand"
        ) from None


def _rows(frame: "pd.DataFrame", missing: Mapping[str, Any]) -> PlacedRows:
    rows = frame.itertuples(index=True, name=None)
    empty = frame.isna().itertuples(index=False, name=None)
    for (label, *cells), gaps in zip(rows, empty, strict=True):
        known = (None if gap else _plain(cell) for cell, gap in zip(cells, gaps, strict=True))
        yield f"{NAME}, index {label!r}", {**dict(zip(frame.columns, known, strict=True)), **missing}


def _plain(cell: Any) -> Any:
    """Numpy's scalars and arrays as Python has them."""
    return cell.tolist() if hasattr(cell, "tolist") else cell
