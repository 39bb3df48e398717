"""What samplers have in common that draw elsewhere: what they know of it was told to them."""

from dataclasses import dataclass
from typing import Any

from opo_eval.records import Problem, Prompting, SamplingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a replica says of itself when it is ready."""

    prompting: Prompting
    settings: SamplingSettings
    device: str
    n_devices: int
    host: str
    """Name of its machine."""
    pid: int
    """Of its process there."""


class RemoteSampler:
    """The half of a Sampler that is known or asked for; drawing is the other half."""

    _about: About

    def _ask(self, method: str, *arguments: Any) -> Any:
        """What a method of some replica's sampler returns."""
        raise NotImplementedError

    @property
    def prompting(self) -> Prompting:
        """Template and chat template in use."""
        return self._about.prompting

    @property
    def settings(self) -> SamplingSettings:
        """All that decides what is drawn: that of a replica's engine, which draws the same alone."""
        return self._about.settings

    @property
    def device(self) -> str:
        """What each replica runs on."""
        return self._about.device

    def prompt_text(self, problem: Problem) -> str:
        """All that the model reads before it answers."""
        return self._ask("prompt_text", problem)

    def prompt_ids(self, problem: Problem) -> list[int]:
        """Token ids of the whole prompt."""
        return self._ask("prompt_ids", problem)

    def room(self, problem: Problem) -> int:
        """Tokens that a response to it may have."""
        return self._ask("room", problem)
