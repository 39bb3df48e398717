"""Generations in a table (JSON Lines, JSON, CSV, Parquet) → run directories.

A row is one sample, or a problem with a list of samples. The file is read twice: once to check every
row and collect the problems, so that a bad row is found before anything is written, and once to write;
once again for every further 64 run directories.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opo_eval.errors import InputError
from opo_eval.importers.rows import ImportPlan, Place, Reader, Row, Trained
from opo_eval.problems import dataset_sha256
from opo_eval.provenance import current_provenance
from opo_eval.records import Checkpoint, Grade, Problem, Provenance, Reason, RunSettings, Sample
from opo_eval.store import RunWriter, run_path
from opo_eval.tabular import file_sha256
from opo_eval.wording import counted, some_of

# Each open run holds three files, and a process may often have no more than 256.
_MOST_OPEN = 64


@dataclass(frozen=True)
class Imported:
    """What an import wrote, and what it could not join."""

    runs: dict[Path, int]
    """Run directory → samples added now."""
    already_there: int
    unjoined: Counter[str]
    """Problem as the file names it → rows that were left out."""
    n_empty: int
    """Responses without any text."""

    def sentences(self) -> list[str]:
        """What happened, for a person."""
        said = [f"{path}: {counted(n, 'sample')} added" for path, n in self.runs.items()]
        if self.already_there:
            said.append(f"{counted(self.already_there, 'sample')} there already")
        if self.unjoined:
            rows, problems = self.unjoined.total(), len(self.unjoined)
            said.append(
                f"left out: {counted(rows, 'row')} of {counted(problems, 'problem')} that could not be "
                f"joined by id or text ({some_of(self.unjoined)})"
            )
        if self.n_empty:
            said.append(f"empty responses, which count as samples without an answer: {self.n_empty}")
        return said


def import_table(plan: ImportPlan) -> Imported:
    """Import every row of a table into `<out>/<checkpoint>/<benchmark>/`.

    Raises InputError for the first row that cannot be used, naming it, before anything is written;
    StoreError where a run directory holds something else. The same import again adds what is missing.
    """
    reader = Reader(plan)
    survey = _survey(reader)
    source = f"{plan.path.name} sha256:{file_sha256(plan.path)}"
    provenance = current_provenance()
    added: dict[Path, int] = {}
    already_there = 0
    places = list(survey)
    for start in range(0, len(places), _MOST_OPEN):
        with ExitStack() as stack:
            writers = {
                key: stack.enter_context(_open_run(plan, key, survey[key], source, provenance))
                for key in places[start : start + _MOST_OPEN]
            }
            before = {key: len(writer.samples.keys) for key, writer in writers.items()}
            already_there += _write(reader, writers)
            added |= {w.path: len(w.samples.keys) - before[key] for key, w in writers.items()}
    return Imported(added, already_there, reader.unjoined, sum(found.n_empty for found in survey.values()))


# --- first reading: is every row good, and which problems are there ----------------------------------


@dataclass
class _Survey:
    problems: dict[str, Problem] = field(default_factory=dict)
    keys: dict[tuple[str, int], str] = field(default_factory=dict)
    n_samples: Counter[str] = field(default_factory=Counter)
    trained: set[Trained] = field(default_factory=set)
    n_empty: int = 0

    def how_trained(self) -> dict[str, Any]:
        """Method, training seed and step, as far as the rows that name one agree."""
        columns = zip(Trained._fields, zip(*self.trained, strict=True), strict=True)
        named = {name: {value for value in values if value is not None} for name, values in columns}
        return {name: values.pop() for name, values in named.items() if len(values) == 1}


def _survey(reader: Reader) -> dict[Place, _Survey]:
    found: dict[Place, _Survey] = defaultdict(_Survey)
    for row in reader.rows():
        _add_row(found[row.place], row)
    if not found:
        raise InputError(f"no row of {reader.plan.path} could be imported: {_why_none(reader)}")
    return dict(found)


def _add_row(survey: _Survey, row: Row) -> None:
    known = survey.problems.setdefault(row.problem.id, row.problem)
    if known.answer != row.problem.answer:
        raise InputError(
            f"{row.where} gives problem {row.problem.source_id!r} the gold {row.problem.answer!r}, "
            f"an earlier row {known.answer!r}: correct one of them"
        )
    survey.n_empty += sum(not response.text.strip() for response in row.responses)
    survey.trained.add(row.trained)
    for sample in _samples(row, survey.n_samples):
        key = sample.problem_id, sample.index
        if key in survey.keys:
            raise InputError(
                f"{row.where} repeats sample {sample.index} of problem {row.problem.source_id!r} of "
                f"{row.place.checkpoint} (first at {survey.keys[key]}): remove one, or leave `index` out of "
                "--map to number samples in the order of the file"
            )
        survey.keys[key] = row.where


def _why_none(reader: Reader) -> str:
    return f"none of its problems ({some_of(reader.unjoined)}) is in {reader.plan.problems!r} by id or text"


# --- second reading: write --------------------------------------------------------------------------


def _open_run(plan: ImportPlan, key: Place, found: _Survey, source: str, provenance: Provenance) -> RunWriter:
    problems = tuple(found.problems.values())
    settings = RunSettings(
        checkpoint=Checkpoint(name=key.checkpoint, **found.how_trained()),
        benchmark=key.benchmark,
        dataset_sha256=dataset_sha256(problems),
        think=plan.think,
        source=source,
    )
    path = run_path(plan.out, key.checkpoint, key.benchmark)
    return RunWriter(path, settings, problems, provenance=provenance)


def _write(reader: Reader, writers: Mapping[Place, RunWriter]) -> int:
    counts: dict[Place, Counter[str]] = defaultdict(Counter)
    already_there = 0
    for row in reader.rows():
        if row.place not in writers:
            continue
        writer = writers[row.place]
        samples = list(_samples(row, counts[row.place]))
        new = [s for s in samples if (s.problem_id, s.index) not in writer.samples.keys]
        already_there += len(samples) - len(new)
        writer.append_samples(new)
        writer.append_grades(g for g in _grades(row, samples, reader) if _is_new(writer, g))
    return already_there


def _samples(row: Row, counts: Counter[str]) -> Iterator[Sample]:
    for response in row.responses:
        index = counts[row.problem.id] if response.index is None else response.index
        counts[row.problem.id] += 1
        yield Sample(
            checkpoint=row.place.checkpoint,
            problem_id=row.problem.id,
            index=index,
            text=response.text,
            finish=response.finish,
            n_tokens=response.n_tokens,
        )


def _grades(row: Row, samples: Sequence[Sample], reader: Reader) -> Iterator[Grade]:
    for sample, response in zip(samples, row.responses, strict=True):
        if response.score is not None:
            yield Grade(
                problem_id=sample.problem_id,
                index=sample.index,
                verdict=response.score,
                reason=Reason.SOURCE,
                grader=f"source:{reader.columns['score']}",
            )


def _is_new(writer: RunWriter, grade: Grade) -> bool:
    return writer.grades.file.key_of(grade) not in writer.grades.keys
