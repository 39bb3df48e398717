"""What is done about a request that a server did not answer.

    no connection                             the endpoint rests, the request goes to another one
    429                                       the same, for as long as Retry-After says
    408, 409, 425, 5xx; the connection        the request is tried again, `retries` times at most; three in a
    dropped, no answer within the timeout,    row at one endpoint, with no answer between them, and it rests
    half a body, no JSON, no choices in it,
    a response that the server aborted
    anything else: 400, 401, 403, 404, 405,   the run stops with the server's own message
    413, 422, a redirection

An endpoint rests for 1 s, and twice as long each time that it does so again without an answer in between,
up to 60 s, less a random part of up to a half; then one request tries whether it answers. A run stops once
every endpoint has had to rest more than `retries` times in a row. A Retry-After of more than ten minutes
stops the run, too: that is a used-up quota.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from opo_eval.errors import EngineError, UsageError

_LONGEST_RETRY_AFTER_S = 600
_LONGEST_MESSAGE = 300
_TRIED_AGAIN = {408, 409, 425}
_KEY_ADVICE = "check the API key in the environment variable {key_env}"
_BODY_ADVICE = "lower max_tokens where it is too long, or leave out the setting that it names"
_ADVICE = {
    400: _BODY_ADVICE,
    401: _KEY_ADVICE,
    403: _KEY_ADVICE,
    404: "check the endpoint's path (it ends in /v1 as a rule) and the model's name",
    405: "check the endpoint's path (it ends in /v1 as a rule)",
    413: _BODY_ADVICE,
    422: _BODY_ADVICE,
}


class Trouble(Exception):
    """A request that was not answered and deserves another attempt.

    retry_after: seconds that the server wants to be left alone. at_endpoint: it is no fault of the request,
    which may be sent elsewhere at once.
    """

    def __init__(self, reason: str, *, retry_after: float = 0.0, at_endpoint: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.at_endpoint = reason, retry_after, at_endpoint


class Refusal(EngineError):
    """A request that will not be answered however often it is sent."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Backoff:
    """How long to wait before the next attempt."""

    first: float = 1.0
    """Seconds, at most, after a first failure; they double with every further one."""
    longest: float = 60.0
    generator: random.Random = field(default_factory=random.Random)
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep

    def delay(self, failures: int, retry_after: float = 0.0) -> float:
        """Seconds to wait after so many failures in a row, never less than the server asks for."""
        whole = min(self.longest, self.first * 2.0 ** min(failures - 1, 64))
        return max(retry_after, whole * self.generator.uniform(0.5, 1))


class Key:
    """An API key from the environment, which nothing shows. UsageError for one that no header can hold."""

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self._value = os.environ.get(variable, "").strip()
        if not (self._value.isascii() and self._value.isprintable() and " " not in self._value):
            raise UsageError(
                f"the API key in the environment variable {variable} has a character that no key has: set it "
                "again"
            )

    @property
    def headers(self) -> dict[str, str]:
        """What a request has to carry; nothing where the variable is not set."""
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def is_in(self, text: str) -> bool:
        """Whether a text gives the key away; a word as short as `EMPTY` is no secret."""
        return len(self._value) >= 8 and self._value in text

    def hide(self, text: str) -> str:
        """The text on one line without the key, without what a terminal would obey, and not too long."""
        shown = text.replace(self._value, "***") if self._value else text
        line = " ".join("".join(c if c.isprintable() else " " for c in shown).split())
        return line if len(line) <= _LONGEST_MESSAGE else line[:_LONGEST_MESSAGE] + " …"


def check_status(url: str, status: int, headers: Mapping[str, str], message: str, key: Key) -> None:
    """Raise Trouble or Refusal for a status that brings no answer; `message` is the server's, as it came."""
    if status == 200:
        return
    said = f"{status}: {key.hide(message) or 'nothing more'}"
    if status == 429 or status in _TRIED_AGAIN or status >= 500:
        wait = retry_after(headers.get("retry-after", ""))
        if wait > _LONGEST_RETRY_AFTER_S:
            raise EngineError(f"{url} wants to be left alone for {wait:.0f} s ({said}): continue after that")
        raise Trouble(f"it answers {said}", retry_after=wait, at_endpoint=status == 429)
    advice = _ADVICE.get(status, "check the endpoint's address").format(key_env=key.variable)
    raise Refusal(f"{url} refuses the request ({said}): {advice}", status)


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for, be it a number or a date; 0 for any other text."""
    try:
        return max(0.0, float(value)) if float(value) < float("inf") else 0.0
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    return max(0.0, (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
