"""pass^k: the chance that all of k samples are correct, estimated without bias from n >= k samples.

Yao et al. (2024), "τ-bench: A Benchmark for Tool-Agent-User Interaction in Real-World Domains":
pass^k = C(c, k) / C(n, k). It is 1 less the chance that at least one of k samples is not correct, which is
pass@k with the n - c others in the place of the correct ones.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from opo_eval.metrics.core import Metric, ProblemSamples, Value, grade_signature
from opo_eval.metrics.passk import (
    measure_curve,
    pass_at_k,
    pass_at_k_curve,
    require_correct,
    require_counts,
)
from opo_eval.records import Better, Unit


def pass_hat_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> np.ndarray | float:
    """Unbiased pass^k of problems with n samples, c of them correct.

    n, c, k: integers or integer arrays. Returns float64 of their broadcast shape, within 1e-15 or so.

    Raises UsageError (a ValueError) as `pass_at_k` does.
    """
    n, c = require_counts(n=n, c=c)
    require_correct(n, c)
    return 1 - pass_at_k(n, n - c, k)


def pass_hat_k_curve(n: ArrayLike, c: ArrayLike) -> np.ndarray:
    """pass^k for every k from 1 to the smallest n at once: float64 [..., min n].

    Raises UsageError (a ValueError) as `pass_at_k_curve` does.
    """
    n, c = require_counts(n=n, c=c)
    require_correct(n, c)
    return 1 - pass_at_k_curve(n, n - c)


# --- the metric -------------------------------------------------------------------------------------


def measure_pass_hat_k(samples: ProblemSamples) -> Mapping[str, Value]:
    """`pass^k`, k = 1..n: the chance that all of k responses to a problem are correct; `pass^1` is `pass@1`.

    Estimated without bias from all samples of the problem (Yao et al. 2024); every problem weighs the same.
    Samples that could not be graded count as not correct; nothing is left out.
    """
    return measure_curve("pass^", pass_hat_k_curve, samples)


PASS_HAT_K = Metric(
    measure=measure_pass_hat_k,
    signature=lambda settings: f"pass^k|unbiased|n:all>={settings.n}|{grade_signature(settings)}",
    unit=Unit.SHARE,
    better=Better.HIGHER,
    needs_grades=True,
    is_curve=True,
)
