"""Tokenizers by name: what decides a Self-BLEU or Rep-n before any n-gram is counted.

Each is a function from a text to its list of tokens. `13a`, `intl` and `char` give the tokens that
sacrebleu (Post, 2018) scores; `treebank` and `wordpunct` are nltk's and need no downloaded data.
"""

import re
from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import overload

from opo_eval.errors import UsageError

Tokenizer = Callable[[str], Sequence[Hashable]]

# --- 13a --------------------------------------------------------------------------------------------

# sacrebleu's Tokenizer13a keeps every text and every result in two caches of 65,536 entries, which long
# responses fill with gigabytes, and most of a Self-BLEU's time went into it. What follows gives the same
# tokens: `str.replace` where the rule looks at one character, a pattern only where it looks at two.

_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_ALWAYS_APART = tuple((mark, f" {mark} ") for mark in '!"#$%&()*+/:;<=>?@[\\]^_`{|}~.,')
_DECIMAL_POINT = re.compile(r"\.(?=[0-9])(?<=[0-9]\.)")
_DECIMAL_COMMA = re.compile(r",(?=[0-9])(?<=[0-9],)")
_DASH_AFTER_DIGIT = re.compile(r"-(?<=[0-9]-)")
_MARKS_BEFORE_DIGIT = re.compile(r"[.,]{2,}(?=[0-9])")

# Line breaks are gone by the time a point or comma has to be kept inside its number, so they stand in.
_KEPT_POINT, _KEPT_COMMA = "\n", "\r"


def tokenize_13a(text: str) -> list[str]:
    """Tokens of mteval-v13a as sacrebleu gives them (its BLEU strips the end of a text first)."""
    line = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ").replace("\r", " ")
    if "&" in line:
        for entity, character in _ENTITIES:
            line = line.replace(entity, character)
    line = _MARKS_BEFORE_DIGIT.sub(_keep_last_mark, line)
    line = _DECIMAL_COMMA.sub(_KEPT_COMMA, _DECIMAL_POINT.sub(_KEPT_POINT, line))
    line = _DASH_AFTER_DIGIT.sub(" - ", line)
    for mark, apart in _ALWAYS_APART:
        line = line.replace(mark, apart)
    return line.replace(_KEPT_POINT, ".").replace(_KEPT_COMMA, ",").split()


def _keep_last_mark(match: re.Match[str]) -> str:
    """Several points and commas before a digit (`1,...,9`): does the last one stay with the digit?

    mteval pads a mark together with the character before it and does not look at that pair again, so it
    works through the run two characters at a time: in an even one (a leading digit counted) the last
    mark is never first in line for padding and stays with the number.
    """
    run, start = match[0], match.start()
    follows_digit = start > 0 and match.string[start - 1] in "0123456789"
    if (len(run) + follows_digit) % 2:
        return run
    return f"{run[:-1]} {_KEPT_POINT if run[-1] == '.' else _KEPT_COMMA}"


# --- the others -------------------------------------------------------------------------------------


def tokenize_intl(text: str) -> list[str]:
    """Tokens of mteval-v14 with international punctuation, by sacrebleu's own class, uncached."""
    return _intl()(text.rstrip()).split()


@cache
def _intl() -> Callable[[str], str]:
    from sacrebleu.tokenizers.tokenizer_intl import TokenizerV14International

    tokenizer = TokenizerV14International()
    return lambda line: TokenizerV14International.__call__.__wrapped__(tokenizer, line)


def tokenize_char(text: str) -> list[str]:
    """Every character that is not white space, as sacrebleu's `char`."""
    return list("".join(text.split()))


def tokenize_treebank(text: str) -> list[str]:
    """nltk's `TreebankWordTokenizer`, without splitting into sentences first."""
    return _treebank()(text)


@cache
def _treebank() -> Callable[[str], list[str]]:
    from nltk.tokenize.treebank import TreebankWordTokenizer

    return TreebankWordTokenizer().tokenize


def tokenize_wordpunct(text: str) -> list[str]:
    """nltk's `WordPunctTokenizer`: runs of word characters, runs of other characters."""
    return _wordpunct()(text)


@cache
def _wordpunct() -> Callable[[str], list[str]]:
    from nltk.tokenize.regexp import WordPunctTokenizer

    return WordPunctTokenizer().tokenize


# --- by name ----------------------------------------------------------------------------------------

TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "13a": tokenize_13a,
    "intl": tokenize_intl,
    "char": tokenize_char,
    "whitespace": str.split,
    "treebank": tokenize_treebank,
    "wordpunct": tokenize_wordpunct,
}


@overload
def get_tokenizer(tokenize: None) -> None: ...
@overload
def get_tokenizer(tokenize: str | Tokenizer) -> Tokenizer: ...
@overload
def get_tokenizer(tokenize: str | Tokenizer | None) -> Tokenizer | None: ...
def get_tokenizer(tokenize: str | Tokenizer | None) -> Tokenizer | None:
    """The function behind a name; a callable is returned as it is, and so is None (texts are tokens already).

    Raises UsageError for a name that `TOKENIZERS` does not hold.
    """
    if tokenize is None or callable(tokenize):
        return tokenize
    if tokenize in TOKENIZERS:
        return TOKENIZERS[tokenize]
    raise UsageError(
        f"no tokenizer {tokenize!r}: use one of {', '.join(TOKENIZERS)}, a function from text to tokens, "
        "or None for texts that are token lists already"
    )


def tokenize_texts(
    texts: Sequence[str] | Sequence[Sequence[Hashable]], tokenize: str | Tokenizer | None
) -> list[Sequence[Hashable]]:
    """Token list of every text.

    Raises UsageError where texts and tokenizer do not fit together: one string in place of a list of
    them, strings without a tokenizer, token lists with one, a tokenizer that returns a string.
    """
    tokenizer = get_tokenizer(tokenize)
    if isinstance(texts, str):
        raise UsageError(f"texts is one string ({texts[:40]!r}): give a list of strings")
    return [_tokens_of(f"texts[{index}]", text, tokenizer) for index, text in enumerate(texts)]


def _tokens_of(name: str, text: str | Sequence[Hashable], tokenizer: Tokenizer | None) -> Sequence[Hashable]:
    if tokenizer is None:
        tokens, advice = text, "name a tokenizer, or give token lists"
    elif isinstance(text, str):
        tokens, advice = tokenizer(text), "the tokenizer has to return a list of tokens"
    else:
        raise UsageError(f"{name} is a {type(text).__name__}, not a string: tokenize=None takes token lists")
    if isinstance(tokens, str):
        raise UsageError(f"{name} is the string {tokens[:40]!r} where its tokens should be: {advice}")
    return tokens
