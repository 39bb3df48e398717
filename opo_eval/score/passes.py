"""Scoring texts with a policy and a reference of which only one is in memory at a time.

The model that is loaded reads a chunk of texts first; its hidden states at the response tokens are kept.
Then the other one is loaded, reads the same texts, and the statistics come from both. The next chunk begins
with that one, so k chunks take k + 1 loads.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from opo_eval.errors import EngineError, InputError
from opo_eval.per_token import PerToken
from opo_eval.records import TokenStats
from opo_eval.samplers.hf import is_out_of_memory
from opo_eval.score.models import Model
from opo_eval.score.resident import Resident
from opo_eval.scoring import last_hidden, token_stats_at
from opo_eval.scoring.kept import KeptInMemory, KeptOnDisk, kept
from opo_eval.scoring.packing import (
    Text,
    input_ids,
    lengths,
    longest_first,
    of_responses,
    take_batch,
    targets,
)
from opo_eval.scoring.responses import ByName, by_text, response_stats

Kept = KeptInMemory | KeptOnDisk


@dataclass(frozen=True, kw_only=True)
class Job:
    """What texts are scored with, and how."""

    policy: Model
    reference: Model | None
    """The policy itself where both are the same model."""
    reference_name: str | None
    scorer: str
    """Signature."""
    n_vocab: int
    temperatures: tuple[float, ...]
    batch_tokens: int
    hidden_bytes: int
    hidden_dir: Path | None
    per_token: bool

    @property
    def models(self) -> tuple[Model, ...]:
        """Those that read every text."""
        both = self.reference is not None and self.reference != self.policy
        return (self.policy, self.reference) if both else (self.policy,)

    @property
    def chunk_tokens(self) -> int:
        """Response tokens whose hidden states, of the wider model, fit into `hidden_bytes`."""
        each = max(model.width * getattr(torch, model.dtype).itemsize for model in self.models)
        return max(1, self.hidden_bytes // each)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What one batch came to."""

    n_read: int
    """Texts that a model has read."""
    records: tuple[TokenStats, ...] = ()
    arrays: tuple[PerToken, ...] = ()


class Scorer:
    """Scores texts in this process; what it has loaded last stays loaded for the next call."""

    def __init__(self) -> None:
        self._resident = Resident()
        self._most_tokens: float = float("inf")
        """Of a batch, as memory has shown."""

    def score(self, job: Job, texts: Sequence[Text]) -> Iterator[Done]:
        """Yield what each batch came to: of two models, each reads all texts in turn.

        Raises EngineError where a model cannot be loaded or a text does not fit into memory, InputError where
        a text cannot be scored.
        """
        if len(job.models) == 1:
            yield from self._in_batches(job, texts, partial(self._alone, job))
            return
        first, second = sorted(job.models, key=lambda model: model != self._resident.model)
        with closing(kept(job.hidden_dir)) as keeping:
            yield from self._in_batches(job, texts, partial(self._keep, first, keeping))
            yield from self._in_batches(job, texts, partial(self._beside, job, first, second, keeping))

    def close(self) -> None:
        """Free the model."""
        self._resident.free()

    # --- batches ------------------------------------------------------------------------------------

    def _in_batches(
        self, job: Job, texts: Sequence[Text], work: Callable[[list[Text]], Done]
    ) -> Iterator[Done]:
        waiting = deque(longest_first(texts))
        while waiting:
            batch = take_batch(waiting, int(min(job.batch_tokens, self._most_tokens)))
            done = _tried(work, batch)
            if done is None:
                # Outside the handler, whose traceback would keep the failed batch's tensors alive.
                self._halve(batch, job.policy.device)
                waiting.extendleft(reversed(batch))
            else:
                yield done

    def _halve(self, batch: Sequence[Text], device: str) -> None:
        longest = batch[0]
        if len(batch) == 1:
            raise EngineError(
                f"sample {longest.index} of problem {longest.problem_id} with {longest.n_read} tokens, its "
                f"prompt included, does not fit into the memory of {device}; what was scored is kept: take a "
                "smaller --dtype or another --device"
            )
        self._most_tokens = len(batch) // 2 * longest.n_read
        if device.startswith("cuda"):
            torch.cuda.empty_cache()

    # --- what is done with a batch ------------------------------------------------------------------

    def _alone(self, job: Job, batch: list[Text]) -> Done:
        hidden = self._read(job.policy, batch)
        return self._scored(job, batch, hidden, hidden if job.reference else None)

    def _keep(self, first: Model, keeping: Kept, batch: list[Text]) -> Done:
        keeping.keep(batch, self._read(first, batch))
        return Done(n_read=len(batch))

    def _beside(self, job: Job, first: Model, second: Model, keeping: Kept, batch: list[Text]) -> Done:
        hidden = {second: self._read(second, batch, beside=first), first: keeping.of(batch)}
        return self._scored(job, batch, *(hidden[model] for model in job.models))

    @torch.no_grad()
    def _read(self, model: Model, batch: list[Text], *, beside: Model | None = None) -> Tensor:
        """Hidden states [N, H] of the response tokens."""
        loaded = self._resident.load(model, beside=beside)
        hidden = of_responses(last_hidden(loaded, input_ids(batch).to(loaded.device)), batch)
        _refuse_not_finite(model, batch, hidden)
        return hidden

    def _scored(self, job: Job, batch: list[Text], hidden: Tensor, ref_hidden: Tensor | None = None) -> Done:
        head = partial(self._resident.head, n_vocab=job.n_vocab)
        statistics = token_stats_at(
            hidden,
            head(job.policy),
            targets(batch),
            ref_hidden=ref_hidden,
            ref_head=head(job.reference) if job.reference else None,
            temperatures=job.temperatures,
        )
        found = [
            (text, own, temperature)
            for temperature, at in zip(job.temperatures, statistics, strict=True)
            for text, own in by_text(at, batch)
        ]
        return Done(
            n_read=len(batch),
            records=tuple(_record(job, *each) for each in found),
            arrays=tuple(_arrays(job, *each) for each in found) if job.per_token else (),
        )


def _tried(work: Callable[[list[Text]], Done], batch: list[Text]) -> Done | None:
    """What became of a batch; None where it does not fit into memory."""
    try:
        return work(batch)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    return None


def _record(job: Job, text: Text, own: ByName, temperature: float) -> TokenStats:
    return response_stats(text, own, scorer=job.scorer, reference=job.reference_name, temperature=temperature)


def _arrays(job: Job, text: Text, own: ByName, temperature: float) -> PerToken:
    arrays = {name: values.float().numpy() for name, values in own.items()}
    return PerToken(
        problem_id=text.problem_id, index=text.index, scorer=job.scorer, temperature=temperature, **arrays
    )


def _refuse_not_finite(model: Model, batch: Sequence[Text], hidden: Tensor) -> None:
    is_finite = hidden.isfinite().all(dim=-1)
    if not bool(is_finite.all()):
        parts = is_finite.split(lengths(batch))
        text = next(text for text, part in zip(batch, parts, strict=True) if not bool(part.all()))
        raise InputError(
            f"{model.name} makes NaN or infinite hidden states of sample {text.index} of problem "
            f"{text.problem_id}: check its weights, or score in float32"
        )
