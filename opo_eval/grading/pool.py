"""Persistent grading workers that can be killed.

A verdict that takes longer than its limit ends with its worker: no signal handler, no thread and no
co-operation of the graded text is needed, so the limit holds from any thread and against code that
never returns to Python. What else the worker had been given is done by its successor.

A process that is forked leaves the workers to its parent and starts its own when it needs them.
"""

import base64
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn
from weakref import WeakSet

from opo_eval.errors import OpoEvalError, UsageError

TIMED_OUT, DIED = "time_limit", "died"
_CHUNK_JOBS, _CHUNK_CHARS = 16, 200_000
_START_LIMIT_S = 120.0
_RECYCLE_AFTER_JOBS = 5_000
_ATTEMPTS = 2
_MOST_SECONDS = 86_400


class Job(NamedTuple):
    """One question to a worker; `kind` is gold, strict, lenient or own."""

    kind: str
    gold: str
    text: str


@dataclass(eq=False)
class _Task:
    number: int
    job: Job
    attempts: int = 0


@dataclass(eq=False)
class _Worker:
    """A worker process and the tasks that it has been given, the one it works on first."""

    process: subprocess.Popen[bytes]
    deadline: float
    ready: bool = False
    tasks: deque[_Task] = field(default_factory=deque)
    unread: bytes = b""
    done: int = 0
    first_mb: int = 0
    last_mb: int = 0


class GradingPool:
    """Workers that answer jobs, each within `timeout_s` seconds of wall-clock time.

    workers: processes; default: the processors this process may use. memory_mb: what each may
    allocate beyond what loading took. verifier: the user's own callable (gold, response) → verdict.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        timeout_s: float = 5.0,
        memory_mb: int = 1024,
        verifier: Callable[[str, str], Any] | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"workers must be at least 1, not {workers}")
        if not 0 < timeout_s <= _MOST_SECONDS:
            raise UsageError(
                f"timeout_s must be more than 0 and at most {_MOST_SECONDS} seconds, not {timeout_s}"
            )
        self.timeout_s, self.memory_mb = timeout_s, memory_mb
        self.n_workers = workers or _usable_processors()
        self._settings = {"memory_mb": memory_mb, "timeout_s": timeout_s, "verifier": pickled(verifier)}
        self._workers: list[_Worker] = []
        self._begin_idle()
        _pools.add(self)

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[int, str]]:
        """Yield (position of the job, its outcome) as the workers finish, in no particular order.

        The outcome is one of the worker's, TIMED_OUT, or DIED where two workers in a row died of it.
        Leaving the iterator early drops what is not done yet. Raises UsageError for a run within a run.
        """
        with self._alone():
            self._queue = deque(_Task(number, job) for number, job in enumerate(jobs))
            try:
                self._start_missing()
                while self._queue or any(worker.tasks for worker in self._workers):
                    self._hand_out()
                    # All of it before the first yield: a caller who takes long must not make replies
                    # that wait in a pipe look overdue.
                    yield from list(self._collect())
            finally:
                self._drop_unfinished()

    def start(self) -> None:
        """Start the workers and wait until they are ready, so that the first verdict pays nothing."""
        with self._alone():
            for _ in range(self.n_workers - len(self._workers)):
                self._workers.append(self._spawn())
            while not all(worker.ready for worker in self._workers):
                for _ in self._collect():
                    raise AssertionError("a worker answered before it was asked")

    def pids(self) -> list[int]:
        """Process ids of the live workers."""
        return [worker.process.pid for worker in self._workers]

    def close(self) -> None:
        """End the workers; a later `run` starts new ones."""
        for worker in self._workers:
            _end(worker)
        self._workers.clear()

    def __enter__(self) -> "GradingPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one thread in at a time; within one thread a second run would wait for itself for ever."""
        if self._running_in == threading.get_ident():
            raise UsageError("the pool is in the middle of a run: finish or close that iterator first")
        with self._one_at_a_time:
            self._running_in = threading.get_ident()
            try:
                yield
            finally:
                self._running_in = None

    # --- workers come and go ---

    def _begin_idle(self) -> None:
        self._queue: deque[_Task] = deque()
        self._one_at_a_time = threading.Lock()
        self._running_in: int | None = None
        self._failed_starts = 0

    def _leave_to_parent(self) -> None:
        """In a process that was just forked: the workers are its parent's, and so is whoever was in a run."""
        for worker in self._workers:
            worker.process.poll()  # finds no child, so that Popen neither waits for it nor warns of it
            _close_pipes(worker)
        self._workers.clear()
        self._begin_idle()

    def _spawn(self) -> _Worker:
        # The worker finds the modules that this process would find: `-P` keeps the current folder, whose
        # random.py is not ours, off its path unless it is on ours, where it is called "".
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "opo_eval.grading.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,  # a fork would inherit the buffer, and a lock that somebody may hold
            env=environment,
        )
        worker = _Worker(process, deadline=time.monotonic() + _START_LIMIT_S)
        _send(worker, self._settings)
        return worker

    def _start_missing(self) -> None:
        wanted = min(self.n_workers, len(self._queue))
        while len(self._workers) < wanted:
            self._workers.append(self._spawn())

    def _replace(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        _end(worker)
        self._queue.extendleft(reversed(worker.tasks))
        worker.tasks.clear()
        self._start_missing()

    def _drop_unfinished(self) -> None:
        self._queue.clear()
        for worker in [worker for worker in self._workers if worker.tasks]:
            self._workers.remove(worker)
            _end(worker)

    # --- jobs out, outcomes in ---

    def _hand_out(self) -> None:
        for worker in list(self._workers):
            if not worker.ready or worker.tasks or not self._queue:
                continue
            if worker.process.poll() is not None or _is_worn(worker, self.memory_mb):
                self._replace(worker)
                continue
            worker.tasks = self._next_chunk()
            worker.deadline = time.monotonic() + self.timeout_s
            _send(worker, [task.job._asdict() for task in worker.tasks])

    def _next_chunk(self) -> deque[_Task]:
        # Few jobs at a time near the end, so that no worker idles while another has a long list.
        most = min(_CHUNK_JOBS, 1 + len(self._queue) // (2 * self.n_workers))
        chunk, chars = deque([self._queue.popleft()]), 0
        while self._queue and len(chunk) < most and chars < _CHUNK_CHARS:
            chars += len(self._queue[0].job.text)
            chunk.append(self._queue.popleft())
        return chunk

    def _collect(self) -> Iterator[tuple[int, str]]:
        for worker in self._wait():
            data = os.read(worker.process.stdout.fileno(), 1 << 16)  # type: ignore[union-attr]
            if not data:
                yield from self._bury(worker)
                continue
            *lines, worker.unread = (worker.unread + data).split(b"\n")
            for line in lines:
                yield from self._take_reply(worker, json.loads(line))
        yield from self._end_overdue()

    def _wait(self) -> list[_Worker]:
        with selectors.DefaultSelector() as selector:
            for worker in self._busy():
                selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
            next_deadline = min((worker.deadline for worker in self._busy()), default=0.0)
            events = selector.select(max(0.0, next_deadline - time.monotonic()))
            return [key.data for key, _ in events]

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.tasks or not worker.ready]

    def _take_reply(self, worker: _Worker, reply: dict[str, Any]) -> Iterator[tuple[int, str]]:
        worker.deadline = time.monotonic() + self.timeout_s
        if "failed" in reply:
            self._give_up(reply["failed"])
        if "ready" in reply:
            worker.ready, self._failed_starts = True, 0
            return
        worker.done += 1
        worker.last_mb = reply["resident_mb"]
        worker.first_mb = worker.first_mb or worker.last_mb
        yield worker.tasks.popleft().number, reply["outcome"]

    def _end_overdue(self) -> Iterator[tuple[int, str]]:
        now = time.monotonic()
        for worker in [w for w in self._busy() if w.deadline <= now]:
            if not worker.ready:
                self._give_up(f"not ready after {_START_LIMIT_S:.0f} s")
            yield worker.tasks.popleft().number, TIMED_OUT
            self._replace(worker)

    def _bury(self, worker: _Worker) -> Iterator[tuple[int, str]]:
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts == _ATTEMPTS:
                self._give_up(f"it ended with status {worker.process.wait()}")
        else:
            worker.tasks[0].attempts += 1
            if worker.tasks[0].attempts == _ATTEMPTS:
                yield worker.tasks.popleft().number, DIED
        self._replace(worker)

    def _give_up(self, why: str) -> NoReturn:
        """End all workers where one cannot start: the others are no better off, nor is the next run."""
        self.close()
        self._failed_starts = 0
        raise OpoEvalError(
            f"a grading worker did not start ({why}): check that math-verify, and what a verifier of your "
            f"own imports, can be imported by {sys.executable}"
        )


def _usable_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_worn(worker: _Worker, memory_mb: int) -> bool:
    return worker.done >= _RECYCLE_AFTER_JOBS or worker.last_mb - worker.first_mb > memory_mb // 2


def _send(worker: _Worker, message: Any) -> None:
    # A worker that has died is noticed by its closed output, where its tasks are taken back.
    unsent = memoryview(json.dumps(message).encode() + b"\n")
    with suppress(BrokenPipeError):
        while unsent:
            unsent = unsent[worker.process.stdin.write(unsent) :]  # type: ignore[union-attr]


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.wait()
    _close_pipes(worker)


def _close_pipes(worker: _Worker) -> None:
    for stream in (worker.process.stdin, worker.process.stdout):
        with suppress(OSError):
            stream.close()  # type: ignore[union-attr]


def pickled(verifier: Callable[[str, str], Any] | None) -> str | None:
    """A verifier as text for another process. Raises UsageError for one that cannot be sent there."""
    if verifier is None:
        return None
    import cloudpickle

    try:
        return base64.b64encode(cloudpickle.dumps(verifier)).decode()
    except Exception as error:
        raise UsageError(
            f"the verifier {verifier!r:.80} cannot be sent to a worker process ({error}): "
            "open files, locks and models inside the function, not outside"
        ) from None


# --- forks ------------------------------------------------------------------------------------------

_pools: "WeakSet[GradingPool]" = WeakSet()


def _leave_workers_to_parent() -> None:
    for pool in _pools:
        pool._leave_to_parent()


os.register_at_fork(after_in_child=_leave_workers_to_parent)
