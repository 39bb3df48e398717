"""Training batches: what carries loss, and that padding and the hold-out are respected."""

import numpy as np
import pytest
import torch

from opo_eval.problems.tiny_arith import generate_problems
from opo_eval.tiny.batches import IGNORED, encode, training_batches
from opo_eval.tiny.model import build_model, tiny_config
from opo_eval.tiny.tokenizer import build_tokenizer

PROMPTS = ["17+5-32=", "1-2+3="]
SOLUTIONS = [r"22-32=\boxed{-10}", r"\boxed{2}"]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def draw(tokenizer, seed, batch_size=32):
    return next(
        training_batches(tokenizer, np.random.default_rng(seed), batch_size=batch_size, error_rate=0.15)
    )


def test_only_solution_and_end_of_text_carry_labels(tokenizer):
    batch = encode(tokenizer, PROMPTS, SOLUTIONS)
    for prompt, solution, ids, labels in zip(PROMPTS, SOLUTIONS, batch.input_ids, batch.labels, strict=True):
        answered = labels != IGNORED
        assert tokenizer.decode(labels[answered]) == f"{solution}{tokenizer.eos_token}"
        assert torch.equal(ids[answered], labels[answered])
        assert tokenizer.decode(ids, skip_special_tokens=True) == prompt + solution
        assert tokenizer.decode(ids[: len(prompt)]) == prompt and not answered[: len(prompt)].any()


def test_loss_is_the_mean_over_solution_tokens(tokenizer):
    model = build_model(tiny_config(tokenizer), seed=0)
    batch = encode(tokenizer, PROMPTS, SOLUTIONS)
    with torch.no_grad():
        loss = model(input_ids=batch.input_ids, labels=batch.labels).loss
        nats = []
        for prompt, solution in zip(PROMPTS, SOLUTIONS, strict=True):
            ids = torch.tensor([*tokenizer.encode(prompt + solution), tokenizer.eos_token_id])
            logprobs = model(input_ids=ids[None]).logits[0, :-1].double().log_softmax(-1)
            nats.append(-logprobs.gather(1, ids[1:, None])[len(prompt) - 1 :, 0])
    assert loss.item() == pytest.approx(torch.cat(nats).mean().item(), rel=1e-5)


def test_batches_follow_the_generator(tokenizer):
    assert torch.equal(draw(tokenizer, 1).input_ids, draw(tokenizer, 1).input_ids)
    one, other = draw(tokenizer, 1).input_ids, draw(tokenizer, 2).input_ids
    assert one.shape != other.shape or not torch.equal(one, other)


def test_the_benchmark_is_never_in_a_batch(tokenizer):
    benchmark = {f"{problem.prompt}=" for problem in generate_problems()}
    # The seed of the benchmark, so that without the hold-out this batch would begin with all of it.
    texts = tokenizer.batch_decode(draw(tokenizer, 0, batch_size=128).input_ids, skip_special_tokens=True)
    drawn = {text[: text.index("=") + 1] for text in texts}
    assert len(drawn) > 100 and not benchmark & drawn
