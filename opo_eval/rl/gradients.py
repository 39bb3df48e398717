"""Inner products of the score vectors ∇ log π(y|x) of one problem's responses.

log π(y|x) is the sum over the response's tokens, at the temperature that it was drawn with; the prompt's
tokens carry no gradient of their own. Every estimate of a policy gradient is a weighted sum of score vectors,
so the n × n products are all that its length, its mean and its variance need, and n gradients of millions of
parameters become n² numbers:

    exact        every parameter; by torch.func, some responses at once, all n gradients in memory
    projection   every parameter, each added with a random sign to a random one of d coordinates: unbiased,
                 relative standard error of a squared norm at most sqrt(2 / d); one response at a time
    last-layer   the output head alone, exactly, without ever holding a gradient of its size
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.utils.rnn import pad_sequence

from opo_eval.errors import EngineError, InputError
from opo_eval.scoring import OutputHead, last_hidden, output_head, token_logprobs

Tokens = Sequence[int]
Products = NDArray[np.float64]
"""[n, n]: the inner product of every pair of score vectors; squared norms on the diagonal."""

DIMENSIONS = 2**16
_WORKING_BYTES = 2**28
_SKETCHED_AT_ONCE = 2**22
"""Coordinates whose random places are held at once."""


def exact_products(
    model: torch.nn.Module, prompt: Tokens, responses: Sequence[Tokens], *, temperature: float
) -> Products:
    """Of the gradients with respect to every trainable parameter, which are held together: n × parameters.

    Raises EngineError where torch.func cannot take them, InputError for an empty response.
    """
    return gram(exact_gradients(model, prompt, responses, temperature=temperature))


def projected_products(
    model: torch.nn.Module,
    prompt: Tokens,
    responses: Sequence[Tokens],
    *,
    temperature: float,
    dimensions: int = DIMENSIONS,
    seed: int = 0,
) -> Products:
    """Unbiased estimates of the exact products from a seeded count sketch of every gradient.

    The projection is the same for all responses, and for all calls with this seed on this kind of device.
    Memory: the model, its activations, the gradient of one weight at a time, and n × dimensions.
    """
    sketches = []
    for response in responses:
        sketch = CountSketch(dimensions, seed)
        _backward(model, prompt, response, temperature, sketch)
        sketches.append(sketch.coordinates)
    return gram(torch.stack(sketches))


def head_products(
    model: torch.nn.Module, prompt: Tokens, responses: Sequence[Tokens], *, temperature: float
) -> Products:
    """Of the exact gradients with respect to the output head's weight and bias, the hidden states held fixed.

    Where the head is tied to the embeddings, only its use as a head counts.
    """
    with torch.no_grad():
        hidden = [_hidden(model, prompt, response)[0] for response in responses]
        targets = torch.cat([torch.tensor(_checked(response)) for response in responses])
        head = output_head(model)
        lengths = [len(response) for response in responses]
        return _products_by_rows(torch.cat(hidden), lengths, targets.to(hidden[0].device), head, temperature)


PRODUCTS: dict[str, Callable[..., Products]] = {
    "exact": exact_products,
    "projection": projected_products,
    "last-layer": head_products,
}


def gram(vectors: Tensor) -> Products:
    """Inner products of the rows, [n, d] → [n, n], summed in float64."""
    products = torch.zeros(len(vectors), len(vectors), dtype=torch.float64)
    for block in vectors.split(max(1, _WORKING_BYTES // (8 * len(vectors))), dim=1):
        wide = block.double()
        products += (wide @ wide.T).cpu()
    return products.numpy()


def projection_error(dimensions: int) -> float:
    """Upper bound of the relative standard error of a squared norm: sqrt(2 / dimensions).

    The variance of a count sketch's squared norm is 2 (‖g‖⁴ - Σ g⁴) / d (Charikar et al. 2002).
    """
    return sqrt(2 / dimensions)


# --- every parameter, exactly -----------------------------------------------------------------------


def exact_gradients(
    model: torch.nn.Module, prompt: Tokens, responses: Sequence[Tokens], *, temperature: float
) -> Tensor:
    """∇ log π of each response with respect to every trainable parameter: [n, parameters]."""
    weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    each = vmap(grad(_sequence_logprob(model, len(prompt), temperature)), in_dims=(None, 0, 0, 0))
    n_weights = sum(map(torch.numel, weights.values()))
    some = next(iter(weights.values()))
    rows = torch.empty(len(responses), n_weights, dtype=some.dtype, device=some.device)
    with _eager_attention(model), _explained():
        for places, inputs in _padded(model, prompt, responses, n_weights):
            rows[places] = torch.cat([g.flatten(1) for g in each(weights, *inputs).values()], dim=1)
    return rows


@contextmanager
def _eager_attention(model: Any) -> Iterator[None]:
    """torch.func has no rule for fused attention kernels, and would run them one response at a time."""
    usual = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch's own: what it cannot follow, and memory it has not got
        reason = str(error).split("\n")[0]
        raise EngineError(
            f"exact gradients cannot be taken of this model ({reason}): choose --gradients projection"
        ) from None


def _sequence_logprob(model: torch.nn.Module, n_prompt: int, temperature: float) -> Callable[..., Tensor]:
    """log π(y|x) as a function of the weights: one row of input ids, targets and whether each is counted."""

    def logprob(weights: dict[str, Tensor], ids: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
        # No mask: padding is on the right, where causal attention does not look.
        made = functional_call(model, weights, (), {"input_ids": ids[None], "use_cache": False})
        logits = made.logits[0, n_prompt - 1 :]
        logits = logits if logits.dtype == torch.float64 else logits.float()
        every = torch.log_softmax(logits / temperature, dim=-1).gather(1, targets[:, None])[:, 0]
        return torch.where(counted, every, 0).sum()

    return logprob


def _padded(
    model: torch.nn.Module, prompt: Tokens, responses: Sequence[Tokens], n_weights: int
) -> Iterator[tuple[list[int], tuple[Tensor, Tensor, Tensor]]]:
    """Yield (places, (input ids, targets, counted)) of responses of like length."""
    order = sorted(range(len(responses)), key=lambda place: -len(_checked(responses[place])))
    device = next(model.parameters()).device
    while order:
        longest = len(prompt) + len(responses[order[0]])
        a_row = 4 * (2 * n_weights + 4 * longest * int(model.config.vocab_size))  # type: ignore[union-attr]
        places, order = _split(order, max(1, _WORKING_BYTES // a_row))
        inputs = [torch.tensor([*prompt, *responses[place][:-1]]) for place in places]
        targets = [torch.tensor(responses[place]) for place in places]
        counted = [torch.ones(len(target), dtype=torch.bool) for target in targets]
        padded = (pad_sequence(rows, batch_first=True).to(device) for rows in (inputs, targets, counted))
        yield places, tuple(padded)  # type: ignore[misc]


def _split(items: list[int], at: int) -> tuple[list[int], list[int]]:
    return items[:at], items[at:]


# --- every parameter, projected ---------------------------------------------------------------------


class CountSketch:
    """A vector of any size as `dimensions` sums of its coordinates with random signs.

    Parts are numbered: a part of the same number, size and seed always falls into the same places, so inner
    products of sketches estimate those of the vectors without bias. Adding is linear.
    """

    def __init__(self, dimensions: int, seed: int) -> None:
        self.dimensions, self.seed = dimensions, seed
        self.coordinates = torch.zeros(dimensions, dtype=torch.float64)
        """[dimensions]"""

    def add(self, number: int, part: Tensor) -> None:
        """Add the part of this number, of any shape."""
        self.coordinates = self.coordinates.to(part.device)
        generator = torch.Generator(part.device)
        generator.manual_seed(int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0]))
        for block in part.detach().reshape(-1).split(_SKETCHED_AT_ONCE):
            drawn = torch.randint(2 * self.dimensions, block.shape, generator=generator, device=part.device)
            self.coordinates.index_add_(0, drawn // 2, block.double() * (1 - 2 * (drawn % 2)))


def _backward(
    model: torch.nn.Module, prompt: Tokens, response: Tokens, temperature: float, sketch: CountSketch
) -> None:
    """Add the gradient of log π to the sketch, weight by weight as backward finds them."""

    def take(number: int) -> Callable[[Tensor], None]:
        def hook(weight: Tensor) -> None:
            assert weight.grad is not None
            sketch.add(number, weight.grad)
            weight.grad = None  # so that no more than one weight's gradient is ever held

        return hook

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    hooks = [weight.register_post_accumulate_grad_hook(take(i)) for i, weight in enumerate(weights)]
    try:
        hidden, targets = _hidden(model, prompt, response)
        logprobs, _ = token_logprobs(hidden, output_head(model), targets, temperature=temperature)
        logprobs.sum().backward()
    finally:
        for hook in hooks:
            hook.remove()


# --- the output head alone --------------------------------------------------------------------------


def _products_by_rows(
    hidden: Tensor, lengths: list[int], targets: Tensor, head: OutputHead, temperature: float
) -> Products:
    """hidden [tokens, H] of all responses in a row → [n, n], from a block of the head's rows at a time.

    The gradient of a response with respect to the head's weight is Σ_t (∂log π / ∂logits_t) h_tᵀ.
    """
    a_row = 8 * (len(lengths) * hidden.shape[1] + 3 * len(hidden))
    blocks = torch.arange(head.n_vocab, device=hidden.device).split(max(1, _WORKING_BYTES // a_row))
    hidden = hidden.double()
    total = torch.full_like(hidden[:, 0], -torch.inf)
    for block in blocks:
        of_block = (_rows(head, block).logits(hidden) / temperature).logsumexp(dim=1)
        total = torch.logaddexp(total, of_block)
    products = np.zeros((len(lengths), len(lengths)))
    for block in blocks:
        logits = _rows(head, block).logits(hidden)
        errors = (targets[:, None] == block).double() - torch.exp(logits / temperature - total[:, None])
        errors *= head.scale / temperature
        if head.softcap is not None:
            errors *= 1 - (logits / head.softcap) ** 2
        products += _block_products(
            errors.split(lengths), hidden.split(lengths), with_bias=head.bias is not None
        )
    return products


def _rows(head: OutputHead, rows: Tensor) -> OutputHead:
    """The head of these tokens only."""
    bias = None if head.bias is None else head.bias[rows]
    return replace(head, weight=head.weight[rows], bias=bias, vocab_size=None)


def _block_products(errors: Sequence[Tensor], hidden: Sequence[Tensor], *, with_bias: bool) -> Products:
    """errors: ∂log π_t / ∂(w · h_t + b) of a response's tokens and some rows, [T, rows]; hidden: [T, H]."""
    pairs = zip(errors, hidden, strict=True)
    products = gram(torch.stack([(error.T @ states).flatten() for error, states in pairs]))
    return products + gram(torch.stack([error.sum(dim=0) for error in errors])) if with_bias else products


# --- one response -----------------------------------------------------------------------------------


def _hidden(model: Any, prompt: Tokens, response: Tokens) -> tuple[Tensor, Tensor]:
    """The states that predict each response token, [T, H], and these tokens, [T]."""
    device = next(model.parameters()).device
    ids = torch.tensor([[*prompt, *_checked(response)[:-1]]], device=device)
    return last_hidden(model, ids)[0, len(prompt) - 1 :], torch.tensor(list(response), device=device)


def _checked(response: Tokens) -> Tokens:
    if not len(response):
        raise InputError("a response has no token, so it has no gradient: sample it again")
    return response
