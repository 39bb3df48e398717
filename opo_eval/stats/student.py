"""Quantiles of Student's t, which allow for a spread that was itself estimated from few problems."""

import numpy as np
from numpy.typing import ArrayLike

from opo_eval.stats.ratios import Floats


def t_quantile(p: float, degrees_of_freedom: ArrayLike) -> Floats:
    """The p quantile of Student's t with these degrees of freedom, of their shape."""
    from scipy.special import stdtrit  # 0.1 s to import: what only reads a table does without

    return np.asarray(stdtrit(np.asarray(degrees_of_freedom, dtype=np.float64), p))


def t_two_sided_p(t: ArrayLike, degrees_of_freedom: ArrayLike) -> Floats:
    """P(|T| >= |t|)."""
    from scipy.special import stdtr

    return 2 * np.asarray(stdtr(degrees_of_freedom, -np.abs(np.asarray(t, dtype=np.float64))))


def t_bounds(values: Floats, errors: Floats, degrees_of_freedom: ArrayLike, level: float) -> Floats:
    """Student's t intervals of values with these standard errors: [2, values]."""
    half = t_quantile((1 + level) / 2, degrees_of_freedom) * errors
    return np.stack([values - half, values + half])
