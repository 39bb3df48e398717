"""Taking a prompt's template off, so that the problem's own text is left."""

from opo_eval.errors import InputError
from opo_eval.problems import make_prompting
from opo_eval.problems.prompts import SLOT


def taken_off(template: str, prompt: str, where: str) -> str:
    """The problem in a prompt that was made with a template, by name or as text.

    White space at the ends of either does not count. Raises UsageError for a template without its slot,
    InputError, naming the place, for a prompt that was not made with it.
    """
    before, after = (part.strip() for part in make_prompting(template).template.split(SLOT, 1))
    text = prompt.strip()
    if len(text) < len(before) + len(after) or not (text.startswith(before) and text.endswith(after)):
        raise InputError(
            f"{where} was not asked with the template {template!r:.80}: its prompt is {prompt!r:.200}; give "
            "the template that it was made with, or leave --template out"
        )
    return text[len(before) : len(text) - len(after)].strip()
