"""An OpenAI-compatible server on this machine that misbehaves as a script tells it to."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Received:
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    attempt: int
    """1 for the first request with its seed."""


@dataclass(frozen=True)
class Reply:
    """What to answer, and how badly."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    bytes_sent: int | None = None
    """The connection is dropped after so many bytes of the body; -1: before anything is sent."""
    hold: Callable[[], bool] = lambda: False
    """The answer waits while this is true."""


def words(request: Received) -> str:
    """A text that depends on the seed alone, as a model's does."""
    return f"seed {request.body['seed']} says {request.body['seed'] % 97}"


def answer(request: Received, **changes: Any) -> Reply:
    """A response to either API, with token ids where they are asked for."""
    text = words(request)
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    choice |= {"message": {"content": text}} if "messages" in request.body else {"text": text}
    if request.body.get("return_token_ids"):
        choice["token_ids"] = list(text.encode())
    whole = {"choices": [choice | changes], "usage": {"completion_tokens": len(text.encode())}}
    return Reply(json.dumps(whole).encode())


def error(status: int, message: str = "no", **headers: str) -> Reply:
    """An error in the form that OpenAI gives it."""
    return Reply(json.dumps({"error": {"message": message}}).encode(), status, headers)


CARDS = ({"id": "tiny", "owned_by": "vllm", "max_model_len": 256},)


class FakeServer:
    """Runs in a thread; used with `with`. `script` says what to answer to a request for a response."""

    def __init__(
        self,
        script: Callable[[Received], Reply] = answer,
        cards: tuple[dict[str, Any], ...] | Reply = CARDS,
    ) -> None:
        self.script = script
        self._models = cards if isinstance(cards, Reply) else Reply(json.dumps({"data": cards}).encode())
        self.requests: list[Received] = []
        self._attempts: Counter[int] = Counter()
        self.open = self.most_open = self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        """Listen, on the port that it had before if it had one."""
        self._run(self._begin())

    def stop(self) -> None:
        """Refuse connections and drop those that there are."""
        self._run(self._end())

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _begin(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await self._head(reader):
                if not await self._reply_to(head, reader, writer):
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.connections -= 1
            writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> list[str]:
        try:
            return (await reader.readuntil(HEAD_END)).decode().strip().split("\r\n")
        except asyncio.IncompleteReadError:
            return []

    async def _reply_to(
        self, head: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:])}
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        if method == "GET":
            return await self._send(self._models, writer)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            reply = self.script(self._receive(path, headers, json.loads(content)))
            return await self._held(reply, reader) and await self._send(reply, writer)
        finally:
            self.open -= 1

    def _receive(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Received:
        self._attempts[body["seed"]] += 1
        self.requests.append(Received(path, headers, body, self._attempts[body["seed"]]))
        return self.requests[-1]

    async def _held(self, reply: Reply, reader: asyncio.StreamReader) -> bool:
        """Wait as long as the reply says; False where the client has gone meanwhile."""
        while reply.hold() and not reader.at_eof():
            await asyncio.sleep(0.002)
        return not reader.at_eof()

    async def _send(self, reply: Reply, writer: asyncio.StreamWriter) -> bool:
        if reply.bytes_sent != -1:
            lines = [f"HTTP/1.1 {reply.status} Said", f"Content-Length: {len(reply.body)}"]
            lines += [f"{name}: {value}" for name, value in reply.headers.items()]
            writer.write("\r\n".join(lines).encode() + HEAD_END + reply.body[: reply.bytes_sent])
            await writer.drain()
        return reply.bytes_sent is None
