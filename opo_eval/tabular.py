"""Rows of users' tables: JSON Lines, JSON, CSV, TSV and Parquet, told apart by the suffix.

Rows are streamed, except from `.json`, which is one value and is read whole. A row is a dict from
column to value. Null, NaN and an empty CSV cell are None; other CSV cells are text as they stand, so the
text `nan` stays text. Half a surrogate pair, which some JSON holds and no UTF-8 can, is read as `?`. Rows
are numbered from 1: by line in JSON Lines, where an editor shows that number, and by data row elsewhere,
since a CSV field may span lines and a header is not a row.

Every failure is one InputError that names the file, the place and the value.
"""

import csv
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedReader
from math import isnan
from pathlib import Path
from typing import Any

import orjson

from opo_eval.errors import InputError, UsageError
from opo_eval.wording import listed, nearest

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")

NumberedRows = Iterator[tuple[int, dict[str, Any]]]

_BOM = "\N{BYTE ORDER MARK}"
_LARGEST_FIELD = 2**31 - 1
_TORN = (EOFError, zlib.error, gzip.BadGzipFile)


def read_rows(path: str | os.PathLike[str]) -> NumberedRows:
    """Yield (number, row) for every row; how rows are numbered, the module says.

    Raises UsageError for a suffix that is not in `SUFFIXES`; InputError for a file that is missing,
    a directory, unreadable, empty, torn, not UTF-8 or not what its suffix says.
    """
    path = Path(path)
    reader = _READERS[table_suffix(path).removesuffix(".gz")]
    _open_bytes(path).close()  # so that a wrong path is found here, not at the first row
    return _at_least_one(reader(path), path)


def table_suffix(path: str | os.PathLike[str]) -> str:
    """The one of `SUFFIXES` that the file's name ends in; raises UsageError where it is none of them."""
    name = Path(path).name.lower()
    fitting = [suffix for suffix in SUFFIXES if name.endswith(suffix) and name != suffix]
    if not fitting:
        raise UsageError(f"{path} is not a table by its name: it has to end in {', '.join(SUFFIXES)}")
    return max(fitting, key=len)


def place(path: str | os.PathLike[str], number: int) -> str:
    """`answers.jsonl, line 3` or `answers.csv, row 3`: how messages name a row of `read_rows`."""
    return f"{path}, {row_label(path, number)}"


def row_label(path: str | os.PathLike[str], number: int) -> str:
    """`line 3` in JSON Lines and `row 3` elsewhere."""
    return f"{'line' if table_suffix(path).startswith('.jsonl') else 'row'} {number}"


def require_columns(
    row_or_columns: Iterable[str], wanted: Iterable[str], path: str | os.PathLike[str]
) -> None:
    """Raise InputError for the first wanted column that is missing, naming the nearest that is there."""
    columns = [str(column) for column in row_or_columns]
    for name in wanted:
        if name not in columns:
            raise InputError(
                f"{path} has no column {name!r}{nearest(name, columns)}: it has {listed(columns)}"
            )


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Sha256 of a file's bytes, in hexadecimal."""
    with _open_bytes(Path(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- JSON -------------------------------------------------------------------------------------------


def _read_json_lines(path: Path) -> NumberedRows:
    for number, line in _text_lines(path):
        if line and not line.isspace():
            yield number, _json_object(_decode(line, path, number), path, number)


def _read_json_array(path: Path) -> NumberedRows:
    text = "".join(line for _, line in _text_lines(path))
    rows = _decode(text, path, None) if text.strip() else []
    if not isinstance(rows, list):
        kind = type(rows).__name__
        raise InputError(f"{path} holds one {kind}: a .json table is an array of objects, one row each")
    for number, row in enumerate(rows, start=1):
        yield number, _json_object(row, path, number)


def _decode(text: str, path: Path, number: int | None) -> Any:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # Python's json.dump writes these, which are not JSON (a cut surrogate pair, not even text) but are
        # common in logs.
        if "NaN" in text or "Infinity" in text or "\\ud" in text.lower():
            return _decode_as_python(text, path, number)
        raise _not_json(text, path, number, error) from None
    return _decode_as_python(text, path, number) if _may_be_rounded(value) else value


def _decode_as_python(text: str, path: Path, number: int | None) -> Any:
    try:
        return _without_surrogates(json.loads(text))
    except ValueError as error:
        raise _not_json(text, path, number, error) from None


def _without_surrogates(value: Any) -> Any:
    """The value with every half of a surrogate pair, which no UTF-8 can hold, made a question mark."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    return value


def _may_be_rounded(value: Any) -> bool:
    """Whether an integer of more than 64 bits may be in a row: orjson makes such integers floats."""
    rows = value if isinstance(value, list) else [value]
    cells = (cell for row in rows if isinstance(row, dict) for cell in row.values())
    return any(isinstance(cell, float) and abs(cell) >= 2**63 for cell in cells)


def _not_json(text: str, path: Path, number: int | None, reason: ValueError) -> InputError:
    where = path if number is None else place(path, number)
    hint = "; a file with one object a line is named .jsonl" if number is None else ""
    return InputError(f"{where} is not JSON ({_first_line(reason)}): {_shown(text.strip())}{hint}")


def _json_object(value: Any, path: Path, number: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        where = place(path, number)
        raise InputError(
            f"{where} is not an object but {_shown(value)}: a row is written {{'column': value}}"
        )
    return _without_nan(value)


# --- CSV and TSV ------------------------------------------------------------------------------------


def _read_delimited(path: Path) -> NumberedRows:
    delimiter = "\t" if table_suffix(path).startswith(".tsv") else ","
    # The limit is one number for the whole process and its default, 131,072, is shorter than a response.
    csv.field_size_limit(_LARGEST_FIELD)
    lines = (line for _, line in _text_lines(path, keep_ends=True))
    records = _records(csv.reader(lines, delimiter=delimiter, strict=True), path)
    header = next(records, [])
    _refuse_repeated(header, path)
    for number, record in enumerate(records, start=1):
        yield number, _named_cells(header, record, path, number)


def _records(reader: Any, path: Path) -> Iterator[list[str]]:
    try:
        yield from (record for record in reader if record)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num} cannot be read: {error}") from None


def _refuse_repeated(header: list[str], path: Path) -> None:
    for name in header:
        if header.count(name) > 1:
            raise InputError(
                f"{path} has {header.count(name)} columns named {name!r}: give each its own name"
            )


def _named_cells(header: list[str], record: list[str], path: Path, number: int) -> dict[str, Any]:
    if len(record) > len(header):
        raise InputError(
            f"{place(path, number)} has {len(record)} fields and the header {len(header)}, the first too "
            f"many being {_shown(record[len(header)])}: quote a field that holds the separator"
        )
    cells = [cell or None for cell in record]
    return dict(zip(header, cells + [None] * (len(header) - len(cells)), strict=True))


# --- Parquet ----------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> NumberedRows:
    import pyarrow
    from pyarrow import parquet

    with _open_bytes(path) as file:
        if not file.read(1):
            return
        try:
            batches = parquet.ParquetFile(file).iter_batches(batch_size=1024)
            rows = (row for batch in batches for row in batch.to_pylist())
            yield from enumerate(map(_without_nan, rows), start=1)
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{path} is not a Parquet file that can be read: {_first_line(error)}") from None


# --- bytes and text ---------------------------------------------------------------------------------


def _text_lines(path: Path, *, keep_ends: bool = False) -> Iterator[tuple[int, str]]:
    """Number and text of every line; lines end at a newline only, as no other character ends a JSON line."""
    for number, line in _byte_lines(path):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            value = f"0x{line[error.start]:02x}"
            where = f"{path}, line {number}, byte {error.start + 1}"
            raise InputError(f"{where} is not UTF-8 ({value}): save the file as UTF-8") from None
        text = text.removeprefix(_BOM) if number == 1 else text
        yield number, text if keep_ends else text.rstrip("\r\n")


def _byte_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    with _open_bytes(path) as file:
        stream = gzip.GzipFile(fileobj=file) if table_suffix(path).endswith(".gz") else file
        try:
            for number, line in enumerate(stream, start=1):
                yield number, line
        except _TORN as error:
            raise InputError(
                f"{path} is torn or no gzip file, after line {number}: {_first_line(error)}"
            ) from None


def _open_bytes(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"there is no file {path}: check the path") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a directory: give one of the tables in it") from None
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}") from None


def _at_least_one(rows: NumberedRows, path: Path) -> NumberedRows:
    first = next(rows, None)
    if first is None:
        raise InputError(f"{path} is empty: it has no rows")
    yield first
    yield from rows


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(cell, float) and isnan(cell) else cell for name, cell in row.items()}


def _shown(value: Any) -> str:
    return repr(value[:80] if isinstance(value, str) else value)[:80]


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


_READERS = {
    ".jsonl": _read_json_lines,
    ".json": _read_json_array,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".parquet": _read_parquet,
}
