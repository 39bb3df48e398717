"""Compression ratio: how much shorter the responses of a problem become when they are compressed together.

Shaib et al. (2024), "Standardizing the Measurement of Text Diversity": bytes of all texts / bytes of their
compression. What repeats is stored once, so the ratio grows with repetition, within and across responses.
"""

import zlib
from collections.abc import Mapping, Sequence

from opo_eval.errors import UsageError
from opo_eval.metrics.core import Metric, MetricSettings, ProblemSamples, Value, section_signature
from opo_eval.records import Better, Unit

LEVEL = 9


def compression_ratio(texts: Sequence[str]) -> float:
    """UTF-8 bytes of the texts, joined by line breaks, / bytes of their zlib compression at level 9.

    The order of the texts does not matter. zlib looks back 32 KiB: a repetition further away than that is
    not found. Very short texts have a ratio below 1, since zlib adds a header.

    Raises UsageError (a ValueError) where there is no text, or only empty ones.
    """
    if not any(texts):
        raise UsageError(
            f"the compression ratio of {len(texts)} empty text(s) is not defined: leave them out"
        )
    # A compressor meets texts one after the other, so another order gives another size. Sorted, there is
    # one order, and texts that begin alike stand where zlib can still see both.
    joined = "\n".join(sorted(texts)).encode(errors="surrogatepass")
    return len(joined) / len(zlib.compress(joined, LEVEL))


# --- the metric -------------------------------------------------------------------------------------


def measure_compression(samples: ProblemSamples) -> Mapping[str, Value]:
    """`compression_ratio`: bytes of a problem's responses together / bytes when compressed (zlib).

    Higher means more repetition, within and across responses; every problem weighs the same. Blank responses
    are left out, and problems that have no others.
    """
    texts = [text for text in samples.texts if text.strip()]
    n_blank = len(samples.texts) - len(texts)
    if not texts:
        return {"compression_ratio": Value(0.0, 0.0, n_blank)}
    return {"compression_ratio": Value(compression_ratio(texts), 1.0, n_blank)}


def _signature(settings: MetricSettings) -> str:
    # Other builds of Python bring zlib-ng, whose sizes differ a little.
    library = "zlib-ng" if "ng" in zlib.ZLIB_RUNTIME_VERSION else "zlib"
    return f"compression_ratio|{section_signature(settings)}|{library}:{LEVEL}"


COMPRESSION = Metric(
    measure=measure_compression,
    signature=_signature,
    unit=Unit.RATIO,
    better=Better.LOWER,
    needs_text=True,
)
