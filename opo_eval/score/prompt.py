"""The prompt that a run's responses follow: as its manifest says, or as the user does."""

import hashlib
import json
from dataclasses import asdict
from typing import Any, NamedTuple

from opo_eval.errors import InputError, UsageError
from opo_eval.problems import default_template, make_prompting
from opo_eval.records import Prompting, RunSettings
from opo_eval.samplers.options import PromptOptions
from opo_eval.samplers.prompts import Prompter
from opo_eval.score.models import Model
from opo_eval.score.options import ScoreOptions
from opo_eval.store import RunDir


class Prompt(NamedTuple):
    """How problems are put to a model, what a signature says of it, and what a person has to know."""

    options: PromptOptions
    signature: str
    notes: list[str]


def prompt_of(run: RunDir, policy: Model, tokenizer: Any, options: ScoreOptions) -> Prompt:
    """The prompt of a run, put together with the policy's tokenizer.

    Raises UsageError where it is known and the user says another, or is not known and the user says none;
    InputError where the tokenizer has another chat template than the run was asked through.
    """
    settings, said = run.manifest.settings, options.prompt_options
    recorded = settings.prompting
    if recorded is None or _went_through_a_server(settings):
        return _as_said(run, policy, tokenizer, said)
    if said:
        flags = "--template, --system, --response-prefix and --no-chat"
        raise UsageError(f"{run.path} says itself how its problems were put: leave {flags} out")
    _refuse_other_chat(run, policy, tokenizer, recorded)
    return Prompt(_as_recorded(recorded), "sampled", _of_the_day(policy, recorded, tokenizer))


def _went_through_a_server(settings: RunSettings) -> bool:
    # It put the conversation through a chat template that only it has.
    return settings.sampling is not None and settings.sampling.engine_args.get("prompts") == "chat"


def _as_recorded(prompting: Prompting) -> PromptOptions:
    return PromptOptions(
        template=prompting.template,
        system=prompting.system,
        response_prefix=prompting.response_prefix,
        chat=prompting.chat_template_sha256 is not None,
    )


def _as_said(run: RunDir, policy: Model, tokenizer: Any, said: PromptOptions) -> Prompt:
    if not said:
        raise UsageError(
            f"{run.path} does not say how its problems were put to the model: say it with --template (a name "
            "or a text with {problem}), and with --system, --response-prefix and --no-chat where they apply"
        )
    asked = PromptOptions(**{"template": default_template(run.manifest.settings.benchmark), **said})
    prompting = Prompter(tokenizer, **asked).prompting
    digest = hashlib.sha256(json.dumps(asdict(prompting), sort_keys=True).encode()).hexdigest()
    chat = "without a chat template"
    if prompting.chat_template_sha256 is not None:
        chat = f"with the chat template of {policy.name}"
    note = f"the prompt of {run.path} is taken to be the template {prompting.name!r} {chat}"
    notes = [note, *_of_the_day(policy, prompting, tokenizer)]
    return Prompt(asked, f"{prompting.name}@{digest[:8]}", notes)


def _of_the_day(policy: Model, prompting: Prompting, tokenizer: Any) -> list[str]:
    """A sentence where a chat template writes the date into the prompt, as Llama 3's does."""
    if prompting.chat_template_sha256 is None or "strftime_now" not in tokenizer.chat_template:
        return []
    return [
        f"the chat template of {policy.name} may write the day into the prompt: what is scored has today's, "
        "not that of sampling"
    ]


def _refuse_other_chat(run: RunDir, policy: Model, tokenizer: Any, prompting: Prompting) -> None:
    if prompting.chat_template_sha256 is None:
        return
    own = make_prompting(prompting.template, chat_template=tokenizer.chat_template).chat_template_sha256
    if own != prompting.chat_template_sha256:
        has = f"another one (sha256 {own[:8]})" if own else "none"
        raise InputError(
            f"{run.path} was asked through a chat template (sha256 {prompting.chat_template_sha256[:8]}) and "
            f"{policy.path} has {has}: give a --checkpoint with the tokenizer of the one that drew it"
        )
