"""The queue in front of the replicas: no Ray runs here."""

import math
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from builders import problem
from hypothesis import given
from hypothesis import strategies as st

from opo_eval.cluster.portions import Portions, neighbours
from opo_eval.samplers import Request, plan_requests

PROBLEMS = tuple(problem(number) for number in range(1, 41))


def keys(requests: Iterable[Request]) -> list[tuple[str, int]]:
    return [(request.problem.id, request.index) for request in requests]


def owner(request: Request) -> str:
    return request.problem.id


def portioned(requests: Sequence[Request], n: int, least: int) -> Portions[Request]:
    return Portions(neighbours(requests, owner), n, least, owner=owner)


def drained(waiting: Portions[Any]) -> list[list[Any]]:
    taken = []
    while waiting:
        taken.append(waiting.take())
    return taken


@given(
    n_problems=st.integers(1, 40),
    n_samples=st.integers(1, 9),
    n_replicas=st.integers(1, 7),
    least=st.integers(1, 30),
)
def test_every_request_is_dealt_out_once(
    n_problems: int, n_samples: int, n_replicas: int, least: int
) -> None:
    requests = plan_requests(PROBLEMS[:n_problems], n_samples, 0)
    portions = drained(portioned(requests, n_replicas, least))
    assert sorted(keys(chain.from_iterable(portions))) == sorted(keys(requests))
    fair = math.ceil(len(requests) / n_replicas)
    full = max(min(least, fair), math.ceil(len(requests) / (2 * n_replicas)))
    assert all(0 < len(portion) <= 2 * full for portion in portions)
    assert all(len(portion) >= min(least, fair) for portion in portions[:-1])


def test_portions_shrink_and_hold_whole_problems() -> None:
    requests = plan_requests(PROBLEMS, 4, 0)
    portions = drained(portioned(requests, 2, 8))
    assert [len(portion) for portion in portions] == [40, 32, 24, 16, 12, 12, 8, 8, 8]
    owners = [{request.problem.id for request in portion} for portion in portions]
    assert len(set().union(*owners)) == sum(map(len, owners))


def test_a_problem_with_more_samples_than_a_portion_is_cut() -> None:
    portions = drained(portioned(plan_requests(PROBLEMS[:1], 64, 0), 2, 8))
    assert max(map(len, portions)) == 32 and len(portions) > 2


def test_samples_of_a_problem_become_neighbours() -> None:
    requests = plan_requests(PROBLEMS[:6], 3, 0)
    by_index = sorted(requests, key=lambda request: request.index)
    assert keys(chain.from_iterable(drained(portioned(by_index, 2, 1)))) == keys(requests)


def test_what_is_put_back_comes_next() -> None:
    waiting = portioned(plan_requests(PROBLEMS[:8], 2, 0), 2, 4)
    first = waiting.take()
    n_left = len(waiting)
    waiting.put_back(first[1:])
    assert len(waiting) == n_left + len(first) - 1
    assert keys(waiting.take())[: len(first) - 1] == keys(first[1:])


def test_few_requests_are_shared_rather_than_fill_one_batch() -> None:
    portions = drained(portioned(plan_requests(PROBLEMS[:10], 1, 0), 2, 64))
    assert [len(portion) for portion in portions] == [5, 5]


@given(n_tasks=st.integers(0, 300), n_replicas=st.integers(1, 4), window=st.integers(1, 60))
def test_a_queue_that_reads_ahead_holds_no_more_and_keeps_the_order(
    n_tasks: int, n_replicas: int, window: int
) -> None:
    read: list[int] = []
    source = (read.append(task) or task for task in range(n_tasks))
    waiting = Portions(source, n_replicas, 2, owner=lambda task: task, window=window)
    dealt: list[int] = []
    while waiting:
        assert len(waiting) == len(read) - len(dealt) <= window
        dealt += waiting.take()
    assert dealt == read == list(range(n_tasks))


def test_a_queue_that_reads_ahead_deals_shrinking_portions_at_its_end() -> None:
    waiting = Portions(range(200), 2, 4, owner=lambda task: task, window=64)
    portions = [len(portion) for portion in drained(waiting)]
    assert portions == [16] * 9 + [14, 11, 8, 6, 5, 4, 4, 4]
