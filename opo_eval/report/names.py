"""Names that users gave, made fit to print: one line, bounded, and still different from one another."""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable

LABEL_LIMIT = 40
_SAFE_FILE_NAME = re.compile(r"[a-z0-9_][a-z0-9_.=+-]{0,59}")
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def one_line(text: str, limit: int = LABEL_LIMIT) -> str:
    """The text without line breaks and control or format characters, at most `limit` characters long.

    What is too long loses its middle: names of checkpoints differ at their ends.
    """
    kinds = ((char, unicodedata.category(char)) for char in text)
    printable = (" " if kind in _UNPRINTABLE else char for char, kind in kinds if kind != "Cf")
    line = " ".join("".join(printable).split()) or "(no name)"
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail]}…{line[len(line) - tail :]}"


def labels(
    names: Iterable[str], limit: int = LABEL_LIMIT, make: Callable[[str, int], str] = one_line
) -> dict[str, str]:
    """A printable label for each name; names whose labels would be the same get their number."""
    found: dict[str, str] = {}
    for number, name in enumerate(dict.fromkeys(names), start=1):
        label = make(name, limit)
        while label in found.values():
            label = f"{number}: {label}"
        found[name] = label
    return found


def file_name(name: str) -> str:
    """The name as a part of a file name: different names differ, also where case does not count."""
    if _SAFE_FILE_NAME.fullmatch(name):
        return name
    safe = re.sub(r"[^a-z0-9.=+-]+", "_", name.lower()).strip("_.")[:40]
    return f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")
