"""What pages and figures of training runs are drawn from: numbers that are finished, by arm."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from opo_eval.records import Comparison, Interval, MetricTable, TrainingStep
from opo_eval.report.views import BenchmarkView

MetricTables = tuple[MetricTable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A quantity of one arm over training steps: the mean over its seeds."""

    arm: str
    """Its name in print."""
    quantity: str
    """Key of `QUANTITIES`."""
    steps: tuple[float, ...]
    """Middles of the blocks of steps that were averaged first."""
    means: tuple[float, ...]
    intervals: tuple[Interval | None, ...]
    """Over training seeds, each block on its own; None with one seed."""
    n_seeds: int
    block: int
    """Steps of a block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A checkpoint of one run."""

    step: int
    kl: float
    """To the start, in nats a token."""
    pass_at_1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """The checkpoints of an arm's runs, from the start on: KL to the start against pass@1."""

    arm: str
    runs: tuple[tuple[Point, ...], ...]
    """One a seed."""
    means: tuple[Point, ...]
    """Over the seeds, step by step."""


class Ruling(StrEnum):
    """What the numbers say of a claim."""

    HELD = "held"
    DID_NOT_HOLD = "did not hold"
    OPEN = "cannot be told"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedClaim:
    """A claim with the numbers that it was judged by."""

    source: str
    """Where the paper says so."""
    text: str
    row: Comparison | None
    """`b` minus `a`; None where it could not be had."""
    ruling: Ruling
    reason: str = ""
    """Why there is no number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedExperiment:
    """The claims of one of the paper's experiments, whose p-values are adjusted together."""

    key: str
    """In the names of files."""
    title: str
    a: str
    b: str
    """The arms in print; every difference is `b` minus `a`."""
    claims: tuple[JudgedClaim, ...]
    note: str = ""
    """What else the two arms differ in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Two arms that differ in one respect."""

    what: str
    """That they differ in."""
    a: str
    b: str
    rows: tuple[Comparison, ...]
    note: str = ""
    """What else they differ in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """What an arm has over the start on held-out problems."""

    arm: str
    n_seeds: int
    pass_at_1: Comparison
    pass_at_k: Comparison
    """At the largest k that is reported."""
    meets: bool
    """Whether both reach what is asked for (`LiftBounds`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiftBounds:
    """What training has to do before methods are worth comparing."""

    pass_at_1: float
    """Least difference from the start."""
    pass_at_k: float
    """What the lower bound of the difference has to lie above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedArm:
    """How an arm's runs went; means over its seeds."""

    arm: str
    n_seeds: int
    steps: int
    updates: int
    """Optimiser steps of a run."""
    clipped: float | None
    """Share of all steps whose gradient was clipped; None where none may be."""
    last_third: Mapping[str, tuple[float, Interval | None]]
    """Quantity → mean over the last third of the steps, with its interval over seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished run."""

    arm: str
    seed: int
    steps: tuple[TrainingStep, ...]
    last: MetricTable
    """Its last checkpoint on the held-out problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureOf:
    """A figure that the page shows, and the arms in it."""

    name: str
    title: str
    arms: tuple[str, ...]
    quantities: tuple[str, ...] = ()
    """Over steps; none: KL against pass@1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPage:
    """All that the page of a study says, apart from its words."""

    name: str
    is_of_methods: bool
    """Whether arms have several training seeds; what has one speaks of that run only."""
    trained: tuple[TrainedArm, ...]
    settings: tuple[tuple[str, str, str], ...]
    """(what, in the paper, here)."""
    view: BenchmarkView
    """The start and the arms as checkpoints; an arm's intervals are over training seeds and problems. With
    one seed an arm: the start and the runs' last checkpoints, compared with the start."""
    last_mean: MetricTables
    """Of the arms, over each run's last checkpoints."""
    lifts: tuple[Lift, ...]
    lift_bounds: LiftBounds
    experiments: tuple[JudgedExperiment, ...]
    contrasts: tuple[Contrast, ...]
    curves: tuple[Curve, ...]
    paths: tuple[Path, ...]
    figures: tuple[FigureOf, ...]
    pass_at_k_arms: tuple[str, ...]
    """Checkpoints of the view whose curves are drawn."""
    runs: tuple[Run, ...]
    notes: tuple[str, ...]
    """What limits the study, a sentence each."""
    rebuild: str


QUANTITIES = {
    "reward": "training reward",
    "kl_start": "KL to the start (nats a token)",
    "entropy": "entropy (nats a token)",
    "length": "response length (tokens)",
    "groups_equal": "groups of equal rewards (%)",
}
"""Quantity of a training step → its axis; shares are drawn in percent."""
