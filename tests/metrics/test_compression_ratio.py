"""The compression ratio against gzip, by its properties, and by hand where that is possible."""

import gzip
import random
from itertools import permutations

import pytest
from builders import group, problem

from opo_eval.errors import UsageError
from opo_eval.metrics import METRICS, MetricSettings, ProblemSamples, Value
from opo_eval.metrics.compression import compression_ratio, measure_compression
from opo_eval.records import Think, Verdict

C = Verdict.CORRECT


def words(n: int, seed: int) -> str:
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghij", k=5)) for _ in range(n))


def measured(texts: list[str], n: int | None = None, **settings):
    asked = group(problem(1), texts, [C] * len(texts))
    samples = ProblemSamples(asked, MetricSettings(n=n or len(texts), **settings))
    return measure_compression(samples)["compression_ratio"]


def test_gzip_writes_the_same_bytes_and_twelve_more():
    """A gzip file is the same stream behind 10 bytes and before 8, where zlib has 2 and 4."""
    texts = [words(300, 1), words(200, 2), words(300, 1)]
    joined = "\n".join(sorted(texts)).encode()
    assert len(joined) / (len(gzip.compress(joined, 9)) - 12) == compression_ratio(texts)


def test_one_byte_by_hand():
    # A fixed Huffman block: 3 bits of header, 8 of `a`, 7 of its end, so 3 bytes; then 2 + 4 of zlib.
    assert compression_ratio(["a"]) == 1 / 9


@pytest.mark.parametrize("copies", [2, 5, 16])
def test_copies_cost_almost_nothing(copies):
    alone = compression_ratio([words(400, 3)])
    assert 0.75 * copies < compression_ratio([words(400, 3)] * copies) / alone < copies


def test_other_texts_have_to_be_stored():
    alone = compression_ratio([words(400, 0)])
    assert compression_ratio([words(400, seed) for seed in range(8)]) == pytest.approx(alone, rel=0.05)


def test_repetition_within_a_text_counts_too():
    assert compression_ratio([" ".join([words(5, 4)] * 80)]) > 10 * compression_ratio([words(400, 4)])


def test_the_order_of_texts_does_not_matter():
    texts = [words(50, 1), words(60, 2), words(50, 1)[:100], "", "é"]
    assert len({compression_ratio(order) for order in permutations(texts)}) == 1


def test_bytes_are_counted_and_not_characters():
    assert compression_ratio(["é"]) > compression_ratio(["e"])
    assert compression_ratio(["\ud83d"]) > 0  # half a character, as a cut response may hold


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_nothing_to_compress_is_an_error_and_not_zero(texts):
    with pytest.raises(UsageError, match=f"of {len(texts)} empty"):
        compression_ratio(texts)


def test_the_metric_leaves_blank_responses_out_and_counts_them():
    texts = [words(40, 1), " \n", words(40, 2), ""]
    assert measured(texts) == Value(compression_ratio([texts[0], texts[2]]), 1, 2)
    assert measured(["", " "]) == Value(0, 0, 2)


def test_the_metric_looks_at_the_compared_responses():
    texts = [words(40, seed) for seed in range(4)]
    assert measured(texts, n=2) == Value(compression_ratio(texts[:2]), 1, 0)


def test_the_think_section_can_be_left_aside():
    texts = ["<think>one two three</think> so four", "<think>quite other words</think> so four", "<think>"]
    outside = measured(texts, think=Think.TAGGED, think_section=False)
    assert outside == Value(compression_ratio([" so four"] * 2), 1, 1)


def test_the_signature_names_texts_and_compressor():
    signature = METRICS["compression_ratio"].signature(MetricSettings(n=7))
    assert signature.startswith("compression_ratio|n:7|think:in|zlib") and signature.endswith(":9")
