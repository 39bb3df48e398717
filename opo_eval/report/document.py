"""`report.md`: what was compared, what to know before reading, and every table of every benchmark."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from opo_eval.report.markdown import bullets, escape, heading, paragraph, table
from opo_eval.report.names import one_line
from opo_eval.report.tables import (
    accounting_grid,
    breakdown_grids,
    coverage_grid,
    differences,
    metric_grids,
    reservations,
    signature_grid,
)
from opo_eval.report.values import interval_label
from opo_eval.report.views import BenchmarkView
from opo_eval.wording import counted

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns
    from opo_eval.report.figures import Drawing

ONE_TRAINING_RUN = (
    "Samples of one training run speak of this run, not of the method: a claim about a method takes several "
    "training runs with different seeds."
)
_ACCOUNTING = "Only correct samples count as correct: what could not be graded does not."
_SIGNATURES = "Numbers are comparable only where their signatures are the same."
_NOTE_LIMIT = 600
_NAMED_AT_MOST = 8
_ROUND = str.maketrans("[]", "()")  # a lone bracket would end the text of a link


def report_markdown(
    name: str, compared: "ComparedRuns", views: Sequence[BenchmarkView], drawings: Sequence["Drawing"]
) -> str:
    """The whole report as GitHub-flavoured Markdown."""
    blocks = [heading(1, one_line(name, 100)), paragraph(_opening(views)), heading(2, "Before reading")]
    blocks.append(bullets([*(one_line(note, _NOTE_LIMIT) for note in compared.notes), *_cautions(views)]))
    for view in views:
        blocks += _benchmark(view, [d for d in drawings if d.benchmark == view.benchmark])
    blocks += [heading(2, "Signatures"), _SIGNATURES, table(signature_grid(views))]
    return "\n\n".join(blocks) + "\n"


# --- what is said once ------------------------------------------------------------------------------


def _opening(views: Sequence[BenchmarkView]) -> str:
    names = [view.checkpoints[table.checkpoint] for view in views for table in view.tables]
    checkpoints = list(dict.fromkeys(names))
    return (
        f"{counted(len(checkpoints), 'checkpoint')} ({_listed(checkpoints)}) on "
        f"{counted(len(views), 'benchmark')}: {_listed([_scope(view) for view in views])}."
    )


def _scope(view: BenchmarkView) -> str:
    first = view.tables[0]
    problems = counted(first.counts["problems"], "problem")
    return f"{view.label} ({problems}, n = {first.n} samples each)"


def _cautions(views: Sequence[BenchmarkView]) -> Iterator[str]:
    label = interval_label(interval for view in views for interval in view.intervals)
    if label:
        yield (
            f"Brackets hold intervals of {label}: where the number would lie with other problems of this "
            "kind. Digits go as far as the interval justifies."
        )
        yield (
            "A difference is called not distinguishable where its interval contains 0. Each interval stands "
            "alone: nothing is adjusted for how many are shown, so some exclude 0 by chance."
        )
    else:
        yield "No number has an interval: an interval over problems takes two problems or more."
    yield ONE_TRAINING_RUN


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


# --- one benchmark ----------------------------------------------------------------------------------


def _benchmark(view: BenchmarkView, drawings: Sequence["Drawing"]) -> Iterator[str]:
    yield heading(2, view.label)
    yield from map(table, metric_grids(view))
    if said := reservations(view):
        yield bullets(said)
    yield from (_figure(view, drawing) for drawing in drawings)
    yield from _differences(view)
    yield heading(3, "Counts")
    yield f"Of all samples, whichever n is compared. {_ACCOUNTING}"
    yield table(accounting_grid(view))
    yield table(coverage_grid(view))
    for tag, grid in breakdown_grids(view):
        yield heading(3, f"By {tag}")
        yield table(grid)


def _figure(view: BenchmarkView, drawing: "Drawing") -> str:
    title = f"{drawing.name.replace('_at_', '@').replace('_', ' ')} on {view.label}"
    if not drawing.files:
        return paragraph(f"No figure of {title}: {drawing.reason}.")
    return f"![{escape(title.translate(_ROUND))}]({quote(drawing.stem)}.png)"


def _differences(view: BenchmarkView) -> Iterator[str]:
    for pair in differences(view):
        yield heading(3, f"{pair.checkpoint} minus {pair.baseline}")
        yield table(pair.grid)
        if pair.missing:
            yield f"Undefined on one of the two sides, so not compared: {', '.join(pair.missing)}."
