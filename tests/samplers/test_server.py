"""Sampling over HTTP: what is sent, what is made of every kind of misbehaviour, and what a run keeps."""

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from builders import problem
from samplers.fake_server import CARDS, FakeServer, Received, Reply, answer, error, words

from opo_eval.errors import EngineError, StoreError, UsageError
from opo_eval.records import Checkpoint, Finish, Think
from opo_eval.samplers import Generation, plan_requests, sample_run
from opo_eval.samplers.client import server_message
from opo_eval.samplers.endpoints import Pool, check_endpoints
from opo_eval.samplers.http import Backoff, Key, Trouble, retry_after
from opo_eval.samplers.server import ServerSampler
from opo_eval.samplers.server_checks import ServerWarning
from opo_eval.store import RunDir
from opo_eval.tiny import checkpoint_path

PROBLEMS = tuple(problem(number) for number in range(1, 6))
SECRET = "sk-very-secret-0123456789"
HOSTED = ({"id": "big", "owned_by": "someone"},)


class Waits(list[float]):
    """A back-off's `sleep` that notes how long it should have been and is over at once."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)
        await asyncio.sleep(0)


def quick(waits: Waits | None = None) -> Backoff:
    return Backoff(generator=random.Random(0), sleep=Waits() if waits is None else waits)


def sampler(*servers: FakeServer, **options: Any) -> ServerSampler:
    defaults = {"template": "plain", "api": "chat", "backoff": quick(), "timeout": 20.0}
    return ServerSampler("a-model", endpoints=[server.url for server in servers], **(defaults | options))


def draw(engine: ServerSampler, n: int = 4) -> list[Generation]:
    return list(engine.generate(plan_requests(PROBLEMS, n, 0)))


def is_complete(generations: list[Generation], n: int = 4) -> bool:
    """Whether every sample is there once, each with the text that belongs to its seed."""
    keys = {(g.request.problem.id, g.request.index) for g in generations}
    are_right = all(str(g.request.seed) in g.text for g in generations)
    return are_right and len(keys) == len(generations) == len(PROBLEMS) * n


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


# --- what is sent and what is made of the answer ----------------------------------------------------


def test_every_sample_is_a_request_of_its_own_with_its_own_seed() -> None:
    with FakeServer() as server:
        drawn = draw(sampler(server, temperature=0.6, top_p=0.9, top_k=20, max_tokens=77))
    assert is_complete(drawn)
    assert {r.body["seed"] for r in server.requests} == {g.request.seed for g in drawn}
    for received in server.requests:
        assert received.path == "/v1/chat/completions"
        fixed = ("model", "n", "temperature", "top_p", "top_k", "max_tokens", "repetition_penalty")
        assert [received.body[name] for name in fixed] == ["tiny", 1, 0.6, 0.9, 20, 77, 1.0]
    by_seed = {r.body["seed"]: r.body["messages"] for r in server.requests}
    for generation in drawn:
        asked = generation.request
        assert by_seed[asked.seed] == [{"role": "user", "content": asked.problem.prompt}]
        assert generation.text == words(Received("", {}, {"seed": asked.seed}, 1))
        assert generation.token_ids == tuple(generation.text.encode())
        assert generation.n_tokens == len(generation.token_ids) and generation.finish is Finish.STOP


def test_a_hosted_server_is_sent_no_field_that_it_may_not_know() -> None:
    with FakeServer(cards=HOSTED) as server:
        drawn = draw(sampler(server))
        assert draw(sampler(server, top_k=5), 1) and server.requests[-1].body["top_k"] == 5
    sent = {"model", "n", "temperature", "top_p", "messages", "seed", "max_tokens"}
    assert server.requests[0].body.keys() == sent
    assert all(g.token_ids is None and g.n_tokens == len(g.text) for g in drawn)


def test_prompts_are_the_ids_of_the_checkpoints_own_tokenizer(tmp_path: Path, data_dir: Path) -> None:
    shutil.copytree(data_dir / "tiny_lm_stories260k", tmp_path / "chat")
    template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %} [assistant]"
    (tmp_path / "chat" / "chat_template.jinja").write_text(template)
    with FakeServer() as server:
        engine = ServerSampler(
            str(tmp_path / "chat"),
            endpoints=[server.url],
            template="plain",
            system="Sum.",
            response_prefix="<think>",
            max_tokens=250,
        )
        drawn = draw(engine, 1)
        tokenizer = engine._prompts.tokenizer
    assert len(drawn) == len(server.requests) == 5
    assert engine.prompt_text(PROBLEMS[0]) == "<s>[system] Sum.[user] 1+1 [assistant]<think>"
    for generation, received in zip(
        sorted(drawn, key=lambda g: g.request.seed),
        sorted(server.requests, key=lambda r: r.body["seed"]),
        strict=True,
    ):
        ids = received.body["prompt"]
        assert received.path == "/v1/completions" and ids == engine.prompt_ids(generation.request.problem)
        assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
        assert received.body["max_tokens"] == 256 - len(ids) < 250  # what the server's window leaves
    assert engine.prompting.chat_template_sha256 is not None
    assert engine.settings.model_sha256 is not None
    assert engine.settings.engine_args == {"model": "tiny", "prompts": "token ids"}


def test_a_prompt_that_leaves_no_room_is_refused_before_anything_is_sent() -> None:
    with FakeServer(cards=({"id": "tiny", "owned_by": "vllm", "max_model_len": 4},)) as server:
        engine = sampler_of_ids(server)
        with pytest.raises(EngineError, match=r"the prompt of problem p1 has 4 tokens and the model takes 4"):
            draw(engine)
    assert server.requests == []


def sampler_of_ids(server: FakeServer) -> ServerSampler:
    """With the tokenizer of the tiny checkpoint: a token a character."""
    return ServerSampler(str(checkpoint_path("late")), endpoints=[server.url], template="tiny")


def test_text_is_sent_where_there_is_no_tokenizer_and_no_chat() -> None:
    with FakeServer() as server:
        engine = sampler(server, api="completions", template="tiny", response_prefix="0+")
        draw(engine, 1)
    assert {r.body["prompt"] for r in server.requests} == {f"{p.prompt}=0+" for p in PROBLEMS}
    assert engine.settings.engine_args["prompts"] == "text" and engine.n_devices == 1
    with pytest.raises(EngineError, match="only the server knows the prompt's token ids"):
        engine.prompt_ids(PROBLEMS[0])
    with pytest.raises(UsageError, match="text without a chat template has no system message"):
        sampler(server, api="completions", system="Sum.")


def test_a_begun_response_is_continued_by_servers_that_can() -> None:
    with FakeServer() as server, FakeServer(cards=HOSTED) as hosted:
        engine = sampler(server, response_prefix="<think>", system="Sum.")
        draw(engine, 1)
        with pytest.raises(UsageError, match="only vLLM and SGLang continue a response"):
            sampler(hosted, response_prefix="<think>")
    body = server.requests[0].body
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant"]
    assert body["messages"][-1]["content"] == "<think>"
    assert body["continue_final_message"] is True and body["add_generation_prompt"] is False
    assert engine.prompt_text(PROBLEMS[0]) == "Sum.\n\n1+1<think>"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", Finish.STOP),
        ("length", Finish.LENGTH),
        ("content_filter", Finish.ABORTED),
        (None, Finish.ABORTED),
    ],
)
def test_finish_reasons(reason: str | None, finish: Finish) -> None:
    with FakeServer(lambda r: answer(r, finish_reason=reason)) as server:
        assert {g.finish for g in draw(sampler(server, max_tokens=5), 1)} == {finish}


def test_an_aborted_response_is_asked_for_again_and_the_last_one_kept() -> None:
    def aborts_until(attempt: int) -> Callable[[Received], Reply]:
        return lambda r: answer(r, finish_reason="abort" if r.attempt < attempt else "stop")

    with FakeServer(aborts_until(3)) as server:
        assert {g.finish for g in draw(sampler(server, concurrency=1), 1)} == {Finish.STOP}
        assert len(server.requests) == 15
    with FakeServer(aborts_until(99)) as server:
        drawn = draw(sampler(server, retries=2, concurrency=1), 1)[:1]
    assert [g.finish for g in drawn] == [Finish.ABORTED]


def test_a_thought_that_the_server_took_out_is_put_back() -> None:
    def thinks(request: Received) -> Reply:
        content = None if request.body["seed"] % 2 else "4"
        return answer(request, message={"content": content, "reasoning_content": "2+2"})

    with FakeServer(thinks) as server:
        drawn = draw(sampler(server))
    for generation in drawn:
        whole = "<think>2+2" if generation.request.seed % 2 else "<think>2+2</think>4"
        assert generation.text == whole


def test_a_model_that_knows_only_the_new_name_of_the_limit() -> None:
    def modern(request: Received) -> Reply:
        if "max_tokens" in request.body:
            return error(400, "Unsupported parameter 'max_tokens': use 'max_completion_tokens' instead")
        return answer(request)

    with FakeServer(modern, cards=HOSTED) as server:
        assert is_complete(draw(sampler(server, max_tokens=9)))
    assert server.requests[-1].body["max_completion_tokens"] == 9


# --- which model ------------------------------------------------------------------------------------


def test_the_only_model_is_taken_and_among_several_one_has_to_be_named() -> None:
    several = (*CARDS, {"id": "other", "owned_by": "vllm", "max_model_len": 99})
    with FakeServer(cards=several) as server, FakeServer() as lone:
        with pytest.raises(UsageError, match="serve other, tiny: say by model which one"):
            sampler(server)
        assert sampler(server, model="other").settings.engine_args["model"] == "other"
        with pytest.raises(UsageError, match=rf"{lone.url} does not serve other: it serves tiny"):
            sampler(server, lone, model="other")
        assert sampler(server, lone, model="tiny:adapter").settings.engine_args["model"] == "tiny:adapter"


def test_a_server_without_a_list_of_models_needs_a_name() -> None:
    with FakeServer(cards=error(404)) as server:
        with pytest.raises(UsageError, match="do not list their models: say by model"):
            sampler(server)
        assert is_complete(draw(sampler(server, model="big")))


# --- misbehaviour that deserves another attempt -----------------------------------------------------


def first_attempts(bad: Callable[[Received], Reply], n: int = 1) -> Callable[[Received], Reply]:
    return lambda request: bad(request) if request.attempt <= n else answer(request)


def half(request: Received) -> Reply:
    return Reply(answer(request).body, bytes_sent=30)


TROUBLES = {
    "500": lambda r: error(500),
    "502": lambda r: Reply(b"<html>Bad gateway</html>", 502),
    "503": lambda r: error(503),
    "408": lambda r: error(408),
    "409": lambda r: error(409),
    "half a body": half,
    "half a body that is whole to HTTP": lambda r: Reply(answer(r).body[:30]),
    "an empty body": lambda r: Reply(b""),
    "garbage": lambda r: Reply(b"\xff\xfe\x00 not JSON"),
    "no object": lambda r: Reply(b"[1, 2]"),
    "no choices": lambda r: Reply(b'{"choices": []}'),
    "no text": lambda r: Reply(
        b'{"choices": [{"finish_reason": "stop"}], "usage": {"completion_tokens": 1}}'
    ),
    "no count": lambda r: Reply(b'{"choices": [{"text": "4", "finish_reason": "stop"}]}'),
    "a dropped connection": lambda r: Reply(bytes_sent=-1),
}


@pytest.mark.parametrize("bad", TROUBLES.values(), ids=TROUBLES.keys())
def test_a_request_that_fails_is_sent_again(bad: Callable[[Received], Reply]) -> None:
    with FakeServer(first_attempts(bad)) as server:
        assert is_complete(draw(sampler(server)))
    # Many failed at once and the endpoint rested meanwhile, but none was sent more often than it failed.
    assert {r.attempt for r in server.requests} == {1, 2}


@pytest.mark.parametrize("bad", TROUBLES.values(), ids=TROUBLES.keys())
def test_one_that_keeps_failing_ends_the_run(bad: Callable[[Received], Reply]) -> None:
    poison = plan_requests(PROBLEMS, 4, 0)[-1]

    def is_early() -> bool:
        return len({r.body["seed"] for r in server.requests}) < 20 or server.open > 1

    def script(request: Received) -> Reply:
        is_poison = request.body["seed"] == poison.seed
        return replace(bad(request), hold=is_early) if is_poison else answer(request)

    with FakeServer(script) as server:
        engine = sampler(server, retries=3)
        with pytest.raises(EngineError, match="19 of 20 responses are done and kept: give the same command"):
            draw(engine)
    assert sum(r.body["seed"] == poison.seed for r in server.requests) == 4


def test_what_has_been_drawn_is_yielded_before_the_error() -> None:
    requests = plan_requests(PROBLEMS, 4, 0)
    with FakeServer(lambda r: error(500) if r.body["seed"] == requests[7].seed else answer(r)) as server:
        drawn = []
        with pytest.raises(
            EngineError, match=r"sample 3 of problem p2 was asked for 3 times in vain, .* 500"
        ):
            for generation in sampler(server, retries=2).generate(requests):
                drawn.append(generation)
    assert len(drawn) > 0 and all(str(g.request.seed) in g.text for g in drawn)


def test_a_slow_answer_is_given_up_and_asked_for_again() -> None:
    slow = first_attempts(lambda r: Reply(answer(r).body, hold=lambda: True))
    with FakeServer(slow) as server:
        assert is_complete(draw(sampler(server, timeout=0.5)))
        until(lambda: server.open == 0, "an abandoned request is still open")


def test_429_is_heeded_for_as_long_as_it_says_and_not_counted() -> None:
    waits = Waits()
    busy = first_attempts(lambda r: error(429, "slow down", **{"Retry-After": "7"}), 3)
    with FakeServer(busy) as server:
        assert is_complete(draw(sampler(server, backoff=quick(waits), concurrency=1), 1), 1)
    assert len(server.requests) == 20 and len(waits) == 15 and min(waits) == 7
    with FakeServer(lambda r: error(429, "quota used up")) as server:
        with pytest.raises(EngineError, match=r"no endpoint answers .* 429: quota used up"):
            draw(sampler(server, retries=2))
        server.script = lambda r: error(429, "tomorrow", **{"Retry-After": "86400"})
        with pytest.raises(EngineError, match=r"wants to be left alone for 86400 s"):
            draw(sampler(server))


def test_waits_double_up_to_a_limit_and_never_undercut_the_server() -> None:
    backoff = Backoff(generator=random.Random(3))
    for failures in range(1, 2000):
        most = min(60.0, 2.0 ** min(failures - 1, 10))
        assert most / 2 <= backoff.delay(failures) <= most
    assert backoff.delay(1, retry_after=30) == 30
    again = Backoff(generator=random.Random(3))
    assert again.delay(1) == Backoff(generator=random.Random(3)).delay(1) != again.delay(1)


def test_retry_after_is_a_number_or_a_date() -> None:
    assert [retry_after(text) for text in ("", "12", "1.5", "-3", "soon", "inf", "nan")] == [
        0, 12, 1.5, 0, 0, 0, 0
    ]  # fmt: skip
    then = datetime.now(UTC) + timedelta(seconds=100)
    assert 90 < retry_after(format_datetime(then, usegmt=True)) <= 100


# --- several endpoints ------------------------------------------------------------------------------


def test_endpoints_share_the_load_and_the_bound_is_held_and_used() -> None:
    with FakeServer() as one, FakeServer() as other:
        was_full = []

        def when_full(request: Received) -> Reply:
            def hold() -> bool:
                was_full.append(one.open == other.open == 3)
                return not any(was_full)

            return Reply(answer(request).body, hold=hold)

        one.script = other.script = when_full
        assert is_complete(draw(sampler(one, other, concurrency=3)))
    assert one.most_open == other.most_open == 3
    assert len(one.requests) + len(other.requests) == 20


def test_a_dead_endpoints_requests_go_to_the_others_within_their_bound() -> None:
    open_at: list[int] = []

    def hold() -> bool:
        open_at.append(alive.open)
        return sum(n >= 3 for n in open_at) < 50

    with FakeServer(lambda r: Reply(answer(r).body, hold=hold)) as alive:
        dead = f"http://127.0.0.1:{free_port()}/v1"
        engine = ServerSampler(
            "m",
            endpoints=[dead, alive.url],
            template="plain",
            api="chat",
            concurrency=3,
            backoff=quick(),
        )
        assert is_complete(draw(engine))
    assert len(alive.requests) == 20 and alive.most_open == 3


def test_one_that_dies_in_the_middle_loses_nothing() -> None:
    with FakeServer() as alive, FakeServer() as dying:
        dying.script = lambda r: answer(r) if len(dying.requests) <= 3 else Reply(bytes_sent=-1)
        assert is_complete(draw(sampler(alive, dying, concurrency=2), 8), 8)
    assert len(dying.requests) > 3 and len(alive.requests) >= 30


def test_a_server_that_comes_back_is_used_again() -> None:
    with FakeServer() as server:
        engine = sampler(server, retries=40, backoff=Backoff(first=0.01, longest=0.02))
        stream = engine.generate(plan_requests(PROBLEMS, 40, 0))
        drawn = [next(stream)]
        server.stop()
        server.start()
        drawn += stream
    assert is_complete(drawn, 40)


def test_a_rest_lasts_and_then_one_request_tries() -> None:
    held: list[str] = []

    async def use(pool: Pool, go: asyncio.Event, trouble: Trouble | None = None) -> None:
        with suppress(Trouble):
            async with pool.lease() as url:
                held.append(url)
                await go.wait()
                if trouble:
                    raise trouble

    async def settle() -> int:
        for _ in range(20):
            await asyncio.sleep(0)
        return len(held)

    async def scenario() -> None:
        rest, early, late, never = (asyncio.Event() for _ in range(4))
        backoff = Backoff(sleep=lambda _: rest.wait())
        async with (
            Pool(["a"], concurrency=8, retries=6, backoff=backoff) as pool,
            asyncio.TaskGroup() as users,
        ):
            users.create_task(use(pool, early))
            users.create_task(use(pool, never, Trouble("busy", at_endpoint=True)))
            assert await settle() == 2
            never.set()
            await settle()
            for _ in range(5):
                users.create_task(use(pool, late))
            early.set()  # an answer to what was sent before the rest does not end it
            assert await settle() == 2
            rest.set()
            assert await settle() == 3  # one tries
            late.set()
            assert await settle() == 7  # it was answered: all may

    asyncio.run(scenario())


def test_a_run_stops_once_no_endpoint_has_answered_for_long() -> None:
    waits = Waits()
    with FakeServer() as one, FakeServer() as other:
        engine = sampler(one, other, retries=4, backoff=quick(waits))
        stream = engine.generate(plan_requests(PROBLEMS, 40, 0))
        drawn = [next(stream)]
        one.stop()
        other.stop()
        with pytest.raises(EngineError, match=r"no endpoint answers \(http.*; http.*\): start") as stop:
            drawn.extend(stream)
    assert f"{len(drawn)} of 200 responses are done and kept" in str(stop.value)
    # Each endpoint rested four times at least, for longer and longer, before it was given up.
    assert len(waits) >= 8 and max(waits) >= 4


def test_no_server_at_all_is_said_at_once() -> None:
    waits = Waits()
    address = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(EngineError, match=rf"no endpoint answers \({address}/v1: .*\): start the server"):
        ServerSampler("m", endpoints=[address], template="plain", api="chat", backoff=quick(waits))
    assert len(waits) == 2


# --- refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "lower max_tokens"),
        (401, "check the API key in the environment variable OPENAI_API_KEY"),
        (403, "check the API key"),
        (404, "check the endpoint's path"),
        (405, "check the endpoint's path"),
        (413, "lower max_tokens"),
        (422, "leave out the setting"),
        (307, "check the endpoint's address"),
    ],
)
def test_a_refusal_stops_at_once_with_the_servers_words(status: int, advice: str) -> None:
    waits = Waits()
    said = f"the thing\nis \x1b[31mwrong{' and wrong' * 200}"
    with FakeServer(lambda r: error(status, said)) as server:
        engine = sampler(server, concurrency=2, backoff=quick(waits))
        with pytest.raises(EngineError, match=rf"request \({status}: the thing is \[31mwrong and .*") as stop:
            draw(engine)
    message = str(stop.value)
    assert advice in message and "0 of 20" in message and message.isprintable() and len(message) < 700
    assert waits == [] and len(server.requests) <= 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error": {"message": "a", "type": "b"}}', "a"),
        ('{"error": "a"}', "a"),
        ('{"object": "error", "message": "a"}', "a"),
        ('{"detail": [{"msg": "a"}]}', '[{"msg": "a"}]'),
        ("plain text", "plain text"),
    ],
)
def test_messages_come_in_several_forms(body: str, message: str) -> None:
    assert server_message(body) == message


# --- the key ----------------------------------------------------------------------------------------


def test_the_key_is_sent_and_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", f" {SECRET}\n")
    leaky = first_attempts(lambda r: error(500, f"bad key {SECRET}"))
    with FakeServer(leaky) as server:
        engine = sampler(server, key_env="OTHER_KEY")
        sample_run(tmp_path, engine, Checkpoint(name="c"), PROBLEMS, n=2, think=Think.NONE, quiet=True)
        assert {r.headers["authorization"] for r in server.requests} == {f"Bearer {SECRET}"}
        shown = [repr(engine), str(engine.settings), repr(engine.__dict__), str(engine.prompting)]
        for bad in (error(401, f"wrong key '{SECRET}'"), error(500, SECRET), Reply(SECRET.encode())):
            server.script = lambda r, bad=bad: bad
            with pytest.raises(EngineError) as stop:
                draw(engine)
            shown.append(f"{stop.value!r} {stop.value.__cause__!r} {stop.value.__context__!r}")
    assert not any(SECRET in text for text in shown)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 3 and not any(SECRET.encode() in path.read_bytes() for path in files)


def test_a_response_that_holds_the_key_is_no_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with FakeServer(lambda r: answer(r, message={"content": r.headers["authorization"]})) as server:
        engine = sampler(server)
        with pytest.raises(EngineError, match="answers with the API key in its response: do not use it"):
            draw(engine)


def test_no_key_no_header_and_a_broken_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with FakeServer() as server:
        draw(sampler(server), 1)
    assert not any("authorization" in r.headers for r in server.requests)
    for broken in ("two words", "Schlüssel", "a\nb"):
        monkeypatch.setenv("OPENAI_API_KEY", broken)
        with pytest.raises(UsageError, match="has a character that no key has") as stop:
            Key("OPENAI_API_KEY")
        assert broken not in str(stop.value)


# --- addresses and settings -------------------------------------------------------------------------


def test_addresses_are_made_alike() -> None:
    given = ["http://host:8000", "http://host:8000/v1/", "https://api.example.org/openai/v1"]
    assert check_endpoints(given) == ("http://host:8000/v1", "https://api.example.org/openai/v1")


@pytest.mark.parametrize(
    "bad",
    [
        "http://me:hunter2@host/v1",
        "https://host/v1?key=hunter2",
        "https://host/v1#hunter2",
        "http://hunter2@h",
    ],
)
def test_an_address_with_a_secret_is_refused_without_repeating_it(bad: str) -> None:
    with pytest.raises(UsageError, match="carries a user name, a password or a query") as stop:
        check_endpoints([bad])
    assert "hunter2" not in str(stop.value)


@pytest.mark.parametrize("bad", ["host:8000", "ftp://host/v1", "http://", "http://host:99999/v1", ""])
def test_what_is_no_address_is_refused(bad: str) -> None:
    with pytest.raises(UsageError, match="is no endpoint: give an address such as"):
        check_endpoints([bad])


def test_settings_out_of_range_are_refused_before_a_server_is_asked() -> None:
    def build(**options: Any) -> ServerSampler:
        return ServerSampler("m", **({"endpoints": ["http://127.0.0.1:9"], "template": "plain"} | options))

    for option in ({"concurrency": 0}, {"timeout": 0}, {"retries": -1}, {"temperature": -1}):
        with pytest.raises(UsageError, match=f"{next(iter(option))} cannot be"):
            build(**option)
    with pytest.raises(UsageError, match="no endpoint is given"):
        build(endpoints=[])
    with pytest.raises(UsageError, match="api cannot be 'magic': choose one of auto, completions, chat"):
        build(api="magic")
    with pytest.raises(UsageError, match="api cannot be 'chat'"):
        build(api="chat", chat=False)


# --- doubts -----------------------------------------------------------------------------------------


def test_seeds_that_change_nothing_are_warned_of_once() -> None:
    same = {"message": {"content": "always the very same and rather long response"}}
    with FakeServer(lambda r: answer(r, **same)) as server:
        with pytest.warns(ServerWarning, match=r"all responses to problem p\d are the same") as caught:
            draw(sampler(server))
        assert len(caught) == 1
        draw(sampler(server, temperature=0))
        draw(sampler(server), 3)
    with FakeServer(lambda r: answer(r, message={"content": "4"}, token_ids=[1])) as server:
        draw(sampler(server))


def test_a_server_with_a_lower_limit_is_warned_of() -> None:
    with FakeServer(lambda r: answer(r, finish_reason="length", token_ids=[1, 2])) as server:
        with pytest.warns(ServerWarning, match="cut a response at 2 tokens where 512 were allowed") as caught:
            draw(sampler(server))
        assert len(caught) == 1


# --- stopping and continuing ------------------------------------------------------------------------


def test_whoever_stops_early_leaves_no_request_open() -> None:
    with FakeServer() as server:
        server.script = lambda r: Reply(answer(r).body, hold=lambda: len(server.requests) > 6)
        stream = sampler(server, concurrency=4).generate(plan_requests(PROBLEMS, 4, 0))
        drawn = [next(stream)]
        until(lambda: server.open == 4, "the other requests were not sent")
        stream.close()
        until(lambda: server.open == server.connections == 0, "a request or a connection is left")
    assert len(drawn) == 1


def test_the_order_of_the_requests_changes_no_response() -> None:
    requests = plan_requests(PROBLEMS, 4, 0)
    with FakeServer() as server:
        engine = sampler(server)
        one = {(g.request.problem.id, g.request.index): g.text for g in engine.generate(requests)}
        other = {(g.request.problem.id, g.request.index): g.text for g in engine.generate(requests[::-1])}
    assert one == other


def test_it_works_where_an_event_loop_is_running() -> None:
    async def inside() -> list[Generation]:
        return draw(sampler(server))

    with FakeServer() as server:
        assert is_complete(asyncio.run(inside()))


RUN = """
import sys
from pathlib import Path
from opo_eval.problems import make_problem
from opo_eval.records import Checkpoint, Think
from opo_eval.samplers import sample_run
from opo_eval.samplers.server import ServerSampler
problems = tuple(
    make_problem(benchmark="sums", source_id=f"p{i}", prompt=f"{i}+{i}", answer=str(2 * i)) for i in range(9)
)
sampler = ServerSampler("m", endpoints=[sys.argv[1]], template="plain", api="chat", concurrency=4)
sample_run(Path(sys.argv[2]), sampler, Checkpoint(name="c"), problems, n=8, think=Think.NONE, quiet=True)
"""


def test_a_killed_run_is_continued_to_the_whole_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    with FakeServer() as server:
        command = [sys.executable, "-c", RUN, server.url]
        subprocess.run([*command, str(tmp_path / "whole")], check=True)
        for stop_after in (10, 31):
            allowed = len(server.requests) + stop_after
            server.script = lambda r, n=allowed: Reply(answer(r).body, hold=lambda: len(server.requests) > n)
            killed = subprocess.Popen([*command, str(tmp_path / "killed")])
            until(lambda n=allowed: len(server.requests) > n, "the run did not get far enough")
            os.kill(killed.pid, signal.SIGKILL)
            assert killed.wait() == -signal.SIGKILL
        server.script = answer
        subprocess.run([*command, str(tmp_path / "killed")], check=True)
    whole, continued = (sorted(RunDir(tmp_path / name).samples(), key=str) for name in ("whole", "killed"))
    assert whole == continued and len(whole) == 72
    assert not any(SECRET.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_an_interrupted_run_says_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    with FakeServer() as server:
        server.script = lambda r: Reply(answer(r).body, hold=lambda: len(server.requests) > 9)
        program = f"try:\n{textwrap.indent(RUN, '    ')}\nexcept KeyboardInterrupt:\n    sys.exit(130)"
        run = subprocess.Popen(
            [sys.executable, "-c", program, server.url, str(tmp_path)], stderr=subprocess.PIPE, text=True
        )
        until(lambda: len(server.requests) > 9 and server.open == 4, "the run did not get far enough")
        run.send_signal(signal.SIGINT)
        assert run.communicate()[1] == "" and run.returncode == 130
        until(lambda: server.connections == 0, "a connection is left")
    assert len(list(RunDir(tmp_path).samples())) >= 6


def test_another_served_model_is_refused(tmp_path: Path) -> None:
    def run(server: FakeServer) -> None:
        sample_run(
            tmp_path, sampler(server), Checkpoint(name="c"), PROBLEMS, n=1, think=Think.NONE, quiet=True
        )

    with FakeServer() as server, FakeServer(cards=HOSTED) as other:
        run(server)
        with pytest.raises(StoreError, match=r"engine_args.model was 'tiny', now 'big'"):
            run(other)
    assert json.loads((tmp_path / "manifest.json").read_text())["provenance"][0]["device"] == (
        f"server 127.0.0.1:{server.port}"
    )
