"""A log of generations as every format gives it: rows, and the roles that their columns have."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opo_eval.errors import InputError, UsageError
from opo_eval.importers.plan import ImportPlan
from opo_eval.records import Verdict
from opo_eval.tabular import place, read_rows
from opo_eval.wording import listed

PlacedRows = Iterator[tuple[str, Mapping[str, Any]]]
"""Where a row is, as messages name it, and its cells by column."""

UNSCORED = Verdict.GRADER_ERROR
"""The cell of a response that a tool scored others like, but not this one."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """One file of responses.

    rows: reads the file from its start. columns: role → column; `--map` goes before. scores: columns that
    hold the tool's own scores, each one a grader. ids_are_the_sets: whether the ids are those of a problem
    set, so that rows may be joined by them. checkpoint and benchmark: names for rows that give none.
    notes: what a person should know of what is not read.
    """

    format: str
    path: Path
    rows: Callable[[], PlacedRows]
    columns: Mapping[str, str]
    scores: tuple[str, ...] = ()
    ids_are_the_sets: bool = False
    checkpoint: str | None = None
    benchmark: str | None = None
    notes: tuple[str, ...] = ()


def table_rows(path: Path) -> PlacedRows:
    """Rows of a table, each with its place."""
    return ((place(path, number), row) for number, row in read_rows(path))


def first_row(path: Path) -> Mapping[str, Any] | None:
    """The first row of a table; None for what is no table that can be read."""
    try:
        return next(iter(read_rows(path)))[1]
    except (InputError, UsageError):
        return None


def checkpoint_of(plan: ImportPlan, format: str, logged: str | None = None) -> str:
    """The name that was asked for, else the one in the log. Raises UsageError where neither is there."""
    name = plan.checkpoint or logged
    if not name:
        raise UsageError(
            f"{plan.path}: a log of {format} does not say who answered: name it with --checkpoint"
        )
    return name


def require_fields(row: Iterable[str], wanted: Iterable[str], where: str, format: str, writers: str) -> None:
    """Raise InputError where a row lacks a field that the known versions of a tool write."""
    missing = [name for name in wanted if name not in row]
    if missing:
        raise InputError(
            f"{where} is not as {writers} writes it: it has no {listed(missing)} but {listed(row)}; a log of "
            f"another version of {format} is imported with --format table and --map"
        )


def last_user_turn(prompt: Any) -> Any:
    """The text of a conversation's last user turn; what is no conversation as it is."""
    if not isinstance(prompt, list):
        return prompt
    turns = [turn["content"] for turn in prompt if isinstance(turn, dict) and turn.get("role") == "user"]
    return turns[-1] if turns else None


def only_one(golds: Sequence[Any]) -> Any:
    """The one of several golds that is there; all of them where any would be right, which no gold can say."""
    return golds[0] if len(golds) == 1 else list(golds)


def with_reasoning(reasoning: str | None, text: str) -> str:
    """A response whose think section a tool took out of its text, whole again."""
    return f"<think>{reasoning}</think>{text}" if reasoning else text


def read_json(path: Path) -> Any:
    """The one value of a JSON file. Raises InputError where it cannot be read."""
    try:
        return decode_json(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; check the path") from None


def decode_json(data: bytes, where: str) -> Any:
    """The value of JSON text. Raises InputError, naming the place, where it is none."""
    try:
        return json.loads(data)  # which also reads the NaN that Python's json.dump writes
    except ValueError as error:
        raise InputError(f"{where} is not JSON ({error}): it may have been cut off") from None


# --- logs of one file a step ------------------------------------------------------------------------

LogOfStep = Callable[[ImportPlan, Path, str], Log]
"""Plan, file and name of the checkpoint → log."""


def step_logs(plan: ImportPlan, format: str, files: Sequence[Path], log: LogOfStep) -> list[Log]:
    """A log of each of a folder's files, its checkpoint `NAME_step_STEP`; of a plan's one file, `NAME`.

    The step is the number in a file's name. Raises UsageError without --checkpoint, InputError for a folder
    without files.
    """
    name = checkpoint_of(plan, format)
    if not plan.path.is_dir():
        return [log(plan, plan.path, name)]
    if not files:
        raise InputError(f"{plan.path} holds no file of {format}: name the folder that its files lie in")
    by_step = sorted((_step(file), file) for file in files)
    return [log(plan, file, f"{name}_step_{step}") for step, file in by_step]


def _step(file: Path) -> int:
    digits = file.stem.rpartition("_")[2]
    if not digits.isdecimal():
        raise InputError(f"{file} is not named after a step: name the files to import one by one")
    return int(digits)
