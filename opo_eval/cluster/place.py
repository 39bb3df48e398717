"""The caller's side of a replica: the actor that holds it, and another one when that dies."""

from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from opo_eval.cluster.nodes import Reserved, first_line, lines_of, ray
from opo_eval.cluster.replica import Replica
from opo_eval.errors import OpoEvalError

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class Breakdown(Exception):
    """A replica can no longer be used; says why, for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[Task, Answer]):
    """What the replicas do, and which answer is that of which task."""

    noun: str
    """For one of them, as a person reads it."""
    make: Callable[..., tuple[Any, Any]]
    """Makes in an actor's process what works there; returns it, and what it says of itself, with a `host`."""
    arguments: tuple[Any, ...]
    """Of `make`."""
    method: str
    """Of what works: takes a list of tasks, yields their answers in any order."""
    task_key: Callable[[Task], Hashable]
    answer_key: Callable[[Answer], Hashable]
    """That of its task."""
    burst_s: float = 0.0
    """Seconds of which the answers come together; 0: each as it is there."""


class Place(Generic[Task, Answer]):
    """One of several replicas, and what it has been given."""

    def __init__(self, number: int, work: Work[Task, Answer], reserved: Reserved) -> None:
        self.number, self._work, self._reserved = number, work, reserved
        self.failures = 0
        """In a row, without an answer between them."""
        self.begin()

    def begin(self) -> None:
        """Start an actor and have it load."""
        self.about: Any = None
        self.pending: dict[Hashable, Task] = {}
        """Given and not answered."""
        has = {"num_cpus": self._reserved.cpus, "num_gpus": self._reserved.gpus}
        self._actor: Any = ray.remote(Replica).options(**has).remote()
        self.awaited: Any = self._actor.load.remote(self._work.make, *self._work.arguments)

    @property
    def is_idle(self) -> bool:
        """Whether it is loaded and has nothing to do."""
        return self.about is not None and not self.pending

    @property
    def name(self) -> str:
        """For a person."""
        return f"{self._work.noun} {self.number}" + ("" if self.about is None else f" on {self.about.host}")

    def give(self, portion: list[Task]) -> None:
        """Have it work on a portion."""
        self.pending = {self._work.task_key(task): task for task in portion}
        streamed = self._actor.work.options(num_returns="streaming")
        self.awaited = streamed.remote(self._work.method, portion, self._work.burst_s)

    def receive(self) -> list[Answer] | None:
        """The answers that come next, or None where it is loaded now; waits for them.

        Raises Breakdown where it died or broke, and what it refuses with. A replacement that refuses is a
        Breakdown, too: what the dead one held, such as a GPU's memory, may not be free yet.
        """
        said = _got(self._next_reference)
        if isinstance(said, OpoEvalError):
            if self.failures:
                raise Breakdown(str(said))
            raise said
        if self.about is None:
            self.about = said
            return None
        for answer in said:
            del self.pending[self._work.answer_key(answer)]
        self.failures = 0
        return said

    def ask(self, method: str, *arguments: Any) -> Any:
        """What a method of what works there returns; raises as `receive` does."""
        answer = _got(lambda: self._actor.ask.remote(method, *arguments))
        if isinstance(answer, OpoEvalError):
            raise answer
        return answer

    def end(self) -> None:
        """Kill the actor, whatever it does."""
        if ray.is_initialized():  # else Ray would be started for it
            with suppress(ray.exceptions.RayError, ValueError):
                ray.kill(self._actor)

    def _next_reference(self) -> Any:
        return self.awaited if self.about is None else next(self.awaited)


def _got(reference: Callable[[], Any]) -> Any:
    try:
        return ray.get(reference())
    except StopIteration:
        raise Breakdown("it left some without an answer") from None
    except ray.exceptions.RayTaskError as error:
        raise Breakdown(f"{type(error.cause).__name__}: {first_line(error.cause)}") from None
    except ray.exceptions.RayActorError as error:
        raise Breakdown(lines_of(error)[-1] if error.actor_init_failed else "its process ended") from None
    except ray.exceptions.RayError as error:  # a node that died with answers that were on their way
        raise Breakdown(first_line(error)) from None
