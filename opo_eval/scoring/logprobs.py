"""Log-probabilities of given tokens with a gradient, for a policy's loss."""

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, nll_loss
from torch.utils.checkpoint import checkpoint

from opo_eval.scoring.chunks import check_inputs, chunk_rows
from opo_eval.scoring.exact import shannon_entropy
from opo_eval.scoring.heads import OutputHead, as_head


def token_logprobs(
    hidden: Tensor,
    head: Tensor | OutputHead,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    entropy: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """log p(target) [T] in nats and, where asked, the entropy [T] of the distribution at each token.

    hidden: [T, H] last hidden states, row t those from which token t is predicted. head: OutputHead or its
    bare weight [V, H]. targets: [T] token numbers. temperature: divides the logits. All arithmetic is in
    float32 (float64 for float64 tensors). Gradients flow to hidden, weight and bias. Where there is more than
    one chunk of tokens, each is computed again in the backward pass, so that the logits of all tokens never
    exist at once.

    Raises UsageError for shapes that do not fit, InputError for a target outside the vocabulary.
    """
    head = as_head(head)
    check_inputs(hidden, head, targets, temperature)
    # Cast here and not in every chunk: the gradients of all chunks then add up in float32, and round once.
    score = partial(_chunk_logprobs, head=head.cast_for(hidden), temperature=temperature, entropy=entropy)
    size = chunk_rows(head.n_vocab)
    if len(hidden) <= size:
        return score(hidden, targets)
    parts = zip(hidden.split(size), targets.split(size), strict=True)
    logprobs, entropies = zip(*(_checkpointed(score, *part) for part in parts), strict=True)
    return torch.cat(logprobs), torch.cat(entropies) if entropy else None


def _checkpointed(score: partial, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
    # Nothing random is computed again, so there is no generator's state to keep.
    return checkpoint(score, hidden, targets, use_reentrant=False, preserve_rng_state=False)


def _chunk_logprobs(
    hidden: Tensor, targets: Tensor, *, head: OutputHead, temperature: float, entropy: bool
) -> tuple[Tensor, Tensor | None]:
    logits = head.logits(hidden)
    logits = logits if temperature == 1 else logits / temperature
    if not entropy:
        return -cross_entropy(logits, targets.long(), reduction="none"), None
    log_p = logits.log_softmax(dim=-1)
    return -nll_loss(log_p, targets.long(), reduction="none"), shannon_entropy(log_p)
