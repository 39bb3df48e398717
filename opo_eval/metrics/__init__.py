"""One file per metric family, and the table of all of them."""

from opo_eval.metrics.answers import AGREEMENT, ANSWER_ENTROPY, DISTINCT_ANSWERS
from opo_eval.metrics.compression import COMPRESSION, compression_ratio
from opo_eval.metrics.core import Metric, MetricSettings, ProblemSamples, Value
from opo_eval.metrics.distinct import DISTINCT, distinct_n
from opo_eval.metrics.gpassk import G_PASS_AT_K, g_pass_at_k, mg_pass_at_k
from opo_eval.metrics.lengths import CHARACTERS, TOKENS
from opo_eval.metrics.looping import LOOPING, ends_in_loop
from opo_eval.metrics.majority import MAJORITY, majority_at_k
from opo_eval.metrics.outcomes import LENIENT_MEAN, MEAN, NO_ANSWER, TRUNCATED, UNGRADED
from opo_eval.metrics.passhatk import PASS_HAT_K, pass_hat_k, pass_hat_k_curve
from opo_eval.metrics.passk import PASS_AT_K, pass_at_k, pass_at_k_curve
from opo_eval.metrics.quarters import REPETITION_BY_QUARTER, rep_n_by_quarter
from opo_eval.metrics.repetition import REPETITION, rep_n
from opo_eval.metrics.selfbleu import SELF_BLEU, self_bleu, self_bleu_orders
from opo_eval.metrics.selfbleu_correct import SELF_BLEU_CORRECT
from opo_eval.metrics.table import measure_groups
from opo_eval.metrics.token_statistics import ENTROPY, KL, KL_ESTIMATES, LOG_PERPLEXITY
from opo_eval.metrics.tokenizers import TOKENIZERS, get_tokenizer

METRICS: dict[str, Metric] = {
    "pass@k": PASS_AT_K,
    "pass^k": PASS_HAT_K,
    "g_pass@k": G_PASS_AT_K,
    "mean": MEAN,
    "lenient_mean": LENIENT_MEAN,
    "majority": MAJORITY,
    "agreement": AGREEMENT,
    "distinct_answers": DISTINCT_ANSWERS,
    "answer_entropy": ANSWER_ENTROPY,
    "self_bleu": SELF_BLEU,
    "self_bleu_correct": SELF_BLEU_CORRECT,
    "distinct_n": DISTINCT,
    "compression_ratio": COMPRESSION,
    "repetition": REPETITION,
    "repetition_by_quarter": REPETITION_BY_QUARTER,
    "looping": LOOPING,
    "entropy": ENTROPY,
    "kl": KL,
    "kl_estimates": KL_ESTIMATES,
    "log_perplexity": LOG_PERPLEXITY,
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
    "compression_ratio",
    "distinct_n",
    "ends_in_loop",
    "g_pass_at_k",
    "get_tokenizer",
    "majority_at_k",
    "measure_groups",
    "mg_pass_at_k",
    "pass_at_k",
    "pass_at_k_curve",
    "pass_hat_k",
    "pass_hat_k_curve",
    "rep_n",
    "rep_n_by_quarter",
    "self_bleu",
    "self_bleu_orders",
]
