"""What a user may choose about an engine, whichever it is, and what is allowed."""

from collections.abc import Sequence
from typing import Any, TypedDict

from opo_eval.errors import UsageError

DTYPES = ("float32", "bfloat16", "float16")

_ALLOWED = {
    "temperature": (lambda value: 0 <= value < float("inf"), "0 or more"),
    "top_p": (lambda value: 0 < value <= 1, "more than 0 and at most 1"),
    "top_k": (lambda value: value >= 0, "0 (all tokens) or more"),
    "max_tokens": (lambda value: value >= 1, "at least 1"),
    "batch_tokens": (lambda value: value >= 1, "at least 1"),
    "batch_size": (lambda value: value >= 1, "at least 1"),
    "dtype": (lambda value: value in DTYPES, f"one of {', '.join(DTYPES)}"),
    "tensor_parallel": (lambda value: value >= 1, "at least 1"),
    "data_parallel": (lambda value: value >= 1, "at least 1"),
    "gpu_memory": (lambda value: 0 < value <= 1, "more than 0 and at most 1"),
    "max_model_len": (lambda value: value >= 2, "at least 2"),
    "concurrency": (lambda value: value >= 1, "at least 1"),
    "timeout": (lambda value: value > 0, "more than 0 seconds"),
    "retries": (lambda value: value >= 0, "0 or more"),
}


class PromptOptions(TypedDict, total=False):
    """How a problem becomes what a model reads."""

    template: str
    """Name or text of the prompt template."""
    system: str | None
    """System message, for a tokenizer with a chat template; default None."""
    response_prefix: str
    """Text that the response is made to begin with; default empty."""
    chat: bool
    """Whether to put prompts through the tokenizer's chat template where it has one; default True."""


class DrawOptions(TypedDict, total=False):
    """How responses are drawn."""

    temperature: float
    """0 decodes greedily; default 1."""
    top_p: float
    """1, the default: all tokens."""
    top_k: int
    """0, the default: all tokens."""
    max_tokens: int
    """Longest response; default 512."""
    base_seed: int
    """Recorded with the run: requests come with seeds of their own; default 0."""


DRAW_DEFAULTS: DrawOptions = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "max_tokens": 512,
    "base_seed": 0,
}


class SamplerOptions(PromptOptions, DrawOptions, total=False):
    """How an HFSampler prompts, draws and fills its batches."""

    batch_size: int
    """Most responses drawn together; default 64."""
    batch_tokens: int
    """Most tokens, prompts and room for responses, that a batch may come to; default 262,144. A batch that
    runs out of memory is halved, and later ones are made as small."""


class HFOptions(SamplerOptions, total=False):
    """The same, of a checkpoint that is loaded."""

    dtype: str | None
    """Default: float32 on a CPU, the checkpoint's own on a GPU."""
    device: str | None
    """Default: a GPU where there is one."""


class VLLMOptions(PromptOptions, DrawOptions, total=False):
    """How a VLLMSampler prompts and draws, and what its engine is made of."""

    dtype: str | None
    """Default: float32 on a CPU, the checkpoint's own on a GPU."""
    max_model_len: int | None
    """Longest prompt and response together; default: what the model takes."""
    tensor_parallel: int
    """GPUs that share each layer; default 1."""
    gpu_memory: float
    """Share of each GPU's memory, default 0.9; or of the machine's where there is no GPU, default 0.25."""
    adapter: str | None
    """Directory of a LoRA adapter; default None."""
    engine_args: Sequence[str]
    """Further arguments of vLLM's engine, `name=value`."""
    logprobs: bool
    """Whether each token comes with the log-probability that it was drawn with; default False."""


def chosen(options: Any, kind: Any) -> Any:
    """Those of the options that belong to a kind, such as `PromptOptions`."""
    return {name: value for name, value in options.items() if name in kind.__annotations__}


def check_range(**options: Any) -> None:
    """Raise UsageError for a value that its option cannot have; None is any option's default."""
    for name, value in options.items():
        fits, allowed = _ALLOWED.get(name, (lambda _: True, ""))
        if value is not None and not fits(value):
            raise UsageError(f"{name} cannot be {value!r}: it has to be {allowed}")
