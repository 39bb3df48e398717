"""What has to stand under a figure or a table for its numbers to be read right, in sentences."""

from collections.abc import Iterable, Iterator, Sequence
from string import ascii_lowercase

from opo_eval.family import ALPHA, stated
from opo_eval.records import Comparison, Interval, RunSettings
from opo_eval.report.names import one_line
from opo_eval.report.paper.data import Followed, Source
from opo_eval.report.paper.marks import Mark
from opo_eval.report.training_panels import intervals_of
from opo_eval.report.values import interval_label
from opo_eval.report.views import BenchmarkView
from opo_eval.wording import counted, some_of

DAGGER, DOUBLE_DAGGER, NOT_HELD = "†", "‡", "×"
SYMBOLS = {
    Mark.NONE: "",
    Mark.TOLD_APART: "",
    Mark.NOT_TOLD_APART: DAGGER,
    Mark.NOT_TESTED: DOUBLE_DAGGER,
    Mark.NOT_HELD: NOT_HELD,
}
"""What stands behind a number; one that is told apart is bold instead."""
ONE_RUN = (
    "A row is one checkpoint: differences speak of these checkpoints, not of the methods that trained them."
)
_NAMED_AT_MOST = 6
_PAIRED = "two-sided sign-flip test, paired over problems"
_OF_ARMS = "Student's t over training seeds and problems"


# --- how it was measured ----------------------------------------------------------------------------


def scope(views: Sequence[BenchmarkView]) -> str:
    """`math500 (500 problems, n = 8) and aime24 (30 problems, n = 16)`"""
    return some_of([_benchmark(view) for view in views], _NAMED_AT_MOST)


def _benchmark(view: BenchmarkView) -> str:
    sizes = dict.fromkeys((len(table.problem_ids), table.n) for table in view.tables)
    spelled = (f"{counted(problems, 'problem')}, n = {n}" for problems, n in sizes)
    return f"{view.label} ({' or '.join(spelled)})"


def sampling(settings: Iterable[RunSettings]) -> str:
    """How the responses were drawn, as far as it is known; what differs between runs is listed."""
    settings = list(settings)
    known = [own for own in (run.sampling for run in settings) if own]
    if not known:
        return "How the responses were drawn is not known."
    said = [
        f"temperature {_any(f'{own.temperature:g}' for own in known)}",
        f"top-p {_any(f'{own.top_p:g}' for own in known)}",
        f"at most {_any(f'{own.max_tokens:,}' for own in known)} tokens",
    ]
    if any(own.top_k for own in known):
        said.append(f"top-k {_any(str(own.top_k or 'off') for own in known)}")
    if templates := [one_line(run.prompting.name) for run in settings if run.prompting]:
        said.append(f"prompt template {_any(templates)}")
    rest = "" if len(known) == len(settings) else "; of other runs it is not known"
    return f"Drawn at {', '.join(said)}{rest}."


def _any(values: Iterable[str]) -> str:
    return some_of(list(dict.fromkeys(values)), _NAMED_AT_MOST)


def not_everywhere(views: Sequence[BenchmarkView]) -> Iterator[str]:
    """Which checkpoints have no run on which benchmark."""
    for view in views:
        there = {table.checkpoint for table in view.tables}
        if lacking := [name for key, name in view.checkpoints.items() if key not in there]:
            yield f"No run on {view.label}: {some_of(lacking, _NAMED_AT_MOST)}."


def interval_said(intervals: Iterable[Interval | None], what: str = "In brackets") -> Iterator[str]:
    """`In brackets: 95 % intervals over problems like these.`"""
    if label := interval_label(intervals):
        yield f"{what}: {label.replace('% over', '% intervals over', 1)}."


# --- what is marked ---------------------------------------------------------------------------------


def marks_said(
    found: Iterable[Mark], comparisons: Sequence[Comparison], baselines: Sequence[str]
) -> Iterator[str]:
    """The rule behind bold and daggers, as far as a table has them."""
    seen = set(found)
    baseline = " or ".join(baselines)
    if Mark.TOLD_APART in seen:
        yield (
            f"Bold: the best of its column, told apart from {baseline}; {baseline} itself, where it is the "
            "best, from every other row."
        )
    if Mark.NOT_TOLD_APART in seen:
        yield f"{DAGGER}: the best of its column, but not told apart in this sense."
    if Mark.NOT_TESTED in seen:
        yield f"{DOUBLE_DAGGER}: the best of its column, not tested within the family."
    if seen & {Mark.TOLD_APART, Mark.NOT_TOLD_APART}:
        test = _OF_ARMS if any(row.n_train_seeds > 1 for row in comparisons) else _PAIRED
        yield (
            f"Test: {test}, p < {ALPHA:g} after {stated(comparisons)}. The other "
            "rows are not tested against one another."
        )


def shown_of(n_shown: int, n_all: int, noun: str) -> Iterator[str]:
    """That not everything is shown, where that is so."""
    if n_shown < n_all:
        yield f"{n_shown} of {n_all} {noun}, at even steps; all numbers are in the CSV file."


# --- figures of training ----------------------------------------------------------------------------


def measured_on(followed: Followed) -> str:
    """What KL and entropy are, and of which tokens."""
    exact = f"KL to the {followed.source.origin} and entropy are exact over the vocabulary, means a token"
    if followed.source is Source.ROLLOUTS:
        return f"{exact}, on the {followed.source} at the temperature that these were drawn with."
    return f"{exact}, on the {followed.source}, at temperature {followed.temperature}."


def curves_said(followed: Followed) -> Iterator[str]:
    """What a line is a mean of, and what is shaded."""
    curves = followed.curves
    if not curves:
        return
    if (block := max(curve.block for curve in curves)) > 1:
        yield f"Each point is the mean of {block} steps."
    seeds = sorted({curve.n_seeds for curve in curves})
    if seeds == [1]:
        yield "A line is one training run with one seed: a run, not a method."
    else:
        yield f"Lines are means over {' or '.join(map(str, seeds))} training seeds."
    yield from interval_said(intervals_of(curves), "Shaded, each point on its own")


def paths_said(followed: Followed) -> Iterator[str]:
    """What a point of KL against pass@1 is."""
    if any(len(path.runs) > 1 for path in followed.paths):
        yield "Small points are checkpoints of single seeds; connected are their means, step by step."
    else:
        yield "A point is a checkpoint; those of a training run are connected in order of their steps."
    if followed.source is Source.ROLLOUTS:
        yield "A checkpoint has the KL of the rollout that it drew, the last one that of the last measured."


def panels_said(panels: Sequence[str]) -> str:
    """`(a) training reward; (b) entropy.`"""
    return (
        "; ".join(f"({letter}) {panel}" for letter, panel in zip(ascii_lowercase, panels, strict=False)) + "."
    )
