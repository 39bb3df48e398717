"""Chunks, shares and batches: nothing lost, nothing twice, nothing over the limit but what stands alone."""

from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opo_eval.scoring.packing import (
    Text,
    chunks,
    input_ids,
    lengths,
    longest_first,
    of_responses,
    shares,
    take_batch,
    targets,
)

SIZES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 40)), max_size=30)


def text(index: int, prompt: int, response: int) -> Text:
    """Tokens that say where they stand: 100, 101, ... and 200, 201, ..."""
    return Text(
        problem_id="p",
        index=index,
        prompt=np.arange(100, 100 + prompt, dtype=np.int32),
        response=np.arange(200, 200 + response, dtype=np.int32),
    )


def texts(sizes: list[tuple[int, int]]) -> list[Text]:
    return [text(index, *size) for index, size in enumerate(sizes)]


@given(SIZES, st.integers(1, 60))
def test_chunks_keep_the_order_and_the_limit(sizes: list[tuple[int, int]], most: int) -> None:
    given_texts = texts(sizes)
    cut = list(chunks(given_texts, most))
    assert [t for chunk in cut for t in chunk] == given_texts
    totals = [sum(lengths(chunk)) for chunk in cut]
    assert all(total <= most or len(chunk) == 1 for total, chunk in zip(totals, cut, strict=True))
    # Full: the next text would not have gone in.
    assert all(total + lengths(after)[0] > most for total, after in zip(totals, cut[1:], strict=False))


@given(SIZES, st.integers(1, 5))
def test_shares_hold_every_text_once_and_differ_by_one_text_at_most(
    sizes: list[tuple[int, int]], n: int
) -> None:
    given_texts = texts(sizes)
    dealt = shares(given_texts, n)
    assert len(dealt) == n and sorted(t.index for share in dealt for t in share) == list(range(len(sizes)))
    totals = [sum(t.n_read for t in share) for share in dealt]
    assert max(totals) - min(totals) <= max((t.n_read for t in given_texts), default=0)


@given(SIZES, st.integers(1, 120))
def test_batches_hold_every_text_once_within_the_limit(sizes: list[tuple[int, int]], most: int) -> None:
    waiting = deque(longest_first(texts(sizes)))
    taken = []
    while waiting:
        batch = take_batch(waiting, most)
        assert len(batch) == 1 or input_ids(batch).numel() <= most
        if waiting:  # no room for one more
            assert (len(batch) + 1) * batch[0].n_read > most
        taken += batch
    assert sorted(t.index for t in taken) == list(range(len(sizes)))
    assert [t.n_read for t in taken] == sorted((t.n_read for t in taken), reverse=True)


def test_a_model_reads_all_but_the_last_token_and_nothing_but_padding_after_it() -> None:
    batch = [text(0, 2, 3), text(1, 1, 2)]
    assert input_ids(batch).tolist() == [[100, 101, 200, 201], [100, 200, 0, 0]]
    assert input_ids(batch).dtype == targets(batch).dtype == torch.int64
    assert targets(batch).tolist() == [200, 201, 202, 200, 201] and lengths(batch) == [3, 2]


@pytest.mark.parametrize("sizes", [[(2, 3), (1, 2)], [(1, 1)], [(3, 1), (1, 1), (2, 4)]])
def test_each_token_is_predicted_from_the_place_before_it(sizes: list[tuple[int, int]]) -> None:
    batch = sorted(texts(sizes), key=lambda t: -t.n_read)
    ids = input_ids(batch)
    hidden = torch.stack([ids, torch.arange(ids.shape[1]).expand_as(ids)], dim=-1)  # token, place
    whole = [[*t.prompt.tolist(), *t.response.tolist()] for t in batch]
    expected = [
        [row[len(t.prompt) - 1 + i], len(t.prompt) - 1 + i]
        for row, t in zip(whole, batch, strict=True)
        for i in range(len(t.response))
    ]
    assert of_responses(hidden, batch).tolist() == expected
