"""How often a tiny checkpoint is right: sampled responses to tiny-arith, marked by their last characters."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from opo_eval.problems.prompts import TEMPLATES, render
from opo_eval.records import Problem

MAX_TOKENS = 64
"""Longer than any solution that the model is trained on."""


def sample_responses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    *,
    n: int,
    seed: int,
) -> list[list[str]]:
    """Draw n responses to each problem at temperature 1 from the whole vocabulary.

    torch's global generator is left as it was.
    """
    prompts = [render(TEMPLATES["tiny"], problem) for problem in problems]
    encoded = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokens = model.generate(
            **encoded,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=n,
            max_new_tokens=MAX_TOKENS,
        )
    responses = tokens[:, encoded["input_ids"].shape[1] :]
    texts = tokenizer.batch_decode(responses, skip_special_tokens=True)
    return [texts[start : start + n] for start in range(0, len(texts), n)]


def count_right(problems: Sequence[Problem], responses: Sequence[Sequence[str]]) -> np.ndarray:
    """Count, for each problem, the responses that end in a box with its answer; int64 [P].

    Answers are integers and written one way only, so equal text is the whole of the marking.
    """
    return np.array(
        [
            sum(text.endswith(rf"\boxed{{{problem.answer}}}") for text in texts)
            for problem, texts in zip(problems, responses, strict=True)
        ]
    )
