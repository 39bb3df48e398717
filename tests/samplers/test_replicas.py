"""Copies of an engine in processes of their own."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest
from samplers.engines import HELD_OUT, by_key, token_ids
from samplers.fake_server import FakeServer, Received, answer

from opo_eval.errors import EngineError, UsageError
from opo_eval.samplers import make_sampler, plan_requests
from opo_eval.samplers.replicas import Replicas, shares, visible_devices
from opo_eval.tiny import checkpoint_path

LATE = str(checkpoint_path("late"))
OPTIONS = {"template": "tiny", "max_tokens": 32}
REQUESTS = plan_requests(HELD_OUT[:8], 3, 0)


@pytest.fixture
def address() -> Iterator[str]:
    """Of a server that answers what the first problem asks, and all else when it is too late.

    A replica that only asks a server is there at once.
    """
    with FakeServer(lambda request: replace(answer(request), hold=lambda: not is_first(request))) as server:
        yield server.url


def is_first(request: Received) -> bool:
    return request.body["messages"][-1]["content"] == HELD_OUT[0].prompt


def asking(address: str, **options: str) -> Replicas:
    settings = {"endpoints": [address], "template": "plain", "api": "chat", **options}
    replicas = make_sampler("server", "a-model", data_parallel=2, **settings)
    assert isinstance(replicas, Replicas)
    return replicas


def test_two_replicas_draw_what_one_engine_draws() -> None:
    one, two = (make_sampler("hf", LATE, data_parallel=n, **OPTIONS) for n in (1, 2))
    assert isinstance(two, Replicas)
    assert token_ids(by_key(two.generate(REQUESTS))) == token_ids(by_key(one.generate(REQUESTS)))
    assert (two.settings, two.prompting, two.n_devices) == (one.settings, one.prompting, 2)
    assert two.prompt_ids(HELD_OUT[0]) == one.prompt_ids(HELD_OUT[0])
    assert two.prompt_text(HELD_OUT[0]) == one.prompt_text(HELD_OUT[0])
    assert two.room(HELD_OUT[0]) == one.room(HELD_OUT[0]) == 32
    two.close()


def test_a_replica_that_dies_is_named_and_takes_the_others_with_it(address: str) -> None:
    two = asking(address)
    processes = list(two._processes)
    generations = two.generate(REQUESTS)
    next(generations)
    processes[1].kill()
    with pytest.raises(EngineError, match=r"replica 2 of 2 ended with exit status -9; what was sampled"):
        list(generations)
    assert not any(process.is_alive() for process in processes)


def test_whoever_stops_listening_ends_the_work(address: str) -> None:
    two = asking(address)
    processes = list(two._processes)
    generations = two.generate(REQUESTS)
    assert len(list(islice(generations, 2))) == 2
    generations.close()
    assert not any(process.is_alive() for process in processes)


def test_a_replicas_own_refusal_is_told(address: str) -> None:
    with pytest.raises(UsageError, match="does not serve other: it serves tiny"):
        asking(address, model="other")
    with pytest.raises(UsageError, match="data_parallel cannot be 0"):
        make_sampler("hf", LATE, data_parallel=0, **OPTIONS)


def test_problems_are_dealt_out_whole_and_in_turn() -> None:
    dealt = shares(REQUESTS, 3)
    assert [len(share) for share in dealt] == [9, 9, 6]
    owners = [{request.problem.id for request in share} for share in dealt]
    assert not owners[0] & owners[1] and not owners[1] & owners[2] and not owners[0] & owners[2]


def test_each_replica_sees_gpus_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [visible_devices(place, 2) for place in (0, 1)] == ["0,1", "2,3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    assert visible_devices(1, 1) == "6"
    with pytest.raises(EngineError, match="replica 2 would need GPU 4 of those in CUDA_VISIBLE"):
        visible_devices(1, 2)
