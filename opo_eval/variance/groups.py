"""What a group of G responses says of a problem's policy gradient, under every baseline.

The estimate is ĝ = (1/G) Σ A_i s_i, with score vectors s_i = ∇ log π(y_i|x) and advantages A_i = r_i - b_i
(arXiv 2505.23585, Eq. 11). The n independent samples of a problem are put into random orders, and each order
is cut into M = n // G groups. Two groups a and b of an order are independent and alike, so that

    E ⟨ĝ_a, ĝ_b⟩ = ‖E ĝ‖²     and     E ‖ĝ_a - ĝ_b‖² / 2 = E ‖ĝ‖² - ‖E ĝ‖² = tr Cov ĝ,

without bias, whatever the baseline; the mean over all pairs of many orders is an (incomplete) U-statistic of
the n samples. All of it needs the inner products of score vectors only. There are three kinds of baselines:

    of the group, own response included      dr_grpo, opo: ĝ expects less than the gradient, or another one
    of the group's other responses           rloo, opo_loo, optimal_loo: unbiased
    of the samples outside both groups       mean_held_out, ...: unbiased, and nearly without the noise of a
                                             baseline that is itself estimated from a few responses
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opo_eval.errors import UsageError
from opo_eval.rl.advantages import ADVANTAGES

Floats = NDArray[np.float64]

REFERENCE = "rloo"
"""Unbiased: what it expects is the gradient."""
N_ORDERS = 500
_CELLS_AT_ONCE = 2**22


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredProblem:
    """The n samples of a problem, as the variance of policy gradients sees them."""

    problem_id: str
    source_id: str
    rewards: Floats
    """[n]: 1 for CORRECT, 0 for every other strict verdict; samples without a reward are left out."""
    lengths: Floats
    """[n], in tokens."""
    products: Floats
    """[n, n]: inner products of score vectors."""
    indices: tuple[int, ...] = ()
    """Which samples of the problem these are, [n]; empty where they have no names."""

    @property
    def squared_norms(self) -> Floats:
        """‖∇ log π‖², [n]."""
        return np.diagonal(self.products)

    def weights(self, weighting: str) -> Floats:
        """[n]: what a baseline weighs the samples with; weighting: equal, length or norm."""
        by_name = {"equal": np.ones_like(self.lengths), "length": self.lengths, "norm": self.squared_norms}
        return by_name[weighting]

    def baseline(self, weighting: str) -> float:
        """The weighted mean reward of all n samples; NaN where no sample has a weight."""
        weights = self.weights(weighting)
        return float(weights @ self.rewards / weights.sum()) if weights.sum() > 0 else float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What is subtracted from the rewards."""

    name: str
    meaning: str
    estimator: str | None
    """In `ADVANTAGES`; None for a baseline of held-out samples."""
    weighting: str = "equal"
    """Of the samples in the baseline; see `ScoredProblem.weights`."""
    unbiased: bool = True
    """Whether ĝ expects the gradient itself."""


BASELINES = (
    Baseline(name="none", meaning="none", estimator="reinforce"),
    Baseline(name="dr_grpo", meaning="mean of the group", estimator="dr_grpo", unbiased=False),
    Baseline(name="rloo", meaning="mean of the others", estimator="rloo"),
    Baseline(
        name="opo",
        meaning="length-weighted mean of the group",
        estimator="opo",
        weighting="length",
        unbiased=False,
    ),
    Baseline(
        name="opo_loo",
        meaning="length-weighted mean of the others",
        estimator="opo_loo",
        weighting="length",
    ),
    # OPO with the weights that lengths stand for.
    Baseline(
        name="optimal_loo",
        meaning="norm²-weighted mean of the others",
        estimator="opo_loo",
        weighting="norm",
    ),
    Baseline(name="mean_held_out", meaning="mean of held-out samples", estimator=None),
    Baseline(
        name="length_held_out",
        meaning="length-weighted mean of held-out samples",
        estimator=None,
        weighting="length",
    ),
    Baseline(
        name="optimal_held_out",
        meaning="norm²-weighted mean of held-out samples: the optimal constant",
        estimator=None,
        weighting="norm",
    ),
)
"""In the order in which tables show them."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Unbiased estimates for one problem, [baselines] each."""

    power: Floats
    """E ‖ĝ‖²"""
    signal: Floats
    """‖E ĝ‖²"""
    agreement: Floats
    """⟨E ĝ, g⟩ with the gradient g, which `REFERENCE` expects."""

    @property
    def variance(self) -> Floats:
        """tr Cov ĝ"""
        return self.power - self.signal


def usable_baselines(n: int, group_size: int) -> tuple[Baseline, ...]:
    """Those that n samples of a problem can tell of: without samples to hold out, no held-out ones.

    Raises UsageError where n holds no two groups, or a group no other response.
    """
    if not 2 <= group_size <= n // 2:
        raise UsageError(
            f"--group-size {group_size} does not fit -n {n}: a group takes 2 responses or more, and n two "
            "groups or more"
        )
    return tuple(baseline for baseline in BASELINES if n > 2 * group_size or baseline.estimator)


def moments(
    problem: ScoredProblem,
    baselines: tuple[Baseline, ...],
    group_size: int,
    *,
    rng: np.random.Generator,
    n_orders: int = N_ORDERS,
) -> Moments:
    """Of groups of this size, over all pairs of groups of `n_orders` random orders of the samples."""
    totals = np.zeros((3, len(baselines)))
    for groups in _orders(problem, group_size, rng, n_orders):
        for place, baseline in enumerate(baselines):
            totals[:, place] += groups.sums(baseline)
    return Moments(*(totals / n_orders))


# --- the groups of many orders at once --------------------------------------------------------------


def _orders(
    problem: ScoredProblem, group_size: int, rng: np.random.Generator, n_orders: int
) -> Iterator["_Groups"]:
    n = len(problem.rewards)
    at_once = max(1, _CELLS_AT_ONCE // n**2)
    n_groups = n // group_size
    for start in range(0, n_orders, at_once):
        rows = np.tile(np.arange(n), (min(at_once, n_orders - start), 1))
        orders = rng.permuted(rows, axis=1)[:, : n_groups * group_size]
        yield _Groups(problem, orders.reshape(-1, n_groups, group_size))


class _Groups:
    """O orders of a problem's samples in M groups of G."""

    def __init__(self, problem: ScoredProblem, places: NDArray[np.intp]) -> None:
        self.problem, self.places = problem, places
        n_orders, n_groups, group_size = places.shape
        flat = places.reshape(n_orders, -1)
        shape = (n_orders, n_groups, group_size, n_groups, group_size)
        self.products = problem.products[flat[:, :, None], flat[:, None, :]].reshape(shape)
        """[O, M, G, M, G]"""
        self.rewards = problem.rewards[places]
        """[O, M, G]"""
        self.other = ~np.eye(n_groups, dtype=bool)
        """[M, M]: pairs of groups, not of a group with itself."""
        reference = self._advantages(REFERENCE, "equal")
        self.reference = self._times(reference)
        """[O, M, G, M]: products of every score vector with every group's reference estimate."""

    def sums(self, baseline: Baseline) -> tuple[float, float, float]:
        """Power, signal and agreement: means over the pairs of groups, summed over the orders."""
        if baseline.estimator is None:
            power, signal, agreement = self._held_out(baseline.weighting)
        else:
            power, signal, agreement = self._in_group(
                self._advantages(baseline.estimator, baseline.weighting)
            )
        pairs = (values[:, self.other].mean(axis=1).sum() for values in (power, signal, agreement))
        return tuple(pairs)  # type: ignore[return-value]

    def _in_group(self, advantages: Floats) -> tuple[Floats, Floats, Floats]:
        """[O, M, M] each: of the first group, of both, and of the first with the second's reference."""
        products = self._with(advantages, self._times(advantages))
        own = np.diagonal(products, axis1=1, axis2=2)[:, :, None]
        return np.broadcast_to(own, products.shape), products, self._with(advantages, self.reference)

    def _held_out(self, weighting: str) -> tuple[Floats, Floats, Floats]:
        """The same, of A = r - b with b of the samples outside both groups: quadratic in b."""
        b = self._outside(weighting)
        ones = np.ones_like(self.rewards)
        r_times, s_times = self._times(self.rewards), self._times(ones)
        rr, rs, ss = (
            self._with(self.rewards, r_times),
            self._with(self.rewards, s_times),
            self._with(ones, s_times),
        )
        rr_own, rs_own, ss_own = (np.diagonal(x, axis1=1, axis2=2)[:, :, None] for x in (rr, rs, ss))
        power = rr_own - 2 * b * rs_own + b**2 * ss_own
        signal = rr - b * (rs + rs.swapaxes(1, 2)) + b**2 * ss
        agreement = self._with(self.rewards, self.reference) - b * self._with(ones, self.reference)
        return power, signal, agreement

    def _outside(self, weighting: str) -> Floats:
        """Weighted mean reward of the samples outside each pair of groups, [O, M, M].

        0 where these have no weight: every number is an unbiased baseline.
        """
        weights = self.problem.weights(weighting)
        weighted, support = self._left(weights * self.problem.rewards), self._left(weights)
        return np.divide(weighted, support, out=np.zeros_like(support), where=support > 0)

    def _left(self, values: Floats) -> Floats:
        """Sum over the samples outside each pair of groups: [n] → [O, M, M]."""
        inside = values[self.places].sum(axis=2)
        # Rounding may leave a little of a sum of nothing, above or below 0.
        left = values.sum() - inside[:, :, None] - inside[:, None, :]
        return np.where(left > 1e-9 * np.abs(values).sum(), left, 0.0)

    def _advantages(self, estimator: str, weighting: str) -> Floats:
        """[O, M, G]"""
        n_orders, n_groups, group_size = self.places.shape
        weights = self.problem.weights(weighting)[self.places]
        rows = (values.reshape(-1, group_size) for values in (self.rewards, weights))
        return ADVANTAGES[estimator](*rows).reshape(n_orders, n_groups, group_size)

    def _times(self, weights: Floats) -> Floats:
        """Products of every score vector with the weighted mean of every group's: [O, M, G, M]."""
        return np.einsum("omgkh,okh->omgk", self.products, weights) / weights.shape[2]

    def _with(self, weights: Floats, times: Floats) -> Floats:
        """[O, M, M]: products of the groups' weighted means with what `times` was made of."""
        return np.einsum("omg,omgk->omk", weights, times) / weights.shape[2]
