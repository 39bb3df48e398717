"""Logs of generations → run directories.

A row is one sample, or a problem with a list of samples. Every log is read twice: once to check every row and
collect the problems, so that a bad row is found before anything is written, and once to write; once again
for every further 64 run directories.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opo_eval.errors import InputError
from opo_eval.importers.cells import Response
from opo_eval.importers.log import Log
from opo_eval.importers.plan import ImportPlan
from opo_eval.importers.rows import Place, Reader, Row, Trained
from opo_eval.problems import dataset_sha256
from opo_eval.provenance import current_provenance
from opo_eval.records import Checkpoint, Grade, Problem, Provenance, Reason, RunSettings, Sample
from opo_eval.store import RunWriter, run_path
from opo_eval.tabular import file_sha256
from opo_eval.wording import counted, some_of

# Each open run holds three files, and a process may often have no more than 256.
_MOST_OPEN = 64


@dataclass
class Imported:
    """What an import wrote, and what it left out."""

    runs: dict[Path, int] = field(default_factory=dict)
    """Run directory → samples added now."""
    already_there: int = 0
    unjoined: Counter[str] = field(default_factory=Counter)
    """Problem as the log names it → rows that were left out."""
    n_empty: int = 0
    """Responses without any text."""
    notes: list[str] = field(default_factory=list)
    """What else a person should know."""

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
        return said + self.notes


def import_logs(plan: ImportPlan, logs: Sequence[Log]) -> Imported:
    """Import every row of every log into `<out>/<checkpoint>/<benchmark>/`.

    Raises InputError for the first row that cannot be used, naming it, before anything is written;
    StoreError where a run directory holds something else. The same import again adds what is missing.
    """
    done = Imported()
    readers = [Reader(plan, log) for log in logs]
    surveys = [survey_of(reader) for reader in readers]
    _refuse_shared_places(readers, surveys)
    for reader, survey in zip(readers, surveys, strict=True):
        _write_log(plan, reader, survey, done)
    return done


def _refuse_shared_places(readers: Sequence[Reader], surveys: Sequence[Mapping[Place, "Survey"]]) -> None:
    first: dict[Place, Path] = {}
    for reader, survey in zip(readers, surveys, strict=True):
        for key in survey:
            if key in first:
                raise InputError(
                    f"{first[key]} and {reader.log.path} are both of {key.checkpoint} on {key.benchmark}: "
                    "import one, or each by itself with a --benchmark or --checkpoint of its own"
                )
            first[key] = reader.log.path


def _write_log(plan: ImportPlan, reader: Reader, survey: Mapping[Place, "Survey"], done: Imported) -> None:
    source = f"{reader.log.path.name} sha256:{file_sha256(reader.log.path)}"
    provenance = current_provenance()
    places = list(survey)
    for start in range(0, len(places), _MOST_OPEN):
        with ExitStack() as stack:
            writers = {
                key: stack.enter_context(_open_run(plan, key, survey[key], source, provenance))
                for key in places[start : start + _MOST_OPEN]
            }
            before = {key: len(writer.samples.keys) for key, writer in writers.items()}
            done.already_there += _write(reader, writers)
            done.runs |= {w.path: len(w.samples.keys) - before[key] for key, w in writers.items()}
    done.unjoined += reader.unjoined
    done.notes += reader.notes
    done.n_empty += sum(found.n_empty for found in survey.values())


# --- first reading: is every row good, and which problems are there ----------------------------------


@dataclass
class Survey:
    """What the rows of one checkpoint on one benchmark are about."""

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


def survey_of(reader: Reader) -> dict[Place, Survey]:
    """Check every row, and collect what they are about. Raises InputError for the first that is no good."""
    found: dict[Place, Survey] = defaultdict(Survey)
    for row in reader.rows():
        _add_row(found[row.place], row, reader.plan.first)
    if not found:
        raise InputError(f"no row of {reader.log.path} could be imported: {_why_none(reader)}")
    return dict(found)


def _add_row(survey: Survey, row: Row, first: int | None) -> None:
    known = survey.problems.setdefault(row.problem.id, row.problem)
    if known.answer != row.problem.answer:
        raise InputError(
            f"{row.where} gives problem {row.problem.source_id!r} the gold {row.problem.answer!r}, "
            f"an earlier row {known.answer!r}: correct one of them"
        )
    survey.trained.add(row.trained)
    for sample, _ in samples_of(row, survey.n_samples, first):
        key = sample.problem_id, sample.index
        if key in survey.keys:
            raise InputError(
                f"{row.where} repeats sample {sample.index} of problem {row.problem.source_id!r} of "
                f"{row.place.checkpoint} (first at {survey.keys[key]}): remove one, or map no column to "
                "`index`, which numbers samples in the order of the rows"
            )
        survey.keys[key] = row.where
        survey.n_empty += not sample.text.strip()


def _why_none(reader: Reader) -> str:
    return f"none of its problems ({some_of(reader.unjoined)}) is in {reader.plan.problems!r} by id or text"


# --- second reading: write --------------------------------------------------------------------------


def _open_run(plan: ImportPlan, key: Place, found: Survey, source: str, provenance: Provenance) -> RunWriter:
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
        samples = list(samples_of(row, counts[row.place], reader.plan.first))
        new = [s for s, _ in samples if (s.problem_id, s.index) not in writer.samples.keys]
        already_there += len(samples) - len(new)
        writer.append_samples(new)
        writer.append_grades(g for g in grades_of(samples) if _is_new(writer, g))
    return already_there


def samples_of(row: Row, counts: Counter[str], first: int | None) -> Iterator[tuple[Sample, Response]]:
    """The row's samples, each with what it is from; counts: samples of each problem until now, kept up."""
    for response in row.responses:
        index = counts[row.problem.id] if response.index is None else response.index
        counts[row.problem.id] += 1
        if first is None or index < first:
            yield _sample(row, response, index), response


def _sample(row: Row, response: Response, index: int) -> Sample:
    return Sample(
        checkpoint=row.place.checkpoint,
        problem_id=row.problem.id,
        index=index,
        text=response.text,
        finish=response.finish,
        n_tokens=response.n_tokens,
    )


def grades_of(samples: Sequence[tuple[Sample, Response]]) -> Iterator[Grade]:
    """The grades that the rows themselves hold, of a grader a column."""
    for sample, response in samples:
        for column, verdict in response.scores.items():
            yield Grade(
                problem_id=sample.problem_id,
                index=sample.index,
                verdict=verdict,
                reason=Reason.SOURCE,
                grader=f"source:{column}",
            )


def _is_new(writer: RunWriter, grade: Grade) -> bool:
    return writer.grades.file.key_of(grade) not in writer.grades.keys
