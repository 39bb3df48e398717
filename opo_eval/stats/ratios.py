"""The value of a metric, Σ numerator / Σ denominator, and its standard error.

A problem on which a metric is undefined has numerator and denominator 0. What is said of problems here
holds of clusters of problems as well: `by_cluster` adds up what belongs together, and the sums of a
cluster stand for it.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opo_eval.errors import InputError

Floats = NDArray[np.float64]
Sums = tuple[ArrayLike, ArrayLike]
"""(numerators, denominators), of the same shape, the problems on the last axis."""
ROUNDING = 1e-12
"""Of a value: what sums of float64 may be off by, and no result is told apart by."""


def ratio(numerators: ArrayLike, denominators: ArrayLike) -> Floats:
    """Σ numerators / Σ denominators over the last axis: [..., problems] → [...].

    Raises InputError where there is no problem, a value is not finite, or a metric is undefined on
    every problem (its denominators sum to 0).
    """
    num, den = checked(numerators, denominators)
    return num.sum(axis=-1) / den.sum(axis=-1)


def mean_of_ratios(numerators: ArrayLike, denominators: ArrayLike) -> tuple[Floats, Floats]:
    """Numerators and denominators, [..., problems], whose ratio is the mean of several ratios.

    numerators, denominators: [ratios, ..., problems]. Each ratio's pairs are scaled to the same mean
    denominator, which is that of all, and then averaged. That of one ratio are its own pairs.
    """
    num, den = checked(numerators, denominators)
    weight = den.mean(axis=-1, keepdims=True)
    scale = weight.mean(axis=0) / weight
    return (num * scale).mean(axis=0), (den * scale).mean(axis=0)


def by_cluster(values: ArrayLike, clusters: Sequence[Hashable]) -> Floats:
    """Sums over the problems of each cluster: [..., problems] → [..., clusters], in order of first seen.

    clusters: of each problem a label, such as its exam. Problems of one cluster may resemble one another;
    clusters are taken to be drawn independently.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape[-1] != len(clusters):
        raise InputError(
            f"{len(clusters)} cluster labels do not fit {values.shape[-1]} problems: give each its label"
        )
    number = {label: i for i, label in enumerate(dict.fromkeys(clusters))}
    member = np.zeros((len(clusters), len(number)))
    member[np.arange(len(clusters)), [number[label] for label in clusters]] = 1
    return values @ member


def same_extents(defined: Sequence[NDArray[np.bool_]]) -> Iterator[tuple[list[int], list[int]]]:
    """(metrics, problems): the metrics that are defined on the same problems, and which those are.

    defined: of each metric, whether it is defined on each problem. Those that are nowhere are passed over.
    """
    alike: dict[bytes, list[int]] = defaultdict(list)
    for metric, mask in enumerate(defined):
        alike[mask.tobytes()].append(metric)
    for metrics in alike.values():
        kept = np.flatnonzero(defined[metrics[0]]).tolist()
        if kept:
            yield metrics, kept


def influence(num: Floats, den: Floats) -> Floats:
    """How far each problem pulls its metric's value, [..., problems]: the linearised ratio, of mean 0."""
    expected = ratio(num, den)[..., None] * den
    return difference(num, expected, of=num) / den.mean(axis=-1, keepdims=True)


def paired_influence(a: Sums, b: Sums) -> Floats:
    """How far each problem pulls `b` minus `a`, [..., problems]; of the same problems."""
    num_a, den_a, num_b, den_b = checked_pair(a, b)
    size = np.abs(ratio(num_a, den_a)) + np.abs(ratio(num_b, den_b))
    return difference(influence(num_b, den_b), influence(num_a, den_a), of=size[..., None])


def difference(x: Floats, y: Floats, *, of: Floats) -> Floats:
    """x - y, and exactly 0 where it is only what the rounding of values of that size leaves.

    Problems that are alike then have no spread at all.
    """
    found = x - y
    return np.where(np.abs(found) <= ROUNDING * np.abs(of), 0.0, found)


def standard_errors(influences: Floats) -> Floats:
    """Of the mean of independent problems' influences: [..., problems] → [...]."""
    m = influences.shape[-1]
    if m < 2:
        raise InputError(f"a standard error over problems needs at least 2 problems, not {m}")
    return influences.std(axis=-1, ddof=1) / np.sqrt(m)


def checked(numerators: ArrayLike, denominators: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64; raises InputError for what has no ratio."""
    num, den = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if num.shape != den.shape or num.ndim < 1:
        raise InputError(f"numerators {num.shape} and denominators {den.shape} must be of the same shape")
    if not num.shape[-1]:
        raise InputError("there is no problem to take a value over")
    if not (np.isfinite(num).all() and np.isfinite(den).all()):
        raise InputError("numerators and denominators must be finite: leave a problem out, with a count")
    if (den.sum(axis=-1) <= 0).any():
        raise InputError("the denominators sum to 0: the metric is undefined on these problems")
    return num, den


def checked_pair(a: Sums, b: Sums) -> tuple[Floats, Floats, Floats, Floats]:
    """Numerators and denominators of a and of b; raises InputError unless they are of the same problems."""
    (num_a, den_a), (num_b, den_b) = checked(*a), checked(*b)
    if num_a.shape != num_b.shape:
        raise InputError(f"paired values need the same problems: {num_a.shape} against {num_b.shape}")
    return num_a, den_a, num_b, den_b
