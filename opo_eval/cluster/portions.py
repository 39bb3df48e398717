"""Tasks that wait, dealt out in portions that shrink as fewer are left.

A portion is half of what would be an equal share of the rest, so that whoever is fast comes more often and
all end together (guided self-scheduling: Polychronopoulos and Kuck, IEEE Transactions on Computers 1987), but
no less than fills a batch.
"""

import sys
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import chain, islice
from math import ceil
from typing import Generic, TypeVar

Task = TypeVar("Task")


class Portions(Generic[Task]):
    """A queue for `n` replicas.

    owner: what tasks share that had better stay together, such as their problem; neighbours with the same
    owner do, as far as portions allow. least: tasks that fill a batch. window: how many are read ahead of the
    replicas, for tasks that are too many to be held at once; the rest then is what has been read.
    """

    def __init__(
        self,
        tasks: Iterable[Task],
        n: int,
        least: int,
        *,
        owner: Callable[[Task], Hashable],
        window: int = sys.maxsize,
    ) -> None:
        self._source, self._window = iter(tasks), window
        self._n, self._owner = n, owner
        self._waiting: deque[Task] = deque()
        self._read_ahead()
        self._least = max(1, min(least, ceil(len(self._waiting) / n)))

    def __len__(self) -> int:
        """Tasks that have been read; 0 where none is left."""
        return len(self._waiting)

    def take(self) -> list[Task]:
        """The next portion; empty where nothing waits."""
        size = max(self._least, ceil(len(self._waiting) / (2 * self._n)))
        portion: list[Task] = []
        while self._waiting and (len(portion) < size or self._belongs_to(portion, 2 * size)):
            portion.append(self._waiting.popleft())
        self._read_ahead()
        return portion

    def put_back(self, tasks: Iterable[Task]) -> None:
        """Tasks of a portion that were not answered come next, in their order."""
        self._waiting.extendleft(reversed(list(tasks)))

    def _read_ahead(self) -> None:
        self._waiting.extend(islice(self._source, max(0, self._window - len(self._waiting))))

    def _belongs_to(self, portion: Sequence[Task], most: int) -> bool:
        return len(portion) < most and self._owner(self._waiting[0]) == self._owner(portion[-1])


def neighbours(tasks: Iterable[Task], owner: Callable[[Task], Hashable]) -> Iterable[Task]:
    """The tasks in such an order that those of one owner are neighbours."""
    by_owner: dict[Hashable, list[Task]] = {}
    for task in tasks:
        by_owner.setdefault(owner(task), []).append(task)
    return chain.from_iterable(by_owner.values())
