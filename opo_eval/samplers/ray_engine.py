"""Sampling on Ray: one sampler in each actor, on one machine or on many, in front of one queue.

The seed of a response is a hash of base seed, problem and index, so it does not matter which replica draws
it, nor how often one dies: the set that comes back is the one that a single process draws. A request leaves
the books when its answer arrives, so none is lost and none comes twice.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from opo_eval.errors import EngineError, UsageError
from opo_eval.samplers.base import Generation, Request
from opo_eval.samplers.hf import HFOptions
from opo_eval.samplers.options import check_range
from opo_eval.samplers.portions import Portions
from opo_eval.samplers.ray_actor import Replica
from opo_eval.samplers.ray_cluster import first_line, join, living_nodes, ray, reserve
from opo_eval.samplers.ray_place import Breakdown, Place
from opo_eval.samplers.remote import About, RemoteSampler
from opo_eval.samplers.vllm import VLLMOptions
from opo_eval.wording import counted

REPLICA_ENGINES = ("hf", "vllm")
_FULL = {"hf": 64, "vllm": 256}
"""Requests that fill an engine's batch where nobody says."""
_MOST_FAILURES = 3
"""In a row at one place, before it is given up."""
_READY_S = 3_600.0
"""Room in a cluster, and hundreds of gigabytes from a network disk, may take a while."""
_KEPT = "what was sampled is kept: give the same command again to continue"


class ReplicaWarning(UserWarning):
    """A replica was lost; the work goes on."""


class RayOptions(HFOptions, VLLMOptions, total=False):
    """How many replicas there are, where, and what each of their engines takes."""

    replicas: int
    """Default: as many as the Ray has GPUs for; one where it has none."""
    replica_engine: str | None
    """hf or vllm; default: the one that suits the checkpoint where the replica runs."""
    ray_address: str | None
    """`host:port` of a cluster's head, or `auto` on one of its nodes; default: a Ray on this machine that
    ends with this process."""


class RaySampler(RemoteSampler):
    """A checkpoint in several samplers that share the work.

    The checkpoint and opo_eval have to be at the same place on every node. One replica is loaded at once,
    the others when there is something to draw. Raises UsageError for options out of range and for more
    replicas than there is room for, EngineError where there is no Ray or no replica can be loaded.
    """

    def __init__(self, checkpoint: str, **options: Unpack[RayOptions]) -> None:
        settings: dict[str, Any] = dict(options)
        asked, engine = settings.pop("replicas", None), settings.pop("replica_engine", None)
        address = settings.pop("ray_address", None)
        check_range(**settings)
        _refuse_engine(engine)
        join(address)
        self._reserved = reserve(living_nodes(), asked, _gpus_each(settings))
        self._full = settings.get("batch_size")
        self._load = engine, _absolute(checkpoint), _with_absolute_paths(settings)
        self._places: list[Place] = []
        self._waiting = Portions((), 1, 1)
        try:
            self._begin(1)
            self._about = self._loaded().about
        except BaseException:
            self.close()
            raise

    @property
    def n_devices(self) -> int:
        """Of all replicas."""
        return self._reserved.n * self._about.n_devices

    def start(self) -> None:
        """Begin to load all replicas; returns when the first is ready to draw."""
        self._begin(self._reserved.n)
        self._ask("start")

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield generations as any replica finishes them.

        A replica that dies is replaced, with a ReplicaWarning, and what it had not answered is drawn again;
        after three deaths in a row without an answer its place is given up. Raises EngineError where no
        place is left. However it ends, unfinished work ends with it.
        """
        full = self._full or _FULL[self.settings.engine]
        self._waiting = Portions(requests, self._reserved.n, full)
        self._begin(self._reserved.n if requests else 0)
        try:
            while self._waiting or self._n_pending:
                self._hand_out()
                answer = self._next_answer()
                if isinstance(answer, Generation):
                    yield answer
        finally:
            if self._n_pending:  # whoever still draws would hand its answers to the next call
                self.close()

    def close(self) -> None:
        """End the replicas; a Ray of our own stays for the next sampler and ends with this process."""
        while self._places:
            self._places.pop().end()

    # --- the replicas -------------------------------------------------------------------------------

    def _begin(self, n: int) -> None:
        while len(self._places) < n:
            taken = {place.number for place in self._places}
            number = next(number for number in range(1, n + 1) if number not in taken)
            self._places.append(Place(number, self._make_actor))

    def _make_actor(self) -> tuple[Any, Any]:
        options = {"num_cpus": self._reserved.cpus, "num_gpus": self._reserved.gpus}
        actor = ray.remote(Replica).options(**options).remote()
        return actor, actor.load.remote(*self._load)

    @property
    def _n_pending(self) -> int:
        return sum(len(place.pending) for place in self._places)

    def _hand_out(self) -> None:
        for place in self._places:
            if self._waiting and place.is_idle:
                place.draw(self._waiting.take())

    def _next_answer(self) -> About | Generation | None:
        """What the first of the replicas says that has something to say; None where it broke down."""
        place = self._heard()
        # Behind the others, so that one with many answers does not keep them waiting.
        self._places.sort(key=lambda other: other is place)
        try:
            answer = place.receive()
        except Breakdown as breakdown:
            return self._replace(place, breakdown)
        if isinstance(answer, About):
            self._refuse_unlike(place, answer)
        return answer

    def _heard(self) -> Place:
        busy = {place.awaited: place for place in self._places if not place.is_idle}
        timeout_s = None if self._n_pending else _READY_S
        try:
            ready, _ = ray.wait(list(busy), timeout=timeout_s)
        except ray.exceptions.RayError as error:
            raise EngineError(f"the Ray is gone ({first_line(error)}); {_KEPT}") from None
        if not ready:
            raise EngineError(
                f"no replica was ready after {_READY_S:g} s: see with `ray status` what the cluster has room "
                f"for, and take fewer replicas; {_KEPT}"
            )
        return busy[ready[0]]

    def _replace(self, place: Place, breakdown: Breakdown) -> None:
        lost = f"{place.name} was lost with {counted(len(place.pending), 'response')} in flight ({breakdown})"
        self._waiting.put_back(place.pending.values())
        place.end()
        place.failures += 1
        if place.failures < _MOST_FAILURES:
            _warn(f"{lost}: another is loaded in its place")
            return place.begin()
        self._places.remove(place)
        if not self._places:
            raise EngineError(f"{lost}, {_MOST_FAILURES} times in a row, and no other is left; {_KEPT}")
        _warn(f"{lost}, {_MOST_FAILURES} times in a row: it is given up")

    def _refuse_unlike(self, place: Place, about: About) -> None:
        first = getattr(self, "_about", about)
        if (about.settings, about.prompting) != (first.settings, first.prompting):
            raise EngineError(
                f"{place.name} would draw otherwise than the first, on {first.host}: see that both nodes "
                f"have the same checkpoint and versions, or name a --replica-engine; {_KEPT}"
            )

    def _ask(self, method: str, *arguments: Any) -> Any:
        while True:
            place = self._loaded()
            try:
                return place.ask(method, *arguments)
            except Breakdown as breakdown:
                self._replace(place, breakdown)

    def _loaded(self) -> Place:
        """One of the places that are loaded; waits for it."""
        while True:
            for place in self._places:
                if place.about:
                    return place
            self._next_answer()


def _refuse_engine(engine: str | None) -> None:
    if engine not in (None, *REPLICA_ENGINES):
        allowed = " or ".join(REPLICA_ENGINES)
        raise UsageError(f"replica_engine cannot be {engine!r}: it has to be {allowed}")


def _gpus_each(settings: Mapping[str, Any]) -> int:
    return 0 if settings.get("device") == "cpu" else settings.get("tensor_parallel", 1)


def _with_absolute_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    adapter = settings.get("adapter")
    return {**settings, "adapter": _absolute(adapter)} if adapter else dict(settings)


def _absolute(path: str) -> str:
    """An actor has a working directory of its own; a hub name stays as it is."""
    return str(Path(path).absolute()) if Path(path).exists() else path


def _warn(message: str) -> None:
    warnings.warn(message, ReplicaWarning, stacklevel=2)
