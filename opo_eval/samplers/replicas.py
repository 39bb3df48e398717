"""Data parallelism: several copies of an engine, each in a process with devices of its own.

vLLM's own data parallelism wants its replicas started together and in step; here each replica is an engine
that knows nothing of the others, so one that hangs or dies cannot block them. Problems are dealt out in turn,
all samples of one to the same replica, which shares the prompt among them.
"""

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from opo_eval.errors import EngineError, OpoEvalError
from opo_eval.samplers.base import Generation, Request, Sampler
from opo_eval.samplers.remote import About, RemoteSampler

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_READY_S = 3_600.0
"""Loading hundreds of gigabytes from a network disk takes a while."""


class _Finished:
    """A replica has answered all that it was given."""


class Replicas(RemoteSampler):
    """A sampler of `n` samplers alike.

    settings: as `make_sampler` takes them for `engine`. Each replica sees as many GPUs as its engine asks
    for (`tensor_parallel`). Raises EngineError where a replica cannot be made.
    """

    def __init__(self, engine: str, checkpoint: str, n: int, settings: Mapping[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._processes: list[SpawnProcess] = []
        self._pipes: list[Connection] = []
        try:
            for place in range(n):
                ours, theirs = context.Pipe()
                devices = visible_devices(place, settings.get("tensor_parallel") or 1)
                arguments = (theirs, engine, checkpoint, dict(settings), devices)
                process = context.Process(target=_serve, args=arguments, daemon=True)
                process.start()
                theirs.close()
                self._processes.append(process)
                self._pipes.append(ours)
            said = [self._receive(pipe, _READY_S) for pipe in self._pipes]
            self._about: About = said[0]
        except BaseException:
            self.close()
            raise

    @property
    def n_devices(self) -> int:
        """Of all replicas."""
        return len(self._pipes) * self._about.n_devices

    def start(self) -> None:
        """Nothing: the replicas were ready when this was made."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield generations as any replica finishes them.

        Raises EngineError where a replica fails or dies. However it ends, unfinished work ends with it.
        """
        busy = set()
        for pipe, share in zip(self._pipes, shares(requests, len(self._pipes)), strict=True):
            pipe.send(("generate", share))
            busy.add(pipe)
        try:
            while busy:
                for pipe in wait(list(busy)):
                    answer = self._receive(pipe)
                    if isinstance(answer, _Finished):
                        busy.discard(pipe)
                    else:
                        yield answer
        finally:
            if busy:  # whoever still draws would hand its answers to the next call
                self.close()

    def close(self) -> None:
        """End the replicas."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(timeout=10)
            process.kill()
        for pipe in self._pipes:
            pipe.close()
        self._processes, self._pipes = [], []

    def _ask(self, method: str, *arguments: Any) -> Any:
        self._pipes[0].send((method, *arguments))
        return self._receive(self._pipes[0])

    def _receive(self, pipe: Connection, timeout_s: float | None = None) -> Any:
        try:
            if not pipe.poll(timeout_s):
                raise EngineError(f"a replica was not ready after {timeout_s:g} s: try fewer of them")
            answer = pipe.recv()
        except (EOFError, OSError):
            place = self._pipes.index(pipe)
            self._processes[place].join(timeout=5)
            code = self._processes[place].exitcode
            raise EngineError(
                f"replica {place + 1} of {len(self._pipes)} ended with exit status {code}; what was sampled "
                "is kept: give the same command again to continue"
            ) from None
        if isinstance(answer, OpoEvalError):
            raise answer
        return answer


def shares(requests: Sequence[Request], n: int) -> list[list[Request]]:
    """Deal the requests out, problem by problem in turn."""
    place: dict[str, int] = {}
    dealt: list[list[Request]] = [[] for _ in range(n)]
    for request in requests:
        dealt[place.setdefault(request.problem.id, len(place)) % n].append(request)
    return dealt


def visible_devices(place: int, each: int) -> str:
    """The GPUs of the replica at a place, as CUDA reads them: `each` of those that this process sees."""
    visible = os.environ.get(_VISIBLE)
    names = visible.split(",") if visible else [str(i) for i in range((place + 1) * each)]
    own = names[place * each : (place + 1) * each]
    if visible and len(own) < each:
        raise EngineError(
            f"replica {place + 1} would need GPU {(place + 1) * each} of those in {_VISIBLE}={visible}: "
            "lower --data-parallel or --tensor-parallel"
        )
    return ",".join(own)


# --- in the replica ---------------------------------------------------------------------------------


def _serve(pipe: Connection, engine: str, checkpoint: str, settings: dict[str, Any], devices: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    os.environ[_VISIBLE] = devices
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from opo_eval.samplers.engines import make_sampler

    try:
        sampler = make_sampler(engine, checkpoint, **settings)
        pipe.send(
            About(
                prompting=sampler.prompting,
                settings=sampler.settings,
                device=sampler.device,
                n_devices=sampler.n_devices,
                host=socket.gethostname(),
                pid=os.getpid(),
            )
        )
        while True:
            _answer(pipe, sampler, *pipe.recv())
    except OpoEvalError as error:
        pipe.send(error)
    except (EOFError, BrokenPipeError):
        return


def _answer(pipe: Connection, sampler: Sampler, method: str, asked: Any) -> None:
    if method != "generate":
        pipe.send(getattr(sampler, method)(asked))
        return
    for generation in sampler.generate(asked):
        pipe.send(generation)
    pipe.send(_Finished())


def _end_with_parent() -> None:
    """A parent that was killed tells nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
