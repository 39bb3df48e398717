"""Our prompts for trainers that put every prompt through a chat template.

Where a tokenizer has none, or the run leaves it out, or a response begins with a prefix, another template
gives the same tokens. Whether it does is seen on every problem.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from opo_eval.errors import EngineError
from opo_eval.records import Problem
from opo_eval.rl.config import TrainConfig

Conversation = list[dict[str, str]]

_CONTENTS = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
_DOLLARS = {"data": "{{ '$' }}", "string": r"\x24", "comment": ""}
"""Part of a Jinja template → what says a dollar there."""


def same_prompts(
    config: TrainConfig, problems: Sequence[Problem]
) -> tuple[tuple[Conversation, ...], str | None, int]:
    """Conversations, the chat template that makes our prompts of them, and the longest one's tokens.

    The template is None where the tokenizer's own does. Raises EngineError where none does.
    """
    from opo_eval.rl.setup import prompt_options
    from opo_eval.samplers.checkpoints import load_tokenizer
    from opo_eval.samplers.prompts import Prompter, messages

    tokenizer = load_tokenizer(config.model)
    prompter = Prompter(tokenizer, **prompt_options(config, problems[0].benchmark))
    conversations = tuple(messages(prompter.prompting, problem) for problem in problems)
    ours = [prompter.ids(problem) for problem in problems]
    for template in _candidates(
        tokenizer.chat_template if prompter.uses_chat else None, config.response_prefix
    ):
        theirs = (template_ids(tokenizer, conversation, template) for conversation in conversations)
        if all(a == b for a, b in zip(ours, theirs, strict=True)):
            return conversations, template, max(map(len, ours))
    raise EngineError(
        f"no chat template gives the prompts that opo-eval train puts to {config.model}: its tokenizer adds "
        "special tokens of its own; leave out no_chat or response_prefix"
    )


def template_ids(tokenizer: Any, conversation: Conversation, template: str | None) -> list[int]:
    """Token ids of a conversation by a chat template; None: the tokenizer's own."""
    return tokenizer.apply_chat_template(
        conversation, chat_template=template, add_generation_prompt=True, tokenize=True, return_dict=False
    )


def _candidates(own: str | None, prefix: str) -> Iterator[str | None]:
    # Only where a response is to come, which is everywhere but in templates of whole conversations.
    then = f"{{% if add_generation_prompt %}}{{{{ {json.dumps(prefix, ensure_ascii=False)} }}}}{{% endif %}}"
    if own is None:
        contents = without_dollars(_CONTENTS + (then if prefix else ""))
        yield contents
        yield "{{ bos_token }}" + contents
    elif prefix:
        yield without_dollars(own.removesuffix("\n") + then)
    else:
        yield None


def without_dollars(template: str) -> str:
    r"""The same chat template with every dollar spelt otherwise, where it has a `${`.

    verl's settings are OmegaConf's, which takes `${` for the name of another setting. An escaped `\${` would
    be one again after `OmegaConf.resolve`, with which verl begins.
    """
    from jinja2 import Environment

    if "${" not in template:
        return template
    parts = Environment().lex(template)
    return "".join(text.replace("$", _DOLLARS.get(kind, "$")) for _, kind, text in parts)
