"""The copies of a policy: what of them is in half precision, and what they say of each other."""

from pathlib import Path

import pytest
import torch
from rl.tiny_policy import small_policy, tiny_config
from transformers import AutoModelForCausalLM, Qwen2ForCausalLM

from opo_eval.rl.policy import Policy
from opo_eval.rl.trainer import train

LONG = 4_000


def _policy(model: Qwen2ForCausalLM, **settings) -> Policy:
    return Policy(model, **({"temperature": 1.0, "dtype": torch.bfloat16} | settings))


def _logits(model: Qwen2ForCausalLM) -> torch.Tensor:
    ids = torch.arange(LONG)[None] % 250
    with torch.no_grad():
        return model(ids, logits_to_keep=64).logits.float()


def test_buffers_of_a_copy_keep_their_type_and_weights_stay_tied() -> None:
    model = small_policy()
    copied = _policy(model).rollout_model
    assert {p.dtype for p in copied.parameters()} == {torch.bfloat16}
    buffers = dict(copied.named_buffers())
    assert "model.rotary_emb.inv_freq" in buffers
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffers[name], buffer, rtol=0, atol=0)
    assert copied.lm_head.weight is copied.model.embed_tokens.weight
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_copy_draws_far_positions_as_the_checkpoint_in_half_precision_does(tmp_path: Path) -> None:
    model = small_policy()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    torch.testing.assert_close(_logits(_policy(model).rollout_model), _logits(loaded), rtol=0, atol=0)


def test_the_start_keeps_its_weights_while_the_policy_moves() -> None:
    model = small_policy()
    policy = _policy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    policy.refresh()
    for start, moved, drawing in zip(
        policy.start.parameters(), model.parameters(), policy.rollout_model.parameters(), strict=True
    ):
        torch.testing.assert_close(start + 1, moved)
        torch.testing.assert_close(drawing, moved.bfloat16(), rtol=0, atol=0)


@pytest.mark.parametrize("method", ["opo", "grpo_loose"])
def test_before_the_first_update_the_policy_is_its_start_in_half_precision_too(
    method: str, tmp_path: Path
) -> None:
    (step,) = train(tiny_config(tmp_path, method=method, dtype="bfloat16", steps=1), quiet=True).steps
    assert step.kl_start == pytest.approx(0, abs=1e-12)
    assert step.kl_start_k3 == pytest.approx(0, abs=1e-12)
    # What drew has its weights in half precision, so it is another policy.
    assert step.kl_rollout_k3 > 1e-7
