"""What a sampling engine is, and the plan of what it still has to draw."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from opo_eval.errors import OpoEvalError, UsageError
from opo_eval.records import Finish, Problem, Prompting, SamplingSettings

_SEED_BITS = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One response to draw."""

    problem: Problem
    index: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What an engine drew for a request."""

    request: Request
    text: str
    token_ids: tuple[int, ...] | None
    finish: Finish
    n_tokens: int
    logprobs: tuple[float, ...] | None = None
    """Natural log-probability of every token under the distribution that it was drawn from, temperature,
    top-k and top-p included (greedy decoding: the model's own, at temperature 1). None: the engine does not
    say."""


class Sampler(Protocol):
    """An engine with a checkpoint loaded."""

    @property
    def prompting(self) -> Prompting:
        """How it puts problems, the chat template included."""
        ...

    @property
    def settings(self) -> SamplingSettings:
        """All that decides what it draws."""
        ...

    @property
    def device(self) -> str:
        """Where it runs."""
        ...

    @property
    def n_devices(self) -> int:
        """How many such devices work at once."""
        ...

    def prompt_text(self, problem: Problem) -> str:
        """All that the model reads before it answers."""
        ...

    def prompt_ids(self, problem: Problem) -> list[int]:
        """The same as token ids, special tokens once; EngineError where only a server knows them."""
        ...

    def room(self, problem: Problem) -> int:
        """Tokens that a response to it may have: the limit, or what the model's window leaves."""
        ...

    def start(self) -> None:
        """Load what it takes to draw, unless it is there; EngineError where that fails."""
        ...

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield a generation for every request as each is finished, in any order."""
        ...

    def close(self) -> None:
        """Free what no other sampler may use; nothing more will be asked of this one."""
        ...


def sample_seed(base_seed: int, problem_id: str, index: int) -> int:
    """The seed of one response: 63 bits of a hash, so that no two samples share or neighbour a seed.

    It depends on nothing else, so a resumed, reordered or enlarged run draws the same responses. Engines
    that derive `seed + i` for children cannot run into another sample's seed but by a 2^-63 accident,
    which `plan_requests` refuses.
    """
    digest = hashlib.blake2b(f"{base_seed}\n{problem_id}\n{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - _SEED_BITS)


def plan_requests(
    problems: Iterable[Problem], n: int, base_seed: int, done: Iterable[tuple[str, int]] = ()
) -> list[Request]:
    """The (problem, index) pairs below n that are not done yet. Raises UsageError for n < 1."""
    if n < 1:
        raise UsageError(f"n must be at least 1 sample a problem, not {n}")
    done = set(done)
    requests = [
        Request(problem=problem, index=index, seed=sample_seed(base_seed, problem.id, index))
        for problem in problems
        for index in range(n)
    ]
    if len({request.seed for request in requests}) < len(requests):
        raise OpoEvalError(f"two samples would share a seed under base seed {base_seed}: choose another one")
    return [request for request in requests if (request.problem.id, request.index) not in done]
