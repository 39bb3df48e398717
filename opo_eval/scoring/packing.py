"""Prompts with the responses after them, cut into chunks, shares and batches by their length in tokens."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Text:
    """A prompt and one response to it, as token ids: int32, at least one each."""

    problem_id: str
    index: int
    prompt: NDArray[np.int32]
    response: NDArray[np.int32]

    @property
    def key(self) -> tuple[str, int]:
        """The sample that it is."""
        return self.problem_id, self.index

    @property
    def n_read(self) -> int:
        """Tokens that a model reads: all but the last, which it only has to predict."""
        return len(self.prompt) + len(self.response) - 1


def chunks(texts: Iterable[Text], most_tokens: int) -> Iterator[list[Text]]:
    """Cut texts, in their order, into lists of at most so many response tokens; a longer text comes alone."""
    chunk: list[Text] = []
    size = 0
    for text in texts:
        if chunk and size + len(text.response) > most_tokens:
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += len(text.response)
    if chunk:
        yield chunk


def shares(texts: Iterable[Text], n: int) -> list[list[Text]]:
    """Deal texts out among n so that all read about as many tokens: the longest first, to who has least."""
    dealt: list[list[Text]] = [[] for _ in range(n)]
    sizes = [0] * n
    for text in longest_first(texts):
        least = sizes.index(min(sizes))
        dealt[least].append(text)
        sizes[least] += text.n_read
    return dealt


def longest_first(texts: Iterable[Text]) -> list[Text]:
    """Neighbours are of like length, and what memory does not hold is found at the start."""
    return sorted(texts, key=lambda text: -text.n_read)


def take_batch(waiting: deque[Text], most_tokens: int) -> list[Text]:
    """Take the next texts of a queue that, each padded to the first and longest, have at most so many tokens.

    A longer text comes alone.
    """
    size = max(1, most_tokens // waiting[0].n_read)
    return [waiting.popleft() for _ in range(min(size, len(waiting)))]


def input_ids(batch: Sequence[Text]) -> Tensor:
    """int64 [B, T]: what a model reads, padded on the right, where causal attention does not look."""
    rows = [np.concatenate([text.prompt, text.response[:-1]]) for text in batch]
    return pad_sequence([torch.from_numpy(row).long() for row in rows], batch_first=True)


def of_responses(hidden: Tensor, batch: Sequence[Text]) -> Tensor:
    """Of hidden states [B, T, H], those from which a response token is predicted, text after text: [N, H]."""
    rows = zip(hidden, batch, strict=True)
    return torch.cat([row[len(text.prompt) - 1 : text.n_read] for row, text in rows])


def targets(batch: Sequence[Text]) -> Tensor:
    """int64 [N]: the response tokens, text after text."""
    return torch.from_numpy(np.concatenate([text.response for text in batch])).long()


def lengths(batch: Sequence[Text]) -> list[int]:
    """Response tokens of each text, N together."""
    return [len(text.response) for text in batch]
