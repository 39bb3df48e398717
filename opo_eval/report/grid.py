"""A table of plain text; how it is written down is another module's matter."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

UNDEFINED = "undefined"
"""In the place of a number that is not defined."""
NONE = "—"
"""In the place of something that a number does not have, such as an interval."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The names of the columns, and the rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def grid_of(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> Grid:
    """A grid of anything that has a text."""
    return Grid(tuple(columns), tuple(tuple(map(str, row)) for row in rows))


def without_empty_columns(grid: Grid) -> Grid:
    """The grid without the columns that hold nothing in any row."""
    filled = [i for i in range(len(grid.columns)) if any(row[i] != NONE for row in grid.rows)]
    return Grid(_only(filled, grid.columns), tuple(_only(filled, row) for row in grid.rows))


def _only(places: Sequence[int], cells: Sequence[str]) -> tuple[str, ...]:
    return tuple(cells[i] for i in places)
