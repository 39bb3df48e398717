"""Hidden states of one model kept, in memory or in a file, until another model has read the same texts."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import torch
from torch import Tensor

from opo_eval.errors import StoreError
from opo_eval.scoring.packing import Text, lengths


class KeptInMemory:
    """Hidden states in the memory of the processor."""

    def __init__(self) -> None:
        self._hidden: dict[tuple[str, int], Tensor] = {}

    def keep(self, batch: Sequence[Text], hidden: Tensor) -> None:
        """Keep the states [N, H] of the response tokens of these texts, text after text."""
        parts = hidden.cpu().split(lengths(batch))
        self._hidden |= {text.key: part for text, part in zip(batch, parts, strict=True)}

    def of(self, batch: Sequence[Text]) -> Tensor:
        """The states [N, H] of texts that were kept, in any order and company."""
        return torch.cat([self._hidden[text.key] for text in batch])

    def close(self) -> None:
        """Forget them."""
        self._hidden.clear()


class _Place(NamedTuple):
    """Where the states of a text lie in the file."""

    offset: int
    shape: torch.Size
    dtype: torch.dtype


class KeptOnDisk:
    """Hidden states in a file without a name in `folder`, so that a killed process leaves none behind.

    Raises StoreError where the file cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._places, self._end = folder, dict[tuple[str, int], _Place](), 0
        with self._explained():
            self._file = TemporaryFile(dir=folder)  # noqa: SIM115

    def keep(self, batch: Sequence[Text], hidden: Tensor) -> None:
        """As KeptInMemory."""
        for text, part in zip(batch, hidden.cpu().split(lengths(batch)), strict=True):
            self._places[text.key] = _Place(self._end, part.shape, part.dtype)
            self._write(_bytes(part.contiguous()))

    def of(self, batch: Sequence[Text]) -> Tensor:
        """As KeptInMemory; on the processor, however they were kept."""
        return torch.cat([self._read(self._places[text.key]) for text in batch])

    def close(self) -> None:
        """Give the room back."""
        self._file.close()

    def _write(self, left: memoryview) -> None:
        with self._explained():
            while left:
                n = os.pwrite(self._file.fileno(), left, self._end)
                self._end, left = self._end + n, left[n:]

    def _read(self, place: _Place) -> Tensor:
        part = torch.empty(place.shape, dtype=place.dtype)
        offset, left = place.offset, _bytes(part)
        with self._explained():
            while left:
                n = os.preadv(self._file.fileno(), [left], offset)
                offset, left = offset + n, left[n:]
        return part

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"hidden states cannot be kept in {self._folder}: {error.strerror}; make room or lower "
                "--hidden-gb, or give another --hidden-dir, and then the same command again"
            ) from error


def _bytes(tensor: Tensor) -> memoryview:
    # numpy has no bfloat16; bytes of it, it has.
    return tensor.view(torch.uint8).flatten().numpy().data


def kept(folder: Path | None) -> KeptInMemory | KeptOnDisk:
    """A place to keep hidden states: memory, or a folder."""
    return KeptInMemory() if folder is None else KeptOnDisk(folder)
