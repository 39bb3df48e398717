"""The responses' texts, compressed a problem at a time, as many problems as the page may hold.

Samples of one problem have much in common, and bzip2 sorts up to 900 kB before it codes them: on real
reasoning a block is a ninth of its text, where deflate, which looks back 32 KiB, leaves a sixth. Base 85 then
adds a quarter. The browser unpacks a block when its problem is opened.
"""

import base64
import bz2
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from opo_eval.progress import Progress
from opo_eval.records import Problem, Sample
from opo_eval.report.page.forking import ForkingTokens
from opo_eval.report.page.samples import Asked, MeasuredRun

MOST_TEXT = 1_000_000
"""Characters after which a problem's texts go on in another block: what is unpacked at once stays short."""
_SHORT_S = 3.0
_LISTED = 40
"""Bytes that a block's name takes in the page's data, at most, without its runs."""
_MISSED_AT_MOST = 8
"""Problems in a row that do not fit: compressing all that is left would only take time."""
Place = tuple[int, int]
"""Of a benchmark, and of a problem or a run in it."""
Row = tuple[int, int, int | None, str, list[int] | None]
"""Run, index, seed, text, and where its forking tokens are; see `ForkingTokens.distances`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some samples of a problem."""

    id: str
    runs: tuple[int, ...]
    """Of which it has samples."""
    element: bytes
    """As it stands in the page."""


def pack(samples: Sequence[Row]) -> bytes:
    """JSON, in bzip2, in base 85; a surrogate on its own, which UTF-8 cannot hold, becomes JSON's escape."""
    text = json.dumps(samples, ensure_ascii=False, separators=(",", ":"))
    packed = bz2.compress(text.encode("utf-8", "backslashreplace"))
    return base64.b85encode(packed).replace(b"<", b",")


def blocks_within(
    benchmarks: Sequence[Asked],
    order: Sequence[Place],
    forking: Mapping[Place, ForkingTokens],
    most_bytes: int,
    *,
    quiet: bool,
) -> dict[Place, list[Block]]:
    """The blocks of as many problems as fit, taken in this order until several in a row do not."""
    found: dict[Place, list[Block]] = {}
    missed = 0
    with Progress("packing texts", len(order), unit="problems", quiet=quiet, after_s=_SHORT_S) as progress:
        for place, blocks in zip(order, progress.watch(_packed(benchmarks, order, forking)), strict=False):
            size = sum(len(block.element) + _LISTED + 4 * len(block.runs) for block in blocks)
            missed = 0 if size <= most_bytes else missed + 1
            if missed == _MISSED_AT_MOST:
                break
            if not missed:
                found[place] = blocks
                most_bytes -= size
    return found


def evenly_first(worth: Sequence[Sequence[bool]]) -> list[Place]:
    """All problems: those worth keeping first, and among equals every beginning spread evenly.

    worth: for each benchmark, for each of its problems.
    """
    places = [(i, j) for i, own in enumerate(worth) for j in range(len(own))]
    spread = _spread(len(places))
    return [places[i] for kept in (True, False) for i in spread if worth[places[i][0]][places[i][1]] is kept]


def _spread(n: int) -> list[int]:
    """0 to n - 1 in the order of their reversed bits: 0, n / 2, n / 4, 3 n / 4, ..."""
    bits = max(n - 1, 0).bit_length()
    reversed_bits = (int(f"{i:0{max(bits, 1)}b}"[::-1], 2) for i in range(1 << bits))
    return [i for i in reversed_bits if i < n]


def _packed(
    benchmarks: Sequence[Asked], order: Sequence[Place], forking: Mapping[Place, ForkingTokens]
) -> Iterator[list[Block]]:
    """Compressed side by side, a few problems ahead of whoever asks."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(order), 4 * workers):
            part = order[start : start + 4 * workers]
            texts = [list(_parts(benchmarks[i], benchmarks[i].problems[j], forking, i)) for i, j in part]
            yield from pool.map(_blocks, part, texts)


def _blocks(place: Place, parts: Sequence[Sequence[Row]]) -> list[Block]:
    return [_block(f"{place[0]}-{place[1]}-{number}", part) for number, part in enumerate(parts)]


def _block(id: str, samples: Sequence[Row]) -> Block:
    opening = f'<script type="application/x-samples" id="block-{id}">'.encode()
    runs = tuple(dict.fromkeys(sample[0] for sample in samples))
    return Block(id=id, runs=runs, element=opening + pack(samples) + b"</script>")


def _parts(
    benchmark: Asked, problem: Problem, forking: Mapping[Place, ForkingTokens], place: int
) -> Iterator[list[Row]]:
    """The problem's samples, run after run, in parts of bounded size."""
    part: list[Row] = []
    size = 0
    for number, run in enumerate(benchmark.runs):
        for sample in _samples(run, problem):
            if part and size + len(sample.text) > MOST_TEXT:
                yield part
                part, size = [], 0
            tokens = forking.get((place, number))
            spans = tokens.distances(sample) if tokens else None
            part.append((number, sample.index, sample.seed, sample.text, spans))
            size += len(sample.text)
    if part:
        yield part


def _samples(run: MeasuredRun, problem: Problem) -> Iterator[Sample]:
    for group in run.index.groups(only={problem.id}):
        yield from (graded.sample for graded in group.samples)
