"""One request over HTTP, and all that may come of it, in the terms of `http`."""

import asyncio
import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import httpx2

from opo_eval.errors import EngineError
from opo_eval.samplers.http import Backoff, Key, Refusal, Trouble, check_status
from opo_eval.samplers.openai_api import read_cards

_CONNECT_S, _LOOK_S = 10.0, 30.0
_LOOKS = 3
_NO_CONNECTION = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
_NO_LIST = (404, 405, 501)


class Client:
    """Sends requests with a key in the header; used with `async with`."""

    def __init__(self, key: Key, *, most_connections: int) -> None:
        self._key = key
        self._http = httpx2.AsyncClient(
            headers={"User-Agent": f"opo-eval/{version('opo-eval')}", **key.headers},
            timeout=httpx2.Timeout(None, connect=_CONNECT_S),
            limits=httpx2.Limits(
                max_connections=most_connections, max_keepalive_connections=most_connections
            ),
        )

    async def __aenter__(self) -> "Client":
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def send(self, url: str, path: str, body: dict[str, Any] | None, *, timeout: float) -> Any:
        """The decoded answer of POST, or of GET where there is no body.

        timeout: seconds for all of it. Raises Trouble, Refusal and EngineError as `http` says.
        """
        response = await self._response(url, f"{url}/{path}", body, timeout)
        # A proxy's error page may be in any encoding.
        text = response.content.decode("utf-8", "replace")
        check_status(url, response.status_code, response.headers, server_message(text), self._key)
        if self._key.is_in(text):
            raise EngineError(f"{url} answers with the API key in its response: do not use it")
        try:
            return json.loads(text)
        except ValueError:
            raise Trouble(f"its answer is no JSON: {self._key.hide(text[:80]) or 'nothing'}") from None

    async def _response(self, url: str, address: str, body: Any, timeout: float) -> httpx2.Response:
        try:
            async with asyncio.timeout(timeout):
                if body is None:
                    return await self._http.get(address)
                return await self._http.post(address, json=body)
        except TimeoutError:
            raise Trouble(f"it has not answered in {timeout:g} s") from None
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            reason = self._key.hide(str(error)) or type(error).__name__
            raise Trouble(reason, at_endpoint=isinstance(error, _NO_CONNECTION)) from None


def server_message(text: str) -> str:
    """What a server says in the body of an error, in any of the usual forms; else the body itself."""
    try:
        said = json.loads(text)
    except ValueError:
        return text
    for name in ("error", "message", "detail"):
        if isinstance(said, dict) and said.get(name):
            said = said[name]
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)


async def list_models(
    client: Client, urls: Sequence[str], backoff: Backoff
) -> dict[str, list[dict[str, Any]]]:
    """For every endpoint that answers, the cards of its models: none where it keeps no list.

    An endpoint that does not answer is left out. Raises EngineError where none does, or for one that
    refuses.
    """
    found = await asyncio.gather(*(_cards(client, url, backoff) for url in urls), return_exceptions=True)
    listed, missing = {}, []
    for url, cards in zip(urls, found, strict=True):
        if isinstance(cards, Trouble):
            missing.append(f"{url}: {cards.reason}")
        elif isinstance(cards, BaseException):
            raise cards
        else:
            listed[url] = cards
    if not listed:
        raise EngineError(
            f"no endpoint answers ({'; '.join(missing)}): start the server or check the address"
        )
    return listed


async def _cards(client: Client, url: str, backoff: Backoff) -> list[dict[str, Any]]:
    for look in range(1, _LOOKS + 1):
        try:
            return read_cards(await client.send(url, "models", None, timeout=_LOOK_S))
        except Refusal as refusal:
            if refusal.status in _NO_LIST:
                return []
            raise
        except Trouble as trouble:
            if look == _LOOKS:
                raise
            await backoff.sleep(backoff.delay(look, trouble.retry_after))
    raise AssertionError
