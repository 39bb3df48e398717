"""Statistics of every token of scored samples: Parquet files beside the records of a run.

    RUN/per_token/000001.parquet, 000002.parquet, ...

A row is one sample at one temperature by one scorer, with lists of float32, one number a token, in nats. A
file is written whole or not at all, before the records of its samples. Of rows with the same key, in
whichever files, one counts: the one in the latest file.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opo_eval.errors import StoreError
from opo_eval.store import RunDir, write_atomically

FOLDER = "per_token"
Key = tuple[str, int, str, float]
"""problem_id, index, scorer, temperature."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerToken:
    """What models say of every token of one response: float32 [n], in nats; see `TokenStats`."""

    problem_id: str
    index: int
    scorer: str
    temperature: float
    entropy: NDArray[np.float32]
    logprob: NDArray[np.float32]
    ref_logprob: NDArray[np.float32] | None = None
    """This and what follows is None without a reference."""
    ref_entropy: NDArray[np.float32] | None = None
    kl: NDArray[np.float32] | None = None
    reverse_kl: NDArray[np.float32] | None = None

    @property
    def key(self) -> Key:
        """What it is of: one row of a run has it."""
        return self.problem_id, self.index, self.scorer, self.temperature


_KEY = ("problem_id", "index", "scorer", "temperature")
_ARRAYS = tuple(f.name for f in fields(PerToken) if f.name not in _KEY)


def read_per_token(
    run: RunDir | str | os.PathLike[str], scorer: str | None = None, temperature: float | None = None
) -> Iterator[PerToken]:
    """Yield what a run has for every token of its samples, each key once, one file in memory at a time.

    scorer, temperature: only theirs; None: all. A run that was scored without --per-token has nothing.
    Raises StoreError for a damaged file.
    """
    paths = _files(_path_of(run))
    last = {key: path for path in paths for key in _keys(path)}
    for path in paths:
        for row in _rows(path):
            wanted = scorer in (None, row.scorer) and temperature in (None, row.temperature)
            if wanted and last[row.key] == path:
                yield row


def per_token_keys(run: RunDir | str | os.PathLike[str]) -> set[Key]:
    """What a run has for every token, without reading any of it."""
    return {key for path in _files(_path_of(run)) for key in _keys(path)}


class PerTokenWriter:
    """Adds files to a run; whoever makes one holds the run's lock."""

    def __init__(self, run: RunDir | str | os.PathLike[str]) -> None:
        self._folder = _path_of(run) / FOLDER
        self._next = max((int(path.stem) for path in _files(_path_of(run))), default=0) + 1
        for torn in self._folder.glob(".*"):  # of a writer that was killed
            torn.unlink()

    def append(self, rows: Sequence[PerToken]) -> None:
        """Add a file with these rows; none for none. Raises StoreError where it cannot be written."""
        if rows:
            write_atomically(self._folder / f"{self._next:06d}.parquet", _packed(rows))
            self._next += 1


def _path_of(run: RunDir | str | os.PathLike[str]) -> Path:
    return run.path if isinstance(run, RunDir) else RunDir(run).path


def _files(run: Path) -> list[Path]:
    found = [path for path in (run / FOLDER).glob("*.parquet") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


def _packed(rows: Sequence[PerToken]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: pa.array([getattr(row, name) for row in rows], type=kind) for name, kind in _types()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", use_dictionary=["problem_id", "scorer"])
    return sink.getvalue().to_pybytes()


def _types() -> Iterator[tuple[str, Any]]:
    import pyarrow as pa

    yield from zip(_KEY, (pa.string(), pa.int64(), pa.string(), pa.float64()), strict=True)
    yield from ((name, pa.list_(pa.float32())) for name in _ARRAYS)


def _keys(path: Path) -> list[Key]:
    table = _read(path, list(_KEY))
    return list(zip(*(table[name].to_pylist() for name in _KEY), strict=True))


def _rows(path: Path) -> Iterator[PerToken]:
    table = _read(path, [*_KEY, *_ARRAYS])
    for place in range(table.num_rows):
        row = {name: table[name][place] for name in table.column_names}
        arrays = {name: _as_array(row[name]) for name in _ARRAYS}
        yield PerToken(**{name: row[name].as_py() for name in _KEY}, **arrays)


def _as_array(cell: Any) -> NDArray[np.float32] | None:
    return cell.values.to_numpy() if cell.is_valid else None


def _read(path: Path, columns: list[str]) -> Any:
    import pyarrow.parquet as pq

    with _explained(path):
        table = pq.ParquetFile(path).read(columns=columns)
        if missing := [name for name in columns if name not in table.column_names]:
            raise ValueError(f"it has no column {missing[0]!r}")
        return table


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        raise StoreError(
            f"{path} cannot be read ({str(error).splitlines()[0]}): delete it, and `opo-eval score "
            "--per-token` makes it again"
        ) from None
