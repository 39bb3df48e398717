"""What verl and TRL log under the names of entropy and KL, each as a definition to compute it by.

A logged number is a weighted sum over the tokens of a batch: of what (`values`), with which weights
(`weights`), and in which precision (logged_precision.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from logged_precision import Tokens, to_bfloat16
from torch import Tensor

from opo_eval.scoring import k1, k2, k3

VERL_LOG_RATIO_BOUND, VERL_K3_BOUND = 20.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the N tokens lie in a batch of B responses."""

    lengths: Tensor
    """[B]"""
    width: int
    """Columns of the padded batch, which is the most tokens that a response may have."""
    micro_batch: Tensor
    """[B]: the number of the micro-batch that each response was in."""


# --- weights ----------------------------------------------------------------------------------------

Weights = Callable[[Layout], Tensor]
"""Weight of every token, [N]."""


def over_tokens(layout: Layout) -> Tensor:
    """Every token counts alike."""
    return layout.lengths.sum().double().reciprocal().expand(int(layout.lengths.sum()))


def summed(layout: Layout) -> Tensor:
    """The sum over all tokens of the batch."""
    return torch.ones_like(over_tokens(layout))


def summed_over_responses(layout: Layout) -> Tensor:
    """The mean over responses of the sum over each one's tokens."""
    return summed(layout) / len(layout.lengths)


def summed_by_width(layout: Layout) -> Tensor:
    """The same over the padded width."""
    return summed_over_responses(layout) / layout.width


def over_responses(layout: Layout) -> Tensor:
    """The mean over responses of the mean over each one's tokens."""
    return summed_over_responses(layout) / layout.lengths.repeat_interleave(layout.lengths)


def over_micro_batches(layout: Layout) -> Tensor:
    """The mean over micro-batches of the mean over each one's tokens."""
    batch = layout.micro_batch.repeat_interleave(layout.lengths)
    sizes = batch.bincount()
    return 1 / (len(sizes) * sizes[batch].double())


# --- values -----------------------------------------------------------------------------------------

Estimator = Callable[[Tensor, Tensor], Tensor]
"""Of log p and log q of the same tokens."""


def absolute(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    """|log p − log q|."""
    return k1(logprob, ref_logprob).abs()


def bounded_k3(logprob: Tensor, ref_logprob: Tensor) -> Tensor:
    """k3 as verl has it: the log-ratio within ±20, and the estimate itself at most 10."""
    log_ratio = k1(logprob, ref_logprob).clamp(-VERL_LOG_RATIO_BOUND, VERL_LOG_RATIO_BOUND)
    return k3(log_ratio, torch.zeros_like(log_ratio)).clamp(max=VERL_K3_BOUND)


def of_itself(logprob: Tensor, _: Tensor) -> Tensor:
    """Log p less log p of the policy that sampled, which is the same before the first update."""
    return torch.zeros_like(logprob)


# --- entries ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One number of a tool's log."""

    key: str
    """Under which the answer of the tool has it."""
    name: str
    """Under which the tool logs it."""
    options: str
    """That choose it."""
    definition: str
    why: str
    """It is not the exact mean over tokens, where it is not."""
    weights: Weights
    estimator: Estimator | None = None
    """Of the KL divergence; None for the entropy."""
    in_bfloat16: bool = False
    """Whether the sum and then the mean over all tokens are rounded to bfloat16."""

    @property
    def is_kl(self) -> bool:
        """Whether it is said to be a KL divergence."""
        return self.estimator is not None

    def values(self, tokens: Tokens) -> Tensor:
        """What is summed, [N]."""
        if self.estimator is None:
            return tokens.entropy
        return self.estimator(tokens.logprob, tokens.ref_logprob)

    def value(self, tokens: Tokens, layout: Layout) -> float:
        """The number."""
        if not self.in_bfloat16:
            return float(self.weights(layout) @ self.values(tokens))
        total = to_bfloat16(self.values(tokens).sum())
        return float(to_bfloat16(total / len(tokens.entropy)))


_TOKEN_MEAN = "mean over all tokens of the batch"
_NOTHING = "—"
_NOISE = "an estimate from the sampled tokens"


def _agg(mode: str, definition: str, why: str, weights: Weights) -> Entry:
    return Entry(
        key=f"actor/entropy {mode}",
        name="actor/entropy",
        options=f"loss_agg_mode={mode}",
        definition=definition,
        why=why,
        weights=weights,
    )


VERL_ENTROPIES = (
    _agg("token-mean", _TOKEN_MEAN, _NOTHING, over_tokens),
    _agg("token-sum", "sum over all tokens of the batch", "a sum, which grows with the batch", summed),
    _agg(
        "seq-mean-token-sum",
        "sum over a response's tokens, mean over responses",
        "nats a response, not a token: it grows with length",
        summed_over_responses,
    ),
    _agg(
        "seq-mean-token-sum-norm",
        "sum over a response's tokens, mean over responses, divided by the padded width",
        "the padding counts: it falls as the allowed length grows",
        summed_by_width,
    ),
    _agg(
        "seq-mean-token-mean",
        "mean over a response's tokens, mean over responses",
        "a token of a short response counts for more",
        over_responses,
    ),
)
VERL_ENTROPY_LOSS = Entry(
    key="actor/entropy_loss",
    name="actor/entropy_loss",
    options="calculate_entropy=true",
    definition=f"{_TOKEN_MEAN}, in the update",
    why=_NOTHING,
    weights=over_tokens,
)
VERL_BFLOAT16_ENTROPY_LOSS = replace(
    VERL_ENTROPY_LOSS,
    definition=f"{VERL_ENTROPY_LOSS.definition}; sum and mean in bfloat16",
    in_bfloat16=True,
)


def _kl_loss(kind: str, definition: str, why: str, estimator: Estimator) -> Entry:
    return Entry(
        key=f"actor/kl_loss {kind}",
        name="actor/kl_loss",
        options=f"kl_loss_type={kind}",
        definition=f"{definition}, {_TOKEN_MEAN}",
        why=why,
        weights=over_tokens,
        estimator=estimator,
    )


VERL_KLS = (
    _kl_loss("kl", "k1 = log p − log q", _NOISE, k1),
    _kl_loss("abs", "|log p − log q|", "no estimate of KL: the first moment of the log-ratio", absolute),
    _kl_loss("mse", "k2 = ½ (log p − log q)²", "biased: half of the second moment of the log-ratio", k2),
    _kl_loss("low_var_kl", "k3, at most 10 a token", "biased: what is beyond 10 is cut off", bounded_k3),
    Entry(
        key="actor/reward_kl_penalty",
        name="actor/reward_kl_penalty",
        options="kl_penalty=kl",
        definition="k1, mean over a response's tokens, mean over responses",
        why="an estimate, in which a token of a short response counts for more",
        weights=over_responses,
        estimator=k1,
    ),
    Entry(
        key="actor/ppo_kl",
        name="actor/ppo_kl",
        options="first mini-batch",
        definition="log π_old − log π, mean over all tokens of the batch",
        why="k1 to the policy that sampled, not to the reference: 0 until an update",
        weights=over_tokens,
        estimator=of_itself,
    ),
)


def _trl(name: str, trainer: str, definition: str, why: str, estimator: Estimator | None = None) -> Entry:
    definition = f"{definition}{_TOKEN_MEAN}"
    return Entry(
        key=name,
        name=name,
        options=trainer,
        definition=definition,
        why=why,
        weights=over_tokens,
        estimator=estimator,
    )


_K3 = "k3 = q/p − 1 − log(q/p), "
TRL_GRPO = (
    _trl("entropy", "GRPOTrainer", "", _NOTHING),
    _trl("kl", "GRPOTrainer, beta > 0", _K3, f"{_NOISE}, with a heavy tail where q > p", k3),
)
TRL_RLOO = (
    _trl("entropy", "RLOOTrainer", "", _NOTHING),
    _trl("kl", "RLOOTrainer, beta > 0", "k1 = log p − log q, ", _NOISE, k1),
)


def in_micro_batches(entry: Entry) -> Entry:
    """The same, logged as a mean over micro-batches."""
    why = "a token of a micro-batch with few tokens counts for more"
    return replace(
        entry,
        options=f"{entry.options}, 4 micro-batches",
        definition=entry.definition.replace(_TOKEN_MEAN, "mean over a micro-batch's tokens, mean over those"),
        why=why if entry.why == _NOTHING else f"{entry.why}; {why}",
        weights=over_micro_batches,
    )
