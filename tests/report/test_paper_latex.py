r"""LaTeX for a paper: hostile names are printed as they stand, and what is written compiles."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report.handmade import comparison, table
from report.paper_material import HOSTILE, LONG, followed, settings, views_of

from opo_eval.report.paper.against import against_paper
from opo_eval.report.paper.data import PaperData
from opo_eval.report.paper.files import paper_files
from opo_eval.report.paper.latex import escape, latex_table, printable
from opo_eval.report.paper.marks import Mark
from opo_eval.report.paper.table import Cell, PaperTable, Section, TableRow

DOCUMENT = r"""\documentclass[twocolumn,10pt]{article}
\usepackage[margin=0.75in]{geometry}
\usepackage{booktabs,graphicx}
\graphicspath{{paper/}}
\begin{document}
%s
\end{document}
"""


def tool(name: str) -> str:
    """The program; a person without it skips the test, CI does not."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is not installed: texlive-latex-recommended and poppler-utils are needed")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def compiled(folder: Path, body: str) -> str:
    """What pdflatex says of a document with this body, which it takes without an error."""
    (folder / "all.tex").write_text(DOCUMENT % body)
    words = [tool("pdflatex"), "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "all.tex"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def printed(folder: Path) -> str:
    """The text of the compiled document."""
    subprocess.run([tool("pdftotext"), "-layout", "all.pdf", "all.txt"], cwd=folder, check=True)
    return (folder / "all.txt").read_text()


def one_table(*names: str, **fields: object) -> PaperTable:
    cell = Cell(text="70.0", below="[-1.0, +2.0]", mark=Mark.TOLD_APART)
    dagger = Cell(text="-5", below="", mark=Mark.NOT_TOLD_APART)
    rows = tuple(TableRow(name=name, cells=(cell, dagger, Cell())) for name in names)
    defaults: dict = {
        "key": "pass_at_k", "title": "pass@k", "columns": ("pass@1", "pass@2", "a_b"),
        "sections": (Section(title="sums", rows=rows),), "caption": ("p < 0.05 † ‡ × of 95 %.",), "data": b"",
    }  # fmt: skip
    return PaperTable(**(defaults | fields))


# --- text -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 50%", r"a\_b \& 50\%"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("$x^2$ ~ #1", r"\$x\textasciicircum{}2\$ \textasciitilde{} \#1"),
        ("a--b ``c''", "a-{}-b `{}`c'{}'"),
        ("[a] *", "{[}a] {*}"),
        ("é ñ ï", r"\'{e} \~{n} " + r"\"{\i}"),
        ("two\nlines\t.", "two lines ."),
        ("模型 Ω", "?? ?"),
    ],
)
def test_nothing_in_a_text_acts(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_names_that_the_fonts_lack_stay_different() -> None:
    assert printable("模型é", 40) == "??é"
    lines = latex_table(one_table("模型", "型模"), "r").splitlines()
    assert [line.split(" & ")[0].strip() for line in lines if "textbf" in line] == ["??", "2: ??"]


# --- structure --------------------------------------------------------------------------------------


def test_the_float_is_booktabs_with_bold_dagger_and_small_intervals() -> None:
    text = latex_table(one_table("late"), "report")
    assert re.findall(r"\\(\w+rule)", text) == ["toprule", "midrule", "bottomrule"]
    assert r"\label{tab:report-pass-at-k}" in text and "|" not in text
    assert r"late & \textbf{70.0} & $-$5\rlap{\textsuperscript{\dag{}}} & --- \\[-3pt]" in text
    assert r" & \scriptsize {[}$-$1.0, +2.0] &  &  \\" in text
    assert r"p $<$ 0.05 \dag{} \ddag{} $\times$ of 95 \%." in text


def test_several_benchmarks_are_sections_with_their_name_once() -> None:
    row = TableRow(name="late", cells=(Cell(), Cell(), Cell()))
    sections = tuple(Section(title=name, rows=(row, row)) for name in ("math500", "aime24"))
    text = latex_table(one_table(sections=sections), "r")
    assert text.count("math500") == text.count("aime24") == 1
    assert text.count(r"\midrule") == 2 and r"\begin{tabular}{llrrr}" in text


# --- it compiles ------------------------------------------------------------------------------------


def as_drawn(text: str) -> str:
    """Without spaces, and without what LaTeX draws as lines or spells otherwise."""
    alike = str.maketrans({"”": "''", "’": "'", "‘": "`", '"': "''", "_": "", "∗": "*", "ˆ": "^", "˜": "~"})
    return "".join(text.translate(alike).split())


def test_hostile_names_compile_and_are_printed_as_they_stand(tmp_path: Path) -> None:
    ascii_name = "".join(chr(code) for code in range(33, 127))
    odd = [ascii_name[i : i + 24] for i in range(0, len(ascii_name), 24)]
    compiled(tmp_path, latex_table(one_table(*odd, HOSTILE, LONG[:28], "[x", "*", "a--b"), "r"))
    text = as_drawn(printed(tmp_path))
    assert [name for name in (*odd, LONG[:28], "[x", "*", "a--b") if as_drawn(name) not in text] == []
    assert "root:" not in text


def test_everything_that_a_report_writes_compiles(tmp_path: Path) -> None:
    """Two benchmarks of the paper, a hostile name and a long one, figures at both widths."""
    names = ("early", HOSTILE, LONG)
    values = {"pass@1": (0.5, 0.4, 0.6), "pass@2": (0.6, 0.5, 0.7), "self_bleu": (60.0, 55.0, 65.0)}
    tables = [table(name, values, benchmark=b) for b in ("math500", "aime24") for name in names]
    compared = [
        comparison("pass@1", (0.2, 0.1, 0.3), benchmark=b, b=name)
        for b in ("math500", "aime24")
        for name in names[1:]
    ]
    views = views_of(tables, compared)
    drawn = [settings(name, b, method="opo") for b in ("math500", "aime24") for name in names]
    data = PaperData(training=followed([HOSTILE, LONG]), held_out={"math500": followed([HOSTILE, LONG])})
    files = paper_files("a_b 100%", views, drawn, data, against_paper(views, drawn))
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    parts = sorted(path.removesuffix(".tex") for path in files if path.endswith(".tex"))
    assert len(parts) == 2 * 2 + 2 + 4
    said = compiled(tmp_path, "\n".join(rf"\input{{{part}}}\clearpage" for part in parts))
    assert "Overfull" not in said
    assert "Table 10" not in printed(tmp_path) and "Figure 4" in printed(tmp_path)
