"""Simulated runs through the product's own functions: the cells of the study of coverage.

Every cell simulates runs of so many problems and samples from a population (populations.py), and counts how
often intervals hold the truth or tests reject. Runs are worked on in batches, as metrics of one table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray
from other_methods import (
    mcnemar,
    paired_t,
    resampled_problems_and_samples,
    resampled_samples,
    unpaired_z,
    unpaired_z_of_samples,
)
from populations import Abilities, Floats, Logits, Pair, Responses, Trained

from opo_eval.metrics.core import of_correct
from opo_eval.metrics.intervals import SEED, Column, row_intervals
from opo_eval.metrics.passk import pass_at_k_curve
from opo_eval.records import Interval, Unit
from opo_eval.stats import (
    Resampled,
    arm_differences,
    sampling_difference_intervals,
    sign_flip_test,
)

Ints = NDArray[np.int64]
BATCH = 50
REJECTED_RESAMPLES = 1_000
ALPHA = 0.05

LIKE_THESE, THESE, BAND = "problems like these", "these problems", "problems like these, all k at once"
ARMS = "training seeds and problems like these"
SIZE, POWER = "no difference, rejected", "a difference, rejected"
PRODUCT = "opo_eval"
WITHIN, TWO_LEVEL = "samples within problems", "problems, then samples"
PLAIN = "bootstrap or t of problems as they are"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A share of simulated runs, with what is needed to say what it is of."""

    question: str
    """What an interval is over, or what a test is asked."""
    population: str
    problems: int
    samples: int
    metric: str
    method: str = PRODUCT
    share: float
    """That hold the truth, or that are rejected."""
    simulations: int
    """Runs that gave an interval or a p-value."""
    above: float | None = None
    """Share of intervals that lie above the truth."""
    below: float | None = None
    width: float | None = None
    """Of the intervals, on average."""

    @property
    def margin(self) -> float:
        """1.96 standard errors of the simulation."""
        return 1.96 * sqrt(self.share * (1 - self.share) / self.simulations)


@dataclass(frozen=True)
class Cell:
    """How large the simulated runs are, and how many there are."""

    problems: int
    samples: int
    simulations: int

    @property
    def ks(self) -> tuple[int, int, int]:
        """1, n / 4 and n / 2."""
        return 1, self.samples // 4, self.samples // 2

    @property
    def every_k(self) -> Ints:
        """1 to n."""
        return np.arange(1, self.samples + 1)

    def batches(self, *names: object) -> Iterator[tuple[int, np.random.Generator]]:
        """How many runs to simulate at a time, and with what generator: the same for the same names."""
        seed = crc32("|".join(map(str, (self.problems, self.samples, *names))).encode())
        rng = np.random.default_rng([SEED, seed])
        for start in range(0, self.simulations, BATCH):
            yield min(BATCH, self.simulations - start), rng


class Tally:
    """Intervals of many runs beside what they should hold."""

    def __init__(self) -> None:
        self._low: list[Floats] = []
        self._high: list[Floats] = []
        self._truth: list[Floats] = []

    def add(self, runs: Sequence[Sequence[Interval | None]], truth: ArrayLike) -> None:
        """Intervals [runs][metrics], None for one that is not given; the truth broadcasts to them."""
        ends = [[(one.low, one.high) if one else (np.nan, np.nan) for one in run] for run in runs]
        self.add_bounds(*np.moveaxis(np.array(ends), -1, 0), truth)

    def add_bounds(self, low: Floats, high: Floats, truth: ArrayLike) -> None:
        """The same as arrays [runs, metrics]."""
        self._low.append(low)
        self._high.append(high)
        self._truth.append(np.broadcast_to(truth, low.shape))

    def figure(self, cell: Cell, places: Sequence[int], **named: str) -> Figure:
        """How often the intervals at these places, all of them, hold the truth."""
        low, high, truth = (np.concatenate(x)[:, places] for x in (self._low, self._high, self._truth))
        given = ~np.isnan(low).any(axis=1)
        above, below = (outside.any(axis=1)[given] for outside in (truth < low, truth > high))
        return Figure(
            problems=cell.problems,
            samples=cell.samples,
            share=float((~(above | below)).mean()),
            simulations=int(given.sum()),
            above=float(above.mean()),
            below=float(below.mean()),
            width=float((high - low)[given].mean()),
            **named,  # type: ignore[arg-type]
        )


# --- pass@k of many runs ----------------------------------------------------------------------------


def by_count(n: int) -> tuple[Floats, Floats]:
    """pass@k and its variance over new samples, by the number of correct samples: [n + 1, k] each."""
    found = [of_correct(pass_at_k_curve, n, c) for c in range(n + 1)]
    return (
        np.array([[value.numerator for value in row] for row in found]),
        np.array([[value.spread.numerator if value.spread else np.nan for value in row] for row in found]),
    )


def of_variances(variances: Floats, n: int) -> Floats:
    """The spreads of means over n samples with these variances: [...] → [4, ...]."""
    zeros = np.zeros_like(variances)
    return np.stack([variances, zeros, zeros, np.full_like(variances, n - 1)])


def of_these(p: Floats, ks: Ints) -> Floats:
    """pass@k of the problems with these chances: [runs, problems] → [runs, k]."""
    return 1 - ((1 - p[..., None]) ** ks).mean(axis=-2)


def as_metrics(runs: Floats) -> Floats:
    """[..., runs, problems, k] → [..., runs × k, problems]: every k of every run is a metric."""
    turned = np.swapaxes(runs, -1, -2)
    return turned.reshape(*turned.shape[:-3], -1, turned.shape[-1])


def with_ones(numerators: Floats) -> tuple[Floats, Floats]:
    """Every problem weighs the same."""
    return numerators, np.ones_like(numerators)


def by_run(intervals: Sequence[Interval], n_runs: int) -> list[list[Interval]]:
    """[runs × metrics] → [runs][metrics]"""
    each = len(intervals) // n_runs
    return [list(intervals[i * each : (i + 1) * each]) for i in range(n_runs)]


# --- intervals of a value ---------------------------------------------------------------------------


def values(population: Abilities, cell: Cell) -> list[Figure]:
    """pass@k through `row_intervals`: both intervals at each k, and the band over all k."""
    like, these, bands = Tally(), Tally(), Tally()
    truth = population.pass_at(cell.every_k.tolist())
    for size, rng in cell.batches("values", population.name):
        p = population.draw((size, cell.problems), rng)
        curves = (_curve(correct, cell.samples) for correct in rng.binomial(cell.samples, p))
        found = row_intervals([column for curve in curves for column in curve])
        runs = [found[i : i + cell.samples] for i in range(0, len(found), cell.samples)]
        like.add([[row.like_these for row in run] for run in runs], truth)
        these.add([[row.these for row in run] for run in runs], of_these(p, cell.every_k))
        # Where all problems are alike there is no band, and a reader has the point's own interval.
        bands.add([[row.band or row.like_these for row in run] for run in runs], truth)
    return _at_each_k(cell, like, these, bands, population.name, "pass@")


def plain_values(population: Abilities, cell: Cell) -> list[Figure]:
    """pass@k by what every metric gets that is no share: without the problem that shares are given."""
    tally, truth = Tally(), population.pass_at(cell.ks)
    for size, rng in cell.batches("values", population.name):
        correct = rng.binomial(cell.samples, population.draw((size, cell.problems), rng))
        numerators = as_metrics(by_count(cell.samples)[0][correct][..., np.array(cell.ks) - 1])
        resampled = Resampled.values(*with_ones(numerators), rng=np.random.default_rng(SEED))
        tally.add(by_run(resampled.intervals(0.95), size), truth)
    return [
        tally.figure(
            cell, [i], question=LIKE_THESE, population=population.name, metric=f"pass@{k}", method=PLAIN
        )
        for i, k in enumerate(cell.ks)
    ]


def _at_each_k(
    cell: Cell, like: Tally, these: Tally, bands: Tally, population: str, name: str
) -> list[Figure]:
    found = [
        tally.figure(cell, [k - 1], question=question, population=population, metric=f"{name}{k}")
        for k in cell.ks
        for tally, question in ((like, LIKE_THESE), (these, THESE))
    ]
    every = list(range(cell.samples))
    return [*found, bands.figure(cell, every, question=BAND, population=population, metric=f"{name}k")]


def _curve(correct: Ints, n: int) -> list[Column]:
    """pass@k of one run for every k, as a table has it."""
    numerators, variances = by_count(n)
    curve = object()
    return [
        Column(
            unit=Unit.SHARE,
            pairs=np.stack([numerators[correct, k], np.ones(len(correct))]),
            spreads=None if k == n - 1 else of_variances(variances[correct, k], n),
            curve=curve,
        )
        for k in range(n)
    ]


def repetition(responses: Responses, cell: Cell) -> list[Figure]:
    """Rep-5 by n-gram, a ratio of sums in which problems weigh unequally, through `row_intervals`."""
    like, these = Tally(), Tally()
    for size, rng in cell.batches("values", responses.name):
        chosen = rng.integers(len(responses.counts), size=(size, cell.problems))
        pairs, spreads = sums_of(responses.draw(chosen, cell.samples, rng))
        given = zip(pairs, spreads, strict=True)
        rows = row_intervals([Column(unit=Unit.SHARE, pairs=p, spreads=s, curve=None) for p, s in given])
        like.add([[row.like_these] for row in rows], responses.value())
        these.add([[row.these] for row in rows], responses.value(chosen)[:, None])
    return _of_one(cell, like, these, responses.name, "rep_5")


def _of_one(cell: Cell, like: Tally, these: Tally, population: str, metric: str) -> list[Figure]:
    return [
        tally.figure(cell, [0], question=question, population=population, metric=metric)
        for tally, question in ((like, LIKE_THESE), (these, THESE))
    ]


def sums_of(drawn: Floats) -> tuple[Floats, Floats]:
    """Samples [runs, problems, n, 2] → pairs [runs, 2, problems] and spreads [runs, 4, problems].

    As `opo_eval.metrics.core.sums` has them, for many runs at once.
    """
    n = drawn.shape[2]
    deviations = drawn - drawn.mean(axis=2, keepdims=True)
    covariances = np.einsum("rpni,rpnj->rpij", deviations, deviations) * n / (n - 1)
    spreads = covariances[..., [0, 0, 1], [0, 1, 1]]
    freedom = np.full((*spreads.shape[:-1], 1), n - 1.0)
    spreads = np.concatenate([spreads, freedom], axis=-1)
    return np.moveaxis(drawn.sum(axis=2), -1, 1), np.moveaxis(spreads, -1, 1)


def rejected(population: Abilities, cell: Cell) -> list[Figure]:
    """Percentile intervals that resample samples: within the problems, and after the problems."""
    ks = np.array(cell.ks[1:])
    curve = pass_at_k_curve(cell.samples, np.arange(cell.samples + 1))[:, ks - 1] / cell.problems
    tallies = {WITHIN: Tally(), TWO_LEVEL: Tally()}
    for size, rng in cell.batches("rejected", population.name):
        p = population.draw((size, cell.problems), rng)
        truths = {WITHIN: of_these(p, ks), TWO_LEVEL: population.pass_at(ks.tolist())}
        correct = rng.binomial(cell.samples, p)
        for method, resample in (
            (WITHIN, resampled_samples),
            (TWO_LEVEL, resampled_problems_and_samples),
        ):
            drawn = [resample(c, cell.samples, REJECTED_RESAMPLES, rng) @ curve for c in correct]
            low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
            tallies[method].add_bounds(low, high, truths[method])
    return [
        tallies[method].figure(
            cell, [i], question=question, population=population.name, metric=f"pass@{k}", method=method
        )
        for method, question in ((WITHIN, THESE), (TWO_LEVEL, LIKE_THESE))
        for i, k in enumerate(ks)
    ]


# --- intervals of a difference ----------------------------------------------------------------------


def differences(pair: Pair | Logits, cell: Cell) -> list[Figure]:
    """pass@k of two checkpoints: both intervals at each k, and the band over all k."""
    like, these, bands = Tally(), Tally(), Tally()
    truth = pair.differences(cell.every_k.tolist())
    numerators, variances = by_count(cell.samples)
    for size, rng in cell.batches("differences", pair.name):
        p = np.stack(pair.draw((size, cell.problems), rng))
        correct = rng.binomial(cell.samples, p)
        a, b = as_metrics(numerators[correct])
        resampled = Resampled.differences(with_ones(a), with_ones(b), rng=np.random.default_rng(SEED))
        like.add(by_run(resampled.intervals(0.95), size), truth)
        curves = np.arange(len(a)).reshape(size, -1).tolist()
        bands.add([resampled.bands(0.95, curve) for curve in curves], truth)
        below_n = as_metrics(numerators[correct][..., :-1]), as_metrics(variances[correct][..., :-1])
        own = of_these(p, cell.every_k[:-1])
        these.add(by_run(_sampled(*below_n, cell.samples), size), own[1] - own[0])
    return _at_each_k(cell, like, these, bands, pair.name, "difference of pass@")


def _sampled(numerators: Floats, variances: Floats, n: int) -> list[Interval]:
    """[2, metrics, problems] each"""
    spreads = np.moveaxis(of_variances(variances, n), 0, 2)
    return sampling_difference_intervals(
        with_ones(numerators[0]), with_ones(numerators[1]), (spreads[0], spreads[1])
    )


def differences_of_repetition(a: Responses, b: Responses, cell: Cell) -> list[Figure]:
    """Rep-5 of two checkpoints on the same problems."""
    like, these, name = Tally(), Tally(), f"{b.name} against {a.name.rpartition(' ')[2]}"
    for size, rng in cell.batches("differences", name):
        chosen = rng.integers(len(a.counts), size=(size, cell.problems))
        drawn = [sums_of(side.draw(chosen, cell.samples, rng)) for side in (a, b)]
        sides = [(pairs[:, 0], pairs[:, 1]) for pairs, _ in drawn]
        resampled = Resampled.differences(*sides, rng=np.random.default_rng(SEED))
        like.add(by_run(resampled.intervals(0.95), size), b.value() - a.value())
        sampled = sampling_difference_intervals(*sides, (drawn[0][1], drawn[1][1]))
        these.add(by_run(sampled, size), (b.value(chosen) - a.value(chosen))[:, None])
    return _of_one(cell, like, these, name, "difference of rep_5")


# --- tests ------------------------------------------------------------------------------------------


def decisions(pair: Pair | Logits, cell: Cell, ks: Sequence[int], *, others: bool = False) -> list[Figure]:
    """How often "no difference" is rejected at 5 %: by the sign-flip test at each k, and by other tests."""
    found: dict[tuple[str, str], list[Floats]] = {}
    numerators = by_count(cell.samples)[0]
    for size, rng in cell.batches("tests", pair.name):
        correct = rng.binomial(cell.samples, pair.draw((size, cell.problems), rng))
        for k in ks:
            a, b = numerators[correct, k - 1]
            p = sign_flip_test(with_ones(a), with_ones(b), rng=np.random.default_rng(SEED))
            found.setdefault((f"pass@{k}", PRODUCT), []).append(p)
        for method, p in _other_tests(correct, cell.samples, rng).items() if others else ():
            found.setdefault(("pass@1", method), []).append(p)
    question = POWER if abs(pair.differences([1])[0]) > 1e-6 else SIZE
    return [
        _rejections(
            cell, np.concatenate(p), question=question, population=pair.name, metric=metric, method=method
        )
        for (metric, method), p in found.items()
    ]


def _rejections(cell: Cell, p_values: Floats, **named: str) -> Figure:
    return Figure(
        problems=cell.problems,
        samples=cell.samples,
        share=float((p_values <= ALPHA).mean()),
        simulations=len(p_values),
        **named,  # type: ignore[arg-type]
    )


def _other_tests(correct: Ints, n: int, rng: np.random.Generator) -> dict[str, Floats]:
    a, b = correct / n
    first = rng.random(correct.shape) < correct / n  # the samples of a problem are exchangeable
    return {
        "paired t": paired_t(a, b),
        "McNemar, first sample": mcnemar(*first),
        "unpaired z, problem means": unpaired_z(a, b),
        "unpaired z, all samples": unpaired_z_of_samples(a, b, n),
    }


def repetition_decisions(responses: Responses, cell: Cell) -> list[Figure]:
    """How often two draws of one checkpoint's responses are told apart by Rep-5."""
    p_values = []
    for size, rng in cell.batches("tests", responses.name):
        chosen = rng.integers(len(responses.counts), size=(size, cell.problems))
        drawn = [sums_of(responses.draw(chosen, cell.samples, rng))[0] for _ in range(2)]
        a, b = ((pairs[:, 0], pairs[:, 1]) for pairs in drawn)
        p_values.append(sign_flip_test(a, b, rng=np.random.default_rng(SEED)))
    name = f"the same {responses.name}"
    return [_rejections(cell, np.concatenate(p_values), question=SIZE, population=name, metric="rep_5")]


# --- arms -------------------------------------------------------------------------------------------


def arms(trained: Trained, n_seeds: int, cell: Cell) -> list[Figure]:
    """Two methods of so many training runs each: the interval's coverage, and how often they differ."""
    ks, tally, p_values = np.array(cell.ks), Tally(), []
    truth = trained.differences(cell.ks)
    numerators = by_count(cell.samples)[0][:, ks - 1]
    for size, rng in cell.batches("arms", trained.name, n_seeds):
        p = np.stack(trained.draw(n_seeds, (size, cell.problems), rng))
        a, b = as_metrics(numerators[rng.binomial(cell.samples, p)])
        found = arm_differences(with_ones(a), with_ones(b))
        tally.add(by_run(found.intervals(), size), truth)
        p_values.append(found.p_values().reshape(size, -1))
    name, question = f"{trained.name}, {n_seeds} seeds", POWER if trained.shift else SIZE
    tested = np.concatenate(p_values)
    return [
        figure
        for i, k in enumerate(ks)
        for figure in (
            tally.figure(cell, [i], question=ARMS, population=name, metric=f"difference of pass@{k}"),
            _rejections(cell, tested[:, i], question=question, population=name, metric=f"pass@{k}"),
        )
    ]
