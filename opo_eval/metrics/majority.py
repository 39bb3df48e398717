"""maj@k: the chance that a vote of k samples gives the correct answer (self-consistency, Wang et al., 2023).

The value is exact: the mean over all k-subsets of the n samples, and over the most-voted answers of a
subset where several tie.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from opo_eval.errors import UsageError
from opo_eval.metrics.answers import count_answers
from opo_eval.metrics.core import Metric, ProblemSamples, Value, grade_signature
from opo_eval.metrics.passk import powers_of_two, require_counts, require_subset
from opo_eval.records import Better, Unit


def majority_at_k(correct: int, wrong: Sequence[int], silent: int, k: int) -> float:
    """Chance that a uniformly chosen most-voted answer of a random k-subset is the correct one.

    correct: samples in the correct class. wrong: samples of each wrong answer. silent: samples without an
    answer, which are drawn but do not vote; a subset in which nobody votes counts 0.

    A random k-subset of n samples is what comes of drawing each sample with probability k / n, given that
    k are drawn. So the votes of the classes are independent binomials, and their generating functions in
    the number drawn are multiplied.

    Raises UsageError (a ValueError) for counts that are negative or no integers, and k outside 1..n.
    """
    correct, silent, k = map(int, require_counts(correct=correct, silent=silent, k=k))
    sizes = require_counts(wrong=wrong)[0] if len(wrong) else np.zeros(0, dtype=np.int64)
    if (smallest := min(correct, silent, *sizes)) < 0:
        raise UsageError(f"a count of {smallest} samples is not possible: counts are 0 or more")
    n = correct + silent + int(sizes.sum())
    require_subset(np.array(n), np.array(k))

    drawn = _binomials(n, k)
    chance = 0.0
    for votes in range(1, min(correct, k) + 1):
        rivals = sizes[sizes >= votes]
        harmless = silent + int(sizes[sizes < votes].sum())
        share = _share_among(rivals, drawn[harmless, : k - votes + 1], votes, drawn)
        chance += float(drawn[correct, votes]) * share
    return min(chance / float(drawn[n, k]), 1.0)


def _share_among(rivals: np.ndarray, others: np.ndarray, votes: int, drawn: np.ndarray) -> float:
    """E[1 / (1 + ties); no rival has more than `votes`], with all places beside the correct ones taken.

    rivals: sizes of the classes that can reach `votes`. others [room + 1]: chance of each number drawn
    from all who cannot, room being the places left.
    """
    room = len(others) - 1
    by_ties = np.zeros((min(len(rivals), room // votes) + 1, room + 1))
    by_ties[0] = others
    for size in rivals:
        before, by_ties = by_ties, np.zeros_like(by_ties)
        for fewer in range(min(votes, room + 1)):
            by_ties[:, fewer:] += drawn[size, fewer] * before[:, : room + 1 - fewer]
        if votes <= room:
            by_ties[1:, votes:] += drawn[size, votes] * before[:-1, : room + 1 - votes]
    return float(by_ties[:, room] @ (1 / np.arange(1, len(by_ties) + 1)))


@lru_cache(maxsize=16)  # for most problems n is the same
def _binomials(n: int, k: int) -> np.ndarray:
    """Chance that u of w samples are drawn, each with probability k / n: float64 [n + 1, k + 1] over w, u."""
    chances = np.zeros((n + 1, k + 1))
    chances[0, 0] = 1
    for size in range(1, n + 1):
        chances[size] = chances[size - 1] * (1 - k / n)
        chances[size, 1:] += chances[size - 1, :-1] * (k / n)
    return chances


# --- the metric -------------------------------------------------------------------------------------


def measure_majority(samples: ProblemSamples) -> Mapping[str, Value]:
    """`maj@k`: the chance that the most common answer of k responses to a problem is correct.

    For k = 1, 2, 4, ... and n, over all ways to draw k of the samples; where answers tie, one of them is
    drawn. Correct ones are all the same answer, wrong ones where their texts are the same, white space and
    leading zeros aside; samples without an answer do not vote. Every problem weighs the same. Problems are
    left out where the grader did not say which answer it judged.
    """
    answers = count_answers(samples.every)
    sizes = powers_of_two(samples.settings.n)
    if answers is None:
        return dict.fromkeys((f"maj@{k}" for k in sizes), Value(0.0, 0.0))
    votes = (answers.correct, answers.wrong, answers.silent)
    return {f"maj@{k}": Value(majority_at_k(*votes, k)) for k in sizes}


MAJORITY = Metric(
    measure=measure_majority,
    signature=lambda settings: f"maj@k|ties:averaged|n:all>={settings.n}|{grade_signature(settings)}",
    unit=Unit.SHARE,
    better=Better.HIGHER,
    needs_grades=True,
)
