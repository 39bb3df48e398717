"""Sampling from any OpenAI-compatible endpoint: vLLM, SGLang or a hosted one.

Every response is a request of its own with its own seed. Prompts are sent as token ids where the
checkpoint's tokenizer is at hand, so that a model reads the same as with any other engine; else as a
conversation that the server puts through its chat template. What is tried again, and what ends a run, is
said in `http`.

A server says which model it serves, not with which weights: the served name is recorded, so serve every
checkpoint under a name of its own. Whether a hosted server heeds seeds it does not say either: responses
that are all alike are warned of.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Unpack
from urllib.parse import urlsplit

from opo_eval.errors import EngineError, UsageError
from opo_eval.records import Problem, Prompting, SamplingSettings
from opo_eval.samplers.background import Emit, stream
from opo_eval.samplers.base import Generation, Request
from opo_eval.samplers.client import Client, list_models
from opo_eval.samplers.endpoints import Pool, check_endpoints
from opo_eval.samplers.http import Backoff, Key, Refusal, Trouble
from opo_eval.samplers.openai_api import (
    ABORT,
    Answer,
    Served,
    choose_model,
    draw_fields,
    read_answer,
)
from opo_eval.samplers.options import DRAW_DEFAULTS, DrawOptions, PromptOptions, check_range, chosen
from opo_eval.samplers.prompts import room_for
from opo_eval.samplers.server_checks import ServerChecks
from opo_eval.samplers.server_prompts import choose_prompts

_OLD_LIMIT, _NEW_LIMIT = "max_tokens", "max_completion_tokens"


class _Drawing(PromptOptions, DrawOptions, total=False):
    """How a ServerSampler prompts and draws."""


class ServerOptions(_Drawing, total=False):
    """All that it can be given by name; see `ServerSampler`."""

    endpoints: Sequence[str]
    model: str | None
    api: str
    key_env: str
    concurrency: int
    timeout: float
    retries: int


class ServerSampler:
    """A model that servers answer for, all of them alike, as an engine.

    checkpoint: a directory or hub name whose tokenizer makes the prompts, or the mere name of a served
    model. endpoints: base addresses, as a rule with `/v1` at the end. model: the name that it is served
    under, by default the only one that the endpoints list. api: `completions` sends token ids (text where no
    tokenizer is at hand), `chat` sends a conversation, `auto` sends token ids or else a conversation.
    key_env: the environment variable that holds the API key. concurrency: requests at a time at each
    endpoint. timeout: seconds for one response. retries: further attempts for one request.

    Raises UsageError for settings out of range or at odds, EngineError where no endpoint answers.
    """

    def __init__(
        self,
        checkpoint: str,
        *,
        endpoints: Sequence[str] = (),
        model: str | None = None,
        api: str = "auto",
        key_env: str = "OPENAI_API_KEY",
        concurrency: int = 64,
        timeout: float = 3600.0,
        retries: int = 6,
        backoff: Backoff | None = None,
        **options: Unpack[_Drawing],
    ) -> None:
        check_range(concurrency=concurrency, timeout=timeout, retries=retries, **options)
        self._urls, self._key = check_endpoints(endpoints), Key(key_env)
        self._concurrency, self._timeout, self._retries = concurrency, timeout, retries
        self.backoff = backoff or Backoff()
        self._prompts = choose_prompts(api, checkpoint, chosen(options, PromptOptions))
        self._served = self._find(model)
        self._limit = _OLD_LIMIT
        self._refuse_prefix_of_hosted()
        self._settings = SamplingSettings(
            engine="server",
            **{**DRAW_DEFAULTS, **chosen(options, DrawOptions)},
            dtype="server",
            model_sha256=_sha256(checkpoint),
            engine_args={"model": self._served.name, "prompts": self._prompts.name},
        )

    @property
    def prompting(self) -> Prompting:
        """Template in use, and the chat template where it is applied here."""
        return self._prompts.prompting

    @property
    def settings(self) -> SamplingSettings:
        """All that decides what is drawn, as far as it is known."""
        return self._settings

    @property
    def device(self) -> str:
        """Which servers answer."""
        return f"server {', '.join(urlsplit(url).netloc for url in self._urls)}"

    @property
    def n_devices(self) -> int:
        """How many servers share the work; what each of them runs on is not known."""
        return len(self._urls)

    def prompt_text(self, problem: Problem) -> str:
        """All that the model reads before it answers, as far as it is known here."""
        return self._prompts.text(problem)

    def prompt_ids(self, problem: Problem) -> list[int]:
        """Token ids of the whole prompt, special tokens once; EngineError where only a server knows them."""
        return self._prompts.ids(problem)

    def room(self, problem: Problem) -> int:
        """Tokens that a response to it may have, as far as the window and the prompt's length are known."""
        return self._room(problem, self._prompts.fields(problem))

    def close(self) -> None:
        """Nothing: connections live as long as a call of `generate`."""

    def start(self) -> None:
        """Nothing: whoever serves has loaded it."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield generations as they arrive; whoever stops early cancels what is outstanding.

        Raises EngineError where a server refuses, no endpoint answers for long, or a prompt leaves no room.
        """
        asked = {request.problem.id: request.problem for request in requests}
        bodies = {problem.id: self._prompts.fields(problem) for problem in asked.values()}
        rooms = {problem.id: self._room(problem, bodies[problem.id]) for problem in asked.values()}
        checks = ServerChecks(requests, temperature=self._settings.temperature)
        done = 0
        try:
            with closing(stream(partial(self._draw, requests, bodies, rooms))) as generations:
                for generation in generations:
                    done += 1
                    checks.look(generation, rooms[generation.request.problem.id])
                    yield generation
        except EngineError as error:
            raise EngineError(
                f"{error}; {done} of {len(requests)} responses are done and kept: give the same command to "
                "continue"
            ) from None

    async def _draw(
        self,
        requests: Sequence[Request],
        bodies: dict[str, dict[str, Any]],
        rooms: dict[str, int],
        emit: Emit[Generation],
    ) -> None:
        waiting = deque(requests)
        common = draw_fields(self._settings, self._served)
        pool = Pool(self._urls, concurrency=self._concurrency, retries=self._retries, backoff=self.backoff)

        async def work() -> None:
            while waiting:
                request = waiting.popleft()
                body = common | bodies[request.problem.id] | {"seed": request.seed}
                answer = await self._answer(client, pool, request, body, rooms[request.problem.id])
                await emit(_generation(request, answer))

        async with self._client() as client, pool, asyncio.TaskGroup() as workers:
            for _ in range(min(len(requests), self._most_at_once)):
                workers.create_task(work())

    async def _answer(
        self, client: Client, pool: Pool, request: Request, body: dict[str, Any], room: int
    ) -> Answer:
        failures = 0
        while True:
            limit = self._limit
            try:
                async with pool.lease() as url:
                    data = await client.send(
                        url, self._prompts.path, body | {limit: room}, timeout=self._timeout
                    )
                    return _whole(read_answer(data), is_last=failures == self._retries)
            except Refusal as refusal:
                # Newer hosted models know the limit by its new name only, most other servers by the old one.
                if limit == _NEW_LIMIT or _NEW_LIMIT not in str(refusal):
                    raise
                self._limit = _NEW_LIMIT
            except Trouble as trouble:
                failures += not trouble.at_endpoint
                await self._wait(request, failures, trouble)

    async def _wait(self, request: Request, failures: int, trouble: Trouble) -> None:
        if failures > self._retries:
            raise EngineError(
                f"sample {request.index} of problem {request.problem.source_id} was asked for {failures} "
                f"times in vain, the last time {trouble.reason}: look at the server's log"
            ) from None
        if not trouble.at_endpoint:
            await self.backoff.sleep(self.backoff.delay(failures, trouble.retry_after))

    @property
    def _most_at_once(self) -> int:
        return self._concurrency * len(self._urls)

    def _client(self) -> Client:
        return Client(self._key, most_connections=self._most_at_once)

    def _find(self, model: str | None) -> Served:
        async def look(emit: Emit[dict[str, list[dict[str, Any]]]]) -> None:
            async with self._client() as client:
                await emit(await list_models(client, self._urls, self.backoff))

        (listed,) = stream(look)
        return choose_model(model, listed)

    def _refuse_prefix_of_hosted(self) -> None:
        if self._prompts.needs_open_server and not self._served.is_open:
            raise UsageError(
                "only vLLM and SGLang continue a response that was begun in a chat, and the endpoints do not "
                "say that they are one: give the tokenizer's directory as checkpoint, or no response prefix"
            )

    def _room(self, problem: Problem, body: dict[str, Any]) -> int:
        prompt = body.get("prompt")
        window = self._served.window if isinstance(prompt, list) else None
        n_prompt = len(prompt) if isinstance(prompt, list) else 0
        return room_for(problem, n_prompt, max_tokens=self._settings.max_tokens, window=window)


def _whole(answer: Answer, *, is_last: bool) -> Answer:
    # A server that is shut down hands out what it has: that is no response, but the last attempt's is kept.
    if answer.reason == ABORT and not is_last:
        raise Trouble("it aborted the response")
    return answer


def _generation(request: Request, answer: Answer) -> Generation:
    return Generation(
        request=request,
        text=answer.text,
        token_ids=answer.token_ids,
        finish=answer.finish,
        n_tokens=answer.n_tokens,
    )


def _sha256(checkpoint: str) -> str | None:
    if not Path(checkpoint).is_dir():
        return None
    from opo_eval.samplers.checkpoints import model_sha256

    return model_sha256(checkpoint)
