"""What can be seen, from its responses alone, of a server that does not do as it was told."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable

from opo_eval.records import Finish
from opo_eval.samplers.base import Generation, Request

_FEWEST, _SHORTEST = 4, 20
_LOWEST_TEMPERATURE = 0.3


class ServerWarning(UserWarning):
    """A server does something else than it was asked for."""


class ServerChecks:
    """Looks at every response of some requests and warns at most once of each kind of doubt."""

    def __init__(self, requests: Iterable[Request], *, temperature: float) -> None:
        self._missing = Counter(request.problem.id for request in requests)
        self._temperature = temperature
        self._seen: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self._warned: set[str] = set()

    def look(self, generation: Generation, room: int) -> None:
        """Take note of a response that was allowed `room` tokens."""
        if generation.finish is Finish.LENGTH and generation.n_tokens < room:
            self._warn(
                "length",
                f"the server cut a response at {generation.n_tokens} tokens where {room} were allowed: start "
                "it with a longer limit, or lower max_tokens to the server's",
            )
        problem = generation.request.problem
        self._seen[problem.id].append((hash(generation.text), generation.n_tokens))
        self._missing[problem.id] -= 1
        if not self._missing[problem.id] and self._are_alike(self._seen.pop(problem.id)):
            self._warn(
                "seeds",
                f"all responses to problem {problem.source_id} are the same at temperature "
                f"{self._temperature:g}: the server does not seem to heed seeds, or caches responses, so "
                "they are no independent samples",
            )

    def _are_alike(self, seen: list[tuple[int, int]]) -> bool:
        # Short responses, such as a bare answer, may well be alike by chance.
        is_telling = len(seen) >= _FEWEST and all(n_tokens > _SHORTEST for _, n_tokens in seen)
        return (
            is_telling
            and self._temperature > _LOWEST_TEMPERATURE
            and len({text_hash for text_hash, _ in seen}) == 1
        )

    def _warn(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warnings.warn(message, ServerWarning, stacklevel=3)
