"""The counts and variances that stand behind the cells of Tables 1 and 2 of arXiv 2505.23585v2.

A cell of Table 1 or 2 is a mean over units, one unit being a problem under one checkpoint. A unit has n
samples, w of them wrong, and its unbiased pass@k is 1 - v_k(w) with v_k(w) = C(w, k) / C(n, k)
(Chen et al. 2021, arXiv 2107.03374, equation 1). So a row of the table is a set of linear statements about
one histogram, the number of units with w wrong samples, w = 0..n. What follows from them is exact:
which counts print as the cell, whether one histogram prints as the whole row, and between which bounds
everything else lies that is linear in the histogram, the sampling variance of the cell above all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache
from math import ceil, comb, floor, inf, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, OptimizeResult, linprog, milp

from opo_eval.errors import InputError
from opo_eval.report.published import CHECKPOINTS, PASS_AT_K, PROBLEMS, SAMPLES, TRAINED_CHECKPOINTS
from opo_eval.stats import holm

PAIRS = (
    (1, "Off-Policy", "On-Policy"),
    (2, "GRPO", "OPO"),
    (2, "SFT", "OPO"),
    (2, "SFT", "GRPO"),
)
"""(table, before, after) of every comparison."""

LEVEL, POWER = 0.95, 0.8
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
Z_POWER = Z + NormalDist().inv_cdf(POWER)

Floats = NDArray[np.float64]


class Range(NamedTuple):
    """Between which bounds a number lies that the cells do not fix; the two are equal where they do."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One method on one benchmark in Table 1 or 2."""

    table: int
    benchmark: str
    method: str
    printed: tuple[str, ...]
    """Percentages at k = 1, 2, 4, ... n."""
    checkpoints: int

    @property
    def cells(self) -> Mapping[int, str]:
        """k → percentage as printed."""
        return {2**i: cell for i, cell in enumerate(self.printed)}

    @property
    def problems(self) -> int:
        """Of the benchmark."""
        return PROBLEMS[self.benchmark]

    @property
    def samples(self) -> int:
        """Of a unit: the n of the unbiased pass@k."""
        return SAMPLES[self.benchmark]

    @property
    def units(self) -> int:
        """Problems × checkpoints."""
        return self.problems * self.checkpoints

    def denominator(self, k: int) -> int:
        """Of the fraction that the cell at k is: units × C(n, k)."""
        return self.units * comb(self.samples, k)

    def counts(self, k: int) -> Mapping[int, str]:
        """Each numerator that prints as the cell at k, with how it prints so."""
        return counts_that_print(self.cells[k], self.denominator(k))

    def window(self, k: int) -> tuple[Fraction, Fraction]:
        """The smallest and the largest share that prints as the cell at k.

        Raises InputError where no count does.
        """
        counts = self.counts(k)
        if not counts:
            raise InputError(f"{self.cells[k]} % is no count of {self.denominator(k)}: check the cell")
        return Fraction(min(counts), self.denominator(k)), Fraction(max(counts), self.denominator(k))

    def share(self, k: int) -> float:
        """The cell at k in 0..1: its count where only one prints so, otherwise as printed."""
        low, high = self.window(k)
        return float(low) if low == high else float(self.cells[k]) / 100


def rows(table: int) -> list[Row]:
    """Every row of Table 1 or 2."""
    return [
        Row(
            table=table,
            benchmark=benchmark,
            method=method,
            printed=tuple(cells.split()),
            checkpoints=CHECKPOINTS.get(method, TRAINED_CHECKPOINTS),
        )
        for benchmark, methods in PASS_AT_K[table].items()
        for method, cells in methods.items()
    ]


# --- one cell ---------------------------------------------------------------------------------------


@cache
def counts_that_print(cell: str, denominator: int) -> Mapping[int, str]:
    """Numerator → "rounded", "truncated" or "either", for all whose percentage prints as the cell."""
    hundredths = Fraction(cell) * 100
    first = max(0, ceil((hundredths - Fraction(1, 2)) * denominator / 10_000))
    last = min(denominator, floor((hundredths + 1) * denominator / 10_000))
    printed = {
        count: _how(Fraction(10_000 * count, denominator), hundredths) for count in range(first, last + 1)
    }
    return {count: how for count, how in printed.items() if how}


def _how(value: Fraction, hundredths: Fraction) -> str:
    """How a value in hundredths of a percent prints as that many whole hundredths; "" where it does not."""
    # A tie may go up or to the even digit: both are rounding.
    rounded = hundredths in (floor(value + Fraction(1, 2)), round(value))
    truncated = hundredths == floor(value)
    if rounded and truncated:
        return "either"
    return "rounded" if rounded else "truncated" if truncated else ""


@cache
def chance_to_print(denominator: int) -> float:
    """The share of all percentages with two decimals that some count of this denominator prints as.

    What a cell that passes the check is worth: 1 says that the check cannot fail.
    """
    if denominator >= 10_000:  # steps of at most 0.01 %: truncation reaches every cell
        return 1.0
    printed: set[int] = set()
    for count in range(denominator + 1):
        value = Fraction(10_000 * count, denominator)
        printed.update((floor(value), round(value), floor(value + Fraction(1, 2))))
    return len(printed) / 10_001


# --- one row ----------------------------------------------------------------------------------------


def all_wrong(n: int, k: int) -> Floats:
    """v_k(w), the chance that k of the n samples of a unit are all wrong, by w = 0..n: [n + 1]."""
    return np.array([comb(w, k) / comb(n, k) for w in range(n + 1)])


@cache
def histogram(row: Row) -> tuple[int, ...]:
    """Numbers of units with w = 0..n wrong samples that print as the whole row: [n + 1], one of many.

    An integer programme finds it and exact arithmetic confirms it. Raises InputError where there is none.
    """
    ks = list(row.cells)
    lows, highs = _windows(row, ks)
    atoms = row.samples + 1
    matrix = np.vstack([1 - _wrong_by_k(row, ks), np.ones(atoms)])
    found = milp(
        np.zeros(atoms),
        integrality=np.ones(atoms),
        bounds=Bounds(0, row.units),
        constraints=(matrix, row.units * np.append(lows, 1), row.units * np.append(highs, 1)),
    )
    if found.x is None:
        raise InputError(f"no counts print as {row.method} on {row.benchmark} ({', '.join(row.printed)})")
    counts = tuple(round(count) for count in found.x)
    assert prints(counts, row), f"the solver's histogram does not print as the row: {counts}"
    return counts


def prints(counts: Sequence[int], row: Row) -> bool:
    """Whether this histogram of wrong samples prints as every cell of the row: exact."""
    n = row.samples
    return sum(counts) == row.units and all(
        sum(count * (comb(n, k) - comb(w, k)) for w, count in enumerate(counts)) in row.counts(k)
        for k in row.cells
    )


@cache
def reachable(row: Row, k: int) -> Range:
    """Between which shares the cell at k could lie, given the row's other cells.

    Bounds over all real-valued histograms, so the integer ones lie within. How much of the row's
    consistency is news: a cell outside would have shown that the row cannot be.
    """
    others = [other for other in row.cells if other != k]
    wrong = _extremes(row, all_wrong(row.samples, k), others)
    return Range(1 - wrong.high, 1 - wrong.low)


def _wrong_by_k(row: Row, ks: list[int]) -> Floats:
    """v_k(w): [ks, n + 1]."""
    return np.array([all_wrong(row.samples, k) for k in ks])


def _windows(row: Row, ks: list[int]) -> tuple[Floats, Floats]:
    """The smallest and the largest share of each cell, [ks] each."""
    lows, highs = zip(*(row.window(k) for k in ks), strict=True)
    return np.array(lows, dtype=np.float64), np.array(highs, dtype=np.float64)


def _extremes(row: Row, values: Floats, ks: list[int]) -> Range:
    """The least and the greatest mean over units of values [n + 1] that the cells at ks allow.

    Two linear programmes over the histogram as shares.
    """
    lows, highs = _windows(row, ks)
    matrix = _wrong_by_k(row, ks)
    low, high = (
        sign
        * _solved(sign * values, np.vstack([matrix, -matrix]), np.concatenate([1 - lows, highs - 1]), row)
        for sign in (1, -1)
    )
    return Range(low, high)


def _solved(costs: Floats, matrix: Floats, limits: Floats, row: Row) -> float:
    whole = np.ones((1, len(costs)))
    found: OptimizeResult = linprog(costs, A_ub=matrix, b_ub=limits, A_eq=whole, b_eq=[1], bounds=(0, 1))
    if not found.success:
        raise InputError(f"no counts print as {row.method} on {row.benchmark}: {found.message}")
    return float(found.fun)


# --- how far a cell can be trusted ------------------------------------------------------------------


@cache
def sampling_variance(row: Row, k: int) -> Range:
    """Variance of the cell at k if every checkpoint drew its samples of these problems again: shares squared.

    The checkpoints and the problems stay. With q the chance of a wrong sample in a unit, v_k(w) estimates
    q^k without bias, and v_2k(w) its square, so v_k² - v_2k is an unbiased estimate of Var v_k. Its
    mean over units is linear in the histogram, hence bounded by the row. At k = 1 it is fixed by the row:
    v_1² - v_2 = (pass@2 - pass@1) / n, since mean p (1 - p) = pass@2 - pass@1, and the bounds are those
    of the printed digits alone. That takes 2k samples; `any_correct_variance` serves k > n / 2.
    """
    if 2 * k > row.samples:
        of_a_unit = any_correct_variance(*(row.share(row.samples // part) for part in (4, 2, 1)))
    else:
        wrong, wrong_twice = (all_wrong(row.samples, drawn) for drawn in (k, 2 * k))
        of_a_unit = _extremes(row, wrong**2 - wrong_twice, list(row.cells))
    return Range(of_a_unit.low / row.units, of_a_unit.high / row.units)


def any_correct_variance(quarter: float, half: float, whole: float) -> Range:
    """Mean over units of Var(at least one of n samples is correct) = mean (q^n - q^2n), between two bounds.

    quarter, half, whole: pass@k at k = n / 4, n / 2 and n. No function of n samples estimates q^2n without
    bias. With x = q^(n/4), known are D1 = mean (x - x²) and D2 = mean (x² - x⁴); wanted is
    mean (x⁴ - x⁸) = mean (x - x²) h, where h = x³ + x⁴ + x⁵ + x⁶ is convex in y = x + x² and the mean of y
    weighted by x - x² is D2 / D1. Jensen's inequality bounds from below, D1 h(D2 / D1); the chord of h over
    0 <= y <= 2 from above, 2 D2; so does mean q^n × mean (1 - q^n). The bounds hold for the
    true means; the study takes them at the published ones.
    """
    first, second = half - quarter, whole - half
    x = (sqrt(1 + 4 * second / first) - 1) / 2
    return Range(first * (x**3 + x**4 + x**5 + x**6), min(2 * second, whole * (1 - whole)))


def problem_variance(row: Row, k: int) -> float:
    """Variance over problems like these of a problem's true pass@k, for 2k <= n: shares squared.

    mean q^2k - (mean q^k)², the square corrected for its own sampling variance and the whole for m - 1.
    What the five checkpoints of a problem differ by is counted in. Raises InputError for 2k > n.
    """
    if 2 * k > row.samples:
        raise InputError(f"the spread of pass@{k} over problems takes {2 * k} samples, not {row.samples}")
    mean, mean_of_squares = 1 - row.share(k), 1 - row.share(2 * k)
    m = row.problems
    return m / (m - 1) * (mean_of_squares - mean**2 + sampling_variance(row, k).high)


def every_cell() -> Iterator[tuple[Row, int]]:
    """Each cell of Tables 1 and 2."""
    yield from ((row, k) for table in PASS_AT_K for row in rows(table) for k in row.cells)


# --- differences ------------------------------------------------------------------------------------


class Verdict(StrEnum):
    """Of a difference on these problems, at 5 % for the family."""

    TOLD_APART = "told apart"
    OPEN = "open"
    NOT = "not told apart"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The difference of two cells: after minus before, in points (of a percentage)."""

    before: Row
    after: Row
    k: int

    @property
    def names(self) -> tuple[str, str, str]:
        """Method before, method after, benchmark."""
        return self.before.method, self.after.method, self.before.benchmark

    @property
    def difference(self) -> float:
        """From the counts where they are fixed, from the printed cells otherwise."""
        return 100 * (self.after.share(self.k) - self.before.share(self.k))

    @property
    def error(self) -> Range:
        """Standard error on these problems and checkpoints, all samples drawn independently."""
        variances = [sampling_variance(row, self.k) for row in (self.before, self.after)]
        return Range(*(100 * sqrt(sum(ends)) for ends in zip(*variances, strict=True)))

    @property
    def z(self) -> Range:
        """|difference| in standard errors."""
        return Range(*(abs(self.difference) / error for error in reversed(self.error)))

    @property
    def p_value(self) -> Range:
        """Two-sided, from the normal distribution."""
        return Range(*(two_sided(z) for z in reversed(self.z)))

    @property
    def has_spreads(self) -> bool:
        """Whether the cells tell how the true pass@k spreads over problems: that takes 2k samples."""
        return 2 * self.k <= self.before.samples

    @property
    def spreads(self) -> tuple[float, float]:
        """SD over problems of the true pass@k, before and after.

        Raises InputError, as all that rests on it does, where the cells do not tell.
        """
        before, after = (100 * sqrt(problem_variance(row, self.k)) for row in (self.before, self.after))
        return before, after

    def error_like_these(self, correlation: float) -> float:
        """Standard error over problems like these, at this correlation of the two true pass@k."""
        before, after = self.spreads
        between = before**2 + after**2 - 2 * correlation * before * after
        return sqrt(self.error.high**2 + between / self.before.problems)

    def least_correlation(self) -> float:
        """From which correlation on the difference is significant over problems like these.

        Above 1 where it is at none.
        """
        before, after = self.spreads
        room = self.before.problems * ((self.difference / Z) ** 2 - self.error.high**2)
        return max(-1.0, (before**2 + after**2 - room) / (2 * before * after))

    def problems_needed(self, correlation: float) -> float:
        """How many problems like these tell the difference from 0 with power `POWER`; inf if it is 0."""
        if not self.difference:
            return inf
        error = self.error_like_these(correlation)
        return ceil(self.before.problems * (Z_POWER * error / self.difference) ** 2)

    def erasing_seed_sd(self) -> float:
        """From which SD between training runs, one run an arm, the difference is not significant: points.

        0 where it is not significant even with no spread between runs.
        """
        room = (self.difference / Z) ** 2 - self.error.high**2
        return sqrt(max(room, 0.0) / 2)

    def runs_needed(self, seed_sd: float) -> float:
        """Training runs of each arm that tell the difference from 0 with power `POWER`; inf if it is 0."""
        if not self.difference:
            return inf
        of_one_run = 2 * seed_sd**2 + self.error.high**2
        return ceil(of_one_run * (Z_POWER / self.difference) ** 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A contrast within its family: all contrasts of its table."""

    contrast: Contrast
    adjusted: Range
    """P-value by Holm's method."""

    @property
    def verdict(self) -> Verdict:
        """Open where it depends on what is not published."""
        if self.adjusted.high < 1 - LEVEL:
            return Verdict.TOLD_APART
        return Verdict.OPEN if self.adjusted.low < 1 - LEVEL else Verdict.NOT


def two_sided(z: float) -> float:
    """P-value of |difference| / standard error under the normal distribution."""
    return 2 * NormalDist().cdf(-z)


def family(number: int) -> list[Finding]:
    """Every contrast of a table, adjusted for one another."""
    return in_family([one for pair in PAIRS if pair[0] == number for one in contrasts_of(*pair)])


def in_family(contrasts: Sequence[Contrast]) -> list[Finding]:
    """The contrasts, adjusted for one another by Holm's method.

    Adjusted p-values grow with every p-value of the family, so adjusting all lower bounds and all upper
    bounds gives bounds.
    """
    lows, highs = (holm([one.p_value[end] for one in contrasts]) for end in (0, 1))
    return [
        Finding(contrast=one, adjusted=Range(float(low), float(high)))
        for one, low, high in zip(contrasts, lows, highs, strict=True)
    ]


def contrasts_of(number: int, before: str, after: str) -> list[Contrast]:
    """One contrast for each benchmark and k."""
    by_name = {(row.benchmark, row.method): row for row in rows(number)}
    pairs = [(by_name[benchmark, before], by_name[benchmark, after]) for benchmark in PROBLEMS]
    return [Contrast(before=a, after=b, k=k) for a, b in pairs for k in a.cells]
