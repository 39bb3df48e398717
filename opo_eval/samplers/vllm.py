"""Sampling with vLLM: all requests in one continuous batch, each response yielded as it finishes.

Every request has a seed of its own and asks for one response: vLLM gives child i of a request with n > 1 the
seed `seed + i`, so neighbouring seeds would share responses. The samples of a problem share its prompt's
cache.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Unpack

from opo_eval.records import Finish, SamplingSettings
from opo_eval.samplers.base import Generation, Request
from opo_eval.samplers.checkpoints import chosen_dtype, load_tokenizer, model_sha256
from opo_eval.samplers.options import (
    DRAW_DEFAULTS,
    DrawOptions,
    PromptOptions,
    VLLMOptions,
    check_range,
    chosen,
)
from opo_eval.samplers.prompts import PromptedSampler, Prompter
from opo_eval.samplers.vllm_engine import (
    Engine,
    EngineSpec,
    device_type,
    engine_failures,
    engine_for,
    parse_engine_args,
)

_SHARE_OF_MEMORY = {"cpu": 0.25}
"""By default: a machine without a GPU has other work for its memory, and vLLM takes all that it may."""
_FINISH = {"stop": Finish.STOP, "length": Finish.LENGTH}
"""Of vLLM's reasons; any other (abort, error, repetition) is no end that the model chose."""


class VLLMSampler(PromptedSampler):
    """A checkpoint in vLLM's engine.

    The engine is started when something has to be drawn, and kept for the next sampler. Raises EngineError
    for a checkpoint without configuration or tokenizer and, from `start` on, for one that vLLM cannot load;
    UsageError for settings out of range.
    """

    def __init__(self, checkpoint: str, **options: Unpack[VLLMOptions]) -> None:
        check_range(**options)
        adapter = options.get("adapter")
        further = parse_engine_args(options.get("engine_args", ()))
        self._prompter = Prompter(load_tokenizer(checkpoint), **chosen(options, PromptOptions))
        self._spec = EngineSpec(
            checkpoint=checkpoint,
            dtype=chosen_dtype(checkpoint, options.get("dtype"), device_type()),
            max_model_len=options.get("max_model_len"),
            tensor_parallel=options.get("tensor_parallel", 1),
            gpu_memory=options.get("gpu_memory", _SHARE_OF_MEMORY.get(device_type(), 0.9)),
            adapter=adapter,
            logprobs=options.get("logprobs", False),
            further=tuple(further.items()),
        )
        self._settings = SamplingSettings(
            engine="vllm",
            **{**DRAW_DEFAULTS, **chosen(options, DrawOptions)},
            dtype=self._spec.dtype,
            model_sha256=model_sha256(checkpoint),
            adapter_sha256=model_sha256(adapter) if adapter else None,
            max_model_len=options.get("max_model_len"),
            engine_args={name: str(value) for name, value in further.items()},
        )

    @property
    def _engine(self) -> Engine:
        return engine_for(self._spec)

    def start(self) -> None:
        """Load the checkpoint into the engine, unless it is there."""
        engine_for(self._spec)

    @property
    def device(self) -> str:
        """What vLLM runs on."""
        return device_type()

    @property
    def n_devices(self) -> int:
        """GPUs that share the layers."""
        return self._spec.tensor_parallel

    @property
    def _window(self) -> int:
        return self._engine.window

    def generate(self, requests: Sequence[Request]) -> Iterator[Generation]:
        """Yield generations in the order in which they finish.

        Raises EngineError where the engine fails or a prompt leaves no room.
        """
        if not requests:
            return
        engine = self._engine
        asked = {request.problem.id: request.problem for request in requests}
        prompts = {problem.id: self.prompt_ids(problem) for problem in asked.values()}
        rooms = {problem.id: self._room(problem, len(prompts[problem.id])) for problem in asked.values()}
        params = [self._params(request, rooms[request.problem.id]) for request in requests]
        names = {f"{request.problem.id}/{request.index}": request for request in requests}
        with engine_failures(), engine.aborting(names):
            for (name, request), its in zip(names.items(), params, strict=True):
                engine.add(name, prompts[request.problem.id], its)
            left = dict(names)
            while left:
                for output in engine.finished():
                    yield self._generation(left.pop(output.request_id), output.outputs[0])

    def close(self) -> None:
        """Nothing: the engine stays for the next sampler."""

    def _params(self, request: Request, room: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        drawing = self._settings
        return SamplingParams(
            n=1,
            temperature=drawing.temperature,
            top_p=drawing.top_p,
            top_k=drawing.top_k,
            max_tokens=room,
            seed=request.seed,
            logprobs=0 if self._spec.logprobs else None,
            detokenize=False,  # the tokenizer's own decoding, as with every other engine
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _generation(self, request: Request, drawn: Any) -> Generation:
        token_ids = tuple(drawn.token_ids)
        return Generation(
            request=request,
            text=self._prompter.tokenizer.decode(token_ids, skip_special_tokens=True),
            token_ids=token_ids,
            finish=_FINISH.get(str(drawn.finish_reason), Finish.ABORTED),
            n_tokens=len(token_ids),
            logprobs=_drawn_with(drawn.logprobs, token_ids) if self._spec.logprobs else None,
        )


def _drawn_with(logprobs: Any, token_ids: Sequence[int]) -> tuple[float, ...]:
    return tuple(at[token].logprob for at, token in zip(logprobs, token_ids, strict=True))
