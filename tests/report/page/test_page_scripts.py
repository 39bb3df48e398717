"""Modules of the page's script against Python: unpacking, tokens, n-grams, formulas."""

import base64
import bz2
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page

from opo_eval.metrics.repetition import rep_n
from opo_eval.metrics.tokenizers import tokenize_13a
from opo_eval.report.page import document

JS = Path(document.__file__).parent / "js"
RANDOM = random.Random(0)


def fibonacci(n: int) -> bytes:
    """Hard for whoever sorts rotations."""
    a, b = b"a", b"ab"
    while len(b) < n:
        a, b = b, b + a
    return b[:n]


BYTES = {
    "nothing": b"",
    "one byte": b"a",
    "every byte": bytes(range(256)) * 20,
    "four equal": b"aaaa",
    "runs of many lengths": b"".join(bytes([n % 256]) * n for n in (3, 4, 5, 258, 259, 260, 1000)),
    "runs that touch": b"a" * 259 + b"a" * 4 + b"b",
    "zeros": bytes(200_000),
    "random": RANDOM.randbytes(50_000),
    "period": b"abcd" * 30_000,
    "two letters": bytes(RANDOM.choices(b"ab", k=20_000)),
    "Fibonacci word": fibonacci(40_000),
    "several blocks": b"".join(b"%d " % i for i in range(200_000)),
}


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """An empty page with the modules that need no page."""
    context = browser.new_context()
    tab = context.new_page()
    for name in ("base85", "bzip2", "tex", "ngrams"):
        tab.add_script_tag(content=(JS / f"{name}.js").read_text())
    yield tab
    context.close()


@pytest.fixture(scope="module")
def responses(data_dir: Path) -> list[str]:
    """Real ones, of two models."""
    found = []
    for folder, step in (("r1_14b_math4_rollouts", 31), ("rg_llama3b_rl_ckpts", 97)):
        with gzip.open(data_dir / folder / "generations.jsonl.gz", "rt", encoding="utf-8") as lines:
            found += [json.loads(line)["response"] for i, line in enumerate(lines) if i % step == 0]
    return found


def base85(data: bytes) -> str:
    return base64.b85encode(data).decode().replace("<", ",")


# --- unpacking --------------------------------------------------------------------------------------

_UNPACK = """text => {
  const bytes = bunzip2(fromBase85(text));
  let out = "";
  for (let i = 0; i < bytes.length; i += 8192) out += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(out);
}"""


def unpacked(page: Page, packed: bytes) -> bytes:
    return base64.b64decode(page.evaluate(_UNPACK, base85(packed)))


@pytest.mark.parametrize("level", [1, 9])
@pytest.mark.parametrize("name", BYTES)
def test_unpacks_what_python_packed(page: Page, name: str, level: int) -> None:
    data = BYTES[name]
    assert unpacked(page, bz2.compress(data, level)) == data


def test_unpacks_real_responses(page: Page, responses: list[str]) -> None:
    data = json.dumps(responses, ensure_ascii=False).encode()
    assert len(data) > 300_000
    assert unpacked(page, bz2.compress(data)) == data


@pytest.mark.parametrize("n", range(9))
def test_base85_of_every_length(page: Page, n: int) -> None:
    data = bytes([255, 0, 60, 44, 1, 254, 128, 7, 9][:n])
    assert bytes(page.evaluate("text => [...fromBase85(text)]", base85(data))) == data


@pytest.mark.parametrize("seed", range(40))
def test_damage_is_told_or_harmless(page: Page, seed: int) -> None:
    """One bit changed: an error, never other bytes. (Bits after the last checksum mean nothing.)"""
    data = b"some text that repeats, some text that repeats, and some that does not"
    packed = bytearray(bz2.compress(data))
    generator = random.Random(seed)
    bit = generator.randrange(8 * len(packed))
    packed[bit // 8] ^= 1 << (bit % 8)
    try:
        assert unpacked(page, bytes(packed)) == data
    except Error as error:
        assert "bzip2" in str(error)


@pytest.mark.parametrize("length", [0, 3, 10, 30, 60])
def test_a_stream_that_ends_early_is_told(page: Page, length: int) -> None:
    with pytest.raises(Error, match="bzip2"):
        unpacked(page, bz2.compress(b"some text that is long enough to be cut" * 9)[:length])


# --- tokens and n-grams -----------------------------------------------------------------------------

_TOKENS = "texts => texts.map(text => tokens13a(text).map(token => token.text))"
_PLACES = "texts => texts.map(text => tokens13a(text).map(token => text.slice(token.start, token.end)))"
_SHARES = "([texts, n]) => texts.map(text => repeatedNgrams(text, n).share)"


def adversarial(n: int) -> list[str]:
    """Texts of what 13a treats in its own way."""
    numbers = ["1", "2", "9", ".", ",", "-", "3.14", "1,...,9", ".."]
    spaces = ["-\n", "\n", "\r", " ", "\t", "\x1c", "\x85", "\u3000", "\ufeff"]
    others = [
        "&amp;",
        "&lt;",
        "&quot;",
        "&",
        "lt;",
        "<skipped>",
        "a",
        "$",
        "\\frac",
        "{",
        "é",
        "中",
        "😀",
        "'s",
    ]
    pieces = numbers + spaces + others
    generator = random.Random(1)
    return ["".join(generator.choices(pieces, k=generator.randrange(1, 25))) for _ in range(n)]


def test_tokens_are_those_of_the_report(page: Page, responses: list[str]) -> None:
    texts = [*responses, *adversarial(4000), ""]
    for text, tokens in zip(texts, page.evaluate(_TOKENS, texts), strict=True):
        assert tokens == tokenize_13a(text), repr(text[:200])


def test_tokens_are_where_they_are_said_to_be(page: Page, responses: list[str]) -> None:
    plain = [text for text in responses if "&" not in text and "-\n" not in text]
    assert len(plain) > 40
    for text, pieces in zip(plain, page.evaluate(_PLACES, plain), strict=True):
        assert pieces == tokenize_13a(text)


@pytest.mark.parametrize("n", [1, 3, 5])
def test_share_of_repeated_ngrams_is_rep_n(page: Page, responses: list[str], n: int) -> None:
    for text, share in zip(responses, page.evaluate(_SHARES, [responses, n]), strict=True):
        tokens = tokenize_13a(text)
        assert share == (pytest.approx(rep_n(tokens, n), abs=1e-12) if len(tokens) >= n else None)


def test_repeated_ngrams_are_marked_from_their_second_time_on(page: Page) -> None:
    text = "one two three four five, then one two three four five and one two three four six"
    spans = page.evaluate("text => repeatedNgrams(text, 4).spans", text)
    assert [text[a:b] for a, b in spans] == ["one two three four five", "one two three four"]


# --- formulas ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("a $x$ b $$y$$ c", ["x", "y"]),
        (r"\(x\) and \[y\]", ["x", "y"]),
        ("costs $5 and $6", []),
        ("from $5 to $x$", ["x"]),
        ("$ x $", []),
        ("$a\n\nb$", []),
        (r"$\text{a}$", [r"\text{a}"]),
        ("$" + "x" * 2001 + "$", []),
        ("$$$$", []),
        ("", []),
    ],
)
def test_formulas_are_found(page: Page, text: str, sources: list[str]) -> None:
    assert page.evaluate("text => findFormulas(text).map(found => found.source)", text) == sources


@pytest.mark.parametrize("piece", ["$", "$x", r"\(", r"\[ $", "$$x$ ", "{"])
def test_looking_for_formulas_takes_time_that_grows_with_the_text(page: Page, piece: str) -> None:
    """Counted in characters that `indexOf` goes over, not in seconds."""
    count = """text => {
      const real = String.prototype.indexOf;
      let looked = 0;
      String.prototype.indexOf = function (what, from = 0) {
        const found = real.call(this, what, from);
        looked += (found < 0 ? this.length : found) - from;
        return found;
      };
      try { findFormulas(text); } finally { String.prototype.indexOf = real; }
      return looked / text.length;
    }"""
    assert page.evaluate(count, piece * 20_000) <= 8
