"""From golds and responses to verdicts.

Strict, the headline: the answer that the response commits to (`extract`) against the gold. Lenient:
math-verify's own verdict over the whole response, as the paper had it, printed beside it.
"""

import atexit
import hashlib
import inspect
import os
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.metadata import version
from itertools import islice
from threading import Lock
from typing import Any

from opo_eval.errors import InputError, UsageError
from opo_eval.grading import worker
from opo_eval.grading.extract import ANSWER_PLACES, Extraction, extract_answer
from opo_eval.grading.pool import DIED, TIMED_OUT, GradingPool, Job
from opo_eval.records import Reason, Think, Verdict

MAX_LENIENT_CHARS = 500_000
"""math-verify searches a whole response with backtracking patterns; a longer one is not given to it and
gets the lenient verdict GRADER_ERROR. 32,768 tokens of reasoning are about 130,000 characters."""

GRADER_VERSION = 1
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,6})?")
_SURELY_DIFFERENT = Decimal("0.0001")
_BATCH = 512
_MOST_REMEMBERED = 100_000
_MOST_GRADERS = 4


@dataclass(frozen=True, slots=True)
class Outcome:
    """What grading one response gave; `answer` and `reason` belong to the strict verdict."""

    verdict: Verdict
    lenient_verdict: Verdict | None
    extracted: str | None
    reason: Reason


_STRICT = {
    worker.CORRECT: (Verdict.CORRECT, Reason.EQUIVALENT),
    worker.NOT_EQUIVALENT: (Verdict.WRONG, Reason.NOT_EQUIVALENT),
    worker.PARTS_DIFFER: (Verdict.WRONG, Reason.PARTS_DIFFER),
    worker.UNPARSED_ANSWER: (Verdict.WRONG, Reason.UNPARSED_ANSWER),
    worker.UNPARSED_GOLD: (Verdict.GRADER_ERROR, Reason.UNPARSED_GOLD),
    worker.RAISED: (Verdict.GRADER_ERROR, Reason.COMPARISON_RAISED),
    worker.MEMORY: (Verdict.GRADER_ERROR, Reason.MEMORY_LIMIT),
    DIED: (Verdict.GRADER_ERROR, Reason.WORKER_DIED),
    TIMED_OUT: (Verdict.TIMED_OUT, Reason.TIME_LIMIT),
}
_LENIENT = {outcome: verdict for outcome, (verdict, _) in _STRICT.items()} | {
    worker.NO_ANSWER: Verdict.NO_ANSWER
}
_LIMITS = {outcome: _STRICT[outcome] for outcome in (worker.MEMORY, DIED, TIMED_OUT)}
"""What another try may not meet again: it says something of the machine too, and is not remembered."""
_OWN = {
    **{str(verdict): (verdict, Reason.OWN_VERIFIER) for verdict in Verdict},
    **_LIMITS,
    worker.RAISED: (Verdict.GRADER_ERROR, Reason.VERIFIER_RAISED),
}


@dataclass(eq=False)
class _Item:
    """One response on its way through a batch: waits for as many outcomes as it has open jobs."""

    key: Hashable
    extraction: Extraction
    strict: tuple[Verdict, Reason] | None = None
    lenient: Verdict | None = None
    open_jobs: int = 0

    def outcome(self) -> Outcome:
        assert self.strict is not None
        verdict, reason = self.strict
        return Outcome(verdict, self.lenient, self.extraction.answer, reason)


@dataclass(eq=False)
class _Batch:
    """The jobs of a batch, each unique (kind, gold, text) once, with the items that wait for it."""

    waiting: dict[Job, list[_Item]] = field(default_factory=dict)

    def ask(self, item: _Item, job: Job) -> None:
        self.waiting.setdefault(job, []).append(item)
        item.open_jobs += 1


class Grader:
    """Grades responses with a pool of killable workers; a context manager.

    think: how a think section begins. where: the place of the answer, a key of `ANSWER_PLACES`.
    lenient: whether math-verify's verdict over the whole response is wanted too. fast_paths: whether
    equal texts and plain numbers are decided without math-verify, which never changes a verdict. verifier:
    the user's own callable (gold, response) → bool or Verdict, instead of strict and lenient.
    """

    def __init__(
        self,
        *,
        think: Think | str = Think.TAGGED,
        where: str = "boxed",
        lenient: bool = True,
        fast_paths: bool = True,
        workers: int | None = None,
        timeout_s: float = 5.0,
        verifier: Callable[[str, str], Any] | None = None,
    ) -> None:
        if where not in ANSWER_PLACES:
            raise UsageError(f"no answer place {where!r}: choose one of {', '.join(ANSWER_PLACES)}")
        self.think, self.where, self.lenient, self.fast_paths = as_think(think), where, lenient, fast_paths
        self.verifier = verifier
        self.pool = GradingPool(workers=workers, timeout_s=timeout_s, verifier=verifier)
        self._own_name = _identity(verifier) if verifier else None
        self._gold_outcomes: dict[str, str] = {}
        self._verdicts: dict[Job, str] = {}

    @property
    def signature(self) -> str:
        """What a verdict depends on, as it is recorded with every grade."""
        limit = f"limit:{self.pool.timeout_s:g}s"
        if self._own_name:
            return f"own:{self._own_name}|{limit}"
        library = f"math-verify:{version('math-verify')}"
        lenient = f"lenient:{MAX_LENIENT_CHARS if self.lenient else 'no'}"
        return f"strict:{GRADER_VERSION}|at:{self.where}|think:{self.think}|{lenient}|{limit}|{library}"

    def grade(self, items: Iterable[tuple[Hashable, str, str]]) -> Iterator[tuple[Hashable, Outcome]]:
        """Yield (key, outcome) for every (key, gold, response), in batches, as verdicts come in."""
        source = iter(items)
        while batch := list(islice(source, _BATCH)):
            yield from self._grade_own(batch) if self.verifier else self._grade_batch(batch)

    def check_golds(self, golds: Iterable[str]) -> dict[str, bool]:
        """Whether each gold parses and is accepted as its own answer. Raises InputError for an empty one."""
        return {gold: outcome == worker.CORRECT for gold, outcome in self._judge_golds(golds).items()}

    def close(self) -> None:
        """End the workers."""
        self.pool.close()

    def __enter__(self) -> "Grader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _judge_golds(self, golds: Iterable[str]) -> dict[str, str]:
        outcomes = {gold: self._known_gold(gold) for gold in golds}
        unknown = [gold for gold, outcome in outcomes.items() if outcome is None]
        judged = self.pool.run(Job("gold", gold, "") for gold in unknown)
        found = {unknown[position]: outcome for position, outcome in judged}
        self._gold_outcomes |= {gold: outcome for gold, outcome in found.items() if outcome not in _LIMITS}
        return {gold: outcome or found[gold] for gold, outcome in outcomes.items()}

    def _known_gold(self, gold: str) -> str | None:
        if _INTEGER.fullmatch(_checked(gold)) and self.fast_paths:
            return worker.CORRECT
        return self._gold_outcomes.get(gold)

    def _grade_batch(self, batch: list[tuple[Hashable, str, str]]) -> Iterator[tuple[Hashable, Outcome]]:
        golds = self._judge_golds(gold for _, gold, _ in batch)
        jobs = _Batch()
        for key, gold, response in batch:
            item = _Item(key, extract_answer(response, think=self.think, where=self.where))
            item.strict = self._without_worker(gold, item.extraction, golds[gold])
            if item.strict is None:
                jobs.ask(item, Job("strict", gold, item.extraction.answer or ""))
            if self.lenient:
                self._ask_lenient(jobs, item, gold, response)
            if not item.open_jobs:
                yield key, item.outcome()
        yield from self._run(jobs, _STRICT)

    def _without_worker(
        self, gold: str, extraction: Extraction, gold_outcome: str
    ) -> tuple[Verdict, Reason] | None:
        if gold_outcome != worker.CORRECT:
            return _LIMITS.get(gold_outcome, _STRICT[worker.UNPARSED_GOLD])
        if extraction.answer is None:
            reason = extraction.reason or Reason.NO_ANSWER_FOUND
            too_long = reason is Reason.ANSWER_TOO_LONG
            return Verdict.GRADER_ERROR if too_long else Verdict.NO_ANSWER, reason
        return fast_verdict(gold, extraction.answer) if self.fast_paths else None

    def _ask_lenient(self, jobs: _Batch, item: _Item, gold: str, response: str) -> None:
        if len(response) > MAX_LENIENT_CHARS:
            item.lenient = Verdict.GRADER_ERROR
        else:
            jobs.ask(item, Job("lenient", gold, response))

    def _grade_own(self, batch: list[tuple[Hashable, str, str]]) -> Iterator[tuple[Hashable, Outcome]]:
        jobs = _Batch()
        for key, gold, response in batch:
            jobs.ask(_Item(key, Extraction(None, None)), Job("own", gold, response))
        yield from self._run(jobs, _OWN)

    def _run(
        self, batch: _Batch, strict: dict[str, tuple[Verdict, Reason]]
    ) -> Iterator[tuple[Hashable, Outcome]]:
        known = [job for job in batch.waiting if job in self._verdicts]
        for job in known:
            yield from _settle(batch.waiting[job], job, self._verdicts[job], strict)
        jobs = [job for job in batch.waiting if job not in self._verdicts]
        for position, outcome in self.pool.run(jobs):
            job = jobs[position]
            if job.kind == "strict" and outcome not in _LIMITS:
                self._remember(job, outcome)
            yield from _settle(batch.waiting[job], job, outcome, strict)

    def _remember(self, job: Job, outcome: str) -> None:
        if len(self._verdicts) >= _MOST_REMEMBERED:
            self._verdicts.clear()
        self._verdicts[job] = outcome


def _settle(
    items: list[_Item], job: Job, outcome: str, strict: dict[str, tuple[Verdict, Reason]]
) -> Iterator[tuple[Hashable, Outcome]]:
    for item in items:
        if job.kind == "lenient":
            item.lenient = _LENIENT[outcome]
        else:
            item.strict = strict[outcome]
        item.open_jobs -= 1
        if not item.open_jobs:
            yield item.key, item.outcome()


def fast_verdict(gold: str, answer: str) -> tuple[Verdict, Reason] | None:
    """The verdict where it needs no parsing: equal texts (of a gold that accepts itself), plain numbers."""
    gold = gold.strip()
    if gold == answer:
        return Verdict.CORRECT, Reason.EQUAL_TEXT
    if _INTEGER.fullmatch(gold) and _INTEGER.fullmatch(answer):
        same = int(gold) == int(answer)
        return (Verdict.CORRECT, Reason.EQUAL_INTEGER) if same else (Verdict.WRONG, Reason.DIFFERENT_INTEGER)
    if _DECIMAL.fullmatch(gold) and _DECIMAL.fullmatch(answer):
        return _fast_decimal_verdict(abs(Decimal(gold) - Decimal(answer)))
    return None


def _fast_decimal_verdict(difference: Decimal) -> tuple[Verdict, Reason] | None:
    # math-verify rounds to six decimals; what comes near to that is left to it.
    if difference == 0:
        return Verdict.CORRECT, Reason.EQUIVALENT
    return (Verdict.WRONG, Reason.NOT_EQUIVALENT) if difference > _SURELY_DIFFERENT else None


def as_think(think: Think | str) -> Think:
    """A `Think` from its name. Raises UsageError for another name."""
    try:
        return Think(think)
    except ValueError:
        raise UsageError(f"think cannot be {think!r}: choose one of {', '.join(Think)}") from None


def _checked(gold: str) -> str:
    if not gold.strip():
        raise InputError("a gold is empty: every problem needs an answer to be graded against")
    return gold.strip()


def _identity(verifier: Callable[[str, str], Any]) -> str:
    """Qualified name of a verifier and the start of a hash of what it does."""
    named = verifier if hasattr(verifier, "__qualname__") else type(verifier)
    return f"{named.__module__}.{named.__qualname__}:{hashlib.sha256(_content(verifier)).hexdigest()[:8]}"


def _content(verifier: Callable[[str, str], Any]) -> bytes:
    import cloudpickle

    # The bytes of a pickled function vary with the hash seed and with where its file lies.
    if inspect.isfunction(verifier):
        with suppress(OSError):
            source = inspect.getsource(verifier).encode()
            enclosed = [cell.cell_contents for cell in verifier.__closure__ or ()]
            return source + (cloudpickle.dumps(enclosed) if enclosed else b"")
    return cloudpickle.dumps(verifier)


# --- one call ---------------------------------------------------------------------------------------

_graders: dict[tuple[Any, ...], Grader] = {}
_graders_lock = Lock()


def grade_answers(
    golds: Sequence[str],
    responses: Sequence[str],
    *,
    think: Think | str = "tagged",
    workers: int | None = None,
    timeout_s: float = 5.0,
    where: str = "boxed",
    lenient: bool = True,
    verifier: Callable[[str, str], Any] | None = None,
) -> list[Outcome]:
    """Grade responses against golds; one outcome each, in order.

    Works from any thread and in forked processes, each of which has workers of its own; they stay for the
    next call with the same settings and end with their process. timeout_s is the wall-clock limit of each
    verdict in seconds.

    Raises UsageError for lists of unequal length, what is not text, or an unknown `think` or `where`,
    InputError for an empty gold.
    """
    if len(golds) != len(responses):
        raise UsageError(f"{len(golds)} golds for {len(responses)} responses: give one gold a response")
    _check_texts("golds", golds)
    _check_texts("responses", responses)
    with _graders_lock:
        grader = _kept_grader(
            verifier,
            think=as_think(think),
            where=where,
            lenient=lenient,
            workers=workers,
            timeout_s=timeout_s,
        )
        graded = dict(grader.grade(zip(range(len(golds)), golds, responses, strict=True)))
    return [graded[position] for position in range(len(golds))]


def _check_texts(name: str, texts: Sequence[str]) -> None:
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise UsageError(
                f"{name}[{position}] is of type {type(text).__name__}: give text (str), '' for no response"
            )


def _kept_grader(verifier: Callable[[str, str], Any] | None, **settings: Any) -> Grader:
    # A callable object need not be hashable; its grader keeps it alive, so that its id stays its own.
    key = (verifier if isinstance(verifier, Hashable) else id(verifier), *settings.values())
    if key not in _graders:
        if len(_graders) >= _MOST_GRADERS:
            _graders.pop(next(iter(_graders))).close()
        _graders[key] = Grader(verifier=verifier, **settings)
    return _graders[key]


@atexit.register
def _close_graders() -> None:
    for grader in _graders.values():
        grader.close()


def _renew_lock() -> None:
    global _graders_lock
    _graders_lock = Lock()


os.register_at_fork(after_in_child=_renew_lock)  # a thread of the parent may hold the old one
