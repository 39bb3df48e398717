"""A real vLLM server: the same model gives the same tokens over HTTP as in this process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samplers.engines import HELD_OUT, assert_pass_rates_agree, pass_rates

from opo_eval.errors import EngineError, UsageError
from opo_eval.problems import make_problem
from opo_eval.records import Checkpoint, Finish, Think
from opo_eval.samplers import Generation, plan_requests, sample_run
from opo_eval.samplers.hf import HFSampler
from opo_eval.samplers.server import ServerSampler
from opo_eval.store import RunDir
from opo_eval.tiny import checkpoint_path

SUMS = ("3+4", "12+7-5", "9-4+3", "41+8-17", "6-2+9", "88+1")
PROBLEMS = tuple(
    make_problem(benchmark="sums", source_id=str(i), prompt=sum_, answer="0") for i, sum_ in enumerate(SUMS)
)
LATE = str(checkpoint_path("late"))


def sampler(address: str, checkpoint: str = LATE, **options: Any) -> ServerSampler:
    return ServerSampler(
        checkpoint, endpoints=[address], **({"template": "tiny", "max_tokens": 48} | options)
    )


def by_key(generations: Iterator[Generation]) -> dict[tuple[str, int], Generation]:
    return {(g.request.problem.source_id, g.request.index): g for g in generations}


def token_ids(generations: Iterator[Generation]) -> dict[tuple[str, int], Any]:
    return {key: g.token_ids for key, g in by_key(generations).items()}


def test_greedy_responses_are_those_of_transformers(vllm_server: str) -> None:
    requests = plan_requests(PROBLEMS, 1, 0)
    here = HFSampler(LATE, template="tiny", max_tokens=48, temperature=0, device="cpu", dtype="float32")
    there = sampler(vllm_server, temperature=0)
    assert [there.prompt_ids(problem) for problem in PROBLEMS] == [here.prompt_ids(p) for p in PROBLEMS]
    expected, drawn = by_key(here.generate(requests)), by_key(there.generate(requests))
    for key, generation in drawn.items():
        assert generation.token_ids == expected[key].token_ids
        assert generation.text == expected[key].text
        assert generation.finish is expected[key].finish
        assert generation.n_tokens == expected[key].n_tokens
    assert drawn.keys() == expected.keys()


def test_a_seed_gives_the_same_response_in_any_company(vllm_server: str) -> None:
    requests = plan_requests(PROBLEMS, 8, 3)
    assert max(request.seed for request in requests) > 2**62
    together = token_ids(sampler(vllm_server).generate(requests))
    alone = token_ids(sampler(vllm_server, concurrency=1).generate(requests[::-3]))
    assert alone.items() <= together.items() and len(alone) == 16
    assert len(set(together.values())) > len(PROBLEMS)


def test_pass_rates_are_those_of_transformers(vllm_server: str, hf_pass_rates: np.ndarray) -> None:
    drawn = sampler(vllm_server, max_tokens=64).generate(plan_requests(HELD_OUT, 16, 0))
    assert_pass_rates_agree(hf_pass_rates, pass_rates(drawn))


def test_sampling_settings_reach_the_model(vllm_server: str) -> None:
    requests = plan_requests(PROBLEMS, 2, 0)
    greedy = token_ids(sampler(vllm_server, temperature=0).generate(requests))
    assert token_ids(sampler(vllm_server, top_k=1).generate(requests)) == greedy
    assert token_ids(sampler(vllm_server, top_p=1e-6).generate(requests)) == greedy
    assert token_ids(sampler(vllm_server).generate(requests)) != greedy
    for generation in sampler(vllm_server, max_tokens=2).generate(requests):
        assert generation.n_tokens == 2 and generation.finish is Finish.LENGTH


@pytest.mark.parametrize("prefix", ["", "5+"])
def test_a_conversation_is_put_through_the_servers_template_once(vllm_server: str, prefix: str) -> None:
    requests = plan_requests(PROBLEMS, 2, 0)
    ids = sampler(vllm_server, response_prefix=prefix, temperature=0)
    chat = sampler(vllm_server, "served", api="chat", template="plain", response_prefix=prefix, temperature=0)
    text = sampler(vllm_server, "served", api="completions", response_prefix=prefix, temperature=0)
    expected = token_ids(ids.generate(requests))
    assert token_ids(chat.generate(requests)) == token_ids(text.generate(requests)) == expected
    assert chat.settings.engine_args == {"model": "tiny-late", "prompts": "chat"}


def test_the_servers_window_is_heeded(vllm_server: str) -> None:
    long = make_problem(benchmark="sums", source_id="long", prompt="1+" * 120 + "1", answer="121")
    (drawn,) = sampler(vllm_server, max_tokens=999, temperature=0).generate(plan_requests([long], 1, 0))
    assert drawn.n_tokens <= 256 - 242
    longer = make_problem(benchmark="sums", source_id="longer", prompt="1+" * 150 + "1", answer="151")
    with pytest.raises(
        EngineError, match="the prompt of problem longer has 302 tokens and the model takes 256"
    ):
        list(sampler(vllm_server).generate(plan_requests([longer], 1, 0)))


def test_what_the_server_refuses_is_said_in_its_words(vllm_server: str) -> None:
    with pytest.raises(UsageError, match="does not serve other: it serves tiny-late"):
        sampler(vllm_server, model="other")
    text = sampler(vllm_server, "served", api="completions", max_tokens=999)
    with pytest.raises(EngineError, match=r"\(400: .*max_tokens.*\): lower max_tokens"):
        list(text.generate(plan_requests(PROBLEMS, 1, 0)))


def test_a_run_is_sampled_and_enlarged(vllm_server: str, tmp_path: Path) -> None:
    def run(path: Path, n: int) -> RunDir:
        engine = sampler(vllm_server, concurrency=5)
        return sample_run(path, engine, Checkpoint(name="late"), PROBLEMS, n=n, think=Think.NONE, quiet=True)

    run(tmp_path / "grown", 2)
    grown, whole = run(tmp_path / "grown", 4), run(tmp_path / "whole", 4)
    assert sorted(grown.samples(), key=str) == sorted(whole.samples(), key=str)
    assert len(list(whole.samples())) == 24 and all(sample.token_ids for sample in whole.samples())
