"""Several addresses of one model: the least busy is asked, one that fails rests and is tried again."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import urlsplit

from opo_eval.errors import EngineError, UsageError
from opo_eval.samplers.http import Backoff, Trouble

_TROUBLES_TO_REST = 3


def check_endpoints(endpoints: Sequence[str]) -> tuple[str, ...]:
    """Base addresses without a slash at the end, each once; one without a path gets `/v1`.

    Raises UsageError for what is no address and for one that carries a password or a query: addresses are
    recorded, and a key belongs into the environment.
    """
    if not endpoints:
        raise UsageError("no endpoint is given: give an address such as http://localhost:8000/v1")
    return tuple(dict.fromkeys(_check(endpoint) for endpoint in endpoints))


def _check(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"the endpoint at {parts.hostname} carries a user name, a password or a query: give the bare "
            "address, and a key by the environment variable that key_env names"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"{endpoint.rpartition('@')[2]!r:.80} is no endpoint: give an address such as "
            "http://localhost:8000/v1"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


class Endpoint:
    """One address and how it has been doing."""

    def __init__(self, url: str, concurrency: int) -> None:
        self.url, self.concurrency = url, concurrency
        self.outstanding = 0
        self.troubles = 0
        """In a row."""
        self.rests = 0
        """In a row; while it is not 0, one request at a time tries whether the endpoint is back."""
        self.epoch = 0
        """How often it has rested in all: tells what was sent before a rest from what was sent after it."""
        self.is_resting = self.is_tried = False
        self.reason = ""
        """Of the last trouble."""

    @property
    def is_free(self) -> bool:
        """Whether it can take one more request."""
        is_able = not self.is_tried if self.rests else self.outstanding < self.concurrency
        return is_able and not self.is_resting

    def answered(self) -> None:
        """It works: what went wrong before no longer counts, but a rest that it asked for is kept."""
        self.troubles = 0
        self.rests = int(self.is_resting)
        self.is_tried = False

    def failed(self, trouble: Trouble) -> bool:
        """Count a trouble; whether it is time to rest."""
        self.reason = trouble.reason
        self.troubles += 1
        return trouble.at_endpoint or self.rests > 0 or self.troubles >= _TROUBLES_TO_REST


class Pool:
    """Hands out endpoints; used with `async with`. EngineError once none is left for long."""

    def __init__(self, urls: Sequence[str], *, concurrency: int, retries: int, backoff: Backoff) -> None:
        self._endpoints = [Endpoint(url, concurrency) for url in urls]
        self._retries, self._backoff = retries, backoff
        self._rests: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for rest in self._rests:
            rest.cancel()

    @asynccontextmanager
    async def lease(self) -> AsyncIterator[str]:
        """The address of the least busy endpoint, once one is free; a Trouble inside counts against it."""
        endpoint = await self._free()
        epoch = endpoint.epoch
        endpoint.outstanding += 1
        endpoint.is_tried = endpoint.rests > 0
        try:
            yield endpoint.url
        except Trouble as trouble:
            # Of many requests that fail together only the first sends the endpoint to rest.
            if endpoint.epoch == epoch and endpoint.failed(trouble):
                self._rest(endpoint, trouble)
            raise
        else:
            endpoint.answered()
        finally:
            endpoint.outstanding -= 1
            self._wake()

    async def _free(self) -> Endpoint:
        while True:
            free = [endpoint for endpoint in self._endpoints if endpoint.is_free]
            if free:
                return min(free, key=lambda endpoint: endpoint.outstanding)
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _rest(self, endpoint: Endpoint, trouble: Trouble) -> None:
        endpoint.rests += 1
        endpoint.epoch += 1
        endpoint.is_resting, endpoint.is_tried = True, False
        if all(each.rests > self._retries for each in self._endpoints):
            reasons = "; ".join(f"{each.url}: {each.reason}" for each in self._endpoints)
            raise EngineError(
                f"no endpoint answers ({reasons}): start the server or check the address"
            ) from None
        task = asyncio.create_task(
            self._return(endpoint, self._backoff.delay(endpoint.rests, trouble.retry_after))
        )
        self._rests.add(task)
        task.add_done_callback(self._rests.discard)

    async def _return(self, endpoint: Endpoint, after: float) -> None:
        await self._backoff.sleep(after)
        endpoint.is_resting = False
        self._wake()
