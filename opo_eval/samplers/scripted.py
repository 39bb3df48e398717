"""A sampler that answers from a script: the whole chain without a model, for tests and trials."""

from collections.abc import Callable, Iterator, Sequence

from opo_eval.errors import EngineError
from opo_eval.problems import render
from opo_eval.records import Finish, Problem, Prompting, SamplingSettings
from opo_eval.samplers.base import Generation, Request


class ScriptedSampler:
    """Answers each request with `script(request)`; tokens are the text's white-space words."""

    device = "none"
    n_devices = 1

    def __init__(self, script: Callable[[Request], str], prompting: Prompting, *, base_seed: int = 0) -> None:
        self._script, self._prompting, self._base_seed = script, prompting, base_seed

    @property
    def prompting(self) -> Prompting:
        """The prompting that it was given."""
        return self._prompting

    @property
    def settings(self) -> SamplingSettings:
        """Settings of an engine that draws nothing at random."""
        return SamplingSettings(
            engine="scripted",
            temperature=0.0,
            top_p=1.0,
            top_k=0,
            max_tokens=0,
            base_seed=self._base_seed,
            dtype="none",
        )

    def prompt_text(self, problem: Problem) -> str:
        """The rendered template."""
        return render(self._prompting, problem) + self._prompting.response_prefix

    def prompt_ids(self, problem: Problem) -> list[int]:
        """None: it has no tokenizer."""
        raise EngineError("a scripted sampler has no token ids")

    def room(self, problem: Problem) -> int:
        """None: what it answers is written already."""
        raise EngineError("a scripted sampler has no limit")

    def start(self) -> None:
        """Nothing: there is nothing to load."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield the scripted responses in order."""
        for request in requests:
            text = self._script(request)
            yield Generation(
                request=request,
                text=text,
                token_ids=None,
                finish=Finish.STOP,
                n_tokens=len(text.split()),
            )

    def close(self) -> None:
        """Nothing: it holds nothing."""
