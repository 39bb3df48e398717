"""The signature of a scorer, read back: of which models entropy and KL are, and in which precision.

exact|policy:late@1a2b3c4d|reference:start@5e6f7a8b|dtype:float32|vocab:96|prompt:sampled
"""

import re
from collections import defaultdict
from collections.abc import Mapping

from opo_eval.wording import some_of

OWN = "its own"
"""In place of the policy that drew the responses, which is another for every checkpoint."""
NO_REFERENCE = "none"
_FORM = re.compile(
    r"exact\|policy:(?P<policy>.*?)\|reference:(?P<reference>.*?)\|dtype:(?P<dtype>[^|]*)"
    r"\|vocab:(?P<vocab>\d+)\|prompt:(?P<prompt>.*?)(?P<other>\|off-policy)?",
    re.DOTALL,
)
_IN_SIGNATURE = re.compile(r"(?<=\|scorer:\[).*(?=\])", re.DOTALL)


def scorer_in(signature: str) -> str | None:
    """The scorer that the signature of a metric names; None where it names none."""
    found = _IN_SIGNATURE.search(signature)
    return found[0] if found else None


def scored_with(scorer: str) -> dict[str, str]:
    """Policy, reference, precision (`dtype`), size of the vocabulary (`vocab`) and prompt, by name.

    The policy is `OWN`, or a name with its digest where that did not draw the responses. A scorer of another
    form is itself, under the name `scorer`.
    """
    found = _FORM.fullmatch(scorer)
    if found is None:
        return {"scorer": scorer}
    named = found.groupdict()
    is_other = named.pop("other") is not None
    return named | {"policy": f"{named['policy']}, off-policy" if is_other else OWN}


def scored_unlike(scorers: Mapping[str, str]) -> list[str]:
    """What they differ in: `reference start@5e6f7a8b (early), base@9a8b7c6d (late)`.

    scorers: of every checkpoint.
    """
    settings = {checkpoint: scored_with(scorer) for checkpoint, scorer in scorers.items()}
    whose: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for checkpoint, own in settings.items():
        for key, value in own.items():
            whose[key][value].append(checkpoint)
    return [
        f"{key} {', '.join(f'{value} ({some_of(names)})' for value, names in values.items())}"
        for key, values in whose.items()
        if len(values) > 1 or len(next(iter(values.values()))) < len(scorers)
    ]


def without_policy(signature: str) -> str:
    """The signature of a metric with `OWN` for the policy that drew: equal where numbers are comparable."""
    return _IN_SIGNATURE.sub(lambda scorer: _without_policy(scorer[0]), signature)


def _without_policy(scorer: str) -> str:
    found = _FORM.fullmatch(scorer)
    if found is None or found["other"]:
        return scorer
    start, end = found.span("policy")
    return f"{scorer[:start]}{OWN}{scorer[end:]}"
