"""Arms: several training runs of one method that differ by seed, compared over seeds and problems.

The question is about the method: would new training seeds, on other problems of this kind, show the
difference again? Seeds and problems vary independently of one another (a crossed design), so both
variances count; what a seed does to a single problem is in both and is counted once (Cameron, Gelbach
and Miller 2011, "Robust Inference with Multiway Clustering", with seed and problem as the two ways).
"""

from dataclasses import dataclass

import numpy as np

from opo_eval.errors import InputError
from opo_eval.records import Interval
from opo_eval.stats.paired import detectable
from opo_eval.stats.ratios import Floats, Sums, checked, difference, influence, ratio
from opo_eval.stats.student import t_bounds, t_two_sided_p

SEEDS_AND_PROBLEMS = "training seeds and problems like these"


@dataclass(frozen=True, kw_only=True)
class ArmDifferences:
    """`b` minus `a` of several metrics: [metrics] each."""

    values_a: Floats
    values_b: Floats
    errors: Floats
    degrees_of_freedom: Floats

    @property
    def deltas(self) -> Floats:
        """b minus a."""
        return difference(self.values_b, self.values_a, of=np.abs(self.values_a) + np.abs(self.values_b))

    def intervals(self, level: float = 0.95) -> list[Interval]:
        """Student's t intervals."""
        bounds = t_bounds(self.deltas, self.errors, self.degrees_of_freedom, level)
        return [
            Interval(low=low, high=high, level=level, kind=SEEDS_AND_PROBLEMS)
            for low, high in bounds.T.tolist()
        ]

    def p_values(self) -> Floats:
        """Two-sided, of "the methods do not differ"; 1 where nothing differs at all.

        NaN where the arms differ and neither seeds nor problems vary: there is nothing to judge that by.
        """
        still = self.errors == 0
        t = self.deltas / np.where(still, 1.0, self.errors)
        p = t_two_sided_p(t, np.where(still, 1.0, self.degrees_of_freedom))
        return np.where(still, np.where(self.deltas == 0, 1.0, np.nan), p)

    def minimum_detectable_effects(self, *, power: float = 0.8, level: float = 0.95) -> Floats:
        """The true difference that as many seeds and problems would tell from 0 with the given power."""
        return detectable(self.errors, self.degrees_of_freedom, power=power, level=level)


def arm_differences(a: Sums, b: Sums) -> ArmDifferences:
    """Compare two arms on the same problems.

    a, b: (numerators, denominators), [seeds, metrics, problems] each; the numbers of seeds may differ. An
    arm's value is the mean of its seeds' values. The degrees of freedom are Satterthwaite's (1946). Raises
    InputError with fewer than two seeds in an arm or two problems: there is no spread to estimate then.
    """
    arms = [_Arm(*checked(*side)) for side in (a, b)]
    m = _common_problems(arms)
    size = np.abs(arms[0].values) + np.abs(arms[1].values)
    pull = difference(arms[1].pull, arms[0].pull, of=size[:, None])
    over_problems = pull.var(axis=-1, ddof=1) / m
    over_seeds = np.stack([arm.over_seeds for arm in arms])
    both = over_problems + over_seeds.sum(axis=0) - sum(arm.over_both for arm in arms)
    # What is subtracted is an estimate too, and must not take away more than was counted twice.
    variance = np.maximum(both, np.maximum(over_problems, over_seeds.sum(axis=0)))
    shares = over_problems**2 / (m - 1) + sum(arm.over_seeds**2 / (arm.n_seeds - 1) for arm in arms)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.where(shares > 0, variance**2 / shares, 1.0)
    return ArmDifferences(
        values_a=arms[0].values, values_b=arms[1].values, errors=np.sqrt(variance), degrees_of_freedom=freedom
    )


class _Arm:
    """One method: numerators and denominators [seeds, metrics, problems]."""

    def __init__(self, num: Floats, den: Floats) -> None:
        if num.ndim != 3 or len(num) < 2:
            seeds = len(num) if num.ndim == 3 else 1
            raise InputError(f"an arm takes 2 training seeds or more, not {seeds}: train the method again")
        self.n_seeds, _, self.n_problems = num.shape
        by_seed = ratio(num, den)
        self.values = by_seed.mean(axis=0)
        pulls = influence(num, den)
        self.pull = pulls.mean(axis=0)
        spread = (difference(by_seed, self.values, of=self.values) ** 2).sum(axis=0) / (self.n_seeds - 1)
        self.over_seeds = spread / self.n_seeds
        odd = (difference(pulls, self.pull, of=self.values[:, None]) ** 2).sum(axis=(0, -1))
        freedom = (self.n_seeds - 1) * max(self.n_problems - 1, 1)
        self.over_both = odd / freedom / (self.n_seeds * self.n_problems)


def _common_problems(arms: list[_Arm]) -> int:
    sizes = {arm.n_problems for arm in arms}
    if len(sizes) > 1 or min(sizes) < 2:
        raise InputError(
            f"arms need the same 2 problems or more, not {' and '.join(map(str, sorted(sizes)))}"
        )
    return min(sizes)
