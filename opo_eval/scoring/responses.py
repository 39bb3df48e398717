"""From statistics of every token of a response to the sums that are kept of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from math import ceil, isfinite

import torch
from torch import Tensor

from opo_eval.errors import InputError
from opo_eval.records import Forking, Tenths, TokenStats
from opo_eval.scoring.estimators import k2, k3
from opo_eval.scoring.exact import TokenStatistics
from opo_eval.scoring.packing import Text, lengths

N_TENTHS = 10
FORKING_SHARE = 5
"""One token of so many forks."""

ByName = Mapping[str, Tensor]
"""Fields of TokenStatistics that are there, float64 [n] on the processor."""


def by_text(statistics: TokenStatistics, batch: Sequence[Text]) -> Iterator[tuple[Text, ByName]]:
    """Yield each text of a batch with the statistics of its own tokens."""
    there = {f.name: getattr(statistics, f.name) for f in fields(statistics)}
    split = {name: x.cpu().split(lengths(batch)) for name, x in there.items() if x is not None}
    for place, text in enumerate(batch):
        yield text, {name: parts[place] for name, parts in split.items()}


def response_stats(
    text: Text, own: ByName, *, scorer: str, reference: str | None, temperature: float
) -> TokenStats:
    """The record of one text at one temperature; reference is the name of the other model, if there is one.

    Raises InputError, naming the sample, where a sum is infinite or no number.
    """
    sums = {f"{name}_sum": float(values.sum()) for name, values in own.items()}
    if "kl" in own:
        sums["kl_k2_sum"] = float(k2(own["logprob"], own["ref_logprob"]).sum())
        sums["kl_k3_sum"] = float(k3(own["logprob"], own["ref_logprob"]).sum())
    _refuse_infinite(text, sums)
    return TokenStats(
        problem_id=text.problem_id,
        index=text.index,
        scorer=scorer,
        reference=reference,
        temperature=temperature,
        n_tokens=len(text.response),
        **sums,
        tenths=tenths_of(own),
        forking=forking_of(own),
    )


def tenths_of(own: ByName) -> Tenths:
    """Sums over each tenth of a response; see `Tenths`."""
    n = len(own["entropy"])
    tenth = torch.arange(n) * N_TENTHS // n
    sums = {
        name: tuple(torch.bincount(tenth, weights=own[name], minlength=N_TENTHS).tolist())
        for name in ("entropy", "logprob", "kl")
        if name in own
    }
    return Tenths(n_tokens=tuple(torch.bincount(tenth, minlength=N_TENTHS).tolist()), **sums)


def forking_of(own: ByName) -> Forking:
    """Sums over the tokens of highest entropy; see `Forking`."""
    n = ceil(len(own["entropy"]) / FORKING_SHARE)
    places = torch.sort(own["entropy"], descending=True, stable=True).indices[:n]
    sums = {
        f"{name}_sum": float(own[name][places].sum()) for name in ("entropy", "logprob", "kl") if name in own
    }
    return Forking(n_tokens=n, **sums)


def _refuse_infinite(text: Text, sums: Mapping[str, float]) -> None:
    for name, value in sums.items():
        if not isfinite(value):
            raise InputError(
                f"{name} of sample {text.index} of problem {text.problem_id} is {value:g}: a model gives "
                "probability 0 to a token that was drawn, or that the other model may draw; score in float32 "
                "if it was less, or without --reference"
            )
