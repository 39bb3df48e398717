"""Sampling on Ray: one sampler in each actor, on one machine or on many, in front of one queue.

The seed of a response is a hash of base seed, problem and index, so it does not matter which replica draws
it, nor how often one dies: the set that comes back is the one that a single process draws.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from opo_eval.cluster.crew import KEPT, Crew
from opo_eval.cluster.nodes import join, living_nodes, reserve
from opo_eval.cluster.place import Place, Work
from opo_eval.cluster.portions import Portions, neighbours
from opo_eval.errors import EngineError, UsageError
from opo_eval.samplers.base import Generation, Request
from opo_eval.samplers.options import HFOptions, VLLMOptions, check_range
from opo_eval.samplers.ray_actor import load_sampler
from opo_eval.samplers.remote import RemoteSampler

REPLICA_ENGINES = ("hf", "vllm")
_FULL = {"hf": 64, "vllm": 256}
"""Requests that fill an engine's batch where nobody says."""


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
        self._full = settings.get("batch_size")
        work = Work(
            noun="replica",
            make=load_sampler,
            arguments=(engine, _absolute(checkpoint), _with_absolute_paths(settings)),
            method="generate",
            task_key=_key,
            answer_key=_answered,
        )
        reserved = reserve(living_nodes(), asked, gpus_each=_gpus_each(settings))
        self._crew = Crew(work, reserved, self._refuse_unlike)
        try:
            self._about = self._crew.loaded().about
        except BaseException:
            self.close()
            raise

    @property
    def n_devices(self) -> int:
        """Of all replicas."""
        return self._crew.n * self._about.n_devices

    def start(self) -> None:
        """Begin to load all replicas; returns when the first is ready to draw."""
        self._crew.begin(self._crew.n)
        self._ask("start")

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield generations as any replica finishes them; a replica that dies as `Crew.do` has it."""
        full = self._full or _FULL[self.settings.engine]
        together = neighbours(requests, _problem_id)
        yield from self._crew.do(Portions(together, self._crew.n, full, owner=_problem_id))

    def close(self) -> None:
        """End the replicas."""
        self._crew.close()

    def _ask(self, method: str, *arguments: Any) -> Any:
        return self._crew.ask(method, *arguments)

    def _refuse_unlike(self, place: Place[Request, Generation]) -> None:
        first = getattr(self, "_about", place.about)
        if (place.about.settings, place.about.prompting) != (first.settings, first.prompting):
            raise EngineError(
                f"{place.name} would draw otherwise than the first, on {first.host}: see that both nodes "
                f"have the same checkpoint and versions, or name a --replica-engine; {KEPT}"
            )


def _key(request: Request) -> tuple[str, int]:
    return request.problem.id, request.index


def _answered(generation: Generation) -> tuple[str, int]:
    return _key(generation.request)


def _problem_id(request: Request) -> str:
    """What the samples of a problem share: a prompt that an engine reads once."""
    return request.problem.id


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
