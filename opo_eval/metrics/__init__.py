"""One file per metric family, and the table of all of them."""

from opo_eval.metrics.core import Metric, MetricSettings, ProblemSamples, Value
from opo_eval.metrics.gpassk import g_pass_at_k, mg_pass_at_k
from opo_eval.metrics.lengths import CHARACTERS, TOKENS
from opo_eval.metrics.majority import MAJORITY, majority_at_k
from opo_eval.metrics.outcomes import LENIENT_MEAN, MEAN, NO_ANSWER, TRUNCATED, UNGRADED
from opo_eval.metrics.passk import PASS_AT_K, pass_at_k, pass_at_k_curve
from opo_eval.metrics.repetition import REPETITION, rep_n
from opo_eval.metrics.selfbleu import SELF_BLEU, self_bleu, self_bleu_orders
from opo_eval.metrics.table import measure_groups
from opo_eval.metrics.tokenizers import TOKENIZERS, get_tokenizer

METRICS: dict[str, Metric] = {
    "pass@k": PASS_AT_K,
    "mean": MEAN,
    "lenient_mean": LENIENT_MEAN,
    "majority": MAJORITY,
    "self_bleu": SELF_BLEU,
    "repetition": REPETITION,
    "tokens": TOKENS,
    "characters": CHARACTERS,
    "truncated": TRUNCATED,
    "no_answer": NO_ANSWER,
    "ungraded": UNGRADED,
}
"""Family → metric, in the order in which tables show them."""

__all__ = [
    "METRICS",
    "TOKENIZERS",
    "Metric",
    "MetricSettings",
    "ProblemSamples",
    "Value",
    "g_pass_at_k",
    "get_tokenizer",
    "majority_at_k",
    "measure_groups",
    "mg_pass_at_k",
    "pass_at_k",
    "pass_at_k_curve",
    "rep_n",
    "self_bleu",
    "self_bleu_orders",
]
