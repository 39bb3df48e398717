"""What to import and how: the settings that every format shares."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from opo_eval.records import Think

USUAL_COLUMNS = {
    "response": ("response", "responses", "completion", "completions", "generation", "output"),
    "gold": ("gold", "answer", "target", "expected_answer"),
    "problem": ("problem", "question", "prompt"),
    "id": ("problem_id", "unique_id", "id"),
}
"""First that a table has, where the user does not say."""

OPTIONAL_ROLES = (
    "checkpoint", "benchmark", "index", "finish", "n_tokens", "score", "method", "train_seed", "step", "tags",
)  # fmt: skip
ROLES = (*USUAL_COLUMNS, *OPTIONAL_ROLES)


def usual_columns(columns: Container[str]) -> dict[str, str]:
    """Role → the column that usually has it, as far as one is there."""
    usual = {role: next((c for c in names if c in columns), None) for role, names in USUAL_COLUMNS.items()}
    return {role: column for role, column in usual.items() if column}


@dataclass(frozen=True, kw_only=True)
class ReadPlan:
    """How rows are read, wherever they are.

    columns: role (a name in `ROLES`) → column; `tags` → columns separated by commas. checkpoint and
    benchmark: names for logs that do not give one. problems: a built-in set or a file to join with, by id or
    by text. template: what the log's prompts were made with, by name or as text; it is taken off them.
    correct_from: the least score that counts as correct; None takes scores of 0 and 1 only. first: how many
    responses of each problem to take; None: all.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    checkpoint: str | None = None
    benchmark: str | None = None
    problems: str | None = None
    source: str | None = None
    template: str | None = None
    correct_from: float | None = None
    first: int | None = None


@dataclass(frozen=True, kw_only=True)
class ImportPlan(ReadPlan):
    """What to import and how.

    path: a file, or for formats of several files their folder. format: a name in `FORMATS`; None recognises
    it. requests: the file of requests that a batch answers.
    """

    path: Path
    out: Path
    think: Think
    format: str | None = None
    requests: Path | None = None
