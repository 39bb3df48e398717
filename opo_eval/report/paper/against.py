"""The paper's numbers beside ours: every cell, and who of ours stands for which of its methods."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from opo_eval.errors import UsageError
from opo_eval.records import Checkpoint, Interval, MetricRow, RunSettings, Unit
from opo_eval.report.paper.aspects import Aspect, aspects
from opo_eval.report.paper.numbers import passed_checkpoints
from opo_eval.report.published import (
    PROBLEMS,
    PublishedCell,
    beaten_by,
    protocol,
    published_cells,
    published_methods,
)
from opo_eval.report.views import BenchmarkView, rows_of
from opo_eval.wording import listed, nearest, some_of

PAPER = "paper"
"""What `--against` may name."""
_BENCHMARKS = {
    "math500": "MATH-500", "aime24": "AIME 2024", "aime2024": "AIME 2024", "aime25": "AIME 2025",
    "aime2025": "AIME 2025",
}  # fmt: skip
"""A benchmark's name in letters and digits → the paper's."""
_METHODS = {
    "opo": ("OPO",), "grpo": ("GRPO", "On-Policy"), "onpolicy": ("On-Policy",),
    "offpolicy": ("Off-Policy",), "grpoloose": ("Off-Policy",), "sft": ("SFT",),
}  # fmt: skip
"""A method in letters and digits → those of the paper: what Tables 1 and 3 call On-Policy is exact GRPO."""
_NAMED_AT_MOST = 6

Roles = Mapping[str, tuple[str, ...]]
"""Checkpoint → the paper's methods that it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our number beside a cell."""

    name: str
    """Of the checkpoint or the training run, fit to print."""
    value: float
    """In the unit of records: a share from 0 to 1, or 0 to 100."""
    unit: Unit
    interval: Interval | None
    aspects: tuple[Aspect, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A cell of the paper and what we have of the same kind."""

    cell: PublishedCell
    beaten_by: tuple[str, ...]
    """Methods that the paper holds to be worse and whose number there is not: its headline does not hold."""
    ours: tuple[Ours, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstPaper:
    """Every cell of Tables 1 to 4, and who is set beside none."""

    cells: tuple[Beside, ...]
    benchmarks: Mapping[str, str]
    """The paper's name → ours, of benchmarks that both have."""
    left_out: tuple[str, ...]
    """What of ours is beside no cell and why, a sentence each."""


def against_paper(
    views: Sequence[BenchmarkView], settings: Sequence[RunSettings], named: Mapping[str, str] | None = None
) -> AgainstPaper:
    """Every cell of the paper with our numbers beside it.

    named: checkpoint → the paper's method that it stands for; default, for each that is not named: what its
    record says. Raises UsageError for a method or a checkpoint that is not there.
    """
    named = named or {}
    refuse_unknown(named, list(views[0].checkpoints))
    roles = {**_recorded(views, settings), **{name: (method,) for name, method in named.items()}}
    known = [_Benchmark(view, settings, roles) for view in views if _theirs(view)]
    cells = (
        Beside(
            cell=cell,
            beaten_by=tuple(beaten_by(cell)),
            ours=tuple(one for own in known for one in own.beside(cell)),
        )
        for cell in published_cells()
    )
    return AgainstPaper(
        cells=tuple(cells),
        benchmarks={own.theirs: own.view.label for own in known},
        left_out=tuple(_left_out(views, roles)),
    )


def methods_named(words: Sequence[str]) -> dict[str, str]:
    """Checkpoint → method, from `paper OPO=my_checkpoint ...` as the command line has it.

    Raises UsageError for another source than the paper, and for words that are no pairs.
    """
    if not words or words[0] != PAPER:
        raise UsageError(
            f"--against {' '.join(words)!r} begins with no source: give {PAPER!r}, the OPO paper's numbers"
        )
    return dict(map(_pair, words[1:]))


def _pair(word: str) -> tuple[str, str]:
    method, _, checkpoint = word.partition("=")
    if not (method and checkpoint):
        raise UsageError(
            f"--against {PAPER} takes METHOD=CHECKPOINT after it, not {word!r}: OPO=my_checkpoint, say"
        )
    return checkpoint, method


# --- who stands for whom ----------------------------------------------------------------------------


def refuse_unknown(named: Mapping[str, str], checkpoints: Sequence[str]) -> None:
    """Raise UsageError for a method that the paper does not have, or none of these checkpoints."""
    methods = published_methods()
    for checkpoint, method in named.items():
        for word, known, what in (
            (method, methods, "method of the paper"),
            (checkpoint, checkpoints, "checkpoint"),
        ):
            if word not in known:
                raise UsageError(
                    f"--against {PAPER} {method}={checkpoint}: {word!r} is no {what}{nearest(word, known)}: "
                    f"{listed(known)}"
                )


def _recorded(views: Sequence[BenchmarkView], settings: Sequence[RunSettings]) -> dict[str, tuple[str, ...]]:
    checkpoints = {own.checkpoint.name: own.checkpoint for own in settings}
    names = dict.fromkeys(table.checkpoint for view in views for table in view.tables)
    return {name: _roles(checkpoints.get(name, Checkpoint(name=name))) for name in names}


def _roles(checkpoint: Checkpoint) -> tuple[str, ...]:
    """By its record, or by its name where that is a method's; a start that no method trained is SFT."""
    if checkpoint.method is None and checkpoint.step == 0:
        return ("SFT",)
    return _METHODS.get(_letters(checkpoint.method or checkpoint.name), ())


def _theirs(view: BenchmarkView) -> str | None:
    return _BENCHMARKS.get(_letters(view.benchmark))


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _left_out(views: Sequence[BenchmarkView], roles: Roles) -> Iterator[str]:
    others = [view.label for view in views if not _theirs(view)]
    if others:
        yield (
            f"The paper has no {some_of(others, _NAMED_AT_MOST)}, so nothing of it is beside its numbers; "
            f"its benchmarks are {', '.join(PROBLEMS)}."
        )
    without = [views[0].checkpoints[name] for name, own in roles.items() if not own]
    if without and len(others) < len(views):
        yield (
            f"No record says of {some_of(without, _NAMED_AT_MOST)} which of the paper's methods "
            f"({', '.join(published_methods())}) made it: --against paper METHOD=CHECKPOINT does."
        )


# --- our numbers ------------------------------------------------------------------------------------


class _Benchmark:
    """One of ours that the paper has too."""

    def __init__(self, view: BenchmarkView, settings: Sequence[RunSettings], roles: Roles) -> None:
        self.view, self.theirs, self.roles = view, _theirs(view), roles
        own = (s for s in settings if s.benchmark == view.benchmark)
        self.settings = {s.checkpoint.name: s for s in own}
        self.tables = {table.checkpoint: table for table in view.tables}
        self.series = {curve.points[-1].checkpoint: curve.series for curve in view.curves}
        self.means = {(mean.series, mean.metric): mean for mean in view.last_means}
        self.passed = passed_checkpoints(view)

    def beside(self, cell: PublishedCell) -> Iterator[Ours]:
        """Of every checkpoint that stands for the cell's method; of a training run its last one or ones."""
        if cell.benchmark != self.theirs:
            return
        for name, table in self.tables.items():
            stands = name not in self.passed and cell.method in self.roles[name]
            if stands and (row := rows_of(table).get(cell.metric)):
                yield self._ours(cell, row)

    def _ours(self, cell: PublishedCell, row: MetricRow) -> Ours:
        """The mean over the last checkpoints where it is of as many as the paper's; else the checkpoint."""
        there, name = protocol(cell), row.checkpoint
        mean = self.means.get((self.series.get(name, ""), cell.metric))
        if mean and len(mean.steps) != there.checkpoints:
            mean = None
        return Ours(
            name=self.view.runs[mean.series] if mean else self.view.checkpoints[name],
            value=mean.value if mean else row.value,
            unit=row.unit,
            interval=mean.interval if mean else row.interval,
            aspects=aspects(
                there, self.tables[name], row, self.settings.get(name), len(mean.steps) if mean else 1
            ),
        )
