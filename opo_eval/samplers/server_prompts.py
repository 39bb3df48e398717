"""How a problem is put into a request: as token ids, as text or as a conversation."""

from pathlib import Path
from typing import Any, Protocol

from opo_eval.errors import EngineError, UsageError
from opo_eval.problems import make_prompting, render
from opo_eval.records import Problem, Prompting
from opo_eval.samplers.options import PromptOptions
from opo_eval.samplers.prompts import Prompter, messages

APIS = ("auto", "completions", "chat")


class Prompts(Protocol):
    """One way of putting a problem into a request."""

    path: str
    """Of the API, below the endpoint."""
    name: str
    """Of the way, as it is recorded."""
    prompting: Prompting
    needs_open_server: bool
    """Whether only vLLM and SGLang understand it."""

    def text(self, problem: Problem) -> str:
        """All that the model reads, as far as it is known here."""
        ...

    def ids(self, problem: Problem) -> list[int]:
        """Its token ids; EngineError where only the server knows them."""
        ...

    def fields(self, problem: Problem) -> dict[str, Any]:
        """What a request has to say about it."""
        ...


class IdPrompts(Prompter):
    """The checkpoint's own tokenizer and chat template, applied here: the same ids as with any engine."""

    path, name = "completions", "token ids"
    needs_open_server = False

    def fields(self, problem: Problem) -> dict[str, Any]:
        """The token ids."""
        return {"prompt": self.ids(problem)}


class TextPrompts:
    """Text without a chat template, which the server turns into ids. UsageError for a system message."""

    path, name = "completions", "text"
    needs_open_server = False

    def __init__(self, options: PromptOptions) -> None:
        if options.get("system"):
            raise UsageError("text without a chat template has no system message: put it in the template")
        self.prompting = _prompting(options)

    def text(self, problem: Problem) -> str:
        """Template and response prefix."""
        return render(self.prompting, problem) + self.prompting.response_prefix

    def ids(self, problem: Problem) -> list[int]:
        """Not known here: EngineError."""
        raise _ids_unknown()

    def fields(self, problem: Problem) -> dict[str, Any]:
        """The text."""
        return {"prompt": self.text(problem)}


class MessagePrompts:
    """A conversation, which the server puts through its chat template."""

    path, name = "chat/completions", "chat"

    def __init__(self, options: PromptOptions) -> None:
        self.prompting = _prompting(options)
        self.needs_open_server = bool(self.prompting.response_prefix)

    def text(self, problem: Problem) -> str:
        """The messages, a blank line between them, without what the server's template puts around them."""
        contents = [message["content"] for message in messages(self.prompting, problem)]
        return "\n\n".join(contents) + self.prompting.response_prefix

    def ids(self, problem: Problem) -> list[int]:
        """Not known here: EngineError."""
        raise _ids_unknown()

    def fields(self, problem: Problem) -> dict[str, Any]:
        """The messages; a response prefix is an answer that the model is told to continue."""
        conversation = messages(self.prompting, problem)
        prefix = self.prompting.response_prefix
        if not prefix:
            return {"messages": conversation}
        return {
            "messages": [*conversation, {"role": "assistant", "content": prefix}],
            "add_generation_prompt": False,
            "continue_final_message": True,
        }


def choose_prompts(api: str, checkpoint: str, options: PromptOptions) -> Prompts:
    """Token ids where the checkpoint's tokenizer is at hand, else a conversation, or what `api` says.

    `chat=False` in the options asks for text where there is no tokenizer. Raises UsageError for an API that
    is not in `APIS` and for chat without chat, EngineError for a directory without a whole tokenizer.
    """
    is_chat = options.get("chat", True)
    if api not in APIS or (api == "chat" and not is_chat):
        raise UsageError(f"api cannot be {api!r}: choose one of {', '.join(APIS)}, and chat only with chat")
    tokenizer = None if api == "chat" else tokenizer_at_hand(checkpoint)
    if tokenizer is not None:
        return IdPrompts(tokenizer, **options)
    return MessagePrompts(options) if api != "completions" and is_chat else TextPrompts(options)


def tokenizer_at_hand(checkpoint: str) -> Any:
    """Tokenizer of a checkpoint directory or hub name; None for the name of a model that is only served.

    Raises EngineError for a path whose tokenizer cannot be loaded.
    """
    is_path = checkpoint.startswith((".", "/", "~")) or Path(checkpoint).is_dir()
    try:
        from opo_eval.samplers.checkpoints import load_tokenizer

        return load_tokenizer(checkpoint)
    except EngineError:
        if is_path:
            raise
    except ModuleNotFoundError as error:
        if is_path:
            raise EngineError(
                f"the tokenizer of {checkpoint} needs {error.name}, which is not installed: pip install "
                "'opo-eval[train]', or choose api chat"
            ) from None
    return None


def _ids_unknown() -> EngineError:
    return EngineError(
        "only the server knows the prompt's token ids: give a checkpoint whose tokenizer is at hand"
    )


def _prompting(options: PromptOptions) -> Prompting:
    return make_prompting(
        options["template"],
        system=options.get("system"),
        response_prefix=options.get("response_prefix", ""),
    )
