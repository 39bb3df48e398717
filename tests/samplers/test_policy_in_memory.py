"""An engine around a model that somebody else trains."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from opo_eval.errors import UsageError
from opo_eval.problems.tiny_arith import generate_problems
from opo_eval.records import Finish
from opo_eval.samplers import plan_requests
from opo_eval.samplers.hf import HFSampler
from opo_eval.tiny import checkpoint_path

PROBLEMS = generate_problems()[:8]
REQUESTS = plan_requests(PROBLEMS, 4, 0)


@pytest.fixture
def policy() -> tuple:
    """A model and a tokenizer of one's own."""
    path = checkpoint_path("late")
    return AutoModelForCausalLM.from_pretrained(path).train(), AutoTokenizer.from_pretrained(path)


def drawn(sampler: HFSampler) -> dict:
    return {(g.request.problem.id, g.request.index): g.token_ids for g in sampler.generate(REQUESTS)}


def test_it_draws_what_its_checkpoint_draws(policy: tuple) -> None:
    own = HFSampler.of_model(*policy, template="tiny", max_tokens=64, batch_size=5)
    loaded = HFSampler(str(checkpoint_path("late")), template="tiny", max_tokens=64)
    assert drawn(own) == drawn(loaded)
    assert own.prompting == loaded.prompting
    assert own.settings.model_sha256 is None and loaded.settings.model_sha256 is not None
    assert own.settings.dtype == "float32" and own.device == "cpu"
    assert own.prompt_ids(REQUESTS[0].problem) == loaded.prompt_ids(REQUESTS[0].problem)
    assert policy[0].training


def test_weights_that_change_in_place_are_seen(policy: tuple) -> None:
    sampler = HFSampler.of_model(*policy, template="tiny", max_tokens=64)
    before = drawn(sampler)
    other = AutoModelForCausalLM.from_pretrained(checkpoint_path("early"))
    with torch.no_grad():
        for weight, new in zip(policy[0].parameters(), other.parameters(), strict=True):
            weight.copy_(new)
    after = drawn(sampler)
    early = HFSampler(str(checkpoint_path("early")), template="tiny", max_tokens=64)
    assert after != before and after == drawn(early)


def test_a_generation_says_what_it_drew_and_how_it_ended(policy: tuple) -> None:
    sampler = HFSampler.of_model(*policy, template="tiny", max_tokens=16)
    generations = list(sampler.generate(REQUESTS))
    end = policy[1].eos_token_id
    assert {g.finish for g in generations} == {Finish.STOP, Finish.LENGTH}
    for generation in generations:
        assert len(generation.token_ids) == len(generation.logprobs) == generation.n_tokens <= 16
        assert (generation.finish is Finish.STOP) == (generation.token_ids[-1] == end)
        assert all(logprob <= 0 for logprob in generation.logprobs)


def test_every_end_token_of_the_model_ends_a_response(policy: tuple) -> None:
    model, tokenizer = policy
    equals = tokenizer("=")["input_ids"][0]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, equals]
    sampler = HFSampler.of_model(model, tokenizer, template="tiny", max_tokens=64)
    ends = {g.token_ids[-1] for g in sampler.generate(REQUESTS)}
    assert ends == {tokenizer.eos_token_id, equals}
    model.generation_config.eos_token_id = None
    assert all(len(tokens) == 64 for tokens in drawn(sampler).values())


def test_its_settings_are_checked(policy: tuple) -> None:
    with pytest.raises(UsageError, match="temperature cannot be -1: it has to be 0 or more"):
        HFSampler.of_model(*policy, template="tiny", temperature=-1)
    with pytest.raises(UsageError, match=r"late has no chat template for a system message"):
        HFSampler.of_model(*policy, template="tiny", system="be kind")
    with pytest.raises(UsageError, match="a Sequential is no transformers model: give the model"):
        HFSampler.of_model(torch.nn.Sequential(policy[0]), policy[1], template="tiny")
