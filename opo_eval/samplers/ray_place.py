"""The driver's side of a replica: the actor that holds it, and another one when that dies."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from opo_eval.errors import OpoEvalError
from opo_eval.samplers.base import Generation, Request
from opo_eval.samplers.ray_cluster import first_line, lines_of, ray
from opo_eval.samplers.remote import About


class Breakdown(Exception):
    """A replica can no longer be used; says why, for a person."""


class Place:
    """One of several replicas, and what it has been given.

    make: starts an actor and has it load; returns both, the actor and what it will say.
    """

    def __init__(self, number: int, make: Callable[[], tuple[Any, Any]]) -> None:
        self.number, self._make = number, make
        self.pending: dict[tuple[str, int], Request] = {}
        """Given and not answered, by problem and index."""
        self.failures = 0
        """In a row, without an answer between them."""
        self.begin()

    def begin(self) -> None:
        """Start an actor."""
        self.about: About | None = None
        self.pending = {}
        self._actor, self.awaited = self._make()

    @property
    def is_idle(self) -> bool:
        """Whether it is loaded and has nothing to do."""
        return self.about is not None and not self.pending

    @property
    def name(self) -> str:
        """For a person."""
        return f"replica {self.number}" + (f" on {self.about.host}" if self.about else "")

    def draw(self, requests: Sequence[Request]) -> None:
        """Give it a portion."""
        self.pending = {(request.problem.id, request.index): request for request in requests}
        self.awaited = self._actor.generate.options(num_returns="streaming").remote(requests)

    def receive(self) -> About | Generation:
        """What it says next; waits for it.

        Raises Breakdown where it died or broke, and what it refuses with. A replacement that refuses is a
        Breakdown, too: what the dead one held, such as a GPU's memory, may not be free yet.
        """
        answer = _got(self._next_reference)
        if isinstance(answer, OpoEvalError):
            if self.failures:
                raise Breakdown(str(answer))
            raise answer
        if isinstance(answer, About):
            self.about = answer
        else:
            del self.pending[answer.request.problem.id, answer.request.index]
            self.failures = 0
        return answer

    def ask(self, method: str, *arguments: Any) -> Any:
        """What a method of its sampler returns; raises as `receive` does."""
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
        raise Breakdown("it left requests without an answer") from None
    except ray.exceptions.RayTaskError as error:
        raise Breakdown(f"{type(error.cause).__name__}: {first_line(error.cause)}") from None
    except ray.exceptions.RayActorError as error:
        raise Breakdown(lines_of(error)[-1] if error.actor_init_failed else "its process ended") from None
    except ray.exceptions.RayError as error:  # a node that died with answers that were on their way
        raise Breakdown(first_line(error)) from None
