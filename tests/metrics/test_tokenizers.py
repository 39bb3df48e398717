"""Every tokenizer gives the tokens of the library whose name it carries."""

import gzip
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.tokenize import TreebankWordTokenizer, WordPunctTokenizer
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from sacrebleu.tokenizers.tokenizer_char import TokenizerChar
from sacrebleu.tokenizers.tokenizer_intl import TokenizerV14International
from sacrebleu.tokenizers.tokenizer_re import TokenizerRegexp

from opo_eval.errors import UsageError
from opo_eval.metrics.tokenizers import TOKENIZERS, get_tokenizer, tokenize_texts

SACREBLEU = {"13a": Tokenizer13a(), "intl": TokenizerV14International(), "char": TokenizerChar()}
NLTK = {"treebank": TreebankWordTokenizer(), "wordpunct": WordPunctTokenizer()}

# The characters that a rule of some tokenizer looks at, beside letters, digits and white space of all kinds.
TELLING = "0123456789.,.,.,--''\"\n\r\t &;<>()[]{}$%^_`~|/\\:!?@#*+=abAB é漢٣½…’“—\x0b\x1c\x85\u00a0\u2028"
texts = st.one_of(
    st.text(alphabet=TELLING),
    st.lists(
        st.sampled_from(["<skipped>", "-\n", "&quot;", "&amp;lt;", "&gt;", "1,", ".5", "...", "x", "9", " "])
    ).map("".join),
    st.text(),
)


def caches():
    """sacrebleu keeps every text it has seen."""
    kinds = (Tokenizer13a, TokenizerRegexp, TokenizerV14International, TokenizerChar)
    return [kind.__call__ for kind in kinds]


@pytest.fixture(autouse=True)
def empty_caches():
    yield
    for cache in caches():
        cache.cache_clear()


def by_sacrebleu(name: str, text: str) -> list[str]:
    """What BLEU counts: it strips the end of a text, tokenizes it and splits the result at white space."""
    return SACREBLEU[name](text.rstrip()).split()


@pytest.fixture(scope="module")
def responses(data_dir) -> list[str]:
    folders = ("r1_14b_math4_rollouts", "rg_llama3b_rl_ckpts", "soren_math500_20x16_prm")
    rows = []
    for folder in folders:
        with gzip.open(data_dir / folder / "generations.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows += [json.loads(line)["response"] for line in lines]
    return rows


def test_13a_equals_sacrebleu_on_real_responses(responses):
    assert len(responses) > 8000
    different = [text for text in responses[::5] if TOKENIZERS["13a"](text) != by_sacrebleu("13a", text)]
    assert different == []


def test_13a_equals_sacrebleu_on_every_short_string_that_its_rules_tell_apart():
    for length in range(7):
        for characters in itertools.product("1a.,-\n", repeat=length):
            text = "".join(characters)
            assert TOKENIZERS["13a"](text) == by_sacrebleu("13a", text), repr(text)


@pytest.mark.parametrize("name", SACREBLEU)
@settings(max_examples=500, deadline=None, derandomize=True)
@given(text=texts)
def test_equals_sacrebleu_on_any_text(name, text):
    assert list(TOKENIZERS[name](text)) == by_sacrebleu(name, text)


@pytest.mark.parametrize("name", NLTK)
@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=texts)
def test_equals_nltk_on_any_text(name, text):
    assert TOKENIZERS[name](text) == NLTK[name].tokenize(text)


@pytest.mark.parametrize("name", sorted({*SACREBLEU, *NLTK}))
def test_real_text_has_the_tokens_of_the_library(name, responses):
    for text in responses[:930:60]:
        expected = by_sacrebleu(name, text) if name in SACREBLEU else NLTK[name].tokenize(text)
        assert list(TOKENIZERS[name](text)) == expected


@pytest.mark.parametrize("name", TOKENIZERS)
def test_no_text_is_kept_in_the_caches_of_sacrebleu(name):
    before = [cache.cache_info().currsize for cache in caches()]
    TOKENIZERS[name](f"Never seen by {name}: 3.5, or 4-5.")
    assert [cache.cache_info().currsize for cache in caches()] == before


def test_get_tokenizer_takes_names_functions_and_none():
    assert get_tokenizer("whitespace")("a  b\n") == ["a", "b"]
    assert get_tokenizer(list) is list
    assert get_tokenizer(None) is None


def test_an_unknown_tokenizer_is_refused_with_the_names_that_exist():
    with pytest.raises(UsageError) as error:
        get_tokenizer("13b")
    assert "'13b'" in str(error.value)
    assert all(name in str(error.value) for name in TOKENIZERS)


@pytest.mark.parametrize(
    ("given_texts", "tokenize", "part"),
    [
        ("one string", "13a", "one string"),
        (["a b", "c"], None, "texts[0] is the string 'a b'"),
        (["a b", ["c"]], "13a", "texts[1] is a list"),
        (["a b", "c"], str.upper, "texts[0] is the string 'A B'"),
    ],
)
def test_texts_and_tokenizer_have_to_fit(given_texts, tokenize, part):
    with pytest.raises(UsageError) as error:
        tokenize_texts(given_texts, tokenize)
    assert part in str(error.value)
