"""Which engines there are, which of them suits a checkpoint here, and building one."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, get_type_hints

from opo_eval.errors import EngineError, UsageError
from opo_eval.samplers.base import Sampler
from opo_eval.samplers.options import check_range
from opo_eval.samplers.replicas import Replicas
from opo_eval.wording import listed, nearest

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class EngineEntry:
    """Where an engine is written and what it needs."""

    module: str
    sampler: str
    """Name of the class in the module."""
    options: str
    """Name of the TypedDict with its options."""
    extra: str
    """Of the package, that installs its library."""


ENGINES: Mapping[str, EngineEntry] = {
    "hf": EngineEntry(module="opo_eval.samplers.hf", sampler="HFSampler", options="HFOptions", extra="train"),
    "vllm": EngineEntry(
        module="opo_eval.samplers.vllm", sampler="VLLMSampler", options="VLLMOptions", extra="vllm"
    ),
    "server": EngineEntry(
        module="opo_eval.samplers.server", sampler="ServerSampler", options="ServerOptions", extra="server"
    ),
    "ray": EngineEntry(
        module="opo_eval.samplers.ray_engine", sampler="RaySampler", options="RayOptions", extra="ray"
    ),
}


def make_sampler(engine: str, checkpoint: str, **settings: Any) -> Sampler:
    """Load a checkpoint into an engine; a setting that is None is the engine's own default.

    `data_parallel`: how many copies of the engine share the work, each in a process of its own.
    Raises UsageError for an engine that is not in `ENGINES` and for a setting that it does not have,
    EngineError where its library is missing.
    """
    asked = settings.pop("data_parallel", None)
    n = 1 if asked is None else asked
    check_range(data_parallel=n)
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}: choose one of {', '.join([AUTO, *ENGINES])}")
    if engine == "ray" and n > 1:
        raise UsageError("engine ray takes --replicas, not --data-parallel: give that instead")
    entry = ENGINES[engine]
    given = {name: value for name, value in settings.items() if value is not None}
    try:
        module = import_module(entry.module)
        _refuse_foreign(engine, given, get_type_hints(getattr(module, entry.options)))
        if n > 1:
            return Replicas(engine, checkpoint, n, given)
        return getattr(module, entry.sampler)(checkpoint, **given)
    except ModuleNotFoundError as error:
        raise EngineError(
            f"engine {engine} needs {error.name}, which is not installed: pip install "
            f"'opo-eval[{entry.extra}]'"
        ) from None


def _refuse_foreign(engine: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for name in given:
        if name not in known:
            raise UsageError(
                f"engine {engine} has no option {name}{nearest(name, known)}: leave it out, or choose "
                f"another engine; its options are {listed(sorted(known))}"
            )


# --- choosing ---------------------------------------------------------------------------------------


def choose_engine(checkpoint: str) -> tuple[str, str]:
    """The engine that suits a checkpoint on this machine, and why, for a person."""
    why_not = _why_not_vllm(checkpoint)
    return ("hf", why_not) if why_not else ("vllm", "vLLM is installed and takes this checkpoint")


def _why_not_vllm(checkpoint: str) -> str | None:
    if find_spec("vllm") is None:
        return "vLLM is not installed"
    from opo_eval.samplers.vllm_engine import refusal

    return refusal(checkpoint)
