"""ROUGE-L: the longest common subsequence of two texts (Lin, 2004, section 3.1)."""

import re
from collections.abc import Sequence

_TOKEN = re.compile(r"[a-z0-9]+")


def rouge_tokens(text: str) -> list[str]:
    """Lower-case runs of letters a to z and digits, as the published scorer splits without stemming."""
    return _TOKEN.findall(text.lower())


def rouge_l(reference: Sequence[str], candidate: Sequence[str]) -> float:
    """F1 of the longest common subsequence, from 0 to 1.

    reference, candidate: tokens. Raises ValueError for a reference without tokens, of which nothing can be
    common.
    """
    if not reference:
        raise ValueError("ROUGE-L of an empty reference is not defined")
    return 2 * _longest_common(reference, candidate) / (len(reference) + len(candidate))


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, row by row."""
    row = [0] * (len(b) + 1)
    for x in a:
        diagonal = 0
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]
