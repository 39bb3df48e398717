"""Pieces of the sentences that people read: names, counts, near misses."""

import difflib
from collections.abc import Collection, Iterable


def nearest(name: str, known: Collection[str]) -> str:
    """` (did you mean 'answer'?)`, or nothing where no known name is near."""
    by_lower = {other.lower(): other for other in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f" (did you mean {by_lower[matches[0]]!r}?)" if matches else ""


def listed(names: Iterable[str]) -> str:
    """All names, quoted and separated by commas."""
    return ", ".join(repr(name) for name in names) or "none"


def some_of(names: Collection[str], most: int = 3) -> str:
    """`a, b, c and 4 more`."""
    shown = [name for _, name in zip(range(most), names, strict=False)]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")


def counted(number: int, noun: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
