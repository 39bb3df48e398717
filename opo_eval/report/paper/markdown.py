"""A table for a paper as GitHub-flavoured Markdown, in which no text from outside can act as markup."""

from collections.abc import Iterable, Iterator

from opo_eval.report.markdown import escape, heading, paragraph
from opo_eval.report.paper.captions import SYMBOLS
from opo_eval.report.paper.marks import Mark
from opo_eval.report.paper.table import Cell, PaperTable


def markdown_page(table: PaperTable) -> str:
    """The table with its title above and its caption below."""
    said = paragraph(" ".join(table.caption))
    return "\n\n".join([heading(1, table.title), markdown_table(table), said]) + "\n"


def markdown_table(table: PaperTable) -> str:
    """The table alone."""
    rule = ["---", "---", *["---:"] * len(table.columns)]
    head = ["benchmark", "", *map(escape, table.columns)]
    return "\n".join(map(_row, [head, rule, *_rows(table)]))


def _rows(table: PaperTable) -> Iterator[list[str]]:
    for section in table.sections:
        for row in section.rows:
            yield [escape(section.title), escape(row.name), *map(_cell, row.cells)]


def _cell(cell: Cell) -> str:
    value = f"**{escape(cell.text)}**" if cell.mark is Mark.TOLD_APART else escape(cell.text)
    return " ".join(filter(None, [f"{value}{SYMBOLS[cell.mark]}", escape(cell.below)]))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
