"""Requests that wait, dealt out in portions that shrink as fewer are left.

A portion is half of what would be an equal share of the rest, so that whoever is fast comes more often and
all end together (guided self-scheduling: Polychronopoulos and Kuck, IEEE Transactions on Computers 1987), but
no less than fills a batch.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain
from math import ceil

from opo_eval.samplers.base import Request


class Portions:
    """A queue for `n` replicas.

    requests: in any order; those of one problem become neighbours and stay together as far as portions
    allow, because they share a prompt that an engine reads once. least: requests that fill a batch.
    """

    def __init__(self, requests: Sequence[Request], n: int, least: int) -> None:
        by_problem: dict[str, list[Request]] = {}
        for request in requests:
            by_problem.setdefault(request.problem.id, []).append(request)
        self._waiting = deque(chain.from_iterable(by_problem.values()))
        self._n = n
        self._least = max(1, min(least, ceil(len(requests) / n)))

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self) -> list[Request]:
        """The next portion; empty where nothing waits."""
        size = max(self._least, ceil(len(self._waiting) / (2 * self._n)))
        portion: list[Request] = []
        while self._waiting and (len(portion) < size or self._belongs_to(portion, 2 * size)):
            portion.append(self._waiting.popleft())
        return portion

    def put_back(self, requests: Iterable[Request]) -> None:
        """Requests of a portion that were not answered come next, in their order."""
        self._waiting.extendleft(reversed(list(requests)))

    def _belongs_to(self, portion: Sequence[Request], most: int) -> bool:
        return len(portion) < most and self._waiting[0].problem.id == portion[-1].problem.id
