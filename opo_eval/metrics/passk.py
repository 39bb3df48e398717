"""pass@k: the chance that at least one of k samples is correct, estimated without bias from n >= k samples.

Chen et al. (2021), "Evaluating Large Language Models Trained on Code", equation 1:
pass@k = 1 - C(n - c, k) / C(n, k), computed as a running product so that no binomial is ever formed.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from opo_eval.errors import UsageError
from opo_eval.metrics.core import Metric, ProblemSamples, Value, grade_signature, is_correct, of_correct
from opo_eval.records import Better, Unit


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> np.ndarray | float:
    """Unbiased pass@k of problems with n samples, c of them correct.

    n, c, k: integers or integer arrays. Returns float64 of their broadcast shape.

    Raises UsageError (a ValueError) for what is no integer, c outside 0..n and k outside 1..n.
    """
    n, c, k = np.broadcast_arrays(*require_counts(n=n, c=c, k=k))
    require_correct(n, c)
    require_subset(n, k)
    all_wrong = np.ones(n.shape)
    for drawn in range(int(k.max())):
        chance = _chance_next_is_wrong(n, c, np.minimum(drawn, k - 1))
        all_wrong *= np.where(drawn < k, chance, 1.0)
    return 1 - all_wrong


def pass_at_k_curve(n: ArrayLike, c: ArrayLike) -> np.ndarray:
    """pass@k for every k from 1 to the smallest n at once: float64 [..., min n].

    Raises UsageError (a ValueError) for what is no integer, n below 1 and c outside 0..n.
    """
    n, c = np.broadcast_arrays(*require_counts(n=n, c=c))
    require_correct(n, c)
    require_subset(n, np.array(1))
    # Problems with the same counts have the same curve, and there are many of them.
    base = n.max() + 1
    distinct, row = np.unique(n * base + c, return_inverse=True)
    distinct_n, distinct_c = np.divmod(distinct[:, None].astype(float), base)
    curves = _chance_next_is_wrong(distinct_n, distinct_c, np.arange(n.min(), dtype=float))
    np.cumprod(curves, axis=-1, out=curves)
    np.subtract(1, curves, out=curves)
    return curves[row.reshape(n.shape)]


def _chance_next_is_wrong(n: np.ndarray, c: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Of the next sample drawn without replacement, when the `drawn` < n before it were all wrong.

    It is exactly 0 once the wrong ones are gone, and negative after that: a running product stays 0. The
    shape is that of n - drawn, and everything happens in it: what a curve costs is memory.
    """
    chance = np.asarray(n - drawn, dtype=float)
    np.divide(c, chance, out=chance)
    return np.subtract(1, chance, out=chance)


# --- what counts have to be -------------------------------------------------------------------------


def require_counts(**counts: ArrayLike) -> tuple[np.ndarray, ...]:
    """The named values as int64 arrays; raises UsageError for what is empty or no integer."""
    return tuple(_integers(name, value) for name, value in counts.items())


def _integers(name: str, value: ArrayLike) -> np.ndarray:
    array = np.asarray(value)
    if array.size == 0:
        raise UsageError(f"{name} is empty: give the counts of at least one problem")
    if array.dtype.kind not in "iu":
        raise UsageError(f"{name} is {str(value)[:60]} ({array.dtype}): counts have to be integers")
    return array.astype(np.int64)


def require_correct(n: np.ndarray, c: np.ndarray) -> None:
    """Raises UsageError unless 0 <= c <= n everywhere."""
    for bad_n, bad_c in _where((c < 0) | (c > n), n, c):
        raise UsageError(f"c = {bad_c} of n = {bad_n} samples cannot be correct: c lies between 0 and n")


def require_subset(n: np.ndarray, k: np.ndarray) -> None:
    """Raises UsageError unless 1 <= k <= n everywhere."""
    for bad_n, bad_k in _where((k < 1) | (k > n), n, k):
        raise UsageError(
            f"k = {bad_k} of n = {bad_n} samples cannot be drawn: k lies between 1 and n, "
            "so leave this k out or draw more samples"
        )


def powers_of_two(n: int) -> list[int]:
    """1, 2, 4, ... below n, and n: the k of what costs too much for every k."""
    return [*(2**i for i in range(n.bit_length()) if 2**i < n), n]


def _where(bad: np.ndarray, *arrays: np.ndarray) -> Iterable[tuple[int, ...]]:
    if not bad.any():
        return ()
    return zip(*(np.broadcast_to(array, bad.shape)[bad] for array in arrays), strict=True)


# --- the metric -------------------------------------------------------------------------------------


def measure_pass_at_k(samples: ProblemSamples) -> Mapping[str, Value]:
    """`pass@k`, k = 1..n: the chance that at least one of k responses to a problem is correct.

    Estimated without bias from all samples of the problem (Chen et al. 2021); every problem weighs the same.
    Samples that could not be graded count as not correct; nothing is left out.
    """
    return measure_curve("pass@", pass_at_k_curve, samples)


def measure_curve(
    name: str, curve: Callable[[np.ndarray, np.ndarray], np.ndarray], samples: ProblemSamples
) -> dict[str, Value]:
    """`name` followed by k → the curve's value at k, for k = 1..n; the curve takes (n, c), [1] each."""
    correct, n_max = sum(map(is_correct, samples.every)), samples.settings.n
    values = _points(curve, len(samples.every), correct, n_max)
    return {f"{name}{k}": value for k, value in enumerate(values, start=1)}


@lru_cache(maxsize=1024)  # many problems have the same counts
def _points(
    curve: Callable[[np.ndarray, np.ndarray], np.ndarray], n: int, correct: int, n_max: int
) -> list[Value]:
    return of_correct(lambda n, c: curve(n, c)[:, :n_max], n, correct)


PASS_AT_K = Metric(
    measure=measure_pass_at_k,
    signature=lambda settings: f"pass@k|unbiased|n:all>={settings.n}|{grade_signature(settings)}",
    unit=Unit.SHARE,
    better=Better.HIGHER,
    needs_grades=True,
    is_curve=True,
)
