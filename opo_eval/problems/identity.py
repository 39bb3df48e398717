"""What makes two problems the same: normalised text, ids and digests.

Canonical form of a problem set: one line `<sha256 of the normalised problem> <sha256 of the normalised
answer>` a problem, both in hexadecimal, the lines sorted and each ended by a newline. Its sha256 says
which problems and answers a run was made from; order, ids, tags and white space do not change it.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from opo_eval.records import Problem

_SHORT = 16


class RowDigest(NamedTuple):
    """First 16 hexadecimal digits of the sha256 of a normalised problem and of its normalised answer."""

    problem: str
    answer: str


def normalise_text(text: str) -> str:
    """Unicode NFC with every run of white space made one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def make_problem(
    *, benchmark: str, source_id: str, prompt: str, answer: str, tags: Mapping[str, str] | None = None
) -> Problem:
    """Build a problem whose id is the first 16 hexadecimal digits of a sha256.

    Hashed are the benchmark's name, a newline and the normalised prompt, so an id survives a change of
    white space and two sets never share one. Prompt and answer keep their text, less white space at the
    ends.
    """
    return Problem(
        id=_sha256(f"{benchmark}\n{normalise_text(prompt)}")[:_SHORT],
        source_id=source_id,
        benchmark=benchmark,
        prompt=prompt.strip(),
        answer=answer.strip(),
        tags=dict(tags or {}),
    )


def dataset_sha256(problems: Iterable[Problem]) -> str:
    """Sha256 of the canonical form of a problem set (see the module)."""
    return _sha256("".join(sorted(f"{text} {answer}\n" for text, answer in map(_digests, problems))))


def row_digest(problem: Problem) -> RowDigest:
    """Digests by which single rows of two copies of a set are compared."""
    text, answer = _digests(problem)
    return RowDigest(text[:_SHORT], answer[:_SHORT])


def answer_digest(answer: str) -> str:
    """The `answer` part of a `RowDigest`."""
    return _sha256(normalise_text(answer))[:_SHORT]


def answer_text(value: Any) -> str | None:
    """A gold as text, or None where the cell holds nothing that can be a gold.

    Numbers keep the form that their file gives them: 4 is `4` and 4.0 is `4.0`.
    """
    if isinstance(value, str):
        return value.strip() or None
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return str(value) if is_number else None


def _digests(problem: Problem) -> tuple[str, str]:
    return _sha256(normalise_text(problem.prompt)), _sha256(normalise_text(problem.answer))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
