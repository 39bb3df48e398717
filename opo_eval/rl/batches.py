"""From responses of unequal length to padded tensors that hold few pads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One response as the update sees it."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]
    """Token ids, the end-of-text token included where it was drawn."""
    advantage: float
    weight: float
    """Of each of its tokens in the loss."""
    drawn_logprob: tuple[float, ...]
    """The engine's, of each drawn token."""

    @property
    def size(self) -> int:
        """Tokens that the model reads: all but the last."""
        return len(self.prompt) + len(self.response) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroBatch:
    """Rows whose activations are held at once; their N response tokens lie row after row."""

    rows: tuple[int, ...]
    """Places of its rows in the rollout."""
    input_ids: Tensor
    """int64 [B, T], padded on the right, where causal attention does not look."""
    row: Tensor
    """int64 [N]: where each response token is predicted: row and position in `input_ids`."""
    position: Tensor
    targets: Tensor
    """int64 [N]: the response tokens."""
    advantage: Tensor
    """float64 [N], and the two below too."""
    weight: Tensor
    drawn_logprob: Tensor
    lengths: tuple[int, ...]
    """Response tokens of each row."""


def micro_batches(
    rows: Sequence[Row],
    parts: Sequence[Sequence[int]],
    max_tokens: int,
    device: torch.device,
    rank: int = 0,
    n_processes: int = 1,
) -> Iterator[MicroBatch]:
    """The micro-batches of one of n processes: of every part (places in `rows`) a like share of its tokens.

    Each has at most `max_tokens`, padding included, or a single row. All processes have as many, because they
    gather split weights together: one that has run out of rows gets an idle one, of no response token.
    """
    cuts = [list(cut(rows, dealt(rows, parts, n_processes, i), max_tokens)) for i in range(n_processes)]
    for batch in cuts[rank]:
        yield collate(rows, batch, device)
    for _ in range(max(map(len, cuts)) - len(cuts[rank])):
        yield idle(rows[0], device)


def dealt(rows: Sequence[Row], parts: Sequence[Sequence[int]], n: int, rank: int) -> list[int]:
    """Places that one of n processes is dealt, of every part: longest first, so that all get alike."""
    by_size = [sorted(part, key=lambda place: -rows[place].size) for part in parts]
    return [place for part in by_size for place in part[rank::n]]


def cut(rows: Sequence[Row], places: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Put rows of like length together, up to `max_tokens`; a longer row stays alone."""
    batch: list[int] = []
    for place in sorted(places, key=lambda place: -rows[place].size):
        widest = rows[batch[0]].size if batch else 0
        if batch and widest * (len(batch) + 1) > max_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def collate(rows: Sequence[Row], places: Sequence[int], device: torch.device) -> MicroBatch:
    """Tensors of the rows at `places`."""
    chosen = [rows[place] for place in places]
    lengths = [len(row.response) for row in chosen]
    inputs = [torch.tensor([*row.prompt, *row.response[:-1]]) for row in chosen]
    return MicroBatch(
        rows=tuple(places),
        input_ids=pad_sequence(inputs, batch_first=True).to(device),
        row=torch.repeat_interleave(torch.arange(len(chosen)), torch.tensor(lengths)).to(device),
        position=torch.cat([torch.arange(len(row.prompt) - 1, row.size) for row in chosen]).to(device),
        targets=torch.tensor([token for row in chosen for token in row.response]).to(device),
        advantage=_by_token([row.advantage for row in chosen], lengths, device),
        weight=_by_token([row.weight for row in chosen], lengths, device),
        drawn_logprob=torch.tensor(
            [lp for row in chosen for lp in row.drawn_logprob], dtype=torch.float64
        ).to(device),
        lengths=tuple(lengths),
    )


def idle(row: Row, device: torch.device) -> MicroBatch:
    """One token to read and none to learn from: gradients and sums of it are 0."""
    batch = collate([replace(row, prompt=row.prompt[:1], response=row.response[:1])], [0], device)
    none = {name: getattr(batch, name)[:0] for name in _OF_TOKENS}
    return replace(batch, rows=(), lengths=(), **none)


_OF_TOKENS = ("row", "position", "targets", "advantage", "weight", "drawn_logprob")


def _by_token(values: list[float], lengths: list[int], device: torch.device) -> Tensor:
    spread = torch.repeat_interleave(torch.tensor(values, dtype=torch.float64), torch.tensor(lengths))
    return spread.to(device)
