"""Grids and sentences as GitHub-flavoured Markdown in which no text from outside can act as markup."""

import re
from collections.abc import Iterable, Sequence

from opo_eval.report.grid import NONE, UNDEFINED, Grid

_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# `]` acts only before these, `_` only at the edge of a word: left alone elsewhere, so that the file
# is also read with ease as it stands.
_ACTING = re.compile(r"[\\`*~|#$]|\](?=[(\[:])|(?<!\w)_|_(?!\w)")
_LIST_MARKER = re.compile(r"^(\d*)([-+.)=])")


def escape(text: str) -> str:
    """Text as it stands inside a line: tables, emphasis, code, links, HTML and mathematics are defused."""
    text = "".join(_ENTITIES.get(char, char) for char in " ".join(text.split()))
    return _ACTING.sub(r"\\\g<0>", text)


def paragraph(text: str) -> str:
    """Escaped text that may begin a line: what would make it a list or a rule is defused too."""
    return _LIST_MARKER.sub(r"\1\\\2", escape(text))


def table(grid: Grid) -> str:
    """The grid as a table; columns of numbers are set to the right."""
    columns = list(zip(*grid.rows, strict=True)) or [()] * len(grid.columns)
    rule = ["---:" if all(map(_is_number, cells)) else "---" for cells in columns]
    rows = [_row(map(escape, row)) for row in (grid.columns, *grid.rows)]
    return "\n".join([rows[0], _row(rule), *rows[1:]])


def heading(level: int, text: str) -> str:
    """A heading whose text is escaped."""
    return f"{'#' * level} {escape(text)}"


def bullets(sentences: Sequence[str]) -> str:
    """One escaped sentence an item."""
    return "\n".join(f"- {paragraph(sentence)}" for sentence in sentences)


def _is_number(cell: str) -> bool:
    return cell in (UNDEFINED, NONE) or cell[:1] in "+-0123456789[<>"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
