"""The architecture, and weights that follow a seed."""

import pytest
import torch

from opo_eval.tiny.model import build_model, tiny_config
from opo_eval.tiny.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def config():
    return tiny_config(build_tokenizer())


def test_size(config):
    model = build_model(config, seed=0)
    # Embedding; three layers of q, k, v with bias, o, the gated MLP and two norms; the last norm.
    layer = 3 * (64 * 64 + 64) + 64 * 64 + 3 * 64 * 256 + 2 * 64
    assert model.num_parameters() == 258 * 64 + 3 * layer + 64 == 214_144
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_heads_fit_vllm_s_attention_on_the_cpu(config):
    model = build_model(config, seed=0)
    assert model.model.layers[0].self_attn.head_dim == 32


def test_weights_follow_the_seed(config):
    first, again, other = (build_model(config, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])
    assert first["model.embed_tokens.weight"].std().item() == pytest.approx(0.1, rel=0.05)


def test_the_global_generator_is_left_alone(config):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_model(config, seed=0)
    assert torch.equal(torch.rand(3), expected)
