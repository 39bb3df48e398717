"""The queue in front of the replicas, and what each of them gets of a cluster: no Ray runs here."""

import math
import socket
import sys
from collections.abc import Iterable
from itertools import chain

import pytest
from builders import problem
from hypothesis import given
from hypothesis import strategies as st

from opo_eval.errors import EngineError, UsageError
from opo_eval.samplers import Request, make_sampler, plan_requests
from opo_eval.samplers.portions import Portions

PROBLEMS = tuple(problem(number) for number in range(1, 41))


def keys(requests: Iterable[Request]) -> list[tuple[str, int]]:
    return [(request.problem.id, request.index) for request in requests]


def drained(waiting: Portions) -> list[list[Request]]:
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
    portions = drained(Portions(requests, n_replicas, least))
    assert sorted(keys(chain.from_iterable(portions))) == sorted(keys(requests))
    fair = math.ceil(len(requests) / n_replicas)
    full = max(min(least, fair), math.ceil(len(requests) / (2 * n_replicas)))
    assert all(0 < len(portion) <= 2 * full for portion in portions)
    assert all(len(portion) >= min(least, fair) for portion in portions[:-1])


def test_portions_shrink_and_hold_whole_problems() -> None:
    requests = plan_requests(PROBLEMS, 4, 0)
    portions = drained(Portions(requests, 2, 8))
    assert [len(portion) for portion in portions] == [40, 32, 24, 16, 12, 12, 8, 8, 8]
    owners = [{request.problem.id for request in portion} for portion in portions]
    assert len(set().union(*owners)) == sum(map(len, owners))


def test_a_problem_with_more_samples_than_a_portion_is_cut() -> None:
    portions = drained(Portions(plan_requests(PROBLEMS[:1], 64, 0), 2, 8))
    assert max(map(len, portions)) == 32 and len(portions) > 2


def test_samples_of_a_problem_become_neighbours() -> None:
    requests = plan_requests(PROBLEMS[:6], 3, 0)
    by_index = sorted(requests, key=lambda request: request.index)
    assert keys(chain.from_iterable(drained(Portions(by_index, 2, 1)))) == keys(requests)


def test_what_is_put_back_comes_next() -> None:
    waiting = Portions(plan_requests(PROBLEMS[:8], 2, 0), 2, 4)
    first = waiting.take()
    n_left = len(waiting)
    waiting.put_back(first[1:])
    assert len(waiting) == n_left + len(first) - 1
    assert keys(waiting.take())[: len(first) - 1] == keys(first[1:])


def test_few_requests_are_shared_rather_than_fill_one_batch() -> None:
    portions = drained(Portions(plan_requests(PROBLEMS[:10], 1, 0), 2, 64))
    assert [len(portion) for portion in portions] == [5, 5]


def test_replicas_get_what_the_nodes_have() -> None:
    cluster = pytest.importorskip("opo_eval.samplers.ray_cluster")
    gpus = [{"CPU": 8.0}, {"CPU": 32.0, "GPU": 4.0}, {"CPU": 32.0, "GPU": 3.0}]
    assert cluster.reserve(gpus, None, 1) == cluster.Reserved(n=7, gpus=1, cpus=1)
    assert cluster.reserve(gpus, None, 2) == cluster.Reserved(
        n=3, gpus=2, cpus=1
    )  # 2 on one node, 1 on the other
    assert cluster.reserve(gpus, 2, 0) == cluster.Reserved(n=2, gpus=0, cpus=32)
    cpus = [{"CPU": 8.0}, {"CPU": 3.0}]
    assert [cluster.reserve(cpus, n, 1).cpus for n in (None, 2, 3, 4, 5, 11)] == [8, 4, 3, 2, 2, 1]


@pytest.mark.parametrize(
    ("nodes", "n", "each", "sentence"),
    [
        ([{"CPU": 8.0, "GPU": 4.0}] * 2, 9, 1, r"9 replicas with 1 GPU each .* 2 nodes .* room for 8: lower"),
        (
            [{"CPU": 8.0, "GPU": 4.0}],
            2,
            3,
            r"2 replicas with 3 GPUs each .* 1 node .* room for 1: lower --re",
        ),
        (
            [{"CPU": 8.0, "GPU": 4.0}],
            None,
            8,
            r"1 replica with 8 GPUs each .* room for 0: .*--tensor-parallel",
        ),
        ([{"CPU": 2.0}], 3, 1, r"3 replicas with 1 CPU each do not fit into 1 node with room for 2: lower"),
        ([{"CPU": 2.0}], 0, 1, r"replicas cannot be 0: it has to be at least 1"),
    ],
)
def test_a_crowd_is_refused(nodes: list[dict[str, float]], n: int | None, each: int, sentence: str) -> None:
    cluster = pytest.importorskip("opo_eval.samplers.ray_cluster")
    with pytest.raises(UsageError, match=sentence):
        cluster.reserve(nodes, n, each)


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:0", "head:70000", "ray://head:10001"])
def test_what_is_no_address_is_refused(address: str) -> None:
    cluster = pytest.importorskip("opo_eval.samplers.ray_cluster")
    with pytest.raises(UsageError, match="is no address of a Ray: give HOST:PORT of its head"):
        cluster._host_and_port(address)


def test_an_address_where_nothing_listens_is_named() -> None:
    cluster = pytest.importorskip("opo_eval.samplers.ray_cluster")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(
        EngineError, match=rf"no Ray answers at 127.0.0.1:{port} .*refused.*: start one there"
    ):
        cluster.join(f"127.0.0.1:{port}")


def test_a_missing_ray_is_said_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("opo_eval.samplers.ray_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"engine ray needs ray, .*: pip install 'opo-eval\[ray\]'"):
        make_sampler("ray", "a-model")


def test_options_of_other_engines_are_refused() -> None:
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match="engine ray has no option endpoints"):
        make_sampler("ray", "a-model", endpoints=["http://host:8000"])
    with pytest.raises(UsageError, match="engine ray takes --replicas, not --data-parallel"):
        make_sampler("ray", "a-model", data_parallel=2)
    with pytest.raises(UsageError, match="replica_engine cannot be 'server': it has to be hf or vllm"):
        make_sampler("ray", "a-model", replica_engine="server")
