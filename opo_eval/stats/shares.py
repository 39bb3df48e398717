"""Shares: means over problems of something from 0 to 1, such as pass@k.

A share is bounded, and one problem at the far bound moves it a lot. Where nearly all problems lie at the
near bound, the sample may well hold none of the others: its spread is then next to nothing, and so is
every interval that is made of the spread alone, the bootstrap's included. What such intervals cover is in
`reports/coverage`.
"""

import numpy as np

from opo_eval.stats.ratios import ROUNDING, Floats


def with_one_more(num: Floats, den: Floats) -> tuple[Floats, Floats, Floats]:
    """Values, standard errors and degrees of freedom of shares after one problem more, half 0 and half 1.

    num, den: [metrics, problems]; every result [metrics]. The problem that is added weighs as much as the
    others on average. Half a success and half a failure more is what Jeffreys' prior adds to a proportion
    (Brown, Cai and DasGupta 2001, "Interval Estimation for a Binomial Proportion"); Agresti and Coull
    (1998) add two of each. It leaves the value of many problems where it is, and gives the spread of few a
    floor.
    """
    m = np.count_nonzero(den, axis=-1)
    weight = den.sum(axis=-1) / m
    total = den.sum(axis=-1) + weight
    value = (num.sum(axis=-1) + weight / 2) / total
    residuals = ((num - value[..., None] * den) ** 2).sum(axis=-1)
    added = weight**2 * (value**2 + (1 - value) ** 2) / 2
    return value, np.sqrt((residuals + added) / m * (m + 1)) / total, m.astype(np.float64)


def all_alike_bounds(value: float, m: int, level: float) -> tuple[float, float] | None:
    """Bounds of a share that is 0 on all of m problems, or 1 on all of them; None for any other value.

    The exact binomial interval (Clopper and Pearson 1934) with none, or all, of m. It holds for the mean of
    anything from 0 to 1: of all populations with mean p, one of ones and zeros has all m alike most often.
    """
    unseen = 1 - ((1 - level) / 2) ** (1 / m)
    if abs(value) <= ROUNDING:
        return 0.0, unseen
    return (1 - unseen, 1.0) if abs(1 - value) <= ROUNDING else None
