"""Replicas in front of one queue: one that dies is replaced, and what it had not answered is done again.

A task leaves the books when its answer arrives, so none is lost and none comes twice.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Generic

from opo_eval.cluster.nodes import Reserved, first_line, ray
from opo_eval.cluster.place import Answer, Breakdown, Place, Task, Work
from opo_eval.cluster.portions import Portions
from opo_eval.errors import EngineError
from opo_eval.wording import counted

_MOST_FAILURES = 3
"""In a row at one place, before it is given up."""
_READY_S = 3_600.0
"""Room in a cluster, and hundreds of gigabytes from a network disk, may take a while."""
KEPT = "what was done is kept: give the same command again to continue"


class ReplicaWarning(UserWarning):
    """A replica was lost; the work goes on."""


class Crew(Generic[Task, Answer]):
    """Replicas that share work. Each starts when it is needed first.

    check: called with a place when its replica is loaded; raises where that is unlike the others.
    """

    def __init__(
        self,
        work: Work[Task, Answer],
        reserved: Reserved,
        check: Callable[[Place[Task, Answer]], None],
    ) -> None:
        self._work, self._reserved, self._check = work, reserved, check
        self._places: list[Place[Task, Answer]] = []
        self._waiting: Portions[Task] | None = None

    @property
    def n(self) -> int:
        """Replicas, when all are there."""
        return self._reserved.n

    def begin(self, n: int) -> None:
        """Begin to load so many."""
        while len(self._places) < n:
            taken = {place.number for place in self._places}
            number = next(number for number in range(1, n + 1) if number not in taken)
            self._places.append(Place(number, self._work, self._reserved))

    def do(self, waiting: Portions[Task]) -> Iterator[Answer]:
        """Yield answers as any replica gives them.

        A replica that dies is replaced, with a ReplicaWarning, and what it had not answered is done again;
        after three deaths in a row without an answer its place is given up. Raises EngineError where no
        place is left. However it ends, unfinished work ends with it.
        """
        self._waiting = waiting
        self.begin(min(self.n, len(waiting)))
        try:
            while waiting or self._n_pending:
                self._hand_out(waiting)
                yield from self._next_answers()
        finally:
            self._waiting = None
            if self._n_pending:  # whoever still works would hand its answers to the next call
                self.close()

    def ask(self, method: str, *arguments: Any) -> Any:
        """What a method of one of the replicas returns; raises what that refuses with."""
        while True:
            place = self.loaded()
            try:
                return place.ask(method, *arguments)
            except Breakdown as breakdown:
                self._replace(place, breakdown)

    def loaded(self) -> Place[Task, Answer]:
        """One of the places that are loaded; waits for it."""
        self.begin(1)
        while True:
            for place in self._places:
                if place.about is not None:
                    return place
            self._next_answers()

    def close(self) -> None:
        """End the replicas; a Ray of our own stays for the next crew and ends with this process."""
        while self._places:
            self._places.pop().end()

    @property
    def _n_pending(self) -> int:
        return sum(len(place.pending) for place in self._places)

    def _hand_out(self, waiting: Portions[Task]) -> None:
        for place in self._places:
            if waiting and place.is_idle:
                place.give(waiting.take())

    def _next_answers(self) -> list[Answer]:
        """What the first of the replicas says that has something to say; nothing where it broke down."""
        place = self._heard()
        # Behind the others, so that one with many answers does not keep them waiting.
        self._places.sort(key=lambda other: other is place)
        try:
            answers = place.receive()
        except Breakdown as breakdown:
            self._replace(place, breakdown)
            return []
        if answers is None:
            self._check(place)
        return answers or []

    def _heard(self) -> Place[Task, Answer]:
        busy = {place.awaited: place for place in self._places if not place.is_idle}
        timeout_s = None if self._n_pending else _READY_S
        try:
            ready, _ = ray.wait(list(busy), timeout=timeout_s)
        except ray.exceptions.RayError as error:
            raise EngineError(f"the Ray is gone ({first_line(error)}); {KEPT}") from None
        if not ready:
            noun = self._work.noun
            raise EngineError(
                f"no {noun} was ready after {_READY_S:g} s: see with `ray status` what the cluster has room "
                f"for, and take fewer {noun}s; {KEPT}"
            )
        return busy[ready[0]]

    def _replace(self, place: Place[Task, Answer], breakdown: Breakdown) -> None:
        lost = f"{place.name} was lost with {counted(len(place.pending), 'response')} in flight ({breakdown})"
        if self._waiting is not None:
            self._waiting.put_back(place.pending.values())
        place.end()
        place.failures += 1
        if place.failures < _MOST_FAILURES:
            _warn(f"{lost}: another is loaded in its place")
            return place.begin()
        self._places.remove(place)
        if not self._places:
            raise EngineError(f"{lost}, {_MOST_FAILURES} times in a row, and no other is left; {KEPT}")
        _warn(f"{lost}, {_MOST_FAILURES} times in a row: it is given up")


def _warn(message: str) -> None:
    warnings.warn(message, ReplicaWarning, stacklevel=2)
