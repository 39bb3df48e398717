r"""Tables and figures as LaTeX that `\input` takes: booktabs and graphicx are all that it needs.

Text from outside is escaped; what the standard fonts of pdflatex lack becomes a question mark.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from opo_eval.report.names import labels, one_line
from opo_eval.report.paper.captions import SYMBOLS
from opo_eval.report.paper.marks import Mark
from opo_eval.report.paper.table import Cell, PaperTable, Section

_NAME_LIMIT = 40
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"$<$", ">": r"$>$",
    "|": r"$|$", '"': "''", "[": "{[}", "*": "{*}",
    "†": r"\dag{}", "‡": r"\ddag{}", "×": r"$\times$", "±": r"$\pm$", "−": "$-$", "–": "--", "—": "---",
    "…": r"\ldots{}", "→": r"$\rightarrow$", "≤": r"$\leq$", "≥": r"$\geq$", "α": r"$\alpha$",
}  # fmt: skip
"""Character → what prints it; a bracket or star in braces is no option of the command before it."""
_LIGATURES = {"--", "``", "''", ",,", "!`", "?`"}
"""Two characters that the fonts make one, or the beginning of three."""
_ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u030a": "r",
    "\u0327": "c", "\u030c": "v", "\u0306": "u", "\u0304": "=", "\u0307": ".", "\u030b": "H",
}  # fmt: skip
"""Combining character → the command of the accent."""


# --- text -------------------------------------------------------------------------------------------


def escape(text: str) -> str:
    """The text on one line as LaTeX prints it: nothing in it acts as a command."""
    line = " ".join(text.split())
    pairs = zip(line, f"{line[1:]} ", strict=True)
    return "".join(_escaped(char) + ("{}" if char + after in _LIGATURES else "") for char, after in pairs)


def printable(text: str, limit: int) -> str:
    """The text on one line, with a question mark for what `escape` cannot print."""
    return "".join(char if _escaped(char) != "?" else "?" for char in one_line(text, limit))


def _escaped(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if " " <= char <= "~":
        return char
    base, *marks = unicodedata.normalize("NFD", char)
    if len(marks) == 1 and marks[0] in _ACCENTS and base.isascii() and base.isalpha():
        dotless = {"i": r"\i", "j": r"\j"}.get(base, base) if marks[0] not in "\u0327" else base
        return rf"\{_ACCENTS[marks[0]]}{{{dotless}}}"
    return "?"


# --- tables -----------------------------------------------------------------------------------------


def latex_table(table: PaperTable, prefix: str) -> str:
    """A float with the table, its caption and the label `tab:PREFIX-KEY`."""
    columns = "l" * _n_names(table) + "r" * len(table.columns)
    body = "\n    \\midrule\n".join("\n".join(_section(table, section)) for section in table.sections)
    return "\n".join(
        [
            r"\begin{table*}[t]",
            r"  \centering\small\setlength{\tabcolsep}{4pt}\setlength{\belowcaptionskip}{4pt}",
            rf"  \caption{{{_sentences(table.caption)}}}",
            rf"  \label{{tab:{prefix}-{table.key.replace('_', '-')}}}",
            rf"  \begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            f"    {_row([*[''] * _n_names(table), *map(escape, table.columns)])}",
            r"    \midrule",
            body,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table*}",
            "",
        ]
    )


def _n_names(table: PaperTable) -> int:
    """Columns of names: of the benchmark as well where there are several."""
    return 1 if len(table.sections) == 1 else 2


def _section(table: PaperTable, section: Section) -> Iterator[str]:
    several = _n_names(table) > 1
    names = labels((row.name for row in section.rows), _NAME_LIMIT, printable)
    for i, row in enumerate(section.rows):
        title = [escape(printable(section.title, _NAME_LIMIT)) if i == 0 else ""] if several else []
        has_intervals = any(cell.below for cell in row.cells)
        cells = [*title, escape(names[row.name]), *map(_value, row.cells)]
        yield f"    {_row(cells)}{'[-3pt]' if has_intervals else ''}"
        if has_intervals:
            below = [rf"\scriptsize {_number(cell.below)}" if cell.below else "" for cell in row.cells]
            yield f"    {_row([*[''] * (len(title) + 1), *below])}"
        if i < len(section.rows) - 1:
            yield r"    \addlinespace[2pt]"


def _value(cell: Cell) -> str:
    text = _number(cell.text)
    if cell.mark is Mark.TOLD_APART:
        return rf"\textbf{{{text}}}"
    symbol = SYMBOLS[cell.mark]
    # Without a width, so that digits stay below one another.
    return rf"{text}\rlap{{\textsuperscript{{{escape(symbol)}}}}}" if symbol else text


def _number(text: str) -> str:
    """With minus signs in the place of hyphens."""
    return escape(text.replace("-", "−"))


def _row(cells: Iterable[str]) -> str:
    return rf"{' & '.join(cells)} \\"


# --- figures ----------------------------------------------------------------------------------------


def latex_figure(file: str, caption: Sequence[str], label: str, *, full: bool) -> str:
    r"""A float with a figure, its caption and the label `fig:LABEL`; file: what `\graphicspath` leads to."""
    kind, width = ("figure*", r"\textwidth") if full else ("figure", r"\columnwidth")
    return "\n".join(
        [
            rf"\begin{{{kind}}}[t]",
            r"  \centering",
            rf"  \includegraphics[width={width}]{{{file}}}",
            rf"  \caption{{{_sentences(caption)}}}",
            rf"  \label{{fig:{label}}}",
            rf"\end{{{kind}}}",
            "",
        ]
    )


def _sentences(caption: Sequence[str]) -> str:
    return escape(" ".join(caption))
