"""A table for a paper as a value: how it is written down is the matter of `latex` and `markdown`."""

from dataclasses import dataclass

from opo_eval.report.grid import NONE
from opo_eval.report.paper.marks import Mark


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A number in print."""

    text: str = NONE
    below: str = ""
    """What stands under it in small type: its interval."""
    mark: Mark = Mark.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A name and its numbers."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The rows of one benchmark."""

    title: str
    rows: tuple[TableRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperTable:
    """A table with its caption; all names are fit to print."""

    key: str
    """In the names of its files and in its label."""
    title: str
    columns: tuple[str, ...]
    """Of the numbers."""
    sections: tuple[Section, ...]
    caption: tuple[str, ...]
    """Sentences."""
    data: bytes
    """Every number behind it as CSV; shares are from 0 to 1."""

    @property
    def cells(self) -> list[Cell]:
        """All of them."""
        return [cell for section in self.sections for row in section.rows for cell in row.cells]
