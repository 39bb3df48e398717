"""Is this copy of a problem set the published one, and if not, which rows differ?

Copies in circulation leak answers, lack half of an exam or have mistyped problems. The package ships the
digests of every row, not the rows, so a copy is checked and its faults are named without the data.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from opo_eval.errors import InputError
from opo_eval.problems.benchmarks import Benchmark
from opo_eval.problems.identity import answer_digest, dataset_sha256, make_problem, row_digest
from opo_eval.records import Problem
from opo_eval.wording import some_of

DIGESTS_FILE = "reference_digests.json"

_SHOWN = 5


class ReferenceRow(NamedTuple):
    """A row of the published set: its id and tags, and the digests of its text and answer."""

    source_id: str
    problem: str
    answer: str
    tags: dict[str, str]


@dataclass(slots=True)
class Differences:
    """What tells a copy from the published set, in words."""

    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        named = {"missing": self.missing, "extra": self.extra, "changed": self.changed}
        return "; ".join(
            f"{len(rows)} {kind}: {some_of(rows, _SHOWN)}" for kind, rows in named.items() if rows
        )


@cache
def reference_rows(name: str) -> tuple[ReferenceRow, ...]:
    """Rows of a built-in set in the order of its file."""
    text = files("opo_eval.problems").joinpath(DIGESTS_FILE).read_text("utf-8")
    return tuple(ReferenceRow(*row) for row in json.loads(text)[name])


def as_published(benchmark: Benchmark, copy: Sequence[Problem], origin: str) -> tuple[Problem, ...]:
    """The copy's problems with the ids, tags and order of the published set.

    So every accepted copy gives the same problems, whatever its order and its columns are. Raises
    InputError naming the rows that differ; `origin` says where the copy is from.
    """
    if dataset_sha256(copy) != benchmark.sha256:
        differences = find_differences(reference_rows(benchmark.name), copy)
        raise InputError(
            f"{origin} is not the published {benchmark.name} ({len(copy)} problems of {benchmark.count}; "
            f"{differences}): take the original, or give the file's path in place of the name to use it as a "
            "set of your own"
        )
    by_text = {row_digest(problem).problem: problem for problem in copy}
    return tuple(_published(by_text[row.problem], row) for row in reference_rows(benchmark.name))


def find_differences(reference: Sequence[ReferenceRow], copy: Iterable[Problem]) -> Differences:
    """Rows of `copy` are matched by their text, then, where the text is another, by their id."""
    unmatched = {row.problem: row for row in reference}
    differences, unknown = Differences(), []
    for problem in copy:
        row = unmatched.pop(row_digest(problem).problem, None)
        if row is None:
            unknown.append(problem)
        elif row_digest(problem).answer != row.answer:
            differences.changed.append(f"{row.source_id} (answer {_two_answers(problem, row)})")
    missing = {row.source_id: row for row in unmatched.values()}
    for problem in unknown:
        row = missing.pop(problem.source_id, None)
        if row is None:
            differences.extra.append(f"{problem.source_id} ({problem.prompt[:40]!r})")
        else:
            differences.changed.append(f"{row.source_id} ({_what_changed(problem, row)})")
    differences.missing = list(missing)
    return differences


def _published(problem: Problem, row: ReferenceRow) -> Problem:
    return make_problem(
        benchmark=problem.benchmark,
        source_id=row.source_id,
        prompt=problem.prompt,
        answer=problem.answer,
        tags=row.tags,
    )


def _what_changed(problem: Problem, row: ReferenceRow) -> str:
    if row_digest(problem).answer == row.answer:
        return "problem text"
    return f"problem text, and answer {_two_answers(problem, row)}"


def _two_answers(problem: Problem, row: ReferenceRow) -> str:
    published = _small_integers().get(row.answer)
    return f"{problem.answer!r} instead of {repr(published) if published else 'the published one'}"


@cache
def _small_integers() -> dict[str, str]:
    """Digest to answer for 0 to 999: the answers that can be shown although only digests ship."""
    return {answer_digest(str(integer)): str(integer) for integer in range(1000)}
