"""Which Ray is joined and what each replica gets of it: no Ray runs here."""

import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest

from opo_eval.errors import EngineError, UsageError
from opo_eval.grading.run import make_grader
from opo_eval.samplers import make_sampler

cluster = pytest.importorskip("opo_eval.cluster.nodes")


def test_replicas_get_what_the_nodes_have() -> None:
    gpus = [{"CPU": 8.0}, {"CPU": 32.0, "GPU": 4.0}, {"CPU": 32.0, "GPU": 3.0}]
    assert cluster.reserve(gpus, None, gpus_each=1) == cluster.Reserved(n=7, gpus=1, cpus=1)
    on_one_and_on_two = cluster.Reserved(n=3, gpus=2, cpus=1)
    assert cluster.reserve(gpus, None, gpus_each=2) == on_one_and_on_two
    assert cluster.reserve(gpus, 2) == cluster.Reserved(n=2, gpus=0, cpus=32)
    cpus = [{"CPU": 8.0}, {"CPU": 3.0}]
    assert [cluster.reserve(cpus, n, gpus_each=1).cpus for n in (None, 2, 3, 4, 5, 11)] == [8, 4, 3, 2, 2, 1]


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
    with pytest.raises(UsageError, match=sentence):
        cluster.reserve(nodes, n, gpus_each=each)


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:0", "head:70000", "ray://head:10001"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is no address of a Ray: give HOST:PORT of its head"):
        cluster._host_and_port(address)


def test_an_address_where_nothing_listens_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = rf"no Ray answers at 127.0.0.1:{port} .*refused.*: start one there"
    with pytest.raises(EngineError, match=said):
        cluster.join(f"127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: make_sampler("ray", "a-model"),
            r"engine ray needs ray, .* installed: pip install 'opo-eval\[ray\]'$",
        ),
        (
            lambda: make_grader(graders=2),
            r"grading on a Ray needs ray, .* pip install 'opo-eval\[ray\]', or leave out --gr",
        ),
    ],
)
def test_a_missing_ray_is_said_with_what_installs_it(
    make: Callable[[], Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_ray = ("opo_eval.cluster.", "opo_eval.samplers.ray_", "opo_eval.grading.ray_")
    for name in [name for name in sys.modules if name.startswith(needs_ray)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=sentence):
        make()
