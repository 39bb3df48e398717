"""Inner products of score vectors against autograd, one response at a time, and what a projection keeps."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Gemma2Config, Gemma2ForCausalLM, Qwen2Config, Qwen2ForCausalLM

from opo_eval.errors import EngineError, InputError
from opo_eval.rl import gradients
from opo_eval.rl.gradients import (
    CountSketch,
    exact_gradients,
    exact_products,
    gram,
    head_products,
    projected_products,
    projection_error,
)
from opo_eval.scoring import OutputHead

PROMPT = (3, 7, 11)
RESPONSES = ((5, 1), (9,), (2, 2, 8, 30, 1), (4, 16, 1), (31, 30, 29, 28, 27, 26))
TEMPERATURE = 0.7


def _model(*, tied: bool = True, softcap: float | None = None) -> torch.nn.Module:
    sizes = {
        "vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 24, "max_position_embeddings": 64,
        "initializer_range": 0.3, "tie_word_embeddings": tied, "head_dim": 8,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if softcap:
            config = Gemma2Config(**sizes, final_logit_softcapping=softcap, query_pre_attn_scalar=8)
            return Gemma2ForCausalLM(config).double().eval()
        return Qwen2ForCausalLM(Qwen2Config(**sizes)).double().eval()


def _logprob(model: torch.nn.Module, response: tuple[int, ...]) -> torch.Tensor:
    """log π(response|PROMPT) from the model's own logits, token by token."""
    ids = torch.tensor([[*PROMPT, *response]])
    logits = model(input_ids=ids).logits[0] / TEMPERATURE
    places = range(len(PROMPT) - 1, len(PROMPT) + len(response) - 1)
    return sum(
        logits[place, token] - logits[place].logsumexp(0)
        for place, token in zip(places, response, strict=True)
    )


def _by_autograd(model: torch.nn.Module, weights: list[torch.Tensor]) -> torch.Tensor:
    # Part of transformers' eager attention is in float32 whatever the weights are: compare like with like.
    model.set_attn_implementation("eager")
    rows = []
    for response in RESPONSES:
        parts = torch.autograd.grad(_logprob(model, response), weights)
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


@pytest.mark.parametrize("tied", [True, False])
def test_exact_gradients_are_those_of_autograd_one_by_one(tied: bool) -> None:
    model = _model(tied=tied)
    expected = _by_autograd(model, list(model.parameters()))
    found = exact_gradients(model, PROMPT, RESPONSES, temperature=TEMPERATURE)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    products = exact_products(model, PROMPT, RESPONSES, temperature=TEMPERATURE)
    np.testing.assert_allclose(products, (expected @ expected.T).numpy(), rtol=1e-9)


def test_exact_gradients_do_not_depend_on_how_they_are_batched(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    together = exact_gradients(model, PROMPT, RESPONSES, temperature=TEMPERATURE)
    monkeypatch.setattr(gradients, "_WORKING_BYTES", 1)
    alone = exact_gradients(model, PROMPT, RESPONSES, temperature=TEMPERATURE)
    torch.testing.assert_close(alone, together, rtol=1e-9, atol=1e-11)


def test_exact_gradients_leave_the_model_as_it_was() -> None:
    model = _model()
    before = model.config._attn_implementation
    exact_gradients(model, PROMPT, RESPONSES[:1], temperature=1.0)
    assert model.config._attn_implementation == before != "eager"
    assert all(weight.grad is None for weight in model.parameters())


def test_frozen_weights_have_no_part_in_any_gradient() -> None:
    model = _model()
    for layer in model.model.layers[:1]:
        layer.requires_grad_(False)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    expected = _by_autograd(model, weights)
    found = exact_gradients(model, PROMPT, RESPONSES, temperature=TEMPERATURE)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


# --- the head alone ---------------------------------------------------------------------------------


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("working_bytes", [2**28, 4000])
def test_last_layer_products_are_exact(
    softcap: float | None, working_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "_WORKING_BYTES", working_bytes)
    model = _model(tied=False, softcap=softcap)
    rows = _by_autograd(model, [model.lm_head.weight])
    products = head_products(model, PROMPT, RESPONSES, temperature=TEMPERATURE)
    np.testing.assert_allclose(products, (rows @ rows.T).numpy(), rtol=1e-9)


def test_last_layer_counts_a_bias_and_a_scale() -> None:
    model = _model(tied=False)
    model.config.logit_scale = 0.5
    model.lm_head.bias = torch.nn.Parameter(torch.linspace(-1, 1, 32, dtype=torch.float64))
    states = [
        model.model(input_ids=torch.tensor([[*PROMPT, *r[:-1]]]))
        .last_hidden_state[0, len(PROMPT) - 1 :]
        .detach()
        for r in RESPONSES
    ]
    rows = []
    for hidden, response in zip(states, RESPONSES, strict=True):
        logits = 0.5 * model.lm_head(hidden) / TEMPERATURE
        chosen = logits.log_softmax(-1)[range(len(response)), list(response)].sum()
        parts = torch.autograd.grad(chosen, [model.lm_head.weight, model.lm_head.bias])
        rows.append(torch.cat([part.flatten() for part in parts]))
    expected = torch.stack(rows)
    products = head_products(model, PROMPT, RESPONSES, temperature=TEMPERATURE)
    np.testing.assert_allclose(products, (expected @ expected.T).numpy(), rtol=1e-9)


class _Largest(TorchDispatchMode):
    """Numbers in the largest tensor that any operation gives."""

    n = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.n = max(self.n, made.numel())
        return made


def test_no_number_is_held_for_every_token_and_every_row_of_the_head(monkeypatch) -> None:
    monkeypatch.setattr(gradients, "_WORKING_BYTES", 1)  # one row of the head at a time
    torch.manual_seed(0)
    n_rows, lengths = 64, [150, 250]
    head = OutputHead(torch.randn(n_rows, 4, dtype=torch.float64))
    hidden, targets = torch.randn(400, 4, dtype=torch.float64), torch.randint(n_rows, (400,))
    with _Largest() as largest:
        products = gradients._products_by_rows(hidden, lengths, targets, head, TEMPERATURE)
    assert largest.n <= 4 * 400, "the hidden states are the largest"
    errors = torch.nn.functional.one_hot(targets, n_rows) - (hidden @ head.weight.T / TEMPERATURE).softmax(1)
    rows = [
        (e.T @ h).flatten() / TEMPERATURE
        for e, h in zip(errors.split(lengths), hidden.split(lengths), strict=True)
    ]
    np.testing.assert_allclose(products, gram(torch.stack(rows)), rtol=1e-10)


# --- projections ------------------------------------------------------------------------------------


def test_projected_products_are_those_of_the_sketched_gradients() -> None:
    model = _model()
    weights = list(model.parameters())
    sketches = []
    for response in RESPONSES:
        sketch = CountSketch(256, seed=5)
        for number, part in enumerate(torch.autograd.grad(_logprob(model, response), weights)):
            sketch.add(number, part)
        sketches.append(sketch.coordinates)
    expected = gram(torch.stack(sketches))
    found = projected_products(model, PROMPT, RESPONSES, temperature=TEMPERATURE, dimensions=256, seed=5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.max())
    assert all(weight.grad is None and not weight._post_accumulate_grad_hooks for weight in weights)


def test_projection_is_unbiased_with_the_error_that_is_stated() -> None:
    dimensions, n_seeds = 64, 1000
    vectors = exact_gradients(_model(), PROMPT, RESPONSES, temperature=TEMPERATURE)
    drawn = np.stack([_sketched_products(vectors, dimensions, seed) for seed in range(n_seeds)])
    spread = drawn.std(axis=0, ddof=1)
    exact = gram(vectors)
    assert (np.abs(drawn.mean(axis=0) - exact) < 4 * spread / np.sqrt(n_seeds)).all()
    norms, fourths = np.diagonal(exact), (vectors**4).sum(dim=1).numpy()
    stated = np.sqrt(2 * (norms**2 - fourths) / dimensions)
    np.testing.assert_allclose(np.diagonal(spread), stated, rtol=0.12)
    assert (stated / norms <= projection_error(dimensions)).all()


def _sketched_products(vectors: torch.Tensor, dimensions: int, seed: int) -> np.ndarray:
    sketches = []
    for vector in vectors:
        sketch = CountSketch(dimensions, seed)
        sketch.add(0, vector)
        sketches.append(sketch.coordinates)
    return gram(torch.stack(sketches))


def test_sketch_is_linear_and_obeys_its_seed() -> None:
    parts = [torch.randn(7, 9, dtype=torch.float64), torch.randn(5, dtype=torch.float64)]

    def sketch(seed: int, *factors: float) -> torch.Tensor:
        made = CountSketch(16, seed)
        for factor in factors:
            for number, part in enumerate(parts):
                made.add(number, factor * part)
        return made.coordinates

    torch.testing.assert_close(sketch(3, 2.0, -0.5), 1.5 * sketch(3, 1.0))
    assert not torch.equal(sketch(3, 1.0), sketch(4, 1.0))


def test_sketch_of_one_coordinate_is_that_coordinate_somewhere() -> None:
    part = torch.zeros(1000)
    part[500] = 2.0
    made = CountSketch(16, 0)
    made.add(0, part)
    assert sorted(made.coordinates.abs().tolist())[-2:] == [0.0, 2.0]


def test_gram_of_blocks_is_gram_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.randn(4, 103, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(gradients, "_WORKING_BYTES", 8 * 4 * 10)
    np.testing.assert_allclose(gram(rows), (rows @ rows.T).numpy(), rtol=1e-12)


# --- what cannot be done ----------------------------------------------------------------------------


@pytest.mark.parametrize("products", [exact_products, projected_products, head_products])
def test_an_empty_response_is_refused(products) -> None:
    with pytest.raises(InputError, match="has no token"):
        products(_model(), PROMPT, ((5, 1), ()), temperature=1.0)


def test_what_torch_cannot_follow_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    forward = type(model).forward

    def branching(self, **inputs):
        made = forward(self, **inputs)
        assert made.logits.sum() != 0  # a value decides, which vmap refuses
        return made

    monkeypatch.setattr(type(model), "forward", branching)
    with pytest.raises(EngineError, match="choose --gradients projection"):
        exact_gradients(model, PROMPT, RESPONSES, temperature=1.0)
