"""From a problem to what a model reads: template, chat template, token ids with special tokens once."""

from typing import Any, Unpack

from opo_eval.errors import EngineError, UsageError
from opo_eval.problems import make_prompting, render
from opo_eval.records import Problem, Prompting, SamplingSettings
from opo_eval.samplers.options import PromptOptions


class Prompter:
    """Puts problems to a model with its own tokenizer: every engine reads the same ids.

    tokenizer: of transformers. Raises UsageError for a system message without a chat template to hold it.
    """

    def __init__(self, tokenizer: Any, **options: Unpack[PromptOptions]) -> None:
        self.tokenizer = tokenizer
        self.uses_chat = options.get("chat", True) and tokenizer.chat_template is not None
        system = options.get("system")
        if system and not self.uses_chat:
            raise UsageError(
                f"{tokenizer.name_or_path or 'the tokenizer'} has no chat template for a system message: put "
                "it in the template"
            )
        self.prompting: Prompting = make_prompting(
            options["template"],
            system=system,
            response_prefix=options.get("response_prefix", ""),
            chat_template=tokenizer.chat_template if self.uses_chat else None,
        )

    def text(self, problem: Problem) -> str:
        """All that the model reads before it answers."""
        text = render(self.prompting, problem)
        if self.uses_chat:
            text = self.tokenizer.apply_chat_template(
                messages(self.prompting, problem), add_generation_prompt=True, tokenize=False
            )
        return text + self.prompting.response_prefix

    def ids(self, problem: Problem) -> list[int]:
        """Token ids of the whole prompt."""
        # A chat template has written the special tokens: the tokenizer must not add them again.
        return self.tokenizer(self.text(problem), add_special_tokens=not self.uses_chat)["input_ids"]


class PromptedSampler:
    """What engines have in common that put problems through the checkpoint's own tokenizer."""

    _prompter: Prompter
    _settings: SamplingSettings

    @property
    def _window(self) -> int | None:
        """Longest prompt and response together, in tokens; None where nothing limits them."""
        raise NotImplementedError

    @property
    def prompting(self) -> Prompting:
        """Template and chat template in use."""
        return self._prompter.prompting

    @property
    def settings(self) -> SamplingSettings:
        """All that decides what is drawn."""
        return self._settings

    def prompt_text(self, problem: Problem) -> str:
        """All that the model reads before it answers."""
        return self._prompter.text(problem)

    def prompt_ids(self, problem: Problem) -> list[int]:
        """Token ids of the whole prompt; special tokens are added exactly once."""
        return self._prompter.ids(problem)

    def room(self, problem: Problem) -> int:
        """Tokens that a response to it may have."""
        return self._room(problem, len(self.prompt_ids(problem)))

    def _room(self, problem: Problem, n_prompt: int) -> int:
        return room_for(problem, n_prompt, max_tokens=self._settings.max_tokens, window=self._window)


def messages(prompting: Prompting, problem: Problem) -> list[dict[str, str]]:
    """The conversation that a chat template, here or in a server, turns into text."""
    system = [{"role": "system", "content": prompting.system}] if prompting.system else []
    return [*system, {"role": "user", "content": render(prompting, problem)}]


def room_for(problem: Problem, n_prompt: int, *, max_tokens: int, window: int | None) -> int:
    """Tokens that a response may have: the limit, or what the model's window leaves of it.

    Raises EngineError where the prompt leaves nothing.
    """
    room = max_tokens if window is None else min(max_tokens, window - n_prompt)
    if room < 1:
        raise EngineError(
            f"the prompt of problem {problem.source_id} has {n_prompt} tokens and the model "
            f"takes {window}: choose a shorter template or another model"
        )
    return room
