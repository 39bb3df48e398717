"""Asynchronous work behind a plain iterator: it goes on in a thread of its own while its results are used."""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

Item = TypeVar("Item")
Emit = Callable[[Item], Awaitable[None]]

_PATIENCE_S = 0.01


class _End:
    """The last thing in a queue, with the error that ended the work, if one did."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Work(Generic[Item]):
    def __init__(self, produce: Callable[[Emit[Item]], Awaitable[None]], most_waiting: int) -> None:
        self._produce, self._most_waiting = produce, most_waiting
        self.results: queue.SimpleQueue[Item | _End] = queue.SimpleQueue()
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name="opo-eval requests", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """End the work, whether or not it has ended by itself; returns when nothing of it is left."""
        self._begun.wait()
        with suppress(RuntimeError):  # its loop is closed: it has ended already
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._main())
        except BaseException as raised:
            error = first_cause(raised)
        finally:
            self._begun.set()
            self.results.put(_End(error))

    async def _main(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._begun.set()
        await self._produce(self._emit)

    async def _emit(self, item: Item) -> None:
        while self.results.qsize() >= self._most_waiting:
            await asyncio.sleep(_PATIENCE_S)
        self.results.put(item)


def stream(produce: Callable[[Emit[Item]], Awaitable[None]], *, most_waiting: int = 1024) -> Iterator[Item]:
    """Yield what a coroutine function emits, in the order in which it does, until it returns.

    `produce` is called in a thread with an event loop of its own, so this works where a loop already runs,
    too. It waits while `most_waiting` items have not been taken. What it raises is raised here after all
    that it emitted. A consumer that stops early, by whatever exception, cancels it and waits for its end.
    """
    work = _Work(produce, most_waiting)
    try:
        while not isinstance(item := work.results.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        work.cancel()


def first_cause(error: BaseException) -> BaseException:
    """The first error in a group of them that is not a mere cancellation; the error itself if it is none."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    causes = [first_cause(inner) for inner in error.exceptions]
    return next((cause for cause in causes if not isinstance(cause, asyncio.CancelledError)), causes[0])
