"""Everything that `compare --style paper` writes, by path: figures, tables, and what is what."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from matplotlib.figure import Figure

from opo_eval.records import RunSettings
from opo_eval.report.figures.style import NothingToDraw
from opo_eval.report.markdown import bullets, escape, heading, paragraph
from opo_eval.report.names import file_name, one_line
from opo_eval.report.paper.against import AgainstPaper, against_paper
from opo_eval.report.paper.against_tables import against_csv, against_section, against_tables
from opo_eval.report.paper.captions import (
    curves_said,
    measured_on,
    panels_said,
    paths_said,
    sampling,
    scope,
    shown_of,
)
from opo_eval.report.paper.data import Followed, PaperData
from opo_eval.report.paper.figures import (
    KL_AND_ENTROPY,
    TRAINING,
    drawn,
    kl_and_entropy,
    names_of,
    quantities_of,
    training,
)
from opo_eval.report.paper.latex import latex_figure, latex_table
from opo_eval.report.paper.markdown import markdown_page
from opo_eval.report.paper.style import WIDTHS, figure_files
from opo_eval.report.paper.table import PaperTable
from opo_eval.report.paper.tables import TABLES
from opo_eval.report.training import curves_csv, paths_csv
from opo_eval.report.views import BenchmarkView

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns

FOLDER = "paper"
"""Inside the report."""
AGAINST_CSV = "against_paper.csv"
_PANELS = {
    "reward": "training reward over steps",
    "kl_start": "KL to the {origin} over steps",
    "entropy": "entropy over steps",
}
_AGAINST = "pass@1 against KL to the {origin}"

Made = TypeVar("Made")
Tasks = Iterable[tuple[str, Callable[[], Made]]]
"""What each is, and what makes it or raises NothingToDraw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperChoice:
    """What a report has of the paper."""

    data: PaperData | None = None
    """What figures are drawn from; None: no figures and tables for a paper."""
    against: Mapping[str, str] | None = None
    """Checkpoint → the paper's method that it stands for, where its record does not say; None: the paper's
    numbers are not set beside ours."""


def paper_parts(
    name: str, compared: "ComparedRuns", views: Sequence[BenchmarkView], choice: PaperChoice
) -> tuple[list[str], dict[str, bytes]]:
    """A section of report.md in blocks, and files by their paths in the report; both empty by default.

    Raises UsageError where `against` names what is not there.
    """
    settings = [run.manifest.settings for run in compared.runs]
    found = None if choice.against is None else against_paper(views, settings, choice.against)
    files = {} if choice.data is None else paper_files(name, views, settings, choice.data, found)
    if found is None:
        return [], files
    return list(against_section(found)), {AGAINST_CSV: against_csv(found), **files}


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperFigure:
    """A figure at every width, with its numbers and its caption."""

    key: str
    """In the names of its files and in its label."""
    drawn: Mapping[str, Figure]
    """By width."""
    data: Mapping[str, bytes]
    """What is drawn, by what stands behind the key in the names of CSV files."""
    caption: tuple[str, ...]
    """Sentences."""


def paper_files(
    name: str,
    views: Sequence[BenchmarkView],
    settings: Sequence[RunSettings],
    data: PaperData,
    against: AgainstPaper | None = None,
) -> dict[str, bytes]:
    """Every file by its path in the report.

    name: of the report, in labels. settings: of the runs behind the views. What there is nothing for is left
    out, and README.md says why.
    """
    figures, undrawn = _made(_figure_tasks(views, settings, data))
    tables, unset = _made((key, partial(table, views, settings)) for key, table in TABLES.items())
    if against:
        tables += against_tables(against)
        unset += against.left_out
    prefix = file_name(name)
    files = {path: content for figure in figures for path, content in _figure_files(figure, prefix)}
    files |= {path: content for table in tables for path, content in _table_files(table, prefix)}
    files["README.md"] = _readme(name, figures, tables, [*undrawn, *unset]).encode()
    return {f"{FOLDER}/{path}": content for path, content in files.items()}


def _made(tasks: Tasks[Made]) -> tuple[list[Made], list[str]]:
    """What there is, and a sentence for what there is not."""
    found: list[Made] = []
    lacking: list[str] = []
    for key, make in tasks:
        try:
            found.append(make())
        except NothingToDraw as nothing:
            lacking.append(f"No {key.replace('_', ' ').replace(' at ', '@')}: {nothing}.")
    return found, lacking


# --- figures ----------------------------------------------------------------------------------------


def _figure_tasks(
    views: Sequence[BenchmarkView], settings: Sequence[RunSettings], data: PaperData
) -> Iterator[tuple[str, Callable[[], PaperFigure]]]:
    yield "training", partial(_training, data.training)
    for view in views:
        key = f"kl_and_entropy_{file_name(view.benchmark)}"
        if view.benchmark in data.held_out:
            yield key, partial(_held_out, key, view, settings, data.held_out[view.benchmark])


def _training(followed: Followed) -> PaperFigure:
    panels = _panels(followed, [_PANELS[name] for name in quantities_of(followed, TRAINING)])
    return PaperFigure(
        key="training",
        drawn={width: training(followed, width) for width in WIDTHS},
        data={"": curves_csv(followed.curves)},
        caption=(
            panels,
            measured_on(followed),
            *curves_said(followed),
            *_reservations(followed),
        ),
    )


def _held_out(
    key: str, view: BenchmarkView, settings: Sequence[RunSettings], followed: Followed
) -> PaperFigure:
    over_steps = [_PANELS[name] for name in quantities_of(followed, KL_AND_ENTROPY)]
    panels = _panels(followed, [_AGAINST, *over_steps])
    drawn_at = {width: kl_and_entropy(followed, width) for width in WIDTHS}
    caption = (
        panels,
        f"pass@1 on {scope([view])}.",
        sampling(own for own in settings if own.benchmark == view.benchmark),
        measured_on(followed),
        *paths_said(followed),
        *curves_said(followed),
        *_reservations(followed),
    )
    data = {"": paths_csv(followed.paths), "_over_steps": curves_csv(followed.curves)}
    return PaperFigure(key=key, drawn=drawn_at, data=data, caption=caption)


def _panels(followed: Followed, panels: Sequence[str]) -> str:
    return panels_said([panel.format(origin=followed.source.origin) for panel in panels])


def _reservations(followed: Followed) -> Iterator[str]:
    yield from shown_of(len(drawn(followed)), len(names_of(followed)), "training runs or arms")
    yield from followed.lacking


def _figure_files(figure: PaperFigure, prefix: str) -> Iterator[tuple[str, bytes]]:
    stem = f"figures/{figure.key}"
    for width, one in figure.drawn.items():
        yield from figure_files(one, f"{stem}_{width}").items()
        label = f"{prefix}-{figure.key.replace('_', '-')}"
        float_ = latex_figure(f"{stem}_{width}.pdf", figure.caption, label, full=width == "full")
        yield f"{stem}_{width}.tex", float_.encode()
    for suffix, content in figure.data.items():
        yield f"{stem}{suffix}.csv", content


# --- tables -----------------------------------------------------------------------------------------


def _table_files(table: PaperTable, prefix: str) -> Iterator[tuple[str, bytes]]:
    stem = f"tables/{table.key}"
    yield f"{stem}.tex", latex_table(table, prefix).encode()
    yield f"{stem}.md", markdown_page(table).encode()
    yield f"{stem}.csv", table.data


# --- what is what -----------------------------------------------------------------------------------


_USE = r"""In the preamble, with the path from the paper to this folder:

    \usepackage{booktabs,graphicx}
    \graphicspath{{path/to/this/folder/}}

and where a figure or a table is to stand:
"""
_FILES = (
    "figures/: each at column width (3.25 in) and full width (6.75 in) as PDF and SVG, as a LaTeX float with "
    "its caption, as PNG for looking, and its numbers as CSV. tables/: each as a LaTeX float, as Markdown "
    "and as CSV. Floats of full width take both columns of a two-column page. Shares are from 0 to 1 in CSV "
    "files. Included at other widths than theirs, figures have text of other sizes than 7 to 8 points."
)


def _readme(
    name: str, figures: Sequence[PaperFigure], tables: Sequence[PaperTable], lacking: Sequence[str]
) -> str:
    inputs = [f"    \\input{{path/to/this/folder/figures/{f.key}_column}}" for f in figures]
    inputs += [f"    \\input{{path/to/this/folder/tables/{table.key}}}" for table in tables]
    blocks = [heading(1, f"{one_line(name, 100)}: figures and tables for a paper"), _FILES]
    blocks += [_USE.strip(), "\n".join(inputs)] if inputs else []
    blocks += [heading(2, "Left out"), bullets(lacking)] if lacking else []
    for figure in figures:
        blocks += [heading(2, f"figures/{figure.key}"), _shown(figure), paragraph(" ".join(figure.caption))]
    for table in tables:
        said = paragraph(" ".join(table.caption))
        blocks += [heading(2, f"tables/{table.key}"), f"[{escape(table.title)}](tables/{table.key}.md)", said]
    return "\n\n".join(blocks) + "\n"


def _shown(figure: PaperFigure) -> str:
    return f"![{escape(figure.key.replace('_', ' '))}](figures/{figure.key}_full.png)"
