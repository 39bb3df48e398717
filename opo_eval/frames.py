"""Lines of text kept compressed: appended at any time, read in part, sound up to where a writer was killed.

A file is a row of entries, one for every append; a longer append makes several. An entry is an announcement
and a Zstandard frame (RFC 8878) of whole lines that needs no other frame to be read. The announcement is what
the standard calls a skippable frame, so `zstdcat` passes over it and prints the lines:

    bytes   0  magic number 0x184D2A50
            4  12, the bytes that follow in the announcement
            8  length of the frame in bytes
           12  length of its text in bytes
           16  CRC-32 of bytes 8 to 15

All are unsigned and little-endian. Ends of entries are thus known without decompressing anything, and a file
that ends before an entry does is torn, never mistaken for damaged or the reverse.
"""

import io
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import BinaryIO, NamedTuple

import zstandard

from opo_eval.errors import StoreError

LEVEL = 9
"""Of compression; higher ones take much longer and save little (benchmarks/speed/storage.py)."""
MOST_TEXT = 1 << 18
"""Bytes of text in a frame at most, a longer line apart: what the reading of one line decompresses."""
_ANNOUNCEMENT = struct.Struct("<IIIII")
_MAGIC, _FOLLOWING = 0x184D2A50, 12
_BITS_WITHIN = 32


class Entry(NamedTuple):
    """Where an announced frame lies in the file, and how long its text is; all in bytes."""

    start: int
    """Of the announcement."""
    length: int
    """Of the frame."""
    n_text: int

    @property
    def frame(self) -> int:
        """Where the frame begins."""
        return self.start + _ANNOUNCEMENT.size

    @property
    def end(self) -> int:
        """Where the next entry begins."""
        return self.frame + self.length


class FrameLines:
    """Lines in a file of frames.

    A line's place is a virtual offset, as in BGZF: 2³² times the byte of the file at which its entry begins,
    plus the byte of the frame's text at which the line begins. Reading raises StoreError for damage.
    """

    remedy = "unpack the file with `zstd -d`, delete that line, move the packed file away and run again"
    """What to do about a line that should not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pack(self, lines: Iterable[bytes]) -> bytes:
        """What to append to the file for these lines, each of which ends with a newline."""
        return b"".join(map(self._packed, _joined(lines, MOST_TEXT)))

    def extent(self) -> tuple[int, int]:
        """Where the last whole entry ends, and the size of the file."""
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            end = 0
            while (entry := self._entry(file, end)) and entry.end <= size:
                end = entry.end
        return end, size

    def until(self, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield (place, line) of every line before a byte of the file at which an entry ends."""
        with self.path.open("rb") as file:
            start = 0
            while start < end:
                entry, text = self._read(file, start)
                place = start << _BITS_WITHIN
                for line in io.BytesIO(text):
                    yield place, line
                    place += len(line)
                start = entry.end

    def at(self, places: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield (place, line) of the lines at these places; a frame is decompressed once for neighbours."""
        held, text = -1, b""
        with self.path.open("rb") as file:
            for place in places:
                start, within = place >> _BITS_WITHIN, place & ((1 << _BITS_WITHIN) - 1)
                if start != held:
                    held, text = start, self._read(file, start)[1]
                yield place, text[within : text.find(b"\n", within) + 1]

    @cached_property
    def _compressor(self) -> zstandard.ZstdCompressor:
        # The announcement has the text's length under a checksum; the frame's own would have none.
        return zstandard.ZstdCompressor(LEVEL, write_checksum=True, write_content_size=False)

    def _packed(self, text: bytes) -> bytes:
        frame = self._compressor.compress(text)
        check = _check(len(frame), len(text))
        return _ANNOUNCEMENT.pack(_MAGIC, _FOLLOWING, len(frame), len(text), check) + frame

    def _entry(self, file: BinaryIO, start: int) -> Entry | None:
        """The entry that is announced at a byte of the file; None where the file ends before that is said."""
        file.seek(start)
        announcement = file.read(_ANNOUNCEMENT.size)
        if len(announcement) < _ANNOUNCEMENT.size:
            return None
        magic, following, length, n_text, check = _ANNOUNCEMENT.unpack(announcement)
        if (magic, following, check) != (_MAGIC, _FOLLOWING, _check(length, n_text)):
            raise self._lost(start)
        return Entry(start, length, n_text)

    def _read(self, file: BinaryIO, start: int) -> tuple[Entry, bytes]:
        entry = self._entry(file, start)
        frame = file.read(entry.length) if entry else b""
        if entry is None or len(frame) < entry.length:
            raise StoreError(f"{self.path} was cut off at byte {start} while it was read: run again")
        try:
            text = zstandard.ZstdDecompressor().decompress(
                frame, max_output_size=entry.n_text, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise self._damaged(entry, str(error)) from None
        if len(text) != entry.n_text:
            raise self._damaged(entry, f"it has {len(text)} bytes of text, not {entry.n_text}")
        return entry, text

    def _damaged(self, entry: Entry, why: str) -> StoreError:
        old, new = quote(str(self.path)), quote(f"{self.path}.mended")
        before, after = f"head -c {entry.start} {old} > {new}", f"tail -c +{entry.end + 1} {old} >> {new}"
        return StoreError(
            f"{self.path} is damaged from byte {entry.start} to byte {entry.end} ({why}); restore the file, "
            f"or take these bytes out with `{before} && {after} && mv {new} {old}` and run again: what they "
            "held will be made again"
        )

    def _lost(self, start: int) -> StoreError:
        # At the very start the file may be another tool's, and everything follows.
        follows = (
            f"give up what follows with `truncate -s {start} {quote(str(self.path))}`"
            if start
            else ("unpack it with `zstd -d` and move the packed file away,")
        )
        return StoreError(
            f"{self.path} is damaged at byte {start} (no frame of opo_eval begins there); restore the file "
            f"or {follows} and run again"
        )


def _check(length: int, n_text: int) -> int:
    return zlib.crc32(struct.pack("<II", length, n_text))


def _joined(lines: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Yield the lines in pieces of at most so many bytes, a longer line by itself."""
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > most:
            yield b"".join(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield b"".join(piece)
