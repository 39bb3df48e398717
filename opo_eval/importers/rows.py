"""The rows of a table of generations, each read in the roles that its columns have and checked."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from opo_eval.errors import InputError, UsageError
from opo_eval.problems import load_problems, make_problem, normalise_text
from opo_eval.problems.identity import answer_text
from opo_eval.problems.user_file import benchmark_name
from opo_eval.records import Finish, Problem, Think, Verdict
from opo_eval.tabular import place, read_rows, require_columns
from opo_eval.wording import listed

USUAL_COLUMNS = {
    "response": ("response", "responses", "completion", "completions", "generation", "output"),
    "gold": ("gold", "answer", "target", "expected_answer"),
    "problem": ("problem", "question", "prompt"),
    "id": ("problem_id", "unique_id", "id"),
}
"""First that a file has, where `--map` does not say."""

OPTIONAL_ROLES = (
    "checkpoint", "benchmark", "index", "finish", "n_tokens", "score", "method", "train_seed", "step", "tags",
)  # fmt: skip
ROLES = (*USUAL_COLUMNS, *OPTIONAL_ROLES)

FINISHES = {
    "stop": Finish.STOP,
    "eos": Finish.STOP,
    "eos_token": Finish.STOP,
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "max_length": Finish.LENGTH,
    "abort": Finish.ABORTED,
    "aborted": Finish.ABORTED,
    "error": Finish.ABORTED,
}

SCORES = {
    "0": Verdict.WRONG,
    "0.0": Verdict.WRONG,
    "false": Verdict.WRONG,
    "1": Verdict.CORRECT,
    "1.0": Verdict.CORRECT,
    "true": Verdict.CORRECT,
}


@dataclass(frozen=True, kw_only=True)
class ImportPlan:
    """What to import and how.

    columns: role (a name in `ROLES`) → column; `tags` → columns separated by commas. checkpoint and
    benchmark: names for files without such a column. problems: a built-in set or a file to join with,
    by id or by text.
    """

    path: Path
    out: Path
    think: Think
    columns: Mapping[str, str] = field(default_factory=dict)
    checkpoint: str | None = None
    benchmark: str | None = None
    problems: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Response:
    """One response of a row, with what the row says of it; index None: numbered by the file's order."""

    text: str
    index: int | None
    finish: Finish | None
    n_tokens: int | None
    score: Verdict | None


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


# --- rows -------------------------------------------------------------------------------------------


class Reader:
    """Reads the table's rows, as often as asked, in the roles that its columns have."""

    def __init__(self, plan: ImportPlan) -> None:
        self.plan = plan
        self.columns = self._choose_columns()
        self.tags = [tag for tag in self.columns.pop("tags", "").split(",") if tag]
        self.unjoined: Counter[str] = Counter()
        self._pool = _ProblemPool(plan) if plan.problems else None
        if self._pool is None and "gold" not in self.columns:
            raise InputError(
                f"{plan.path} has no column for the gold answer: name it with --map gold=COLUMN, or name the "
                "problem set to take golds from with --problems NAME_OR_FILE"
            )

    def rows(self) -> Iterator[Row]:
        """Yield every row that can be joined; others are counted in `unjoined`."""
        self.unjoined.clear()
        for number, row in read_rows(self.plan.path):
            where = place(self.plan.path, number)
            problem = self._problem(row, where)
            if problem is not None:
                yield self._checked(row, where, problem)

    def _checked(self, row: Mapping[str, Any], where: str, problem: Problem) -> Row:
        cell = _Cells(row, self.columns, where)
        return Row(
            where=where,
            place=Place(
                cell.text("checkpoint") or self.plan.checkpoint or benchmark_name(self.plan.path),
                problem.benchmark,
            ),
            problem=problem,
            responses=cell.responses(),
            trained=Trained(
                method=cell.text("method"),
                train_seed=cell.whole("train_seed", cell.value("train_seed")),
                step=cell.whole("step", cell.value("step")),
            ),
        )

    def _choose_columns(self) -> dict[str, str]:
        _, first = next(iter(read_rows(self.plan.path)))
        for role, column in self.plan.columns.items():
            if role not in ROLES:
                raise UsageError(f"--map has no role {role!r}: choose among {listed(ROLES)}")
            require_columns(first, column.split(",") if role == "tags" else (column,), self.plan.path)
        usual = {
            role: next((name for name in names if name in first), None)
            for role, names in USUAL_COLUMNS.items()
        }
        chosen = {role: column for role, column in usual.items() if column} | dict(self.plan.columns)
        if "response" not in chosen:
            raise InputError(
                f"{self.plan.path} has no column named {listed(USUAL_COLUMNS['response'])}: name the one "
                f"that holds the responses with --map response=COLUMN; it has {listed(first)}"
            )
        return chosen

    def _problem(self, row: Mapping[str, Any], where: str) -> Problem | None:
        cell = _Cells(row, self.columns, where)
        source_id, prompt = cell.text("id"), cell.text("problem")
        if not source_id and not prompt:
            raise InputError(f"{where} names no problem: it needs an id or a problem text in a mapped column")
        benchmark = cell.text("benchmark") or self.plan.benchmark
        tags = {tag: str(row[tag]) for tag in self.tags if row.get(tag) is not None}
        if self._pool is None:
            # Without a text the id stands in for it: runs of one file still agree on what was asked.
            return make_problem(
                benchmark=benchmark or benchmark_name(self.plan.path),
                source_id=source_id or normalise_text(prompt or "")[:60],
                prompt=prompt or source_id or "",
                answer=cell.gold(),
                tags=tags,
            )
        joined = self._pool.find(source_id, prompt)
        if joined is None:
            self.unjoined[source_id or (prompt or "")[:60]] += 1
            return None
        # A column found by its usual name may hold the model's own answer.
        if "gold" in self.plan.columns:
            _refuse_other_gold(where, joined, cell.gold())
        return make_problem(
            benchmark=benchmark or joined.benchmark,
            source_id=joined.source_id,
            prompt=joined.prompt,
            answer=joined.answer,
            tags={**joined.tags, **tags},
        )


class _ProblemPool:
    """Problems to join rows with, by id or by text."""

    def __init__(self, plan: ImportPlan) -> None:
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


# --- cells ------------------------------------------------------------------------------------------


_Cell = TypeVar("_Cell")


class _Cells:
    """A row's values by role; every complaint names the row, the column and the value."""

    def __init__(self, row: Mapping[str, Any], columns: Mapping[str, str], where: str) -> None:
        self.row, self.columns, self.where = row, columns, where

    def value(self, role: str) -> Any:
        """The cell of a role; None where the role has no column or the cell is empty."""
        column = self.columns.get(role)
        return None if column is None else self.row.get(column)

    def text(self, role: str) -> str | None:
        """A name as text."""
        value = self.value(role)
        return None if value is None else str(value).strip() or None

    def gold(self) -> str:
        """The gold answer as text."""
        value = self.value("gold")
        text = answer_text(value)
        if text is None:
            raise self._bad("gold", value, "text or a number")
        return text

    def responses(self) -> list[Response]:
        """The response, or the list of them, each with its own cells."""
        texts = self.texts()
        columns = (
            self.indices(len(texts)),
            self.per_response("finish", len(texts), self.finish),
            self.per_response("n_tokens", len(texts), self.whole),
            self.per_response("score", len(texts), self.score),
        )
        return [Response(*cells) for cells in zip(texts, *columns, strict=True)]

    def texts(self) -> list[str]:
        """The text of every response."""
        value = self.value("response")
        responses = value if isinstance(value, list) else [value]
        for response in responses:
            if not isinstance(response, str):
                raise self._bad("response", response, "text, or a list of texts")
        if not responses:
            raise self._bad("response", value, "text, or a list of texts")
        return responses

    def indices(self, n: int) -> list[int | None]:
        """The index of every response; one number beside several is the first one's."""
        value = self.value("index")
        if value is None or isinstance(value, list):
            return self.per_response("index", n, self.whole)
        first = self.whole("index", value)
        return [None if first is None else first + offset for offset in range(n)]

    def per_response(self, role: str, n: int, read: Callable[[str, Any], _Cell]) -> list[_Cell]:
        """A cell that says something of each of the row's `n` responses."""
        value = self.value(role)
        if not isinstance(value, list):
            if n > 1 and value is not None:
                raise self._bad(role, value, f"a list of {n}, as the row has {n} responses")
            return [read(role, value)] * n
        if len(value) != n:
            raise self._bad(role, value, f"a list of {n}, one a response, and has {len(value)}")
        return [read(role, one) for one in value]

    def whole(self, role: str, value: Any) -> int | None:
        """A whole number that is not negative and fits in 63 bits."""
        if value is None:
            return None
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            raise self._bad(role, value, "a whole number") from None
        if number < 0 or (number != value and not isinstance(value, str)):
            raise self._bad(role, value, "a whole number")
        if number >= 2**63:
            raise self._bad(role, value, "a whole number below 2**63")
        return number

    def finish(self, role: str, value: Any) -> Finish | None:
        """How generation ended."""
        if value is None:
            return None
        if str(value).lower() not in FINISHES:
            raise self._bad(role, value, f"one of {', '.join(FINISHES)}")
        return FINISHES[str(value).lower()]

    def score(self, role: str, value: Any) -> Verdict | None:
        """The file's own score as a verdict."""
        if value is None and role not in self.columns:
            return None
        if str(value).lower() not in SCORES:
            raise self._bad(role, value, "0 or 1, true or false")
        return SCORES[str(value).lower()]

    def _bad(self, role: str, value: Any, allowed: str) -> InputError:
        column = self.columns.get(role)
        shown = "nothing" if value is None else f"{value!r:.60}"
        return InputError(f"{self.where}: {role} (column {column!r}) is {shown}, it has to be {allowed}")
