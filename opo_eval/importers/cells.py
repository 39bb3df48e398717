"""The cells of one row of a log, by role, each checked; a complaint names row, column and value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, TypeVar

from opo_eval.errors import InputError
from opo_eval.problems.identity import answer_text
from opo_eval.records import Finish, Verdict

FINISHES = {
    "stop": Finish.STOP,
    "eos": Finish.STOP,
    "eos_token": Finish.STOP,
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "max_length": Finish.LENGTH,
    "model_length": Finish.LENGTH,
    "abort": Finish.ABORTED,
    "aborted": Finish.ABORTED,
    "error": Finish.ABORTED,
    "content_filter": Finish.ABORTED,
}

SCORES = {
    "0": Verdict.WRONG,
    "0.0": Verdict.WRONG,
    "false": Verdict.WRONG,
    "1": Verdict.CORRECT,
    "1.0": Verdict.CORRECT,
    "true": Verdict.CORRECT,
    **{verdict.value: verdict for verdict in Verdict},
}


@dataclass(frozen=True)
class ScoreReader:
    """Reads scores as verdicts; from `correct_from` on they are CORRECT, where that is given."""

    correct_from: float | None = None

    @property
    def allowed(self) -> str:
        """What a score has to be, for messages."""
        if self.correct_from is None:
            return (
                f"0 or 1, true or false, or a verdict ({', '.join(Verdict)}); other numbers take the "
                "least that is correct (--correct-from, correct_from=)"
            )
        return "a number, as the least score that is correct is given (correct_from)"

    def __call__(self, value: Any) -> Verdict | None:
        """The verdict; None for a value that cannot be read."""
        if isinstance(value, Verdict):
            return value
        if self.correct_from is None:
            return SCORES.get(str(value).lower())
        try:
            number = float(value)
        except (TypeError, ValueError):
            return None
        return None if isnan(number) else _VERDICTS[number >= self.correct_from]


_VERDICTS = {True: Verdict.CORRECT, False: Verdict.WRONG}


@dataclass(frozen=True, slots=True)
class Response:
    """One response of a row, with what the row says of it; index None: numbered by the file's order."""

    text: str
    index: int | None
    finish: Finish | None
    n_tokens: int | None
    scores: Mapping[str, Verdict]
    """By the column that a score is from."""


_Cell = TypeVar("_Cell")


class Cells:
    """A row's values by role; every complaint names the row, the column and the value."""

    def __init__(
        self, row: Mapping[str, Any], columns: Mapping[str, str], where: str, read_score: ScoreReader
    ) -> None:
        self.row, self.columns, self.where, self._read_score = row, columns, where, read_score

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

    def responses(self, scores: Sequence[str]) -> list[Response]:
        """The response, or the list of them, each with its own cells; scores: their columns."""
        texts = self.texts()
        columns = (
            self.indices(len(texts)),
            self.per_response("finish", len(texts), self.finish),
            self.per_response("n_tokens", len(texts), self.whole),
            self.scores(scores, len(texts)),
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

    def scores(self, columns: Sequence[str], n: int) -> list[dict[str, Verdict]]:
        """The verdicts on each of the row's `n` responses, by column."""
        by_column = {}
        for column in columns:
            cells = Cells(self.row, {"score": column}, self.where, self._read_score)
            by_column[column] = cells.per_response("score", n, cells.score)
        return [{column: verdicts[i] for column, verdicts in by_column.items()} for i in range(n)]

    def score(self, role: str, value: Any) -> Verdict:
        """The tool's own score as a verdict."""
        verdict = self._read_score(value)
        if verdict is None:
            raise self._bad(role, value, self._read_score.allowed)
        return verdict

    def _bad(self, role: str, value: Any, allowed: str) -> InputError:
        column = self.columns.get(role)
        shown = "nothing" if value is None else f"{value!r:.60}"
        return InputError(f"{self.where}: {role} (column {column!r}) is {shown}, it has to be {allowed}")
