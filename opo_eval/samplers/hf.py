"""Sampling with Hugging Face transformers: any checkpoint, any device, no server.

Every sample has a random generator of its own, seeded by its (problem, index), so a response does not
depend on which others share its batch, nor on when a run was interrupted (but for rounding, which in half
precision may tip a token).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Unpack

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from opo_eval.errors import EngineError, UsageError
from opo_eval.records import Finish, SamplingSettings
from opo_eval.samplers.base import Generation, Request
from opo_eval.samplers.checkpoints import chosen_device, chosen_dtype, load, model_sha256
from opo_eval.samplers.decode import Decoded, decode
from opo_eval.samplers.draw import OwnNumbers
from opo_eval.samplers.options import (
    DRAW_DEFAULTS,
    DrawOptions,
    HFOptions,
    PromptOptions,
    SamplerOptions,
    check_range,
    chosen,
)
from opo_eval.samplers.prompts import PromptedSampler, Prompter


class HFSampler(PromptedSampler):
    """A causal language model of transformers as an engine.

    Built from a checkpoint directory or hub name, or by `of_model` around a model in memory. Raises
    EngineError for a checkpoint that cannot be loaded, UsageError for settings out of range.
    """

    def __init__(self, checkpoint: str, **options: Unpack[HFOptions]) -> None:
        check_range(**options)  # before gigabytes are read
        device = chosen_device(options.pop("device", None))
        dtype = chosen_dtype(checkpoint, options.pop("dtype", None), device)
        model, tokenizer = load(checkpoint, dtype, device)
        self._begin(model, tokenizer, model_sha256(checkpoint), **options)

    @classmethod
    def of_model(
        cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, **options: Unpack[SamplerOptions]
    ) -> "HFSampler":
        """An engine around a policy in memory, whose weights may change between calls of `generate`.

        Device and number type are the model's. Its weights have no hash, its modules' training mode is
        restored after each batch and no gradient is recorded. UsageError for a wrapper around a model.
        """
        check_range(**options)
        if not isinstance(model, PreTrainedModel):
            raise UsageError(
                f"a {type(model).__name__} is no transformers model: give the model that it wraps"
            )
        sampler = cls.__new__(cls)
        sampler._begin(model, tokenizer, None, **options)
        return sampler

    def _begin(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sha256: str | None,
        *,
        batch_size: int = 64,
        batch_tokens: int = 2**18,
        **options: Any,
    ) -> None:
        self._model, self._tokenizer = model, tokenizer
        self.batch_size, self.batch_tokens = batch_size, batch_tokens
        self._prompter = Prompter(tokenizer, **chosen(options, PromptOptions))
        self._settings = SamplingSettings(
            engine="hf",
            **{**DRAW_DEFAULTS, **chosen(options, DrawOptions)},
            dtype=str(model.dtype).removeprefix("torch."),
            model_sha256=sha256,
        )

    @property
    def device(self) -> str:
        """Where the model is."""
        return str(self._model.device)

    @property
    def n_devices(self) -> int:
        """One."""
        return 1

    @property
    def _window(self) -> int | None:
        return getattr(self._model.config, "max_position_embeddings", None)

    def start(self) -> None:
        """Nothing: the checkpoint was loaded when this was made."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield generations batch by batch, longest prompts first so that a batch pads little."""
        asked = {request.problem.id: request.problem for request in requests}
        prompts = {problem.id: self.prompt_ids(problem) for problem in asked.values()}
        rooms = {problem.id: self._room(problem, len(prompts[problem.id])) for problem in asked.values()}
        ordered = sorted(requests, key=lambda request: -len(prompts[request.problem.id]))
        # Only responses with equal room share a batch: a long prompt must not shorten another's response.
        for room, alike in groupby(ordered, lambda request: rooms[request.problem.id]):
            yield from self._in_batches(deque(alike), prompts, room)

    def close(self) -> None:
        """Nothing: the checkpoint stays loaded for the next sampler."""

    def _in_batches(
        self, waiting: deque[Request], prompts: dict[str, list[int]], room: int
    ) -> Iterator[Generation]:
        while waiting:
            width = len(prompts[waiting[0].problem.id]) + room
            size = min(self.batch_size, max(1, self.batch_tokens // width), len(waiting))
            batch = [waiting.popleft() for _ in range(size)]
            try:
                drawn = self._generate_batch(batch, [prompts[r.problem.id] for r in batch], room)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                drawn = []
            if not drawn:
                # Outside the handler, whose traceback would keep the failed batch's tensors alive.
                self._halve(batch, width)
                waiting.extendleft(reversed(batch))
            yield from drawn

    def _halve(self, batch: Sequence[Request], width: int) -> None:
        if len(batch) == 1:
            raise EngineError(
                f"one response of problem {batch[0].problem.source_id} with {width} tokens, its prompt "
                f"included, does not fit into the memory of {self.device}: lower max_tokens, or take a "
                "smaller dtype or another device"
            )
        self.batch_tokens = len(batch) // 2 * width
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _generate_batch(
        self, batch: Sequence[Request], prompts: list[list[int]], room: int
    ) -> list[Generation]:
        numbers = OwnNumbers([request.seed for request in batch], room, self._settings, self._model.device)
        rows = decode(self._model, prompts, numbers.draw, max_new_tokens=room, end_ids=self._end_ids)
        return [self._generation(request, row) for request, row in zip(batch, rows, strict=True)]

    def _generation(self, request: Request, row: Decoded) -> Generation:
        return Generation(
            request=request,
            text=self._tokenizer.decode(row.token_ids, skip_special_tokens=True),
            token_ids=row.token_ids,
            logprobs=row.logprobs,
            finish=Finish.STOP if row.ended else Finish.LENGTH,
            n_tokens=len(row.token_ids),
        )

    @property
    def _end_ids(self) -> frozenset[int]:
        ends = self._model.generation_config.eos_token_id
        return frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch could not get memory, on a GPU or from the operating system."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)
