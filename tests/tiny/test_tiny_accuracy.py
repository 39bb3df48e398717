"""Sampling from a tiny model, and marking by hand-made responses."""

import numpy as np
import pytest
import torch

from opo_eval.problems.tiny_arith import generate_problems
from opo_eval.tiny.accuracy import count_right, sample_responses
from opo_eval.tiny.model import build_model, tiny_config
from opo_eval.tiny.tokenizer import build_tokenizer


def test_only_the_exact_box_at_the_end_is_right():
    problem = generate_problems(1)[0]
    answer = problem.answer
    wrong = [
        answer,
        rf"\boxed{{{answer}}}=",
        rf"\boxed{{{answer}0}}",
        rf"\boxed{{1{answer}}}",
        r"\boxed{}",
        "",
    ]
    right = [rf"\boxed{{{answer}}}", rf"1+2=\boxed{{{answer}}}"]
    assert count_right([problem], [[*wrong, *right]]).tolist() == [2]
    assert count_right([problem, problem], [wrong, right]).tolist() == [0, 2]


@pytest.fixture(scope="module")
def draw():
    tokenizer = build_tokenizer()
    model = build_model(tiny_config(tokenizer), seed=0)
    problems = generate_problems(3)
    return lambda **options: sample_responses(model, tokenizer, problems, **options)


def test_samples_follow_the_seed(draw):
    first = draw(n=2, seed=0)
    assert np.shape(first) == (3, 2)
    assert first == draw(n=2, seed=0)
    assert first != draw(n=2, seed=1)
    assert len({text for texts in first for text in texts}) == 6


def test_the_global_generator_is_left_alone(draw):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    draw(n=1, seed=0)
    assert torch.equal(torch.rand(3), expected)
