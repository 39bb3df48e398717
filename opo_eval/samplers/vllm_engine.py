"""vLLM's engine as the sampler needs it: one at a time in a process, kept between samplers.

An engine that runs takes another checkpoint's weights where only these differ, and is trusted only if what it
then holds adds up to what the files hold: vLLM's build for CPUs packs weights when it loads them, and loading
others over them changes some and says nothing. Where the sums differ, a new engine is started.
"""

import gc
import json
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from math import isclose
from pathlib import Path
from typing import Any

from opo_eval.errors import EngineError, OpoEvalError, UsageError
from opo_eval.samplers.checkpoints import load_config
from opo_eval.samplers.vllm_worker import WeightSums, squared
from opo_eval.wording import nearest

_ROUNDING = 1e-9
"""Relative, of sums in float64."""

# --- what an engine is made of ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """Two engines with equal specifications draw alike."""

    checkpoint: str
    dtype: str
    max_model_len: int | None
    tensor_parallel: int
    gpu_memory: float
    adapter: str | None
    logprobs: bool
    """Whether it can say with which log-probability a token was drawn."""
    further: tuple[tuple[str, Any], ...]
    """Arguments of vLLM's engine beside these."""

    def arguments(self) -> dict[str, Any]:
        """As vLLM's `EngineArgs` takes them."""
        return {
            "model": self.checkpoint,
            "dtype": self.dtype,
            "max_model_len": self.max_model_len,
            "tensor_parallel_size": self.tensor_parallel,
            "gpu_memory_utilization": self.gpu_memory,
            "enable_prefix_caching": True,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
            "seed": 0,
            "worker_extension_cls": f"{WeightSums.__module__}.{WeightSums.__qualname__}",
            **({"enable_lora": True, "max_lora_rank": _rank(self.adapter)} if self.adapter else {}),
            **({"enforce_eager": True} if _on_cpu() else {}),
            # Only where they are asked for: in this mode it takes a log-softmax at every step.
            **({"logprobs_mode": "processed_logprobs"} if self.logprobs else {}),
            **dict(self.further),
        }


def parse_engine_args(words: Iterable[str]) -> dict[str, Any]:
    """`name=value` words as arguments of vLLM's engine; values are JSON where they can be, else text.

    Raises UsageError for a word of another form and for a name that the installed vLLM does not know or
    that has an option of its own.
    """
    vllm = import_vllm()
    known = {field.name for field in fields(vllm.EngineArgs)}
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name = name.strip().lstrip("-").replace("-", "_")
        if not equals:
            raise UsageError(f"--engine-arg takes NAME=VALUE, not {word!r}: for instance max_num_seqs=64")
        if name in _OWN_OPTION:
            raise UsageError(f"--engine-arg {name} has an option of its own: give {_OWN_OPTION[name]}")
        if name not in known:
            raise UsageError(
                f"--engine-arg {name!r} is no argument of vLLM {vllm.__version__}'s engine"
                f"{nearest(name, sorted(known))}"
            )
        found[name] = _json_or_text(value)
    return found


_OWN_OPTION = {
    "model": "the checkpoint",
    "tokenizer": "the checkpoint, whose folder holds it",
    "dtype": "--dtype",
    "seed": "--seed",
    "max_model_len": "--max-model-len",
    "tensor_parallel_size": "--tensor-parallel",
    "data_parallel_size": "--data-parallel",
    "gpu_memory_utilization": "--gpu-memory",
    "enable_lora": "--adapter",
}


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _rank(adapter: str) -> int:
    """Rank of a LoRA adapter's matrices, from its configuration."""
    path = Path(adapter) / "adapter_config.json"
    try:
        return int(json.loads(path.read_bytes())["r"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"{adapter} is not a LoRA adapter: {path.name} cannot be read ({type(error).__name__}); give the "
            "folder that peft saved"
        ) from None


def refusal(checkpoint: str) -> str | None:
    """Why vLLM does not take a checkpoint here; None where it does, as far as its configuration tells."""
    try:
        vllm = import_vllm()
    except Exception as error:  # a build for another machine fails in many ways
        return f"vLLM cannot be loaded ({_first_line(error)})"
    if not (vllm.current_platform.is_cpu() or vllm.current_platform.is_cuda_alike()):
        return "vLLM finds no device that it was built for"
    config = load_config(checkpoint)
    known = set(vllm.architectures())
    if not known & set(config.architectures or ()):
        return f"vLLM does not know the architecture {', '.join(config.architectures or ['(none named)'])}"
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if _on_cpu() and size not in vllm.cpu_head_sizes():
        return f"vLLM's build for CPUs has no attention with heads of {size}"
    return None


# --- one engine -------------------------------------------------------------------------------------


class Engine:
    """A running engine of vLLM."""

    def __init__(self, spec: EngineSpec) -> None:
        vllm = import_vllm()
        self.spec = spec
        with _loading(spec.checkpoint), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._engine = vllm.LLMEngine.from_engine_args(vllm.EngineArgs(**spec.arguments()))
        self._lora = vllm.LoRARequest("adapter", 1, spec.adapter) if spec.adapter else None

    @property
    def window(self) -> int:
        """Longest prompt and response together, in tokens."""
        return self._engine.vllm_config.model_config.max_model_len

    def add(self, name: str, prompt: list[int], params: Any) -> None:
        """Queue a request."""
        self._engine.add_request(name, {"prompt_token_ids": prompt}, params, lora_request=self._lora)

    def finished(self) -> list[Any]:
        """Take one step; the outputs that are finished by it."""
        return [output for output in self._engine.step() if output.finished]

    @contextmanager
    def aborting(self, names: Iterable[str]) -> Iterator[None]:
        """Whatever ends the work in here, nothing of it stays in the engine."""
        try:
            yield
        finally:
            self._engine.abort_request(list(names))

    def reload(self, spec: EngineSpec) -> bool:
        """Take another checkpoint's weights; False where the engine then holds others than the files do."""
        self._engine.collective_rpc("reload_weights", kwargs={"weights_path": spec.checkpoint})
        self._engine.reset_prefix_cache()
        self.spec = spec
        held = self._engine.collective_rpc("squared_weights")
        return isclose(held[0], squared_files(spec.checkpoint, spec.dtype), rel_tol=_ROUNDING)

    def close(self) -> None:
        """Free its memory and end its processes."""
        self._engine.engine_core.shutdown()
        self._engine = None
        gc.collect()


_running: Engine | None = None


def engine_for(spec: EngineSpec) -> Engine:
    """The engine that runs, where it fits or takes the weights; else a new one in its place."""
    global _running
    if _running is not None and _running.spec != spec and not _takes_weights(_running, spec):
        close_engine()
    _running = _running or Engine(spec)
    return _running


def close_engine() -> None:
    """End the engine that runs, if one does."""
    global _running
    if _running is not None:
        _running.close()
    _running = None


def _takes_weights(engine: Engine, spec: EngineSpec) -> bool:
    # With several GPUs each holds its part, and some parts are held by all.
    if spec.tensor_parallel > 1 or replace(engine.spec, checkpoint=spec.checkpoint) != spec:
        return False
    if _shape(engine.spec.checkpoint) != _shape(spec.checkpoint):
        return False
    try:
        return engine.reload(spec)
    except Exception:  # of whatever kind: a new engine is the answer to all of them
        return False


def squared_files(checkpoint: str, dtype: str) -> float:
    """Sum of the squares of a checkpoint directory's weights as an engine of that number type holds them.

    Raises EngineError where the folder has no safetensors.
    """
    import torch
    from safetensors import safe_open

    files = sorted(Path(checkpoint).glob("*.safetensors"))
    if not files:
        raise EngineError(f"{checkpoint} has no safetensors to compare a running engine with")
    tied = bool(getattr(load_config(checkpoint), "tie_word_embeddings", False))
    total = 0.0
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            names = [name for name in tensors.keys() if not (tied and name == "lm_head.weight")]  # noqa: SIM118
            total += squared(tensors.get_tensor(name).to(getattr(torch, dtype)) for name in names)
    return total


def _shape(checkpoint: str) -> dict[str, Any]:
    """A checkpoint's configuration, without the name that it was loaded by."""
    config = load_config(checkpoint).to_dict()
    return {name: value for name, value in config.items() if name not in ("_name_or_path", "_commit_hash")}


# --- vLLM itself ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VLLM:
    """What we use of the library."""

    EngineArgs: Any
    LLMEngine: Any
    LoRARequest: Any
    current_platform: Any
    __version__: str

    def architectures(self) -> list[str]:
        """Of models that it can load."""
        from vllm import ModelRegistry

        return list(ModelRegistry.get_supported_archs())

    def cpu_head_sizes(self) -> list[int]:
        """Sizes of an attention head that its build for CPUs takes."""
        from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

        return list(CPUAttentionBackend.get_supported_head_sizes())


_QUIET = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


def import_vllm() -> VLLM:
    """The library, quiet, and in this process where there is no GPU to overlap with.

    Raises ModuleNotFoundError where it is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what vLLM deprecates of torch is not the user's to mend
        import vllm
        from vllm.engine.arg_utils import EngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.platforms import current_platform
        from vllm.v1.engine.llm_engine import LLMEngine
    if current_platform.is_cpu():
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    return VLLM(EngineArgs, LLMEngine, LoRARequest, current_platform, vllm.__version__)


def device_type() -> str:
    """What the installed build runs on: cpu, cuda."""
    return import_vllm().current_platform.device_type


def _on_cpu() -> bool:
    return import_vllm().current_platform.is_cpu()


@contextmanager
def _loading(checkpoint: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # vLLM raises its own, pydantic's, torch's and the engine process's
        raise EngineError(
            f"vLLM cannot load {checkpoint}: {_first_line(error)}; set --max-model-len, --gpu-memory or "
            "--dtype, or take --engine hf"
        ) from None


@contextmanager
def engine_failures() -> Iterator[None]:
    """An engine that dies in the middle is one sentence; what was drawn before is kept by its reader."""
    try:
        yield
    except OpoEvalError:
        raise
    except Exception as error:
        close_engine()
        raise EngineError(
            f"vLLM stopped: {_first_line(error)}; what was sampled is kept: give the same command again to "
            "continue"
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
