"""A run directory: one checkpoint × one benchmark × one sampling setting, safe to kill at any instant.

    manifest.json    settings and provenance, replaced atomically
    problems.jsonl   the problems as they were asked, written once
    samples.jsonl.zst
                     appended as responses arrive, keyed by (problem_id, index); compressed (see `frames`),
                     `zstdcat` prints its lines. A plain samples.jsonl in its place is read and continued
    grades.jsonl     appended as verdicts arrive, keyed by (problem_id, index, grader)
    token_stats.jsonl
                     appended as responses are scored, keyed by (problem_id, index, scorer, temperature)
    per_token/       on request, the numbers of every token, as Parquet (see `per_token`)
    writer.lock      held by the one process that writes; it holds that process's id

The lines of each file start with one that names its schema version. Appending is one write of whole lines
or frames, so a killed writer leaves at most a torn tail: it is repaired when the directory is next opened
for writing, and passed over with a warning by readers.
"""

import errno
import fcntl
import hashlib
import os
import re
import time
import warnings
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from opo_eval.errors import InputError, StoreError
from opo_eval.frames import FrameLines
from opo_eval.records import (
    Grade,
    GradedSample,
    Group,
    Manifest,
    Problem,
    Provenance,
    RunSettings,
    Sample,
    TokenStats,
    from_dict,
)

SCHEMA_VERSION = 1
_MANIFEST, _LOCK = "manifest.json", "writer.lock"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LONGEST_FOLDER_NAME = 120


class TornTailWarning(UserWarning):
    """A last write is incomplete, its writer was killed: readers pass it over, writers cut it off."""


# --- what the file system refuses -------------------------------------------------------------------


@contextmanager
def _explained(doing: str, path: Path, *, kept: str = "") -> Iterator[None]:
    """Turn an OSError into a StoreError that says what was being done to which file, and what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot {doing} {path}: {error.strerror}; {kept}{_advice(error)}") from error


def _advice(error: OSError) -> str:
    if error.errno in _FULL:
        return "make room and give the same command again"
    if error.errno == errno.EISDIR:
        return "a file belongs there: move that folder away"
    return "check its permissions"


# --- one append-only file ---------------------------------------------------------------------------


class PlainLines:
    """Lines in a text file, the counterpart of `FrameLines`; a place is the byte at which a line begins."""

    remedy = "delete that line and run again"
    """What to do about a line that should not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def pack(self, lines: Iterable[bytes]) -> bytes:
        """What to append to the file for these lines, each of which ends with a newline."""
        return b"".join(lines)

    def extent(self) -> tuple[int, int]:
        """Where the last whole line ends, and the size of the file."""
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            return _end_of_last_line(file, size), size

    def until(self, end: int) -> Iterator[tuple[int, bytes]]:
        """Yield (place, line) of every line before a byte of the file at which a line ends."""
        place = 0
        with self.path.open("rb") as file:
            while place < end:
                line = file.readline()
                yield place, line
                place += len(line)

    def at(self, places: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield (place, line) of the lines at these places."""
        with self.path.open("rb") as file:
            for place in places:
                file.seek(place)
                yield place, file.readline()


def _end_of_last_line(file: BinaryIO, size: int, block: int = 1 << 16) -> int:
    end = size
    while end:
        start = max(0, end - block)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


class RecordFile:
    """An append-only file of one kind of record, a JSON line each, with its schema version in the first.

    A name that ends in .zst has its lines compressed.
    """

    def __init__(self, path: Path, kind: str, record: type, key: Mapping[str, type]) -> None:
        self.path, self.kind, self.record, self.key = path, kind, record, key
        self.lines = FrameLines(path) if path.suffix == ".zst" else PlainLines(path)
        """key: the fields, and their types, whose values may occur together only once in the file."""

    @property
    def header(self) -> dict[str, str]:
        """The first line: kind and version."""
        return {"schema": f"opo_eval.{self.kind}/{SCHEMA_VERSION}"}

    def key_of(self, record: Any) -> tuple[Any, ...]:
        """What may occur only once in the file."""
        return tuple(getattr(record, name) for name in self.key)

    def __iter__(self) -> Iterator[Any]:
        """Yield the records in the order in which they were written; an absent file has none."""
        for place, row in self._rows():
            yield self._record(place, row)

    def places(self) -> dict[tuple[Any, ...], int]:
        """Where each key's line is, without building records; `read_at` takes these places."""
        places: dict[tuple[Any, ...], int] = {}
        for place, row in self._rows():
            key = self._key(place, row)
            if key in places:
                raise self._damaged(place, f"it repeats {_spell(self.key, key)}")
            places[key] = place
        return places

    def read_at(self, places: Iterable[int]) -> Iterator[Any]:
        """Yield the records whose lines are at these places."""
        with _explained("read", self.path):
            for place, line in self.lines.at(places):
                yield self._record(place, self._parse(place, line))

    def repair(self) -> str | None:
        """Cut off a torn tail and say what was cut, or return None where nothing is torn."""
        with _explained("repair", self.path):
            end, size = self.lines.extent() if self.path.exists() else (0, 0)
            if end == size:
                return None
            os.truncate(self.path, end)
        return (
            f"{self.path}: the last write was cut off by an interruption; its {size - end} bytes are removed "
            "and what it held will be made again"
        )

    def _record(self, place: int, row: dict[str, Any]) -> Any:
        try:
            return from_dict(self.record, row)
        except ValueError as error:
            raise self._damaged(place, str(error)) from None

    def _key(self, place: int, row: dict[str, Any]) -> tuple[Any, ...]:
        for name, kind in self.key.items():
            if name not in row:
                raise self._damaged(place, f"no field {name!r}")
            if not isinstance(row[name], kind):
                raise self._damaged(place, f"{self.record.__name__}.{name} cannot be {row[name]!r:.80}")
        return tuple(row[name] for name in self.key)

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (place, row) of every complete line after the header."""
        with _explained("read", self.path), suppress(FileNotFoundError):
            end, size = self.lines.extent()
            for place, line in self.lines.until(end):
                row = self._parse(place, line)
                if place == 0:
                    self._check_header(row)
                else:
                    yield place, row
            if end < size:
                word = f"{self.path}: incomplete last write of {size - end} bytes passed over"
                warnings.warn(word, TornTailWarning, stacklevel=3)

    def _parse(self, place: int, line: bytes) -> dict[str, Any]:
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise self._damaged(place, f"not JSON ({error})") from None
        if not isinstance(row, dict):
            raise self._damaged(place, "not an object")
        return row

    def _check_header(self, row: dict[str, Any]) -> None:
        if row != self.header:
            raise StoreError(
                f"{self.path} has schema {row.get('schema', 'none')!r}, this version of opo_eval reads "
                f"{self.header['schema']!r}: use the version that wrote it"
            )

    def _damaged(self, place: int, what: str) -> StoreError:
        return StoreError(
            f"{self.path}:{self._line_number(place)} is damaged: {what}; restore the file or "
            f"{self.lines.remedy}"
        )

    def _line_number(self, place: int) -> int:
        return sum(1 for at, _ in self.lines.until(self.lines.extent()[0]) if at <= place)


class Appender:
    """Appends records to a file; a second record of the same key is refused."""

    def __init__(self, file: RecordFile) -> None:
        self.file = file
        self.keys = set(file.places())
        with _explained("write to", file.path):
            self._descriptor = os.open(file.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if os.fstat(self._descriptor).st_size == 0:
            self._write([orjson.dumps(file.header) + b"\n"])

    def append(self, records: Iterable[Any]) -> None:
        """Write the records in one write; either all of its lines are there afterwards or none."""
        lines, keys = [], set()
        for record in records:
            key = self.file.key_of(record)
            if key in self.keys or key in keys:
                raise StoreError(f"{self.file.path} already has {_spell(self.file.key, key)}")
            keys.add(key)
            lines.append(dump_record(record))
        self._write(lines)
        self.keys |= keys

    def close(self) -> None:
        """Bring everything to disk and close the file."""
        try:
            with _explained("write to", self.file.path):
                os.fsync(self._descriptor)
        finally:
            os.close(self._descriptor)

    def _write(self, lines: Iterable[bytes]) -> None:
        before = os.fstat(self._descriptor).st_size
        view = memoryview(self.file.lines.pack(lines))
        with _explained("write to", self.file.path, kept="what was written before is kept: "):
            try:
                while view:
                    view = view[os.write(self._descriptor, view) :]
            except OSError:
                os.ftruncate(self._descriptor, before)
                raise


def dump_record(record: Any) -> bytes:
    """One JSON line; invalid surrogates, which JSON cannot hold, are replaced."""
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return orjson.dumps(_without_surrogates(asdict(record)), option=orjson.OPT_APPEND_NEWLINE)


def _without_surrogates(row: dict[str, Any]) -> dict[str, Any]:
    def clean(value: Any) -> Any:
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value

    return {name: clean(value) for name, value in row.items()}


def _spell(names: Iterable[str], key: Sequence[Any]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in zip(names, key, strict=True))


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file so that every reader, at any instant, sees the old or the new one whole."""
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with _explained("write", path):
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            raise


# --- the directory ----------------------------------------------------------------------------------


class RunDir:
    """A run directory, read. Raises StoreError where `path` is none."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with _explained("read", self.path / _MANIFEST):
            is_run = (self.path / _MANIFEST).is_file()
        if not is_run:
            raise StoreError(
                f"{self.path} is not a run directory (it has no {_MANIFEST}): give a folder that "
                "`opo-eval sample`, `import` or `eval` wrote" + _hint(self.path)
            )

    @property
    def manifest(self) -> Manifest:
        """Settings and provenance of the run."""
        return read_manifest(self.path / _MANIFEST)

    @property
    def samples_path(self) -> Path:
        """The file that has the samples, or will have them."""
        return _sample_file(self.path).path

    def problems(self) -> tuple[Problem, ...]:
        """The problems that the run asks, in the order of their benchmark."""
        return tuple(_problem_file(self.path))

    def samples(self) -> Iterator[Sample]:
        """Yield the samples in the order in which they were written."""
        return iter(_sample_file(self.path))

    def grades(self) -> Iterator[Grade]:
        """Yield the grades of every grader in the order in which they were written."""
        return iter(_grade_file(self.path))

    def token_stats(self) -> Iterator[TokenStats]:
        """Yield what scorers said of the samples' tokens, in the order in which it was written."""
        return iter(_token_stats_file(self.path))

    def sample_keys(self) -> set[tuple[str, int]]:
        """The (problem_id, index) that have been sampled."""
        return {(problem_id, index) for problem_id, index in _sample_file(self.path).places()}

    def index(self) -> "RunIndex":
        """What the run holds now, from one pass over each of its files.

        Raises StoreError for a damaged line, a key that is there twice, and a sample whose problem is not
        among the run's problems.
        """
        samples: dict[str, dict[int, int]] = defaultdict(dict)
        for (problem_id, index), place in _sample_file(self.path).places().items():
            samples[problem_id][index] = place
        _refuse_unknown_problems(self.path, samples)
        grades: dict[str, dict[str, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
        for (problem_id, index, grader), place in _grade_file(self.path).places().items():
            grades[grader][problem_id][index] = place
        scores: dict[str, dict[tuple[str, int], list[int]]] = defaultdict(lambda: defaultdict(list))
        for (problem_id, index, scorer, _), place in _token_stats_file(self.path).places().items():
            scores[scorer][problem_id, index].append(place)
        return RunIndex(
            run=self,
            problems=self.problems(),
            samples=dict(samples),
            grades=dict(grades),
            token_stats=dict(scores),
        )

    def groups(self, grader: str | None = None, *, scorer: str | None = None) -> Iterator[Group]:
        """Yield the samples of each problem that has any; see `RunIndex.groups`."""
        return self.index().groups(grader, scorer=scorer)

    def writer(self) -> "RunWriter":
        """Open for adding grades or samples under the settings that the run already has."""
        return RunWriter(self.path)

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"


@dataclass(frozen=True, kw_only=True)
class RunIndex:
    """What a run held when it was looked at: without texts, and so small whatever their size.

    A record is known by its place in its file. What is appended later is not seen.
    """

    run: RunDir
    problems: tuple[Problem, ...]
    """In the order of their benchmark."""
    samples: Mapping[str, Mapping[int, int]]
    """Problem id → index → place in the samples' file; a problem without samples is not in it."""
    grades: Mapping[str, Mapping[str, Mapping[int, int]]]
    """Grader → problem id → index → place in grades.jsonl; the latest grader to start is the last."""
    token_stats: Mapping[str, Mapping[tuple[str, int], Sequence[int]]] = field(default_factory=dict)
    """Scorer → (problem id, index) → places in token_stats.jsonl, one a temperature; the latest scorer to
    start is the last."""

    def groups(
        self,
        grader: str | None = None,
        only: Container[str] | None = None,
        *,
        scorer: str | None = None,
    ) -> Iterator[Group]:
        """Yield the samples of each problem that has any, ordered by index, with grades and token statistics.

        grader, scorer: whose; None: nobody's. only: ids of the problems that are asked for; default: all.
        Samples are read one problem at a time, so texts of any total size can be gone through.
        """
        for problem in self.problems:
            if problem.id in self.samples and (only is None or problem.id in only):
                places = self.samples[problem.id]
                samples = _sample_file(self.run.path).read_at(place for _, place in sorted(places.items()))
                grades = {grade.index: grade for grade in self.grades_of(problem.id, grader)}
                joined = tuple(
                    GradedSample(
                        sample=sample,
                        grade=grades.get(sample.index),
                        token_stats=self._token_stats_of(problem.id, sample.index, scorer),
                    )
                    for sample in samples
                )
                yield Group(checkpoint=joined[0].sample.checkpoint, problem=problem, samples=joined)

    def grades_of(self, problem_id: str, grader: str | None) -> Iterator[Grade]:
        """Yield the grades of a problem by one grader (None: nobody), in the order of writing."""
        places = {} if grader is None else self.grades.get(grader, {}).get(problem_id, {})
        return _grade_file(self.run.path).read_at(places.values())

    def _token_stats_of(self, problem_id: str, index: int, scorer: str | None) -> tuple[TokenStats, ...]:
        places = {} if scorer is None else self.token_stats.get(scorer, {})
        found = places.get((problem_id, index), ())
        read = _token_stats_file(self.run.path).read_at(found) if found else ()
        return tuple(sorted(read, key=lambda stats: stats.temperature))


class RunWriter:
    """The one process that writes to a run directory; a context manager.

    Opening takes the lock, repairs torn tails with a TornTailWarning and checks that the run was made with
    the same settings. Raises StoreError where another process writes or a setting differs.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        settings: RunSettings | None = None,
        problems: Sequence[Problem] = (),
        *,
        provenance: Provenance | None = None,
        n_target: int | None = None,
    ) -> None:
        self.path = Path(path)
        make_directory(self.path)
        self._opened = ExitStack()
        self._opened.callback(os.close, take_lock(self.path / _LOCK))
        try:
            self._repair()
            if settings is not None:
                self._begin(settings, problems, provenance, n_target)
            self.run = RunDir(self.path)
            self.samples = self._opened.enter_context(closing(Appender(_sample_file(self.path))))
            _refuse_unknown_problems(self.path, (problem_id for problem_id, _ in self.samples.keys))
            self.grades = self._opened.enter_context(closing(Appender(_grade_file(self.path))))
        except BaseException:
            self._opened.close()
            raise

    def append_samples(self, samples: Iterable[Sample]) -> None:
        """Add samples; a key that is there already is refused."""
        self.samples.append(samples)

    def append_grades(self, grades: Iterable[Grade]) -> None:
        """Add grades; a key that is there already is refused."""
        self.grades.append(grades)

    def append_token_stats(self, token_stats: Iterable[TokenStats]) -> None:
        """Add token statistics; a key that is there already is refused."""
        self.token_stats.append(token_stats)

    @cached_property
    def token_stats(self) -> Appender:
        """Opened on first use: most runs are never scored."""
        return self._opened.enter_context(closing(Appender(_token_stats_file(self.path))))

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the time spent in here to the run's sampling time, however it ends."""
        started = time.monotonic()
        try:
            yield
        finally:
            manifest = self.run.manifest
            spent = manifest.wall_time_s + time.monotonic() - started
            self._write_manifest(replace(manifest, wall_time_s=round(spent, 3)))

    def close(self) -> None:
        """Bring everything to disk and release the lock."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _repair(self) -> None:
        for of in (_problem_file, _sample_file, _grade_file, _token_stats_file):
            file = of(self.path)
            if word := file.repair():
                warnings.warn(word, TornTailWarning, stacklevel=4)

    def _begin(
        self,
        settings: RunSettings,
        problems: Sequence[Problem],
        provenance: Provenance | None,
        n_target: int | None,
    ) -> None:
        # Problems go first: a directory with a manifest is a run that can be continued.
        if not (self.path / _MANIFEST).exists():
            _refuse_samples_without_manifest(self.path)
            self._write_problems(problems)
            past = Manifest(settings=settings, provenance=())
        else:
            past = read_manifest(self.path / _MANIFEST)
            _refuse_other_settings(self.path, past.settings, settings)
        history = past.provenance
        if provenance and (not history or _code_of(history[-1]) != _code_of(provenance)):
            history = (*history, provenance)
        targets = [n for n in (past.n_target, n_target) if n is not None]
        self._write_manifest(replace(past, provenance=history, n_target=max(targets, default=None)))

    def _write_problems(self, problems: Sequence[Problem]) -> None:
        file = _problem_file(self.path)
        lines = [orjson.dumps(file.header) + b"\n", *map(dump_record, problems)]
        write_atomically(file.path, b"".join(lines))

    def _write_manifest(self, manifest: Manifest) -> None:
        row = {"schema": f"opo_eval.manifest/{SCHEMA_VERSION}", **asdict(manifest)}
        write_atomically(self.path / _MANIFEST, orjson.dumps(row, option=orjson.OPT_INDENT_2))


def begun_run(path: str | os.PathLike[str]) -> RunDir | None:
    """The run directory at a path; None where none was begun there."""
    return RunDir(path) if (Path(path) / _MANIFEST).is_file() else None


def run_path(out: str | os.PathLike[str], checkpoint: str, benchmark: str) -> Path:
    """`<out>/<checkpoint>/<benchmark>`; a name that no folder should have is made safe and given a digest.

    A folder's name has at most 120 bytes of UTF-8.
    """
    return Path(out) / _folder_name(checkpoint) / _folder_name(benchmark)


def _folder_name(name: str) -> str:
    safe = re.sub(r"[^\w.@+=-]+", "__", name).strip("_.")
    if not safe:
        raise InputError(f"{name!r} cannot name a folder: give a name with a letter or a digit")
    if safe == name and len(name.encode()) <= _LONGEST_FOLDER_NAME:
        return name
    # Two names may be made safe or cut to the same text: the digest keeps their folders apart.
    digest = "-" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return safe.encode()[: _LONGEST_FOLDER_NAME - len(digest)].decode("utf-8", "ignore") + digest


def find_runs(path: str | os.PathLike[str]) -> list[RunDir]:
    """The run directories at or below a path, in order of their names, step_200 before step_1000.

    Raises StoreError where there is none or a folder cannot be read.
    """
    root = Path(path)
    with _explained("look for runs in", root):
        found = [manifest.parent for manifest in root.rglob(_MANIFEST) if _is_run_manifest(manifest)]
    found.sort(key=_natural_order)
    if not found:
        return [RunDir(root)]
    return [RunDir(directory) for directory in found]


def _natural_order(path: Path) -> tuple[list[list[str | int]], Path]:
    """Digits compare as numbers; the path itself decides between 7 and 07."""
    parts = [re.split("([0-9]+)", part) for part in path.parts]
    return [[int(piece) if at % 2 else piece for at, piece in enumerate(part)] for part in parts], path


def read_manifest(path: Path) -> Manifest:
    """Decode a manifest. Raises StoreError for a damaged one or another schema version."""
    with _explained("read", path):
        data = path.read_bytes()
    try:
        row = orjson.loads(data)
        schema = row.pop("schema", "none")
        if schema != f"opo_eval.manifest/{SCHEMA_VERSION}":
            raise StoreError(
                f"{path} has schema {schema!r}, this version of opo_eval reads "
                f"'opo_eval.manifest/{SCHEMA_VERSION}': use the version that wrote it"
            )
        return from_dict(Manifest, row)
    except (ValueError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise StoreError(f"{path} cannot be read as a manifest: {error}; restore it from a copy") from None


def settings_differences(old: RunSettings, new: RunSettings) -> list[str]:
    """Name every field in which two settings differ, with both values.

    The checkpoint's path does not count: one model has many, and its digest says which model it is.
    """
    before, after = _flatten(asdict(old)), _flatten(asdict(new))
    names = [
        name for name in before | after if name != "checkpoint.path" and before.get(name) != after.get(name)
    ]
    return [f"{name} was {before.get(name)!r}, now {after.get(name)!r}" for name in names]


def _refuse_other_settings(path: Path, old: RunSettings, new: RunSettings) -> None:
    differences = settings_differences(old, new)
    if differences:
        raise StoreError(
            f"{path} was made with other settings: {'; '.join(differences)}: give the old settings to "
            "continue it, or another --out to start anew"
        )


def _refuse_samples_without_manifest(path: Path) -> None:
    file = _sample_file(path)
    if any(True for _ in file):
        raise StoreError(
            f"{file.path} has samples, but {_MANIFEST}, which says how they were made, is missing: restore "
            "it or move the folder away"
        )


def _refuse_unknown_problems(path: Path, problem_ids: Iterable[str]) -> None:
    unknown = set(problem_ids) - {problem_id for (problem_id,) in _problem_file(path).places()}
    if unknown:
        raise StoreError(
            f"{_sample_file(path).path} has samples of problem {min(unknown)!r}, which problems.jsonl lacks: "
            "restore problems.jsonl or delete those lines"
        )


def _flatten(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _code_of(provenance: Provenance) -> Provenance:
    return replace(provenance, created="")


def make_directory(path: Path) -> None:
    """Make a folder that may be there already; StoreError where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {path}: {error.strerror}; give another --out") from error


def take_lock(path: Path) -> int:
    """Descriptor of a lock file that is held until it is closed; StoreError where another process has it."""
    with _explained("lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor, path.parent)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _lock(descriptor: int, directory: Path) -> None:
    # A flock is released by the kernel however its holder ends, so a killed writer leaves no stale lock.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise StoreError(
            f"{directory} is being written by process {holder}: wait for it or stop it, then try again"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _hint(path: Path) -> str:
    if not path.exists():
        return "; there is nothing at that path"
    below = sorted(manifest.parent for manifest in path.glob(f"*/**/{_MANIFEST}"))
    return f"; below it lie {', '.join(map(str, below[:3]))}" if below else ""


def _is_run_manifest(path: Path) -> bool:
    return (path.parent / "problems.jsonl").is_file()


def _problem_file(path: Path) -> RecordFile:
    return RecordFile(path / "problems.jsonl", "problems", Problem, {"id": str})


def _sample_file(path: Path) -> RecordFile:
    """Compressed; plain in a run that has its samples so, from an earlier version or made by hand."""
    plain, packed = path / "samples.jsonl", path / "samples.jsonl.zst"
    with _explained("read", path):
        is_plain, is_packed = plain.exists(), packed.exists()
    if is_plain and is_packed:
        raise StoreError(
            f"{path} has its samples twice, in {plain.name} and in {packed.name}: keep the one that the run "
            "goes on with and move the other away"
        )
    return RecordFile(plain if is_plain else packed, "samples", Sample, {"problem_id": str, "index": int})


def _grade_file(path: Path) -> RecordFile:
    key = {"problem_id": str, "index": int, "grader": str}
    return RecordFile(path / "grades.jsonl", "grades", Grade, key)


def _token_stats_file(path: Path) -> RecordFile:
    key = {"problem_id": str, "index": int, "scorer": str, "temperature": float}
    return RecordFile(path / "token_stats.jsonl", "token_stats", TokenStats, key)
