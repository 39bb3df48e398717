"""`report.md`: whose training it speaks of, what the comparison comes to, how to read it, then the tables."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from opo_eval.family import ALPHA
from opo_eval.report.counts import accounting_grid, coverage_grid, reservations
from opo_eval.report.grid import Grid
from opo_eval.report.intervals import interval_sentences
from opo_eval.report.markdown import bullets, escape, heading, paragraph, table
from opo_eval.report.names import one_line
from opo_eval.report.over_steps import FIGURES as STEP_FIGURES
from opo_eval.report.over_steps import (
    LAST_CAVEAT,
    last_grid,
    left_to_files,
    step_grids,
    step_sentences,
)
from opo_eval.report.spending import tokens_grid, tokens_sentence
from opo_eval.report.tables import (
    FEWEST_PROBLEMS,
    Breakdown,
    Differences,
    arm_differences,
    breakdowns,
    differences,
    headline_grid,
    metric_grids,
    pairs_grid,
)
from opo_eval.report.token_statistics import FIGURES as TOKEN_FIGURES
from opo_eval.report.token_statistics import is_scored, token_grid, token_sentences
from opo_eval.report.truncation import truncation_warnings
from opo_eval.report.verdicts import PAIRS_AT_MOST, family_sentences, overall, pairs_of, scope, verdict
from opo_eval.report.views import BenchmarkView
from opo_eval.wording import counted, some_of

if TYPE_CHECKING:
    from opo_eval.compare import ComparedRuns
    from opo_eval.report.figures import Drawing

_ACCOUNTING = "Only correct samples count as correct: what could not be graded does not."
_DEFINITIONS = (
    "Every metric, with its definition, unit, weighting and signature: [definitions.md](definitions.md). "
    "Numbers are comparable only where their signatures are the same."
)
_FILES = (
    "For programs: metrics.csv, differences.csv, arms.csv (where arms are compared), "
    "over_steps.csv and last_means.csv (where training runs are followed), per_problem.csv (the "
    "pair behind every metric), samples.csv (every sample's outcome), metrics.json (all of it). Shares are "
    "from 0 to 1 there. With --against paper, against_paper.csv has the OPO paper's numbers beside these, "
    "from 0 to 100; with --style paper, paper/README.md leads to figures and tables for a paper."
)
_OUTSIDE = "Outside the family, so unadjusted: one in 20 of these errs where there is no difference."
_TEST = (
    "p: how often a difference as large as the observed one would come about if there were none (two-sided; "
    "sign-flip test over problems, or over what draws them together; for arms Student's t over seeds and "
    f"problems). Better, worse, higher or lower is said where p < {ALPHA:g}, in a family after Holm's "
    "adjustment: the chance that anything in it is called different that is not is then at most 5 %. "
    "Checkpoints are one family and arms another. What is outside is there to explore, and says unadjusted. "
    "The intervals are not adjusted: one may exclude 0 where the test does not tell apart."
)
_POWER = (
    "Detectable: the true difference that a single test at 5 % finds with 80 % power, given the spread seen "
    "here. Problems needed: how many problems like these would find a true difference of the size observed, "
    "with the same power. Both are estimates from these samples."
)
_NOTE_LIMIT = 600
_NAMED_AT_MOST = 8
_LEADING = ("pass_at_k", "differences")
"""Figures that come before the tables of differences."""
_OF_ARMS = "arm_differences"
_ELSEWHERE = (*_LEADING, _OF_ARMS, *STEP_FIGURES, *TOKEN_FIGURES)
_ROUND = str.maketrans("[]", "()")  # a lone bracket would end the text of a link


def report_markdown(
    name: str,
    compared: "ComparedRuns",
    views: Sequence[BenchmarkView],
    drawings: Sequence["Drawing"],
    more: Sequence[str] = (),
) -> str:
    """The whole report as GitHub-flavoured Markdown. more: blocks of further sections."""
    blocks = [paragraph(scope(compared, views[0].arms)), heading(1, one_line(name, 100))]
    blocks += [paragraph(_opening(views))]
    if warnings := truncation_warnings(views):
        blocks += [bullets(warnings)]
    blocks += _verdicts(compared, views)
    blocks += [heading(2, "How to read the numbers"), bullets([*_notes(compared), *_explanations(views)])]
    blocks += _arms(views, drawings)
    blocks += _over_steps(views, drawings)
    blocks += _token_statistics(views, drawings)
    for view in views:
        blocks += _benchmark(view, [d for d in drawings if d.benchmark == view.benchmark])
    blocks += more
    blocks += [heading(2, "Definitions and files"), _DEFINITIONS, _FILES]
    return "\n\n".join(blocks) + "\n"


# --- what is said once ------------------------------------------------------------------------------


def _opening(views: Sequence[BenchmarkView]) -> str:
    names = [view.checkpoints[table.checkpoint] for view in views for table in view.tables]
    checkpoints = list(dict.fromkeys(names))
    return (
        f"{counted(len(checkpoints), 'checkpoint')} ({some_of(checkpoints, _NAMED_AT_MOST)}) on "
        f"{counted(len(views), 'benchmark')}: {some_of([_scope(view) for view in views], _NAMED_AT_MOST)}."
    )


def _scope(view: BenchmarkView) -> str:
    first = view.tables[0]
    problems = counted(first.counts["problems"], "problem")
    return f"{view.label} ({problems}, n = {first.n} samples each)"


def _verdicts(compared: "ComparedRuns", views: Sequence[BenchmarkView]) -> Iterator[str]:
    yield heading(2, "What it comes to")
    yield from map(paragraph, overall(views))
    said = [sentence for view in views for sentence in _arm_verdicts(view)]
    said += [sentence for view in views for sentence in _checkpoint_verdicts(view)]
    if said:
        yield bullets(said)
    for view in views:
        if _has_many_pairs(view):
            baseline = view.checkpoints[view.comparisons[0].a]
            yield paragraph(f"On {view.label}, each checkpoint with {baseline}:")
            yield table(pairs_grid(view))
    yield from map(paragraph, family_sentences(compared))


def _arm_verdicts(view: BenchmarkView) -> Iterator[str]:
    for rows in pairs_of(view.arm_comparisons):
        yield f"On {view.label}, between arms, {verdict(rows, view.arms, view)}"


def _checkpoint_verdicts(view: BenchmarkView) -> Iterator[str]:
    if not view.comparisons:
        yield f"On {view.label} there is nothing to compare."
    elif not _has_many_pairs(view):
        for rows in pairs_of(view.comparisons):
            yield f"On {view.label}, {verdict(rows, view.checkpoints, view)}"


def _has_many_pairs(view: BenchmarkView) -> bool:
    return len(pairs_of(view.comparisons)) > PAIRS_AT_MOST


def _notes(compared: "ComparedRuns") -> Iterator[str]:
    yield from (one_line(note, _NOTE_LIMIT) for note in compared.notes)


def _explanations(views: Sequence[BenchmarkView]) -> Iterator[str]:
    yield from interval_sentences(views)
    compared = [row for view in views for row in (*view.comparisons, *view.arm_comparisons)]
    if any(row.p_value is not None for row in compared):
        yield from (_TEST, _POWER)


# --- arms -------------------------------------------------------------------------------------------


def _arms(views: Sequence[BenchmarkView], drawings: Sequence["Drawing"]) -> Iterator[str]:
    if len(views[0].arms) < 2:
        return
    yield heading(2, "Arms")
    yield "Each arm's value is the mean over its training seeds; differences are over seeds and problems."
    for view in views:
        if not view.arm_comparisons:
            yield paragraph(f"{view.label}: not compared, since not every seed of two arms has a run on it.")
        yield from _figures(view, _named([_OF_ARMS], drawings, view))
        for pair in arm_differences(view):
            yield heading(3, f"{view.label}: {pair.name} minus {pair.baseline}")
            yield from _pair(pair)


# --- training runs over their steps -----------------------------------------------------------------


def _over_steps(views: Sequence[BenchmarkView], drawings: Sequence["Drawing"]) -> Iterator[str]:
    followed = [view for view in views if view.curves]
    if not followed:
        return
    yield heading(2, "Over steps")
    for view in followed:
        yield heading(3, f"{view.label} over steps")
        yield from map(paragraph, step_sentences(view))
        yield from _figures(view, _named(STEP_FIGURES, drawings, view))
        for title, grid in step_grids(view):
            yield from (paragraph(f"{title}:"), table(grid))
        if said := left_to_files(view):
            yield paragraph(said)
        yield from _last_means(view)


def _last_means(view: BenchmarkView) -> Iterator[str]:
    if view.last_means:
        yield heading(4, "Mean of the last checkpoints")
        yield paragraph(LAST_CAVEAT)
        yield table(last_grid(view))


# --- entropy and KL ---------------------------------------------------------------------------------


def _token_statistics(views: Sequence[BenchmarkView], drawings: Sequence["Drawing"]) -> Iterator[str]:
    scored = [view for view in views if any(map(is_scored, view.tables))]
    if not scored:
        return
    yield heading(2, "Entropy and KL")
    for view in scored:
        yield heading(3, f"{view.label}: entropy and KL")
        yield from map(paragraph, token_sentences(view))
        yield table(token_grid(view))
        yield from _figures(view, _named(TOKEN_FIGURES, drawings, view))


# --- one benchmark ----------------------------------------------------------------------------------


def _benchmark(view: BenchmarkView, drawings: Sequence["Drawing"]) -> Iterator[str]:
    yield heading(2, view.label)
    if (grid := headline_grid(view)).rows:
        yield table(grid)
    yield from _figures(view, [drawing for drawing in drawings if drawing.name in _LEADING])
    for pair in differences(view):
        yield heading(3, f"{pair.name} minus {pair.baseline}")
        yield from _pair(pair)
    if rest := [drawing for drawing in drawings if drawing.name not in _ELSEWHERE]:
        yield heading(3, "More figures")
        yield from _figures(view, rest)
    yield heading(3, "All metrics")
    yield from map(table, metric_grids(view))
    if said := reservations(view):
        yield bullets(said)
    yield heading(3, "Counts")
    yield f"Of all samples, whichever n is compared. {_ACCOUNTING}"
    yield table(accounting_grid(view))
    yield table(coverage_grid(view))
    yield paragraph(tokens_sentence([view]))
    yield table(tokens_grid(view))
    for breakdown in breakdowns(view):
        yield from _breakdown(breakdown)


def _figures(view: BenchmarkView, drawings: Sequence["Drawing"]) -> Iterator[str]:
    """Those that were drawn, then why the others were not."""
    for drawing in (drawing for drawing in drawings if drawing.files):
        title = f"{_title(drawing)} on {view.label}".translate(_ROUND)
        yield f"![{escape(title)}]({quote(drawing.stem)}.png)"
    if said := [f"No figure of {_title(d)}: {d.reason}." for d in drawings if not d.files]:
        yield bullets(said)


def _named(names: Sequence[str], drawings: Sequence["Drawing"], view: BenchmarkView) -> list["Drawing"]:
    """The drawings of these figures and of this benchmark."""
    return [drawing for drawing in drawings if drawing.name in names and drawing.benchmark == view.benchmark]


def _title(drawing: "Drawing") -> str:
    return drawing.name.replace("_at_", "@").replace("_", " ")


def _pair(pair: Differences) -> Iterator[str]:
    yield from _titled("In the family, so adjusted.", pair.tested)
    yield from _titled(_OUTSIDE, pair.others)
    if pair.missing:
        yield f"Undefined on one of the two sides, so not compared: {', '.join(pair.missing)}."


def _titled(title: str, grid: Grid) -> Iterator[str]:
    if grid.rows:
        yield title
        yield table(grid)


def _breakdown(breakdown: Breakdown) -> Iterator[str]:
    yield heading(3, f"By {breakdown.tag}")
    if breakdown.grid.rows:
        yield "The intervals are over problems like those of each row. Nothing here is tested."
        yield table(breakdown.grid)
    if breakdown.too_small:
        yield paragraph(
            f"Left out, with fewer than {FEWEST_PROBLEMS} problems each: "
            f"{some_of(breakdown.too_small, _NAMED_AT_MOST)}."
        )
