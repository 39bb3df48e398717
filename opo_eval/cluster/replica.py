"""What runs in an actor of Ray, on whichever node has room: one object, called from afar."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from opo_eval.errors import OpoEvalError

Answer = TypeVar("Answer")


class Replica:
    """An object that answers from another process.

    A refusal is an answer like any other: an exception would come back wrapped in Ray's. What is raised is a
    breakdown, after which the process is not to be trusted.
    """

    def load(self, make: Callable[..., tuple[Any, Any]], *arguments: Any) -> Any:
        """Make the object; returns what `make` gives with it, or the OpoEvalError that it raises."""
        try:
            self._object, about = make(*arguments)
        except OpoEvalError as error:
            return _refusal(error)
        return about

    def ask(self, method: str, *arguments: Any) -> Any:
        """What a method of the object returns, or the OpoEvalError that it raises."""
        try:
            return getattr(self._object, method)(*arguments)
        except OpoEvalError as error:
            return _refusal(error)

    def work(self, method: str, portion: list[Any], burst_s: float) -> Iterator[list[Any] | OpoEvalError]:
        """Yield what a method yields for a portion, in bursts; an OpoEvalError is the last."""
        try:
            # Ray sends into what it iterates over; `yield from` would pass that on, and iterators refuse it.
            for burst in in_bursts(getattr(self._object, method)(portion), burst_s):  # noqa: UP028
                yield burst
        except OpoEvalError as error:
            yield _refusal(error)


def in_bursts(answers: Iterable[Answer], burst_s: float) -> Iterator[list[Answer]]:
    """What comes within `burst_s` seconds together; each answer alone where that is 0.

    Ray makes an object of whatever is yielded, which costs more than a quick answer does.
    """
    burst, since = [], time.monotonic()
    for answer in answers:
        burst.append(answer)
        if time.monotonic() - since >= burst_s:
            yield burst
            burst, since = [], time.monotonic()
    if burst:
        yield burst


def _refusal(error: OpoEvalError) -> OpoEvalError:
    """The error itself, unless something that broke down caused it: that is raised."""
    if error.__cause__ is not None:
        raise error
    return error
