"""What the finished runs of a study came to, by arm and by pair of arms."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from opo_eval.records import MetricTable, TrainingStep
from opo_eval.report.training_data import Point
from opo_eval.study import series, tables
from opo_eval.study.claims import CONTRASTS, EXPERIMENTS, ArmResults, Pair
from opo_eval.study.settings import RunPlan, Study


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a study has come to so far."""

    study: Study
    trained: tuple[RunPlan, ...]
    """The runs that are finished."""
    steps: Mapping[str, tuple[TrainingStep, ...]]
    """By name of the run."""
    evaluated: tables.Evaluated
    failed: Mapping[str, str]
    """Name of a run → why it is not finished."""

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Those that are compared: with several finished seeds, or with one where none has more."""
        n_seeds = {arm: len(self.runs_of(arm)) for arm in self.study.arms}
        least = 2 if max(n_seeds.values()) > 1 else 1
        return tuple(arm for arm, n in n_seeds.items() if n >= least)

    @property
    def is_of_methods(self) -> bool:
        """Whether arms have several seeds."""
        return all(len(self.runs_of(arm)) > 1 for arm in self.arms)

    def runs_of(self, arm: str) -> dict[int, tuple[TrainingStep, ...]]:
        """Seed → the steps of its run."""
        return {plan.seed: self.steps[plan.name] for plan in self.trained if plan.arm == arm}

    def last_of(self, arm: str) -> tuple[str, list[MetricTable]]:
        """The arm in print and its runs' last checkpoints."""
        return self.label(arm), list(self.evaluated.last[arm].values())

    def label(self, arm: str) -> str:
        """The arm in print."""
        return self.study.labels[arm]

    def clipped(self, arm: str) -> float | None:
        """Share of the arm's steps whose gradient was clipped, mean over its runs; None without a clip."""
        plans = [plan for plan in self.trained if plan.arm == arm]
        shares = [series.clipped_share(self.steps[p.name], p.config.gradient_clip) for p in plans]
        known = [share for share in shares if share is not None]
        return sum(known) / len(known) if len(known) == len(shares) else None

    def points_of(self, arm: str) -> tuple[tuple[Point, ...], ...]:
        """The checkpoints of each run: KL to the start and pass@1."""
        shares = self.evaluated.pass_at_1[arm]
        return tuple(series.points(steps, shares[seed]) for seed, steps in self.runs_of(arm).items())

    @cached_property
    def pairs(self) -> dict[tuple[str, str], Pair]:
        """The pairs of arms that claims and contrasts are about, where both have several seeds."""
        wanted = [(one.a, one.b) for one in EXPERIMENTS] + [(a, b) for _, a, b in CONTRASTS]
        there = self.arms if self.is_of_methods else ()
        return {pair: self._pair(*pair) for pair in wanted if set(pair) <= set(there)}

    def _pair(self, a: str, b: str) -> Pair:
        metrics = tables.between(self.last_of(a), self.last_of(b))
        return Pair(a=self._arm(a), b=self._arm(b), metrics=metrics)

    def _arm(self, arm: str) -> ArmResults:
        return ArmResults(
            label=self.label(arm),
            runs=self.runs_of(arm),
            paths=self.points_of(arm),
            problems_per_step=self.study.plans_of(arm)[0].config.problems_per_step,
        )
