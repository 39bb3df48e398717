"""Whether two models speak of the same tokens, and of how many."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from opo_eval.errors import InputError
from opo_eval.records import Sample
from opo_eval.score.models import Model


def refuse_other_tokens(policy: Model, reference: Model, own: Any, other: Any) -> None:
    """Raise InputError unless every token of the policy's tokenizer is the same token of the reference's.

    own, other: the tokenizers. The reference's may have tokens beyond them.
    """
    theirs = _tokens(other)
    for number, token in sorted(_tokens(own).items()):
        if theirs.get(number) != token:
            what = repr(theirs[number]) if number in theirs else "no token"
            raise InputError(
                f"{reference.name} has another tokenizer than {policy.name}: token {number} is {token!r} in "
                f"{policy.path} and {what} in {reference.path}; give a reference with the policy's vocabulary"
            )


def shared_rows(policy: Model, reference: Model, own: Any) -> tuple[int, list[str]]:
    """Tokens that get a logit from both models, and a sentence where one head has more rows than that.

    own: the policy's tokenizer. Raises InputError where the smaller head lacks tokens that it has.
    """
    fewer, more = sorted((policy, reference), key=lambda model: model.n_rows)
    needed = min(more.n_rows, max(_tokens(own)) + 1)
    if fewer.n_rows < needed:
        raise InputError(
            f"the output head of {fewer.name} has {fewer.n_rows} rows, fewer than the {needed} tokens that "
            f"{more.name} knows: give a reference with the policy's vocabulary"
        )
    if fewer.n_rows == more.n_rows:
        return fewer.n_rows, []
    said = (
        f"the output heads of {policy.name} and {reference.name} have {policy.n_rows} and {reference.n_rows} "
        f"rows: entropies and divergences are over the first {fewer.n_rows}, the others are padding"
    )
    return fewer.n_rows, [said]


def refuse_other_texts(run: Path, samples: Iterable[Sample], policy: Model, own: Any) -> None:
    """Raise InputError where the recorded token ids of a sample do not read as its text."""
    for sample in (sample for sample in samples if sample.token_ids is not None):
        read = own.decode(sample.token_ids, skip_special_tokens=True)
        if _bare(read) != _bare(sample.text):
            raise InputError(
                f"the tokens of sample {sample.index} of problem {sample.problem_id} in {run} read "
                f"{read!r:.60} in {policy.path} and not {sample.text!r:.60}: score with a checkpoint that "
                "has the tokenizer of the one that drew it"
            )


def _bare(text: str) -> str:
    # A server may take white space off, or take the thought out, which is then put back between tags.
    return "".join(text.replace("<think>", "").replace("</think>", "").split())


def _tokens(tokenizer: Any) -> dict[int, str]:
    """Number → token, the special ones too."""
    special = list(tokenizer.all_special_ids)
    named = dict(zip(special, tokenizer.convert_ids_to_tokens(special), strict=True))
    return {number: token for token, number in tokenizer.get_vocab().items()} | named
