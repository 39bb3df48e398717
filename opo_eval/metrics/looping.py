"""Looping: the share of responses that end in an n-gram repeated over and over.

Degenerate repetition at the end of a text is what Holtzman et al. (2020), "The Curious Case of Neural Text
Degeneration", show of likely text. Rep-n spreads it over the whole response; here a response either ends
in a loop or does not.
"""

from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from opo_eval.errors import UsageError
from opo_eval.metrics.core import Metric, MetricSettings, ProblemSamples, Value, share, text_signature
from opo_eval.metrics.ngrams import encode
from opo_eval.records import Better, Unit

MAX_BLOCK, MIN_REPEATS, MIN_TOKENS = 200, 4, 32
"""A sentence of mathematics, or a paragraph that starts over, is often longer than 50 tokens of 13a."""


def ends_in_loop(
    tokens: Sequence[Hashable],
    *,
    max_block: int = MAX_BLOCK,
    min_repeats: int = MIN_REPEATS,
    min_tokens: int = MIN_TOKENS,
) -> bool:
    """Whether the tokens end in a block that is repeated.

    True if for some b from 1 to max_block the last L = max(min_repeats b, min_tokens) tokens have period
    b: each equals the one b places before it. So they are one block of b tokens at least min_repeats
    times, cut off anywhere. The very last token is not looked at: a length limit may have cut it in two.

    At most max_block slices of max(min_repeats max_block, min_tokens) tokens are compared, whatever the
    length of the text. Raises UsageError (a ValueError) for a max_block or min_tokens below 1 and a
    min_repeats below 2.
    """
    _require(max_block=(max_block, 1), min_repeats=(min_repeats, 2), min_tokens=(min_tokens, 1))
    shape = (max_block, min_repeats, min_tokens)
    return _is_loop(encode([tokens[_end(*shape)]]).ids, *shape)


def _end(max_block: int, min_repeats: int, min_tokens: int) -> slice:
    """The tokens that are looked at."""
    return slice(-max(min_repeats * max_block, min_tokens) - 1, -1)


def _is_loop(end: np.ndarray, max_block: int, min_repeats: int, min_tokens: int) -> bool:
    # Looking at one pair first spares nearly all slices.
    blocks = 1 + np.flatnonzero(end[-2 : -2 - max_block : -1] == end[-1:])
    return any(_has_period(end, block, max(min_repeats * block, min_tokens)) for block in blocks.tolist())


def _has_period(tokens: np.ndarray, block: int, span: int) -> bool:
    last = tokens[-span:]
    return len(last) == span and np.array_equal(last[block:], last[:-block])


def _require(**settings: tuple[int, int]) -> None:
    for name, (value, smallest) in settings.items():
        if value < smallest:
            raise UsageError(f"{name} is {value}: a loop needs {smallest} or more")


# --- the metric -------------------------------------------------------------------------------------


def measure_looping(samples: ProblemSamples) -> Mapping[str, Value]:
    """`looping`: the share of responses that end in a block of tokens repeated over and over.

    The last tokens are one block of at most 200 tokens at least four times, and at least 32 tokens in all.
    A loop that counts up (`Step 1. Step 2. ...`) is none, and neither is one that the response comes out of.
    Every problem weighs the same; responses without tokens are left out.
    """
    shape = (MAX_BLOCK, MIN_REPEATS, MIN_TOKENS)
    flags = (_is_loop(ids[_end(*shape)], *shape) if len(ids) else None for ids in samples.documents.each())
    return {"looping": share(flags)}


def _signature(settings: MetricSettings) -> str:
    loop = f"block:1-{MAX_BLOCK}|repeats>={MIN_REPEATS}|tokens>={MIN_TOKENS}"
    return f"looping|{text_signature(settings)}|{loop}"


LOOPING = Metric(
    measure=measure_looping,
    signature=_signature,
    unit=Unit.SHARE,
    better=Better.LOWER,
    needs_text=True,
)
