"""Texts of a user's table, by what they are compared by and by the group that they belong to.

Every row is accounted for: it is a text, or it is left out for one of the reasons of `LeftOut`.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from opo_eval.errors import InputError, UsageError
from opo_eval.tabular import file_sha256, read_rows, require_columns, table_suffix


class LeftOut(StrEnum):
    """Why a row is no text to be looked at."""

    BLANK = "blank"
    NOT_TEXT = "not text"
    NO_GROUP = "without a group"


@dataclass(frozen=True, slots=True)
class Text:
    """One text and the row that it stands in."""

    row: int
    text: str


Groups = Mapping[str, tuple[Text, ...]]
"""Group → its texts, both in the order of the file."""


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table of texts that was read whole."""

    file: str
    """Its name, without the folder."""
    sha256: str
    groups: Mapping[str, Groups]
    """By the value that is compared, in the order of the file; none where all its rows are left out."""
    left_out: Mapping[str, Mapping[LeftOut, int]]
    """Rows that are no text, by the value that is compared; those without such a value are under ""."""

    @property
    def n_rows(self) -> int:
        """Of the file."""
        return sum(group_sizes(self)) + sum(sum(counts.values()) for counts in self.left_out.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounting:
    """Where the rows of one compared value went: `rows` is the sum of all others but `groups`."""

    rows: int
    compared: int
    beyond_n: int
    """In groups that are compared, after their first n."""
    in_small_groups: int
    """In groups of 2 texts or more, but fewer than n."""
    alone: int
    """In groups of one text."""
    blank: int
    not_text: int
    without_group: int
    groups: int
    """That are compared."""


def read_texts(path: str | os.PathLike[str], *, text: str, group: str, by: str | None = None) -> TextTable:
    """Read the columns `text`, `group` and `by` of a table; without `by` all texts are the file's.

    Cells of `group` and `by` that are not text are taken as JSON. Raises InputError for a file that
    cannot be read, a column that is not there and a table without any text, UsageError for a suffix that
    is none of a table.
    """
    path = Path(path)
    groups: dict[str, dict[str, list[Text]]] = defaultdict(lambda: defaultdict(list))
    left_out: dict[str, Counter[LeftOut]] = defaultdict(Counter)
    for row, cells in _checked(path, [text, group, *([by] if by else [])]):
        value = _label(cells.get(by)) if by else table_stem(path)
        own, kept = groups[value], _text(cells, text, group) if value else LeftOut.NO_GROUP
        if isinstance(kept, LeftOut):
            left_out[value][kept] += 1
        else:
            own[_label(cells[group])].append(Text(row, kept))
    if not any(groups.values()):
        raise InputError(f"{path} has no text to audit: column {text!r} is blank, or not text, in every row")
    groups.pop("", None)
    return TextTable(
        file=path.name,
        sha256=file_sha256(path),
        groups={value: _as_tuples(own) for value, own in groups.items()},
        left_out={value: dict(counts) for value, counts in left_out.items()},
    )


def _as_tuples(groups: Mapping[str, list[Text]]) -> Groups:
    return {name: tuple(texts) for name, texts in groups.items()}


def table_stem(path: str | os.PathLike[str]) -> str:
    """The file's name without the suffix that makes it a table."""
    return Path(path).name[: -len(table_suffix(path))]


def _checked(path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for index, (row, cells) in enumerate(read_rows(path)):
        if index == 0:
            require_columns(cells, columns, path)
        yield row, cells


def _text(cells: Mapping[str, Any], text: str, group: str) -> str | LeftOut:
    cell = cells.get(text)
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return LeftOut.BLANK
    if not isinstance(cell, str):
        return LeftOut.NOT_TEXT
    return cell if _label(cells.get(group)) else LeftOut.NO_GROUP


def _label(cell: Any) -> str:
    """A cell as a name; nothing where it is empty."""
    if cell is None:
        return ""
    return cell.strip() if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False, default=str)


# --- how many texts a group -------------------------------------------------------------------------


def group_sizes(texts: TextTable) -> list[int]:
    """Of every group of every value."""
    return [len(group) for groups in texts.groups.values() for group in groups.values()]


def choose_n(texts: TextTable, wanted: int | None, group: str) -> tuple[int, list[str]]:
    """(texts a group that are compared, notes); default: the size of the smallest group of two or more.

    Raises InputError where every group has one text, UsageError where no group has as many as are wanted.
    """
    sizes = [size for size in group_sizes(texts) if size > 1]
    if not sizes:
        raise InputError(
            f"every group of {texts.file} has one text: --group {group!r} has to say what several texts have "
            "in common"
        )
    n = min(sizes) if wanted is None else wanted
    if n > max(sizes):
        raise UsageError(f"-n {n} is more than any group has: the largest of {texts.file} has {max(sizes)}")
    compared = {size: size * sum(other >= size for other in sizes) for size in sorted(set(sizes))}
    if wanted is not None or 2 * compared[n] >= sum(sizes):
        return n, []
    best = max(compared, key=lambda size: compared[size])
    return n, [
        f"Only {compared[n]} of {sum(sizes)} texts are compared, as the smallest group of two or more has "
        f"{n}: with -n {best}, which leaves smaller groups out, it would be {compared[best]}."
    ]


def account(groups: Groups, left_out: Mapping[LeftOut, int], n: int) -> Accounting:
    """Of one value's rows at n texts a group."""
    sizes = [len(texts) for texts in groups.values()]
    large = [size for size in sizes if size >= n]
    return Accounting(
        rows=sum(sizes) + sum(left_out.values()),
        compared=n * len(large),
        beyond_n=sum(large) - n * len(large),
        in_small_groups=sum(size for size in sizes if 1 < size < n),
        alone=sizes.count(1),
        blank=left_out.get(LeftOut.BLANK, 0),
        not_text=left_out.get(LeftOut.NOT_TEXT, 0),
        without_group=left_out.get(LeftOut.NO_GROUP, 0),
        groups=len(large),
    )
