"""Self-BLEU of the correct responses alone: do the ways of being right differ?

Self-BLEU (Zhu et al., 2018) of all responses mixes two things, how varied right solutions are and how
varied mistakes are. A checkpoint that makes fewer mistakes loses the second.
"""

from collections.abc import Mapping

import numpy as np

from opo_eval.metrics.core import Metric, MetricSettings, ProblemSamples, Value, grade_signature, is_correct
from opo_eval.metrics.selfbleu import mean_self_bleu, self_bleu_signature
from opo_eval.records import Better, Unit


def measure_self_bleu_correct(samples: ProblemSamples) -> Mapping[str, Value]:
    """`self_bleu_correct`: Self-BLEU of a problem's correct responses alone; every problem weighs the same.

    With the other responses together as references it grows with how many there are, so on a problem where
    two checkpoints are not equally often correct it differs for that reason too; with pairwise references
    it does not. Problems with fewer than two correct responses are left out, and correct responses without
    tokens or alone.
    """
    correct = np.array([is_correct(graded) for graded in samples.compared])
    return {"self_bleu_correct": mean_self_bleu(samples, correct)[-1]}


def _signature(settings: MetricSettings) -> str:
    return f"{self_bleu_signature(settings)}|correct only|{grade_signature(settings)}"


SELF_BLEU_CORRECT = Metric(
    measure=measure_self_bleu_correct,
    signature=_signature,
    unit=Unit.PERCENT,
    better=Better.LOWER,
    needs_grades=True,
    needs_text=True,
)
