"""Scoring in several processes at once, each with a GPU of its own where there are any."""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from opo_eval.errors import EngineError, OpoEvalError
from opo_eval.samplers.replicas import visible_devices
from opo_eval.score.passes import Done, Job, Scorer
from opo_eval.scoring.packing import Text, shares

_VISIBLE = "CUDA_VISIBLE_DEVICES"


class Workers:
    """As a Scorer, of `n` processes that share each chunk of texts by length; they start with the first."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._processes: list[SpawnProcess] = []
        self._pipes: list[Connection] = []

    def score(self, job: Job, texts: Sequence[Text]) -> Iterator[Done]:
        """Yield what batches came to, as any process finishes them.

        Raises what a Scorer raises, and EngineError where a process dies. However it ends, unfinished work
        ends with it.
        """
        try:
            if not self._processes:
                self._start()
            yield from self._answers(self._ask(job, texts))
        except BaseException:  # whoever still scores would hand its results to the next call
            self.close()
            raise

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(timeout=10)
            process.kill()
        for pipe in self._pipes:
            pipe.close()
        self._processes, self._pipes = [], []

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        for place in range(self._n):
            ours, theirs = context.Pipe()
            arguments = (theirs, visible_devices(place, 1), self._n)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)

    def _ask(self, job: Job, texts: Sequence[Text]) -> set[Connection]:
        """Hand out the texts; returns the pipes of those that have any."""
        busy = set()
        for pipe, share in zip(self._pipes, shares(texts, self._n), strict=True):
            if share:
                with self._watching(pipe):
                    pipe.send((job, share))
                busy.add(pipe)
        return busy

    def _answers(self, busy: set[Connection]) -> Iterator[Done]:
        while busy:
            for pipe in wait(list(busy)):
                with self._watching(pipe):
                    answer = pipe.recv()
                if isinstance(answer, OpoEvalError):
                    raise answer
                if answer is None:
                    busy.discard(pipe)
                else:
                    yield answer

    @contextmanager
    def _watching(self, pipe: Connection) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError):
            place = self._pipes.index(pipe)
            self._processes[place].join(timeout=5)
            code = self._processes[place].exitcode
            raise EngineError(
                f"scoring process {place + 1} of {self._n} ended with exit status {code}; what was scored is "
                "kept: give the same command again to continue"
            ) from None


# --- in the process ---------------------------------------------------------------------------------


def _serve(pipe: Connection, devices: str, n: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    os.environ[_VISIBLE] = devices
    import torch

    # Processes that each take all processors are many times slower.
    torch.set_num_threads(max(1, torch.get_num_threads() // n))
    scorer = Scorer()
    try:
        while True:
            job, texts = pipe.recv()
            for done in scorer.score(job, texts):
                pipe.send(done)
            pipe.send(None)
    except OpoEvalError as error:
        pipe.send(error)
    except (EOFError, BrokenPipeError):
        return  # the parent has ended
