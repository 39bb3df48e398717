"""Batches of synthetic solutions, tokenized and labelled for supervised training."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from opo_eval.problems.prompts import SLOT, TEMPLATES
from opo_eval.problems.tiny_arith import Terms, expression, training_terms, write_solution

IGNORED = -100
"""The label that a transformers loss leaves out."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Prompts with their solutions, padded on the right, and labels; int64 [B, T] each."""

    input_ids: Tensor
    labels: Tensor


def training_batches(
    tokenizer: PreTrainedTokenizerFast, rng: np.random.Generator, *, batch_size: int, error_rate: float
) -> Iterator[Batch]:
    """Draw batches without end; only a solution and the end-of-text token after it carry labels."""
    draws = training_terms(rng)
    while True:
        sums = list(islice(draws, batch_size))
        solutions = [write_solution(terms, rng, error_rate) for terms in sums]
        yield encode(tokenizer, [_prompt(terms) for terms in sums], solutions)


def encode(tokenizer: PreTrainedTokenizerFast, prompts: list[str], solutions: list[str]) -> Batch:
    """Tokenize one batch."""
    prompt_ids = tokenizer(prompts)["input_ids"]
    response_ids = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(solutions)["input_ids"]]
    pairs = list(zip(prompt_ids, response_ids, strict=True))
    return Batch(
        _pad([prompt + response for prompt, response in pairs], tokenizer.pad_token_id),
        _pad([[IGNORED] * len(prompt) + response for prompt, response in pairs], IGNORED),
    )


def _prompt(terms: Terms) -> str:
    return TEMPLATES["tiny"].template.replace(SLOT, expression(terms))


def _pad(rows: list[list[int]], value: int) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)
