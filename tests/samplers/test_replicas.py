"""Copies of an engine in processes of their own."""

from collections.abc import Iterator
from itertools import islice

import pytest
from samplers.engines import HELD_OUT, by_key, token_ids

from opo_eval.errors import EngineError, UsageError
from opo_eval.samplers import make_sampler, plan_requests
from opo_eval.samplers.replicas import Replicas, shares, visible_devices
from opo_eval.tiny import checkpoint_path

LATE = str(checkpoint_path("late"))
OPTIONS = {"template": "tiny", "max_tokens": 32}
REQUESTS = plan_requests(HELD_OUT[:8], 3, 0)


@pytest.fixture
def two() -> Iterator[Replicas]:
    replicas = make_sampler("hf", LATE, data_parallel=2, **OPTIONS)
    assert isinstance(replicas, Replicas)
    yield replicas
    replicas.close()


def test_two_replicas_draw_what_one_engine_draws_until_one_dies(two: Replicas) -> None:
    one = make_sampler("hf", LATE, **OPTIONS)
    assert token_ids(by_key(two.generate(REQUESTS))) == token_ids(by_key(one.generate(REQUESTS)))
    assert (two.settings, two.prompting, two.n_devices) == (one.settings, one.prompting, 2)
    assert two.prompt_ids(HELD_OUT[0]) == one.prompt_ids(HELD_OUT[0])
    assert two.prompt_text(HELD_OUT[0]) == one.prompt_text(HELD_OUT[0])
    assert two.room(HELD_OUT[0]) == one.room(HELD_OUT[0]) == 32
    _one_that_dies_is_named_and_takes_the_others_with_it(two)


def _one_that_dies_is_named_and_takes_the_others_with_it(two: Replicas) -> None:
    processes = list(two._processes)
    processes[1].kill()
    with pytest.raises(EngineError, match=r"replica 2 of 2 ended with exit status -9; what was sampled"):
        list(two.generate(REQUESTS))
    assert not any(process.is_alive() for process in processes)


def test_whoever_stops_listening_ends_the_work(two: Replicas) -> None:
    processes = list(two._processes)
    generations = two.generate(REQUESTS)
    assert len(list(islice(generations, 2))) == 2
    generations.close()
    assert not any(process.is_alive() for process in processes)


def test_a_replicas_own_refusal_is_told() -> None:
    with pytest.raises(EngineError, match="there is no checkpoint directory"):
        make_sampler("hf", "/nowhere/at/all", data_parallel=2, **OPTIONS)
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
