"""Training runs as numbers: curves over steps, and what each run came to, compared over seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, sqrt

import numpy as np

from opo_eval.records import Better, Comparison, Interval, TrainingStep, Unit
from opo_eval.report.training_data import Curve, Path, Point
from opo_eval.stats.ratios import ROUNDING
from opo_eval.stats.student import t_bounds, t_quantile, t_two_sided_p

LEVEL = 0.95
SEEDS = "training seeds"
"""The `kind` of an interval over the seeds of one method; the training problems differ by seed too."""
Steps = Sequence[TrainingStep]
Runs = Mapping[int, Steps]
"""Seed → the steps of its run."""
Window = Callable[[Steps, str], float | None]
"""From a run's steps and a quantity to its mean over some of them."""

READ: dict[str, Callable[[TrainingStep], float | None]] = {
    "reward": lambda step: step.reward,
    "kl_start": lambda step: step.kl_start,
    "entropy": lambda step: step.entropy,
    "length": lambda step: step.length,
    "groups_equal": lambda step: step.groups_equal,
}
"""Quantity → its value in a step; None where the step does not have it."""


# --- curves -----------------------------------------------------------------------------------------


def curve(arm: str, quantity: str, runs: Runs, *, block: int) -> Curve | None:
    """The mean over seeds of a quantity, averaged over blocks of steps first; None where no step has it.

    Each block has Student's t interval over the seeds. A block that some seed measured at other steps, or not
    at all, is left out.
    """
    by_seed = [_blocks(steps, quantity, block) for steps in runs.values()]
    middles = sorted(set.intersection(*(set(blocks) for blocks in by_seed))) if by_seed else []
    if not middles:
        return None
    values = np.array([[blocks[middle] for middle in middles] for blocks in by_seed])
    return Curve(
        arm=arm,
        quantity=quantity,
        steps=tuple(middles),
        means=tuple(values.mean(axis=0).tolist()),
        intervals=tuple(mean_interval(column) for column in values.T.tolist()),
        n_seeds=len(by_seed),
        block=block,
    )


def _blocks(steps: Steps, quantity: str, block: int) -> dict[float, float]:
    """Middle of a block → mean over those of its steps that have the quantity."""
    found: dict[int, list[tuple[int, float]]] = {}
    for step in steps:
        value = READ[quantity](step)
        if value is not None:
            found.setdefault((step.step - 1) // block, []).append((step.step, value))
    return dict(np.mean(pairs, axis=0).tolist() for pairs in found.values())


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Student's t interval of a mean over seeds; None with fewer than two, or where all are alike."""
    error = sqrt(_variance_of_mean(values)) if len(values) > 1 else 0.0
    return _interval(float(np.mean(values)), error, len(values) - 1) if error else None


def _variance_of_mean(values: Sequence[float]) -> float:
    """0 where the values differ by no more than what sums of floats leave."""
    if np.ptp(values) <= ROUNDING * np.max(np.abs(values)):
        return 0.0
    return float(np.var(values, ddof=1)) / len(values)


def _interval(value: float, error: float, freedom: float) -> Interval:
    low, high = t_bounds(np.array([value]), np.array([error]), freedom, LEVEL)[:, 0].tolist()
    return Interval(low=low, high=high, level=LEVEL, kind=SEEDS)


# --- what a run came to -----------------------------------------------------------------------------


def first_third(steps: Steps, quantity: str) -> float | None:
    """Mean over the first third of a run's steps; None where none of them has it."""
    return _mean_of(steps[: -(-len(steps) // 3)], quantity)


def last_third(steps: Steps, quantity: str) -> float | None:
    """Mean over the last third of a run's steps; None where none of them has it."""
    return _mean_of(steps[-(-len(steps) // 3) * -1 :], quantity)


def _mean_of(steps: Steps, quantity: str) -> float | None:
    values = [value for value in map(READ[quantity], steps) if value is not None]
    return sum(values) / len(values) if values else None


def clipped_share(steps: Steps, highest: float) -> float | None:
    """Share of a run's steps whose gradient was longer than `highest`, its clip; None where that is 0.

    A step of several updates is counted by their mean length, which is what a step records.
    """
    return sum(step.gradient_norm > highest for step in steps) / len(steps) if highest else None


# --- KL against pass@1 ------------------------------------------------------------------------------


def points(steps: Steps, pass_at_1: Mapping[int, float]) -> tuple[Point, ...]:
    """The start and the checkpoints of a run that have both numbers.

    pass_at_1: by step, the start's as that of step 0. The KL of a checkpoint is what the next step measured,
    whose rollout it drew. Where that step did not, or is none, it is the last that was measured before.
    """
    kl = {step.step - 1: step.kl_start for step in steps if step.kl_start is not None}
    found = []
    for step, value in sorted(pass_at_1.items()):
        before = [measured for measured in kl if measured <= step]
        if step == 0 or before:
            found.append(Point(step=step, kl=kl[max(before)] if step else 0.0, pass_at_1=value))
    return tuple(found)


def path(arm: str, runs: Sequence[tuple[Point, ...]]) -> Path:
    """An arm's runs and their means over the seeds, at the steps that all have."""
    by_step = [{point.step: point for point in run} for run in runs]
    shared = sorted(set.intersection(*map(set, by_step))) if by_step else []
    means = tuple(
        Point(
            step=step,
            kl=float(np.mean([own[step].kl for own in by_step])),
            pass_at_1=float(np.mean([own[step].pass_at_1 for own in by_step])),
        )
        for step in shared
    )
    return Path(arm=arm, runs=tuple(runs), means=means)


def kl_at(run: Sequence[Point], level: float) -> float | None:
    """KL of a run where its pass@1 first reaches a level, between checkpoints in proportion; None: never."""
    return _first_at([(point.pass_at_1, point.kl) for point in run], level)


def pass_at_1_at(run: Sequence[Point], level: float) -> float | None:
    """pass@1 of a run where its KL first reaches a level, between checkpoints in proportion; None: never."""
    return _first_at([(point.kl, point.pass_at_1) for point in run], level)


def _first_at(pairs: Sequence[tuple[float, float]], level: float) -> float | None:
    for (x0, y0), (x1, y1) in pairwise(pairs):
        if x0 < level <= x1:
            return y0 + (y1 - y0) * (level - x0) / (x1 - x0)
    return None


# --- two arms over seeds ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that each run has one of."""

    name: str
    unit: Unit
    better: Better
    where: str
    """What it was measured on."""
    n_problems: int
    """That each run's number is a mean over."""
    signature: str


def welch(
    measure: Measure, a: tuple[str, Sequence[float]], b: tuple[str, Sequence[float]], *, null: float = 0.0
) -> Comparison:
    """`b` minus `a` of (arm, one value a seed) each, by Welch's t over seeds.

    The p-value is that of "the difference is `null`". Raises ValueError with fewer than two
    seeds on a side.
    """
    (name_a, values_a), (name_b, values_b) = a, b
    if min(len(values_a), len(values_b)) < 2:
        raise ValueError("an arm takes two training seeds or more")
    mean_a, mean_b = float(np.mean(values_a)), float(np.mean(values_b))
    variances = [_variance_of_mean(values) for values in (values_a, values_b)]
    error, freedom = sqrt(sum(variances)), _satterthwaite(variances, (len(values_a), len(values_b)))
    delta = mean_b - mean_a
    interval = p = None
    if error > 0:
        interval = _interval(delta, error, freedom)
        p = float(t_two_sided_p((delta - null) / error, freedom))
    reach = t_quantile((1 + LEVEL) / 2, freedom) + t_quantile(0.8, freedom)
    return Comparison(
        benchmark=measure.where,
        metric=measure.name,
        a=name_a,
        b=name_b,
        value_a=mean_a,
        value_b=mean_b,
        delta=delta,
        interval=interval,
        p_value=p,
        mde80=float(reach) * error or None,
        unit=measure.unit,
        better=measure.better,
        n_problems=measure.n_problems,
        n_train_seeds=min(len(values_a), len(values_b)),
        signature=measure.signature,
    )


def _satterthwaite(variances: Sequence[float], sizes: Sequence[int]) -> float:
    shares = sum(v**2 / (n - 1) for v, n in zip(variances, sizes, strict=True))
    freedom = sum(variances) ** 2 / shares if shares else 1.0
    return freedom if isfinite(freedom) else 1.0
