"""Intervals of pass@k for every k: ours, of three kinds, against scipy's bootstrap, of one."""

import numpy as np
from _tables import duration, machine, markdown_table, race, repeats_from_command_line, write_report
from scipy.stats import bootstrap

from opo_eval.metrics.core import of_correct
from opo_eval.metrics.intervals import Column, RowIntervals, row_intervals
from opo_eval.metrics.passk import pass_at_k_curve
from opo_eval.records import Unit
from opo_eval.stats import N_RESAMPLES

SIZES = [(30, 16), (500, 16), (500, 256)]
"""Problems, and samples of each."""
_BATCH = 50
"""Resamples that scipy makes at a time: all at once would be 10 GB."""


def columns(n_problems: int, n: int) -> list[Column]:
    """pass@1, ..., pass@n on problems of which some are hard, some easy and most in between."""
    rng = np.random.default_rng(0)
    correct = rng.binomial(n, rng.beta(0.5, 0.5, size=n_problems))
    curves = [of_correct(pass_at_k_curve, n, int(c)) for c in correct]
    return [
        Column(
            unit=Unit.SHARE,
            pairs=np.array([curve[k][:2] for curve in curves], dtype=np.float64).T,
            # Of pass@n the samples themselves do not tell how it varies.
            spreads=None if k == n - 1 else np.array([curve[k].spread for curve in curves]).T,
            curve="pass@k",
        )
        for k in range(n)
    ]


def by_scipy(points: list[Column]) -> np.ndarray:
    """Percentile intervals of the means, the same resamples for every k: [k, 2]."""
    data = np.array([point.pairs[0] for point in points])
    found = bootstrap(
        (data,),
        np.mean,
        axis=1,
        n_resamples=N_RESAMPLES,
        batch=_BATCH,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return np.stack([found.confidence_interval.low, found.confidence_interval.high], axis=1)


def compare(n_problems: int, n: int, repeats: int) -> tuple[object, ...]:
    """One row of the report."""
    points = columns(n_problems, n)
    timings = race({"scipy": lambda: by_scipy(points), "opo_eval": lambda: row_intervals(points)}, repeats)
    theirs, ours = timings["scipy"], timings["opo_eval"]
    return (
        n_problems,
        n,
        duration(theirs.seconds),
        duration(ours.seconds),
        f"{theirs.seconds / ours.seconds:.0f}×",
        f"{_largest_difference(theirs.result, ours.result):.4f}",
    )


def _largest_difference(theirs: np.ndarray, ours: list[RowIntervals]) -> float:
    own = [row.like_these for row in ours]
    return max(
        abs(bound - end)
        for interval, bounds in zip(own, theirs.tolist(), strict=True)
        if interval
        for bound, end in zip(bounds, (interval.low, interval.high), strict=True)
    )


def main() -> None:
    """Measure every size and write the report."""
    repeats = repeats_from_command_line(__doc__ or "", default=3)
    header = [
        "problems",
        "samples each",
        "scipy, one kind",
        "opo_eval, three kinds",
        "ratio",
        "largest difference",
    ]
    rows = [compare(n_problems, n, repeats) for n_problems, n in SIZES]
    write_report(
        "intervals",
        [
            "# Speed: intervals of pass@k for every k from 1 to n",
            f"scipy: `stats.bootstrap` (percentile) of all k at once, {N_RESAMPLES:,} resamples of problems. "
            "opo_eval: `row_intervals` with as many: over problems like these, over these problems, and the "
            "band that holds for all k at once. "
            f"Times are CPU seconds, medians of {repeats} repeats, both in one process and taking turns. "
            "Where the ends of their intervals over problems differ, it is because a percentile interval is "
            "narrow with few problems and ours allows for that.",
            markdown_table(header, rows),
            machine(["numpy", "scipy"]),
        ],
    )


if __name__ == "__main__":
    main()
