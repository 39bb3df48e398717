"""From a graded run and its gradients to what its report says."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opo_eval.errors import InputError
from opo_eval.progress import Progress
from opo_eval.records import Grade, Group, Verdict
from opo_eval.stats import Floats
from opo_eval.store import RunDir, RunIndex
from opo_eval.variance.groups import (
    N_ORDERS,
    REFERENCE,
    Baseline,
    Moments,
    ScoredProblem,
    moments,
    usable_baselines,
)
from opo_eval.variance.lengths import LengthFit, fit_lengths
from opo_eval.variance.summaries import Estimate, Statistic, summarise

if TYPE_CHECKING:
    from opo_eval.rl.variance import GradientOptions, ScoreProducts

NO_BASELINE = "none"
COMPARED = (
    ("opo_loo", "rloo"),
    ("optimal_loo", "rloo"),
    ("length_held_out", "mean_held_out"),
    ("optimal_held_out", "mean_held_out"),
)
"""Baselines that differ in nothing but how they weigh the same samples."""


@dataclass(frozen=True, kw_only=True)
class VarianceOptions:
    """What a user may choose about the estimates."""

    group_size: int | None = None
    """Responses in a group; default: 8, or a quarter of n where that is less."""
    n_orders: int = N_ORDERS
    """Random orders of each problem's samples from which groups are taken."""
    seed: int = 0
    """Of these orders and of the resamples."""
    grader: str | None = None
    """Signature of the grader; default: the last that graded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineVariance:
    """The variance of the policy gradient under one baseline; a number that is undefined is None."""

    baseline: Baseline
    variance: Estimate | None
    """Trace of the covariance of a group's estimate, mean over the problems."""
    to_none: Estimate | None
    """Times that of no baseline."""
    to_rloo: Estimate | None
    """Times that of the leave-one-out mean."""
    to_none_rescaled: Estimate | None
    """The same two, once ĝ is rescaled to expect as much along the gradient as an unbiased estimate."""
    to_rloo_rescaled: Estimate | None
    length: Estimate | None
    """‖E ĝ‖ / ‖g‖: how long what it expects is, in lengths of the gradient, problem by problem."""
    cosine: Estimate | None
    """Of the angle between what it expects and the gradient, problem by problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Constant baselines of a problem, from all of its samples; means over the problems with both rewards."""

    mean: Estimate | None
    """The mean reward."""
    length_less_mean: Estimate | None
    """The length-weighted mean reward less the mean reward."""
    optimal_less_mean: Estimate | None
    """The optimum, E[‖∇ log π‖² r] / E[‖∇ log π‖²], less the mean reward."""


@dataclass(frozen=True, kw_only=True)
class VarianceStudy:
    """Everything that the report says."""

    checkpoint: str
    benchmark: str
    n: int
    """Samples a problem."""
    group_size: int
    gradients: str
    """Signature of how gradients were taken."""
    gradient_error: float
    """Upper bound of the relative standard error that a projection adds to a squared norm; else 0."""
    grader: str
    options: VarianceOptions
    verdicts: Mapping[str, int]
    n_unscorable: int
    """Samples whose verdict says nothing of their answer (`opo_eval.rl.rewards.UNSCORABLE`): left out."""
    n_problems_left_out: int
    """Problems with too few other samples for two groups, and for held-out baselines where there are any."""
    problems: tuple[ScoredProblem, ...]
    fit: LengthFit
    constants: Constants
    baselines: tuple[BaselineVariance, ...]
    ratios: Mapping[tuple[str, str], Estimate | None]
    """Variance of one baseline in multiples of another's, for the pairs of `COMPARED` that there are."""
    moments: tuple[Moments, ...]
    """Of each problem."""

    @property
    def n_mixed(self) -> int:
        """Problems with correct and other samples: the others teach a group of theirs nothing."""
        return sum(map(_is_mixed, self.problems))


def measure_variance(
    run: RunDir,
    n: int,
    *,
    gradients: "GradientOptions | None" = None,
    options: VarianceOptions | None = None,
    quiet: bool = False,
) -> VarianceStudy:
    """Take the gradients of samples 0 to n - 1 of every problem of a graded run, and study them.

    Gradients that the run directory holds already are not taken again. Raises what `measure_products` and
    `study_variance` raise.
    """
    from opo_eval.rl.variance import measure_products  # seconds, for torch

    usable_baselines(n, (options or VarianceOptions()).group_size or default_group_size(n))
    products = measure_products(run, n, gradients, quiet=quiet)
    return study_variance(run, products, options, quiet=quiet)


def study_variance(
    run: RunDir,
    products: "Mapping[str, ScoreProducts]",
    options: VarianceOptions | None = None,
    *,
    quiet: bool = False,
) -> VarianceStudy:
    """The study of a graded run whose gradients have been taken; products: of every problem, by its id.

    Rewards are those of training: what could not be graded has none and is left out.

    Raises UsageError for a group size that n does not hold, InputError where samples are not graded, or of
    no problem enough could be.
    """
    from opo_eval.rl.variance import relative_error

    options = options or VarianceOptions()
    index = run.index()
    grader = _grader(index, options.grader)
    some = next(iter(products.values()))
    groups = list(index.groups(grader))
    settings = run.manifest.settings
    group_size = options.group_size or default_group_size(some.n)
    baselines = usable_baselines(some.n, group_size)
    scored = [_scored(group, products[group.problem.id], grader) for group in groups]
    problems = _large_enough(scored, baselines, group_size, run)
    return VarianceStudy(
        checkpoint=settings.checkpoint.name,
        benchmark=settings.benchmark,
        n=some.n,
        group_size=group_size,
        gradients=some.gradients,
        gradient_error=relative_error(some.gradients),
        grader=grader,
        options=options,
        verdicts=_verdicts(groups, some.n),
        n_unscorable=sum(some.n - len(problem.rewards) for problem in scored),
        n_problems_left_out=len(scored) - len(problems),
        **_findings(problems, baselines, group_size, options, quiet=quiet),
    )


def default_group_size(n: int) -> int:
    """8, or a quarter of n where that is less, so that half of the samples can be held out."""
    return max(2, min(8, n // 4))


def _findings(
    problems: tuple[ScoredProblem, ...],
    baselines: tuple[Baseline, ...],
    group_size: int,
    options: VarianceOptions,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """The fields of a study that are computed from its problems."""
    rng = np.random.default_rng(options.seed)
    with Progress("variance of groups", len(problems), unit="problems", quiet=quiet, after_s=3) as progress:
        found = tuple(
            moments(problem, baselines, group_size, rng=rng, n_orders=options.n_orders)
            for problem in progress.watch(problems)
        )
    return {
        "problems": problems,
        "fit": fit_lengths(problems, rng=rng),
        "constants": _constants(problems, rng),
        "moments": found,
        **_variances(baselines, found, rng),
    }


# --- the samples ------------------------------------------------------------------------------------


def _grader(index: RunIndex, wanted: str | None) -> str:
    if wanted is not None and wanted not in index.grades:
        raise InputError(f"{wanted!r} has graded nothing of {index.run.path}: run `opo-eval grade` first")
    if not index.grades:
        raise InputError(f"{index.run.path} is not graded: run `opo-eval grade {index.run.path}` first")
    return wanted or list(index.grades)[-1]


def _scored(group: Group, products: "ScoreProducts", grader: str) -> ScoredProblem:
    """The samples that have a reward."""
    from opo_eval.rl.rewards import verdict_reward

    grades = _grades(group, products.n, grader)
    rewards = np.array([verdict_reward(grade.verdict) for grade in grades])
    (kept,) = np.nonzero(~np.isnan(rewards))
    return ScoredProblem(
        problem_id=group.problem.id,
        source_id=group.problem.source_id,
        rewards=rewards[kept],
        lengths=np.array(products.lengths, dtype=np.float64)[kept],
        products=products.matrix()[np.ix_(kept, kept)],
        indices=tuple(grades[place].index for place in kept),
    )


def _grades(group: Group, n: int, grader: str) -> list[Grade]:
    grades = [graded.grade for graded in group.samples[:n] if graded.grade is not None]
    if len(grades) < n:
        missing = next(graded.sample.index for graded in group.samples[:n] if graded.grade is None)
        raise InputError(
            f"sample {missing} of problem {group.problem.source_id} is not graded by {grader}: run `opo-eval "
            "grade` with the same settings again"
        )
    return grades


def _large_enough(
    problems: Sequence[ScoredProblem], baselines: tuple[Baseline, ...], group_size: int, run: RunDir
) -> tuple[ScoredProblem, ...]:
    """Those with samples for two groups and, where some are to be held out, for that."""
    holds_out = any(baseline.estimator is None for baseline in baselines)
    least = 2 * group_size + holds_out
    kept = tuple(problem for problem in problems if len(problem.rewards) >= least)
    if not kept:
        raise InputError(
            f"no problem of {run.path} has {least} samples that could be graded: grade them again with more "
            "time, or mend the golds"
        )
    return kept


def _verdicts(groups: Sequence[Group], n: int) -> dict[str, int]:
    found = Counter(graded.grade.verdict for group in groups for graded in group.samples[:n] if graded.grade)
    return {str(verdict): found[verdict] for verdict in Verdict}


def _is_mixed(problem: ScoredProblem) -> bool:
    return len(np.unique(problem.rewards)) > 1


# --- what they come to ------------------------------------------------------------------------------


def _constants(problems: Sequence[ScoredProblem], rng: np.random.Generator) -> Constants:
    mixed = [problem for problem in problems if _is_mixed(problem)]
    if not mixed:
        return Constants(mean=None, length_less_mean=None, optimal_less_mean=None)
    mean, length, norm = (np.array([p.baseline(w) for p in mixed]) for w in ("equal", "length", "norm"))
    terms = np.stack([np.ones_like(mean), mean, length - mean, norm - mean])
    found = summarise(
        {
            "mean": lambda sums: sums[1] / sums[0],
            "length_less_mean": lambda sums: sums[2] / sums[0],
            "optimal_less_mean": lambda sums: sums[3] / sums[0],
        },
        terms,
        rng=rng,
    )
    return Constants(**found)


def _variances(
    baselines: Sequence[Baseline], found: Sequence[Moments], rng: np.random.Generator
) -> dict[str, Any]:
    """The fields of a study about variances, all from the same resamples of the problems."""
    sums = _Sums([baseline.name for baseline in baselines])
    terms = np.stack([[m.power, m.signal, m.agreement] for m in found], axis=-1)
    flat = np.concatenate([terms.reshape(-1, len(found)), np.ones((1, len(found)))])
    statistics: dict[str, Statistic] = {}
    for baseline in baselines:
        statistics |= {f"{baseline.name} {name}": of for name, of in sums.of(baseline).items()}
    pairs = [pair for pair in COMPARED if set(pair) <= set(sums.names)]
    statistics |= {" ".join(("ratio", *pair)): sums.ratio(*pair) for pair in pairs}
    values = summarise(statistics, flat, rng=rng)
    return {
        "ratios": {pair: values[" ".join(("ratio", *pair))] for pair in pairs},
        "baselines": tuple(
            BaselineVariance(
                baseline=baseline, **{name: values[f"{baseline.name} {name}"] for name in sums.of(baseline)}
            )
            for baseline in baselines
        ),
    }


class _Sums:
    """Statistics of the sums over problems of (power, signal, agreement) of every baseline, then a count."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def of(self, baseline: Baseline) -> dict[str, Statistic]:
        """Everything about one baseline; what an unbiased one expects is known, and not estimated."""
        name = baseline.name
        scale = _one if baseline.unbiased else self._scale(name)
        return {
            "variance": lambda s: self._variance(s, name) / s[-1],
            "to_none": self.ratio(name, NO_BASELINE),
            "to_rloo": self.ratio(name, REFERENCE),
            "to_none_rescaled": lambda s: self.ratio(name, NO_BASELINE)(s) / scale(s) ** 2,
            "to_rloo_rescaled": lambda s: self.ratio(name, REFERENCE)(s) / scale(s) ** 2,
            "length": _one if baseline.unbiased else self._length(name),
            "cosine": _one if baseline.unbiased else lambda s: scale(s) / self._length(name)(s),
        }

    def ratio(self, name: str, other: str) -> Statistic:
        """Variance of one baseline in multiples of another's."""
        return lambda s: self._variance(s, name) / self._variance(s, other)

    def _scale(self, name: str) -> Statistic:
        """What of the gradient ĝ expects along it, in multiples of the gradient."""
        return lambda s: self._agreement(s, name) / self._signal(s, REFERENCE)

    def _length(self, name: str) -> Statistic:
        return lambda s: np.sqrt(self._signal(s, name) / self._signal(s, REFERENCE))

    def _variance(self, s: Floats, name: str) -> Floats:
        return s[self.names.index(name)] - self._signal(s, name)

    def _signal(self, s: Floats, name: str) -> Floats:
        return s[len(self.names) + self.names.index(name)]

    def _agreement(self, s: Floats, name: str) -> Floats:
        return s[2 * len(self.names) + self.names.index(name)]


def _one(sums: Floats) -> Floats:
    return np.ones_like(sums[0])
