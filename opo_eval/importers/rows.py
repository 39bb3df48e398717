"""The rows of a log of generations, each read in the roles that its columns have and checked."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from opo_eval.errors import InputError, UsageError
from opo_eval.importers.cells import Cells, Response, ScoreReader
from opo_eval.importers.log import Log
from opo_eval.importers.plan import ROLES, ReadPlan
from opo_eval.importers.template import taken_off
from opo_eval.problems import load_problems, make_problem, normalise_text
from opo_eval.records import Problem
from opo_eval.tabular import require_columns
from opo_eval.wording import listed


class Place(NamedTuple):
    checkpoint: str
    benchmark: str


class Trained(NamedTuple):
    """What a row says of how its checkpoint was trained."""

    method: str | None
    train_seed: int | None
    step: int | None


class Row(NamedTuple):
    """One row, checked."""

    where: str
    place: Place
    problem: Problem
    responses: list[Response]
    trained: Trained


class Reader:
    """Reads a log's rows, as often as asked, in the roles that its columns have."""

    def __init__(self, plan: ReadPlan, log: Log) -> None:
        self.plan, self.log = plan, log
        self.columns = {**log.columns, **_asked_columns(plan, log)}
        self.tags = [tag for tag in self.columns.pop("tags", "").split(",") if tag]
        self.unjoined: Counter[str] = Counter()
        self.notes = list(log.notes)
        self._read_score = ScoreReader(plan.correct_from)
        self._pool = _ProblemPool(plan) if plan.problems else None
        if self._pool is None and "gold" not in self.columns:
            raise InputError(
                f"{log.path} has no column for the gold answer: name it with --map gold=COLUMN, or name the "
                "problem set to take golds from with --problems NAME_OR_FILE"
            )
        self.scores = self._usable_scores()

    def rows(self) -> Iterator[Row]:
        """Yield every row that can be joined; others are counted in `unjoined`."""
        self.unjoined.clear()
        for where, row in self.log.rows():
            problem = self._problem(row, where)
            if problem is not None:
                yield self._checked(row, where, problem)

    def _checked(self, row: Mapping[str, Any], where: str, problem: Problem) -> Row:
        cell = self._cells(row, where)
        checkpoint = cell.text("checkpoint") or self.log.checkpoint
        if not checkpoint:
            raise InputError(f"{where} does not say who answered: name it with --checkpoint")
        return Row(
            where=where,
            place=Place(checkpoint, problem.benchmark),
            problem=problem,
            responses=cell.responses(self.scores),
            trained=Trained(
                method=cell.text("method"),
                train_seed=cell.whole("train_seed", cell.value("train_seed")),
                step=cell.whole("step", cell.value("step")),
            ),
        )

    def _cells(self, row: Mapping[str, Any], where: str) -> Cells:
        return Cells(row, self.columns, where, self._read_score)

    def _usable_scores(self) -> tuple[str, ...]:
        """The score that was asked for, or those of the format's that are verdicts throughout."""
        if "score" in self.columns:
            return (self.columns["score"],)
        odd: dict[str, Any] = {}
        for _, row in self.log.rows() if self.log.scores else ():
            for column in self.log.scores:
                values = [value for value in _each(row.get(column)) if self._read_score(value) is None]
                if values:
                    odd[column] = values[0]
        self.notes += [
            f"the score {column!r} is left out: it is {value!r:.60} of some response, not 0 or 1; "
            "--correct-from X takes it as a verdict"
            for column, value in odd.items()
        ]
        return tuple(column for column in self.log.scores if column not in odd)

    def _problem(self, row: Mapping[str, Any], where: str) -> Problem | None:
        cell = self._cells(row, where)
        source_id, prompt = cell.text("id"), cell.text("problem")
        if prompt and self.plan.template:
            prompt = taken_off(self.plan.template, prompt, where)
        if not source_id and not prompt:
            raise InputError(f"{where} names no problem: it needs an id or a problem text in a mapped column")
        # Formats name the fields of a document within `doc`.
        tags = {tag.removeprefix("doc."): str(row[tag]) for tag in self.tags if row.get(tag) is not None}
        named = cell.text("benchmark") or self.plan.benchmark
        if self._pool is None:
            # Without a text the id stands in for it: runs of one file still agree on what was asked.
            return make_problem(
                benchmark=named or self._logged_benchmark(where),
                source_id=source_id or normalise_text(prompt or "")[:60],
                prompt=prompt or source_id or "",
                answer=cell.gold(),
                tags=tags,
            )
        # A tool's own numbering may coincide with a set's.
        joins_by_id = self.log.ids_are_the_sets or "id" in self.plan.columns
        joined = self._pool.find(source_id if joins_by_id else None, prompt)
        if joined is None:
            self.unjoined[source_id or (prompt or "")[:60]] += 1
            return None
        # A column found by its usual name may hold the model's own answer.
        if "gold" in self.plan.columns:
            _refuse_other_gold(where, joined, cell.gold())
        return make_problem(
            benchmark=named or joined.benchmark,
            source_id=joined.source_id,
            prompt=joined.prompt,
            answer=joined.answer,
            tags={**joined.tags, **tags},
        )

    def _logged_benchmark(self, where: str) -> str:
        if not self.log.benchmark:
            raise UsageError(
                f"{where}: a log of {self.log.format} does not say what was asked: name it with --benchmark, "
                "or name the problem set with --problems"
            )
        return self.log.benchmark


def _asked_columns(plan: ReadPlan, log: Log) -> dict[str, str]:
    _, first = next(iter(log.rows()))
    for role, column in plan.columns.items():
        if role not in ROLES:
            raise UsageError(f"--map has no role {role!r}: choose among {listed(ROLES)}")
        require_columns(first, column.split(",") if role == "tags" else (column,), log.path)
    return dict(plan.columns)


def _each(cell: Any) -> list[Any]:
    return cell if isinstance(cell, list) else [cell]


class _ProblemPool:
    """Problems to join rows with, by id or by text."""

    def __init__(self, plan: ReadPlan) -> None:
        problems = load_problems(plan.problems or "", source=plan.source)
        self._by_id = {problem.source_id: problem for problem in problems}
        self._by_text = {normalise_text(problem.prompt): problem for problem in problems}

    def find(self, source_id: str | None, prompt: str | None) -> Problem | None:
        by_id = self._by_id.get(source_id) if source_id else None
        return by_id or (self._by_text.get(normalise_text(prompt)) if prompt else None)


def _refuse_other_gold(where: str, problem: Problem, gold: str) -> None:
    if _as_number(gold) != _as_number(problem.answer):
        raise InputError(
            f"{where} has the gold {gold!r}, the problem set has {problem.answer!r} for "
            f"{problem.source_id!r}: leave gold out of --map to take the set's, or correct one of them"
        )


def _as_number(gold: str) -> float | str:
    try:
        return float(gold)
    except ValueError:
        return normalise_text(gold)
