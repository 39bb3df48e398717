"""Where a response's forking tokens are in its text: the fifth of its tokens drawn at the highest entropy.

The entropies are in the run's per-token files, the tokens' ids in its samples, and what an id stands for is
in the checkpoint's tokenizer. Places are given only where the ids put together give the text that was kept:
where one of the three is missing or does not fit, there are none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opo_eval.per_token import FOLDER, read_per_token
from opo_eval.records import Sample
from opo_eval.report.page.samples import MeasuredRun

FORKING_SHARE = 5
"""One token of so many forks; see `opo_eval.records.Forking`."""
_TOKENIZER = "tokenizer.json"
Span = tuple[int, int]
"""Start and end in UTF-16 units, which JavaScript counts in."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ForkingTokens:
    """Those of the samples of one run."""

    fork: dict[tuple[str, int], NDArray[np.bool_]]
    """(Problem, index) → for each token whether it is one."""
    tokenizer: Any

    def distances(self, sample: Sample) -> list[int] | None:
        """UTF-16 units from the text's start to the first forking token, to its end, to the next one, ...

        None where it is not known which tokens fork or where they are in the text.
        """
        fork, ids = self.fork.get((sample.problem_id, sample.index)), sample.token_ids
        if fork is None or ids is None or len(fork) != len(ids):
            return None
        spans = token_spans(self.tokenizer, ids, sample.text)
        if spans is None:
            return None
        chosen = [span for span, forks in zip(spans, fork.tolist(), strict=True) if forks]
        return list(_distances(chosen))


def has_entropies(run: MeasuredRun) -> bool:
    """Whether somebody scored the run and kept what every token came to."""
    return (run.index.run.path / FOLDER).is_dir()


def forking_tokens(run: MeasuredRun) -> ForkingTokens | None:
    """None where nothing is kept of single tokens, or the checkpoint's tokenizer is not at hand."""
    if not has_entropies(run) or (tokenizer := _tokenizer(run)) is None:
        return None
    rows = read_per_token(run.index.run, scorer=run.scorer, temperature=_temperature(run))
    fork = {(row.problem_id, row.index): are_forking(row.entropy) for row in rows}
    return ForkingTokens(fork=fork, tokenizer=tokenizer) if fork else None


def are_forking(entropy: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of n tokens are the ceil(n / 5) of highest entropy, of equal ones the earlier: bool [n]."""
    fork = np.zeros(len(entropy), dtype=bool)
    fork[np.argsort(-entropy, kind="stable")[: ceil(len(entropy) / FORKING_SHARE)]] = True
    return fork


def token_spans(tokenizer: Any, ids: tuple[int, ...], text: str) -> list[Span] | None:
    """Where each token is in a text that ends with them all; tokens that share a character share a span.

    None where what the tokens stand for is not how the text ends.
    """
    pieces = list(_pieces(tokenizer, ids))
    decoded = "".join(piece for piece, _ in pieces)
    if not text.endswith(decoded):
        return None
    spans: list[Span] = []
    place = _units(text) - _units(decoded)
    for piece, n_tokens in pieces:
        end = place + _units(piece)
        spans += [(place, end)] * n_tokens
        place = end
    return spans


def _pieces(tokenizer: Any, ids: tuple[int, ...]) -> Iterator[tuple[str, int]]:
    """Text, and how many tokens it took: several where a character is spread over them."""
    from tokenizers.decoders import DecodeStream

    stream = DecodeStream(skip_special_tokens=True)
    waiting = 0
    for token in ids:
        waiting += 1
        piece = stream.step(tokenizer, token)
        if piece is not None:
            yield piece, waiting
            waiting = 0
    if waiting:
        yield "", waiting


def _distances(spans: list[Span]) -> Iterator[int]:
    place, last = 0, None
    for start, end in spans:
        if (start, end) != last and end > start:
            yield from (start - place, end - start)
            place, last = end, (start, end)


def _units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _tokenizer(run: MeasuredRun) -> Any:
    """The checkpoint's; None where the checkpoint is elsewhere or the library is not installed."""
    path = run.index.run.manifest.settings.checkpoint.path
    file = Path(path) / _TOKENIZER if path else None
    if file is None or not file.is_file() or find_spec("tokenizers") is None:
        return None
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file))


def _temperature(run: MeasuredRun) -> float:
    """That the samples were drawn at, or 1 where they were drawn greedily or it is not known."""
    drawn = run.index.run.manifest.settings.sampling
    return drawn.temperature if drawn and drawn.temperature > 0 else 1.0
